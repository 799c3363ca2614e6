"""Cost allocation (D5.3, section 3.2.4, no. 4): what a trade costs the network, as unit costs known before matching.

The costs of four network prospects add up, each with a unit price of its own and half of it for each party:

    losses      price * (dL/dP_i - dL/dP_j)                      what the trade adds to the losses; may be negative
    congestion  price * sum_l kappa_l |PTDF_li - PTDF_lj|        use of lines near their limit
    distance    price * |Z_ij|                                   Thevenin distance of the two connection points
    zone        price where i and j are on different feeders     uniform zonal fee

with kappa_l how far line l is on its way from the threshold (0) to its limit (1) and beyond. Losses are those of the
state before trading; Baroche et al. (2019) call the others exogenous network charges.
"""

from __future__ import annotations

import numpy as np

from peerwatt.agents.messages import FloatArray, IntArray
from peerwatt.agents.policies.signals import SignalKind, Signals
from peerwatt.agents.policies.view import GridView
from peerwatt.grid.tree import SlackTree
from peerwatt.market.network_fees import PairFees, distance_fee, ptdf_fee, zonal_fee

__all__ = ["CostAllocation"]


class CostAllocation:
    """Charges unit costs for losses, congestion, distance and zones.

    Args:
        losses_eur_per_mwh: price of losses.
        congestion_eur_per_mwh: price of the use of a line at its limit, per MWh traded over it.
        distance_eur_per_mwh_pu: price per pu (of 1 MVA) of Thevenin distance.
        zone_eur_per_mwh: fee of a trade between two feeders.
        threshold_percent: occupancy from which a line or transformer has a price.
    """

    kind = SignalKind.FEE

    def __init__(
        self,
        *,
        losses_eur_per_mwh: float = 100.0,
        congestion_eur_per_mwh: float = 20.0,
        distance_eur_per_mwh_pu: float = 0.0,
        zone_eur_per_mwh: float = 0.0,
        threshold_percent: float = 80.0,
    ) -> None:
        if not 0.0 <= threshold_percent < 100.0:
            raise ValueError(f"threshold_percent is {threshold_percent}; 0 to below 100")
        if min(losses_eur_per_mwh, congestion_eur_per_mwh, distance_eur_per_mwh_pu, zone_eur_per_mwh) < 0.0:
            raise ValueError("prices are 0 or more")
        self.losses, self.congestion = losses_eur_per_mwh, congestion_eur_per_mwh
        self.distance, self.zone = distance_eur_per_mwh_pu, zone_eur_per_mwh
        self.threshold = threshold_percent / 100.0

    def signals(self, view: GridView, round_: int) -> Signals:  # noqa: ARG002 - known before matching
        """Fees by the state before trading; later rounds have the same prices at their own state."""
        n = view.n_peers
        i, j = np.repeat(np.arange(n), n), np.tile(np.arange(n), n)
        kappa = np.maximum(view.occupancy - self.threshold, 0.0) / (1.0 - self.threshold)
        risky = np.flatnonzero(kappa > 0.0)
        use = ptdf_fee(i, j, ptdf=view.flow_by_mw(risky), fee_eur_per_mwh=self.congestion * kappa[risky])
        parts = [use]
        if self.distance:
            parts.append(distance_fee(i, j, distance=view.distance_pu, fee_eur_per_mwh=self.distance))
        if self.zone:
            zone = feeders(view)
            between = self.zone * (1.0 - np.eye(int(zone.max()) + 1))
            parts.append(zonal_fee(i, j, zone=zone, fee_eur_per_mwh=between))
        seller, buyer = (_table(parts, name, n) for name in ("seller_cost", "buyer_cost"))
        lost = 0.5 * self.losses * (view.losses_by_mw[:, None] - view.losses_by_mw[None, :])
        return Signals.prices(self.kind, seller + lost, buyer + lost, risky)


def _table(parts: list[PairFees], name: str, n: int) -> FloatArray:
    total: FloatArray = np.sum([getattr(part, name) for part in parts], axis=0).reshape(n, n)
    return total


def feeders(view: GridView) -> IntArray:
    """Number of the feeder of each peer, (n_peers,).

    Feeders begin where the ways from the external grid first part: at the busbar behind a single transformer, else
    at the external grid itself.

    Raises:
        GridDataError: the grid is meshed.
    """
    network = view.network
    tree = SlackTree(network)
    tree.require_radial("zones by feeder need a radial grid")
    children = np.bincount(tree.parent[tree.parent >= 0], minlength=len(tree.parent))
    top = np.arange(len(tree.parent))
    trunk = np.zeros(len(tree.parent), dtype=np.bool_)  # nodes up to where the ways part
    for node in tree.order.tolist():
        above = tree.parent[node]
        trunk[node] = above < 0 or (trunk[above] and children[above] == 1)
        if above >= 0 and not trunk[above]:
            top[node] = top[above]
    zone: IntArray = np.unique(top[network.admittances.bus_node[view.bus]], return_inverse=True)[1]
    return zone
