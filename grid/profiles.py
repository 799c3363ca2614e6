"""Reads profiles for a network of one's own, from CSV, Parquet or a table.

The first column is `time` (ISO 8601, without time zone), in even steps that divide a day. Every other column
is named `<table>.<name or index>.<p_mw or q_mvar>`, e.g. `load.House 3.p_mw`, and takes the place of that
column of pandapower's table: in MW or Mvar, in the element's own sign (a load's consumption and a
generator's generation are positive), multiplied by the element's `scaling`.

An element without a column keeps the constant power of the network. One with a `p_mw` column and no `q_mvar`
column keeps the ratio of reactive to active power of the network.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from peerwatt.errors import Fault, ProfileError
from peerwatt.grid.admittance import Bools, Floats
from peerwatt.grid.columns import column
from peerwatt.grid.network import Network
from peerwatt.grid.series import TimeSeries
from peerwatt.grid.units import Units
from peerwatt.registry import nearest

if TYPE_CHECKING:
    import pandas as pd
    from pandapower import pandapowerNet

__all__ = ["read_profiles"]

_DAY_S = 86_400
_SHOWN = 10  # faults of one kind and column that are spelled out
_TOO_MUCH = 20.0  # times the rating of the grid's supply: then the unit of the values is wrong
_SIGN = {"load": -1.0, "sgen": 1.0, "gen": 1.0}
_QUANTITIES = ("p_mw", "q_mvar")


@dataclass(frozen=True, slots=True)
class _Source:
    """A table and how to call its places in a message."""

    frame: Any
    name: str
    first_row: int  # number of the first row of values, as an editor shows it

    def row(self, position: int) -> str:
        return f"{self.name}: row {position + self.first_row}"

    def cell(self, name: str, position: int) -> str:
        time = self.frame["time"].iloc[position]
        return f"{self.name}: column '{name}', row {position + self.first_row} ({time})"


def read_profiles(
    source: pd.DataFrame | Path, net: pandapowerNet, network: Network, units: Units
) -> tuple[Units, TimeSeries]:
    """Read profiles and connect them to the units.

    Args:
        source: CSV or Parquet file, or a table; see the module's text.
        net: the pandapower network.
        network: the same, converted.
        units: its units.

    Returns:
        The units with columns and scales set, and the time series.

    Raises:
        ProfileError: every fault of the profiles, at once.
    """
    table = _open(source)
    faults: list[Fault] = []
    start, step_s = _time(table, faults)
    targets = _targets(table, units, faults)
    values = np.column_stack(
        [_numbers(table, name, quantity, faults) for name, (_, quantity) in targets.items()]
        or [np.empty((len(table.frame), 0))]
    )
    if not faults:
        faults += _implausible(table, targets, values, network, units)
    if faults:
        raise ProfileError(faults)
    series = TimeSeries(start, step_s, tuple(targets), values)
    return _connect(targets, values, net, units), series


def _open(source: pd.DataFrame | Path) -> _Source:
    import pandas as pd

    if isinstance(source, pd.DataFrame):
        frame, name, first = source, "profiles", 0
        if "time" not in frame.columns and isinstance(frame.index, pd.DatetimeIndex):
            frame = frame.rename_axis("time").reset_index()
        frame = frame.reset_index(drop=True)
    else:
        frame, name, first = _read_file(source), str(source), 2 if source.suffix.lower() == ".csv" else 1
    if "time" not in frame.columns:
        raise ProfileError(Fault(name, "no column 'time'", f"found: {', '.join(map(str, frame.columns[:10]))}"))
    if len(frame) < 2:
        raise ProfileError(Fault(name, f"{len(frame)} rows of values", "give at least two"))
    return _Source(frame, name, first)


def _read_file(path: Path) -> Any:
    import pandas as pd

    kind = path.suffix.lower()
    if kind not in (".csv", ".parquet"):
        raise ProfileError(Fault(str(path), f"unknown kind of file '{path.suffix}'", "give .csv or .parquet"))
    try:
        frame = pd.read_csv(path, low_memory=False) if kind == ".csv" else pd.read_parquet(path)
    except OSError as error:
        raise ProfileError(Fault(str(path), f"cannot be read: {error.strerror or error}")) from error
    except Exception as error:  # a parser's error has many types
        raise ProfileError(Fault(str(path), f"cannot be read: {error}")) from error
    if "time" not in frame.columns and isinstance(frame.index, pd.DatetimeIndex):
        frame = frame.rename_axis("time").reset_index()
    return frame


def _time(table: _Source, faults: list[Fault]) -> tuple[np.datetime64, int]:
    """Start and step; faults for whatever keeps the time from being an even grid."""
    import pandas as pd

    given = table.frame["time"]
    zoned = isinstance(given.dtype, pd.DatetimeTZDtype) or (
        given.dtype.kind not in "Mif" and given.astype(str).str.contains(r"(?:Z|[+-]\d\d:?\d\d)$").any()
    )
    if zoned:
        faults.append(Fault(f"{table.name}: time", "has a time zone", "write UTC or standard time, without offset"))
        return np.datetime64("NaT", "s"), 1
    parsed = pd.to_datetime(given.astype(str), format="ISO8601", errors="coerce")
    bad = np.flatnonzero(parsed.isna())
    _some(faults, bad, lambda k: Fault(table.row(k), f"time '{given.iloc[k]}'", "write 2024-01-31 13:45"))
    if len(bad):
        return np.datetime64("NaT", "s"), 1
    time = parsed.to_numpy("datetime64[s]")
    gap = np.diff(time).astype(np.int64)
    forward = gap[gap > 0]
    if not len(forward):
        faults.append(Fault(f"{table.name}: time", "never moves forward", "sort the rows by time"))
        return time[0], 1
    lengths, counts = np.unique(forward, return_counts=True)
    step = int(lengths[np.argmax(counts)])
    if _DAY_S % step:
        faults.append(Fault(f"{table.name}: time", f"steps of {step} s", "the step must divide a day"))
    _some(faults, np.flatnonzero(gap != step), lambda k: _uneven(table, time, k + 1, step))
    return time[0], step


def _uneven(table: _Source, time: Any, row: int, step: int) -> Fault:
    before, here = time[row - 1], time[row]
    length = int((here - before).astype(np.int64))
    if length == 0:
        problem = f"{here} occurs twice"
    elif length < 0:
        problem = f"{here} comes after {before}: not sorted"
    elif length % step == 0:
        problem = f"{length // step - 1} steps of {step} s are missing between {before} and {here}"
    else:
        problem = f"{length} s from {before} to {here}, elsewhere {step} s"
    return Fault(table.row(row), problem)


def _targets(table: _Source, units: Units, faults: list[Fault]) -> dict[str, tuple[int, str]]:
    """Unit and quantity of each column that names one."""
    known: dict[str, dict[str, int]] = {name: {} for name in _SIGN}
    for position, (kind, index) in enumerate(zip(units.table, units.index, strict=True)):
        if kind in known:
            known[kind].setdefault(str(index), position)
    for position, (kind, name) in enumerate(zip(units.table, units.name, strict=True)):
        if kind in known:
            known[kind][name] = position  # a name goes before an index
    targets: dict[str, tuple[int, str]] = {}
    for name in map(str, table.frame.columns):
        if name == "time":
            continue
        where = f"{table.name}: column '{name}'"
        kind, _, rest = name.partition(".")
        element, _, quantity = rest.rpartition(".")
        if kind not in known or quantity not in _QUANTITIES or not element:
            remedy = "write <load, sgen or gen>.<name or index>.<p_mw or q_mvar>"
            faults.append(Fault(where, "name not understood", remedy))
        elif kind == "gen" and quantity == "q_mvar":
            faults.append(Fault(where, "the reactive power of a gen is what its voltage takes", "leave it out"))
        elif element not in known[kind]:
            faults.append(Fault(where, f"no {kind} in service '{element}'", _suggest(element, known[kind])))
        elif (known[kind][element], quantity) in targets.values():
            faults.append(Fault(where, f"a second column for {quantity} of this {kind}", "remove one"))
        else:
            targets[name] = (known[kind][element], quantity)
    return targets


def _suggest(element: str, known: dict[str, int]) -> str:
    named = [name for name in known if not name.isdigit()] or list(known)
    text = nearest(element, named)
    return text if len(text) <= 300 else f"{text[:300]}..."


def _numbers(table: _Source, name: str, quantity: str, faults: list[Fault]) -> Floats:
    """Values of a column; faults for what is no number, missing or negative."""
    import pandas as pd

    given = table.frame[name]
    numbers: Floats = pd.to_numeric(given, errors="coerce").to_numpy(np.float64, na_value=np.nan)
    empty, bad = given.isna().to_numpy(), ~np.isfinite(numbers)
    _some(faults, np.flatnonzero(empty), lambda k: Fault(table.cell(name, k), "no value"))
    _some(
        faults,
        np.flatnonzero(bad & ~empty),
        lambda k: Fault(table.cell(name, k), f"'{given.iloc[k]}' is not a finite number"),
    )
    if quantity == "p_mw":
        what = "consumption" if name.startswith("load") else "generation"
        _some(
            faults,
            np.flatnonzero(numbers < 0.0),
            lambda k: Fault(table.cell(name, k), f"{what} of {numbers[k]} MW", "give 0 or more"),
        )
    return numbers


def _some(faults: list[Fault], positions: Any, make: Any) -> None:
    """Add the first faults of a kind, and how many more there are."""
    faults.extend(make(int(position)) for position in positions[:_SHOWN])
    if len(positions) > _SHOWN:
        last = make(int(positions[_SHOWN]))
        faults.append(replace(last, problem=f"{last.problem}; {len(positions) - _SHOWN - 1} more like it"))


def _implausible(
    table: _Source, targets: dict[str, tuple[int, str]], values: Floats, network: Network, units: Units
) -> list[Fault]:
    """Sums far above what the grid's supply can carry."""
    capacity = _supply_mva(network)
    if not capacity > 0.0:
        return []
    faults = []
    for kind in _SIGN:
        chosen: Bools = np.array(
            [units.table[unit] == kind and quantity == "p_mw" for unit, quantity in targets.values()],
            dtype=np.bool_,
        )
        total = values[:, chosen].sum(axis=1)
        if chosen.any() and total.max() > _TOO_MUCH * capacity:
            when = table.frame["time"].iloc[int(total.argmax())]
            faults.append(
                Fault(
                    f"{table.name}: {kind} columns",
                    f"they sum to {total.max():.6g} MW at {when}, and {capacity:.6g} MVA supply the grid: "
                    f"looks like {'W' if total.max() > 2e4 * capacity else 'kW'}",
                    "profiles are in MW",
                )
            )
    return faults


def _supply_mva(network: Network) -> float:
    """Rating of all transformers; without any, of the lines at external grids."""
    if network.n_trafo:
        return float(network.trafos.sn_mva.sum())
    lines = network.lines
    at_slack = np.isin(lines.from_bus, network.slack_bus) | np.isin(lines.to_bus, network.slack_bus)
    rating = np.sqrt(3.0) * network.buses.vn_kv[lines.from_bus] * lines.rating_ka
    return float(rating[at_slack & lines.in_service].sum())


def _connect(targets: dict[str, tuple[int, str]], values: Floats, net: Any, units: Units) -> Units:
    """Units with the columns of their profiles, and with scales that keep signs and ratios."""
    p_column, q_column = units.p_column.copy(), units.q_column.copy()
    p_scale, q_scale = units.p_scale_mw.copy(), units.q_scale_mvar.copy()
    p_mw, sn_mva = units.p_mw.copy(), units.sn_mva.copy()
    scaling = {table: dict(zip(net[table].index, column(net[table], "scaling", 1.0), strict=True)) for table in _SIGN}
    for position, (unit, quantity) in enumerate(targets.values()):
        table = units.table[unit]
        factor = scaling[table][units.index[unit]]
        if quantity == "q_mvar":
            q_column[unit], q_scale[unit] = position, _SIGN[table] * factor
            continue
        rated = units.p_scale_mw[unit]
        p_column[unit], p_scale[unit] = position, _SIGN[table] * factor
        p_mw[unit] = max(p_mw[unit], factor * float(values[:, position].max()))
        sn_mva[unit] = max(sn_mva[unit], p_mw[unit])
        if (unit, "q_mvar") not in targets.values():
            ratio = units.q_scale_mvar[unit] / rated if rated else 0.0
            q_column[unit], q_scale[unit] = position, _SIGN[table] * factor * ratio
    return replace(
        units,
        p_column=p_column,
        q_column=q_column,
        p_scale_mw=p_scale,
        q_scale_mvar=q_scale,
        p_mw=p_mw,
        sn_mva=sn_mva,
    )
