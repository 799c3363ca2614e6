"""The two sides of every pair, laid out agent by agent: what each agent of a negotiation holds.

A pair e = (s, b) has a seller's side with sign +1 and a buyer's side with sign -1. The sides of one agent lie next
to each other, so that all that an agent knows is one slice; `mate` is the other side of the same pair. Only
messages go from a side to its mate.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from peerwatt.market.book import FloatArray, IntArray, QuadraticBook, sum_by_agent

__all__ = ["MarketScale", "Sides"]

_PENALTY = 1.0 / 3.0  # of the spread of prices over the power of the pair
_LEAST = 1e-3  # share of what could be traded by which the primal residual is measured at least


@dataclass(frozen=True, slots=True)
class Sides:
    """Pairs that can carry a trade, and their sides in the order of the agents.

    Attributes:
        seller, buyer: agents of the pairs, (1e) and (1f) allow a trade. (n_pairs,)
        pair: which of the book's pairs. (n_pairs,)
        seller_side, buyer_side: position of each pair's sides. (n_pairs,)
        start: agent n has the sides start[n] to start[n + 1]. (n_agents + 1,)
        sign: 1 to sell, -1 to buy. (n_sides,)
        cost: c_nm of the side's agent, EUR per MWh traded. (n_sides,)
        mate: the other side. (n_sides,)
        order: row of each side where the sellers' sides of all pairs come first, then the buyers'. (n_sides,)
    """

    seller: IntArray
    buyer: IntArray
    pair: IntArray
    seller_side: IntArray
    buyer_side: IntArray
    start: IntArray
    sign: FloatArray
    cost: FloatArray
    mate: IntArray
    order: IntArray

    @classmethod
    def of(cls, book: QuadraticBook, like: Sides | None = None) -> Sides:
        """Lay out the pairs whose seller can feed in and whose buyer can draw.

        Args:
            book: a valid book.
            like: sides of an earlier book; where the pairs are the same, only the costs are laid out anew.
        """
        able = (book.p_max_mw > 0.0)[book.seller] & (book.p_min_mw < 0.0)[book.buyer]
        pair = np.flatnonzero(able)
        seller, buyer = book.seller[pair], book.buyer[pair]
        cost = np.concatenate((book.seller_cost[pair], book.buyer_cost[pair]))
        if like is not None and like.start.size == book.n_agents + 1 and like.has_pairs(pair, seller, buyer):
            return replace(like, cost=cost[like.order])
        n = pair.size
        agent = np.concatenate((seller, buyer))
        order = np.argsort(agent, kind="stable")
        position = np.empty(2 * n, dtype=np.intp)
        position[order] = np.arange(2 * n)
        start = np.zeros(book.n_agents + 1, dtype=np.intp)
        np.cumsum(np.bincount(agent, minlength=book.n_agents), out=start[1:])
        return cls(
            seller=seller,
            buyer=buyer,
            pair=pair,
            seller_side=position[:n],
            buyer_side=position[n:],
            start=start,
            sign=np.where(order < n, 1.0, -1.0),
            cost=cost[order],
            mate=np.concatenate((position[n:], position[:n]))[order],
            order=order,
        )

    def has_pairs(self, pair: IntArray, seller: IntArray, buyer: IntArray) -> bool:
        """Whether these are its pairs; arrays (n_pairs,)."""
        own = ((self.pair, pair), (self.seller, seller), (self.buyer, buyer))
        return all(np.array_equal(mine, other) for mine, other in own)

    @property
    def n_sides(self) -> int:
        """Number of sides, two per pair."""
        return self.sign.size

    def agent(self) -> IntArray:
        """Agent of every side; (n_sides,)."""
        return np.repeat(np.arange(self.start.size - 1), np.diff(self.start))

    def to_sides(self, per_pair: FloatArray) -> FloatArray:
        """Give both sides the value of their pair; (n_sides,)."""
        values = np.empty(self.n_sides)
        values[self.seller_side] = values[self.buyer_side] = per_pair
        return values


@dataclass(frozen=True, slots=True)
class MarketScale:
    """Typical numbers of a market, by which residuals and penalties are measured.

    Attributes:
        price: spread of marginal costs, EUR/MWh; few that are out of all proportion do not count.
        opening: price of the first round, EUR/MWh.
        power: the most that each pair can trade, MW. (n_pairs,)
    """

    price: float
    opening: float
    power: FloatArray

    @property
    def penalty(self) -> FloatArray:
        """Penalty rho of every pair to begin with, EUR/MW2h; (n_pairs,)."""
        return _PENALTY * self.price / self.power

    @property
    def least(self) -> float:
        """Norm of the powers of both sides of all pairs below which nothing is traded, MW."""
        # not by BLAS, whose threads cost more than the sum
        return _LEAST * float(np.sqrt(2.0 * np.square(self.power).sum()))

    @classmethod
    def of(cls, book: QuadraticBook, sides: Sides) -> MarketScale:
        """Measure a book with at least one pair."""
        n = book.n_agents
        sold, bought = np.maximum(book.p_max_mw, 0.0), np.maximum(-book.p_min_mw, 0.0)
        # bounds that are out of all proportion are cut to what the partners can take or give
        sold = np.minimum(sold, sum_by_agent(sides.seller, bought[sides.buyer], n))
        bought = np.minimum(bought, sum_by_agent(sides.buyer, sold[sides.seller], n))
        trading: NDArray[np.bool_] = np.diff(sides.start) > 0
        opening = float(np.median(book.cost_b[trading]))
        spread = np.abs(book.cost_b - opening) + book.cost_a * np.maximum(sold, bought)
        sells, buys = np.unique(sides.seller), np.unique(sides.buyer)
        between = abs(float(np.median(book.cost_b[buys])) - float(np.median(book.cost_b[sells])))
        price = max(float(np.median(spread[trading])), between) + float(np.median(np.abs(sides.cost)))
        power: FloatArray = np.minimum(sold[sides.seller], bought[sides.buyer])
        return cls(price if price > 0.0 else max(abs(opening), 1.0), opening, power)
