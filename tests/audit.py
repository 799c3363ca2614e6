"""Runs that leave nothing constant, one for each preset, for those who work everything out again from what is recorded.

The street has several peers at a bus, loads of other power factors than its plants, loads that depend on the voltage,
batteries, and is short of capacity at noon and in the evening. Forecasts are wrong, messages get lost, trading takes
rounds, the network costs a fee, a resource outside offers flexibility and a TSO asks for regulation where it may.
"""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from contextlib import suppress
from datetime import date
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from filelock import FileLock

from peerwatt.grid.cases import GridCase, case_from_net
from peerwatt.sim.model import Simulation
from peerwatt.sim.results import Results
from peerwatt.sim.scenario import Scenario

__all__ = ["DESIGNS", "OUTSIDE", "PERIODS", "VOLTAGE_DEPENDENT", "audited", "street"]

PERIODS = 8
N_BUSES = 6

_TIGHT = {"grid.max_loading_percent": 30.0, "grid.min_vm_pu": 0.97, "grid.max_vm_pu": 1.03}
_LFM = {
    "flexibility.outside": [
        {"name": "Genset", "bus": "House 3", "up_mw": 0.01, "up_eur_per_mwh": 220.0, "down_mw": 0.0},
        {"name": "Boiler", "bus": "House 5", "down_mw": 0.01, "down_eur_per_mwh": 20.0, "up_mw": 0.0},
    ],
    "flexibility.participants": ["peers", "outside"],
}
OUTSIDE = ("Genset", "Boiler")
"""Resources outside the market."""

_ASKED = {
    "tso.requests": [
        {"from_period": 1, "to_period": 3, "p_mw": 0.004},
        {"from_period": 5, "to_period": 6, "p_mw": -0.003},
    ],
    "tso.price_eur_per_mwh": 150.0,
}

DESIGNS: dict[str, dict[str, Any]] = {
    "auction": {"market.mechanism": "double_auction"},
    "bilateral": {"market.mechanism": "bilateral"},
    "cm1": {"coordination.preset": "cm1", **_LFM},
    "cm2": {"coordination.preset": "cm2", **_LFM},
    "cm2 first": {"coordination.preset": "cm2", "coordination.sequence": "lfm_first", **_LFM},
    "cm2 iterative": {"coordination.preset": "cm2", "coordination.sequence": "iterative", **_LFM},
    "cm3-v1": {"coordination.preset": "cm3-v1", "coordination.rounds": 2},
    "cm3-v2": {"coordination.preset": "cm3-v2", "coordination.rounds": 2},
    "cm4": {"coordination.preset": "cm4", "coordination.rounds": 2, "coordination.lfm": True, **_LFM},
    "cm4 incentives": {
        "coordination.preset": "cm4",
        "coordination.scheme": "incentive_matrix",
        "coordination.rounds": 2,
        "coordination.lfm": True,
        **_LFM,
    },
    "cost allocation": {
        "coordination.service": "implicit",
        "coordination.scheme": "cost_allocation",
        "coordination.rounds": 2,
    },
    "cm5": {"coordination.preset": "cm5", "coordination.rounds": 2},
    "p2p_cong": {"coordination.preset": "p2p_cong"},
    "p2p_volt": {"coordination.preset": "p2p_volt"},
    "p2p_freq": {"coordination.preset": "p2p_freq", **_ASKED},
    "p2p_full": {"coordination.preset": "p2p_full", **_ASKED},
}
"""What is different in each run: every preset, with all that it may have."""

VOLTAGE_DEPENDENT = ("auction", "bilateral", "cm3-v1", "p2p_cong", "p2p_volt", "p2p_freq", "p2p_full")
"""Runs on the street whose loads depend on the voltage; the others need sensitivities of constant power."""


@cache
def street(step_s: int = 3600, *, voltage_dependent: bool = False) -> GridCase:
    """A feeder of `N_BUSES` buses with several units at each; profiles over `PERIODS` periods of `step_s`.

    Args:
        step_s: length of a period.
        voltage_dependent: whether the loads at House 4 depend on the voltage.
    """
    import pandapower as pp

    rng = np.random.default_rng(11)
    net = pp.create_empty_network()
    high = pp.create_bus(net, 20.0, name="grid")
    low = [pp.create_bus(net, 0.4, name=f"House {i}") for i in range(N_BUSES)]
    pp.create_ext_grid(net, high, vm_pu=1.0)
    pp.create_transformer(net, high, low[0], "0.25 MVA 20/0.4 kV")
    for a, b in pairwise(low):
        pp.create_line(net, a, b, 0.08, "NAYY 4x150 SE")
    time = pd.date_range("2030-06-01", periods=PERIODS, freq=f"{step_s}s")
    columns: dict[str, Any] = {"time": time}
    shape = np.array([0.5, 0.9, 0.6, 0.3, 0.3, 0.8, 1.2, 1.0])
    for i in range(1, N_BUSES):
        for k in range(3):
            name = f"load {i}{'abc'[k]}"
            zip_ = {"const_z_p_percent": 40.0, "const_i_p_percent": 20.0} if i == 4 and voltage_dependent else {}
            pp.create_load(net, low[i], p_mw=0.010, q_mvar=0.002 + 0.001 * k, name=name, type="household", **zip_)
            columns[f"load.{name}.p_mw"] = 0.010 * shape * rng.uniform(0.5, 1.0, PERIODS)
            if (i + k) % 3 == 0 and i != 4:
                pp.create_sgen(net, low[i], p_mw=0.045, q_mvar=0.0, name=f"pv {i}{'abc'[k]}", type="PV")
                sun = np.array([0.1, 0.4, 0.7, 1.0, 0.9, 0.5, 0.1, 0.0])
                columns[f"sgen.pv {i}{'abc'[k]}.p_mw"] = 0.045 * sun * rng.uniform(0.7, 1.0)
    pp.create_storage(net, low[2], p_mw=0.0, max_e_mwh=0.02, sn_mva=0.01, soc_percent=40.0, name="battery")
    return case_from_net(net, profiles=pd.DataFrame(columns), name="street")


def scenario(design: str, step_s: int = 3600, **changes: Any) -> Scenario:
    """The scenario of a design; changes by key path with ``__`` for dots."""
    base = Scenario().replace(
        {
            "name": design,
            "seed": 5,
            "time.start": date(2030, 6, 1),
            "time.periods": PERIODS,
            "time.period_s": step_s,
            "population.size": 14,
            "population.demand_response": {"household": 0.3},
            "population.strategies": {"truthful": 1.0, "zero_intelligence": 1.0},
            "tariff.network_fee_eur_per_mwh": 12.0,
            "tariff.losses_eur_per_mwh": 130.0,
            "tariff.imbalance_short_eur_per_mwh": 390.0,
            "tariff.imbalance_long_eur_per_mwh": 35.0,
            "forecast.load_error": 0.15,
            "forecast.generation_error": 0.2,
            "communication.loss": 0.08,
            **_TIGHT,
            **DESIGNS[design],
        }
    )
    return base.replace({key.replace("__", "."): value for key, value in changes.items()})


@cache
def audited(design: str, step_s: int = 3600, right: bool = False) -> Results:
    """The results of a design, run once.

    Args:
        design: of `DESIGNS`.
        step_s: length of a period.
        right: whether forecasts are right and all messages arrive.
    """
    changes = {"forecast__load_error": 0.0, "forecast__generation_error": 0.0, "communication__loss": 0.0}
    folder = _shared() / f"{design} {step_s} {right}"
    with FileLock(f"{folder}.lock"):  # the workers of a test run share it
        if not folder.exists():
            chosen = scenario(design, step_s, **(changes if right else {}))
            case = street(step_s, voltage_dependent=design in VOLTAGE_DEPENDENT)
            with Simulation(chosen, out=folder, case=case) as simulation:
                simulation.run()
    return Results(folder)


def _shared() -> Path:
    """A folder for the results, taken away when who made it ends."""
    folder = Path(tempfile.gettempdir()) / f"audit-{os.environ.get('PYTEST_XDIST_TESTRUNUID', os.getpid())}"
    with suppress(FileExistsError):
        folder.mkdir()
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder
