"""Continuous double auction: the steps of a book traded one after another, as they arrive.

The steps arrive as orders, in an order that is drawn from `rng` and does not depend on that of the book, and an
`OrderBook` matches them: each trade is at the price of the step that was there first. Every trade is individually
rational and its budget balances. Volume and welfare depend on the order of arrival; the welfare is never above
that of a call auction over the same book, and nothing is left that could still trade. It is not truthful: to hold
out for a better price may pay. (Continuous trading between peers: D5.3, table 2.)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from peerwatt.market.book import StepBook
from peerwatt.market.clearing import Clearing, empty_clearing
from peerwatt.market.matching import Matches, clear_matches
from peerwatt.market.mechanism import BookKind
from peerwatt.market.merit_order import MeritOrder
from peerwatt.market.order_book import Order, OrderBook

__all__ = ["ContinuousDoubleAuction", "continuous_double_auction"]


@dataclass(frozen=True, slots=True)
class ContinuousDoubleAuction:
    """The continuous double auction as a mechanism; it has no options."""

    name: ClassVar[str] = "continuous_double_auction"
    book: ClassVar[BookKind] = BookKind.STEPS

    def clear(self, book: StepBook, rng: np.random.Generator) -> Clearing:
        """Clear one book, see `continuous_double_auction`."""
        return continuous_double_auction(book, rng)


def continuous_double_auction(book: StepBook, rng: np.random.Generator) -> Clearing:
    """Trade the steps of a book one after another, as they would arrive in a random order.

    Args:
        book: price-quantity steps.
        rng: stream that draws the order of arrival.

    Returns:
        A clearing with a price per pair of agents, the mean of theirs weighted by power.

    Raises:
        BookError: the book contradicts itself, or an agent would trade with itself.
    """
    market = MeritOrder.of(book, rng)
    steps = market.steps
    if market.missing:
        return empty_clearing(steps.n_agents, n_steps=steps.agent.size, message=market.missing)
    arrivals = OrderBook(rng)
    rows = zip(steps.agent.tolist(), steps.p_mw.tolist(), steps.price_eur_per_mwh.tolist(), strict=True)
    for step, (agent, p_mw, price) in enumerate(rows):
        if p_mw:
            arrivals.submit(Order(step, agent, p_mw, price, float(step)))
    fills = arrivals.fills
    sell = np.array([fill.sell_order for fill in fills], dtype=np.intp)
    buy = np.array([fill.buy_order for fill in fills], dtype=np.intp)
    p_mw = np.array([fill.p_mw for fill in fills])
    price = np.array([fill.price_eur_per_mwh for fill in fills])
    n = steps.agent.size
    accepted = np.bincount(sell, p_mw, minlength=n) - np.bincount(buy, p_mw, minlength=n)
    accepted = np.clip(accepted, np.minimum(steps.p_mw, 0.0), np.maximum(steps.p_mw, 0.0))
    return clear_matches(steps, market.order, accepted, Matches(sell, buy, p_mw), price, price)
