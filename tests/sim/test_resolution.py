"""The same day in periods of any length has the same forecast errors."""

from __future__ import annotations

import numpy as np
import pytest

from peerwatt.errors import ScenarioError
from peerwatt.experiments.replica import attempt
from peerwatt.sim.assembly import load_grid
from peerwatt.sim.model import Simulation
from peerwatt.sim.scenario import Scenario
from tests.scenarios import small_case, small_scenario

LARGE = {
    "population.storage_share": 0.0,
    "population.strategies": {"truthful": 1.0},
    "communication.fidelity": "round",
    "forecast.load_error": 0.4,
    "forecast.generation_error": 0.4,
}


def foreseen_mw(period_s: int) -> np.ndarray:
    """Forecast of every peer's net power, mean over each of two quarters of an hour."""
    changes = {**LARGE, "time.period_s": period_s, "time.periods": 1800 // period_s}
    found = []
    with Simulation(small_scenario(2).replace(changes), case=small_case(2)) as simulation:
        while simulation.running:
            simulation.step()
            assert simulation.last is not None
            found.append(simulation.last.p_forecast_mw)
    return np.array(found).reshape(2, -1, len(found[0])).mean(axis=1)


@pytest.mark.parametrize("period_s", [300, 60])
def test_what_peers_foresee_of_a_quarter_of_an_hour_is_the_same(period_s: int) -> None:
    quarters = foreseen_mw(900)
    assert np.allclose(foreseen_mw(period_s), quarters, rtol=0.05, atol=1e-4)
    consumers = (quarters < 0.0).all(axis=0)
    assert consumers.any()
    assert np.allclose(foreseen_mw(period_s)[:, consumers], quarters[:, consumers], atol=1e-12)


def test_a_correlation_of_periods_is_refused_with_what_to_give() -> None:
    with pytest.raises(ScenarioError, match=r"forecast.*give load_correlation_time_h, in hours"):
        small_scenario(2).replace({"forecast": {"load_temporal_correlation": 0.5}})


@pytest.mark.slow
def test_a_day_in_the_village_costs_the_same_in_periods_of_any_length() -> None:
    """Truthful peers, as others draw their prices anew in every period. Errors of an hour are means over it."""
    cost: dict[int, float] = {}
    reference: dict[int, float] = {}
    for period_s in (3600, 900, 300, 60):
        changes = {"time.period_s": period_s, "time.periods": 86_400 // period_s, "communication.fidelity": "round"}
        changes |= {"population.strategies": {"truthful": 1.0}, "record": ["agent"]}
        scenario = Scenario.load("lv-village", changes)
        outcome = attempt("", 0, scenario, lambda scenario=scenario: load_grid(scenario))
        cost[period_s] = float(outcome.kpi["cost_peers_eur"])
        reference[period_s] = float(outcome.kpi["reference_cost_peers_eur"])
    assert max(cost.values()) - min(cost.values()) < 0.03 * cost[900]
    assert max(reference.values()) - min(reference.values()) < 0.01 * reference[900]
    short = [cost[900], cost[300], cost[60]]
    assert max(short) - min(short) < 0.01 * cost[900]
