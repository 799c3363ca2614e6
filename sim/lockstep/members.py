"""The replicas of a lockstep run: each has peers and a market of its own, which decide as they do alone.

No process of theirs is started: `peerwatt.sim.lockstep.trading` asks them period by period.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, TypeVar

import numpy as np
from mesa import Agent, Model

from peerwatt.agents.bilateral import BilateralMarket
from peerwatt.agents.context import Context, PeriodDraft
from peerwatt.agents.deciding import Decider, Decision
from peerwatt.agents.market import Market
from peerwatt.agents.mediator import Mediator
from peerwatt.agents.messages import FloatArray, IntArray
from peerwatt.agents.peer import PeerGroup
from peerwatt.agents.records import Bids
from peerwatt.agents.strategies import Group, OnePeer
from peerwatt.errors import LockstepError
from peerwatt.grid.cases import GridCase
from peerwatt.grid.state import GridState
from peerwatt.market.clearing import Clearing, Trades
from peerwatt.market.mechanism import BookKind
from peerwatt.sim.assembly import make_bus, make_context
from peerwatt.sim.clock import Clock
from peerwatt.sim.scenario import Scenario
from peerwatt.sim.stopwatch import Stopwatch
from peerwatt.sim.streams import Streams
from peerwatt.sim.timeline import Condition

__all__ = ["Member", "enlisted"]

_GRID = ("vm_pu", "path_loading_percent")  # what is known of the grid only when its power flow has been solved

Known = TypeVar("Known", Group, OnePeer)


@dataclass(slots=True)
class _Watch:
    """Whether somebody has looked at what is not known yet."""

    looked: bool = False

    def unknown(self, group: Any) -> FloatArray:
        """In place of what is not known."""
        self.looked = True
        return np.full(len(group.name), np.nan)


class _BlindGroup(Group):
    """What peers know, without the grid's state; tells when somebody looks at it."""

    __slots__ = ("watch",)
    watch: _Watch
    vm_pu = property(lambda self: self.watch.unknown(self))
    path_loading_percent = property(lambda self: self.watch.unknown(self))

    def one(self, row: int) -> OnePeer:
        """View of one peer."""
        looked = self.watch.looked
        known = super().one(row)
        self.watch.looked = looked  # copying is not looking
        return _blinded(_BlindPeer, known, self.watch)


class _BlindPeer(OnePeer):
    """What one peer knows, without the grid's state; tells when somebody looks at it."""

    __slots__ = ("watch",)
    watch: _Watch
    vm_pu = property(lambda self: self._unknown())
    path_loading_percent = property(lambda self: self._unknown())

    def _unknown(self) -> float:
        self.watch.looked = True
        return np.nan


_COPIED = tuple(field.name for field in fields(Group) if field.name not in _GRID)


def _blinded(kind: type[Known], known: Known, watch: _Watch) -> Known:
    blind, put = kind.__new__(kind), object.__setattr__  # both are frozen
    for name in _COPIED:
        put(blind, name, getattr(known, name))
    put(blind, "watch", watch)
    return blind


class _BlindDecider(Decider):
    """The strategy of some peers, which is not shown the grid."""

    def __init__(self, context: Context, strategy: str, rows: IntArray) -> None:
        super().__init__(context, strategy, rows)
        self._watch = _Watch()

    def _knowledge(self, number: int) -> Group:
        return _blinded(_BlindGroup, super()._knowledge(number), self._watch)

    def decision(self, number: int) -> Decision:
        """What the strategy decides in a round, see `Decider.decision`.

        Raises:
            LockstepError: it has looked at the grid.
        """
        try:
            return super().decision(number)
        finally:
            if self._watch.looked:
                raise LockstepError(
                    f"strategy '{self.strategy}' looks at voltages or loadings, which replicas in lockstep have only "
                    "when all periods have been traded"
                )


class _Peers(PeerGroup):
    """Peers of one replica that share a strategy."""

    def __init__(self, model: Model, context: Context, strategy: str, rows: IntArray) -> None:
        super().__init__(model, context, strategy, rows)
        self._decider = _BlindDecider(context, strategy, rows)
        self._own = np.arange(len(rows))

    def limits(self) -> FloatArray:
        """The limit prices of all its peers; what they bid follows from them, see `PeerGroup.bids`."""
        limit = self._decider.decision(0).limit
        self._decider.experience.bid(self._own, limit, self.context.now.position.firm_mw[self.rows])
        return limit


class Member:
    """One replica.

    Args:
        stage: the Mesa model that its agents belong to.
        scenario: what is simulated.
        case: its grid.
        condition: the grid in every period.
        replica: number of the replica.
    """

    def __init__(self, stage: Model, scenario: Scenario, case: GridCase, condition: Condition, replica: int) -> None:
        self.replica = replica
        self.streams = Streams(scenario.seed, replica)
        bus = make_bus(scenario, Clock(), self.streams)
        self.context: Context = make_context(scenario, case, self.streams, bus, condition, Stopwatch(), _no_state)
        self.population = self.context.population
        self._groups = [
            _Peers(stage, self.context, name, rows)
            for name, (_, rows) in zip(self.population.strategy, self.context.roster, strict=True)
        ]
        steps = self.context.mechanism.book is BookKind.STEPS
        self._market: Market = (Mediator if steps else BilateralMarket)(stage, self.context, self.context.market)
        self._everybody = np.arange(len(self.population))

    def begin(self, draft: PeriodDraft, soc_mwh: FloatArray) -> None:
        """Begin a period.

        Args:
            draft: the period.
            soc_mwh: energy in the batteries at its begin, (n_peers,).
        """
        self.context.draft = draft
        self.population.batteries.soc_mwh = soc_mwh

    def limits(self) -> FloatArray:
        """Limit prices of the peers' firm power, (n_peers,)."""
        limit = np.empty(len(self.population))
        for group in self._groups:
            limit[group.rows] = group.limits()
        return limit

    def clear(self) -> tuple[Bids, Clearing, Trades, FloatArray]:
        """Clear its market, see `Market.clear`."""
        return self._market.clear(self._everybody, self._bids())

    def _bids(self) -> tuple[FloatArray, ...]:
        """The fields of what all peers send to the market, arrays of n_peers rows."""
        parts = [group.bids(group.rows, 0) for group in self._groups]
        if len(parts) == 1:
            return parts[0]
        order = np.concatenate([group.rows for group in self._groups]).argsort()
        return tuple(np.concatenate(field)[order] for field in zip(*parts, strict=True))

    def end(self) -> None:
        """Let go of the last period: its arrays are parts of those of all replicas, and agents die late."""
        self.context.draft = None
        self.population.batteries.soc_mwh = np.zeros(0)

    def learn(self, traded_mw: FloatArray, change_mw: FloatArray, price_eur_per_mwh: FloatArray) -> None:
        """Tell the peers what they have traded, each (n_peers,)."""
        for group in self._groups:
            rows = group.rows
            group.learn(rows, traded_mw[rows], change_mw[rows], price_eur_per_mwh[rows])


def enlisted(scenario: Scenario, case: GridCase, condition: Condition, replicas: Sequence[int]) -> list[Member]:
    """Build the replicas.

    Args:
        scenario: what is simulated.
        case: its grid, with the scenario's limits.
        condition: the grid in every period.
        replicas: numbers of the replicas.

    Raises:
        InputError: the scenario or the grid cannot be used.
    """
    stage = Model(seed=scenario.seed % 2**32)
    try:
        return [Member(stage, scenario, case, condition, replica) for replica in replicas]
    finally:
        Agent._ids.pop(stage, None)  # Mesa would keep the model for ever


def _no_state(stage: str, state: GridState) -> None:
    """The grid is evaluated elsewhere."""
