"""The bilateral market: peers trade pair by pair (conceptual model 2 of EUniversal D5.3, figure 8).

What the negotiation of every peer with every partner ends in is the equilibrium of Marques et al., eq. (1) to
(3); here it is found at once from all peers' offers. The external supplier takes part as two more partners: one
that sells at its price, one that buys at the feed-in price.
"""

from __future__ import annotations

import numpy as np

from peerwatt.agents.context import Bids
from peerwatt.agents.market import Market
from peerwatt.agents.messages import FloatArray, IntArray, Offer
from peerwatt.market.book import QuadraticBook, all_pairs
from peerwatt.market.clearing import Clearing, Status, Trades

__all__ = ["BilateralMarket"]


class BilateralMarket(Market):
    """Finds the equilibrium of bilateral trading among the peers that have made an offer."""

    answer = Offer

    def clear(self, peer: IntArray, fields: tuple[FloatArray, ...]) -> tuple[Bids, Clearing, Trades, FloatArray]:
        """Clear the offers of all peers together with the supplier."""
        context, n = self.context, len(self.context.population)
        p_min, p_max, a, b = fields or (np.empty(0),) * 4
        book = self._with_supplier(p_min, p_max, a, b, [context.population.name[row] for row in peer])
        with context.spend("market"):
            clearing = context.mechanism.clear(book, context.random("tie-breaking"))
        change = np.zeros(n)
        trades = Trades.none()
        if clearing.status is Status.OPTIMAL:
            # The bound at which a peer stays without trading: consumers have no positive power.
            firm = np.where(p_max > 0.0, p_min, p_max)
            change[peer] = clearing.p_mw[: len(peer)] - firm
            trades = self._between_peers(clearing.trades, peer)
        row = np.append(peer, [-1, -1])
        step = np.zeros(len(row), dtype=np.int64)
        step[-1] = 1
        bids = Bids(row, step, book.p_min_mw, book.p_max_mw, book.cost_a, book.cost_b)
        return bids, clearing, trades, change

    def _with_supplier(
        self, p_min: FloatArray, p_max: FloatArray, a: FloatArray, b: FloatArray, names: list[str]
    ) -> QuadraticBook:
        tariff, n = self.context.tariff, len(p_min)
        seller, buyer = all_pairs(p_min, p_max)
        buys, sells = np.flatnonzero(p_min < 0.0), np.flatnonzero(p_max > 0.0)
        fee = np.zeros(len(seller) + len(buys) + len(sells))
        fee[: len(seller)] = tariff.network_fee_eur_per_mwh
        return QuadraticBook(
            p_min_mw=np.append(p_min, [0.0, min(-float(p_max.clip(0.0).sum()), 0.0)]),
            p_max_mw=np.append(p_max, [max(-float(p_min.clip(None, 0.0).sum()), 0.0), 0.0]),
            cost_a=np.append(a, [0.0, 0.0]),
            cost_b=np.append(b, [tariff.supply_eur_per_mwh, tariff.feed_in_eur_per_mwh]),
            seller=np.concatenate([seller, np.full(len(buys), n), sells]),
            buyer=np.concatenate([buyer, buys, np.full(len(sells), n + 1)]),
            seller_cost=np.zeros(len(fee)),
            buyer_cost=fee,
            period_h=self.context.period_h,
            names=[*names, "supplier (sells)", "supplier (buys)"],
        )

    @staticmethod
    def _between_peers(trades: Trades, peer: IntArray) -> Trades:
        """Trades without the supplier, by rows of the population."""
        n = len(peer)
        own = (trades.seller < n) & (trades.buyer < n)
        return Trades(
            peer[trades.seller[own]], peer[trades.buyer[own]], trades.p_mw[own], trades.price_eur_per_mwh[own]
        )
