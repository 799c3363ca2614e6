"""Network usage price (D5.3, section 3.2.4, no. 2): the difference of the nodal prices of a trade's two parties.

A trade from i to j pays DLMP_j - DLMP_i per MWh, half of it each party, and earns it where the difference is negative:
a trade that relieves the network. The DSO finds the nodal prices by a dispatch of its own: at every connection point
it could have power raised or lowered at two prices, and looks for the cheapest way to keep all limits. The losses' part
is the energy price times the marginal losses.

In a later round the congestion and voltage parts of the proposed trades are added to those that were already charged,
so that prices rise until the proposed trades fit.
"""

from __future__ import annotations

import numpy as np

from peerwatt.agents.messages import FloatArray, IntArray
from peerwatt.agents.policies.limits import Margins, network_limits
from peerwatt.agents.policies.signals import SignalKind, Signals
from peerwatt.agents.policies.view import GridView
from peerwatt.market.clearing import Status
from peerwatt.market.flexibility import FlexibilityBook
from peerwatt.market.lfm import FlexibilityOptions, clear_flexibility

__all__ = ["UsagePrice"]

_ANYTHING_MW = 1e3  # more than any connection point of a distribution grid carries


class UsagePrice:
    """Charges the difference of nodal prices.

    Args:
        energy_eur_per_mwh: price of energy at the external grid, for losses.
        redispatch_eur_per_mwh: what it costs the DSO to have power raised or lowered by 1 MWh anywhere.
        share: part of the difference that is charged.
    """

    kind = SignalKind.FEE

    def __init__(
        self, *, energy_eur_per_mwh: float = 100.0, redispatch_eur_per_mwh: float = 50.0, share: float = 1.0
    ) -> None:
        if not (redispatch_eur_per_mwh > 0.0 and 0.0 <= share <= 1.0):
            raise ValueError("redispatch_eur_per_mwh is above 0, share 0 to 1")
        self.energy, self.redispatch, self.share = energy_eur_per_mwh, redispatch_eur_per_mwh, share
        self._congestion: FloatArray = np.zeros(0)

    def signals(self, view: GridView, round_: int) -> Signals:
        """Fees by nodal prices at the present state."""
        found, risky = self._redispatch(view)
        self._congestion = found if round_ == 0 else self._congestion + found
        price = self._congestion - self.energy * view.losses_by_mw
        fee = 0.5 * self.share * (price[None, :] - price[:, None])
        return Signals.prices(self.kind, fee, fee, risky)

    def _redispatch(self, view: GridView) -> tuple[FloatArray, IntArray]:
        """Congestion and voltage part of the nodal prices, and the branches above their limit; (n_peers,), (n,)."""
        n = view.n_peers
        limits = network_limits(view, Margins.none(len(view.flow_mw), view.network.n_bus))
        node = np.tile(np.arange(n), 2)
        book = FlexibilityBook(
            owner=node,
            node=node,
            direction=np.repeat([1, -1], n),
            p_max_mw=np.full(2 * n, _ANYTHING_MW),
            price_eur_per_mwh=np.full(2 * n, self.redispatch),
            n_agents=n,
            period_h=1.0,
        )
        clearing = clear_flexibility(book, limits, FlexibilityOptions(balanced=False))
        over = np.flatnonzero(view.occupancy > 1.0)
        if clearing.status not in (Status.OPTIMAL, Status.INFEASIBLE):
            return np.zeros(n), over
        return clearing.prices.congestion + clearing.prices.voltage, over
