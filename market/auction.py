"""Uniform-price double auction with k-pricing.

Sell steps in order of rising price form the supply, buy steps in order of falling price the demand. The
accepted volume is the largest at which the last seller asks no more than the last buyer pays, which has the
highest welfare. Every price p in [p_low, p_high] clears the market, where

    p_low  = max(dearest accepted sell, dearest buy not accepted in full)
    p_high = min(cheapest accepted buy, cheapest sell not accepted in full)

and the uniform price is p_low + k (p_high - p_low): k = 0 gives all of the leeway to buyers, k = 1 to
sellers. A step that is accepted in part sets the price alone. (k-double auction: Satterthwaite and
Williams 1989; mediated conceptual models CM1 and CM3 of `003`, chapter 4.)

Among steps of equal price at the margin, and for who trades with whom, the order is a shuffle drawn from
`rng` over the steps in the canonical order (agent, price, quantity): the book's own order does not matter.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from peerwatt.errors import Fault, ScenarioError
from peerwatt.market.book import FloatArray, IntArray, StepBook, sum_by_agent, validate
from peerwatt.market.clearing import Clearing, Status, Trades, empty_clearing
from peerwatt.market.mechanism import BookKind

__all__ = ["DoubleAuction", "double_auction"]

_ROUNDING = 1e-11  # share of the total quantity below which a quantity is rounding error


@dataclass(frozen=True, slots=True)
class DoubleAuction:
    """The double auction as a mechanism.

    Attributes:
        k: where in the interval of clearing prices the price lies, 0 to 1.
    """

    name: ClassVar[str] = "double_auction"
    book: ClassVar[BookKind] = BookKind.STEPS
    k: float = 0.5

    def __post_init__(self) -> None:
        if not 0.0 <= self.k <= 1.0:
            raise ScenarioError(
                Fault("mechanism 'double_auction'", f"option 'k' is {self.k!r}", "a number from 0 to 1")
            )

    def clear(self, book: StepBook, rng: np.random.Generator) -> Clearing:
        """Clear one book, see `double_auction`."""
        return double_auction(book, rng, k=self.k)


def double_auction(book: StepBook, rng: np.random.Generator, *, k: float = 0.5) -> Clearing:
    """Clear a book at one price.

    Args:
        book: price-quantity steps.
        rng: stream that breaks ties.
        k: where in the interval of clearing prices the price lies, 0 to 1.

    Raises:
        BookError: the book contradicts itself, or an agent would trade with itself.
    """
    validate(book)
    order = _shuffled(book, rng)
    # from here in this order: not even the rounding of sums depends on the order of the book
    agent, p_mw, price = book.agent[order], book.p_mw[order], book.price_eur_per_mwh[order]
    sells, buys = np.flatnonzero(p_mw > 0.0), np.flatnonzero(p_mw < 0.0)
    if not (sells.size and buys.size):
        return empty_clearing(book.n_agents, n_steps=p_mw.size, message="no seller" if buys.size else "no buyer")

    ask = _Side.sorted(agent[sells], price[sells], p_mw[sells])
    bid = _Side.sorted(agent[buys], -price[buys], -p_mw[buys])
    rounding = _ROUNDING * max(ask.upto[-1], bid.upto[-1])
    volume = _volume(ask, bid)
    sold, bought = ask.accept(volume, rounding), bid.accept(volume, rounding)
    accepted = np.zeros(p_mw.size)
    accepted[sells], accepted[buys] = sold, -bought
    uniform, trades, welfare = np.nan, Trades.none(), accepted
    if volume > rounding:
        uniform = _price(ask, bid, volume, rounding, k)
        trades = _match(ask.agent, sold, bid.agent, bought, uniform, rounding, book.n_agents)
        welfare = (uniform - price) * accepted * book.period_h  # (n_steps,)
    accepted_mw = np.empty_like(accepted)
    accepted_mw[order] = accepted
    return Clearing(
        status=Status.OPTIMAL,
        p_mw=sum_by_agent(agent, accepted, book.n_agents),
        trades=trades,
        social_welfare_eur=float(-(price @ accepted) * book.period_h),
        welfare_eur=sum_by_agent(agent, welfare, book.n_agents),
        price_eur_per_mwh=uniform,
        accepted_mw=accepted_mw,
    )


def _shuffled(book: StepBook, rng: np.random.Generator) -> IntArray:
    """A shuffle of the steps that does not depend on their order: from agent, price and quantity."""
    shuffle = rng.permutation(book.agent.size)
    if (book.agent[1:] > book.agent[:-1]).all():
        return shuffle
    return np.lexsort((book.p_mw, book.price_eur_per_mwh, book.agent))[shuffle]


@dataclass(frozen=True, slots=True)
class _Side:
    """One side of the market, best step first; a buy counts with its negative price.

    Attributes:
        agent: agent of each step, in the shuffled order.
        rank: position of each sorted step in the shuffled order.
        cost: price of a sell, negative price of a buy, rising.
        quantity: positive quantities.
        upto: cumulative quantity, the step included.
    """

    agent: IntArray
    rank: IntArray
    cost: FloatArray
    quantity: FloatArray
    upto: FloatArray

    @classmethod
    def sorted(cls, agent: IntArray, cost: FloatArray, quantity: FloatArray) -> _Side:
        rank = cost.argsort(kind="stable")
        quantity = quantity[rank]
        return cls(agent, rank, cost[rank], quantity, quantity.cumsum())

    def at(self, cost: FloatArray) -> FloatArray:
        """Quantity of all steps that cost at most this."""
        count = self.cost.searchsorted(cost, side="right")
        return np.where(count > 0, self.upto[count - 1], 0.0)

    def accept(self, volume: float, rounding: float) -> FloatArray:
        """Accepted quantities, in the shuffled order, when this volume is accepted."""
        accepted = np.empty_like(self.quantity)
        left = np.full(self.upto.size, volume)
        left[1:] -= self.upto[:-1]
        left[left <= rounding] = 0.0
        accepted[self.rank] = np.where(left >= self.quantity - rounding, self.quantity, left)
        return accepted

    def margin(self, volume: float, rounding: float) -> tuple[float, float]:
        """Cost of the last accepted step, and of the first that is not accepted in full (inf if none)."""
        last = int(self.upto.searchsorted(volume - rounding))
        first_left = int(self.upto.searchsorted(volume + rounding, side="right"))
        left = float(self.cost[first_left]) if first_left < self.cost.size else np.inf
        return float(self.cost[last]), left


def _volume(ask: _Side, bid: _Side) -> float:
    """Largest volume at which the last seller asks no more than the last buyer pays.

    Up to the price of any sell step at most the supply up to this step and the demand at its price can be
    traded; the best step gives the volume.
    """
    return float(np.minimum(ask.upto, bid.at(-ask.cost)).max())


def _price(ask: _Side, bid: _Side, volume: float, rounding: float, k: float) -> float:
    last_sell, next_sell = ask.margin(volume, rounding)
    last_buy, next_buy = bid.margin(volume, rounding)
    low = max(last_sell, -next_buy)
    high = min(-last_buy, next_sell)
    return low + k * (high - low)


def _match(
    seller: IntArray,
    sold: FloatArray,
    buyer: IntArray,
    bought: FloatArray,
    price: float,
    rounding: float,
    n_agents: int,
) -> Trades:
    """Pair accepted sells and buys along their cumulative quantities, in the shuffled order."""
    seller, sold = seller[sold > 0.0], sold[sold > 0.0]
    buyer, bought = buyer[bought > 0.0], bought[bought > 0.0]
    sold_upto, bought_upto = sold.cumsum(), bought.cumsum()
    ends = np.concatenate((sold_upto, bought_upto))
    ends.sort()
    length = ends.copy()
    length[1:] -= ends[:-1]
    real = length > rounding
    length = length[real]
    middle = ends[real] - 0.5 * length
    seller = seller[np.minimum(sold_upto.searchsorted(middle), seller.size - 1)]
    buyer = buyer[np.minimum(bought_upto.searchsorted(middle), buyer.size - 1)]
    pair = seller * n_agents + buyer
    order = pair.argsort(kind="stable")
    pair = pair[order]
    first = np.ones(pair.size, dtype=bool)  # where a pair of agents begins; they may meet with several steps
    first[1:] = pair[1:] != pair[:-1]
    pair = pair[first]
    p_mw = np.add.reduceat(length[order], np.flatnonzero(first))
    return Trades(pair // n_agents, pair % n_agents, p_mw, np.full(pair.size, price))
