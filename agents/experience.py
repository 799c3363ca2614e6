"""What peers remember of their last bid."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from peerwatt.agents.messages import FloatArray, IntArray

__all__ = ["Experience"]


@dataclass(frozen=True, slots=True)
class Experience:
    """The last bid of each peer of a group, and what became of it; arrays (n_peers,), NaN where there is none.

    Attributes:
        limit_eur_per_mwh: its limit price.
        offered_mw: the firm power that it was for, positive to sell.
        traded_mw: how much of that was traded, as far as the peer was told.
    """

    limit_eur_per_mwh: FloatArray
    offered_mw: FloatArray
    traded_mw: FloatArray

    @classmethod
    def none(cls, n_peers: int) -> Experience:
        """Nobody has made a bid."""
        return cls(*np.full((3, n_peers), np.nan))

    def bid(self, peer: IntArray, limit: FloatArray, p_mw: FloatArray) -> None:
        """Peers make a bid; nobody knows yet what becomes of it."""
        self.limit_eur_per_mwh[peer], self.offered_mw[peer], self.traded_mw[peer] = limit, p_mw, np.nan

    def told(self, peer: IntArray, p_mw: FloatArray | float) -> None:
        """Peers are told what they have traded of it."""
        self.traded_mw[peer] = p_mw
