from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from peerwatt.errors import BookError
from peerwatt.market.auction import average_auction, double_auction
from peerwatt.market.book import StepBook
from peerwatt.market.clearing import Clearing, Status
from tests.oracles import auction_by_linprog
from tests.strategies import random_step_book, step_books

TIGHT = 1e-12


def clear(book: StepBook, seed: int = 0, k: float = 0.5) -> Clearing:
    return double_auction(book, np.random.default_rng(seed), k=k)


def book_of(*steps: tuple[int, float, float], n_agents: int = 6) -> StepBook:
    agent, p_mw, price = zip(*steps, strict=True) if steps else ((), (), ())
    return StepBook(agent, p_mw, price, n_agents, 1.0)


@settings(max_examples=150, deadline=None)
@given(step_books(), st.integers(0, 3), st.sampled_from([0.0, 0.3, 1.0]))
def test_trades_net_power_and_steps_agree_and_bounds_hold(book: StepBook, seed: int, k: float) -> None:
    result = clear(book, seed, k)
    trades, tolerance = result.trades, TIGHT * max(1e-9, float(np.abs(book.p_mw).sum())) * 10
    assert ((result.accepted_mw * np.sign(book.p_mw)) >= 0).all()
    assert (np.abs(result.accepted_mw) <= np.abs(book.p_mw)).all()
    assert result.p_mw == pytest.approx(trades.net_mw(book.n_agents), abs=tolerance)
    assert result.p_mw == pytest.approx(
        np.bincount(book.agent, result.accepted_mw, minlength=book.n_agents).astype(float), abs=tolerance
    )
    assert (trades.p_mw > 0).all()
    assert (trades.seller != trades.buyer).all()
    assert len(set(zip(trades.seller, trades.buyer, strict=True))) == len(trades)
    assert len(trades) <= max(0, int((book.p_mw > 0).sum() + (book.p_mw < 0).sum()) - 1)


@settings(max_examples=150, deadline=None)
@given(step_books())
def test_volume_and_welfare_equal_a_linear_program(book: StepBook) -> None:
    result = clear(book)
    welfare, volume = auction_by_linprog(book)
    scale = float(np.abs(book.p_mw).sum()) + 1e-9
    assert result.social_welfare_eur == pytest.approx(welfare, abs=1e-8 * 50 * scale)
    assert result.trades.volume_mw == pytest.approx(volume, abs=1e-7 * scale)


@pytest.mark.parametrize("seed", range(20))
def test_large_markets_equal_a_linear_program(seed: int) -> None:
    book = random_step_book(np.random.default_rng(seed), 150)
    result = clear(book)
    welfare, volume = auction_by_linprog(book)
    assert result.social_welfare_eur == pytest.approx(welfare, rel=1e-9)
    assert result.trades.volume_mw == pytest.approx(volume, rel=1e-6)


@settings(max_examples=150, deadline=None)
@given(step_books(), st.sampled_from([0.0, 0.5, 1.0]))
def test_nobody_loses_against_its_bids_and_the_budget_balances(book: StepBook, k: float) -> None:
    result = clear(book, k=k)
    price, accepted = result.price_eur_per_mwh, result.accepted_mw
    sold, bought = accepted > 0, accepted < 0
    assert (book.price_eur_per_mwh[sold] <= price + 1e-9).all()
    assert (book.price_eur_per_mwh[bought] >= price - 1e-9).all()
    assert (result.welfare_eur >= -1e-12).all()
    assert float(result.p_mw.sum()) == pytest.approx(0.0, abs=1e-12 * (1 + float(np.abs(book.p_mw).sum())))
    assert float(result.welfare_eur.sum()) + result.surplus_eur == pytest.approx(result.social_welfare_eur, abs=1e-9)
    recomputed = -float(book.price_eur_per_mwh @ accepted) * book.period_h
    assert result.social_welfare_eur == pytest.approx(recomputed, abs=1e-12)


@settings(max_examples=150, deadline=None)
@given(step_books(), st.sampled_from([0.0, 1.0]))
def test_the_price_clears_the_market(book: StepBook, k: float) -> None:
    result = clear(book, k=k)
    if not len(result.trades):
        assert np.isnan(result.price_eur_per_mwh)
        return
    full = np.abs(result.accepted_mw) >= np.abs(book.p_mw) - 1e-9 * np.abs(book.p_mw).sum()
    eager = np.sign(book.p_mw) * (result.price_eur_per_mwh - book.price_eur_per_mwh) > 1e-9
    assert full[eager].all()


@settings(max_examples=150, deadline=None)
@given(step_books(), st.randoms(use_true_random=False), st.integers(0, 5))
def test_the_order_of_the_book_changes_nothing(book: StepBook, random: object, seed: int) -> None:
    order = np.arange(book.agent.size)
    random.shuffle(order)  # type: ignore[attr-defined]
    shuffled = StepBook(
        book.agent[order], book.p_mw[order], book.price_eur_per_mwh[order], book.n_agents, book.period_h
    )
    one, two = clear(book, seed), clear(shuffled, seed)
    assert np.array_equal(one.p_mw, two.p_mw)
    assert one.price_eur_per_mwh == two.price_eur_per_mwh or np.isnan(one.price_eur_per_mwh)
    for mine, theirs in zip(_columns(one), _columns(two), strict=True):
        assert np.array_equal(mine, theirs)


def _columns(clearing: Clearing) -> tuple[np.ndarray, ...]:
    trades = clearing.trades
    return trades.seller, trades.buyer, trades.p_mw, trades.price_eur_per_mwh


@settings(max_examples=100, deadline=None)
@given(step_books(), st.integers(0, 5))
def test_other_names_and_another_shuffle_clear_the_same_volume_and_price(book: StepBook, seed: int) -> None:
    new_name = np.random.default_rng(seed).permutation(book.n_agents)
    renamed = StepBook(new_name[book.agent], book.p_mw, book.price_eur_per_mwh, book.n_agents, book.period_h)
    one, two = clear(book), clear(renamed, seed + 7)
    assert one.trades.volume_mw == pytest.approx(two.trades.volume_mw, rel=1e-12)
    assert one.price_eur_per_mwh == pytest.approx(two.price_eur_per_mwh, nan_ok=True)
    assert one.social_welfare_eur == pytest.approx(two.social_welfare_eur, rel=1e-9, abs=1e-12)


@pytest.mark.parametrize(
    ("steps", "low", "high"),
    [
        ([(0, 1, 10), (1, -1, 30)], 10, 30),  # all accepted: the last of each side
        ([(0, 1, 10), (1, -2, 30)], 30, 30),  # a buy in part sets the price
        ([(0, 2, 10), (1, -1, 30)], 10, 10),  # a sell in part sets the price
        ([(0, 1, 10), (1, -1, 30), (2, 1, 20)], 10, 20),  # the next sell caps it
        ([(0, 1, 10), (1, -1, 30), (2, -1, 20)], 20, 30),  # the next buy supports it
        ([(0, 1, 20), (1, -1, 20)], 20, 20),
    ],
)
def test_the_price_lies_in_the_interval_of_clearing_prices(
    steps: list[tuple[int, float, float]], low: float, high: float
) -> None:
    book = book_of(*steps)
    for k in (0.0, 0.25, 1.0):
        assert clear(book, k=k).price_eur_per_mwh == pytest.approx(low + k * (high - low))


def test_sums_that_differ_by_rounding_meet_at_the_end_of_a_step() -> None:
    book = book_of((0, 0.1, 10), (1, 0.2, 12), (2, -0.3, 30))
    assert clear(book).price_eur_per_mwh == pytest.approx(21.0)
    assert len(clear(book).trades) == 2


def test_ties_at_the_margin_fall_to_different_agents_with_different_seeds() -> None:
    book = book_of((0, 1, 10), (1, 1, 10), (2, 1, 10), (3, -1, 30))
    winners = {int(np.argmax(clear(book, seed).p_mw)) for seed in range(40)}
    assert winners == {0, 1, 2}


@pytest.mark.parametrize(
    ("steps", "why"),
    [
        ([], "no buyer"),
        ([(0, 1.0, 10.0)], "no buyer"),
        ([(0, -1.0, 10.0)], "no seller"),
        ([(0, 0.0, 10.0), (1, -1.0, 5.0)], "no seller"),
    ],
)
def test_a_market_without_a_side_is_empty(steps: list[tuple[int, float, float]], why: str) -> None:
    result = clear(book_of(*steps))
    assert result.status is Status.EMPTY
    assert result.message == why
    assert not result.p_mw.any()
    assert result.p_mw.shape == (6,)
    assert result.accepted_mw.shape == (len(steps),)


def test_offers_that_do_not_cross_are_solved_with_no_trade() -> None:
    result = clear(book_of((0, 1, 30), (1, -1, 10)))
    assert result.status is Status.OPTIMAL
    assert not len(result.trades)
    assert result.social_welfare_eur == 0.0
    assert np.isnan(result.price_eur_per_mwh)


def test_equal_prices_everywhere_trade_the_shorter_side() -> None:
    result = clear(book_of((0, 1, 50), (1, 2, 50), (2, -1, 50), (3, -1.5, 50)))
    assert result.trades.volume_mw == pytest.approx(2.5)
    assert result.price_eur_per_mwh == 50
    assert result.social_welfare_eur == pytest.approx(0.0)


def test_an_agent_that_would_trade_with_itself_is_refused() -> None:
    with pytest.raises(BookError, match="agent 1"):
        clear(book_of((1, 1, 20), (1, -1, 20)))


@settings(max_examples=100, deadline=None)
@given(step_books())
def test_the_average_mechanism_accepts_the_same_at_the_mean_of_the_marginal_steps(book: StepBook) -> None:
    average, auction = average_auction(book, np.random.default_rng(0)), clear(book)
    assert np.array_equal(average.accepted_mw, auction.accepted_mw)
    if not len(average.trades):
        assert np.isnan(average.price_eur_per_mwh)
        return
    dearest_sell = book.price_eur_per_mwh[average.accepted_mw > 0].max()
    cheapest_buy = book.price_eur_per_mwh[average.accepted_mw < 0].min()
    assert average.price_eur_per_mwh == pytest.approx((dearest_sell + cheapest_buy) / 2)


def test_the_average_price_does_not_look_at_what_is_left_out() -> None:
    book = book_of((0, 1, 10), (1, -1, 30), (2, 1, 12))
    assert average_auction(book, np.random.default_rng(0)).price_eur_per_mwh == 20  # although 2 would sell at 12
    assert clear(book, k=1.0).price_eur_per_mwh == 12
