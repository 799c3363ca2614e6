"""Energy is conserved behind every meter and in sum, whatever market and grid are coordinated by."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from peerwatt.agents.coordination import PRESETS
from peerwatt.grid.cases import GridCase, case_from_net
from peerwatt.sim.model import Simulation
from peerwatt.sim.period import PeriodResult
from peerwatt.sim.results import Results
from tests.scenarios import feeder, profiles, small_case, small_scenario

PERIODS = 3
USUAL: dict[str, Any] = {
    "population.size": 12,  # several peers at a bus
    "population.storage_share": 0.5,
    "population.storage_initial_charge": 0.4,
    "population.storage_return_h": 0.5,
    "population.demand_response": {"household": 0.3},
    "forecast.load_error": 0.3,
    "forecast.generation_error": 0.3,
    "communication.loss": 0.1,
    "grid.max_loading_percent": 8.0,
}


@pytest.fixture(scope="module")
def on_voltage() -> GridCase:
    """The feeder, with a load that depends on the voltage at the last bus."""
    net = feeder()
    alone = net.load.bus == net.bus.index[-1]
    net.load["const_z_p_percent"] = np.where(alone, 60.0, 0.0)
    net.load["const_z_q_percent"] = np.where(alone, 60.0, 0.0)
    return case_from_net(net, profiles=profiles(net, PERIODS), name="zip feeder")


def assert_balanced(result: PeriodResult, before_mwh: np.ndarray, simulation: Simulation) -> None:
    own = result.p_generation_mw - result.p_load_mw + result.p_storage_mw
    assert np.allclose(own, result.p_delivered_mw, atol=1e-12)
    state = result.states["delivery"]
    assert state.converged
    # generation + import = consumption + export + losses + what storages took
    assert own.sum() + state.slack_p_mw == pytest.approx(state.losses_mw, abs=1e-8)
    batteries = simulation.context.population.batteries
    way, hours = np.sqrt(batteries.efficiency), result.period_h
    charged, discharged = np.maximum(-result.p_storage_mw, 0.0), np.maximum(result.p_storage_mw, 0.0)
    after = before_mwh + (charged * way - discharged / way) * hours
    kept = (1.0 - batteries.self_discharge_per_day) ** (hours / 24.0)
    assert np.allclose(result.soc_mwh, after * kept, atol=1e-12)


def assert_balanced_throughout(case: GridCase, preset: str | None) -> None:
    scenario = small_scenario(PERIODS).replace({**USUAL, "coordination.preset": preset})
    with Simulation(scenario, case=case) as simulation:
        before = simulation.context.population.soc_initial_mwh
        assert before.any()
        while simulation.running:
            simulation.step()
            assert simulation.last is not None
            assert_balanced(simulation.last, before, simulation)
            before = simulation.last.soc_mwh


@pytest.mark.parametrize("preset", [None, *PRESETS])
def test_what_is_generated_and_drawn_is_used_fed_out_lost_or_stored(preset: str | None) -> None:
    assert_balanced_throughout(small_case(PERIODS), preset)


def test_consumption_is_what_the_meters_saw_where_it_depends_on_the_voltage(on_voltage: GridCase) -> None:
    assert on_voltage.network.voltage_dependence is not None
    assert_balanced_throughout(on_voltage, None)


def test_key_figures_of_energy_agree_with_each_other(tmp_path: Path) -> None:
    scenario = small_scenario(PERIODS).replace({**USUAL, "population.storage_return_h": None})
    with Simulation(scenario, tmp_path / "run", small_case(PERIODS)) as simulation:
        simulation.run()
    results = Results(tmp_path / "run")
    kpi, batteries = results.kpi, simulation.context.population.batteries
    initial, final = results.peer.soc_initial_mwh.sum(), batteries.soc_mwh.sum()
    assert kpi["stored_initial_mwh"] == pytest.approx(initial)
    assert kpi["stored_final_mwh"] == pytest.approx(final)
    assert kpi["stored_change_mwh"] == pytest.approx(final - initial) != 0.0
    assert kpi["stored_change_eur"] == pytest.approx(80.0 * (final - initial))
    assert kpi["battery_losses_mwh"] > 0.0
    come = float(kpi["generation_mwh"]) + float(kpi["import_mwh"])
    gone = sum(
        float(kpi[name])
        for name in ("consumption_mwh", "export_mwh", "losses_mwh", "stored_change_mwh", "battery_losses_mwh")
    )
    assert come == pytest.approx(gone, abs=1e-8)
    at_peak = results.agent.query(f"period == {kpi['peak_import_period']}").p_storage_mw.sum()
    assert kpi["peak_import_storage_mw"] == pytest.approx(at_peak)
