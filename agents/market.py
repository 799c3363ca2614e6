"""What the mediator of an auction and the bilateral market have in common: the course of a period.

Call for bids -> gate closes -> clearing -> notices to the peers, quantities to the DSO and the supplier, and
the payments between peers. Who has not answered when the gate closes has no bid.
"""

from __future__ import annotations

from itertools import count

import numpy as np

from peerwatt.agents.context import DSO, SUPPLIER, Bids, Process, Role
from peerwatt.agents.correspondence import read_peers, write_peers
from peerwatt.agents.messages import (
    CallForBids,
    ClearingNotice,
    FloatArray,
    IntArray,
    Message,
    ProposedTrades,
)
from peerwatt.market.clearing import Clearing, Trades
from peerwatt.market.settlement import settle_trades

__all__ = ["Market"]


class Market(Role):
    """Base of the roles that run a market."""

    answer: type[Message]
    """What peers send when called."""

    def run(self) -> Process:
        """One market per period."""
        context = self.context
        for period in count():
            start_s = period * context.period_s
            yield context.clock.until(start_s)
            write_peers(context, CallForBids, self.name, (float(start_s + context.gates.gate_s),))
            yield context.clock.until(start_s + context.gates.gate_s)
            peer, fields = read_peers(context, self.inbox.take(), self.answer)
            self._close(*self.clear(peer, fields))

    def clear(self, peer: IntArray, fields: tuple[FloatArray, ...]) -> tuple[Bids, Clearing, Trades, FloatArray]:
        """Clear the market.

        Args:
            peer: (n_bids,) rows of the peers that answered, ascending.
            fields: what they sent, arrays of n_bids rows; none when nobody answered.

        Returns:
            The bids as a table, the clearing, the trades between peers (rows of the population), and by how
            much each peer's net power moves from its firm power (n_peers,).
        """
        raise NotImplementedError

    def _close(self, bids: Bids, clearing: Clearing, trades: Trades, change_mw: FloatArray) -> None:
        context, now = self.context, self.context.now
        n = len(context.population)
        traded = trades.net_mw(n)
        now.bids, now.clearing, now.trades, now.p_traded_mw, now.p_change_mw = (
            bids,
            clearing,
            trades,
            traded,
            change_mw,
        )
        fee = context.tariff.network_fee_eur_per_mwh
        now.entries.append(settle_trades(trades, period_h=context.period_h, fee_eur_per_mwh=fee, dso=n + 1))
        write_peers(context, ClearingNotice, self.name, (traded, change_mw, mean_prices(trades, n)))
        context.bus.send(
            ProposedTrades(self.name, to, now.period, trades.seller, trades.buyer, trades.p_mw, change_mw)
            for to in (DSO, SUPPLIER)
        )


def mean_prices(trades: Trades, n_agents: int) -> FloatArray:
    """Mean price of each agent's trades, weighted by power, NaN without; (n_agents,)."""
    both, weight = np.concatenate([trades.seller, trades.buyer]), np.tile(trades.p_mw, 2)
    value = np.bincount(both, weight * np.tile(trades.price_eur_per_mwh, 2), n_agents)
    volume = np.bincount(both, weight, n_agents)
    price: FloatArray = np.divide(value, volume, out=np.full(n_agents, np.nan), where=volume > 0.0)
    return price
