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

from peerwatt.market.limits import NetworkLimits

__all__ = [
    "Activation",
    "AggregateActivation",
    "AggregateBid",
    "Batch",
    "Bid",
    "BlockingList",
    "CallForBids",
    "CallForFlexibility",
    "CapacityDelivery",
    "CapacityNeed",
    "CapacityNotice",
    "CapacityOffer",
    "CapacityRequest",
    "CapacityResult",
    "ClearingNotice",
    "ConnectionState",
    "FlexibilityBid",
    "FlexibilityNeed",
    "FlexibilityResult",
    "GridSignals",
    "Message",
    "MeterReadings",
    "Offer",
    "OfferWithTerms",
    "ProposedTrades",
    "Renegotiation",
    "TradeTerms",
    "Verdict",
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
class FlexibilityNeed(Message):
    """DSO to FMO: what the flexibility market has to respect, or, in a correction, has to respect more tightly.

    Attributes:
        cycle: cycle that it is about.
        correction: 0, or how often the result has been sent back.
        limits: flows, voltages, their limits and what injections change of them; nodes are connection points.
    """

    cycle: int
    correction: int
    limits: NetworkLimits


@dataclass(frozen=True, slots=True)
class CallForFlexibility(Message):
    """FMO to FSP, mediator to its peers: bids are due before the gate closes.

    Attributes:
        gate_s: when the gate closes.
    """

    gate_s: float


@dataclass(frozen=True, slots=True)
class FlexibilityBid(Message):
    """FSP to FMO (or to its mediator): what it could do on top of its schedule.

    Attributes:
        p_mw: (n_products,) most that it offers of each product of `peerwatt.agents.offers.PRODUCTS`, positive.
        price_eur_per_mwh: (n_products,) what it wants to be paid per MWh.
    """

    p_mw: FloatArray
    price_eur_per_mwh: FloatArray


@dataclass(frozen=True, slots=True)
class AggregateBid(Message):
    """Mediator to FMO: the flexibility of its peers, one row per connection point.

    Attributes:
        node: (n_rows,) position of the connection point's bus.
        p_mw: (n_rows, n_products) most that is offered.
        price_eur_per_mwh: (n_rows, n_products) what the mediator wants to be paid.
    """

    node: IntArray
    p_mw: FloatArray
    price_eur_per_mwh: FloatArray


@dataclass(frozen=True, slots=True)
class Activation(Message):
    """FMO to FSP (or mediator to its peer): what it has to do, and what it is paid.

    Attributes:
        p_mw: (n_products,) activated power of each product, positive.
        paid_eur: what it is paid in all; negative where it pays.
    """

    p_mw: FloatArray
    paid_eur: float


@dataclass(frozen=True, slots=True)
class AggregateActivation(Message):
    """FMO to mediator: what of its bid is activated.

    Attributes:
        p_mw: (n_rows, n_products) activated power.
        paid_eur: (n_rows, n_products) what it is paid.
    """

    p_mw: FloatArray
    paid_eur: FloatArray


@dataclass(frozen=True, slots=True)
class FlexibilityResult(Message):
    """FMO to DSO: what would be activated where.

    Attributes:
        p_mw: (n_bus,) change of the injection at each bus.
        status: how the market cleared.
        missing_mw: what remains beyond the limits.
    """

    p_mw: FloatArray
    status: str
    missing_mw: float


@dataclass(frozen=True, slots=True)
class Verdict(Message):
    """DSO to FMO: the result stands; providers can be told."""


@dataclass(frozen=True, slots=True)
class CapacityNeed(Message):
    """DSO to capacity market: how much flexibility is needed where, shared pro rata to connection capacity.

    Attributes:
        round: round of capacity trading that it is for.
        area: (n_peers,) number of the area that each peer is in, -1 for those that nothing is asked of.
        share_mw: (n_peers,) the peer's part of what its area has to provide, negative downward.
    """

    round: int
    area: IntArray
    share_mw: FloatArray


@dataclass(frozen=True, slots=True)
class CapacityRequest(Message):
    """DSO to peer: its area has to provide flexibility.

    Attributes:
        round: round of capacity trading that it is for.
        p_mw: how much all peers of the area have to provide, positive.
        direction: 1 upward (feed in more or draw less), -1 downward.
        gate_s: when the gate closes.
    """

    round: int
    p_mw: float
    direction: int
    gate_s: float


@dataclass(frozen=True, slots=True)
class CapacityOffer(Message):
    """Peer to capacity market: what it can provide; what else it is obliged to it has to buy.

    Attributes:
        round: round of capacity trading that it is for.
        p_mw: (n_products,) most that it can provide of each product of `peerwatt.agents.offers.PRODUCTS`, positive.
        price_eur_per_mw: (n_products,) what it wants per MW and period.
    """

    round: int
    p_mw: FloatArray
    price_eur_per_mw: FloatArray


@dataclass(frozen=True, slots=True)
class CapacityNotice(Message):
    """Capacity market to peer: what it has to provide, and what it has traded.

    Attributes:
        p_mw: (n_products,) what it has to provide of each product, for itself and for others.
        obligation_mw: its part of what its area has to provide, positive.
        p_traded_mw: capacity sold to other peers (bought: negative).
        price_eur_per_mw: mean price of its trades per MW and period, NaN without trades.
    """

    p_mw: FloatArray
    obligation_mw: float
    p_traded_mw: float
    price_eur_per_mw: float


@dataclass(frozen=True, slots=True)
class CapacityResult(Message):
    """Capacity market to DSO: quantities only.

    Attributes:
        round: round of capacity trading that it is about.
        p_mw: (n_peers,) by how much each peer's net power will change.
        missing_mw: what nobody provides.
    """

    round: int
    p_mw: FloatArray
    missing_mw: float


@dataclass(frozen=True, slots=True)
class CapacityDelivery(Message):
    """DSO to capacity market: what the meters say of the capacity, which only then is paid.

    Attributes:
        p_mw: (n_peers,) capacity that each peer has delivered, positive.
    """

    p_mw: FloatArray


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
