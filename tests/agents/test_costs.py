"""Peers with cost functions of their own: what they do alone, what they bring to the market, what it costs."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar

from peerwatt.agents.costs import Costs
from peerwatt.agents.devices import Outlook
from peerwatt.agents.directive import Directive
from peerwatt.agents.flexibility import Position
from peerwatt.agents.settings import CostSettings, TariffSettings
from peerwatt.errors import ScenarioError
from tests.scenarios import small_case, small_scenario

ONE = np.ones(1)
price = st.floats(0.0, 200.0)


def position(cost: CostSettings, forecast_mw: float, tariff: TariffSettings) -> tuple[Costs, Outlook, Position]:
    """One peer: a generator where the forecast is positive, else a load."""
    generates = np.array([forecast_mw > 0.0])
    load, generation, zero = min(forecast_mw, 0.0) * ONE, max(forecast_mw, 0.0) * ONE, 0.0 * ONE
    outlook = Outlook(load, 0.3 * load, generation, 0.2 * generation, zero, zero)
    costs = Costs.of(["unit"], generates, {"unit": cost})
    return costs, outlook, costs.positions(Position.of(load + generation, zero, tariff), outlook, tariff)


@given(
    forecast=st.floats(0.1, 5.0),
    load=st.booleans(),
    a=st.floats(0.01, 50.0),
    sigma=st.floats(0.0, 100.0),
    b=price,
    ends=st.tuples(st.floats(0.0, 1.0), st.floats(0.0, 1.0)).map(sorted),
    tariff=st.tuples(price, price).map(sorted),
)
def test_firm_power_is_the_best_it_can_do_with_the_supplier_alone(
    forecast: float, *, load: bool, a: float, sigma: float, b: float, ends: list[float], tariff: list[float]
) -> None:
    settings = CostSettings(a_eur_per_mw2h=a, sigma_eur_per_mwh=sigma, b_eur_per_mwh=b, low=ends[0], high=ends[1])
    prices = TariffSettings(feed_in_eur_per_mwh=tariff[0], supply_eur_per_mwh=tariff[1])
    costs, outlook, found = position(settings, -forecast if load else forecast, prices)
    own = prices.supply_eur_per_mwh if load else prices.feed_in_eur_per_mwh
    low, high = sorted(np.array(ends) * (-forecast if load else forecast))

    def paid(p_mw: float) -> float:
        return float(costs.cost_eur(p_mw * ONE, outlook, 1.0)[0] - own * p_mw)

    best = minimize_scalar(paid, bounds=(low, high), method="bounded") if high - low > 1e-6 else None
    assert low - 1e-9 <= found.firm_mw[0] <= high + 1e-9
    assert best is None or paid(found.firm_mw[0]) <= best.fun + 1e-6 * max(1.0, abs(best.fun))
    end = found.firm_mw[0] + (found.room_mw[0] if not load else -found.room_mw[0])
    assert end == pytest.approx(low if load else high, abs=1e-9)


@given(st.floats(0.1, 5.0), st.floats(-0.7, 0.7))
def test_what_trading_is_worth_is_the_difference_of_costs(forecast: float, move: float) -> None:
    settings = CostSettings(sigma_eur_per_mwh=90.0, b_eur_per_mwh=120.0, low=0.0, high=2.0)
    tariff = TariffSettings(feed_in_eur_per_mwh=0.0, supply_eur_per_mwh=60.0)
    costs, outlook, found = position(settings, -forecast, tariff)
    moved = found.firm_mw + move * forecast
    cost = costs.cost_eur(moved, outlook, 1.0) - costs.cost_eur(found.firm_mw, outlook, 1.0)
    assert found.utility_eur(moved, tariff, 1.0) == pytest.approx(-cost)


@pytest.mark.parametrize("forecast", [-2.0, 2.0])
@pytest.mark.parametrize("change", [0.0, 0.4, -0.4])
def test_power_follows_the_cost_function_at_the_power_factor_of_the_devices(forecast: float, change: float) -> None:
    tariff = TariffSettings(feed_in_eur_per_mwh=0.0, supply_eur_per_mwh=60.0)
    settings = CostSettings(sigma_eur_per_mwh=90.0, b_eur_per_mwh=110.0 if forecast < 0.0 else -40.0, high=1.2)
    _, outlook, found = position(settings, forecast, tariff)
    assert 0.0 < abs(found.firm_mw[0]) < 2.0
    p_mw, q_mvar = Directive.none(1).schedule(outlook, found, 0.0 * ONE, change * ONE)
    assert p_mw == pytest.approx(found.firm_mw + change)
    assert q_mvar == pytest.approx((0.3 if forecast < 0.0 else 0.2) * p_mw)


def test_an_order_moves_a_load_and_it_does_not_trade_its_way_back() -> None:
    tariff = TariffSettings(feed_in_eur_per_mwh=0.0, supply_eur_per_mwh=60.0)
    settings = CostSettings(sigma_eur_per_mwh=90.0, b_eur_per_mwh=120.0, low=0.7, high=1.3)
    _, outlook, found = position(settings, -1.0, tariff)
    order = Directive.none(1)
    order.hear(np.array([0]), np.array([[0.1, 0.0, 0.0]]), 0.0, 0.0, 0.5, 7.0)
    told = order.position(found)
    assert told.firm_mw == pytest.approx(-0.6)
    assert told.room_mw == 0.0
    p_mw, q_mvar = order.schedule(outlook, found, 0.0 * ONE, 0.0 * ONE)
    assert p_mw == pytest.approx(-0.6)
    assert q_mvar == pytest.approx(-0.6 * 0.3 * 0.5)


def test_released_generation_becomes_room() -> None:
    tariff = TariffSettings(feed_in_eur_per_mwh=0.0, supply_eur_per_mwh=60.0)
    settings = CostSettings(a_eur_per_mw2h=0.1, b_eur_per_mwh=3.0, low=1.0)
    _, outlook, found = position(settings, 2.0, tariff)
    assert (found.firm_mw[0], found.room_mw[0]) == (2.0, 0.0)
    order = Directive.none(1)
    order.hear(np.array([0]), np.zeros((1, 3)), np.inf, 0.5, 1.0, 0.0)
    told = order.position(found)
    assert (told.firm_mw[0], told.room_mw[0]) == (1.5, 0.5)
    assert told.marginal == pytest.approx(3.0 + 0.1 * 1.5)
    assert order.schedule(outlook, found, 0.0 * ONE, 0.2 * ONE)[0] == pytest.approx(1.7)


@pytest.mark.parametrize(
    ("population", "where"),
    [
        ({"costs": {"load": {}}}, "population.costs"),
        ({"peer_of": "unit", "costs": {"windmill": {}}}, "population.costs.windmill"),
        ({"peer_of": "unit", "costs": {"load": {"low": 0.9, "high": 0.2}}}, "population.costs.load"),
        ({"peer_of": "unit", "costs": {"load": {}}, "pv_share": 0.5}, "population.pv_share"),
    ],
)
def test_cost_functions_that_fit_nobody_are_refused(population: dict[str, object], where: str) -> None:
    from peerwatt.sim.model import Simulation

    changes = {f"population__{key}": value for key, value in population.items()}
    with pytest.raises(ScenarioError) as error:
        Simulation(small_scenario(2, **changes), case=small_case(2))
    assert [fault.where for fault in error.value.faults] == [where]
