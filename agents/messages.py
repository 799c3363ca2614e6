"""The messages that agents exchange: every arrow between roles is a type here (design, section 4).

What a message type cannot carry, cannot leak: `ProposedTrades`, all that the DSO learns of a market, has no
field for a price.

A `Batch` is what `round` fidelity sends in place of many equal messages between a group and one role: the same
content as arrays, with the mask of those that arrived.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

__all__ = [
    "Batch",
    "Bid",
    "BlockingList",
    "CallForBids",
    "ClearingNotice",
    "ConnectionState",
    "GridSignals",
    "Message",
    "MeterReadings",
    "Offer",
    "OfferWithTerms",
    "ProposedTrades",
    "Renegotiation",
    "TradeTerms",
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
        round: round of negotiation, numbered through the period.
    """

    gate_s: float
    round: int


@dataclass(frozen=True, slots=True)
class Bid(Message):
    """Peer to mediator: steps of power and limit price.

    Attributes:
        round: round of negotiation that it is for.
        p_mw: (n_steps,) power of each step, positive to sell, negative to buy.
        price_eur_per_mwh: (n_steps,) limit price of each step.
    """

    round: int
    p_mw: FloatArray
    price_eur_per_mwh: FloatArray


@dataclass(frozen=True, slots=True)
class Offer(Message):
    """Peer to the bilateral market: what it would trade with its partners, and its cost C = a/2 P^2 + b P.

    Attributes:
        round: round of negotiation that it is for.
        p_min_mw: (n_segments,) lower bound of traded power, MW, negative to buy.
        p_max_mw: (n_segments,) upper bound of traded power, MW, positive to sell.
        cost_a: (n_segments,) quadratic coefficient, EUR/MW2h.
        cost_b: (n_segments,) linear coefficient, EUR/MWh.
    """

    round: int
    p_min_mw: FloatArray
    p_max_mw: FloatArray
    cost_a: FloatArray
    cost_b: FloatArray


@dataclass(frozen=True, slots=True)
class OfferWithTerms(Message):
    """Peer to the bilateral market: an `Offer`, and with whom it would trade at which cost besides the price.

    Attributes:
        round, p_min_mw, p_max_mw, cost_a, cost_b: as in `Offer`.
        sell_cost: (n_peers,) its cost of selling to each partner, EUR/MWh; inf where it does not.
        buy_cost: (n_peers,) its cost of buying from each partner, EUR/MWh; inf where it does not.
    """

    round: int
    p_min_mw: FloatArray
    p_max_mw: FloatArray
    cost_a: FloatArray
    cost_b: FloatArray
    sell_cost: FloatArray
    buy_cost: FloatArray


@dataclass(frozen=True, slots=True)
class BlockingList(Message):
    """DSO to peer: with whom it must not trade; the line or transformer at risk is the reason.

    Attributes:
        round: round of negotiation that it is for.
        sell_cause: (n_peers,) position of the branch for whose sake it must not sell to this peer, -1 if it may.
        buy_cause: (n_peers,) the same for buying from this peer.
        feed_cause: branch for whose sake it must not feed in more than without trading, -1 if it may.
        draw_cause: the same for drawing more.
    """

    round: int
    sell_cause: IntArray
    buy_cause: IntArray
    feed_cause: int
    draw_cause: int


@dataclass(frozen=True, slots=True)
class TradeTerms(Message):
    """DSO to peer: what trading with each partner costs it besides the price; incentives are negative.

    Attributes:
        round: round of negotiation that it is for.
        sell_cost: (n_peers,) cost of selling to this peer, EUR/MWh.
        buy_cost: (n_peers,) cost of buying from this peer, EUR/MWh.
    """

    round: int
    sell_cost: FloatArray
    buy_cost: FloatArray


@dataclass(frozen=True, slots=True)
class GridSignals(Message):
    """DSO to mediator: the same for all pairs, [i, j] being i selling to j; arrays (n_peers, n_peers).

    Attributes:
        cause: position of the branch for whose sake the trade is blocked, -1 if it is not.
        seller_cost, buyer_cost: what the trade costs each besides the price, EUR/MWh.
        feed_cause, draw_cause: branch for whose sake a peer must not feed in or draw more than without trading,
            -1 if it may. (n_peers,)
    """

    cause: IntArray
    seller_cost: FloatArray
    buyer_cost: FloatArray
    feed_cause: IntArray
    draw_cause: IntArray


@dataclass(frozen=True, slots=True)
class Renegotiation(Message):
    """DSO to market: the proposed trades violate a limit, or flexibility has changed; negotiate again.

    Attributes:
        round: the round that follows, numbered through the period.
    """

    round: int


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
    fields: tuple[npt.NDArray[Any], ...]

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
