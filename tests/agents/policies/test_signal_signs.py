"""What signals say of a trade, against what one kilowatt of it does in an AC power flow of the test's own."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from peerwatt.agents.policies.blocking import Blocking
from peerwatt.agents.policies.constraint_based import ConstraintBased
from peerwatt.agents.policies.cost_allocation import CostAllocation
from peerwatt.agents.policies.incentive_matrix import IncentiveMatrix
from peerwatt.agents.policies.limits import Margins, network_limits
from peerwatt.agents.policies.request import capacity_requests
from peerwatt.agents.policies.signals import NO_BRANCH
from peerwatt.agents.policies.usage_price import UsagePrice
from tests.agents.policies.ac import KW, NETS, Truth, fullest, most_active, truth

Array = np.ndarray[Any, Any]

grids = pytest.mark.parametrize("name", NETS)
CLEAR = 3e-5
"""MW per MW: what moves a flow by less, in either power flow, is not asked about (a trade is harmful from 1e-6)."""
CLOSE = {"rtol": 1e-4, "atol": 2e-5}


def along(grid: Truth, branch: int) -> Array:
    """Rise of a branch's flow, the way it goes, per MW that i sells to j, (n_peers, n_peers)."""
    way: Array = np.sign(grid.flow_mw[branch]) * grid.by_trade["flow_mw"][branch]
    return way


def clear(*changes: Array) -> Array:
    """Where none of them is too near zero for its sign."""
    return np.all([np.abs(each) > CLEAR for each in changes], axis=0)


@grids
@pytest.mark.parametrize("sign", [1, -1])
def test_blocked_is_who_raises_the_flow_of_a_line_at_risk(name: str, sign: int) -> None:
    grid = truth(name, sign)
    first, second = fullest(grid).tolist()
    signals = Blocking(threshold_percent=70).signals(grid.view({first: 0.71, second: 0.69}), 0)
    assert signals.at_risk.tolist() == [first]
    change = along(grid, first)
    sure = clear(change)
    assert sure.sum() >= 6
    np.testing.assert_array_equal(signals.blocked[sure], change[sure] > 0.0)
    assert set(signals.cause[signals.blocked].tolist()) <= {first}
    alone = np.sign(grid.flow_mw[first]) * grid.by_mw["flow_mw"][first]
    sure = clear(alone)
    np.testing.assert_array_equal(signals.feed_cause[sure], np.where(alone > 0.0, first, NO_BRANCH)[sure])
    np.testing.assert_array_equal(signals.draw_cause[sure], np.where(alone < 0.0, first, NO_BRANCH)[sure])


@grids
def test_a_trade_that_is_blocked_loads_the_line_and_its_reverse_relieves_it(name: str) -> None:
    grid = truth(name)
    branch = most_active(grid)
    blocked = Blocking(threshold_percent=70).signals(grid.view({branch: 0.9}), 0).blocked
    loading = grid.by_trade["loading"][branch]
    strong = np.abs(along(grid, branch)) > 0.1
    assert strong.any()
    np.testing.assert_array_equal(blocked[strong], loading[strong] > 0.0)


@pytest.mark.parametrize("scheme", [Blocking, IncentiveMatrix])
@pytest.mark.parametrize(("threshold", "over"), [(50, 1.0), (130, 1.3)])
def test_in_later_rounds_a_line_is_at_risk_from_its_limit_or_the_threshold_above(
    scheme: type[Blocking | IncentiveMatrix], threshold: int, over: float
) -> None:
    grid = truth("mesh")
    first, second, third = fullest(grid, 3).tolist()
    policy = scheme(threshold_percent=threshold)
    begun = grid.view({first: threshold / 100.0 + 0.01, second: threshold / 100.0 - 0.01})
    assert policy.signals(begun, 0).at_risk.tolist() == [first]
    later = policy.signals(grid.view({first: 0.2, second: over + 0.01, third: over - 0.01}), 1)
    assert set(later.at_risk.tolist()) - {first} == {second}
    sure = clear(along(grid, first), along(grid, second))
    harms = np.stack([along(grid, first), along(grid, second)]) > 0.0
    if scheme is Blocking:  # what was at risk before stays so
        np.testing.assert_array_equal(later.blocked[sure], harms.any(axis=0)[sure])
        both = sure & harms[0]
        assert set(later.cause[both].tolist()) == {first}
        assert set(later.cause[sure & ~harms[0] & harms[1]].tolist()) <= {second}
    else:
        factor = np.where(harms, 0.8, 1.2).prod(axis=0)
        np.testing.assert_allclose(later.buyer_fee[sure], 20.0 * (1.0 - factor)[sure])
    assert policy.signals(grid.view({third: 2.0}), 0).at_risk.tolist() == [third]  # a new period


@grids
@pytest.mark.parametrize("reading", ["one_plus_minus", "times"])
def test_incentives_are_paid_to_who_relieves_the_lines_at_risk_and_by_who_burdens_them(name: str, reading: str) -> None:
    grid = truth(name)
    first, second = fullest(grid).tolist()
    policy = IncentiveMatrix(w=0.25, reading=reading, base_eur_per_mwh=10.0, cap_eur_per_mwh=1e9)
    signals = policy.signals(grid.view({first: 0.9, second: 1.2}), 0)
    changes = np.stack([along(grid, first), along(grid, second)])
    up, down = (1.25, 0.75) if reading == "one_plus_minus" else (4.0, 0.25)
    factor = np.where(changes < 0.0, up, down).prod(axis=0)
    sure = clear(*changes)
    assert sure.sum() >= 6
    for side in (signals.seller_cost, signals.buyer_cost, signals.seller_fee, signals.buyer_fee):
        np.testing.assert_allclose(side[sure], 10.0 * (1.0 - factor)[sure])


@grids
def test_allocated_losses_are_what_the_trade_adds_to_them_half_for_each_party(name: str) -> None:
    grid = truth(name)
    signals = CostAllocation(losses_eur_per_mwh=90.0).signals(grid.view(), 0)
    for side in (signals.seller_fee, signals.buyer_fee, signals.seller_cost, signals.buyer_cost):
        np.testing.assert_allclose(side, 45.0 * grid.by_trade["losses"], rtol=1e-4, atol=1e-4)


@grids
def test_allocated_congestion_is_the_use_of_full_lines_whichever_way(name: str) -> None:
    grid = truth(name)
    first, second = fullest(grid).tolist()
    policy = CostAllocation(losses_eur_per_mwh=0.0, congestion_eur_per_mwh=30.0, threshold_percent=60.0)
    view = grid.view({first: 0.7, second: 1.1})
    used = np.abs(grid.by_trade["flow_mw"])
    expected = 30.0 * (0.25 * used[first] + 1.25 * used[second])  # (0.7 - 0.6) / 0.4, (1.1 - 0.6) / 0.4
    for round_ in (0, 1):
        signals = policy.signals(view, round_)
        for side in (signals.seller_fee, signals.buyer_fee):
            np.testing.assert_allclose(side, 0.5 * expected, rtol=1e-3, atol=1e-3)


@grids
def test_usage_prices_charge_added_losses_and_the_cheapest_redispatch(name: str) -> None:
    grid = truth(name)
    branch = int(fullest(grid)[0])
    policy = UsagePrice(energy_eur_per_mwh=80.0, redispatch_eur_per_mwh=40.0, share=0.5)
    view = grid.view({branch: 1.2})
    # One branch binds: it is relieved where a MW does most, so that 1 MW of it costs 40 EUR over that effect.
    congestion = 40.0 * along(grid, branch) / np.abs(grid.by_mw["flow_mw"][branch]).max()
    losses = 80.0 * grid.by_trade["losses"]
    for round_ in (0, 1, 2):
        signals = policy.signals(view, round_)
        expected = 0.25 * (losses + (1 + round_) * congestion)
        np.testing.assert_allclose(signals.seller_fee, expected, rtol=1e-3, atol=1e-2)
        np.testing.assert_allclose(signals.buyer_fee, expected, rtol=1e-3, atol=1e-2)


@grids
@pytest.mark.parametrize("way", [1.0, -1.0])
def test_usage_prices_of_a_voltage_charge_who_takes_it_further_out(name: str, way: float) -> None:
    grid, bus = truth(name), -1
    view = grid.view(outside={bus: 0.004 * way})
    out = way * grid.by_trade["vm_pu"][bus]
    signals = UsagePrice(energy_eur_per_mwh=0.0, redispatch_eur_per_mwh=40.0).signals(view, 0)
    expected = 20.0 * out / np.abs(grid.by_mw["vm_pu"][bus]).max()
    np.testing.assert_allclose(signals.seller_fee, expected, rtol=1e-3, atol=1e-2)
    np.testing.assert_allclose(signals.buyer_fee, expected, rtol=1e-3, atol=1e-2)


@grids
def test_weights_are_of_what_a_trade_adds_to_full_lines_and_to_voltages_near_their_edge(name: str) -> None:
    grid = truth(name)
    first, second = fullest(grid).tolist()
    policy = ConstraintBased(weight_eur_per_mwh=8.0, growth=3.0, threshold_percent=60.0)
    high, low = -1, -3
    view = grid.view({first: 0.7, second: 1.1}, off={high: 0.8, low: -1.4})
    lines = 0.25 * along(grid, first) + 1.25 * along(grid, second)
    # Bands are 0.1 wide: 0.01 inside the upper edge is 0.8 of the half, 0.02 beyond the lower one 1.4 of it.
    volts = (0.6 * grid.by_trade["vm_pu"][high] - 1.8 * grid.by_trade["vm_pu"][low]) / 0.05
    for round_, growth in ((0, 1.0), (1, 3.0), (2, 9.0)):
        signals = policy.signals(view, round_)
        expected = np.maximum(4.0 * growth * (lines + volts), 0.0)
        np.testing.assert_allclose(signals.seller_cost, expected, rtol=1e-3, atol=1e-2)
        np.testing.assert_allclose(signals.buyer_cost, expected, rtol=1e-3, atol=1e-2)
        assert not signals.seller_fee.any()
        assert not signals.buyer_fee.any()


@grids
def test_limits_move_with_apparent_power_where_reactive_power_comes_along(name: str) -> None:
    grid = truth(name)
    share = np.abs(grid.flow_mw) / np.hypot(grid.flow_mw, grid.flow_mvar)
    branch, mostly_reactive = int(np.argmax(share)), np.flatnonzero(share < 0.45)
    mvar, bus = np.linspace(-0.5, 0.6, 5), 5
    view = grid.view({branch: 1.25}, outside={bus: -0.004})
    limits = network_limits(view, Margins.none(len(share), len(grid.vm_pu)), mvar_per_mw=mvar)
    response = limits.response
    response = response.toarray() if hasattr(response, "toarray") else response
    one = KW * np.eye(len(grid.vm_pu))[grid.bus]
    plus, minus = (grid.plain(grid.p_mw + way * one, grid.q_mvar + way * mvar[:, None] * one) for way in (0.5, -0.5))
    apparent = [np.hypot(each["flow_mw"], each["flow_mvar"]) for each in (plus, minus)]
    expected = (apparent[0] - apparent[1]).T / KW * (grid.flow_mw / np.hypot(grid.flow_mw, grid.flow_mvar))[:, None]
    np.testing.assert_allclose(response[branch], expected[branch], **CLOSE)
    active = (plus["flow_mw"] - minus["flow_mw"]).T / KW
    np.testing.assert_allclose(response[mostly_reactive], active[mostly_reactive], **CLOSE)
    assert limits.upper_mw[branch] == pytest.approx(abs(grid.flow_mw[branch]) / 1.25, rel=1e-3)
    np.testing.assert_array_equal(limits.lower_mw, -limits.upper_mw)
    assert limits.voltage is not None
    volts = (plus["vm_pu"] - minus["vm_pu"]).T[bus] / KW
    np.testing.assert_allclose(limits.voltage.response, volts[None], **CLOSE)


@grids
def test_limits_without_reactive_power_move_with_active_power_and_margins_tighten_them(name: str) -> None:
    grid = truth(name)
    branch, bus, n, m = int(fullest(grid)[0]), 5, len(grid.flow_mw), len(grid.vm_pu)
    view = grid.view({branch: 1.25}, outside={bus: 0.003})
    margins = Margins.none(n, m).tightened(view).tightened(view)
    over = 0.2 * abs(grid.flow_mw[branch])
    if abs(grid.flow_mw[branch]) > abs(grid.flow_mvar[branch]):
        assert margins.flow_mw[branch] == pytest.approx(2.1 * over, rel=1e-2)
    assert margins.vm_pu[bus] == pytest.approx(2.1 * 0.003, rel=1e-3)
    assert np.count_nonzero(margins.vm_pu) == 1
    plain, tight = network_limits(view, Margins.none(n, m)), network_limits(view, margins)
    response = plain.response.toarray() if hasattr(plain.response, "toarray") else plain.response
    np.testing.assert_allclose(response, grid.by_mw["flow_mw"], **CLOSE)
    shrunk = np.maximum(view.limit_mw - margins.flow_mw, 0.0)
    np.testing.assert_allclose(tight.upper_mw, shrunk, atol=1e-12)
    assert tight.voltage is not None
    assert tight.voltage.upper_pu[0] == pytest.approx(grid.vm_pu[bus] - 3.1 * 0.003, abs=1e-5)


@grids
@pytest.mark.parametrize("sign", [1, -1])
def test_areas_that_provide_what_is_asked_bring_the_flow_down_in_ac(name: str, sign: int) -> None:
    grid = truth(name, sign)
    branch = most_active(grid)
    requests = capacity_requests(grid.view({branch: 1.05}), np.full(5, 0.05), voltage=False)
    assert len(requests.p_mw)
    change = requests.shares_mw(np.full(5, 0.05))
    after = grid.solved(change)
    p_mw, q_mvar = grid.flow_mw[branch], grid.flow_mvar[branch]
    limit = np.sqrt(
        (p_mw**2 + q_mvar**2) / 1.05**2 - q_mvar**2
    )  # of active power, with the reactive flow that there is
    assert abs(after["flow_mw"][branch]) < limit * (1.0 + 2e-3)
    assert after["loading"][branch] < grid.loading[branch]
    way = np.sign(grid.flow_mw[branch]) * grid.by_mw["flow_mw"][branch]
    strong = np.abs(way) > 0.6 * np.abs(way).max()
    np.testing.assert_array_equal(np.sign(change[strong]), -np.sign(way[strong]))
