"""The messages of a negotiation: peers propose trades to each other, and tell the organiser quantities only.

No type that goes to the organiser has a field for a price or a cost; `TradeProposal`, which has one, goes from peer
to partner. `peerwatt.agents.negotiation` has the protocol.
"""

from __future__ import annotations

from dataclasses import dataclass

from peerwatt.agents.messages import BoolArray, FloatArray, IntArray, Message

__all__ = ["Closing", "Enrolment", "Introduction", "TradeProposal", "TradeReport"]


@dataclass(frozen=True, slots=True)
class Enrolment(Message):
    """Peer to the organiser: it takes part, with these bounds, and with these partners.

    Attributes:
        round: round of trading that it is for.
        p_min_mw: (n_segments,) lower bound of traded power, MW, negative to buy.
        p_max_mw: (n_segments,) upper bound of traded power, MW, positive to sell.
        sells_to, buys_from: (n_peers,) with whom it would; empty where nobody is excluded.
    """

    round: int
    p_min_mw: FloatArray
    p_max_mw: FloatArray
    sells_to: BoolArray
    buys_from: BoolArray


@dataclass(frozen=True, slots=True)
class Introduction(Message):
    """Organiser to peer: with whom it may negotiate, one row per pair of segments, and how.

    Attributes:
        round: round of trading that it is for.
        begin_s: when the first proposals are sent.
        round_s: time between proposals.
        n_rounds: most proposals to each partner.
        opening_price_eur_per_mwh: price to begin with, the same for all.
        pair: (n_rows,) reference number of the pair, ascending for each segment.
        segment: (n_rows,) the own segment, ascending.
        partner: (n_rows,) row of the partner.
        sells: (n_rows,) whether it would sell to the partner, or buy.
        penalty: (n_rows,) weight of differences of power, EUR/MW2h, the same for both.
    """

    round: int
    begin_s: int
    round_s: int
    n_rounds: int
    opening_price_eur_per_mwh: float
    pair: IntArray
    segment: IntArray
    partner: IntArray
    sells: BoolArray
    penalty: FloatArray


@dataclass(frozen=True, slots=True)
class TradeProposal(Message):
    """Peer to partner: a power for each of their pairs of segments, and the price at which it is what it wants.

    Attributes:
        round: round of trading that it is for.
        number: counts the sender's proposals, from 0.
        p_mw: (n_pairs,) proposed trades, not negative, in the order of the pairs' numbers.
        price_eur_per_mwh: (n_pairs,) what the buyer would pay the seller.
    """

    round: int
    number: int
    p_mw: FloatArray
    price_eur_per_mwh: FloatArray


@dataclass(frozen=True, slots=True)
class TradeReport(Message):
    """Peer to the organiser: what it has proposed, and how far its prices are from its partners'.

    Attributes:
        round: round of trading that it is for.
        number: of the proposals that it is about.
        p_mw: (n_rows,) power proposed to each partner, in the order of the introduction.
        disagreement_eur_per_mwh: root of the sum of squares of the differences of prices; no price.
        worst_disagreement: the largest of them as a share of its trade's price.
    """

    round: int
    number: int
    p_mw: FloatArray
    disagreement_eur_per_mwh: float
    worst_disagreement: float


@dataclass(frozen=True, slots=True)
class Closing(Message):
    """Organiser to peer: all agree, no more proposals are needed.

    Attributes:
        round: round of trading that it is for.
        number: of the report of this peer that counts, -1 if it has sent none.
    """

    round: int
    number: int
