"""What a DSO orders peers to do with their devices before they trade, when no price signal helps.

Marques et al., section IV: extra flexibility of loads is *enforced* (the load is moved, it does not trade its way
back), generation that had to run no longer has to, and reactive power is reduced.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Self

import numpy as np

from peerwatt.agents.devices import N_PRODUCTS, Outlook
from peerwatt.agents.flexibility import Position
from peerwatt.agents.messages import FloatArray, IntArray

__all__ = ["Directive"]


@dataclass(slots=True)
class Directive:
    """Orders to all peers; a peer that was not told keeps its row of zeros.

    Attributes:
        p_mw: what to do with devices, beyond what trading asks for. (n_peers, n_products)
        room_mw: by how much trading may still move it, inf for as much as it likes. (n_peers,)
        released_mw: generation that need not run. (n_peers,)
        reactive: share of its usual reactive power, 1 for all of it. (n_peers,)
        paid_eur: what the DSO pays for moving it. (n_peers,)
    """

    p_mw: FloatArray
    room_mw: FloatArray
    released_mw: FloatArray
    reactive: FloatArray
    paid_eur: FloatArray

    @classmethod
    def none(cls, n_peers: int) -> Self:
        """Nobody is ordered anything."""
        zero = np.zeros(n_peers)
        return cls(np.zeros((n_peers, N_PRODUCTS)), zero + np.inf, zero.copy(), zero + 1.0, zero.copy())

    def __bool__(self) -> bool:
        moved = self.p_mw.any() or self.released_mw.any() or np.isfinite(self.room_mw).any()
        return bool(moved or (self.reactive != 1.0).any())

    def of_rows(self, rows: IntArray) -> Directive:
        """Orders to some peers."""
        return Directive(*(getattr(self, each.name)[rows] for each in fields(self)))

    def hear(
        self,
        peer: IntArray,
        p_mw: FloatArray,
        room_mw: FloatArray | float,
        released_mw: FloatArray | float,
        reactive: FloatArray | float,
        paid_eur: FloatArray | float,
    ) -> None:
        """Peers get their orders, in place of earlier ones; fields as in the class, for these rows."""
        self.p_mw[peer], self.room_mw[peer], self.released_mw[peer] = p_mw, room_mw, released_mw
        self.reactive[peer], self.paid_eur[peer] = reactive, paid_eur

    def position(self, position: Position) -> Position:
        """What peers bring to the market under it."""
        if not self:
            return position
        return position.released(self.released_mw).committed(self.p_mw).capped(self.room_mw)

    def devices(
        self, position: Position, change_mw: FloatArray, activated_mw: FloatArray | float = 0.0
    ) -> tuple[FloatArray, FloatArray]:
        """Consumption beyond the usual (n_peers,), and what devices do (n_peers, n_products); as in `schedule`."""
        extra, done = position.departure(change_mw - self.released_mw)
        return extra, done + self.p_mw + activated_mw

    def schedule(
        self,
        outlook: Outlook,
        position: Position,
        battery_mw: FloatArray,
        change_mw: FloatArray,
        activated_mw: FloatArray | float = 0.0,
    ) -> tuple[FloatArray, FloatArray]:
        """Net active and reactive power of all peers under it, each (n_peers,).

        Args:
            outlook: forecast or realised.
            position: what they would have brought to the market without it.
            battery_mw: (n_peers,) dispatch of the batteries.
            change_mw: (n_peers,) by how much trading moves them.
            activated_mw: (n_peers, n_products) what they do for a flexibility market.
        """
        extra, done = self.devices(position, change_mw, activated_mw)
        return outlook.with_reactive(self.reactive).net(battery_mw, extra, done)
