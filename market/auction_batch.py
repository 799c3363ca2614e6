"""Many double auctions at once: the same clearings as one by one, to the last digit.

    books = StepBooks(book, agent, p_mw, price_eur_per_mwh, n_books=1000, n_agents=50, period_h=0.25)
    cleared = double_auctions(books, streams)
    cleared.trades      # of all books, with agents numbered through all books

What `peerwatt.market.auction` and `peerwatt.market.merit_order` do for one book is done here for all of them in arrays
of shape (n_books, n_steps), padded where a book has fewer steps; sums run along the rows in the order of a single book,
so that not even their rounding differs. Each book has a stream of its own for the shuffle.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from peerwatt.errors import BookError
from peerwatt.market.book import FloatArray, IntArray, StepBook, validate
from peerwatt.market.clearing import Trades
from peerwatt.market.merit_order import ROUNDING

__all__ = ["AuctionClearings", "StepBooks", "average_auctions", "double_auctions"]

BoolArray = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class StepBooks:
    """Price-quantity steps of many markets, none of which knows of the others; arrays (n_steps,).

    Attributes:
        book: which book each step is in, ascending.
        agent: who offers it, index below `n_agents`; the same number in another book is another agent.
        p_mw: quantity, positive to sell, negative to buy.
        price_eur_per_mwh: least price to sell at, or highest to buy at.
        n_books: number of books, those without a step included.
        n_agents: number of agents of each book.
        period_h: length of the market period in hours.
    """

    book: IntArray
    agent: IntArray
    p_mw: FloatArray
    price_eur_per_mwh: FloatArray
    n_books: int
    n_agents: int
    period_h: float

    def __getitem__(self, number: int) -> StepBook:
        """One of the books."""
        own = slice(*np.searchsorted(self.book, (number, number + 1)))
        return StepBook(self.agent[own], self.p_mw[own], self.price_eur_per_mwh[own], self.n_agents, self.period_h)

    def validate(self) -> None:
        """Refuse books that contradict themselves, as `peerwatt.market.book.validate` does with one.

        Raises:
            BookError: lists every fault of the first such book.
        """
        try:
            validate(StepBook(self.owner, self.p_mw, self.price_eur_per_mwh, self._n_owners, self.period_h))
            sound = self.agent.size == 0 or bool(self.agent.min() >= 0 and self.agent.max() < self.n_agents)
        except BookError:
            sound = False
        for number in range(0 if sound else self.n_books):
            validate(self[number])

    @property
    def owner(self) -> IntArray:
        """Who offers each step, numbered through all books."""
        return self.book * self.n_agents + self.agent

    @property
    def _n_owners(self) -> int:
        return self.n_books * self.n_agents


@dataclass(frozen=True, slots=True)
class AuctionClearings:
    """Results of many auctions.

    Attributes:
        empty: whether nobody sells or nobody buys. (n_books,)
        accepted_mw: accepted part of every step, signed like the step. (n_steps,)
        trades: of all books, book by book; agent a of book i has the number i n_agents + a.
        first: position of each book's first trade, and at the end the number of trades. (n_books + 1,)
        price_eur_per_mwh: uniform price, NaN where nothing is traded. (n_books,)
        social_welfare_eur: see `peerwatt.market.clearing.Clearing`. (n_books,)
    """

    empty: BoolArray
    accepted_mw: FloatArray
    trades: Trades
    first: IntArray
    price_eur_per_mwh: FloatArray
    social_welfare_eur: FloatArray


def double_auctions(books: StepBooks, rngs: Sequence[np.random.Generator], *, k: ArrayLike = 0.5) -> AuctionClearings:
    """Clear every book at one price of its own that clears it, see `peerwatt.market.auction.double_auction`.

    Args:
        books: price-quantity steps.
        rngs: stream of each book that breaks ties.
        k: where in the interval of clearing prices the price lies, 0 to 1; one, or one per book.

    Raises:
        BookError: a book contradicts itself, or an agent would trade with itself.
    """
    orders = _MeritOrders.of(books, rngs)
    last_sell, last_buy = orders.margin()
    low = np.maximum(last_sell, -orders.bid.next_cost(orders.volume_mw, orders.rounding))
    high = np.minimum(last_buy, orders.ask.next_cost(orders.volume_mw, orders.rounding))
    with np.errstate(invalid="ignore"):  # infinite less infinite, where nothing is traded
        return orders.at_prices(low + np.asarray(k) * (high - low))


def average_auctions(books: StepBooks, rngs: Sequence[np.random.Generator]) -> AuctionClearings:
    """Clear every book at the mean of its dearest accepted sell and cheapest accepted buy, see `average_auction`.

    Args:
        books: price-quantity steps.
        rngs: stream of each book that breaks ties.

    Raises:
        BookError: a book contradicts itself, or an agent would trade with itself.
    """
    orders = _MeritOrders.of(books, rngs)
    last_sell, last_buy = orders.margin()
    with np.errstate(invalid="ignore"):
        return orders.at_prices(0.5 * (last_sell + last_buy))


@dataclass(frozen=True, slots=True)
class _Sides:
    """One side of every market, best step first, padded at the end: `peerwatt.market.merit_order.Side` row by row.

    Attributes:
        step: place of the step among the shuffled ones. (n_books, width)
        size: number of steps. (n_books,)
        cost: price of a sell, negative price of a buy, rising; infinite in the padding. (n_books, width)
        quantity: positive; 0 in the padding. (n_books, width)
        upto: cumulative quantity, the step included. (n_books, width)
    """

    step: IntArray
    size: IntArray
    cost: FloatArray
    quantity: FloatArray
    upto: FloatArray

    @classmethod
    def of(cls, p_mw: FloatArray, price: FloatArray, sign: float) -> Self:
        """Sort one side; `sign` is 1 for the sells, -1 for the buys. Both arrays are (n_books, width)."""
        own = sign * p_mw > 0.0
        size = own.sum(axis=1)
        width = int(size.max(initial=0))
        cost = np.where(own, sign * price, np.inf)
        step = cost.argsort(axis=1, kind="stable")[:, :width]
        quantity = np.take_along_axis(sign * p_mw, step, axis=1)
        quantity[np.arange(width) >= size[:, None]] = 0.0
        return cls(step, size, np.take_along_axis(cost, step, axis=1), quantity, quantity.cumsum(axis=1))

    @property
    def total(self) -> FloatArray:
        """All of it, (n_books,)."""
        return self.upto[:, -1] if self.upto.shape[1] else np.zeros(len(self.size))

    def accept(self, volume: FloatArray, rounding: FloatArray) -> FloatArray:
        """Accepted quantities, best step first, (n_books, width)."""
        left = np.repeat(volume[:, None], self.upto.shape[1], axis=1)
        left[:, 1:] -= self.upto[:, :-1]
        left[left <= rounding[:, None]] = 0.0
        accepted: FloatArray = np.where(left >= self.quantity - rounding[:, None], self.quantity, left)
        return accepted

    def last_cost(self, volume: FloatArray, rounding: FloatArray) -> FloatArray:
        """Cost of the last step that is accepted, at least in part, infinite without any; (n_books,)."""
        return self._cost_at((self.upto < (volume - rounding)[:, None]).sum(axis=1))

    def next_cost(self, volume: FloatArray, rounding: FloatArray) -> FloatArray:
        """Cost of the first step that is not accepted in full; infinite if there is none; (n_books,)."""
        return self._cost_at((self.upto <= (volume + rounding)[:, None]).sum(axis=1))

    def _cost_at(self, place: IntArray) -> FloatArray:
        inside = place < self.size
        cost = np.full(len(place), np.inf)
        cost[inside] = self.cost[inside, place[inside]]
        return cost


@dataclass(frozen=True, slots=True)
class _MeritOrders:
    """Supply and demand of every book.

    Attributes:
        books: the books.
        order: step of `books` at each shuffled place, book by book. (n_steps,)
        real: which places of the padded arrays hold a step. (n_books, width)
        p_mw, price: the shuffled steps. (n_books, width)
        ask, bid: supply and demand.
        rounding: quantity below which a quantity is rounding error. (n_books,)
        volume_mw: efficient volume. (n_books,)
    """

    books: StepBooks
    order: IntArray
    real: BoolArray
    p_mw: FloatArray
    price: FloatArray
    ask: _Sides
    bid: _Sides
    rounding: FloatArray
    volume_mw: FloatArray

    @classmethod
    def of(cls, books: StepBooks, rngs: Sequence[np.random.Generator]) -> Self:
        """Sort the books.

        Raises:
            BookError: a book contradicts itself, or an agent would trade with itself.
        """
        books.validate()
        count = np.bincount(books.book, minlength=books.n_books)
        order = _shuffle(books, count, rngs)
        real = np.arange(int(count.max(initial=0))) < count[:, None]
        p_mw, price = np.zeros(real.shape), np.zeros(real.shape)
        p_mw[real], price[real] = books.p_mw[order], books.price_eur_per_mwh[order]
        ask, bid = _Sides.of(p_mw, price, 1.0), _Sides.of(p_mw, price, -1.0)
        both = (ask.size > 0) & (bid.size > 0)
        volume = np.minimum(ask.upto, _demand(ask, bid)).max(axis=1, initial=0.0)
        return cls(books, order, real, p_mw, price, ask, bid, np.where(both, ROUNDING * volume, 0.0), volume)

    def margin(self) -> tuple[FloatArray, FloatArray]:
        """Prices of the last accepted sell and of the last accepted buy, each (n_books,)."""
        return self.ask.last_cost(self.volume_mw, self.rounding), -self.bid.last_cost(self.volume_mw, self.rounding)

    def at_prices(self, price: FloatArray) -> AuctionClearings:
        """Accept the efficient volume of each book and pay one price for all of it, (n_books,)."""
        books = self.books
        empty = (self.ask.size == 0) | (self.bid.size == 0)
        trading = self.volume_mw > self.rounding
        accepted = np.zeros(self.p_mw.shape)
        for side, sign in ((self.ask, 1.0), (self.bid, -1.0)):
            taken = np.where(side.quantity > 0.0, side.accept(self.volume_mw, self.rounding), 0.0)
            row, place = np.nonzero(taken)
            accepted[row, side.step[row, place]] = sign * taken[row, place]
        accepted[empty] = 0.0
        price = np.where(trading, price, np.nan)
        trades, first = self._trades(accepted, trading, price)
        in_order = np.empty(books.agent.size)
        in_order[self.order] = accepted[self.real]
        size = self.real.sum(axis=1).tolist()
        welfare = [  # products of rows of their own length: a longer one might be summed in another order
            -float(own[:n] @ taken[:n]) * books.period_h
            for own, taken, n in zip(self.price, accepted, size, strict=True)
        ]
        return AuctionClearings(empty, in_order, trades, first, price, np.where(empty, 0.0, welfare))

    def _trades(self, accepted: FloatArray, trading: BoolArray, price: FloatArray) -> tuple[Trades, IntArray]:
        """Pair accepted sells and buys of each book in the shuffled order, one trade per pair of agents."""
        books = self.books
        book, sell, buy, p_mw = _match(np.where(trading[:, None], accepted, 0.0), self.rounding)
        place = np.cumsum(self.real).reshape(self.real.shape) - 1
        owner = books.owner[self.order]
        seller, buyer = owner[place[book, sell]], owner[place[book, buy]]
        pair = seller * books.n_agents + buyer % max(books.n_agents, 1)
        order = pair.argsort(kind="stable")
        pair, p_mw, seller, buyer, book = (values[order] for values in (pair, p_mw, seller, buyer, book))
        begin = np.flatnonzero(np.diff(pair, prepend=-1))
        total = np.add.reduceat(p_mw, begin) if begin.size else np.empty(0)
        book = book[begin]
        first = np.searchsorted(book, np.arange(books.n_books + 1))
        return Trades(seller[begin], buyer[begin], total, price[book]), first


def _shuffle(books: StepBooks, count: IntArray, rngs: Sequence[np.random.Generator]) -> IntArray:
    """Shuffle of the steps of each book, see `peerwatt.market.merit_order.shuffle`, book by book; (n_steps,)."""
    first = np.cumsum(count) - count
    parts = [rng.permutation(n) + begin for rng, n, begin in zip(rngs, count.tolist(), first.tolist(), strict=True)]
    drawn = np.concatenate(parts) if parts else np.empty(0, dtype=np.intp)
    owner = books.owner
    if (owner[1:] > owner[:-1]).all():
        return drawn
    return np.lexsort((books.p_mw, books.price_eur_per_mwh, owner))[drawn]


def _demand(ask: _Sides, bid: _Sides) -> FloatArray:
    """Demand at the price of each sell step, (n_books, width of the asks)."""
    n_bid, price = bid.cost.shape[1], -ask.cost
    if not (n_bid and price.shape[1]):
        return np.zeros(price.shape)
    # How many buys cost at most this: their rank in the common order, where buys stand before equal sells.
    order = np.concatenate((bid.cost, price), axis=1).argsort(axis=1, kind="stable")
    upto = (order < n_bid).cumsum(axis=1)
    count = np.empty_like(upto)
    np.put_along_axis(count, order, upto, axis=1)
    place = count[:, n_bid:]
    demand = np.where(place > 0, np.take_along_axis(bid.upto, np.maximum(place - 1, 0), axis=1), 0.0)
    demand[np.isinf(price)] = 0.0
    return demand


def _match(accepted: FloatArray, rounding: FloatArray) -> tuple[IntArray, IntArray, IntArray, FloatArray]:
    """Pair sells and buys along their cumulative quantities, see `peerwatt.market.matching.match`.

    Args:
        accepted: accepted part of each shuffled step, (n_books, width).
        rounding: quantity below which a match is rounding error, (n_books,).

    Returns:
        Book, places of the sell and of the buy, and power of each match.
    """
    sells, sold = _compressed(accepted)
    buys, bought = _compressed(-accepted)
    n_sell = sells.shape[1]
    ends = np.concatenate((sold.cumsum(axis=1), bought.cumsum(axis=1)), axis=1)
    order = ends.argsort(axis=1, kind="stable")
    ends = np.take_along_axis(ends, order, axis=1)
    length = np.diff(ends, axis=1, prepend=0.0)
    sale = order < n_sell
    before = sale.cumsum(axis=1) - sale  # sells that end before this one
    book, place = np.nonzero(length > rounding[:, None])
    i = before[book, place]
    j = place - i
    return (
        book,
        sells[book, np.minimum(i, n_sell - 1)],
        buys[book, np.minimum(j, buys.shape[1] - 1)],
        length[book, place],
    )


def _compressed(quantity: FloatArray) -> tuple[IntArray, FloatArray]:
    """Places and values of what is positive, moved to the left of each row; zeros fill the rest."""
    positive = quantity > 0.0
    size = positive.sum(axis=1)
    width = int(size.max(initial=0))
    place, values = np.zeros((len(quantity), width), dtype=np.intp), np.zeros((len(quantity), width))
    kept = np.arange(width) < size[:, None]
    place[kept], values[kept] = np.nonzero(positive)[1], quantity[positive]
    return place, values
