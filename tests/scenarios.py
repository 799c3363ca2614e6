"""Small scenarios for tests: grids of a few buses, made in memory, with profiles of a few periods."""

from __future__ import annotations

from datetime import date
from functools import cache
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd

from peerwatt.grid.cases import GridCase, case_from_net
from peerwatt.sim.scenario import Scenario

START = "2030-06-01"
STEP_S = 900


def feeder(n_buses: int = 6, *, order: np.ndarray | None = None) -> Any:
    """A radial 0.4 kV feeder: every bus but the first has a load, every second one a PV plant, one a battery.

    Args:
        n_buses: buses on the low-voltage side.
        order: in which order the loads and plants are written down.
    """
    import pandapower as pp

    net = pp.create_empty_network()
    high = pp.create_bus(net, 20.0, name="grid")
    low = [pp.create_bus(net, 0.4, name=f"House {i}") for i in range(n_buses)]
    pp.create_ext_grid(net, high, vm_pu=1.0)
    pp.create_transformer(net, high, low[0], "0.25 MVA 20/0.4 kV")
    for a, b in pairwise(low):
        pp.create_line(net, a, b, 0.05, "NAYY 4x50 SE")
    rows = np.arange(1, n_buses) if order is None else order
    for i in rows:
        pp.create_load(net, low[i], p_mw=0.004, q_mvar=0.001, name=f"load {i}")
        if i % 2 == 0:
            pp.create_sgen(net, low[i], p_mw=0.01, name=f"pv {i}", type="PV")
    pp.create_storage(net, low[2], p_mw=0.0, max_e_mwh=0.01, sn_mva=0.005, soc_percent=0.0, name="battery")
    return net


def profiles(net: Any, periods: int, seed: int = 0) -> pd.DataFrame:
    """Random loads and a sunny morning for every load and plant of a net, MW; columns by name."""
    rng, periods = np.random.default_rng(seed), max(periods, 2)
    time = pd.date_range(START, periods=periods, freq=f"{STEP_S}s")
    columns: dict[str, Any] = {"time": time}
    for name in sorted(net.load.name):
        columns[f"load.{name}.p_mw"] = rng.uniform(0.0005, 0.006, periods)
    for name in sorted(net.sgen.name):
        columns[f"sgen.{name}.p_mw"] = 0.01 * np.sin(np.linspace(0.2, 3.0, periods)) * rng.uniform(0.5, 1.0)
    return pd.DataFrame(columns)


def small_case(periods: int = 8, n_buses: int = 6, *, seed: int = 0, order: np.ndarray | None = None) -> GridCase:
    """The feeder with its profiles as a case. Nothing of a case can be written, so that tests share it."""
    return _small_case(periods, n_buses, seed, None if order is None else tuple(order.tolist()))


@cache
def _small_case(periods: int, n_buses: int, seed: int, order: tuple[int, ...] | None) -> GridCase:
    net = feeder(n_buses, order=None if order is None else np.array(order))
    return case_from_net(net, profiles=profiles(net, periods, seed), name="feeder")


def small_scenario(periods: int = 8, **changes: Any) -> Scenario:
    """A scenario for `small_case`; changes by key path with ``__`` for dots."""
    base = Scenario().replace({"name": "small", "time.start": date.fromisoformat(START), "time.periods": periods})
    return base.replace({key.replace("__", "."): value for key, value in changes.items()})
