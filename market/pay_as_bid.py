"""Pay-as-bid: a discriminatory double auction, in which every match has prices of its own.

The efficient volume is accepted, as in the uniform-price auction, and the two sides are matched in merit order:
the dearest buy with the cheapest sell, and so on. In a match of a buy at b with a sell at s, of the difference
d = b - s the market keeps a `share`, and both parties have half of what is left:

    seller is paid  s + (1 - share) d / 2
    buyer pays      b - (1 - share) d / 2

`share` = 1 is pay-as-bid in the strict sense, both at their own price and all welfare booked to the market;
`share` = 0 is the discriminatory k-double auction with k = 1/2: each match trades at the mean of its two prices
and the market keeps nothing. (Pay-as-bid: D5.3, table 2; k-pricing match by match: Schnizler, Neumann, Veit and
Weinhardt 2008.)

Efficient against the bids and individually rational, never truthful: one's own price is what one pays, so that
bidders shade. Ties are broken by a shuffle.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from peerwatt.errors import Fault, ScenarioError
from peerwatt.market.book import StepBook
from peerwatt.market.clearing import Clearing, empty_clearing
from peerwatt.market.matching import clear_matches, match
from peerwatt.market.mechanism import BookKind
from peerwatt.market.merit_order import MeritOrder

__all__ = ["PayAsBid", "pay_as_bid_auction"]


@dataclass(frozen=True, slots=True)
class PayAsBid:
    """The pay-as-bid auction as a mechanism.

    Attributes:
        share: part of the difference between the prices of a match that the market keeps, 0 to 1.
    """

    name: ClassVar[str] = "pay_as_bid"
    book: ClassVar[BookKind] = BookKind.STEPS
    share: float = 1.0

    def __post_init__(self) -> None:
        if not 0.0 <= self.share <= 1.0:
            raise ScenarioError(
                Fault("mechanism 'pay_as_bid'", f"option 'share' is {self.share!r}", "a number from 0 to 1")
            )

    def clear(self, book: StepBook, rng: np.random.Generator) -> Clearing:
        """Clear one book, see `pay_as_bid_auction`."""
        return pay_as_bid_auction(book, rng, share=self.share)


def pay_as_bid_auction(book: StepBook, rng: np.random.Generator, *, share: float = 1.0) -> Clearing:
    """Clear a book with prices per match.

    Args:
        book: price-quantity steps.
        rng: stream that breaks ties.
        share: part of the difference between the prices of a match that the market keeps, 0 to 1.

    Raises:
        BookError: the book contradicts itself, or an agent would trade with itself.
    """
    market = MeritOrder.of(book, rng)
    steps, ask, bid = market.steps, market.ask, market.bid
    if market.missing:
        return empty_clearing(steps.n_agents, n_steps=steps.agent.size, message=market.missing)
    sold = ask.accept(market.volume_mw, market.rounding)
    bought = bid.accept(market.volume_mw, market.rounding)
    accepted = np.zeros(steps.agent.size)
    accepted[ask.step], accepted[bid.step] = sold, -bought
    matches = match(ask.step, sold, bid.step, bought, market.rounding)
    sell_price, buy_price = steps.price_eur_per_mwh[matches.sell], steps.price_eur_per_mwh[matches.buy]
    rebate = 0.5 * (1.0 - share) * (buy_price - sell_price)
    return clear_matches(steps, market.order, accepted, matches, sell_price + rebate, buy_price - rebate)
