"""What peers know of the DSO's signals: with whom they must not trade, and what trading with each partner costs.

Each peer knows its own row only, and only what reached it in time. A blocking list counts for the round of negotiation
it was made for: without it a peer trades with nobody, so that a lost or late list lets no blocked trade through. Costs
count until newer ones are there.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from peerwatt.agents.messages import BoolArray, FloatArray, IntArray

__all__ = ["Terms"]

_NEVER = -1


@dataclass(slots=True)
class Terms:
    """Terms of trade of all peers, row by row.

    Attributes:
        sell_cost: [i, j] is i's cost of selling to j, EUR/MWh; inf where it must not. (n_peers, n_peers)
        buy_cost: [i, j] is i's cost of buying from j. (n_peers, n_peers)
        may_feed, may_draw: whether a peer may feed in, or draw, more than without trading. (n_peers,)
        told: round that each peer's blocking list is for, numbered through the run; -1 before. (n_peers,)
        lists: whether the DSO sends blocking lists.
    """

    sell_cost: FloatArray
    buy_cost: FloatArray
    may_feed: BoolArray
    may_draw: BoolArray
    told: IntArray
    lists: bool = False

    @classmethod
    def none(cls, n_peers: int, *, lists: bool = False) -> Terms:
        """Nobody has been told anything."""
        shape = (n_peers, n_peers)
        feed, draw = np.ones((2, n_peers), dtype=np.bool_)
        return cls(np.zeros(shape), np.zeros(shape), feed, draw, np.full(n_peers, _NEVER), lists)

    def hear_list(
        self,
        peer: IntArray,
        round_: int,
        sell_cause: IntArray,
        buy_cause: IntArray,
        feed_cause: IntArray,
        draw_cause: IntArray,
    ) -> None:
        """Peers get their blocking lists.

        Args:
            peer: (n,) rows of the peers.
            round_: which round the lists are for.
            sell_cause: (n, n_peers) branch for whose sake it must not sell, -1 where free.
            buy_cause: (n, n_peers) the same for buying.
            feed_cause: (n,) branch for whose sake it must not feed in more, -1 where free.
            draw_cause: (n,) the same for drawing more.
        """
        newer = self.told[peer] < round_
        peer, sell_cause, buy_cause = peer[newer], sell_cause[newer], buy_cause[newer]
        self.may_feed[peer], self.may_draw[peer] = feed_cause[newer] < 0, draw_cause[newer] < 0
        self.sell_cost[peer] = np.where(sell_cause >= 0, np.inf, 0.0)
        self.buy_cost[peer] = np.where(buy_cause >= 0, np.inf, 0.0)
        self.told[peer] = round_

    def hear_costs(self, peer: IntArray, round_: int, sell_cost: FloatArray, buy_cost: FloatArray) -> None:
        """Peers get their costs; arrays (n, n_peers)."""
        newer = self.told[peer] < round_
        self.sell_cost[peer[newer]], self.buy_cost[peer[newer]] = sell_cost[newer], buy_cost[newer]
        self.told[peer[newer]] = round_

    def best_incentives(self, peer: IntArray) -> tuple[FloatArray, FloatArray]:
        """The best incentive that each peer has been offered for selling and for buying, 0 without, (n,) each."""
        if not len(self.told):
            return np.zeros(len(peer)), np.zeros(len(peer))
        sell, buy = (-table[peer].min(axis=1, initial=0.0) for table in (self.sell_cost, self.buy_cost))
        return sell, buy

    def of(self, peer: IntArray, round_: int) -> tuple[FloatArray, FloatArray]:
        """Terms that peers go by in a round: costs of selling and of buying, (n, n_peers) each."""
        sell, buy = self.sell_cost[peer].copy(), self.buy_cost[peer].copy()
        if self.lists:
            uninformed = self.told[peer] != round_
            sell[uninformed] = buy[uninformed] = np.inf
        return sell, buy
