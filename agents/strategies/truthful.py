"""Truthful bidding: the limit price is what the power is worth with the supplier, the outside option.

`control` is truthful under a name of its own, for those peers of a study that adopt nothing. The same draws make the
same peers adopters whether they adopt another strategy or, for comparison, `truthful`.
"""

from __future__ import annotations

import numpy as np

from peerwatt.agents.messages import FloatArray
from peerwatt.agents.strategies import Group, group_strategy

__all__ = ["control", "truthful"]


@group_strategy("truthful")
def truthful(group: Group, /) -> FloatArray:
    """Consumers pay up to the supplier's price, producers sell from the feed-in price."""
    return np.where(group.producer, group.feed_in_eur_per_mwh, group.supply_eur_per_mwh)


control = group_strategy("control")(truthful)
