"""Linear ramp: hold out for the best price of the tariff first, give way evenly until the own limit is reached.

The "linear" bidders of the local-market simulators lemlab and HAMLET (lemlab's market: Zade et al. 2022, Applied Energy
306, 118004) move their price in equal steps from one end of the tariff to the other while the chances left to trade the
same energy run out. In this market these chances are the rounds of negotiation of a period. Where there is one only,
nothing but the clock can run out, and the ramp is stretched over the day: a peer is greedy in the morning and truthful
by midnight.
"""

from __future__ import annotations

import numpy as np

from peerwatt.agents.messages import FloatArray
from peerwatt.agents.strategies import Group, group_strategy

__all__ = ["linear"]


@group_strategy("linear")
def linear(group: Group, /) -> FloatArray:
    """From the other end of the tariff to the own one."""
    passed = group.round / (group.n_rounds - 1) if group.n_rounds > 1 else group.hour / 24.0
    first = np.where(group.producer, group.supply_eur_per_mwh, group.feed_in_eur_per_mwh)
    last = np.where(group.producer, group.feed_in_eur_per_mwh, group.supply_eur_per_mwh)
    return first + passed * (last - first)
