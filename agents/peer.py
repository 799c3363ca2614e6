"""Peers: consumers, producers and prosumers who trade with each other.

At `message` fidelity every peer is a process of its own that reacts to the messages it gets. At `round`
fidelity the peers that share a strategy are one process, which does the same with arrays. Both ask the same
strategy, once per round.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from mesa import Model

from peerwatt.agents.bargaining import Bargaining
from peerwatt.agents.context import Context, Process, Role
from peerwatt.agents.flexibility import Position
from peerwatt.agents.messages import (
    Activation,
    Batch,
    Bid,
    BlockingList,
    CallForBids,
    CallForFlexibility,
    CapacityNotice,
    CapacityOffer,
    CapacityRequest,
    ClearingNotice,
    ConnectionState,
    FlexibilityBid,
    FloatArray,
    IntArray,
    Message,
    Offer,
    OfferWithTerms,
    TradeTerms,
)
from peerwatt.agents.offers import DIRECTION, flexibility_offers
from peerwatt.agents.population import KINDS
from peerwatt.agents.proposals import Enrolment, Introduction
from peerwatt.agents.strategies import STRATEGIES, Group, Resells
from peerwatt.errors import AgentError, PeerwattError
from peerwatt.market.mechanism import BookKind

__all__ = ["Peer", "PeerGroup", "group_mailbox"]


def group_mailbox(strategy: str) -> str:
    """Name on the bus of the peers that share a strategy."""
    return f"peers ({strategy})"


class PeerGroup(Role):
    """The peers that share a strategy; at round fidelity their process.

    Args:
        model: the Mesa model.
        context: what it can reach.
        strategy: registered name of the strategy.
        rows: rows of these peers in the population.
    """

    def __init__(self, model: Model, context: Context, strategy: str, rows: IntArray) -> None:
        super().__init__(model, context, group_mailbox(strategy))
        self.strategy = strategy
        self.rows = rows
        self._decide = STRATEGIES.get(strategy)
        self._names = tuple(context.population.name[row] for row in rows)
        self._of_row = {int(row): i for i, row in enumerate(rows)}
        self._bids: tuple[FloatArray, ...] = ()
        self._decided = (-1, -1)

    def run(self) -> Process:
        """React to batches of messages for the peers of this group."""
        while True:
            yield self.inbox.arrival()
            for batch in self.inbox.take():
                self.react(batch)

    def react(self, batch: Batch) -> None:
        """Do for all peers that got a message what each would do."""
        context, population, peer = self.context, self.context.population, batch.peer
        if batch.kind is ConnectionState:  # of use until a newer one is there
            newer = batch.period > population.told_period[peer]
            vm_pu, loading = batch.fields[0][newer], batch.fields[1][newer]
            population.vm_pu[peer[newer]], population.path_loading_percent[peer[newer]] = vm_pu, loading
            population.told_period[peer[newer]] = batch.period
        elif batch.period != context.now.period:
            return  # too late to be of use
        elif batch.kind is CallForBids:
            number = int(batch.fields[1][0])
            self.begin_round(peer)
            own = np.searchsorted(self.rows, peer)
            fields = (np.full(len(peer), number), *(field[own] for field in self.bids(number)))
            context.bus.send_batch(Batch(self.answer, self.name, context.market, batch.period, peer, fields))
        elif batch.kind is ClearingNotice:
            self.learn(peer, *batch.fields)
        elif batch.kind is BlockingList:
            population.terms.hear_list(peer, int(batch.fields[0][0]), *batch.fields[1:])
        elif batch.kind is TradeTerms:
            population.terms.hear_costs(peer, int(batch.fields[0][0]), *batch.fields[1:])
        elif batch.kind is CallForFlexibility:
            fields = self.flexibility(peer)
            context.bus.send_batch(Batch(FlexibilityBid, self.name, batch.sender, batch.period, peer, fields))
        elif batch.kind is Activation:
            self.obey(peer, *batch.fields)
        elif batch.kind is CapacityRequest:
            answer = (batch.fields[0], *self.capacity(peer, batch.fields[2]))
            context.bus.send_batch(Batch(CapacityOffer, self.name, context.market, batch.period, peer, answer))
        elif batch.kind is CapacityNotice:
            self.obey(peer, batch.fields[0], 0.0)

    @property
    def answer(self) -> type[Bid] | type[Enrolment] | type[Offer] | type[OfferWithTerms]:
        """What its peers send when called for bids."""
        if self.context.negotiates:
            return Enrolment
        if self.context.mechanism.book is BookKind.STEPS:
            return Bid
        return Offer if self.context.design.scheme is None else OfferWithTerms

    def begin_round(self, peer: IntArray) -> None:
        """What was traded in an earlier round counts no more."""
        population = self.context.population
        population.p_traded_mw[peer] = population.p_change_mw[peer] = 0.0

    def learn(
        self, peer: IntArray, traded: FloatArray | float, change: FloatArray | float, price: FloatArray | float
    ) -> None:
        """Peers are told what they have traded."""
        population = self.context.population
        population.p_traded_mw[peer], population.p_change_mw[peer] = traded, change
        if self.context.negotiates:  # the organiser knows no price
            price = self.context.private.mean_price[peer]
        population.last_price_eur_per_mwh[peer] = price

    def obey(self, peer: IntArray, p_mw: FloatArray, paid_eur: FloatArray | float) -> None:
        """Peers are told what to do for the DSO, on top of what they were told before."""
        population = self.context.population
        population.p_activated_mw[peer] += p_mw
        population.flexibility_eur[peer] += paid_eur

    def bids(self, number: int) -> tuple[FloatArray, ...]:
        """The fields of a `Bid` or an offer of every peer of the group, decided once per round."""
        context, now = self.context, self.context.now
        if self._decided != (now.period, number):
            population = context.population
            position = now.position.of_rows(self.rows).committed(population.p_activated_mw[self.rows])
            if population.terms.lists:
                terms = population.terms
                position = position.restrained(terms.may_feed[self.rows], terms.may_draw[self.rows])
            group = self._knowledge(position)
            limit = self._asked(self._decide, group, "price", "a limit price is a finite number, EUR/MWh")
            shape = position.steps if context.mechanism.book is BookKind.STEPS else position.cost
            self._bids = shape(limit, context.tariff)
            if context.mechanism.book is BookKind.QUADRATIC and isinstance(self._decide, Resells):
                resale = self._asked(self._decide.resale_mw, group, "resale", "power is a finite number, MW")
                against = np.where(position.producer, -1.0, 1.0) * np.maximum(resale, 0.0)
                self._bids[0][:, 0] += np.minimum(against, 0.0)
                self._bids[1][:, 0] += np.maximum(against, 0.0)
            if context.mechanism.book is BookKind.QUADRATIC and context.design.scheme is not None:
                self._bids += context.population.terms.of(self.rows, context.round_number(number))
            if context.negotiates:
                self._bids = self._enrolment(*self._bids)
            self._decided = (now.period, number)
        return self._bids

    def _enrolment(
        self, p_min: FloatArray, p_max: FloatArray, a: FloatArray, b: FloatArray, *terms: FloatArray
    ) -> tuple[np.ndarray, ...]:
        """The fields of an `Enrolment`; costs stay with the peers."""
        self.context.private.put(self.rows, a, b, *terms)
        everybody = np.ones((len(self.rows), 0), dtype=np.bool_)
        return (p_min, p_max, *([np.isfinite(each) for each in terms] or [everybody] * 2))

    def bid_of(self, row: int, number: int) -> tuple[FloatArray, ...]:
        """The fields of one peer's bid."""
        own = self._of_row[row]
        return tuple(field[own] for field in self.bids(number))

    def flexibility(self, peer: IntArray) -> tuple[FloatArray, FloatArray]:
        """The fields of a `FlexibilityBid` of some peers, by what each knows now.

        Args:
            peer: rows of the peers.
        """
        context, now, population = self.context, self.context.now, self.context.population
        power, price = flexibility_offers(
            now.forecast.of_rows(peer),
            now.position.of_rows(peer),
            population.p_traded_mw[peer],
            population.p_change_mw[peer],
            context.markups.of_rows(peer),
            context.lfm,
            context.tariff,
        )
        return np.maximum(power - population.p_activated_mw[peer], 0.0), price

    def capacity(self, peer: IntArray, direction: IntArray) -> tuple[FloatArray, FloatArray]:
        """The power and the prices, EUR per MW and period, of a `CapacityOffer` of some peers of the group.

        Args:
            peer: rows of the peers.
            direction: direction that each is asked for.
        """
        power, price = self.flexibility(peer)
        asked = direction[:, None] == DIRECTION
        return np.where(asked, power, 0.0), price * self.context.period_h

    def _asked(self, decide: Callable[[Group], FloatArray], group: Group, what: str, wanted: str) -> FloatArray:
        """What the strategy decides, (n_rows,).

        Args:
            decide: the question.
            group: what its peers know.
            what: name of the answer for the message of an error.
            wanted: what the answer should be.
        """
        period = self.context.now.period
        try:
            answer = np.asarray(decide(group), dtype=np.float64)
        except PeerwattError:
            raise
        except Exception as error:
            raise AgentError(
                f"strategy '{self.strategy}' failed in period {period}: {type(error).__name__}: {error}"
            ) from error
        if answer.shape != (len(self.rows),):
            raise AgentError(
                f"strategy '{self.strategy}' returned shape {answer.shape} in period {period}; "
                f"it must return one {what} per peer, shape ({len(self.rows)},)"
            )
        if not np.isfinite(answer).all():
            row = int(np.flatnonzero(~np.isfinite(answer))[0])
            raise AgentError(
                f"strategy '{self.strategy}' gave peer '{self._names[row]}' the {what} {answer[row]} in period "
                f"{period}; {wanted}"
            )
        return answer

    def _knowledge(self, position: Position) -> Group:
        """What the peers of the group know."""
        context, population, rows = self.context, self.context.population, self.rows
        period, capacity = context.now.period, population.batteries.e_mwh[rows]
        soc = np.full(len(rows), np.nan)
        np.divide(population.batteries.soc_mwh[rows], capacity, out=soc, where=capacity > 0.0)
        sell_incentive, buy_incentive = population.terms.best_incentives(rows)
        return Group(
            name=self._names,
            period=period,
            hour=(period * context.period_h) % 24.0,  # a run starts at midnight
            p_mw=position.usual_mw,
            producer=position.producer,
            soc=soc,
            vm_pu=population.vm_pu[rows],
            path_loading_percent=population.path_loading_percent[rows],
            last_price_eur_per_mwh=population.last_price_eur_per_mwh[rows],
            supply_eur_per_mwh=context.tariff.supply_eur_per_mwh,
            feed_in_eur_per_mwh=context.tariff.feed_in_eur_per_mwh,
            sell_incentive_eur_per_mwh=sell_incentive,
            buy_incentive_eur_per_mwh=buy_incentive,
            imbalance_short_eur_per_mwh=context.tariff.shortfall_eur_per_mwh,
            imbalance_long_eur_per_mwh=context.tariff.excess_eur_per_mwh,
            rng=context.random(f"strategy {self.strategy}"),
        )


class Peer(Role):
    """One peer: a view on its row of the population, and at message fidelity a process.

    Args:
        model: the Mesa model.
        context: what it can reach.
        row: its row in the population.
        group: the peers that share its strategy.
    """

    def __init__(self, model: Model, context: Context, row: int, group: PeerGroup) -> None:
        super().__init__(model, context, context.population.name[row])
        self.row = row
        self.group = group
        self._own = np.array([row])
        self._bargaining: Bargaining | None = None

    @property
    def strategy(self) -> str:
        """Name of its trading strategy."""
        return self.group.strategy

    @property
    def kind(self) -> str:
        """What it is: consumer, producer or prosumer."""
        return KINDS[self.context.population.kind()[self.row]]

    @property
    def soc_mwh(self) -> float:
        """Energy in its battery, MWh."""
        return float(self.context.population.batteries.soc_mwh[self.row])

    @soc_mwh.setter
    def soc_mwh(self, value: float) -> None:
        self.context.population.batteries.soc_mwh[self.row] = value

    @property
    def vm_pu(self) -> float:
        """Voltage at its connection point, as the DSO told it last, pu."""
        return float(self.context.population.vm_pu[self.row])

    @property
    def path_loading_percent(self) -> float:
        """Highest loading on its way to the external grid, as the DSO told it last, percent."""
        return float(self.context.population.path_loading_percent[self.row])

    def run(self) -> Process:
        """React to messages."""
        while True:
            yield self.inbox.arrival()
            self.read_mail()

    def read_mail(self) -> None:
        """React to what has arrived."""
        for message in self.inbox.take():
            self.react(message)

    def react(self, message: Message) -> None:
        """Answer a call for bids; remember what it is told."""
        context, population, row = self.context, self.context.population, self.row
        if type(message) is ConnectionState:
            if message.period > population.told_period[row]:  # of use until a newer one is there
                population.vm_pu[row] = message.vm_pu
                population.path_loading_percent[row] = message.path_loading_percent
                population.told_period[row] = message.period
        elif message.period != context.now.period:
            return  # too late to be of use
        elif type(message) is CallForBids:
            self.group.begin_round(self._own)
            fields: tuple[Any, ...] = self.group.bid_of(row, message.round)
            context.bus.send((self.group.answer(self.name, context.market, message.period, message.round, *fields),))
        elif type(message) is ClearingNotice:
            self.group.learn(self._own, message.p_traded_mw, message.p_change_mw, message.price_eur_per_mwh)
        elif type(message) is BlockingList:
            causes = (message.sell_cause[None, :], message.buy_cause[None, :])
            alone = (np.array([message.feed_cause]), np.array([message.draw_cause]))
            population.terms.hear_list(self._own, message.round, *causes, *alone)
        elif type(message) is TradeTerms:
            costs = (message.sell_cost[None, :], message.buy_cost[None, :])
            population.terms.hear_costs(self._own, message.round, *costs)
        elif type(message) is CallForFlexibility:
            power, price = (field[0] for field in self.group.flexibility(self._own))
            context.bus.send((FlexibilityBid(self.name, message.sender, message.period, power, price),))
        elif type(message) is Activation:
            self.group.obey(self._own, message.p_mw, message.paid_eur)
        elif type(message) is CapacityRequest:
            power, price = self.group.capacity(self._own, np.array([message.direction]))
            answer = CapacityOffer(self.name, context.market, message.period, message.round, power[0], price[0])
            context.bus.send((answer,))
        elif type(message) is CapacityNotice:
            self.group.obey(self._own, message.p_mw, 0.0)
        elif type(message) is Introduction:
            p_min, p_max = self.group.bid_of(row, message.round)[:2]
            self._bargaining = Bargaining(context, row, (p_min, p_max), message)
            context.clock.start(self._bargaining.run(self.read_mail), self.name)
        elif self._bargaining is not None:
            self._bargaining.hear(message)
