"""Peers: consumers, producers and prosumers who trade with each other.

At `message` fidelity every peer is a process of its own that reacts to the messages it gets. At `round`
fidelity the peers that share a strategy are one process, which does the same with arrays. Both ask the same
strategy, once per round, when the first of its peers is called. What each offers at the price that it was given follows
from what it knows itself when its own call arrives.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from mesa import Model

from peerwatt.agents.bargaining import Bargaining
from peerwatt.agents.context import Context, Process, Role
from peerwatt.agents.deciding import Decider, Decision
from peerwatt.agents.flexibility import Position
from peerwatt.agents.messages import (
    Batch,
    Bid,
    BlockingList,
    CallForBids,
    ClearingNotice,
    ConnectionState,
    FloatArray,
    IntArray,
    Message,
    Offer,
    OfferWithTerms,
    TradeTerms,
)
from peerwatt.agents.offers import DIRECTION, flexibility_offers
from peerwatt.agents.orders import FlexibilityDirective, VirtualLoadRequest
from peerwatt.agents.population import KINDS
from peerwatt.agents.proposals import Enrolment, Introduction
from peerwatt.agents.services import (
    Activation,
    CallForFlexibility,
    CapacityNotice,
    CapacityOffer,
    CapacityRequest,
    FlexibilityBid,
)
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
        self._decider = Decider(context, strategy, rows)
        self._drafted = (-1, -1)
        self._draft: tuple[FloatArray, ...] | None = None

    def run(self) -> Process:
        """React to batches of messages for the peers of this group."""
        while True:
            yield self.inbox.arrival()
            for batch in self.inbox.take():
                self.react(batch)

    def react(self, batch: Batch) -> None:
        """Do for all peers that got a message what each would do."""
        context, population, peer = self.context, self.context.population, batch.peer
        if batch.kind is not CallForBids:
            self.heard()
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
            fields = (np.full(len(peer), number), *self.bids(peer, number))
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
        elif batch.kind is FlexibilityDirective:
            population.directive.hear(peer, *batch.fields)
            self.heard()
        elif batch.kind is VirtualLoadRequest:
            population.requested_mw[peer], population.request_eur_per_mwh[peer] = batch.fields
            self.heard()

    @property
    def answer(self) -> type[Bid] | type[Enrolment] | type[Offer] | type[OfferWithTerms]:
        """What its peers send when called for bids."""
        if self.context.negotiates:
            return Enrolment
        if self.context.mechanism.book is BookKind.STEPS:
            return Bid
        return OfferWithTerms if self.context.has_terms else Offer

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
        self._decider.experience.told(np.searchsorted(self.rows, peer), traded - change)
        if self.context.negotiates:  # the organiser knows no price
            price = self.context.private.mean_price[peer]
        population.last_price_eur_per_mwh[peer] = price

    def obey(self, peer: IntArray, p_mw: FloatArray, paid_eur: FloatArray | float) -> None:
        """Peers are told what to do for the DSO, (n, n_products), on top of what they were told before."""
        population = self.context.population
        population.p_activated_mw[peer] += p_mw
        population.flexibility_eur[peer] += paid_eur

    def bids(self, peer: IntArray, number: int) -> tuple[FloatArray, ...]:
        """The fields of a `Bid` or an offer of some peers of the group, by what each knows now.

        Args:
            peer: (n,) rows of the peers.
            number: round that they are called for.

        Returns:
            Arrays of n rows.
        """
        own, now = np.searchsorted(self.rows, peer), (self.context.now.period, number)
        limit = self._decider.decision(number).limit[own]
        if self._drafted != now:  # for all at once, which serves until somebody hears something
            self._draft, self._drafted = self._draw_up(np.arange(len(self.rows)), number), now
        draft = self._draw_up(own, number) if self._draft is None else tuple(field[own] for field in self._draft)
        firm_mw, *fields = draft
        self._decider.experience.bid(own, limit, firm_mw)
        if not self.context.negotiates:
            return tuple(fields)
        p_min, p_max, a, b, *terms = fields
        self.context.private.put(peer, a, b, *terms)  # costs stay with the peers
        everybody = np.ones((len(peer), 0), dtype=np.bool_)
        return (p_min, p_max, *([np.isfinite(each) for each in terms] or [everybody] * 2))

    def heard(self) -> None:
        """A peer has been told something: what was drawn up before may be out of date."""
        self._draft = None

    def _draw_up(self, own: IntArray, number: int) -> tuple[FloatArray, ...]:
        """The firm power of some peers, and the fields of what they offer at the prices that were decided."""
        context, decision, peer = self.context, self._decider.decision(number), self.rows[own]
        position, limit = self._position(peer), decision.limit[own]
        if context.mechanism.book is BookKind.STEPS:
            return position.firm_mw, *position.steps(limit, context.tariff)
        p_min, p_max, a, b = position.cost(limit, context.tariff)
        if decision.resale_mw is not None:
            against = np.where(position.producer, -1.0, 1.0) * decision.resale_mw[own]
            p_min[:, 0] += np.minimum(against, 0.0)
            p_max[:, 0] += np.maximum(against, 0.0)
        terms = self._terms(decision, own, number) if context.has_terms else ()
        return position.firm_mw, p_min, p_max, a, b, *terms

    def _position(self, peer: IntArray) -> Position:
        """What peers bring to the market, by what each knows of orders, activations and its blocking list."""
        now, population = self.context.now, self.context.population
        position = now.position.of_rows(peer).asked_for(
            population.requested_mw[peer], population.request_eur_per_mwh[peer]
        )
        position = population.directive.of_rows(peer).position(position).committed(population.p_activated_mw[peer])
        terms = population.terms
        return position.restrained(terms.may_feed[peer], terms.may_draw[peer]) if terms.lists else position

    def _terms(self, decision: Decision, own: IntArray, number: int) -> tuple[FloatArray, FloatArray]:
        """Cost of selling to and of buying from each partner: the DSO's, and the peers' own preference."""
        context, rows = self.context, self.rows[own]
        if context.design.scheme is None:
            sell, buy = np.zeros((2, len(rows), len(context.population)))
        else:
            sell, buy = context.population.terms.of(rows, context.round_number(number))
        if decision.preference is not None:
            sell += decision.preference[0][own]
            buy += decision.preference[1][own]
        return sell, buy

    def flexibility(self, peer: IntArray) -> tuple[FloatArray, FloatArray]:
        """The fields of a `FlexibilityBid` of some peers, by what each knows now.

        Args:
            peer: rows of the peers.
        """
        context, now, population = self.context, self.context.now, self.context.population
        return flexibility_offers(
            now.forecast.of_rows(peer),
            now.position.of_rows(peer),
            population.p_traded_mw[peer],
            population.p_change_mw[peer],
            population.p_activated_mw[peer],
            context.markups.of_rows(peer),
            context.lfm,
            context.tariff,
        )

    def capacity(self, peer: IntArray, direction: IntArray) -> tuple[FloatArray, FloatArray]:
        """The power and the prices, EUR per MW and period, of a `CapacityOffer` of some peers of the group.

        Args:
            peer: rows of the peers.
            direction: direction that each is asked for.
        """
        power, price = self.flexibility(peer)
        asked = direction[:, None] == DIRECTION
        return np.where(asked, power, 0.0), price * self.context.period_h


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
        self._sent: tuple[FloatArray, ...] = ()

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
        if type(message) is not CallForBids:
            self.group.heard()
        if type(message) is ConnectionState:
            if message.period > population.told_period[row]:  # of use until a newer one is there
                population.vm_pu[row] = message.vm_pu
                population.path_loading_percent[row] = message.path_loading_percent
                population.told_period[row] = message.period
        elif message.period != context.now.period:
            return  # too late to be of use
        elif type(message) is CallForBids:
            self.group.begin_round(self._own)
            self._sent = tuple(field[0] for field in self.group.bids(self._own, message.round))
            answer: Any = self.group.answer
            context.bus.send((answer(self.name, context.market, message.period, message.round, *self._sent),))
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
            offer = CapacityOffer(self.name, context.market, message.period, message.round, power[0], price[0])
            context.bus.send((offer,))
        elif type(message) is CapacityNotice:
            self.group.obey(self._own, message.p_mw, 0.0)
        elif type(message) is FlexibilityDirective:
            order = (message.room_mw, message.released_mw, message.reactive, message.paid_eur)
            population.directive.hear(self._own, np.asarray(message.p_mw)[None, :], *order)
            self.group.heard()
        elif type(message) is VirtualLoadRequest:
            population.requested_mw[row] = message.p_mw
            population.request_eur_per_mwh[row] = message.price_eur_per_mwh
            self.group.heard()
        elif type(message) is Introduction:
            self._bargaining = Bargaining(context, row, (self._sent[0], self._sent[1]), message)
            context.clock.start(self._bargaining.run(self.read_mail), self.name)
        elif self._bargaining is not None:
            self._bargaining.hear(message)
