"""The bilateral market: peers trade pair by pair (conceptual model 2 of EUniversal D5.3, figure 8).

What the negotiation of every peer with every partner ends in is the equilibrium of Marques et al., eq. (1) to
(3); here it is found at once from all peers' offers. The external supplier is everybody's outside option: a
peer's limit price is what the supplier would take or pay, and what it does not trade is left to the supplier.
So the social welfare is the gain over everybody staying with the supplier, and zero without trades.
"""

from __future__ import annotations

import numpy as np

from peerwatt.agents.context import Bids
from peerwatt.agents.flexibility import N_SEGMENTS
from peerwatt.agents.market import Market
from peerwatt.agents.messages import FloatArray, IntArray, Offer
from peerwatt.market.book import QuadraticBook, all_pairs
from peerwatt.market.clearing import Clearing, Status, Trades

__all__ = ["BilateralMarket"]


class BilateralMarket(Market):
    """Finds the equilibrium of bilateral trading among the peers that have made an offer.

    The first segment of an offer is the peer's firm power: it flows whether it is traded or not. The second
    is flexibility: it flows only as far as it is traded.
    """

    answer = Offer

    def clear(self, peer: IntArray, fields: tuple[FloatArray, ...]) -> tuple[Bids, Clearing, Trades, FloatArray]:
        """Clear the offers of all peers; each segment that offers something is an agent of the book."""
        context, n = self.context, len(self.context.population)
        p_min, p_max, a, b = (field.ravel() for field in fields or (np.empty(0),) * 4)
        offered = np.flatnonzero(p_max > p_min)
        owner, segment = np.repeat(peer, N_SEGMENTS)[offered], np.tile(np.arange(N_SEGMENTS), len(peer))[offered]
        bids = Bids(owner, segment, p_min[offered], p_max[offered], a[offered], b[offered])
        seller, buyer = all_pairs(bids.p_min_mw, bids.p_max_mw)
        book = QuadraticBook(
            p_min_mw=bids.p_min_mw,
            p_max_mw=bids.p_max_mw,
            cost_a=bids.cost_a,
            cost_b=bids.cost_b,
            seller=seller,
            buyer=buyer,
            seller_cost=np.zeros(len(seller)),
            buyer_cost=np.full(len(seller), context.tariff.network_fee_eur_per_mwh),
            period_h=context.period_h,
            names=[context.population.name[row] for row in owner.tolist()],
        )
        with context.spend("market"):
            clearing = context.mechanism.clear(book, context.random("tie-breaking"))
        change, trades = np.zeros(n), Trades.none()
        if clearing.status is Status.OPTIMAL:
            flexible = segment > 0
            np.add.at(change, owner[flexible], clearing.p_mw[flexible])
            trades = between_owners(clearing.trades, owner, n)
        return bids, clearing, trades, change


def between_owners(trades: Trades, owner: IntArray, n_peers: int) -> Trades:
    """Trades between segments as trades between their owners: one per pair, at the mean price."""
    pair = owner[trades.seller] * n_peers + owner[trades.buyer]
    pairs, row = np.unique(pair, return_inverse=True)
    p_mw = np.zeros(len(pairs))
    value = np.zeros(len(pairs))
    np.add.at(p_mw, row, trades.p_mw)
    np.add.at(value, row, trades.p_mw * trades.price_eur_per_mwh)
    return Trades(pairs // n_peers, pairs % n_peers, p_mw, value / p_mw)
