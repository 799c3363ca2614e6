"""Zero-intelligence constrained traders.

Gode and Sunder (1993), Allocative efficiency of markets with zero-intelligence traders, Journal of Political
Economy 101(1): limit prices are uniform between the own value and the other end of the market, so that nobody
ever trades at a loss and nobody thinks.
"""

from __future__ import annotations

from peerwatt.agents.messages import FloatArray
from peerwatt.agents.strategies import Group, group_strategy

__all__ = ["zero_intelligence"]


@group_strategy("zero_intelligence")
def zero_intelligence(group: Group, /) -> FloatArray:
    """Any price between the feed-in and the supplier's price."""
    return group.rng.uniform(group.feed_in_eur_per_mwh, group.supply_eur_per_mwh, len(group.name))
