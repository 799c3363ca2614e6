"""Grid-aware bidding: react to what the DSO tells of one's own connection point.

Where the way to the external grid is loaded, local energy relieves it: consumers outbid the others to buy from
their neighbours, producers give way to sell to them. A voltage near its upper limit (too much feed-in) does the
same. The reaction grows linearly from `START_PERCENT` of loading to the rating, and is complete where the DSO offers an
incentive for what the peer does anyway: its trade then brings relief.

Giving way is what truthful peers always do; these do it where the grid needs it, and hold out for the middle of the
market elsewhere. So they bring at most as much relief as truthful ones.
"""

from __future__ import annotations

import numpy as np

from peerwatt.agents.messages import FloatArray
from peerwatt.agents.strategies import Group, group_strategy

__all__ = ["grid_aware"]

START_PERCENT = 50.0
HIGH_VOLTAGE_PU = 1.05
VOLTAGE_SPAN_PU = 0.05


@group_strategy("grid_aware")
def grid_aware(group: Group, /) -> FloatArray:
    """From the middle of the market towards the own limit as the connection is stressed."""
    loading = np.nan_to_num((group.path_loading_percent - START_PERCENT) / (100.0 - START_PERCENT))
    voltage = np.nan_to_num((group.vm_pu - HIGH_VOLTAGE_PU) / VOLTAGE_SPAN_PU)
    relief = np.where(group.producer, group.sell_incentive_eur_per_mwh, group.buy_incentive_eur_per_mwh) > 0.0
    stress = np.where(relief, 1.0, np.clip(np.maximum(loading, voltage), 0.0, 1.0))
    middle = 0.5 * (group.feed_in_eur_per_mwh + group.supply_eur_per_mwh)
    own = np.where(group.producer, group.feed_in_eur_per_mwh, group.supply_eur_per_mwh)
    return middle + stress * (own - middle)
