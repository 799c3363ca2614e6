"""Which element is meant: by its name, or by pandapower's index where that is shorter or the name is not unique.

    Elements(network, "line").row("cable 3", where="events.0.line")

A text is a name; where nothing has that name, it is `<table> <index>`, `<table>.<index>`, `<table>.<name>` or an index
alone. A number is an index.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from peerwatt.errors import Fault, GridDataError
from peerwatt.grid.network import Buses, Lines, Network, Trafos
from peerwatt.registry import nearest

__all__ = ["Elements", "Table"]

Table = Literal["bus", "line", "trafo"]

_PLURAL = {"bus": "buses", "line": "lines", "trafo": "transformers"}
_SHOWN = 20


class Elements:
    """Elements of one or more tables of a network, to be found by name or index.

    Args:
        network: the network.
        tables: pandapower's names of the tables; rows of the second table count on from those of the first.
    """

    def __init__(self, network: Network, *tables: Table) -> None:
        parts: dict[Table, Buses | Lines | Trafos] = {
            "bus": network.buses,
            "line": network.lines,
            "trafo": network.trafos,
        }
        self._what = " and ".join(_PLURAL[table] for table in tables)
        self._table = " or ".join(tables)
        self._called: list[str] = []  # by row, what names exactly one element
        self._name: list[str] = []
        self._by_name: dict[str, list[int]] = {}
        self._by_table: dict[str, list[int]] = {}  # <table>.<name>
        self._by_index: dict[str, list[int]] = {}
        for table in tables:
            for name, index in zip(parts[table].name, parts[table].index.tolist(), strict=True):
                row = len(self._name)
                self._name.append(name)
                self._called.append(f"{table}.{index}" if len(tables) > 1 else str(index))
                self._by_name.setdefault(name, []).append(row)
                self._by_table.setdefault(f"{table}.{name}", []).append(row)
                for form in (f"{table}.{index}", f"{table} {index}", str(index)):
                    self._by_index.setdefault(form, []).append(row)

    def row(self, wanted: str | int, where: str) -> int:
        """Row of an element.

        Args:
            wanted: its name or index.
            where: key or place that names it, for the message.

        Raises:
            GridDataError: no element is called so, or several are.
        """
        found = self._indexed(wanted, where) if isinstance(wanted, int) else self._found(wanted.strip())
        if len(found) == 1:
            return found[0]
        if found:
            shown = ", ".join(self._called[row] for row in found[:_SHOWN])
            more = f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
            problem = f"{len(found)} {self._what} have the name '{wanted}'"
            raise GridDataError(Fault(where, problem, f"give the index of one: {shown}{more}"))
        hint = nearest(str(wanted), list(self._by_name))
        problem = f"no {self._table} has the name or index '{wanted}'"
        raise GridDataError(Fault(where, problem, hint if len(hint) <= 300 else f"{hint[:300]}..."))

    def rows(self, wanted: Iterable[str | int], where: str) -> list[int]:
        """Rows of several elements, see `row`.

        Raises:
            GridDataError: all faults at once.
        """
        found, faults = list[int](), list[Fault]()
        for each in wanted:
            try:
                found.append(self.row(each, where))
            except GridDataError as error:
                faults += error.faults
        if faults:
            raise GridDataError(faults)
        return found

    def _found(self, text: str) -> list[int]:
        return self._by_name.get(text) or self._by_table.get(text) or self._by_index.get(text) or []

    def _indexed(self, index: int, where: str) -> list[int]:
        """Rows with an index; a number that is another element's name too would be a guess."""
        found, named = self._by_index.get(str(index), []), self._by_name.get(str(index), [])
        if named and found != named:
            problem = f"{index} could be an index or the name of another of the {self._what}"
            remedy = f"write '{index}' in quotes for the name, '{self._table} {index}' for the index"
            raise GridDataError(Fault(where, problem, remedy))
        return found
