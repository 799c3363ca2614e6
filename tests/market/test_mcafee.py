from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from peerwatt.market.book import StepBook
from peerwatt.market.mcafee import McAfee
from tests.auctions import best_gain, book_of, clear, single_step_books
from tests.oracles import auction_by_linprog
from tests.strategies import step_books

HALVES = np.arange(-0.5, 13.0, 0.5)
LIMITS = st.sampled_from([None, (0.0, 12.0), (-5.0, 20.0)])


def by_hand(book: StepBook) -> tuple[int, float, float]:
    """Number of trades, buyers' and sellers' price of a unit market, from McAfee's own definition."""
    asks = sorted(book.price_eur_per_mwh[book.p_mw > 0])
    bids = sorted(book.price_eur_per_mwh[book.p_mw < 0], reverse=True)
    k = sum(bid >= ask for bid, ask in zip(bids, asks, strict=False))
    if not k:
        return 0, np.nan, np.nan
    low, high = book.price_limits or (np.nan, np.nan)
    p0 = ((bids[k] if k < len(bids) else low) + (asks[k] if k < len(asks) else high)) / 2
    return (k, p0, p0) if asks[k - 1] <= p0 <= bids[k - 1] else (k - 1, bids[k - 1], asks[k - 1])


@settings(max_examples=100, deadline=None)
@given(single_step_books(), LIMITS)
def test_unit_markets_clear_as_mcafee_defines(book: StepBook, limits: tuple[float, float] | None) -> None:
    book = replace(book, price_limits=limits)
    result = clear("mcafee", book)
    n, buyers, sellers = by_hand(book)
    assert result.trades.volume_mw == pytest.approx(n)
    assert result.trades.price_eur_per_mwh == pytest.approx(np.full(len(result.trades), sellers))
    assert result.surplus_eur == pytest.approx(n * (buyers - sellers) if n else 0.0)
    assert np.isnan(result.price_eur_per_mwh) == (not n or buyers != sellers)


@settings(max_examples=20, deadline=None)
@given(single_step_books(max_agents=8), st.integers(0, 3))
def test_no_agent_of_a_unit_market_gains_by_naming_another_price(book: StepBook, seed: int) -> None:
    assert best_gain(McAfee(), book, HALVES, seed) <= 1e-9


@settings(max_examples=20, deadline=None)
@given(single_step_books(quantities=(1.0, 2.0, 5.0), max_agents=8), LIMITS, st.integers(0, 3))
def test_no_agent_with_one_step_of_any_size_gains_by_naming_another_price(
    book: StepBook, limits: tuple[float, float] | None, seed: int
) -> None:
    prices = HALVES if limits is None else HALVES[(HALVES >= 0.0) & (HALVES <= 12.0)]
    assert best_gain(McAfee(), replace(book, price_limits=limits), prices, seed) <= 1e-9


def test_an_agent_with_several_steps_can_gain() -> None:
    # agent 1's last step sets the price of its first: without it, it pays 2 instead of 7
    honest = book_of((0, 1, 0), (2, 1, 1), (1, -1, 10), (1, -1, 7), (3, -1, 2))
    shaded = book_of((0, 1, 0), (2, 1, 1), (1, -1, 10), (1, -1, 1.5), (3, -1, 2))
    assert clear("mcafee", honest).welfare_eur[1] == pytest.approx(3.0)
    assert clear("mcafee", shaded).welfare_eur[1] == pytest.approx(8.0)


@settings(max_examples=75, deadline=None)
@given(single_step_books(), LIMITS)
def test_a_unit_market_loses_at_most_its_least_valuable_trade(
    book: StepBook, limits: tuple[float, float] | None
) -> None:
    book = replace(book, price_limits=limits)
    result = clear("mcafee", book)
    asks = sorted(book.price_eur_per_mwh[book.p_mw > 0])
    bids = sorted(book.price_eur_per_mwh[book.p_mw < 0], reverse=True)
    values = [bid - ask for bid, ask in zip(bids, asks, strict=False) if bid >= ask]
    best, volume = auction_by_linprog(book)
    assert best == pytest.approx(sum(values))
    lost = best - result.social_welfare_eur
    assert -1e-9 <= lost <= (values[-1] if values else 0.0) + 1e-9
    assert result.trades.volume_mw >= len(values) - 1 - 1e-9
    assert result.trades.volume_mw <= volume + 1e-9


@settings(max_examples=75, deadline=None)
@given(step_books())
def test_at_most_the_quantity_of_one_step_is_lost(book: StepBook) -> None:
    _, efficient = auction_by_linprog(book)
    largest = float(np.abs(book.p_mw).max(initial=0.0))
    assert clear("mcafee", book).trades.volume_mw >= efficient - largest - 1e-7 * (largest + efficient)


@settings(max_examples=50, deadline=None)
@given(step_books())
def test_no_step_trades_at_a_loss(book: StepBook) -> None:
    result = clear("mcafee", book)
    if not len(result.trades):
        return
    sellers = result.trades.price_eur_per_mwh
    buyers = sellers + (result.spread_eur_per_mwh if result.spread_eur_per_mwh.size else 0.0)
    assert np.ptp(sellers) <= 1e-9
    assert np.ptp(buyers) <= 1e-9
    assert (book.price_eur_per_mwh[result.accepted_mw > 0] <= sellers[0] + 1e-9).all()
    assert (book.price_eur_per_mwh[result.accepted_mw < 0] >= buyers[0] - 1e-9).all()


def test_the_longer_side_is_cut_to_the_same_share_of_every_step() -> None:
    # the margin, 2 MW at 8 and 1 MW at 5, is left out: 3 MW for sale, 2 MW wanted
    book = book_of((0, 1, 1), (1, 2, 2), (2, 1, 5), (3, -2, 10), (4, -2, 8))
    result = clear("mcafee", book)
    assert result.accepted_mw == pytest.approx([2 / 3, 4 / 3, 0, -2, 0])
    assert result.trades.price_eur_per_mwh == pytest.approx([5.0] * 2)
    assert result.surplus_eur == pytest.approx(2 * 3)


def test_the_limits_of_the_market_stand_in_for_missing_steps() -> None:
    book = book_of((0, 1, 2), (1, -1, 9))
    assert not len(clear("mcafee", book).trades)
    result = clear("mcafee", replace(book, price_limits=(0.0, 10.0)))
    assert result.price_eur_per_mwh == pytest.approx(5.0)
    assert result.trades.volume_mw == pytest.approx(1.0)
