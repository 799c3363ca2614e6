"""The bilateral market: peers trade pair by pair (conceptual model 2 of EUniversal D5.3, figure 8).

What the negotiation of every peer with every partner ends in is the equilibrium of Marques et al., eq. (1) to
(3); here it is found at once from all peers' offers. The external supplier is everybody's outside option: a
peer's limit price is what the supplier would take or pay, and what it does not trade is left to the supplier.
So the social welfare is the gain over everybody staying with the supplier, and zero without trades.
"""

from __future__ import annotations

import numpy as np

from peerwatt.agents.flexibility import N_SEGMENTS
from peerwatt.agents.market import Market, Streams
from peerwatt.agents.messages import FloatArray, IntArray, Message, Offer, OfferWithTerms
from peerwatt.agents.records import Bids
from peerwatt.market.book import QuadraticBook, all_pairs
from peerwatt.market.clearing import Clearing, Status, Trades
from peerwatt.market.feasibility import feasible

__all__ = ["BilateralMarket", "one_way"]


class BilateralMarket(Market):
    """Finds the equilibrium of bilateral trading among the peers that have made an offer.

    The first segment of an offer is the peer's firm power: it flows whether it is traded or not. The second
    is flexibility: it flows only as far as it is traded.
    """

    @property
    def answer(self) -> type[Message]:  # type: ignore[override]
        """What peers send: with the terms of every pair where there are any."""
        return OfferWithTerms if self.context.has_terms else Offer

    def clear(self, peer: IntArray, fields: tuple[FloatArray, ...]) -> tuple[Bids, Clearing, Trades, FloatArray]:
        """Clear the offers of all peers; each segment that offers something is an agent of the book."""
        return self._cleared(peer, fields, self.context.random)

    def without(self, peer: IntArray, fields: tuple[FloatArray, ...], random: Streams) -> FloatArray:
        """What would change if only these had sent offers, (n_peers,)."""
        return self._cleared(peer, fields, random)[-1]

    def _cleared(
        self, peer: IntArray, fields: tuple[FloatArray, ...], random: Streams
    ) -> tuple[Bids, Clearing, Trades, FloatArray]:
        context, n = self.context, len(self.context.population)
        p_min, p_max, a, b = (field.ravel() for field in fields[:4] or (np.empty(0),) * 4)
        offered, low, high = one_way(p_min, p_max)
        row, segment = np.repeat(np.arange(len(peer)), N_SEGMENTS)[offered], _segments(len(peer))[offered]
        owner = peer[row]
        bids = Bids(owner, segment, low, high, a[offered], b[offered])
        seller, buyer = all_pairs(bids.p_min_mw, bids.p_max_mw)
        apart = owner[seller] != owner[buyer]  # who resells could trade with its own flexibility
        seller, buyer = seller[apart], buyer[apart]
        seller_cost, buyer_cost = np.zeros(len(seller)), np.zeros(len(seller))
        if len(fields) > 4:
            sell, buy = fields[4:]
            seller_cost = sell[row[seller], owner[buyer]]
            buyer_cost = buy[row[buyer], owner[seller]]
            willing = np.isfinite(seller_cost) & np.isfinite(buyer_cost)
            seller, buyer = seller[willing], buyer[willing]
            seller_cost, buyer_cost = seller_cost[willing], buyer_cost[willing]
        book = QuadraticBook(
            p_min_mw=bids.p_min_mw,
            p_max_mw=bids.p_max_mw,
            cost_a=bids.cost_a,
            cost_b=bids.cost_b,
            seller=seller,
            buyer=buyer,
            seller_cost=seller_cost,
            buyer_cost=buyer_cost + context.tariff.network_fee_eur_per_mwh,
            period_h=context.period_h,
            names=[context.population.name[each] for each in owner.tolist()],
        )
        with context.spend("market"):
            clearing = feasible(book, context.mechanism.clear(book, random("tie-breaking")))
        change, trades = np.zeros(n), Trades.none()
        if clearing.status is Status.OPTIMAL:
            flexible = segment > 0
            np.add.at(change, owner[flexible], clearing.p_mw[flexible])
            trades = clearing.trades.between(owner, n)
        return bids, clearing, trades, change


def _segments(n: int) -> IntArray:
    return np.tile(np.arange(N_SEGMENTS), n)


def one_way(p_min_mw: FloatArray, p_max_mw: FloatArray) -> tuple[IntArray, FloatArray, FloatArray]:
    """Segments that offer something, with their bounds; one that sells and buys becomes one of each kind.

    As one it could pass on any volume, and where incentives make a circle of trades pay that would have no end.
    """
    offered = np.flatnonzero(p_max_mw > p_min_mw)
    low, high = p_min_mw[offered], p_max_mw[offered]
    both = np.flatnonzero((low < 0.0) & (high > 0.0))
    sells = high[both]
    high[both] = 0.0
    return (
        np.concatenate([offered, offered[both]]),
        np.concatenate([low, np.zeros(both.size)]),
        np.concatenate([high, sells]),
    )
