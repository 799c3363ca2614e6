"""Double auctions at one price for all: k-pricing and the average mechanism.

Both accept the efficient volume of the merit order; they differ in the price. Every price p in
[p_low, p_high] clears the market, where

    p_low  = max(dearest accepted sell, dearest buy not accepted in full)
    p_high = min(cheapest accepted buy, cheapest sell not accepted in full)

and k-pricing takes p_low + k (p_high - p_low): k = 0 gives all of the leeway to buyers, k = 1 to sellers. A
step that is accepted in part sets the price alone. (k-double auction: Satterthwaite and Williams 1989; mediated
conceptual models CM1 and CM3 of D5.3, chapter 4.)

The average mechanism takes the mean of the dearest accepted sell and the cheapest accepted buy and does not
look at what is not accepted: who was left out may then wish to trade at the price.

Both are efficient against the bids, individually rational, and their budget balances; neither is truthful,
since the steps at the margin set the price. Among steps of equal price at the margin, and for who trades with
whom, a shuffle decides.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from peerwatt.errors import Fault, ScenarioError
from peerwatt.market.book import StepBook
from peerwatt.market.clearing import Clearing, empty_clearing
from peerwatt.market.matching import Matches, clear_matches, match
from peerwatt.market.mechanism import BookKind
from peerwatt.market.merit_order import MeritOrder

__all__ = ["Average", "DoubleAuction", "average_auction", "double_auction"]


@dataclass(frozen=True, slots=True)
class DoubleAuction:
    """The double auction with k-pricing as a mechanism.

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


@dataclass(frozen=True, slots=True)
class Average:
    """The average mechanism as a mechanism; it has no options."""

    name: ClassVar[str] = "average"
    book: ClassVar[BookKind] = BookKind.STEPS

    def clear(self, book: StepBook, rng: np.random.Generator) -> Clearing:
        """Clear one book, see `average_auction`."""
        return average_auction(book, rng)


def double_auction(book: StepBook, rng: np.random.Generator, *, k: float = 0.5) -> Clearing:
    """Clear a book at one price that clears the market.

    Args:
        book: price-quantity steps.
        rng: stream that breaks ties.
        k: where in the interval of clearing prices the price lies, 0 to 1.

    Raises:
        BookError: the book contradicts itself, or an agent would trade with itself.
    """
    market = MeritOrder.of(book, rng)
    return _at_one_price(market, _clearing_price(market, k) if market.trades else np.nan)


def average_auction(book: StepBook, rng: np.random.Generator) -> Clearing:
    """Clear a book at the mean of the dearest accepted sell and the cheapest accepted buy.

    Args:
        book: price-quantity steps.
        rng: stream that breaks ties.

    Raises:
        BookError: the book contradicts itself, or an agent would trade with itself.
    """
    market = MeritOrder.of(book, rng)
    return _at_one_price(market, 0.5 * sum(market.margin()) if market.trades else np.nan)


def _clearing_price(market: MeritOrder, k: float) -> float:
    volume, rounding = market.volume_mw, market.rounding
    last_sell, last_buy = market.margin()
    low = max(last_sell, -market.bid.next_cost(volume, rounding))
    high = min(last_buy, market.ask.next_cost(volume, rounding))
    return low + k * (high - low)


def _at_one_price(market: MeritOrder, price: float) -> Clearing:
    """Accept the efficient volume and pay one price for all of it."""
    steps, ask, bid = market.steps, market.ask, market.bid
    if market.missing:
        return empty_clearing(steps.n_agents, n_steps=steps.agent.size, message=market.missing)
    sold = ask.accept(market.volume_mw, market.rounding)
    bought = bid.accept(market.volume_mw, market.rounding)
    accepted = np.zeros(steps.agent.size)
    accepted[ask.step], accepted[bid.step] = sold, -bought
    matches = Matches.none()
    if market.trades:  # in the shuffled order, so that cheap sellers do not always meet dear buyers
        sells, buys = np.sort(ask.step), np.sort(bid.step)
        matches = match(sells, accepted[sells], buys, -accepted[buys], market.rounding)
    return clear_matches(steps, market.order, accepted, matches, price, price)
