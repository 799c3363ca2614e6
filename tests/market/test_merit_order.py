from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from peerwatt.errors import BookError
from peerwatt.market.book import StepBook
from peerwatt.market.merit_order import MeritOrder, curves
from tests.auctions import book_of
from tests.oracles import auction_by_linprog
from tests.strategies import step_books


def test_the_curves_are_staircases() -> None:
    drawn = curves(book_of((0, 2, 30), (1, 1, 10), (2, -1, 40), (3, -3, 20), (4, 0, 5)))
    assert drawn.supply_mw.tolist() == [0, 1, 1, 3]
    assert drawn.supply_eur_per_mwh.tolist() == [10, 10, 30, 30]
    assert drawn.demand_mw.tolist() == [0, 1, 1, 4]
    assert drawn.demand_eur_per_mwh.tolist() == [40, 40, 20, 20]


def test_a_side_without_steps_has_an_empty_curve() -> None:
    drawn = curves(book_of((0, 2, 30)))
    assert drawn.demand_mw.size == drawn.demand_eur_per_mwh.size == 0
    assert drawn.supply_mw.tolist() == [0, 2]


def test_a_faulty_book_has_no_curves() -> None:
    with pytest.raises(BookError, match="unknown agent"):
        curves(StepBook([7], [1.0], [1.0], 2, 1.0))


@settings(max_examples=100, deadline=None)
@given(step_books())
def test_the_area_between_the_curves_up_to_the_volume_is_the_welfare(book: StepBook) -> None:
    drawn, market = curves(book), MeritOrder.of(book, np.random.default_rng(0))
    welfare, volume = auction_by_linprog(book)
    scale = float(np.abs(book.p_mw).sum()) + 1e-9
    assert market.volume_mw == pytest.approx(volume, abs=1e-7 * scale)
    area = 0.0
    for sign, quantity, price in (
        (-1.0, drawn.supply_mw, drawn.supply_eur_per_mwh),
        (1.0, drawn.demand_mw, drawn.demand_eur_per_mwh),
    ):
        area += sign * float(np.diff(np.minimum(quantity, market.volume_mw)) @ price[1:]) if price.size else 0.0
    assert area * book.period_h == pytest.approx(welfare, abs=1e-8 * 50 * scale)


@settings(max_examples=100, deadline=None)
@given(step_books(), st.integers(0, 3))
def test_both_sides_hold_every_step_once_best_first(book: StepBook, seed: int) -> None:
    market = MeritOrder.of(book, np.random.default_rng(seed))
    steps = np.sort(market.order[np.concatenate((market.ask.step, market.bid.step))])
    assert np.array_equal(steps, np.flatnonzero(book.p_mw))
    for side in (market.ask, market.bid):
        assert (np.diff(side.cost) >= 0).all()
        assert side.upto == pytest.approx(np.cumsum(np.abs(book.p_mw[market.order[side.step]])))
