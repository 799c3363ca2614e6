"""Messages of system operators beyond signals: orders to peers, and the TSO's request for regulation.

Nothing here has a price of a trade: the TSO's is what it would pay, told to its own virtual load.
"""

from __future__ import annotations

from dataclasses import dataclass

from peerwatt.agents.messages import FloatArray, Message

__all__ = [
    "Baseline",
    "FlexibilityDirective",
    "RegulationAnswer",
    "RegulationNotice",
    "RegulationReadings",
    "VirtualLoadRequest",
]


@dataclass(frozen=True, slots=True)
class FlexibilityDirective(Message):
    """DSO to peer: what to do with its devices, in place of earlier orders (Marques et al., figures 2 to 5).

    Attributes:
        p_mw: (n_products,) consume less, generate less, consume more.
        room_mw: by how much trading may still move it, so that it does not trade its way back.
        released_mw: generation that need not run.
        reactive: share of its usual reactive power.
        paid_eur: what it is paid for being moved.
    """

    p_mw: FloatArray
    room_mw: float
    released_mw: float
    reactive: float
    paid_eur: float


@dataclass(frozen=True, slots=True)
class VirtualLoadRequest(Message):
    """TSO to its virtual load in the market: what to draw.

    Attributes:
        p_mw: positive to draw (regulation up), negative to feed in (regulation down).
        price_eur_per_mwh: paid at most, or wanted at least where it feeds in.
    """

    p_mw: float
    price_eur_per_mwh: float


@dataclass(frozen=True, slots=True)
class RegulationNotice(Message):
    """TSO to DSO: what it asks the peers for.

    Attributes:
        p_mw: positive for regulation up.
    """

    p_mw: float


@dataclass(frozen=True, slots=True)
class Baseline(Message):
    """Market to DSO: the same clearing without the TSO's virtual load, on the same draws.

    Attributes:
        p_change_mw: (n_peers,) by how much each peer's net power would move from its firm power.
    """

    p_change_mw: FloatArray


@dataclass(frozen=True, slots=True)
class RegulationAnswer(Message):
    """DSO to TSO: what the market gives it, and why not more.

    Attributes:
        requested_mw: what was asked for.
        accepted_mw: what has been traded with the virtual load and the grid bears.
        branch: position of the line or transformer for whose sake the rest is refused, -1 if for none.
        bus: position of the bus for whose voltage it is refused, -1 if for none.
    """

    requested_mw: float
    accepted_mw: float
    branch: int
    bus: int


@dataclass(frozen=True, slots=True)
class RegulationReadings(Message):
    """DSO to TSO, at delivery: exchange at the external grid, NaN where the power flow has no solution.

    Attributes:
        scheduled_mw: expected after trading, the virtual load apart, positive when the grid draws.
        delivered_mw: by the meter.
        provided_mw: by how much the request has moved the scheduled exchange, against the same market without it;
            positive for regulation up.
    """

    scheduled_mw: float
    delivered_mw: float
    provided_mw: float
