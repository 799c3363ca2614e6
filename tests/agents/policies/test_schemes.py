"""Schemes of the DSO: what they block, reward and charge, against flows recomputed pair by pair."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from peerwatt.agents.policies import GridView, Policy, SignalKind
from peerwatt.agents.policies.blocking import Blocking
from peerwatt.agents.policies.constraint_based import ConstraintBased
from peerwatt.agents.policies.cost_allocation import CostAllocation, feeders
from peerwatt.agents.policies.incentive_matrix import IncentiveMatrix
from peerwatt.agents.policies.signals import NO_BRANCH
from peerwatt.agents.policies.usage_price import UsagePrice
from peerwatt.grid import load_case, make_engine
from peerwatt.grid.dc import DcEngine
from peerwatt.grid.network import Network
from peerwatt.grid.trade_effect import FlowModel

PEERS = np.array([5, 12, 20, 27, 44, 50, 60, 68])


@cache
def grid() -> Network:
    return load_case("case69").network


def view(seed: int = 0, size_mw: float = 0.05, model: FlowModel = FlowModel.PTDF, scale: float = 1.0) -> GridView:
    """A random state of the 69-bus grid, with limits such that the fullest branch is at `scale`."""
    network, rng = grid(), np.random.default_rng(seed)
    p_mw = -size_mw * rng.random(network.n_bus)
    p_mw[PEERS[::2]] += 8.0 * size_mw * rng.random(len(PEERS[::2]))
    p_mw[network.slack_bus] = 0.0
    state = make_engine("power-grid-model", network).solve(p_mw, 0.3 * p_mw)
    fullest = np.nanmax(state.line.loading_percent / network.lines.max_loading_percent)
    lines = replace(network.lines, max_loading_percent=network.lines.max_loading_percent * fullest / scale)
    return GridView(replace(network, lines=lines), state, PEERS, model)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 1000), st.sampled_from([30.0, 60.0, 90.0]))
def test_blocked_is_what_raises_the_flow_of_a_line_at_risk_and_nothing_else(seed: int, threshold: float) -> None:
    now = view(seed)
    signals = Blocking(threshold_percent=threshold).signals(now, 0)
    np.testing.assert_array_equal(signals.at_risk, np.flatnonzero(now.occupancy >= threshold / 100.0))
    dc, network = DcEngine(now.network), now.network
    small, n = 1e-3, now.n_peers
    rest = np.zeros(network.n_bus)
    sign = np.sign(now.flow_mw[signals.at_risk])

    def raised(p_mw: np.ndarray) -> np.ndarray:
        flow = dc.solve(p_mw, rest)
        return sign * np.concatenate([flow.line.p_from_mw, flow.trafo.p_from_mw])[signals.at_risk] > 1e-2 * small

    for i in range(n):
        for j in range(n):
            trade = np.zeros(network.n_bus)
            trade[PEERS[i]] += small
            trade[PEERS[j]] -= small
            harmed = signals.at_risk[raised(trade)]
            assert signals.blocked[i, j] == bool(harmed.size)
            assert (signals.cause[i, j] in harmed) if harmed.size else signals.cause[i, j] == NO_BRANCH
        for cause, way in ((signals.feed_cause, small), (signals.draw_cause, -small)):
            alone = np.zeros(network.n_bus)
            alone[PEERS[i]] = way
            harmed = signals.at_risk[raised(alone)]
            assert (cause[i] in harmed) if harmed.size else cause[i] == NO_BRANCH


def test_later_rounds_block_more_and_keep_the_first_reason() -> None:
    policy = Blocking(threshold_percent=90)
    first = policy.signals(view(1), 0)
    second = policy.signals(view(2, size_mw=0.2, scale=1.5), 1)
    assert (second.blocked >= first.blocked).all()
    np.testing.assert_array_equal(second.cause[first.blocked], first.cause[first.blocked])
    assert set(first.at_risk) <= set(second.at_risk)


def test_each_line_at_risk_multiplies_the_elements_it_concerns() -> None:
    now = view(3)
    signals = IncentiveMatrix(threshold_percent=60, w=0.2, base_eur_per_mwh=10, cap_eur_per_mwh=1e9).signals(now, 0)
    by_mw = np.sign(now.flow_mw[signals.at_risk])[:, None] * now.flow_by_mw(signals.at_risk)
    assert len(signals.at_risk) > 1
    for i in range(now.n_peers):
        for j in range(now.n_peers):
            change = by_mw[:, i] - by_mw[:, j]
            factor = 1.2 ** np.count_nonzero(change < -1e-6) * 0.8 ** np.count_nonzero(change > 1e-6)
            assert signals.seller_cost[i, j] == pytest.approx(10 * (1 - factor))
    np.testing.assert_array_equal(signals.seller_fee, signals.buyer_fee)


def test_the_other_reading_of_w_is_stronger_and_a_cap_bounds_what_the_dso_pays() -> None:
    now = view(3)
    mild = IncentiveMatrix(threshold_percent=60, cap_eur_per_mwh=1e9).signals(now, 0)
    strong = IncentiveMatrix(threshold_percent=60, reading="times", cap_eur_per_mwh=1e9).signals(now, 0)
    moved = mild.seller_cost != 0.0
    assert moved.any()
    assert (np.abs(strong.seller_cost[moved]) > np.abs(mild.seller_cost[moved]) - 1e-9).all()
    capped = IncentiveMatrix(threshold_percent=60, reading="times", cap_eur_per_mwh=30).signals(now, 0)
    assert capped.seller_cost.min() == -30


def test_incentives_of_a_further_round_are_multiplied_on() -> None:
    policy = IncentiveMatrix(threshold_percent=100, cap_eur_per_mwh=1e9)
    now = view(4, scale=1.2)
    first = policy.signals(now, 0)
    second = policy.signals(now, 1)
    np.testing.assert_allclose(1 - second.seller_cost / policy.base, (1 - first.seller_cost / policy.base) ** 2)


@pytest.mark.parametrize(
    "policy", [UsagePrice(), CostAllocation(), ConstraintBased(), IncentiveMatrix()], ids=lambda p: type(p).__name__
)
def test_prices_are_shared_in_halves_and_nobody_pays_for_itself(policy: Policy) -> None:
    signals = policy.signals(view(5, scale=1.3), 0)
    np.testing.assert_allclose(signals.seller_cost, signals.buyer_cost, atol=1e-12)
    np.testing.assert_allclose(np.diag(signals.seller_cost), 0.0, atol=1e-12)
    paid = policy.kind is not SignalKind.WEIGHT
    np.testing.assert_array_equal(signals.seller_fee, signals.seller_cost if paid else 0 * signals.seller_cost)
    assert not signals.blocked.any()


def test_usage_prices_are_marginal_losses_without_congestion() -> None:
    now = view(6, scale=0.5, model=FlowModel.AC)
    signals = UsagePrice(energy_eur_per_mwh=80).signals(now, 0)
    losses = now.losses_by_mw
    np.testing.assert_allclose(
        signals.seller_fee + signals.buyer_fee, 80 * (losses[:, None] - losses[None, :]), atol=1e-9
    )


def test_a_trade_that_relieves_an_overloaded_line_earns_the_usage_price() -> None:
    now = view(1, scale=1.3)
    signals = UsagePrice(energy_eur_per_mwh=0).signals(now, 0)
    over = signals.at_risk
    assert over.size
    along = np.sign(now.flow_mw[over])[:, None] * now.flow_by_mw(over)
    change = along[:, :, None] - along[:, None, :]
    fee = signals.seller_fee + signals.buyer_fee
    helps, harms = (change < -1e-6).all(axis=0), (change > 1e-6).all(axis=0)
    assert helps.any()
    assert (fee[helps] < 0).all()
    assert (fee[harms] > 0).all()
    np.testing.assert_allclose(fee, -fee.T, atol=1e-9)


def test_usage_prices_rise_while_the_line_stays_overloaded() -> None:
    policy, now = UsagePrice(energy_eur_per_mwh=0), view(1, scale=1.3)
    first, second = policy.signals(now, 0), policy.signals(now, 1)
    np.testing.assert_allclose(second.seller_fee, 2 * first.seller_fee, atol=1e-9)


def test_weights_are_on_trades_that_burden_only_and_grow() -> None:
    policy, now = ConstraintBased(growth=3.0), view(8)
    first, second = policy.signals(now, 0), policy.signals(now, 1)
    assert (first.seller_cost >= 0).all()
    assert first.seller_cost.any()
    np.testing.assert_allclose(second.seller_cost, 3 * first.seller_cost)
    assert not ConstraintBased().signals(view(8, size_mw=1e-3, scale=0.3), 0).seller_cost.any()


def test_costs_of_distance_and_zones_add_up() -> None:
    now = view(9, scale=0.3)
    free = {"losses_eur_per_mwh": 0.0, "congestion_eur_per_mwh": 0.0}
    distance = CostAllocation(distance_eur_per_mwh_pu=50, **free).signals(now, 0)
    np.testing.assert_allclose(distance.seller_fee + distance.buyer_fee, 50 * now.distance_pu, atol=1e-12)
    zone = feeders(now)
    zonal = CostAllocation(zone_eur_per_mwh=7, **free).signals(now, 0)
    np.testing.assert_allclose(zonal.seller_fee + zonal.buyer_fee, 7.0 * (zone[:, None] != zone[None, :]))
    both = CostAllocation(zone_eur_per_mwh=7, distance_eur_per_mwh_pu=50, **free).signals(now, 0)
    np.testing.assert_allclose(both.seller_fee, distance.seller_fee + zonal.seller_fee, atol=1e-12)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Blocking(threshold_percent=201), "0 to 200"),
        (lambda: IncentiveMatrix(w=1.0), "between 0 and 1"),
        (lambda: IncentiveMatrix(reading="plus"), "one_plus_minus, times"),
        (lambda: ConstraintBased(growth=0.5), "growth 1 or more"),
        (lambda: CostAllocation(zone_eur_per_mwh=-1), "0 or more"),
        (lambda: UsagePrice(share=2), "share 0 to 1"),
    ],
)
def test_options_out_of_range_are_refused(make, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        make()
