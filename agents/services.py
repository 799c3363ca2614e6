"""The messages of flexibility and capacity: what the DSO needs, what is offered, what is activated.

`FlexibilityResult` and `CapacityResult`, all that the DSO learns of these markets, have no field for a price.
"""

from __future__ import annotations

from dataclasses import dataclass

from peerwatt.agents.messages import FloatArray, IntArray, Message
from peerwatt.market.limits import NetworkLimits

__all__ = [
    "Activation",
    "AggregateActivation",
    "AggregateBid",
    "CallForFlexibility",
    "CapacityDelivery",
    "CapacityNeed",
    "CapacityNotice",
    "CapacityOffer",
    "CapacityRequest",
    "CapacityResult",
    "FlexibilityBid",
    "FlexibilityNeed",
    "FlexibilityResult",
    "Verdict",
]


@dataclass(frozen=True, slots=True)
class FlexibilityNeed(Message):
    """DSO to FMO: what the flexibility market has to respect, or, in a correction, has to respect more tightly.

    Attributes:
        cycle: cycle that it is about.
        correction: 0, or how often the result has been sent back.
        limits: flows, voltages, their limits and what injections change of them; nodes are connection points, once
            for each product, with the reactive power that comes with it, and once more for active power alone.
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
        paid_eur: (n_products,) what it is paid for each if all is delivered; negative where it pays.
    """

    p_mw: FloatArray
    paid_eur: FloatArray


@dataclass(frozen=True, slots=True)
class AggregateActivation(Message):
    """FMO to mediator: what of its bid is activated.

    Attributes:
        p_mw: (n_rows, n_products) activated power.
        paid_eur: (n_rows, n_products) what it is paid if all is delivered.
    """

    p_mw: FloatArray
    paid_eur: FloatArray


@dataclass(frozen=True, slots=True)
class FlexibilityResult(Message):
    """FMO to DSO: what would be activated where.

    Attributes:
        peer_mw: (n_peers, n_products) what would be activated of peers that offer themselves, positive.
        aggregate_mw: (n_bus, n_products) of a mediator, at each bus.
        outside_mw: (n_outside, n_products) of resources outside the P2P market.
        solved: whether there is a result; without one nothing is activated.
    """

    peer_mw: FloatArray
    aggregate_mw: FloatArray
    outside_mw: FloatArray
    solved: bool

    @property
    def activates(self) -> bool:
        """Whether anything would be activated."""
        return bool(self.peer_mw.any() or self.aggregate_mw.any() or self.outside_mw.any())


@dataclass(frozen=True, slots=True)
class Verdict(Message):
    """DSO to FMO: which result stands; providers can be told.

    Attributes:
        correction: number of the correction whose result stands, 0 for the first, -1 for none: nothing is activated.
    """

    correction: int


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
