"""Power flows of runs, worked out again by plain pandapower from what peers and resources outside do."""

from __future__ import annotations

from itertools import cycle

import numpy as np
import pandapower as pp
import pytest

from peerwatt.sim.results import Results
from tests.audit import DESIGNS, OUTSIDE, VOLTAGE_DEPENDENT, audited

SIGN = {"consume_less": 1.0, "generate_less": -1.0, "consume_more": -1.0}
SAMPLED = dict(zip(DESIGNS, cycle((3, 6, 1)), strict=False))
"""Which period of each run is recomputed: noon with curtailment, evening peak or morning."""


def activated(results: Results, period: int, *, outside: bool) -> dict[int, float]:
    """Power that the flexibility market has moved, by bus, of peers or of resources outside."""
    if "flexibility" not in results.tables:
        return {}
    rows = results.flexibility.astype({"agent": str, "product": str})
    rows = rows[(rows.period == period) & (rows.agent.isin(OUTSIDE) == outside)]
    power = rows["product"].map(SIGN) * rows.activated_mw
    return power.groupby(rows.bus).sum().to_dict()


def by_bus(results: Results, period: int, column: str) -> dict[int, float]:
    """Sum of a column of `agent` at each bus."""
    rows = results.agent[results.agent.period == period].astype({"agent": str})
    bus = rows.agent.map(results.peer.astype({"agent": str}).set_index("agent").bus)
    return rows[column].groupby(bus).sum().to_dict()


def added(*parts: dict[int, float]) -> dict[int, float]:
    return {bus: sum(part.get(bus, 0.0) for part in parts) for bus in {key for part in parts for key in part}}


def solve(net: pp.pandapowerNet, bus: np.ndarray, p_mw: np.ndarray, q_mvar: np.ndarray, zip_bus: int | None) -> None:
    """Solve the network of a run with these injections and nothing else."""
    for table in ("load", "sgen", "storage"):
        net[table].drop(net[table].index, inplace=True)
    for index, p, q in zip(bus, p_mw, q_mvar, strict=True):
        shares = {"const_z_p_percent": 40.0, "const_i_p_percent": 20.0} if index == zip_bus else {}
        pp.create_load(net, index, -p, -q, **shares)
    pp.runpp(net, trafo_model="pi", tolerance_mva=1e-10, numba=False, lightsim2grid=False)


@pytest.mark.parametrize("design", DESIGNS)
def test_injections_are_those_of_the_peers_and_of_resources_outside(design: str) -> None:
    results = audited(design)
    for period in range(results.manifest["periods_done"]):
        outside = activated(results, period, outside=True)
        expected = {
            "forecast": by_bus(results, period, "p_forecast_mw"),
            "p2p": by_bus(results, period, "p_p2p_mw"),
            "final": added(by_bus(results, period, "p_p2p_mw"), activated(results, period, outside=False), outside),
            "delivery": added(by_bus(results, period, "p_mw"), outside),
        }
        if design in ("cm2 first", "cm2 iterative", "cm5"):  # what was activated before counts at stage p2p too
            del expected["p2p"]
        if design.startswith("p2p_"):  # what is ordered is in the schedule, what the virtual load takes is at no bus
            del expected["forecast"], expected["p2p"]
        rows = results.bus[results.bus.period == period]
        for stage, power in expected.items():
            found = rows[rows.stage == stage].set_index("bus").p_mw
            for bus, value in found.items():
                if design in VOLTAGE_DEPENDENT and stage == "delivery":
                    continue  # meters are at the voltage, injections at 1 pu: see below
                assert value == pytest.approx(power.get(bus, 0.0), abs=1e-9), (design, period, stage, bus)


@pytest.mark.parametrize("design", DESIGNS)
def test_every_stage_is_what_plain_pandapower_solves(design: str) -> None:
    results = audited(design)
    zip_bus = 5 if design in VOLTAGE_DEPENDENT else None
    net = pp.from_json(str(results.path / "network.json"))
    for period in (SAMPLED[design],):
        rows = results.bus[results.bus.period == period]
        for stage, at in rows.groupby("stage", observed=True):
            solve(net, *(at[name].to_numpy() for name in ("bus", "p_mw", "q_mvar")), zip_bus)
            assert np.abs(net.res_bus.vm_pu.loc[at.bus].to_numpy() - at.vm_pu).max() < 1e-7
            for name in ("line", "trafo"):
                table = results.table(name)
                table = table[(table.period == period) & (table.stage == stage)]
                loading = net[f"res_{name}"].loading_percent.loc[table[name]].to_numpy()
                assert np.abs(loading - table.loading_percent).max() < 1e-4
            total = results.period[(results.period.period == period) & (results.period.stage == stage)].iloc[0]
            assert net.res_ext_grid.p_mw.sum() == pytest.approx(total.slack_p_mw, abs=1e-8)
            losses = net.res_line.pl_mw.sum() + net.res_trafo.pl_mw.sum()
            assert losses == pytest.approx(total.losses_mw, abs=1e-8)
            if stage == "delivery":
                metered = added(by_bus(results, period, "p_mw"), activated(results, period, outside=True))
                for bus, value in metered.items():
                    if bus == 0:  # the external grid, where the TSO's virtual load is
                        continue
                    assert -net.res_bus.p_mw.loc[bus] == pytest.approx(value, abs=1e-7), (design, period, bus)
