from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from peerwatt.errors import ScenarioError
from peerwatt.market.book import StepBook
from peerwatt.market.mechanism import make_mechanism
from peerwatt.market.mid_market import MidMarketRate, shared_prices
from tests.auctions import best_gain, book_of, clear, single_step_books
from tests.strategies import step_books

TARIFF = {"supply_eur_per_mwh": 10.0, "feed_in_eur_per_mwh": 2.0}


@settings(max_examples=80, deadline=None)
@given(single_step_books(quantities=(0.5, 1.0, 3.0)))
def test_each_peer_has_the_price_of_long_et_al_with_the_supplier_taking_the_rest(book: StepBook) -> None:
    peers = StepBook(book.agent, book.p_mw, np.where(book.p_mw > 0, 2.0, 10.0), book.n_agents, 1.0)
    result = clear("mid_market_rate", peers, **TARIFF)
    supply, demand = float(peers.p_mw[peers.p_mw > 0].sum()), float(-peers.p_mw[peers.p_mw < 0].sum())
    if supply >= demand:  # as the source has it, by cases
        sell_price = (demand * 6.0 + (supply - demand) * 2.0) / supply if supply else 2.0
        buy_price = 6.0 if demand else 10.0
    else:
        sell_price = 6.0 if supply else 2.0
        buy_price = (supply * 6.0 + (demand - supply) * 10.0) / demand
    assert shared_prices(supply, demand, **TARIFF) == pytest.approx((sell_price, buy_price)) or not demand
    rest = peers.p_mw - result.p_mw
    paid = -np.where(rest > 0, 2.0, 10.0) * rest  # to the supplier
    np.add.at(paid, result.trades.buyer, result.trades.p_mw * result.trades.price_eur_per_mwh)
    np.add.at(paid, result.trades.seller, -result.trades.p_mw * result.trades.price_eur_per_mwh)
    assert paid == pytest.approx(-peers.p_mw * np.where(peers.p_mw > 0, sell_price, buy_price))


def test_where_a_side_is_missing_the_supplier_sets_the_price() -> None:
    assert shared_prices(0.0, 3.0, **TARIFF) == (2.0, 10.0)
    assert shared_prices(3.0, 0.0, **TARIFF) == (2.0, 10.0)
    assert shared_prices(3.0, 3.0, **TARIFF) == (6.0, 6.0)


@settings(max_examples=50, deadline=None)
@given(step_books())
def test_steps_that_allow_the_price_trade_the_same_share_of_their_quantity(book: StepBook) -> None:
    result = clear("mid_market_rate", book, supply_eur_per_mwh=40.0, feed_in_eur_per_mwh=20.0)
    for side in (1.0, -1.0):
        mine = (side * book.p_mw > 0) & (side * (30.0 - book.price_eur_per_mwh) >= 0)
        other = (side * book.p_mw < 0) & (side * (30.0 - book.price_eur_per_mwh) <= 0)
        offered, wanted = np.abs(book.p_mw[mine]).sum(), np.abs(book.p_mw[other]).sum()
        share = min(1.0, wanted / offered) if offered and result.p_mw.size else 0.0
        assert result.accepted_mw[mine] == pytest.approx(share * book.p_mw[mine], abs=1e-12)
        assert not result.accepted_mw[(side * book.p_mw > 0) & ~mine].any()
    if len(result.trades):
        assert (result.trades.price_eur_per_mwh == 30.0).all()
        assert result.price_eur_per_mwh == 30.0


@settings(max_examples=20, deadline=None)
@given(single_step_books(quantities=(1.0, 2.0), max_agents=7), st.integers(0, 3))
def test_no_agent_with_one_step_gains_by_naming_another_price(book: StepBook, seed: int) -> None:
    assert best_gain(MidMarketRate(**TARIFF), book, np.arange(0.0, 13.0, 0.5), seed) <= 1e-9


def test_a_limit_that_does_not_allow_the_price_keeps_a_step_out() -> None:
    result = clear("mid_market_rate", book_of((0, 2, 3), (1, 1, 7), (2, -1, 9), (3, -4, 5)), **TARIFF)
    assert result.accepted_mw == pytest.approx([1, 0, -1, 0])


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, "option 'supply_eur_per_mwh' is missing"),
        ({"supply_eur_per_mwh": 5.0, "feed_in_eur_per_mwh": float("nan")}, "feed_in_eur_per_mwh' is nan"),
        ({"supply_eur_per_mwh": 5.0, "feed_in_eur_per_mwh": 6.0}, "6 is above supply_eur_per_mwh 5"),
    ],
)
def test_a_tariff_that_is_none_is_refused(options: dict[str, float], words: str) -> None:
    with pytest.raises(ScenarioError, match=words):
        make_mechanism("mid_market_rate", **options)
