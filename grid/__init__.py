"""The physical layer: networks, power flow, limits, profiles. It knows no agent and no price.

    case = load_case("simbench:1-LV-semiurb4--2-sw")
    engine = make_engine("power-grid-model", case.network)
    values = case.series.window("2016-06-21T12:00", periods=4, period_s=900)
    p_mw, q_mvar = case.units.injection(values, case.network.n_bus)
    state = engine.solve(p_mw[0], q_mvar[0])
    state.violations(case.network).n_congested

Units are MW, Mvar, kA, pu, percent and degree; power is positive when fed into the grid.
"""

from __future__ import annotations

from peerwatt.grid.cases import CASES, CaseData, GridCase, case, case_from_net, load_case
from peerwatt.grid.engine import ENGINES, Engine, engine, make_engine
from peerwatt.grid.network import Buses, Lines, Network, Trafos
from peerwatt.grid.series import TimeSeries
from peerwatt.grid.state import BranchState, GridState, Violations
from peerwatt.grid.units import Units

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
    "TimeSeries",
    "Trafos",
    "Units",
    "Violations",
    "case",
    "case_from_net",
    "engine",
    "load_case",
    "make_engine",
]
