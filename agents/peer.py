"""Peers: consumers, producers and prosumers who trade with each other.

At `message` fidelity every peer is a process of its own that reacts to the messages it gets. At `round`
fidelity the peers that share a strategy are one process, which does the same with arrays. Both ask the same
strategy, once per period.
"""

from __future__ import annotations

import numpy as np
from mesa import Model

from peerwatt.agents.context import Context, Process, Role
from peerwatt.agents.flexibility import Position
from peerwatt.agents.messages import (
    Batch,
    Bid,
    CallForBids,
    ClearingNotice,
    ConnectionState,
    FloatArray,
    IntArray,
    Message,
    Offer,
)
from peerwatt.agents.population import KINDS
from peerwatt.agents.strategies import STRATEGIES, Group
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
        self._bids_period = -1

    def run(self) -> Process:
        """React to batches of messages for the peers of this group."""
        while True:
            yield self.inbox.arrival()
            for batch in self.inbox.take():
                self.react(batch)

    def react(self, batch: Batch) -> None:
        """Do for all peers that got a message what each would do."""
        context, population = self.context, self.context.population
        if batch.kind is ConnectionState:  # of use until a newer one is there
            newer = batch.period > population.told_period[batch.peer]
            peer, vm_pu, loading = batch.peer[newer], batch.fields[0][newer], batch.fields[1][newer]
            population.vm_pu[peer], population.path_loading_percent[peer] = vm_pu, loading
            population.told_period[peer] = batch.period
        elif batch.period != context.now.period:
            return  # too late to be of use
        elif batch.kind is CallForBids:
            kind = Bid if context.mechanism.book is BookKind.STEPS else Offer
            fields = tuple(field[np.searchsorted(self.rows, batch.peer)] for field in self.bids())
            context.bus.send_batch(Batch(kind, self.name, context.market, batch.period, batch.peer, fields))
        elif batch.kind is ClearingNotice:
            _, change, price = batch.fields
            population.p_change_mw[batch.peer] = change
            population.last_price_eur_per_mwh[batch.peer] = price

    def bids(self) -> tuple[FloatArray, ...]:
        """The fields of a `Bid` or an `Offer` of every peer of the group, decided once per period."""
        now = self.context.now
        if self._bids_period != now.period:
            position = now.position.of_rows(self.rows)
            limit = self._limit_prices(position)
            shape = position.steps if self.context.mechanism.book is BookKind.STEPS else position.cost
            self._bids = shape(limit, self.context.tariff)
            self._bids_period = now.period
        return self._bids

    def bid_of(self, row: int) -> tuple[FloatArray, ...]:
        """The fields of one peer's bid."""
        own = self._of_row[row]
        return tuple(field[own] for field in self.bids())

    def _limit_prices(self, position: Position) -> FloatArray:
        """What the strategy decides, (n_rows,)."""
        period = self.context.now.period
        try:
            limit = np.asarray(self._decide(self._knowledge(position)), dtype=np.float64)
        except PeerwattError:
            raise
        except Exception as error:
            raise AgentError(
                f"strategy '{self.strategy}' failed in period {period}: {type(error).__name__}: {error}"
            ) from error
        if limit.shape != (len(self.rows),):
            raise AgentError(
                f"strategy '{self.strategy}' returned shape {limit.shape} in period {period}; "
                f"it must return one price per peer, shape ({len(self.rows)},)"
            )
        if not np.isfinite(limit).all():
            row = int(np.flatnonzero(~np.isfinite(limit))[0])
            raise AgentError(
                f"strategy '{self.strategy}' gave peer '{self._names[row]}' the price {limit[row]} in period "
                f"{period}; a limit price is a finite number, EUR/MWh"
            )
        return limit

    def _knowledge(self, position: Position) -> Group:
        """What the peers of the group know."""
        context, population, rows = self.context, self.context.population, self.rows
        period, capacity = context.now.period, population.batteries.e_mwh[rows]
        soc = np.full(len(rows), np.nan)
        np.divide(population.batteries.soc_mwh[rows], capacity, out=soc, where=capacity > 0.0)
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
            fields = self.group.bid_of(row)
            kind = Bid if context.mechanism.book is BookKind.STEPS else Offer
            context.bus.send((kind(self.name, context.market, message.period, *fields),))
        elif type(message) is ClearingNotice:
            population.p_change_mw[row] = message.p_change_mw
            population.last_price_eur_per_mwh[row] = message.price_eur_per_mwh
