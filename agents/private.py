"""What peers who negotiate keep to themselves: costs, and the prices that they agree on.

No role reads this while the market runs. The rounds of `round` fidelity, which stand for the peers, do, and so does
the record of the period.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from peerwatt.agents.flexibility import N_SEGMENTS
from peerwatt.agents.messages import BoolArray, FloatArray, IntArray

__all__ = ["Private"]


@dataclass(slots=True)
class Private:
    """Rows of all peers, each its peer's own.

    Args:
        n_peers: number of peers.

    Attributes:
        cost_a: quadratic cost of each segment, EUR/MW2h. (n_peers, n_segments)
        cost_b: linear cost of each segment, EUR/MWh. (n_peers, n_segments)
        sell_cost, buy_cost: cost of trading with each partner, EUR/MWh; empty without signals. (n_peers, n_peers)
        seller_price, buyer_price: mean of both sides' proposals as each side knows them, EUR/MWh. (n_pairs,)
        value: marginal value of power of each segment as it buys and as it sells, EUR/MWh. (n_peers, n_segments, 2)
        mean_price: of the trades of each peer, NaN without. (n_peers,)
    """

    n_peers: int
    cost_a: FloatArray = field(init=False)
    cost_b: FloatArray = field(init=False)
    sell_cost: FloatArray = field(init=False)
    buy_cost: FloatArray = field(init=False)
    seller_price: FloatArray = field(init=False)
    buyer_price: FloatArray = field(init=False)
    value: FloatArray = field(init=False)
    mean_price: FloatArray = field(init=False)

    def __post_init__(self) -> None:
        shape = (self.n_peers, N_SEGMENTS)
        self.cost_a, self.cost_b, self.value = np.zeros(shape), np.zeros(shape), np.zeros((*shape, 2))
        self.sell_cost = self.buy_cost = np.empty((self.n_peers, 0))
        self.mean_price = np.full(self.n_peers, np.nan)
        self.begin(0)

    def begin(self, n_pairs: int) -> None:
        """Nothing has been agreed on so far."""
        self.seller_price, self.buyer_price = np.full((2, n_pairs), np.nan)

    def put(self, rows: IntArray, a: FloatArray, b: FloatArray, *terms: FloatArray) -> None:
        """Note the costs of some peers.

        Args:
            rows: (n,) the peers.
            a: (n, n_segments) quadratic cost, EUR/MW2h.
            b: (n, n_segments) linear cost, EUR/MWh.
            *terms: costs of selling to and of buying from each partner, (n, n_peers) each; none without signals.
        """
        self.cost_a[rows], self.cost_b[rows] = a, b
        if terms:
            if not self.sell_cost.size:
                self.sell_cost, self.buy_cost = np.zeros((2, self.n_peers, self.n_peers))
            self.sell_cost[rows], self.buy_cost[rows] = terms

    def pair_cost(self, own: IntArray | int, partner: IntArray, sells: BoolArray) -> FloatArray:
        """Own cost of each trade besides the price and the network fee, EUR/MWh; (n_rows,)."""
        if not self.sell_cost.size:
            return np.zeros(len(partner))
        cost: FloatArray = np.where(sells, self.sell_cost[own, partner], self.buy_cost[own, partner])
        return cost
