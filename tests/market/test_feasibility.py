"""Clearings against their own books; bounds that stand for as much as you like."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from peerwatt.market.book import QuadraticBook, StepBook, all_pairs
from peerwatt.market.clearing import Clearing, Status
from peerwatt.market.feasibility import feasible
from peerwatt.market.mechanism import make_mechanism

AUCTIONS = ("double_auction", "average", "mcafee", "pay_as_bid", "continuous_double_auction", "pairwise")
SIZES = (1.0, 1e3, 1e8, 1e13)


def steps(size: float) -> StepBook:
    """A supplier of any amount at 300, PV at 60, two households; who takes surplus at 80 takes any amount."""
    power = [size, 0.0008, -0.0005, -0.0006, -size]
    return StepBook(np.arange(5), np.array(power), np.array([300.0, 60.0, 400.0, 350.0, 50.0]), 5, 1.0)


def quadratic(size: float) -> QuadraticBook:
    """The same with two households of 6 and 30 kW, and surplus taken at 80."""
    low, high = np.array([0.0, -size, 0.0, -0.006, -0.03]), np.array([size, 0.0, 0.01, 0.0, 0.0])
    seller, buyer = all_pairs(low, high)
    none = np.zeros(seller.size)
    price = np.array([300.0, 80.0, 60.0, 400.0, 400.0])
    return QuadraticBook(low, high, np.zeros(5), price, seller, buyer, none, none, 1.0)


@pytest.mark.parametrize("name", AUCTIONS)
@pytest.mark.parametrize("size", SIZES)
def test_an_auction_is_the_same_however_much_as_you_like_is(name: str, size: float) -> None:
    book = steps(size)
    found = feasible(book, make_mechanism(name).clear(book, np.random.default_rng(3)))
    like = make_mechanism(name).clear(steps(0.01), np.random.default_rng(3))
    assert found.status is Status.OPTIMAL, found.message
    np.testing.assert_allclose(found.p_mw, like.p_mw, atol=1e-10)
    assert found.social_welfare_eur == pytest.approx(like.social_welfare_eur, rel=1e-6)


def test_the_double_auction_is_that_by_hand() -> None:
    book = steps(1e8)
    found = make_mechanism("double_auction").clear(book, np.random.default_rng(1))
    np.testing.assert_allclose(found.p_mw, [0.0003, 0.0008, -0.0005, -0.0006, 0.0], atol=1e-15)
    # 400 x 0.5 kWh + 350 x 0.6 kWh - 60 x 0.8 kWh - 300 x 0.3 kWh
    assert found.social_welfare_eur == pytest.approx(0.2 + 0.21 - 0.048 - 0.09, abs=1e-12)
    assert len(found.trades) == 3


@pytest.mark.parametrize("solver", ["auto", "clarabel"])
@pytest.mark.parametrize("size", [1.0, 1e8, 1e13, 1e14])
def test_bilateral_trading_is_the_same_however_much_as_you_like_is(size: float, solver: str) -> None:
    book = quadratic(size)
    found = feasible(book, make_mechanism("bilateral", solver=solver).clear(book, np.random.default_rng(1)))
    assert found.status is Status.OPTIMAL, found.message
    # 36 kW at 400, of which 10 kW cost 60 and 26 kW cost 300
    assert found.social_welfare_eur == pytest.approx(0.036 * 400 - 0.01 * 60 - 0.026 * 300, abs=1e-6)
    np.testing.assert_allclose(found.p_mw, [0.026, 0.0, 0.01, -0.006, -0.03], atol=1e-7)


def cleared() -> tuple[StepBook, Clearing]:
    book = steps(1.0)
    return book, make_mechanism("double_auction").clear(book, np.random.default_rng(1))


@pytest.mark.parametrize(
    ("rule", "change"),
    [
        ("power beyond what it offered", {"p_mw": np.array([0.0003, 0.0009, -0.0006, -0.0006, 0.0])}),
        ("trades that are not its power", {"p_mw": np.array([0.0004, 0.0008, -0.0005, -0.0006, 0.0])}),
        ("more of a step than it offered", {"accepted_mw": np.array([0.0003, 0.0009, -0.0005, -0.0007, 0.0])}),
        ("steps that are not its power", {"accepted_mw": np.array([0.0002, 0.0008, -0.0005, -0.0006, 0.0])}),
        ("power beyond what it offered", {"p_mw": np.array([0.0003, np.nan, -0.0005, -0.0006, 0.0])}),
    ],
)
def test_a_clearing_that_breaks_its_book_is_none_and_says_which_rule(rule: str, change: dict[str, np.ndarray]) -> None:
    book, right = cleared()
    assert feasible(book, right) is right
    found = feasible(book, replace(right, **change))
    assert found.status is Status.NOT_CONVERGED
    assert rule in found.message
    assert len(found.trades) == 0


def test_trades_with_oneself_and_below_zero_are_none() -> None:
    book, right = cleared()
    oneself = replace(right.trades, buyer=right.trades.seller)
    assert "itself" in feasible(book, replace(right, p_mw=np.zeros(5), accepted_mw=np.zeros(5), trades=oneself)).message
    turned = replace(right.trades, seller=right.trades.buyer, buyer=right.trades.seller, p_mw=-right.trades.p_mw)
    assert "below zero" in feasible(book, replace(right, trades=turned)).message
