from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar

from peerwatt.agents.flexibility import Position
from peerwatt.agents.settings import TariffSettings

powers = st.floats(-0.01, 0.01).filter(lambda p: abs(p) > 1e-5)
bands = st.one_of(st.just(0.0), st.floats(1e-4, 0.005))
tariffs = st.builds(
    lambda low, spread: TariffSettings(feed_in_eur_per_mwh=low, supply_eur_per_mwh=low + spread),
    st.floats(0.0, 200.0),
    st.floats(1.0, 400.0),
)


def position(usual: float, band: float, tariff: TariffSettings) -> Position:
    return Position.of(np.array([usual]), np.array([band]), tariff)


@given(powers, st.floats(1e-4, 0.005), tariffs)
def test_firm_power_is_what_a_peer_does_with_the_supplier_alone(
    usual: float, band: float, tariff: TariffSettings
) -> None:
    """It maximises utility less payment over the extra consumption, found here by an independent search."""
    own = position(usual, band, tariff)
    slope = (tariff.supply_eur_per_mwh - tariff.feed_in_eur_per_mwh) / band

    def loss(extra: float) -> float:
        p_mw = usual - extra
        price = tariff.feed_in_eur_per_mwh if p_mw > 0.0 else tariff.supply_eur_per_mwh
        utility = tariff.supply_eur_per_mwh * extra - 0.5 * slope * extra**2
        return -(utility + price * p_mw) * 1e6

    best = minimize_scalar(loss, bounds=(0.0, band), method="bounded", options={"xatol": 1e-12})
    assert loss(usual - own.firm_mw[0]) <= best.fun + 1e-6


@given(powers, bands, tariffs)
def test_steps_and_segments_offer_the_same_at_the_same_prices(
    usual: float, band: float, tariff: TariffSettings
) -> None:
    own = position(usual, band, tariff)
    limit = own.truthful(tariff)
    sign = 1.0 if own.producer[0] else -1.0
    power, price = (part[0] for part in own.steps(limit, tariff))
    p_min, p_max, a, b = (part[0] for part in own.cost(limit, tariff))
    offered = p_min + p_max
    assert (power * sign >= 0.0).all()
    assert offered == pytest.approx([power[0], power[1:].sum()], abs=1e-15)
    assert (b[0], a[0]) == (limit[0], 0.0)
    # A consumer's steps get cheaper, a producer's dearer, all within the tariffs.
    assert (np.diff(price[1:] * sign) >= -1e-9).all()
    assert (price >= tariff.feed_in_eur_per_mwh - 1e-9).all()
    assert (price <= tariff.supply_eur_per_mwh + 1e-9).all()
    # The marginal cost at the middle of a step is its price.
    if band > 0.0:
        middles = np.cumsum(power[1:]) - 0.5 * power[1:]
        assert a[1] * middles + b[1] == pytest.approx(price[1:], rel=1e-9)


@given(powers, st.floats(1e-4, 0.005), tariffs)
def test_utility_is_the_integral_of_the_marginal_cost(usual: float, band: float, tariff: TariffSettings) -> None:
    own = position(usual, band, tariff)
    p_min, p_max, a, b = (part[0, 1] for part in own.cost(own.truthful(tariff), tariff))
    traded = 0.3 * (p_min + p_max)
    utility = own.utility_eur(own.firm_mw + traded, tariff, 0.25)[0]
    assert utility == pytest.approx(-(0.5 * a * traded**2 + b * traded) * 0.25, abs=1e-9)


def test_the_network_fee_leaves_buyers_less_for_the_price() -> None:
    free, charged = TariffSettings(), TariffSettings(network_fee_eur_per_mwh=20.0)
    for usual, less in ((-0.002, 20.0), (0.002, 0.0)):
        own = position(usual, 0.001, free)
        difference = own.steps(own.truthful(free), free)[1] - own.steps(own.truthful(free), charged)[1]
        assert difference == pytest.approx(np.full((1, 4), less))
