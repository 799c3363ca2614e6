"""Many auctions at once: each is what it is alone, to the last digit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from peerwatt.errors import BookError
from peerwatt.market.auction import average_auction, double_auction
from peerwatt.market.auction_batch import AuctionClearings, StepBooks, average_auctions, double_auctions
from peerwatt.market.book import StepBook
from peerwatt.market.clearing import Clearing, Status
from tests.strategies import random_step_book, step_books


def together(books: Sequence[StepBook]) -> StepBooks:
    """The books as one table; agents that a book does not have offer nothing in it."""
    return StepBooks(
        book=np.repeat(np.arange(len(books)), [len(book.agent) for book in books]),
        agent=np.concatenate([book.agent for book in books]),
        p_mw=np.concatenate([book.p_mw for book in books]),
        price_eur_per_mwh=np.concatenate([book.price_eur_per_mwh for book in books]),
        n_books=len(books),
        n_agents=max(book.n_agents for book in books),
        period_h=books[0].period_h,
    )


def streams(n: int, seed: int) -> list[np.random.Generator]:
    return [np.random.default_rng((seed, each)) for each in range(n)]


def assert_same(cleared: AuctionClearings, books: StepBooks, alone: Sequence[Clearing]) -> None:
    """Every number of every book is the same, bit by bit; the sign of a zero does not count."""
    for i, one in enumerate(alone):
        trades = slice(cleared.first[i], cleared.first[i + 1])
        assert cleared.empty[i] == (one.status is Status.EMPTY)
        np.testing.assert_array_equal(cleared.accepted_mw[books.book == i], one.accepted_mw)
        for side in ("seller", "buyer"):
            np.testing.assert_array_equal(
                getattr(cleared.trades, side)[trades] - i * books.n_agents, getattr(one.trades, side)
            )
        for name in ("p_mw", "price_eur_per_mwh"):
            np.testing.assert_array_equal(getattr(cleared.trades, name)[trades], getattr(one.trades, name))
        np.testing.assert_array_equal(cleared.price_eur_per_mwh[i], one.price_eur_per_mwh)
        assert cleared.social_welfare_eur[i] == one.social_welfare_eur


@given(books=st.lists(step_books(), min_size=1, max_size=6), k=st.sampled_from([0.0, 0.3, 1.0]), seed=st.integers(0, 9))
@settings(max_examples=150, deadline=None)
def test_each_double_auction_is_what_it_is_alone(books: list[StepBook], k: float, seed: int) -> None:
    books = [replace(book, period_h=0.25) for book in books]
    tables = together(books)
    alone = [double_auction(book, rng, k=k) for book, rng in zip(books, streams(len(books), seed), strict=True)]
    assert_same(double_auctions(tables, streams(len(books), seed), k=k), tables, alone)


@given(books=st.lists(step_books(), min_size=1, max_size=6), seed=st.integers(0, 9))
@settings(max_examples=50, deadline=None)
def test_each_average_auction_is_what_it_is_alone(books: list[StepBook], seed: int) -> None:
    books = [replace(book, period_h=0.25) for book in books]
    tables = together(books)
    alone = [average_auction(book, rng) for book, rng in zip(books, streams(len(books), seed), strict=True)]
    assert_same(average_auctions(tables, streams(len(books), seed)), tables, alone)


@pytest.mark.parametrize("n_agents", [50, 300])
def test_large_books_of_different_length_are_the_same_too(n_agents: int) -> None:
    rng = np.random.default_rng(n_agents)
    books = [replace(random_step_book(rng, n_agents - 7 * i), n_agents=n_agents) for i in range(6)]
    tables = together(books)
    k = rng.random(6)
    alone = [double_auction(book, stream, k=share) for book, stream, share in zip(books, streams(6, 1), k, strict=True)]
    assert_same(double_auctions(tables, streams(6, 1), k=k), tables, alone)
    assert all(len(one.trades) for one in alone)


def test_draws_go_on_from_call_to_call_as_they_do_one_by_one() -> None:
    book = StepBook([0, 1, 2, 3], [1.0, 1.0, -1.0, -1.0], [10.0, 10.0, 10.0, 10.0], 4, 1.0)
    together_, apart = streams(3, 0), streams(3, 0)
    for _ in range(5):
        tables = together([book] * 3)
        assert_same(double_auctions(tables, together_), tables, [double_auction(book, rng) for rng in apart])


def test_without_a_step_nothing_is_traded() -> None:
    none = np.empty(0)
    books = StepBooks(none.astype(np.intp), none.astype(np.intp), none, none, 3, 5, 0.25)
    cleared = double_auctions(books, streams(3, 0))
    assert cleared.empty.all()
    assert len(cleared.trades) == 0
    assert cleared.social_welfare_eur.tolist() == [0.0] * 3
    assert np.isnan(cleared.price_eur_per_mwh).all()


@pytest.mark.parametrize(
    ("agent", "p_mw", "price", "said"),
    [
        ([0, 1, 0], [1.0, -1.0, np.nan], [10.0, 20.0, 30.0], "finite"),
        ([0, 1, 2], [1.0, -1.0, 1.0], [10.0, 20.0, 30.0], "unknown agent"),
        ([0, 0, 1], [1.0, -1.0, 1.0], [10.0, 20.0, 30.0], "sells at a price at or below"),
    ],
)
def test_a_faulty_book_is_refused_as_it_is_alone(
    agent: list[int], p_mw: list[float], price: list[float], said: str
) -> None:
    good = StepBook([0, 1], [1.0, -1.0], [10.0, 20.0], 2, 1.0)
    bad = StepBook(agent, p_mw, price, 2, 1.0)
    with pytest.raises(BookError, match=said):
        double_auctions(together([good, bad]), streams(2, 0))


def test_the_same_number_in_two_books_is_two_agents() -> None:
    sells, buys = StepBook([0], [1.0], [10.0], 1, 1.0), StepBook([0], [-1.0], [20.0], 1, 1.0)
    cleared = double_auctions(together([sells, buys]), streams(2, 0))
    assert cleared.empty.all()
