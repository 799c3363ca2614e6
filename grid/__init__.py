"""The physical layer: networks, power flow, limits, profiles. It knows no agent and no price.

    case = load_case("simbench:1-LV-semiurb4--2-sw")
    engine = make_engine("power-grid-model", case.network)
    values = case.series.window("2016-06-21T12:00", periods=4, period_s=900)
    p_mw, q_mvar = case.units.injection(values, case.network.n_bus)
    state = engine.solve(p_mw[0], q_mvar[0])
    state.violations(case.network).n_congested

Three phases are in `peerwatt.grid.threephase`; their names here are loaded on first use.

Units are MW, Mvar, kA, pu, percent and degree; power is positive when fed into the grid.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from peerwatt.grid.cases import CASES, CaseData, GridCase, case, case_from_net, load_case
from peerwatt.grid.engine import ENGINES, Engine, engine, make_engine
from peerwatt.grid.network import Buses, Lines, Network, Trafos
from peerwatt.grid.profile_format import ProfileFormat
from peerwatt.grid.series import TimeSeries
from peerwatt.grid.state import BranchState, GridState, Violations
from peerwatt.grid.units import Units

if TYPE_CHECKING:
    from peerwatt.grid.threephase import (
        ThreePhaseEngine,
        ThreePhaseNetwork,
        ThreePhaseState,
        ThreePhaseStates,
        load_three_phase,
        make_three_phase_engine,
        three_phase_from_net,
    )

__all__ = [
    "CASES",
    "ENGINES",
    "BranchState",
    "Buses",
    "CaseData",
    "Engine",
    "GridCase",
    "GridState",
    "Lines",
    "Network",
    "ProfileFormat",
    "ThreePhaseEngine",
    "ThreePhaseNetwork",
    "ThreePhaseState",
    "ThreePhaseStates",
    "TimeSeries",
    "Trafos",
    "Units",
    "Violations",
    "case",
    "case_from_net",
    "engine",
    "load_case",
    "load_three_phase",
    "make_engine",
    "make_three_phase_engine",
    "three_phase_from_net",
]

_THREE_PHASE = {
    "ThreePhaseEngine",
    "ThreePhaseNetwork",
    "ThreePhaseState",
    "ThreePhaseStates",
    "load_three_phase",
    "make_three_phase_engine",
    "three_phase_from_net",
}


def __getattr__(name: str) -> object:
    if name in _THREE_PHASE:
        return getattr(import_module("peerwatt.grid.threephase"), name)
    raise AttributeError(f"module 'peerwatt.grid' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
