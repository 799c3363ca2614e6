"""The flexibility market operator: runs the local flexibility market on the DSO's request (D5.3, section 5.2.1).

It knows bids, connection points, and of the grid what `FlexibilityNeed` carries. Its result goes to the DSO, which
may send it back with tightened limits; providers are told when the DSO has said that it stands.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from mesa import Model

from peerwatt.agents.context import AGGREGATOR, DSO, FMO, Context, Process, Role
from peerwatt.agents.coordination import LfmSettings, Participant
from peerwatt.agents.correspondence import read_peers, write_peers
from peerwatt.agents.messages import FloatArray, IntArray
from peerwatt.agents.offers import DIRECTION, PRODUCTS
from peerwatt.agents.records import Activated
from peerwatt.agents.services import (
    Activation,
    AggregateActivation,
    AggregateBid,
    CallForFlexibility,
    FlexibilityBid,
    FlexibilityNeed,
    FlexibilityResult,
    Verdict,
)
from peerwatt.market.clearing import Status
from peerwatt.market.flexibility import FlexibilityBook, FlexibilityClearing, Pricing
from peerwatt.market.lfm import FlexibilityOptions, clear_flexibility

__all__ = ["Fmo"]

_N = len(PRODUCTS)


@dataclass(frozen=True, slots=True)
class _Rows:
    """Bids of one kind of bidder, one row per bidder or, for the mediator, per connection point.

    Attributes:
        account: ledger account of each row. (n_rows,)
        node: position of its connection point in `Context.connection`. (n_rows,)
        p_mw, price: (n_rows, n_products).
    """

    account: IntArray
    node: IntArray
    p_mw: FloatArray
    price: FloatArray


class Fmo(Role):
    """Runs the flexibility market.

    Args:
        model: the Mesa model.
        context: what it can reach.
        settings: rules of the market.
        participants: who may offer.
        allowed: (n_connections,) which connection points are in its area.
    """

    def __init__(
        self,
        model: Model,
        context: Context,
        settings: LfmSettings,
        participants: Sequence[Participant],
        allowed: np.ndarray[Any, np.dtype[np.bool_]],
    ) -> None:
        super().__init__(model, context, FMO)
        self._participants = frozenset(participants)
        self._options = FlexibilityOptions(balanced=settings.balanced, pricing=Pricing(settings.pricing))
        self._allowed = allowed

    def run(self) -> Process:
        """Wait for a need; call, collect, clear; tell."""
        context = self.context
        while True:
            yield self.inbox.arrival()
            needs = [message for message in self.inbox.take() if type(message) is FlexibilityNeed]
            if not needs:
                continue
            need = needs[-1]
            gate_s = need.period * context.period_s + context.timetable.windows[need.cycle].gate_s
            self._call(gate_s)
            yield context.clock.until(gate_s)
            rows, found = self._collected(self.inbox.take()), []
            while True:
                found.append(self._clear(rows, need))
                context.bus.send((self._result(rows, found[-1][0]),))
                answer = yield from self.wait_for(FlexibilityNeed, Verdict)
                if type(answer) is Verdict:
                    break
                need = answer
            clearing, book = found[max(answer.correction, 0)]
            self._tell(rows, clearing, book, need.cycle, nothing=answer.correction < 0)

    def _call(self, gate_s: int) -> None:
        context, period = self.context, self.context.now.period
        if Participant.PEERS in self._participants:
            write_peers(context, CallForFlexibility, self.name, (float(gate_s),))
        others = [AGGREGATOR] if Participant.MEDIATOR in self._participants else []
        others += [fsp.name for fsp in context.outside] if Participant.OUTSIDE in self._participants else []
        context.bus.send(CallForFlexibility(self.name, to, period, float(gate_s)) for to in others)

    def _collected(self, arrived: list[Any]) -> dict[str, _Rows]:
        """Bids by bidder: `peers`, `mediator`, or the name of a resource outside."""
        context, rows = self.context, {}
        outside = {fsp.name: k for k, fsp in enumerate(context.outside)}
        single = [message for message in arrived if getattr(message, "sender", None) not in outside]
        peer, fields = read_peers(context, single, FlexibilityBid)
        n = len(context.population)
        if len(peer):
            rows["peers"] = _Rows(peer, context.connection_of(context.population.bus[peer]), *fields)
        for message in arrived:
            if getattr(message, "period", None) != context.now.period:
                continue
            if type(message) is AggregateBid:
                account = np.full(len(message.node), n + 2)
                node = context.connection_of(message.node)
                rows["mediator"] = _Rows(account, node, message.p_mw, message.price_eur_per_mwh)
            elif type(message) is FlexibilityBid and message.sender in outside:
                k = outside[message.sender]
                node = context.connection_of(np.array([context.outside[k].bus]))
                power, price = message.p_mw[None, :], message.price_eur_per_mwh[None, :]
                rows[message.sender] = _Rows(np.array([n + 3 + k]), node, power, price)
        return rows

    def _clear(self, rows: dict[str, _Rows], need: FlexibilityNeed) -> tuple[FlexibilityClearing, FlexibilityBook]:
        """Clear all bids; each product of each row is a bid."""
        context, parts = self.context, list(rows.values())
        account = _joined([each.account for each in parts], np.int64)
        node = _joined([each.node for each in parts], np.int64)
        p_mw = _joined([each.p_mw for each in parts], np.float64).reshape(-1, _N)
        price = _joined([each.price for each in parts], np.float64).reshape(-1, _N)
        p_mw = np.where(self._allowed[node][:, None], p_mw, 0.0)
        kind = np.where(account[:, None] < len(context.population) + 3, np.arange(_N), _N)  # outside: active power only
        book = FlexibilityBook(
            owner=np.repeat(account, _N),
            node=(kind * len(context.connection) + node[:, None]).ravel(),
            direction=np.tile(DIRECTION, len(node)),
            p_max_mw=p_mw.ravel(),
            price_eur_per_mwh=price.ravel(),
            n_agents=context.n_accounts,
            period_h=context.period_h,
        )
        with context.spend("market"):
            return clear_flexibility(book, need.limits, self._options), book

    def _result(self, rows: dict[str, _Rows], clearing: FlexibilityClearing) -> FlexibilityResult:
        """What would be activated of whom."""
        context = self.context
        activated = np.nan_to_num(clearing.activated_mw).reshape(-1, _N)
        peers, outside = np.zeros((len(context.population), _N)), np.zeros((len(context.outside), _N))
        aggregate = np.zeros((context.network.n_bus, _N))
        for bidder, own, part in _parts(rows):
            if bidder == "peers":
                peers[own.account] = activated[part]
            elif bidder == "mediator":
                np.add.at(aggregate, context.connection[own.node], activated[part])
            else:
                outside[own.account - len(context.population) - 3] = activated[part]
        solved = clearing.status in (Status.OPTIMAL, Status.INFEASIBLE, Status.EMPTY)
        return FlexibilityResult(FMO, DSO, context.now.period, peers, aggregate, outside, solved)

    def _tell(
        self,
        rows: dict[str, _Rows],
        clearing: FlexibilityClearing,
        book: FlexibilityBook,
        cycle: int,
        *,
        nothing: bool,
    ) -> None:
        """Tell every provider what it has to do, nothing if so; payments are booked when it has been delivered."""
        context, now, n = self.context, self.context.now, len(self.context.population)
        stands = 0.0 if nothing else 1.0
        activated = stands * np.nan_to_num(clearing.activated_mw).reshape(-1, _N)
        paid = stands * np.nan_to_num(clearing.paid_eur).reshape(-1, _N)
        now.flexibility.append(
            Activated(
                cycle=cycle,
                account=book.owner,
                bus=context.connection[book.node % len(context.connection)],
                product=np.tile(np.arange(_N), len(activated)),
                offered_mw=book.p_max_mw,
                activated_mw=activated.ravel(),
                bid_eur_per_mwh=book.price_eur_per_mwh,
                paid_eur=paid.ravel(),
                clearing=clearing,
            )
        )
        for bidder, own, part in _parts(rows):
            if bidder == "peers":
                power, due = np.zeros((2, n, _N))
                power[own.account], due[own.account] = activated[part], paid[part]
                now.ordered_mw += power
                write_peers(context, Activation, self.name, (power, due), only=own.account)
            elif bidder == "mediator":
                context.bus.send((AggregateActivation(self.name, AGGREGATOR, now.period, activated[part], paid[part]),))
            else:
                now.outside_ordered_mw[own.account - n - 3] += activated[part]
                context.bus.send((Activation(self.name, bidder, now.period, activated[part][0], paid[part][0]),))


def _parts(rows: dict[str, _Rows]) -> Iterator[tuple[str, _Rows, slice]]:
    """Each bidder, its bids, and where they are among those of all."""
    begin = 0
    for bidder, own in rows.items():
        yield bidder, own, slice(begin, begin + len(own.node))
        begin += len(own.node)


def _joined(parts: list[Any], kind: type) -> Any:
    return np.concatenate(parts) if parts else np.empty(0, dtype=kind)
