"""McAfee's double auction: truthful, at the price of one trade and of a surplus that the market keeps.

R. Preston McAfee, "A dominant strategy double auction", Journal of Economic Theory 56 (1992), for agents that
trade one unit each. Let b_k and s_k be the last buy and sell of the efficient volume and b_(k+1), s_(k+1) the
first beyond it:

    p0 = (b_(k+1) + s_(k+1)) / 2
    s_k <= p0 <= b_k :  all k pairs trade at p0
    otherwise        :  the pair k is left out; buyers pay b_k, sellers are paid s_k, the market keeps the rest

**Steps of any quantity.** The marginal steps k are the last that the efficient volume accepts, even if only in
part. The first case needs both accepted in full, as they always are with equal quantities. In the second both
marginal steps are left out entirely, and if the two sides before them differ, all steps of the longer side are
cut to the same share of their quantity (Huang, Scheller-Wolf and Sycara 2002, who share the cut out evenly).
Cutting by merit instead would reward an agent for moving up in it.

**What holds.** An agent with a single step cannot gain by another price than its true one, whatever the others
do: among the winners its price changes neither the prices nor the shares, and to become one it would pay more
than its value. This holds for any mix of quantities, as long as these are known: who is cut short could gain
with a larger quantity. It does not hold for an agent with several steps, whose marginal step may set the price
of its others (compare Segal-Halevi, Hassidim and Aumann 2018). In every case no step trades at a loss and the
market never pays in. With equal quantities the loss of welfare is at most that of the least valuable trade;
else at most the quantity of the larger marginal step is lost, and on the longer side cheaper steps do not go
first.

**At the ends.** Without a step beyond the volume, the market's price limits take its place if the book has them,
as the bounds of the values do in the original; else the pair k is left out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from peerwatt.market.book import FloatArray, StepBook
from peerwatt.market.clearing import Clearing, empty_clearing
from peerwatt.market.matching import Matches, clear_matches, match
from peerwatt.market.mechanism import BookKind
from peerwatt.market.merit_order import MeritOrder, Side

__all__ = ["McAfee", "mcafee_auction"]


@dataclass(frozen=True, slots=True)
class McAfee:
    """McAfee's auction as a mechanism; it has no options."""

    name: ClassVar[str] = "mcafee"
    book: ClassVar[BookKind] = BookKind.STEPS

    def clear(self, book: StepBook, rng: np.random.Generator) -> Clearing:
        """Clear one book, see `mcafee_auction`."""
        return mcafee_auction(book, rng)


def mcafee_auction(book: StepBook, rng: np.random.Generator) -> Clearing:
    """Clear a book by McAfee's rule.

    Args:
        book: price-quantity steps; its price limits, if any, stand in for a missing next step.
        rng: stream that breaks ties.

    Returns:
        A clearing with one price, or with the sellers' price in the trades and the market's share in
        `spread_eur_per_mwh` and `surplus_eur`.

    Raises:
        BookError: the book contradicts itself, or an agent would trade with itself.
    """
    market = MeritOrder.of(book, rng)
    steps, ask, bid = market.steps, market.ask, market.bid
    if market.missing:
        return empty_clearing(steps.n_agents, n_steps=steps.agent.size, message=market.missing)
    accepted = np.zeros(steps.agent.size)
    if not market.trades:
        return clear_matches(steps, market.order, accepted, Matches.none(), np.nan, np.nan)
    last_sell, last_buy = market.margin()
    price = _price_of_all(market)
    if last_sell <= price <= last_buy:
        seller_price = buyer_price = price
        sold, bought = (side.accept(market.volume_mw, market.rounding) for side in (ask, bid))
    else:
        seller_price, buyer_price = last_sell, last_buy
        sold, bought = _without_margin(market)
    accepted[ask.step], accepted[bid.step] = sold, -bought
    sells, buys = np.sort(ask.step), np.sort(bid.step)
    matches = match(sells, accepted[sells], buys, -accepted[buys], market.rounding)
    return clear_matches(steps, market.order, accepted, matches, seller_price, buyer_price)


def _price_of_all(market: MeritOrder) -> float:
    """McAfee's p0; NaN where there is none or the efficient volume ends within a step."""
    volume, rounding = market.volume_mw, market.rounding
    after: list[float] = []
    limits = market.steps.price_limits
    for side, sign, limit in ((market.ask, 1.0, 1), (market.bid, -1.0, 0)):
        last = side.last(volume, rounding)
        if side.upto[last] > volume + rounding:
            return np.nan
        if last + 1 < len(side):
            after.append(sign * float(side.cost[last + 1]))
        elif limits is not None:
            after.append(limits[limit])
        else:
            return np.nan
    return 0.5 * sum(after)


def _without_margin(market: MeritOrder) -> tuple[FloatArray, FloatArray]:
    """Accepted quantities, best step first, when both marginal steps are left out."""
    sides = (market.ask, market.bid)
    last = [side.last(market.volume_mw, market.rounding) for side in sides]
    whole = [float(side.upto[k - 1]) if k else 0.0 for side, k in zip(sides, last, strict=True)]
    volume = min(whole)
    sold, bought = (_cut(side, k, volume, all_of) for side, k, all_of in zip(sides, last, whole, strict=True))
    return sold, bought


def _cut(side: Side, last: int, volume: float, whole: float) -> FloatArray:
    """The steps before the last one, cut to the same share of their quantity."""
    accepted = side.quantity.copy()
    accepted[last:] = 0.0
    return accepted * (volume / whole) if volume < whole else accepted
