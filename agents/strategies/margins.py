"""Limit prices as margins: by how much a bid is better for the peer than the supplier, on the scale of the tariff.

Margin 0 is the own end of the tariff (a producer asks the feed-in price, a consumer pays the supplier's), margin 1 the
other end. So a strategy that learns margins stays within the tariff, never trades at a loss, and needs no units.
"""

from __future__ import annotations

import numpy as np

from peerwatt.agents.messages import FloatArray
from peerwatt.agents.strategies import Group

__all__ = ["limit_price", "margin_told", "traded_share"]

_WHOLE = 1.0 - 1e-9


def limit_price(group: Group, margin: FloatArray) -> FloatArray:
    """Limit price with a margin from 0 to 1, EUR/MWh; (n_peers,)."""
    spread = group.supply_eur_per_mwh - group.feed_in_eur_per_mwh
    up, down = group.feed_in_eur_per_mwh + margin * spread, group.supply_eur_per_mwh - margin * spread
    price: FloatArray = np.clip(np.where(group.producer, up, down), group.feed_in_eur_per_mwh, group.supply_eur_per_mwh)
    return price


def margin_told(group: Group) -> FloatArray:
    """Margin that the price of each peer's last trades left it, (n_peers,); 0 where the tariff has one price only."""
    spread = group.supply_eur_per_mwh - group.feed_in_eur_per_mwh
    if spread <= 0.0:
        return np.zeros(len(group.name))
    price = group.last_price_eur_per_mwh
    sold = (price - group.feed_in_eur_per_mwh) / spread
    bought = (group.supply_eur_per_mwh - group.network_fee_eur_per_mwh - price) / spread
    return np.where(group.last_offered_mw > 0.0, sold, bought)


def traded_share(group: Group) -> FloatArray:
    """Share of the power of its last bid that each peer traded, 0 to 1, (n_peers,); NaN where it knows of none."""
    offered = group.last_offered_mw
    share: FloatArray = np.full(len(offered), np.nan)
    np.divide(group.last_traded_mw, offered, out=share, where=np.abs(offered) > 0.0)
    share[share >= _WHOLE] = 1.0
    return np.maximum(share, 0.0)
