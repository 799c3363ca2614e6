"""Constraint-based weights (D5.3, section 3.2.4, no. 3): congestion and voltage weigh in the matching itself.

The willingness to trade is affected by coefficients from the network's constraints. With kappa_l how far line l is
on its way from the threshold (0) to its limit (1) and beyond, and nu_b how far bus b is from the middle half of
its voltage band to its edge (0 to 1, and beyond), the weight of the trade from i to j is

    w_ij = weight * ( sum_l kappa_l * dF_l / dP_ij  +  sum_b nu_b * s_b * dV_b / dP_ij / margin_b )

where F_l is the flow along its present direction, s_b is +1 where the voltage is high and -1 where it is low, and
margin_b is half the band, so that 1 MW which takes a bus from the middle to its edge counts as 1. Half of the
weight is the seller's, half the buyer's; nobody pays it, so weights below 0 count as 0: a trade that relieves the grid
is not made where both parties lose. The report cites the idea ([66]) without an equation; this is built from its words.
"""

from __future__ import annotations

import numpy as np

from peerwatt.agents.messages import FloatArray
from peerwatt.agents.policies.risk import along_flow
from peerwatt.agents.policies.signals import SignalKind, Signals
from peerwatt.agents.policies.view import GridView

__all__ = ["ConstraintBased"]

_SAFE = 0.5  # share of the voltage band, around its middle, in which voltages have no weight


class ConstraintBased:
    """Weighs trades by what they do to lines near their limit and to voltages near the edge of their band.

    Args:
        threshold_percent: occupancy from which a line or transformer has a weight.
        weight_eur_per_mwh: weight of 1 MW on a line at its limit, per MW traded.
        growth: factor on all weights in each further round.
    """

    kind = SignalKind.WEIGHT

    def __init__(
        self, *, threshold_percent: float = 80.0, weight_eur_per_mwh: float = 50.0, growth: float = 2.0
    ) -> None:
        if not 0.0 <= threshold_percent < 100.0:
            raise ValueError(f"threshold_percent is {threshold_percent}; 0 to below 100")
        if not (weight_eur_per_mwh >= 0.0 and growth >= 1.0):
            raise ValueError("weight_eur_per_mwh is 0 or more, growth 1 or more")
        self.threshold = threshold_percent / 100.0
        self.weight, self.growth = weight_eur_per_mwh, growth

    def signals(self, view: GridView, round_: int) -> Signals:
        """Weights by the present state, larger in each round."""
        kappa = np.maximum(view.occupancy - self.threshold, 0.0) / (1.0 - self.threshold)
        risky = np.flatnonzero(kappa > 0.0)
        node = kappa[risky] @ along_flow(view.flow_mw[risky], view.flow_by_mw(risky)) + self._voltage(view)
        scale = 0.5 * self.weight * self.growth**round_
        cost = np.maximum(scale * (node[:, None] - node[None, :]), 0.0)
        return Signals.prices(SignalKind.WEIGHT, cost, cost, risky)

    def _voltage(self, view: GridView) -> FloatArray:
        """Weight of 1 MW fed in by each peer for the voltages, (n_peers,)."""
        buses = view.network.buses
        middle, half = 0.5 * (buses.max_vm_pu + buses.min_vm_pu), 0.5 * (buses.max_vm_pu - buses.min_vm_pu)
        off = (view.state.vm_pu - middle) / half
        nu = np.nan_to_num(np.maximum(np.abs(off) - _SAFE, 0.0) / (1.0 - _SAFE))
        near = np.flatnonzero(nu > 0.0)
        weight = nu[near] * np.sign(off[near]) / half[near]
        voltage: FloatArray = weight @ view.vm_by_mw(near)
        return voltage
