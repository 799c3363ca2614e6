from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from peerwatt.market.book import StepBook
from tests.auctions import book_of, clear
from tests.strategies import random_step_book, step_books


@settings(max_examples=150, deadline=None)
@given(step_books(), st.integers(0, 5))
def test_nothing_is_left_that_could_still_trade(book: StepBook, seed: int) -> None:
    result = clear("continuous_double_auction", book, seed)
    left = np.abs(book.p_mw - result.accepted_mw) > 1e-9 * np.abs(book.p_mw)
    asks = book.price_eur_per_mwh[left & (book.p_mw > 0)]
    bids = book.price_eur_per_mwh[left & (book.p_mw < 0)]
    assert asks.min(initial=np.inf) > bids.max(initial=-np.inf)


@settings(max_examples=150, deadline=None)
@given(step_books(), st.integers(0, 5))
def test_it_trades_at_least_the_volume_of_the_call_auction_for_at_most_its_welfare(book: StepBook, seed: int) -> None:
    result, call = clear("continuous_double_auction", book, seed), clear("double_auction", book)
    scale = float(np.abs(book.p_mw).sum()) + 1e-9
    assert result.social_welfare_eur <= call.social_welfare_eur + 1e-9 * 50 * scale
    assert result.trades.volume_mw >= call.trades.volume_mw - 1e-9 * scale


def test_the_later_order_trades_at_the_price_of_the_earlier() -> None:
    prices = {
        float(clear("continuous_double_auction", book_of((0, 1, 10), (1, -1, 30)), seed).price_eur_per_mwh)
        for seed in range(20)
    }
    assert prices == {10.0, 30.0}


def test_steps_of_one_pair_are_one_trade_at_the_mean_price() -> None:
    book = book_of((0, 1, 10), (0, 1, 20), (1, -1, 40), (1, -1, 30))
    for seed in range(20):
        result = clear("continuous_double_auction", book, seed)
        assert len(result.trades) == 1
        assert 10.0 <= result.trades.price_eur_per_mwh[0] <= 40.0
        assert float(result.welfare_eur.sum()) == pytest.approx(40.0)


@pytest.mark.parametrize("seed", range(3))
def test_large_markets_come_near_the_welfare_of_the_call_auction(seed: int) -> None:
    book = random_step_book(np.random.default_rng(seed), 2000)
    result, call = clear("continuous_double_auction", book, seed), clear("double_auction", book)
    assert 0.5 * call.social_welfare_eur < result.social_welfare_eur < call.social_welfare_eur
