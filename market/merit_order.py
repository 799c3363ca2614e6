"""Merit order: the steps of a book sorted into supply and demand, and where the two curves meet.

Sell steps in order of rising price form the supply, buy steps in order of falling price the demand. The
efficient volume is the largest at which the last seller asks no more than the last buyer pays; no other volume
has a higher welfare.

Steps of equal price are in the order of a shuffle drawn from `rng` over the steps in the canonical order
(agent, price, quantity): the book's own order does not matter, not even to the rounding of sums.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from peerwatt.market.book import FloatArray, IntArray, StepBook, validate

__all__ = ["ROUNDING", "Curves", "MeritOrder", "Side", "curves", "shuffle"]

ROUNDING = 1e-11
"""Share of the efficient volume below which a quantity is rounding error; what is offered beyond it does not count."""


@dataclass(frozen=True, slots=True)
class Side:
    """One side of the market, best step first; a buy counts with its negative price.

    Attributes:
        step: step of the shuffled book. (n_side,)
        cost: price of a sell, negative price of a buy, rising. (n_side,)
        quantity: positive quantities. (n_side,)
        upto: cumulative quantity, the step included. (n_side,)
    """

    step: IntArray
    cost: FloatArray
    quantity: FloatArray
    upto: FloatArray

    @classmethod
    def of(cls, steps: StepBook, sign: float) -> Side:
        """Sort one side of a shuffled book; `sign` is 1 for the sells, -1 for the buys."""
        step = np.flatnonzero(sign * steps.p_mw > 0.0)
        cost = sign * steps.price_eur_per_mwh[step]
        rank = cost.argsort(kind="stable")
        quantity = sign * steps.p_mw[step[rank]]
        return cls(step[rank], cost[rank], quantity, quantity.cumsum())

    def __len__(self) -> int:
        return self.step.size

    def at(self, cost: FloatArray) -> FloatArray:
        """Quantity of all steps that cost at most this."""
        count = self.cost.searchsorted(cost, side="right")
        return np.where(count > 0, self.upto[count - 1], 0.0)

    def accept(self, volume: float, rounding: float) -> FloatArray:
        """Accepted quantities, best step first, when this volume is accepted; (n_side,)."""
        left = np.full(len(self), volume)
        left[1:] -= self.upto[:-1]
        left[left <= rounding] = 0.0
        return np.where(left >= self.quantity - rounding, self.quantity, left)

    def last(self, volume: float, rounding: float) -> int:
        """Position of the last step that is accepted, at least in part, when this volume is accepted."""
        return int(self.upto.searchsorted(volume - rounding))

    def next_cost(self, volume: float, rounding: float) -> float:
        """Cost of the first step that is not accepted in full; infinite if there is none."""
        first_left = int(self.upto.searchsorted(volume + rounding, side="right"))
        return float(self.cost[first_left]) if first_left < len(self) else np.inf


@dataclass(frozen=True, slots=True)
class MeritOrder:
    """A book's supply and demand.

    Attributes:
        steps: the book in the shuffled order.
        order: step of the book at each place of the shuffled one. (n_steps,)
        ask: the supply.
        bid: the demand.
        rounding: quantity below which a quantity is rounding error, MW.
        volume_mw: the efficient volume.
    """

    steps: StepBook
    order: IntArray
    ask: Side
    bid: Side
    rounding: float
    volume_mw: float

    @classmethod
    def of(cls, book: StepBook, rng: np.random.Generator) -> MeritOrder:
        """Sort a book.

        Raises:
            BookError: the book contradicts itself, or an agent would trade with itself.
        """
        validate(book)
        order = shuffle(book, rng)
        steps = replace(
            book, agent=book.agent[order], p_mw=book.p_mw[order], price_eur_per_mwh=book.price_eur_per_mwh[order]
        )
        ask, bid = Side.of(steps, 1.0), Side.of(steps, -1.0)
        if not (len(ask) and len(bid)):
            return cls(steps, order, ask, bid, 0.0, 0.0)
        # Up to the price of any sell step at most the supply up to this step and the demand at its price can be
        # traded; the best step gives the volume.
        volume = float(np.minimum(ask.upto, bid.at(-ask.cost)).max())
        return cls(steps, order, ask, bid, ROUNDING * volume, volume)

    @property
    def missing(self) -> str:
        """Which side is missing, for a message; empty if none is."""
        if len(self.ask) and len(self.bid):
            return ""
        return "no seller" if len(self.bid) else "no buyer"

    @property
    def trades(self) -> bool:
        """Whether any volume is worth trading."""
        return self.volume_mw > self.rounding

    def margin(self) -> tuple[float, float]:
        """Prices of the last accepted sell and of the last accepted buy at the efficient volume, EUR/MWh."""
        last_sell = self.ask.cost[self.ask.last(self.volume_mw, self.rounding)]
        last_buy = -self.bid.cost[self.bid.last(self.volume_mw, self.rounding)]
        return float(last_sell), float(last_buy)


@dataclass(frozen=True, slots=True)
class Curves:
    """Supply and demand as the corners of two staircases, ready to be drawn as lines.

    Attributes:
        supply_mw: cumulative quantity to sell. (2 n_sells,)
        supply_eur_per_mwh: its price, rising. (2 n_sells,)
        demand_mw: cumulative quantity to buy, positive. (2 n_buys,)
        demand_eur_per_mwh: its price, falling. (2 n_buys,)
    """

    supply_mw: FloatArray
    supply_eur_per_mwh: FloatArray
    demand_mw: FloatArray
    demand_eur_per_mwh: FloatArray


def curves(book: StepBook) -> Curves:
    """Supply and demand of a book.

    Raises:
        BookError: the book contradicts itself.
    """
    validate(book)
    (supply_mw, supply), (demand_mw, demand) = (_corners(Side.of(book, sign)) for sign in (1.0, -1.0))
    return Curves(supply_mw, supply, demand_mw, -demand)


def _corners(side: Side) -> tuple[FloatArray, FloatArray]:
    quantity = np.zeros(2 * len(side))
    quantity[1::2] = side.upto
    quantity[2::2] = side.upto[:-1]
    return quantity, side.cost.repeat(2)


def shuffle(book: StepBook, rng: np.random.Generator) -> IntArray:
    """A shuffle of the steps that does not depend on their order: from agent, price and quantity; (n_steps,)."""
    drawn = rng.permutation(book.agent.size)
    if (book.agent[1:] > book.agent[:-1]).all():
        return drawn
    return np.lexsort((book.p_mw, book.price_eur_per_mwh, book.agent))[drawn]
