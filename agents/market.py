"""What the mediator of an auction and the bilateral market have in common: the course of a period.

Call for bids -> gate closes -> clearing -> notices to the peers, quantities to the DSO and the supplier, and
the payments between peers. Who has not answered when the gate closes has no bid.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from copy import deepcopy
from itertools import count
from typing import Any, TypeAlias

import numpy as np

from peerwatt.agents.context import DSO, SUPPLIER, Process, Role
from peerwatt.agents.correspondence import read_peers, write_peers
from peerwatt.agents.messages import (
    CallForBids,
    ClearingNotice,
    FloatArray,
    IntArray,
    Message,
    ProposedTrades,
    Renegotiation,
)
from peerwatt.agents.orders import Baseline
from peerwatt.agents.records import Bids
from peerwatt.market.clearing import Clearing, Trades
from peerwatt.market.settlement import settle_surplus, settle_trades

__all__ = ["Market", "Streams"]

Streams: TypeAlias = Callable[[str], np.random.Generator]
"""Named random streams."""


class Market(Role):
    """Base of the roles that run a market."""

    answer: type[Message]
    """What peers send when called; its first field is the round."""

    def run(self) -> Process:
        """As many rounds per period as the DSO wants."""
        context = self.context
        for period in count():
            start_s = period * context.period_s
            for number, round_ in enumerate(context.timetable.rounds):
                yield context.clock.until(start_s + round_.call_s)
                arrived = self.inbox.take()
                if number and not _called(arrived, period, number):
                    continue
                self.listen(arrived)
                gate_s = float(start_s + round_.gate_s)
                write_peers(context, CallForBids, self.name, (gate_s, number), only=context.traders)
                yield from self.until_gate(start_s + round_.gate_s, number)
                peer, fields = self.answers(number)
                self._tell_baseline(peer, fields)
                self._close(*self.clear(peer, fields))
            yield from self.settle(start_s)

    def listen(self, arrived: Iterable[Any]) -> None:
        """Take note of what came before the call for bids; by default nothing counts."""

    def until_gate(self, gate_s: int, number: int) -> Process:  # noqa: ARG002 - for those who do something meanwhile
        """Wait until the gate closes."""
        yield self.context.clock.until(gate_s)

    def answers(self, number: int) -> tuple[IntArray, tuple[FloatArray, ...]]:
        """Rows of the peers that have answered the call of a round, and the fields of what they sent."""
        peer, fields = read_peers(self.context, self.inbox.take(), self.answer)
        if fields:
            current = np.flatnonzero(fields[0] == number)  # others are answers to an earlier call
            peer, fields = peer[current], tuple(field[current] for field in fields[1:])
        return peer, fields

    def clear(self, peer: IntArray, fields: tuple[FloatArray, ...]) -> tuple[Bids, Clearing, Trades, FloatArray]:
        """Clear the market.

        Args:
            peer: (n_bids,) rows of the peers that answered, ascending.
            fields: what they sent besides the round, arrays of n_bids rows; none when nobody answered.

        Returns:
            The bids as a table, the clearing, the trades between peers (rows of the population), and by how
            much each peer's net power moves from its firm power (n_peers,).
        """
        raise NotImplementedError

    def without(self, peer: IntArray, fields: tuple[FloatArray, ...], random: Streams) -> FloatArray:
        """What would change if only these had answered: that of `clear` (n_peers,), with no trace in the period.

        Args:
            peer: (n_bids,) rows of the peers.
            fields: what they sent.
            random: named random streams as `clear` will find them.
        """
        raise NotImplementedError

    def settle(self, start_s: int) -> Process:  # noqa: ARG002 - for those who have something to settle
        """What is due between the last round and the end of the period; by default nothing.

        Args:
            start_s: when the period has begun.
        """
        yield from ()

    def told_prices(self, trades: Trades, spread_eur_per_mwh: FloatArray) -> FloatArray:
        """Mean price that it tells each peer, NaN where there is none; (n_peers,)."""
        return mean_prices(trades, len(self.context.population), spread_eur_per_mwh)

    def _tell_baseline(self, peer: IntArray, fields: tuple[FloatArray, ...]) -> None:
        """Tell the DSO what the market would be without the TSO's request, where there is one."""
        context = self.context
        asked = context.population.requested_mw != 0.0
        if not asked.any():
            return
        others = ~asked[peer]
        change = self.without(
            peer[others], tuple(field[others] for field in fields), lambda name: deepcopy(context.random(name))
        )
        context.bus.send((Baseline(self.name, DSO, context.now.period, change),))

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
        spread, period_h = clearing.spread_eur_per_mwh, context.period_h
        now.trade_entries = [  # of the last round only
            settle_trades(trades, period_h=period_h, fee_eur_per_mwh=fee, dso=n + 1),
            settle_surplus(trades, spread, period_h=period_h, mediator=n + 2),
        ]
        price = self.told_prices(trades, spread)
        own = 0.0 if now.padding is None else now.padding.scheduled_mw  # bought from or sold to the mediator itself
        write_peers(context, ClearingNotice, self.name, (traded + own, change_mw, price))
        context.bus.send(
            ProposedTrades(self.name, to, now.period, trades.seller, trades.buyer, trades.p_mw, change_mw)
            for to in (DSO, SUPPLIER)
        )


def _called(arrived: Iterable[Any], period: int, number: int) -> bool:
    """Whether the DSO has asked for this round of negotiation."""
    return any(type(m) is Renegotiation and (m.period, m.round) == (period, number) for m in arrived)


def mean_prices(trades: Trades, n_agents: int, spread_eur_per_mwh: FloatArray) -> FloatArray:
    """Mean price of each agent's trades, what buyers pay the market included, NaN without; (n_agents,)."""
    both, weight = np.concatenate([trades.seller, trades.buyer]), np.tile(trades.p_mw, 2)
    paid_out = trades.price_eur_per_mwh
    paid_in = paid_out + spread_eur_per_mwh if spread_eur_per_mwh.size else paid_out
    value = np.bincount(both, weight * np.concatenate([paid_out, paid_in]), n_agents)
    volume = np.bincount(both, weight, n_agents)
    price: FloatArray = np.divide(value, volume, out=np.full(n_agents, np.nan), where=volume > 0.0)
    return price
