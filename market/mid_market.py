"""Mid-market rate: trade between peers at the middle of what the supplier takes and pays.

Long et al., "Peer-to-peer energy trading in a community microgrid", IEEE PES General Meeting 2017. With the
supplier's selling price `supply` and its buying price `feed_in`,

    mid = (supply + feed_in) / 2.

Where generation G and demand D differ, the difference is dealt with the supplier and the longer side shares its
price:

    G > D:  buyers pay mid,   sellers are paid (D mid + (G - D) feed_in) / G
    G < D:  sellers are paid mid,   buyers pay (G mid + (D - G) supply) / D

The same comes about here without an account in between: all steps of the longer side trade the same share of
their quantity at mid, D/G or G/D, and what is left of each goes to or comes from the supplier at its price.

In the original, peers name no prices. In a book, a step takes part if its limit price allows mid: a seller that
asks more or a buyer that pays less than mid stays out. This keeps the rule individually rational. The budget
balances. The price does not depend on the book and the shares not on prices, so that an agent with a single step
gains nothing by naming another price. The welfare is not the highest: a cut does not ask who needs it least.
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

__all__ = ["MidMarketRate", "mid_market_rate", "shared_prices"]


@dataclass(frozen=True, slots=True, kw_only=True)
class MidMarketRate:
    """The mid-market rate as a mechanism.

    Attributes:
        supply_eur_per_mwh: price at which the supplier sells; the scenario's tariff has it.
        feed_in_eur_per_mwh: price at which the supplier buys.
    """

    name: ClassVar[str] = "mid_market_rate"
    book: ClassVar[BookKind] = BookKind.STEPS
    supply_eur_per_mwh: float
    feed_in_eur_per_mwh: float

    def __post_init__(self) -> None:
        faults = [
            Fault("mechanism 'mid_market_rate'", f"option '{name}' is {price!r}", "a finite price")
            for name, price in (
                ("supply_eur_per_mwh", self.supply_eur_per_mwh),
                ("feed_in_eur_per_mwh", self.feed_in_eur_per_mwh),
            )
            if not np.isfinite(price)
        ]
        if not faults and self.feed_in_eur_per_mwh > self.supply_eur_per_mwh:
            faults = [
                Fault(
                    "mechanism 'mid_market_rate'",
                    f"feed_in_eur_per_mwh {self.feed_in_eur_per_mwh:g} is above supply_eur_per_mwh "
                    f"{self.supply_eur_per_mwh:g}",
                    "swap them",
                )
            ]
        if faults:
            raise ScenarioError(faults)

    @property
    def price_eur_per_mwh(self) -> float:
        """The mid-market rate."""
        return 0.5 * (self.supply_eur_per_mwh + self.feed_in_eur_per_mwh)

    def clear(self, book: StepBook, rng: np.random.Generator) -> Clearing:
        """Clear one book, see `mid_market_rate`."""
        return mid_market_rate(book, rng, price_eur_per_mwh=self.price_eur_per_mwh)


def mid_market_rate(book: StepBook, rng: np.random.Generator, *, price_eur_per_mwh: float) -> Clearing:
    """Clear a book at a given price, the longer side cut to the same share of every step.

    Args:
        book: price-quantity steps.
        rng: stream that decides who trades with whom; quantities and payments do not depend on it.
        price_eur_per_mwh: the price.

    Raises:
        BookError: the book contradicts itself, or an agent would trade with itself.
    """
    market = MeritOrder.of(book, rng)
    steps = market.steps
    if market.missing:
        return empty_clearing(steps.n_agents, n_steps=steps.agent.size, message=market.missing)
    limit = steps.price_eur_per_mwh
    sells = np.flatnonzero((steps.p_mw > 0.0) & (limit <= price_eur_per_mwh))
    buys = np.flatnonzero((steps.p_mw < 0.0) & (limit >= price_eur_per_mwh))
    offered, wanted = float(steps.p_mw[sells].sum()), float(-steps.p_mw[buys].sum())
    volume = min(offered, wanted)
    accepted = np.zeros(steps.agent.size)
    if volume > 0.0:
        accepted[sells] = steps.p_mw[sells] * (volume / offered)
        accepted[buys] = steps.p_mw[buys] * (volume / wanted)
    matches = match(sells, accepted[sells], buys, -accepted[buys], market.rounding)
    return clear_matches(steps, market.order, accepted, matches, price_eur_per_mwh, price_eur_per_mwh)


def shared_prices(
    supply_mw: float, demand_mw: float, *, supply_eur_per_mwh: float, feed_in_eur_per_mwh: float
) -> tuple[float, float]:
    """What a unit earns a seller and costs a buyer when the longer side shares the supplier's price.

    Args:
        supply_mw: generation G of the peers that take part.
        demand_mw: their demand D.
        supply_eur_per_mwh: price at which the supplier sells.
        feed_in_eur_per_mwh: price at which the supplier buys.

    Returns:
        Sellers' and buyers' price, EUR/MWh; the supplier's where the other side is missing.
    """
    mid = 0.5 * (supply_eur_per_mwh + feed_in_eur_per_mwh)
    traded = min(supply_mw, demand_mw)
    sold = traded / supply_mw if supply_mw > 0.0 else 0.0
    bought = traded / demand_mw if demand_mw > 0.0 else 0.0
    return sold * mid + (1.0 - sold) * feed_in_eur_per_mwh, bought * mid + (1.0 - bought) * supply_eur_per_mwh
