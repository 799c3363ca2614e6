"""Trading to collect incentives (D5.3, section 5.5, iii): trades that move no energy, for what the DSO pays for them.

A collector bids truthfully for its own power. Where the DSO's incentives make trades pay that relieve a line at risk,
it trades besides against its own direction: a consumer sells, a producer buys, up to its own power. What it so resells
it takes from the supplier or gives to it; the DSO pays the seller and the buyer of a relief that does not take place.
A chain of resellers collects at every link, since each trade earns its own incentive, and who has flexible consumption
raises it where the incentive pays for that.

What of such a trade is left at the meter is imbalance. Where that costs as much as the supplier's tariff, nothing
is lost by it; where it costs more, a collector lets it be.
"""

from __future__ import annotations

import numpy as np

from peerwatt.agents.messages import FloatArray
from peerwatt.agents.strategies import STRATEGIES, Group
from peerwatt.agents.strategies.truthful import truthful

__all__ = ["IncentiveCollector", "incentive_collector"]


class IncentiveCollector:
    """Truthful for its own power, and resells where incentives make it pay."""

    def __call__(self, group: Group, /) -> FloatArray:
        """The limit price of its own power; also that of what it resells, the supplier being on the other side."""
        return truthful(group)

    def resale_mw(self, group: Group, /) -> FloatArray:
        """As much as its own power, where an incentive is on offer and imbalance costs nothing extra."""
        sells = (group.sell_incentive_eur_per_mwh > 0.0) & (
            group.imbalance_short_eur_per_mwh <= group.supply_eur_per_mwh
        )
        buys = (group.buy_incentive_eur_per_mwh > 0.0) & (group.imbalance_long_eur_per_mwh >= group.feed_in_eur_per_mwh)
        return np.where(np.where(group.producer, buys, sells), np.abs(group.p_mw), 0.0)


incentive_collector = STRATEGIES.register("incentive_collector")(IncentiveCollector())
