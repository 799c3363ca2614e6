from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings

from peerwatt.errors import ScenarioError
from peerwatt.market.book import StepBook
from peerwatt.market.mechanism import make_mechanism
from tests.auctions import book_of, clear
from tests.strategies import step_books


@settings(max_examples=100, deadline=None)
@given(step_books())
def test_strictly_as_bid_all_welfare_is_the_markets(book: StepBook) -> None:
    result = clear("pay_as_bid", book)
    assert result.welfare_eur == pytest.approx(np.zeros(book.n_agents), abs=1e-12)
    assert result.surplus_eur == pytest.approx(result.social_welfare_eur, abs=1e-9)


@settings(max_examples=100, deadline=None)
@given(step_books())
def test_the_market_keeps_its_share_and_the_sides_have_equal_parts_of_the_rest(book: StepBook) -> None:
    total = clear("double_auction", book).social_welfare_eur
    for share in (0.0, 0.25, 1.0):
        result = clear("pay_as_bid", book, share=share)
        assert result.surplus_eur == pytest.approx(share * total, abs=1e-9)
        assert (share > 0.0 and total > 1e-9) or not result.spread_eur_per_mwh.any()
        sold = result.accepted_mw > 0
        received = float((result.trades.p_mw * book.period_h) @ result.trades.price_eur_per_mwh)
        asked = float(book.price_eur_per_mwh[sold] @ result.accepted_mw[sold]) * book.period_h
        assert received - asked == pytest.approx(0.5 * (1 - share) * total, abs=1e-9)


def test_the_dearest_buy_meets_the_cheapest_sell() -> None:
    book = book_of((0, 1, 10), (1, 1, 20), (2, -1, 30), (3, -1, 50))
    result = clear("pay_as_bid", book, share=0.0)
    trades = result.trades
    assert list(zip(trades.seller, trades.buyer, trades.price_eur_per_mwh, strict=True)) == [(0, 3, 30), (1, 2, 25)]
    assert np.isnan(result.price_eur_per_mwh)


def test_two_steps_of_one_pair_are_one_trade_at_the_mean_price() -> None:
    book = book_of((0, 1, 10), (0, 3, 20), (1, -4, 30))
    trades = clear("pay_as_bid", book).trades
    assert len(trades) == 1
    assert trades.price_eur_per_mwh == pytest.approx([17.5])


@pytest.mark.parametrize("share", [-0.1, 1.1, float("nan")])
def test_a_share_that_is_none_is_refused(share: float) -> None:
    with pytest.raises(ScenarioError, match="option 'share'"):
        make_mechanism("pay_as_bid", share=share)
