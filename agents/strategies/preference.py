"""Preferences: peers who care whose energy they trade, and forgo money for it.

Product differentiation of Sorin, Bobo and Pinson (2019), Consensus-based approach to peer-to-peer electricity markets
with product differentiation, IEEE Transactions on Power Systems 34(2): a trade that is less to one's liking has a cost
c_nm per MWh besides its price (Marques et al., eq. (3)). What is liked best costs nothing, so that nobody pays more
than the supplier takes; what is liked least costs `PREMIUM`, which is how much more a peer pays for what it likes.

Preferences need pairs: in bilateral trading they are part of the offer, in an auction these peers are truthful.
"""

from __future__ import annotations

import numpy as np

from peerwatt.agents.messages import FloatArray
from peerwatt.agents.strategies import Group, Partners, group_strategy
from peerwatt.agents.strategies.truthful import truthful

__all__ = ["PREMIUM", "PrefersGreen", "PrefersLocal", "prefers_green", "prefers_local"]

PREMIUM = 0.2
"""Cost of what is liked least, as a share of what lies between the supplier's prices."""


class PrefersGreen:
    """Rather buys from who has a PV plant."""

    def __call__(self, group: Group, /) -> FloatArray:
        """Truthful; the preference is a matter of pairs."""
        return truthful(group)

    def preference(self, group: Group, partners: Partners, /) -> tuple[FloatArray, FloatArray]:
        """Buying from others costs the premium."""
        shape = (len(group.name), len(partners.name))
        return np.zeros(shape), np.broadcast_to(np.where(partners.pv, 0.0, _premium(group)), shape)


class PrefersLocal:
    """Rather trades with electrical neighbours: the cost grows with the distance, up to that of the farthest."""

    def __call__(self, group: Group, /) -> FloatArray:
        """Truthful; the preference is a matter of pairs."""
        return truthful(group)

    def preference(self, group: Group, partners: Partners, /) -> tuple[FloatArray, FloatArray]:
        """The same for selling and for buying."""
        farthest = np.nanmax(partners.distance_pu, axis=1, initial=0.0)[:, None]
        share = np.ones_like(partners.distance_pu)  # of a bus without supply nobody knows how far it is
        known = np.isfinite(partners.distance_pu) & (farthest > 0.0)
        np.divide(partners.distance_pu, farthest, out=share, where=known)
        cost = _premium(group) * share
        return cost, cost


def _premium(group: Group) -> float:
    return PREMIUM * (group.supply_eur_per_mwh - group.feed_in_eur_per_mwh)


prefers_green = group_strategy("prefers_green")(PrefersGreen())
prefers_local = group_strategy("prefers_local")(PrefersLocal())
