"""Reads profiles for a network of one's own, from CSV, Parquet or a table.

One column is `time`, in even steps that divide a day. Every other column is named
`<table>.<name or index>.<p_mw or q_mvar>`, e.g. `load.House 3.p_mw`, and takes the place of that column of
pandapower's table, in the element's own sign (a load's consumption and a generator's generation are positive),
multiplied by the element's `scaling`. How times and values are written says a `ProfileFormat`; by default in MW.

An element without a column keeps the constant power of the network. One with a `p_mw` column and no `q_mvar`
column keeps the ratio of reactive to active power of the network.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from peerwatt.errors import Fault, ProfileError
from peerwatt.grid.admittance import Floats
from peerwatt.grid.columns import column
from peerwatt.grid.network import Network
from peerwatt.grid.profile_check import Judged, judge
from peerwatt.grid.profile_file import ProfileTable, open_table
from peerwatt.grid.profile_format import ProfileFormat
from peerwatt.grid.profile_time import read_time, some
from peerwatt.grid.series import TimeSeries
from peerwatt.grid.units import Units
from peerwatt.registry import nearest

if TYPE_CHECKING:
    import pandas as pd
    from pandapower import pandapowerNet

__all__ = ["read_profiles"]

_SIGN = {"load": -1.0, "sgen": 1.0, "gen": 1.0}
_QUANTITY = {"p_mw": "p_mw", "p": "p_mw", "q_mvar": "q_mvar", "q": "q_mvar"}
_OTHER_UNIT = {"p_kw": "kW", "q_kvar": "kW", "p_w": "W", "q_var": "W", "p_pu": "pu", "q_pu": "pu"}


@dataclass(frozen=True, slots=True)
class _Target:
    """What a column is the profile of.

    Attributes:
        column: header.
        unit: position of the unit.
        table: its table.
        quantity: `p_mw` or `q_mvar`.
    """

    column: str
    unit: int
    table: str
    quantity: str


def read_profiles(
    source: pd.DataFrame | Path,
    net: pandapowerNet,
    network: Network,
    units: Units,
    form: ProfileFormat | None = None,
) -> tuple[Units, TimeSeries, tuple[Fault, ...]]:
    """Read profiles and connect them to the units.

    Args:
        source: CSV or Parquet file, or a table; see the module's text.
        net: the pandapower network.
        network: the same, converted.
        units: its units.
        form: how the profiles are written.

    Returns:
        The units with columns and scales set, the time series, and what is odd about the values.

    Raises:
        ProfileError: every fault of the profiles, at once.
    """
    form = ProfileFormat() if form is None else form
    table = open_table(source, form)
    faults: list[Fault] = []
    start, step_s = read_time(table, form, faults)
    targets = _targets(table, units, faults)
    raw = _numbers(table, targets, form, faults)
    bases = _bases(table, targets, net, units, form, faults)
    if faults:
        raise ProfileError(faults)
    values = (np.diff(raw, axis=0) if form.counts else raw) * form.to_mw(step_s) * bases
    scaling = _scaling(targets, net, units)
    judged = [
        Judged(each.column, each.table, each.quantity, raw[:, k], scaling[k] * values[:, k], units.sn_mva[each.unit])
        for k, each in enumerate(targets)
    ]
    faults, warnings = judge(judged, table.name, form, network)
    if faults:
        raise ProfileError(faults)
    series = TimeSeries(start, step_s, tuple(each.column for each in targets), values)
    return _connect(targets, values, scaling, units), series, tuple(warnings)


def _targets(table: ProfileTable, units: Units, faults: list[Fault]) -> list[_Target]:
    """Unit and quantity of each column that names one."""
    known = {kind: _Names(kind, units) for kind in _SIGN}
    targets: list[_Target] = []
    unknown: list[Fault] = []
    taken: set[tuple[int, str]] = set()
    for name in map(str, table.frame.columns):
        if name == table.time:
            continue
        where = f"{table.name}: column '{name}'"
        kind, _, rest = name.partition(".")
        element, _, ending = rest.rpartition(".")
        kind, element, ending = kind.strip().lower(), element.strip(), ending.strip().lower()
        quantity = _QUANTITY.get(ending, "")
        if kind in known and element and ending in _OTHER_UNIT:
            remedy = f"end it with .{ending[0]} and give grid.profiles.unit: {_OTHER_UNIT[ending]}"
            faults.append(Fault(where, f"'{ending}' is not understood", remedy))
        elif kind not in known or not quantity or not element:
            remedy = "write <load, sgen or gen>.<name or index>.<p_mw or q_mvar>"
            unknown.append(Fault(where, "name not understood", remedy))
        elif kind == "gen" and quantity == "q_mvar":
            faults.append(Fault(where, "the reactive power of a gen is what its voltage takes", "leave it out"))
        elif (unit := known[kind].find(element)) is None:
            unknown.append(Fault(where, f"no {kind} in service '{element}'", known[kind].nearest(element)))
        elif (unit, quantity) in taken:
            faults.append(Fault(where, f"a second column for {quantity} of this {kind}", "remove one"))
        else:
            taken.add((unit, quantity))
            targets.append(_Target(name, unit, kind, quantity))
    some(faults, range(len(unknown)), lambda k: unknown[k])
    return targets


class _Names:
    """The elements of a table by what columns call them.

    Args:
        table: the table.
        units: all units.
    """

    def __init__(self, table: str, units: Units) -> None:
        own = [k for k, kind in enumerate(units.table) if kind == table]
        self._by_name = {str(units.index[k]): k for k in own} | {units.name[k]: k for k in own}  # names go first
        self._named = [units.name[k] for k in own] or list(self._by_name)
        folded = [_folded(name) for name in self._by_name]
        count = Counter(folded)
        self._by_fold = {fold: k for fold, k in zip(folded, self._by_name.values(), strict=True) if count[fold] == 1}

    def find(self, element: str) -> int | None:
        """Position of a unit by its name or index, else by its name in other case or spaces; None for none."""
        return self._by_name.get(element, self._by_fold.get(_folded(element)))

    def nearest(self, element: str) -> str:
        """What may have been meant."""
        text = nearest(element, self._named)
        return text if len(text) <= 300 else f"{text[:300]}..."


def _folded(name: str) -> str:
    return " ".join(name.split()).casefold()


def _numbers(table: ProfileTable, targets: list[_Target], form: ProfileFormat, faults: list[Fault]) -> Floats:
    """Values as they stand, (n_rows, n_columns); faults for what is no number, missing or negative."""
    given = [table.frame[each.column] for each in targets]
    raw: Floats = np.column_stack(
        [_as_numbers(each, table.decimal) for each in given] or [np.empty((len(table.frame), 0))]
    )
    empty = np.column_stack([each.isna().to_numpy() for each in given] or [np.empty((len(raw), 0), dtype=np.bool_)])
    n_rows = max(len(raw), 1)

    def cells(wrong: Any, problem: Any, remedy: str = "") -> None:
        def make(cell: int) -> Fault:
            k, row = divmod(cell, n_rows)
            return Fault(table.cell(targets[k].column, row), problem(k, row), remedy)

        some(faults, np.flatnonzero(wrong.T), make)

    cells(empty, lambda _k, _row: "no value")
    cells(
        ~np.isfinite(raw) & ~empty,
        lambda k, row: f"'{given[k].iloc[row]}' is not a finite number",
        "write numbers without unit and thousands separators, with the same decimal mark everywhere",
    )
    active = np.array([each.quantity == "p_mw" for each in targets], dtype=np.bool_)
    if form.counts:
        falls = np.vstack([np.zeros((1, raw.shape[1]), dtype=np.bool_), np.diff(raw, axis=0) < 0.0])
        cells(
            falls & active,
            lambda k, row: f"the meter falls from {raw[row - 1, k]:.10g} to {raw[row, k]:.10g}",
            "mend the reading where the meter was changed or began anew",
        )
    else:
        cells(
            (raw < 0.0) & active,
            lambda k, row: f"{_what(targets[k].table)} of {raw[row, k]} {form.unit_or_mw}",
            "give 0 or more",
        )
    return raw


def _as_numbers(given: Any, decimal: str) -> Floats:
    """A column as numbers, (n_rows,); NaN for what is none, e.g. with the other decimal mark."""
    import pandas as pd

    if decimal == "," and given.dtype.kind not in "biuf":
        text = given.astype(str)
        given = text.mask(text.str.contains(".", regex=False)).str.replace(",", ".")
    numbers: Floats = pd.to_numeric(given, errors="coerce").to_numpy(np.float64, na_value=np.nan)
    return numbers


def _what(table: str) -> str:
    return "consumption" if table == "load" else "generation"


def _bases(
    table: ProfileTable, targets: list[_Target], net: Any, units: Units, form: ProfileFormat, faults: list[Fault]
) -> Floats:
    """What values are shares of, (n_columns,): the power of the element in the net for `pu`, else 1."""
    bases = np.ones(len(targets))
    if not form.per_unit:
        return bases
    for k, each in enumerate(targets):
        position = net[each.table].index.get_loc(units.index[each.unit])
        bases[k] = column(net[each.table], each.quantity, 0.0)[position]
        if each.quantity == "p_mw" and bases[k] == 0.0:
            bases[k] = column(net[each.table], "sn_mva", 0.0)[position]
        if not bases[k]:
            problem = f"{each.quantity} of this {each.table} is 0 in the net, so pu is a share of nothing"
            faults.append(Fault(f"{table.name}: column '{each.column}'", problem, "give its power in the net"))
    return bases


def _scaling(targets: list[_Target], net: Any, units: Units) -> Floats:
    """The factor `scaling` of each column's element, (n_columns,)."""
    scaling = {table: dict(zip(net[table].index, column(net[table], "scaling", 1.0), strict=True)) for table in _SIGN}
    return np.array([scaling[each.table][units.index[each.unit]] for each in targets], dtype=np.float64)


def _connect(targets: list[_Target], values: Floats, scaling: Floats, units: Units) -> Units:
    """Units with the columns of their profiles, and with scales that keep signs and ratios."""
    p_column, q_column = units.p_column.copy(), units.q_column.copy()
    p_scale, q_scale, p_mw = units.p_scale_mw.copy(), units.q_scale_mvar.copy(), units.p_mw.copy()
    reactive = {each.unit for each in targets if each.quantity == "q_mvar"}
    for position, each in enumerate(targets):
        unit, factor = each.unit, _SIGN[each.table] * scaling[position]
        if each.quantity == "q_mvar":
            q_column[unit], q_scale[unit] = position, factor
            continue
        rated = units.p_scale_mw[unit]
        p_column[unit], p_scale[unit] = position, factor
        p_mw[unit] = max(p_mw[unit], scaling[position] * float(values[:, position].max()))
        if unit not in reactive:
            ratio = units.q_scale_mvar[unit] / rated if rated else 0.0
            q_column[unit], q_scale[unit] = position, factor * ratio
    return replace(units, p_column=p_column, q_column=q_column, p_scale_mw=p_scale, q_scale_mvar=q_scale, p_mw=p_mw)
