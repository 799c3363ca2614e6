"""The mediator: runs an auction for its peers (conceptual models 1 and 3 of EUniversal D5.3, figures 7, 9 and 10).

It clears the scenario's auction. Where the DSO sends signals (CM3) this is one that takes what pairs cost besides the
price, and which are blocked (`peerwatt.market.mechanism.PairMechanism`).

By its conduct (`peerwatt.agents.conducts`) it may schedule flexible steps that the auction has not accepted.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from peerwatt.agents.context import Process
from peerwatt.agents.flexibility import N_STEPS
from peerwatt.agents.market import Market, Streams
from peerwatt.agents.messages import Bid, BoolArray, FloatArray, GridSignals, IntArray
from peerwatt.agents.padding import OpenSteps, Padding
from peerwatt.agents.records import Bids
from peerwatt.market.book import StepBook
from peerwatt.market.clearing import Clearing, Status, Trades
from peerwatt.market.feasibility import feasible
from peerwatt.market.mechanism import PairMechanism

__all__ = ["Mediator"]


class Mediator(Market):
    """Collects price-quantity steps and clears them with the scenario's auction.

    The first step of a bid is the peer's firm power: it flows whether it is traded or not. The others are
    flexibility: they flow only if they are accepted.
    """

    answer = Bid
    _signals: GridSignals | None = None

    def listen(self, arrived: Iterable[Any]) -> None:
        """The DSO's signals of this period; they come on the operators' own lines, so always in time."""
        period = self.context.now.period
        found = [message for message in arrived if type(message) is GridSignals and message.period == period]
        self._signals = found[-1] if found else None

    def clear(self, peer: IntArray, fields: tuple[FloatArray, ...]) -> tuple[Bids, Clearing, Trades, FloatArray]:
        """Clear the steps of all peers, and schedule what the conduct wants beyond."""
        bids, clearing, accepted, change = self._auction(peer, fields, self.context.random)
        padding = self._padding(bids, accepted, change, self.context.random)
        self.context.now.padding = padding
        return bids, clearing, clearing.trades, change if padding is None else change + padding.scheduled_mw

    def without(self, peer: IntArray, fields: tuple[FloatArray, ...], random: Streams) -> FloatArray:
        """What would change if only these had sent bids, (n_peers,)."""
        bids, _, accepted, change = self._auction(peer, fields, random)
        padding = self._padding(bids, accepted, change, random)
        return change if padding is None else change + padding.scheduled_mw

    def _auction(
        self, peer: IntArray, fields: tuple[FloatArray, ...], random: Streams
    ) -> tuple[Bids, Clearing, FloatArray, FloatArray]:
        """Bids, clearing, what of each step is accepted (n_steps,), and what that changes (n_peers,)."""
        context, n = self.context, len(self.context.population)
        power, price = fields or (np.empty((0, N_STEPS)), np.empty((0, N_STEPS)))
        agent = np.repeat(peer, N_STEPS)
        step = np.tile(np.arange(N_STEPS), len(peer))
        offered = np.flatnonzero((power * self._free(peer, power)).ravel())
        p_mw, limit, agent, step = (
            power.ravel()[offered],
            price.ravel()[offered],
            agent[offered],
            step[offered],
        )
        book = StepBook(agent, p_mw, limit, n, context.period_h)
        with context.spend("market"):
            clearing = feasible(book, self._matched(book, random("tie-breaking")))
        zero = np.zeros(len(p_mw))
        bids = Bids(agent, step, np.minimum(p_mw, zero), np.maximum(p_mw, zero), zero, limit)
        change = np.zeros(n)
        if clearing.status is Status.OPTIMAL:
            flexible = step > 0
            np.add.at(change, agent[flexible], clearing.accepted_mw[flexible])
            accepted = clearing.accepted_mw
        else:
            accepted = zero
        return bids, clearing, accepted, change

    def _padding(self, bids: Bids, accepted_mw: FloatArray, change_mw: FloatArray, random: Streams) -> Padding | None:
        """What its conduct wants scheduled beyond the auction, which changes `change_mw`, (n_peers,)."""
        context, tariff = self.context, self.context.tariff
        p_mw, limit = bids.p_min_mw + bids.p_max_mw, bids.cost_b
        loss = np.where(p_mw < 0.0, tariff.supply_eur_per_mwh - limit, limit - tariff.feed_in_eur_per_mwh)
        bus = context.population.bus[bids.peer]
        steps = OpenSteps.of(bids.peer, bus, bids.step, p_mw, accepted_mw, np.maximum(loss, 0.0))
        chosen = context.conduct.schedule(steps, random("conduct"))
        return Padding(steps.only(chosen), change_mw) if chosen.any() else None

    def settle(self, start_s: int) -> Process:
        """At the meter: what became of what was scheduled beyond the auction."""
        context = self.context
        yield context.clock.until(start_s + context.timetable.delivery_s + 1)
        now, n = context.now, len(context.population)
        if now.padding is not None:
            paid = now.padding.settled(now.p_followed_mw, context.period_h, mediator=n + 2, dso=n + 1)
            now.entries.append(paid)
            context.conduct.learn(now.padding)

    def _free(self, peer: IntArray, power: FloatArray) -> BoolArray:
        """Steps that may be matched, (n_bids, n_steps): no flexibility of peers that must not move by themselves."""
        free = np.ones(power.shape, dtype=np.bool_)
        if self._signals is not None:
            sells = power.sum(axis=1) > 0.0
            cause = np.where(sells, self._signals.feed_cause[peer], self._signals.draw_cause[peer])
            free[cause >= 0, 1:] = False
        return free

    def _matched(self, book: StepBook, rng: np.random.Generator) -> Clearing:
        signals, mechanism = self._signals, self.context.mechanism
        if signals is None:
            return mechanism.clear(book, rng)
        assert isinstance(mechanism, PairMechanism)  # a scenario with another one is refused
        blocked = signals.cause >= 0
        return mechanism.clear_pairs(
            book, np.where(blocked, np.inf, signals.seller_cost), np.where(blocked, np.inf, signals.buyer_cost)
        )
