from __future__ import annotations

from dataclasses import replace
from typing import Any

import cvxpy as cp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from peerwatt.errors import BookError
from peerwatt.market.capacity import CapacityBook, CapacityClearing, CapacityRequest, capacity_market
from peerwatt.market.clearing import Status
from peerwatt.market.product import Direction
from peerwatt.market.settlement import Ledger, Reason, settle_trades


def request(p_mw: float, location: str = "a", direction: Direction = Direction.DOWN) -> CapacityRequest:
    return CapacityRequest(location, p_mw, direction)


@st.composite
def books(draw: st.DrawFn, *, share: tuple[float, float] = (0.1, 0.9), pair_cost: bool = False) -> CapacityBook:
    """A few peers in one or two areas, with rising offers of steps and slopes, in any order.

    Args:
        draw: hypothesis.
        share: of what is offered in an area, how much is requested.
        pair_cost: whether pairs cost something, and some may not trade.
    """
    rng = np.random.default_rng(draw(st.integers(0, 100_000)))
    n = draw(st.integers(2, 6))
    location = [str(label) for label in rng.choice(list(draw(st.sampled_from(["a", "ab"]))), n)]
    peer, size, a, b = [], [], [], []
    for each in range(n):
        price = float(rng.integers(0, 5)) * 10.0
        for _ in range(rng.integers(0, 4)):
            length, slope = float(rng.choice([0.1, 0.2, 0.5])), float(rng.choice([0.0, 0.0, 20.0, 200.0]))
            peer, size, a, b = [*peer, each], [*size, length], [*a, slope], [*b, price]
            price += slope * length + float(rng.integers(0, 3)) * 10.0
    area = np.array(location)[np.array(peer, dtype=int)]
    requests = []
    for label in sorted(set(location)):
        offered = sum(length for length, at in zip(size, area, strict=True) if at == label)
        requests.append(request(offered * draw(st.floats(*share)), label))
    costs = np.where(rng.random((n, n)) < 0.2, np.inf, rng.integers(0, 3, (n, n)) * 5.0) if pair_cost else None
    order = rng.permutation(len(peer))
    columns = [np.array(column, dtype=float)[order] for column in (size, a, b)]
    connection = rng.choice([1.0, 2.0, 5.0], n)
    return CapacityBook(tuple(requests), location, connection, np.array(peer, dtype=int)[order], *columns, costs)


def cheapest(book: CapacityBook, obligation: Any, unmet_price: float) -> tuple[float, float]:
    """Least cost of provision, trading and what is unmet, and how much is unmet, as a user would write it."""
    n = book.n_peers
    y, x = cp.Variable(len(book.peer), nonneg=True), cp.Variable((n, n), nonneg=True)  # x_nn: for itself
    unmet = cp.Variable(n, nonneg=True)
    owner = np.zeros((n, len(book.peer)))
    owner[book.peer, np.arange(len(book.peer))] = 1.0
    area = np.array(book.location)
    cost = np.zeros((n, n)) if book.pair_cost is None else np.where(np.eye(n) > 0, 0.0, book.pair_cost)
    blocked = (area[:, None] != area[None, :]) | np.isinf(cost)
    rules = [
        y <= book.p_max_mw,
        owner @ y == cp.sum(x, axis=1),
        cp.sum(x, axis=0) + unmet == obligation,
        cp.multiply(x, blocked.astype(float)) == 0.0,
    ]
    objective = (
        0.5 * cp.sum(cp.multiply(book.cost_a, cp.square(y)))
        + book.cost_b @ y
        + cp.sum(cp.multiply(np.where(blocked, 0.0, cost), x))
        + unmet_price * cp.sum(unmet)
    )
    problem = cp.Problem(cp.Minimize(objective), rules)
    problem.solve(solver=cp.CLARABEL)
    assert problem.status == "optimal"
    return float(problem.value), float(unmet.value.sum())


def total_cost(book: CapacityBook, result: CapacityClearing) -> float:
    trades = result.trades
    extra = 0.0 if book.pair_cost is None else float(trades.p_mw @ book.pair_cost[trades.seller, trades.buyer])
    return float(result.cost_eur.sum()) + extra


def marginal_costs(book: CapacityBook, peer: int, provided: float) -> tuple[float, float]:
    """Marginal cost of a peer just below and just above what it provides, best offer first; inf without more."""
    below, above = -np.inf, np.inf
    start = 0.0
    for row in sorted(np.flatnonzero(book.peer == peer), key=lambda row: (book.cost_b[row], book.cost_a[row])):
        used = min(max(provided - start, 0.0), book.p_max_mw[row])
        price = book.cost_b[row] + book.cost_a[row] * used
        if used > 1e-6:
            below = price
        if used < book.p_max_mw[row] - 1e-6:
            return below, float(price)
        start += book.p_max_mw[row]
    return below, above


@settings(max_examples=60, deadline=None)
@given(books())
def test_the_request_is_met_at_the_least_cost(book: CapacityBook) -> None:
    result = capacity_market(book)
    assert result.status is (Status.OPTIMAL if book.peer.size else Status.EMPTY)
    for k, asked in enumerate(book.requests):
        inside = np.array(book.location) == asked.location
        assert result.provided_mw[inside].sum() == pytest.approx(asked.p_mw, abs=1e-6)
        assert result.obligation_mw[inside] == pytest.approx(
            asked.p_mw * book.connection_mw[inside] / book.connection_mw[inside].sum()
        )
        assert result.shortfall_mw[k] == 0.0
    cost, missing = cheapest(book, result.obligation_mw, 1e4)
    assert missing == pytest.approx(0.0, abs=1e-6)
    assert total_cost(book, result) == pytest.approx(cost, rel=1e-5, abs=1e-4)


@settings(max_examples=60, deadline=None)
@given(books(share=(0.1, 1.5), pair_cost=True), st.sampled_from([30.0, 500.0]))
def test_with_costs_per_pair_and_pairs_that_may_not_trade_it_equals_another_solver(
    book: CapacityBook, unmet_price: float
) -> None:
    result = capacity_market(book, unmet_price_eur_per_mw=unmet_price)
    cost, _ = cheapest(book, result.obligation_mw, unmet_price)
    missing = float(result.unmet_mw.sum())
    assert total_cost(book, result) + unmet_price * missing == pytest.approx(cost, rel=1e-5, abs=1e-4)
    assert float(result.shortfall_mw.sum()) == pytest.approx(missing, abs=1e-5)


@settings(max_examples=60, deadline=None)
@given(books())
def test_prices_lie_between_what_it_costs_the_seller_and_what_it_saves_the_buyer(book: CapacityBook) -> None:
    result = capacity_market(book)
    trades = result.trades
    for seller, buyer, price in zip(trades.seller, trades.buyer, trades.price_eur_per_mwh, strict=True):
        assert price >= marginal_costs(book, seller, result.provided_mw[seller])[0] - 1e-3
        assert price <= marginal_costs(book, buyer, result.provided_mw[buyer])[1] + 1e-3
        assert book.location[seller] == book.location[buyer]


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(books())
def test_nobody_pays_more_than_meeting_its_obligation_alone(book: CapacityBook) -> None:
    result = capacity_market(book)
    trades, n = result.trades, book.n_peers
    value = trades.p_mw * trades.price_eur_per_mwh
    paid = np.bincount(trades.buyer, value, n) - np.bincount(trades.seller, value, n)
    for peer, obligation in enumerate(result.obligation_mw):
        own = book.peer == peer
        if book.p_max_mw[own].sum() < obligation:
            continue  # cannot meet it alone
        alone, _ = cheapest(replace_peers(book, peer), np.array([obligation]), 1e5)
        assert result.cost_eur[peer] + paid[peer] <= alone + 1e-3


def replace_peers(book: CapacityBook, peer: int) -> CapacityBook:
    """The book of one peer alone."""
    own = book.peer == peer
    return CapacityBook(
        book.requests,
        [book.location[peer]],
        [1.0],
        np.zeros(own.sum(), dtype=int),
        book.p_max_mw[own],
        book.cost_a[own],
        book.cost_b[own],
    )


@settings(max_examples=40, deadline=None)
@given(books(share=(1.05, 2.0)))
def test_what_is_missing_is_told_and_the_rest_is_provided(book: CapacityBook) -> None:
    result = capacity_market(book)
    area = np.array(book.location)
    for k, asked in enumerate(book.requests):
        offered = float(book.p_max_mw[area[book.peer] == asked.location].sum())
        assert result.shortfall_mw[k] == pytest.approx(asked.p_mw - offered, abs=1e-5)
        assert (f"area {asked.location}" in result.message) == (asked.p_mw > 0.0)
    short = any(asked.p_mw > 0.0 for asked in book.requests)
    assert result.status is (Status.INFEASIBLE if short else Status.EMPTY)
    net = result.provided_mw + result.unmet_mw - result.trades.net_mw(book.n_peers)
    assert net == pytest.approx(result.obligation_mw, abs=1e-6)


@settings(max_examples=30, deadline=None)
@given(books())
def test_areas_do_not_touch_each_other(book: CapacityBook) -> None:
    whole = capacity_market(book)
    for asked in book.requests:
        inside = np.array(book.location) == asked.location
        alone = capacity_market(replace(book, requests=(asked,)))
        assert alone.provided_mw[inside].sum() == pytest.approx(whole.provided_mw[inside].sum(), abs=1e-6)
        assert alone.cost_eur[inside].sum() == pytest.approx(whole.cost_eur[inside].sum(), abs=1e-3)
        assert not alone.provided_mw[~inside].any()


# --- by hand ---

STREET = CapacityBook(
    (request(0.6, "street"),),
    ["street"] * 3,
    [1.0, 1.0, 4.0],
    peer=[0, 1, 1],
    p_max_mw=[0.5, 0.3, 0.3],
    cost_a=[0.0, 0.0, 0.0],
    cost_b=[10.0, 20.0, 50.0],
    names=["battery", "heat pump", "flat"],
)


def test_who_has_nothing_to_offer_pays_who_has() -> None:
    result = capacity_market(STREET)
    assert result.obligation_mw == pytest.approx([0.1, 0.1, 0.4])
    assert result.provided_mw == pytest.approx([0.5, 0.1, 0.0], abs=1e-6)
    assert result.cost_eur == pytest.approx([5.0, 2.0, 0.0], abs=1e-4)
    assert list(zip(result.trades.seller, result.trades.buyer, strict=True)) == [(0, 2)]
    assert 20.0 - 1e-3 <= result.price_eur_per_mw[0] <= 70.0  # above what the heat pump asks for more


def test_peers_that_provide_for_themselves_do_not_trade() -> None:
    alike = CapacityBook((request(0.4),), ["a", "a"], [1.0, 1.0], [0, 1], [0.5, 0.5], [30.0, 30.0], [10.0, 10.0])
    result = capacity_market(alike)
    assert result.provided_mw == pytest.approx([0.2, 0.2])
    assert not len(result.trades)
    assert np.isnan(result.price_eur_per_mw[0])


def test_a_trade_of_capacity_is_paid_per_mw_whatever_the_period() -> None:
    result = capacity_market(STREET)
    ledger = Ledger(["battery", "heat pump", "flat", "dso"])
    ledger.append(settle_trades(result.trades, period_h=1.0, reason=Reason.CAPACITY))
    assert ledger.total(Reason.CAPACITY) == pytest.approx(0.4 * result.price_eur_per_mw[0])
    assert ledger.balances()[2] < 0.0 < ledger.balances()[0]


def test_a_shortage_names_area_amount_and_who_is_left_with_it() -> None:
    result = capacity_market(replace(STREET, requests=(request(1.8, "street"),)))
    assert result.status is Status.INFEASIBLE
    assert result.shortfall_mw == pytest.approx([0.7])
    assert result.provided_mw == pytest.approx([0.5, 0.6, 0.0], abs=1e-6)
    assert result.message == (
        "area street: 0.7 MW of 1.8 MW down are missing, its 3 peers offer 1.1 MW; left with it: flat"
    )


def test_an_obligation_dearer_than_the_unmet_price_stays_unmet() -> None:
    result = capacity_market(replace(STREET, requests=(request(1.0, "street"),)), unmet_price_eur_per_mw=30.0)
    assert result.provided_mw == pytest.approx([0.5, 0.3, 0.0], abs=1e-6)
    assert result.shortfall_mw == pytest.approx([0.2], abs=1e-6)


def test_an_area_without_peers_is_short_of_all_of_it() -> None:
    result = capacity_market(replace(STREET, requests=(request(0.6, "street"), request(0.2, "island"))))
    assert result.shortfall_mw == pytest.approx([0.0, 0.2])
    assert "area island: 0.2 MW of 0.2 MW down are missing, its 0 peers offer 0 MW" in result.message
    alone = capacity_market(replace(STREET, requests=(request(0.2, "island"),)))
    assert (alone.status, alone.shortfall_mw.tolist()) == (Status.INFEASIBLE, [0.2])


@pytest.mark.parametrize("requests", [(), (request(0.0, "street"),)])
def test_without_a_request_nothing_happens(requests: tuple[CapacityRequest, ...]) -> None:
    result = capacity_market(replace(STREET, requests=requests))
    assert result.status is Status.EMPTY
    assert result.provided_mw.tolist() == [0.0, 0.0, 0.0]


# --- what is refused ---


def test_a_book_that_contradicts_itself_is_refused_with_every_fault() -> None:
    book = CapacityBook(
        (request(-1.0), request(np.nan), request(0.2, "b")),
        ["a", "b"],
        [np.nan, 0.0],
        [0, 5],
        [-0.1, 0.2],
        [0.0, -3.0],
        [np.inf, 1.0],
        pair_cost=[[0.0, np.nan], [0.0, 0.0]],
    )
    with pytest.raises(BookError) as error:
        capacity_market(book)
    found = {str(fault) for fault in error.value.faults}
    for told in (
        "request 0: p_mw is -1.0",
        "request 1: p_mw is nan",
        "request 1: a second one for area 'a'",
        "request 2: no peer in area 'b' has a connection",
        "peer 0: connection_mw nan",
        "pair_cost of 0 for 1: is no number",
        "offer 1: unknown peer 5",
        "offer 0: p_max_mw -0.1",
        "offer 1: cost_a -3",
        "offer 0: cost_b inf",
    ):
        assert any(fault.startswith(told) for fault in found), told
    assert len(found) == 10


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"connection_mw": [1.0]}, "one number for each of 3 peers"),
        ({"names": ["battery"]}, "1 names for 3 peers"),
        ({"pair_cost": [[0.0]]}, "a row and a column for each of 3 peers"),
        ({"cost_a": [0.0]}, "one value per offer"),
    ],
)
def test_columns_of_other_lengths_are_refused(change: dict[str, Any], told: str) -> None:
    with pytest.raises(BookError, match=told):
        capacity_market(replace(STREET, **change))


def test_what_is_no_number_is_refused() -> None:
    with pytest.raises(BookError, match="unmet_price_eur_per_mw: is inf"):
        capacity_market(STREET, unmet_price_eur_per_mw=np.inf)
    with pytest.raises(BookError, match="is not an array of numbers"):
        replace(STREET, p_max_mw=["much", "more", "most"])
