"""The results directory of a run, opened for reading.

    results = Results("results/lv-village")
    results.kpi["p2p_volume_mwh"]
    results.trade.groupby("seller")["p_mw"].sum()
    results.to_xarray()["bus_vm_pu"].sel(stage="delivery").min("bus")

Nothing is read before it is asked for, and what was read is kept.
"""

from __future__ import annotations

import html
import json
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from peerwatt.errors import Fault, ResultsError
from peerwatt.sim.inventory import Inventory
from peerwatt.sim.journal import recover
from peerwatt.sim.kpi import COLUMNS, Kpi, compute_kpis
from peerwatt.sim.tables import STAGES, TABLES, unit

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa
    import xarray as xr

__all__ = ["Results"]

Filters = Sequence[tuple[str, str, Any]]


class Results:
    """A results directory.

    Args:
        path: the directory that a run wrote.

    Raises:
        ResultsError: if the directory is not one, says what is missing; or its run is still going on. What a
            killed run left is recovered.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        _check_directory(self.path)
        recover(self.path)
        self.manifest: dict[str, Any] = _read_json(self.path / "manifest.json")
        self._tables: dict[str, pd.DataFrame] = {}

    @classmethod
    def open(cls, path: str | Path) -> Results:
        """Open a results directory; the same as ``Results(path)``."""
        return cls(path)

    # What the run was

    @cached_property
    def scenario(self) -> dict[str, Any]:
        """The scenario with every default written out."""
        import yaml

        loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
        file = self.path / "scenario.yaml"
        try:
            read = yaml.load(_read_text(file), Loader=loader)
        except yaml.YAMLError as error:
            raise _unreadable(file, error) from error
        return read if isinstance(read, dict) else {}

    @property
    def warnings(self) -> tuple[str, ...]:
        """How scenario and grid were understood, where a user should know of it."""
        return tuple(str(warning) for warning in self.manifest.get("warnings", ()))

    @cached_property
    def topology(self) -> dict[str, Any]:
        """Buses, lines, transformers and slack buses of the grid, by ``bus``, ``line``, ``trafo`` index."""
        return _read_json(self.path / "topology.json")

    @cached_property
    def inventory(self) -> Inventory | None:
        """What the run understood of its grid and profiles; None where it did not write it."""
        file = self.path / "inputs.json"
        if not file.is_file():
            return None
        try:
            return Inventory.of_dict(_read_json(file))
        except (KeyError, TypeError, ValueError) as error:
            raise _unreadable(file, error) from error

    @cached_property
    def kpi(self) -> dict[str, Kpi]:
        """The run's key figures (see ``peerwatt.sim.kpi``); computed from the tables if not on file."""
        file = self.path / "kpi.json"
        if file.is_file():
            return _read_json(file)
        return compute_kpis(
            {name: self.arrow(name, columns) for name, columns in COLUMNS.items() if name in self.tables}, self.manifest
        )

    @cached_property
    def times(self) -> pd.DatetimeIndex:
        """Start of every period that was done, shape (n_periods,)."""
        import pandas as pd

        step = pd.Timedelta(seconds=float(self.manifest["period_s"]))
        start = pd.Timestamp(self.manifest["start"])
        return pd.date_range(start, periods=int(self.manifest["periods_done"]), freq=step, name="time")

    @property
    def tables(self) -> tuple[str, ...]:
        """Names of the tables that the run recorded."""
        return tuple(name for name in TABLES if self._file(name).is_file())

    # The tables

    @property
    def period(self) -> pd.DataFrame:
        """One row per period and stage: power flow and market totals."""
        return self._whole("period")

    @property
    def bus(self) -> pd.DataFrame:
        """One row per period, stage and bus: voltage and injection."""
        return self._whole("bus")

    @property
    def line(self) -> pd.DataFrame:
        """One row per period, stage and line: flow, current, loading and losses."""
        return self._whole("line")

    @property
    def trafo(self) -> pd.DataFrame:
        """One row per period, stage and transformer: flow, current, loading and losses."""
        return self._whole("trafo")

    @property
    def bid(self) -> pd.DataFrame:
        """One row per step of a bid."""
        return self._whole("bid")

    @property
    def trade(self) -> pd.DataFrame:
        """One row per trade between two parties."""
        return self._whole("trade")

    @property
    def round(self) -> pd.DataFrame:
        """One row per round of negotiation between peers and DSO."""
        return self._whole("round")

    @property
    def signal(self) -> pd.DataFrame:
        """One row per pair of peers that was blocked or had a cost, and round."""
        return self._whole("signal")

    @property
    def flexibility(self) -> pd.DataFrame:
        """One row per product that somebody offered to the DSO."""
        return self._whole("flexibility")

    @property
    def message(self) -> pd.DataFrame:
        """One row per message, or per counted group of messages."""
        return self._whole("message")

    @property
    def settlement(self) -> pd.DataFrame:
        """One row per payment from one account to another."""
        return self._whole("settlement")

    @property
    def agent(self) -> pd.DataFrame:
        """One row per period and peer: power, storage and money."""
        return self._whole("agent")

    @property
    def peer(self) -> pd.DataFrame:
        """One row per peer: where it is and what it owns."""
        return self._whole("peer")

    def table(self, name: str, columns: Sequence[str] | None = None, filters: Filters | None = None) -> pd.DataFrame:
        """Read part of a table.

        Args:
            name: the table's name, e.g. ``bus``.
            columns: the columns to read; all without it.
            filters: conditions that rows must meet, e.g. ``[("stage", "==", "delivery")]``.

        Returns:
            The rows in the order of the file; ``stage`` is ordered (forecast < p2p < final < delivery).

        Raises:
            ResultsError: if there is no such table or column, or the run did not record it.
        """
        import pandas as pd

        frame: pd.DataFrame = self.arrow(name, columns, filters).to_pandas()
        if "stage" in frame:
            stages = pd.CategoricalDtype(list(self.manifest.get("stages", STAGES)), ordered=True)
            frame["stage"] = frame["stage"].astype(stages)
        return frame

    def arrow(self, name: str, columns: Sequence[str] | None = None, filters: Filters | None = None) -> pa.Table:
        """Read a table, or part of it, as an Arrow table, faster than a frame; arguments as for ``table``."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        self._check_table(name, columns or ())
        for column, _, _ in filters or ():
            self._check_table(name, [column])
        file = self._file(name)
        try:
            if filters:
                return pq.read_table(file, columns=columns and list(columns), filters=list(filters))
            with pq.ParquetFile(file) as parquet:  # read_table would import the dataset machinery
                return parquet.read(columns and list(columns))
        except (pa.ArrowInvalid, OSError) as error:
            raise _unreadable(file, error) from error

    def unit(self, table: str, column: str) -> str:
        """Unit of a column, e.g. ``MW``; empty where it has none."""
        if table not in TABLES:
            raise ResultsError(_unknown_table(table))
        if column not in TABLES[table].names:
            raise ResultsError(_unknown_column(table, column))
        return unit(table, column)

    def to_xarray(self) -> xr.Dataset:
        """All tables with one value per period, as labelled arrays.

        Variables of table ``period`` keep their name; the others carry their table's name in front:
        ``bus_vm_pu`` (period, stage, bus), ``line_loading_percent`` (period, stage, line), ``agent_p_mw``
        (period, agent). Each has its unit in ``attrs["units"]`` and its meaning in ``attrs["long_name"]``.
        """
        from peerwatt.sim.cube import CUBES, to_dataset

        tables = {name: self.arrow(name) for name in (*CUBES, "peer") if name in self.tables}
        return to_dataset(tables, self.topology, self.manifest, self.times)

    # How it shows itself

    def _facts(self) -> list[tuple[str, str]]:
        manifest = self.manifest
        facts = [
            ("periods", f"{manifest.get('periods_done')} of {manifest.get('periods')} done"),
            ("start", str(manifest.get("start", ""))),
            ("mechanism", str(manifest.get("mechanism", ""))),
            ("seed", str(manifest.get("seed", ""))),
            ("state", " ".join(str(manifest.get(key) or "") for key in ("exit_state", "reason")).strip()),
            ("tables", ", ".join(self.tables)),
        ]
        return [(label, text) for label, text in facts if text]

    def __repr__(self) -> str:
        lines = [f"<Results '{self.manifest.get('name', '')}' in {self.path}>"]
        return "\n".join([*lines, *(f"    {label + ':':<11}{text}" for label, text in self._facts())])

    def _repr_html_(self) -> str:
        left = "style='text-align:left'"
        rows = "".join(
            f"<tr><th {left}>{label}</th><td {left}>{html.escape(text)}</td></tr>"
            for label, text in [*self._facts(), ("directory", str(self.path))]
        )
        return f"<b>Results of {html.escape(str(self.manifest.get('name', '')))}</b><table>{rows}</table>"

    # Helpers

    def _file(self, name: str) -> Path:
        return self.path / f"{name}.parquet"

    def _whole(self, name: str) -> pd.DataFrame:
        if name not in self._tables:
            self._tables[name] = self.table(name)
        return self._tables[name]

    def _check_table(self, name: str, columns: Sequence[str]) -> None:
        if name not in TABLES:
            raise ResultsError(_unknown_table(name))
        if unknown := [column for column in columns if column not in TABLES[name].names]:
            raise ResultsError([_unknown_column(name, column) for column in unknown])
        if not self._file(name).is_file() and not self.manifest.get("periods_done"):
            raise ResultsError(
                Fault(str(self.path), "no period was finished, so there are no tables", "run the scenario again")
            )
        if not self._file(name).is_file():
            raise ResultsError(
                Fault(
                    str(self.path),
                    f"the run has no table '{name}' ({self._file(name).name} is missing)",
                    f"add '{name}' to 'record:' in the scenario and run it again; "
                    f"recorded are: {', '.join(self.tables) or 'none'}",
                )
            )


def _check_directory(path: Path) -> None:
    if not path.is_dir():
        problem = "is a file, not a results directory" if path.exists() else "there is no such directory"
        raise ResultsError(Fault(str(path), problem, "give the directory that 'peerwatt run --out' wrote"))
    needed = ("manifest.json", "scenario.yaml", "topology.json")
    if missing := [name for name in needed if not (path / name).is_file()]:
        raise ResultsError(
            Fault(
                str(path),
                f"is not a results directory: {', '.join(missing)} missing",
                "give the directory that 'peerwatt run --out' wrote",
            )
        )


def _unknown_table(name: str) -> Fault:
    return Fault("results", f"there is no table '{name}'", f"tables are: {', '.join(TABLES)}")


def _unknown_column(table: str, column: str) -> Fault:
    return Fault(f"table '{table}'", f"there is no column '{column}'", f"columns are: {', '.join(TABLES[table].names)}")


def _unreadable(file: Path, error: Exception) -> ResultsError:
    return ResultsError(Fault(str(file), f"cannot be read: {error}", "the file is damaged; run the scenario again"))


def _read_text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise _unreadable(file, error) from error


def _read_json(file: Path) -> dict[str, Any]:
    try:
        read = json.loads(_read_text(file))
    except json.JSONDecodeError as error:
        raise _unreadable(file, error) from error
    if not isinstance(read, dict):
        raise _unreadable(file, TypeError(f"a JSON object was expected, not {type(read).__name__}"))
    return read
