"""The messages that agents exchange: every arrow between roles is a type here (design, section 4).

What a message type cannot carry, cannot leak: `ProposedTrades`, all that the DSO learns of a market, has no
field for a price.

A `Batch` is what `round` fidelity sends in place of many equal messages between a group and one role: the same
content as arrays, with the mask of those that arrived.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

__all__ = [
    "Batch",
    "Bid",
    "CallForBids",
    "ClearingNotice",
    "ConnectionState",
    "Message",
    "MeterReadings",
    "Offer",
    "ProposedTrades",
]

FloatArray: TypeAlias = npt.NDArray[np.float64]
IntArray: TypeAlias = npt.NDArray[np.int64]
BoolArray: TypeAlias = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Message:
    """What every message has.

    Attributes:
        sender: name of the agent that sends.
        receiver: name of the agent that it is for.
        period: market period that it is about.
    """

    sender: str
    receiver: str
    period: int


@dataclass(frozen=True, slots=True)
class CallForBids(Message):
    """Market to peer: bids are due before the gate closes.

    Attributes:
        gate_s: when the gate closes; a bid that arrives then or later does not count.
    """

    gate_s: float


@dataclass(frozen=True, slots=True)
class Bid(Message):
    """Peer to mediator: steps of power and limit price.

    Attributes:
        p_mw: (n_steps,) power of each step, positive to sell, negative to buy.
        price_eur_per_mwh: (n_steps,) limit price of each step.
    """

    p_mw: FloatArray
    price_eur_per_mwh: FloatArray


@dataclass(frozen=True, slots=True)
class Offer(Message):
    """Peer to the bilateral market: what it would trade with its partners, and its cost C = a/2 P^2 + b P.

    Attributes:
        p_min_mw: (n_segments,) lower bound of traded power, MW, negative to buy.
        p_max_mw: (n_segments,) upper bound of traded power, MW, positive to sell.
        cost_a: (n_segments,) quadratic coefficient, EUR/MW2h.
        cost_b: (n_segments,) linear coefficient, EUR/MWh.
    """

    p_min_mw: FloatArray
    p_max_mw: FloatArray
    cost_a: FloatArray
    cost_b: FloatArray


@dataclass(frozen=True, slots=True)
class ClearingNotice(Message):
    """Market to peer: what it has traded.

    Attributes:
        p_traded_mw: net power sold to other peers (bought: negative).
        p_change_mw: by how much its net power moves from its firm power.
        price_eur_per_mwh: mean price of its trades, NaN without trades.
    """

    p_traded_mw: float
    p_change_mw: float
    price_eur_per_mwh: float


@dataclass(frozen=True, slots=True)
class ProposedTrades(Message):
    """Market to DSO and supplier: quantities only.

    Attributes:
        seller: (n_trades,) row of the selling peer.
        buyer: (n_trades,) row of the buying peer.
        p_mw: (n_trades,) power, positive.
        p_change_mw: (n_peers,) by how much each peer's net power moves from its firm power.
    """

    seller: IntArray
    buyer: IntArray
    p_mw: FloatArray
    p_change_mw: FloatArray


@dataclass(frozen=True, slots=True)
class MeterReadings(Message):
    """DSO to supplier: metered net power of every peer, and what the grid lost.

    Attributes:
        p_mw: (n_peers,) net power delivered.
        losses_mw: losses of the grid, NaN when they are not known.
    """

    p_mw: FloatArray
    losses_mw: float


@dataclass(frozen=True, slots=True)
class ConnectionState(Message):
    """DSO to peer: the state of the grid at its connection point, and nothing beyond it.

    Attributes:
        vm_pu: voltage magnitude.
        path_loading_percent: highest loading on the way to the external grid.
    """

    vm_pu: float
    path_loading_percent: float


@dataclass(frozen=True, slots=True)
class Batch:
    """Many equal messages between peers and one role, as arrays.

    Attributes:
        kind: message type that each row stands for.
        sender: name of the role that sends, or ``peers``.
        receiver: name of the role that receives, or ``peers``.
        period: market period.
        peer: (n,) rows of the peers concerned.
        fields: (n, ...) arrays, one per field of the message type, in its order.
    """

    kind: type[Message]
    sender: str
    receiver: str
    period: int
    peer: IntArray
    fields: tuple[npt.NDArray[np.float64], ...]

    def only(self, arrived: BoolArray | IntArray) -> Batch:
        """Return the batch of the rows that arrived."""
        return Batch(
            self.kind,
            self.sender,
            self.receiver,
            self.period,
            self.peer[arrived],
            tuple(field[arrived] for field in self.fields),
        )
