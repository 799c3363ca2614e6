"""A SimBench grid with its year of profiles: 2016 in steps of 15 minutes.

Meinecke et al.: SimBench, a benchmark dataset of electric power systems, Energies 13 (2020) 3290. The
profiles are shares of the elements' rated power.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from peerwatt.errors import Fault, GridDataError
from peerwatt.grid.columns import texts
from peerwatt.grid.convert import convert_arranged, quiet
from peerwatt.grid.netread import arranged
from peerwatt.grid.network import Network
from peerwatt.grid.series import TimeSeries
from peerwatt.grid.unit_table import read_units
from peerwatt.grid.units import CONSTANT, Units
from peerwatt.registry import nearest

if TYPE_CHECKING:
    from pandapower import pandapowerNet

__all__ = ["build_simbench", "simbench_net"]

_STEP_S = 900


def simbench_net(code: str) -> pandapowerNet:
    """Read a SimBench grid from the files in the simbench package.

    Args:
        code: SimBench code, e.g. ``1-LV-semiurb4--2-sw``.

    Raises:
        GridDataError: no grid has this code.
    """
    with quiet():
        import simbench

        known = simbench.collect_all_simbench_codes()
        if code not in known:
            close = nearest(code, [str(item) for item in known])
            raise GridDataError(Fault(f"simbench:{code}", "no SimBench grid has this code", close))
        return simbench.get_simbench_net(code)


def build_simbench(code: str) -> tuple[Network, Units, TimeSeries]:
    """Convert a SimBench grid and its profiles.

    Args:
        code: SimBench code.

    Raises:
        GridDataError: unknown code, or a grid that cannot be used.
    """
    source, where = simbench_net(code), f"simbench:{code}"
    net = arranged(source, where)
    network = convert_arranged(net, where)
    units = read_units(net, where)
    series, positions = _series(net, source.profiles, units)
    p_column = np.full(len(units), CONSTANT, dtype=np.int64)
    q_column = p_column.copy()
    for row, (p_name, q_name) in enumerate(_columns(net, units)):
        p_column[row] = positions.get(p_name, CONSTANT)
        q_column[row] = positions.get(q_name, CONSTANT)
    return network, replace(units, p_column=p_column, q_column=q_column), series


def _columns(net: Any, units: Units) -> list[tuple[str, str]]:
    """Names of the profile columns for p and q of each unit; empty where it has none.

    As in `simbench.get_absolute_values`, a generator's reactive power is constant.
    """
    profile = {
        (table, int(index)): text
        for table in ("load", "sgen", "gen")
        for index, text in zip(net[table].index, texts(net[table], "profile"), strict=True)
    }
    found = []
    for table, index in zip(units.table, units.index, strict=True):
        name = profile.get((table, int(index)), "")
        if not name:
            found.append(("", ""))
        elif table == "load":
            found.append((f"{name}_pload", f"{name}_qload"))
        else:
            found.append((name, ""))
    return found


def _series(net: Any, profiles: Any, units: Units) -> tuple[TimeSeries, dict[str, int]]:
    """The profile columns that units use, and their positions."""
    import pandas as pd

    wanted = {name for pair in _columns(net, units) for name in pair if name}
    values, columns = [], []
    for table in ("load", "powerplants", "renewables"):
        frame = profiles[table]
        for name in frame.columns:
            if name in wanted and name not in columns:
                columns.append(str(name))
                values.append(frame[name].to_numpy(np.float64))
    missing = wanted - set(columns)
    if missing:
        raise GridDataError(Fault("simbench", f"profiles are missing: {', '.join(sorted(missing))}"))
    time = profiles["load"]["time"]
    first = pd.to_datetime(str(time.iloc[0]), format="%d.%m.%Y %H:%M")
    series = TimeSeries(np.datetime64(first, "s"), _STEP_S, tuple(columns), np.column_stack(values))
    return series, {name: position for position, name in enumerate(columns)}
