"""An auction with costs of pairs: equal to the plain auction without them, and to an assignment program with them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog

from peerwatt.errors import BookError
from peerwatt.market.auction import double_auction
from peerwatt.market.book import StepBook
from peerwatt.market.clearing import Status
from peerwatt.market.pairwise import pairwise_auction


def random_book(seed: int, n: int = 8) -> StepBook:
    """Agents 0 to n/2 - 1 sell, the others buy, two steps each."""
    rng = np.random.default_rng(seed)
    agent = np.repeat(np.arange(n), 2)
    sells = agent < n // 2
    p_mw = np.where(sells, 1.0, -1.0) * rng.uniform(0.001, 0.01, 2 * n)
    price = np.where(sells, rng.uniform(40, 200, 2 * n), rng.uniform(80, 300, 2 * n))
    return StepBook(agent, p_mw, price, n, 0.25)


def oracle(book: StepBook, cost: np.ndarray) -> float:
    """Welfare of the assignment of steps as a linear program, EUR."""
    sells, buys = np.flatnonzero(book.p_mw > 0), np.flatnonzero(book.p_mw < 0)
    gain, rows, columns = [], [], []
    for s in sells:
        for b in buys:
            pair = cost[book.agent[s], book.agent[b]]
            if np.isfinite(pair):
                gain.append(book.price_eur_per_mwh[b] - book.price_eur_per_mwh[s] - pair)
                rows.append((s, b))
    limits = np.zeros((len(book.p_mw), len(rows)))
    for column, (s, b) in enumerate(rows):
        limits[s, column] = limits[b, column] = 1.0
    columns = linprog(-np.array(gain), A_ub=limits, b_ub=np.abs(book.p_mw), method="highs")
    return float(-columns.fun) * book.period_h


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000))
def test_without_costs_it_accepts_what_the_uniform_price_auction_accepts(seed: int) -> None:
    book = random_book(seed)
    free = np.zeros((book.n_agents, book.n_agents))
    found = pairwise_auction(book, free, free)
    plain = double_auction(book, np.random.default_rng(0))
    assert found.social_welfare_eur == pytest.approx(plain.social_welfare_eur, rel=1e-6, abs=1e-9)
    assert found.accepted_mw.sum() == pytest.approx(0.0, abs=1e-9)
    np.testing.assert_allclose(found.trades.net_mw(book.n_agents), found.p_mw, atol=1e-9)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000))
def test_with_costs_it_is_the_best_assignment_and_nobody_loses(seed: int) -> None:
    book, rng = random_book(seed), np.random.default_rng(seed + 1)
    seller, buyer = rng.uniform(-30, 60, (2, book.n_agents, book.n_agents))
    blocked = rng.random(seller.shape) < 0.3
    seller = np.where(blocked, np.inf, seller)
    found = pairwise_auction(book, seller, buyer)
    if found.status is Status.EMPTY:
        return
    assert found.social_welfare_eur == pytest.approx(oracle(book, seller + buyer), rel=1e-5, abs=1e-8)
    assert not blocked[found.trades.seller, found.trades.buyer].any()
    assert (found.welfare_eur >= -1e-7).all()
    assert found.welfare_eur.sum() == pytest.approx(found.social_welfare_eur, abs=1e-9)
    assert (np.abs(found.accepted_mw) <= np.abs(book.p_mw) + 1e-9).all()


def test_everything_blocked_is_an_empty_market() -> None:
    book = random_book(1)
    blocked = np.full((book.n_agents, book.n_agents), np.inf)
    found = pairwise_auction(book, blocked, blocked)
    assert found.status is Status.EMPTY
    assert not found.p_mw.any()


def test_costs_of_other_agents_are_refused() -> None:
    book = random_book(1)
    with pytest.raises(BookError) as raised:
        pairwise_auction(book, np.zeros((2, 2)), np.zeros((8, 8)))
    assert "seller_cost: has shape (2, 2)" in str(raised.value)
