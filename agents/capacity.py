"""The capacity market: peers trade flexibility until the DSO's request is met (conceptual model 5 of D5.3, figure 12).

The DSO asks an area for an amount in one direction. Peers of the area answer with what they can provide; what they
find together is that of `peerwatt.market.capacity`. The peers are told, the DSO gets quantities only. What has been
sold in one round stands; where the DSO asks again, it asks for more.

Who pays: D5.3 has peers trade with each other, so that a peer is the buyer, and a trade needs a reason to buy. Here it
is an obligation that comes with the connection to the grid: each peer of the area has to provide its part of the
request, pro rata to connection capacity, or pays another peer to do so. The DSO pays nothing, as it would have to know
the prices (which "remain confidential to the involved peers", section 4.1.4), and a DSO that buys is a flexibility
market with its single buyer, which CM5 is the alternative to. Who has not answered has no part in it: a request that is
lost obliges nobody, its part is the others'. Buyers pay for what the meter finds delivered, pro rata where it is less
than a seller has sold; a peer that no notice has reached delivers nothing and is paid nothing.
"""

from __future__ import annotations

import numpy as np

from peerwatt.agents.context import DSO, Process, Role
from peerwatt.agents.correspondence import read_peers, write_peers
from peerwatt.agents.market import mean_prices
from peerwatt.agents.messages import FloatArray, IntArray
from peerwatt.agents.offers import DIRECTION, PRODUCTS
from peerwatt.agents.records import CapacityRound
from peerwatt.agents.services import CapacityDelivery, CapacityNeed, CapacityNotice, CapacityOffer, CapacityResult
from peerwatt.market.capacity import CapacityBook, CapacityRequest, capacity_market
from peerwatt.market.clearing import Trades
from peerwatt.market.product import Direction
from peerwatt.market.settlement import Reason, settle_trades

__all__ = ["CapacityMarket"]

_N = len(PRODUCTS)
_LEAST_MW = 1e-9  # less is rounding of what earlier rounds have left
_NOWHERE = ""  # area of peers that take no part


class CapacityMarket(Role):
    """Collects offers at the DSO's request, finds the trades, and settles them when capacity has been delivered."""

    def run(self) -> Process:
        """React to needs, and to what the meters say."""
        context = self.context
        while True:
            message = yield from self.wait_for(CapacityNeed, CapacityDelivery)
            if type(message) is CapacityDelivery:
                self._settle(message.p_mw)
                continue
            gate_s = context.timetable.rounds[message.round].gate_s
            yield context.clock.until(message.period * context.period_s + gate_s)
            peer, fields = read_peers(context, self.inbox.take(), CapacityOffer)
            current = np.flatnonzero(fields[0] == message.round) if fields else peer  # others answer an earlier request
            offered, price = (fields[k][current] if fields else np.empty((0, _N)) for k in (1, 2))
            self._close(message, peer[current], offered, price)

    def _close(self, need: CapacityNeed, peer: IntArray, offered: FloatArray, price: FloatArray) -> None:
        """Clear the offers and tell everybody; arrays of offers are (n_answers, n_products), EUR/MW."""
        context, n = self.context, len(self.context.population)
        book = self._book(need, peer, offered, price)
        with context.spend("market"):
            clearing = capacity_market(book)
        provided = in_merit_order(np.nan_to_num(clearing.provided_mw)[peer], offered, price)
        asked = np.array([request.p_mw for request in book.requests])
        missing = float(np.where(np.isnan(clearing.shortfall_mw), asked, clearing.shortfall_mw).sum())
        change, by_product = np.zeros(n), np.zeros((n, _N))
        change[peer], by_product[peer] = provided @ DIRECTION, provided
        context.now.ordered_mw += by_product
        trades, hours = clearing.trades, context.period_h
        income = np.bincount(trades.seller, trades.p_mw * trades.price_eur_per_mwh, n)[peer]
        total = provided.sum(axis=1)
        per_mw = np.divide(income, total, out=np.zeros(len(peer)), where=total > 0.0)
        context.now.capacity.append(
            CapacityRound(
                cycle=need.round,
                account=np.repeat(peer, _N),
                bus=np.repeat(context.population.bus[peer], _N),
                product=np.tile(np.arange(_N), len(peer)),
                offered_mw=offered.ravel(),
                activated_mw=provided.ravel(),
                bid_eur_per_mwh=price.ravel() / hours,
                paid_eur=(per_mw[:, None] * provided).ravel(),
                trades=Trades(trades.seller, trades.buyer, trades.p_mw, trades.price_eur_per_mwh / hours),
                missing_mw=missing,
                clearing=clearing,
            )
        )
        prices = mean_prices(trades, n, np.empty(0))
        fields = (by_product, np.nan_to_num(clearing.obligation_mw), trades.net_mw(n), prices)
        write_peers(context, CapacityNotice, self.name, fields, only=peer)
        context.bus.send((CapacityResult(self.name, DSO, need.period, need.round, change, missing),))

    def _book(self, need: CapacityNeed, peer: IntArray, offered: FloatArray, price: FloatArray) -> CapacityBook:
        """The requests, and the offers of those who answered."""
        names = self.context.population.name
        inside = need.area >= 0
        total = np.bincount(need.area[inside], need.share_mw[inside])
        answered = np.zeros(len(names), dtype=np.bool_)
        answered[peer] = True
        row, product = np.nonzero(offered > _LEAST_MW)
        return CapacityBook(
            requests=tuple(
                CapacityRequest(str(area), abs(p_mw), Direction.UP if p_mw > 0.0 else Direction.DOWN)
                for area, p_mw in enumerate(total.tolist())
            ),
            location=[
                str(area) if known else _NOWHERE
                for area, known in zip(need.area.tolist(), (answered & inside).tolist(), strict=True)
            ],
            connection_mw=np.abs(need.share_mw),
            peer=peer[row],
            p_max_mw=offered[row, product],
            cost_a=np.zeros(len(row)),
            cost_b=price[row, product],
            names=names,
        )

    def _settle(self, delivered_mw: FloatArray) -> None:
        """Pay trades as far as sellers have delivered."""
        context, rounds = self.context, self.context.now.capacity
        due = np.zeros(len(delivered_mw))
        for each in rounds:
            np.add.at(due, each.account, each.activated_mw)
        share = np.minimum(np.divide(delivered_mw, due, out=np.zeros(len(due)), where=due > 0.0), 1.0)
        for each in rounds:
            trades = each.trades
            paid = Trades(trades.seller, trades.buyer, trades.p_mw * share[trades.seller], trades.price_eur_per_mwh)
            context.now.entries.append(settle_trades(paid, period_h=context.period_h, reason=Reason.CAPACITY))


def in_merit_order(p_mw: FloatArray, offered: FloatArray, price: FloatArray) -> FloatArray:
    """Share what each peer provides among its products, the cheapest first.

    Args:
        p_mw: what it provides. (n_peers,)
        offered: most of each product. (n_peers, n_products)
        price: what it wants for each. (n_peers, n_products)

    Returns:
        (n_peers, n_products), within what is offered.
    """
    order = np.argsort(price, axis=1, kind="stable")
    ordered = np.take_along_axis(offered, order, axis=1)
    before = ordered.cumsum(axis=1) - ordered
    provided = np.zeros_like(offered)
    np.put_along_axis(provided, order, np.clip(p_mw[:, None] - before, 0.0, ordered), axis=1)
    return provided
