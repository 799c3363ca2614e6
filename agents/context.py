"""What every agent can reach: the clock, the bus, the population, the tariff, random numbers.

The clock and the bus are protocols here; `peerwatt.sim` provides them. An agent reaches others only through
the bus.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias

import numpy as np
from mesa import Agent, Model

from peerwatt.agents.conducts import Conduct
from peerwatt.agents.coordination import Design, LfmSettings
from peerwatt.agents.devices import N_PRODUCTS, Outlook
from peerwatt.agents.flexibility import Position
from peerwatt.agents.messages import Batch, FloatArray, IntArray, Message
from peerwatt.agents.offers import Markups
from peerwatt.agents.padding import Padding
from peerwatt.agents.population import Population
from peerwatt.agents.private import Private
from peerwatt.agents.records import Activated, Bids, CapacityRound, Regulation, RoundRecord
from peerwatt.agents.settings import TariffSettings
from peerwatt.agents.strategies import STRATEGIES, Prefers
from peerwatt.agents.timetable import Timetable
from peerwatt.grid.engine import Engine
from peerwatt.grid.network import Network
from peerwatt.grid.state import GridState
from peerwatt.market.clearing import Clearing, Trades
from peerwatt.market.mechanism import BookKind, Mechanism
from peerwatt.market.negotiation import Negotiating
from peerwatt.market.settlement import Entries

__all__ = [
    "AGGREGATOR",
    "DSO",
    "FMO",
    "MEDIATOR",
    "P2P_MARKET",
    "ROLES",
    "SUPPLIER",
    "Context",
    "Noise",
    "Outside",
    "PeriodDraft",
    "Process",
    "Role",
]

Process: TypeAlias = Generator[Any, Any, None]


class Mailbox(Protocol):
    """Where an agent's messages wait."""

    def arrival(self) -> Any:
        """Event that fires when there is something to take."""

    def take(self) -> list[Any]:
        """Take everything that has arrived."""


class Clock(Protocol):
    """Simulated time."""

    @property
    def now_s(self) -> int:
        """Seconds from the start of the run."""

    def start(self, process: Process, name: str) -> None:
        """Start a process."""

    def until(self, time_s: int) -> Any:
        """Event that fires at a time."""


class Bus(Protocol):
    """Message bus."""

    def mailbox(self, name: str) -> Mailbox:
        """Open a mailbox."""

    def send(self, messages: Iterable[Message]) -> None:
        """Send messages."""

    def send_batch(self, batch: Batch) -> None:
        """Send many equal messages as one batch."""

    def book(self, period: int, legs: Sequence[tuple[type[Message], str, str]], leg: IntArray) -> IntArray:
        """Book messages whose content travels elsewhere; when each arrives, -1 for those that are lost."""


DSO = "dso"
SUPPLIER = "supplier"
MEDIATOR = "mediator"
P2P_MARKET = "p2p market"
FMO = "fmo"
AGGREGATOR = "mediator (flexibility)"
TSO = "tso"
ROLES = frozenset((DSO, SUPPLIER, MEDIATOR, P2P_MARKET, FMO, AGGREGATOR, TSO))


@dataclass(frozen=True, slots=True)
class Noise:
    """Errors of what the DSO measures at connection points.

    Attributes:
        vm_pu: standard deviation of voltages.
        loading_percent: standard deviation of loadings.
    """

    vm_pu: float = 0.0
    loading_percent: float = 0.0


@dataclass(frozen=True, slots=True)
class Outside:
    """A flexible resource that is no peer.

    Attributes:
        name: its name on the bus and in the results.
        bus: position of its bus.
        p_mw: (n_products,) what it can do, see `peerwatt.agents.offers.PRODUCTS`.
        price_eur_per_mwh: (n_products,) what it wants.
    """

    name: str
    bus: int
    p_mw: FloatArray
    price_eur_per_mwh: FloatArray


@dataclass(slots=True)
class PeriodDraft:
    """What the agents work out in a period; becomes an immutable result at its end.

    Attributes:
        period: number of the period.
        forecast: what the peers expect.
        realised: what happens.
        battery_mw: (n_peers,) dispatch of the batteries, positive when discharging.
        position: what the peers bring to the market.
        p_traded_mw: (n_peers,) net power sold to other peers.
        p_change_mw: (n_peers,) by how much that moves net power from the firm power.
        p_followed_mw: (n_peers,) the part of it that the peers knew of when they delivered.
        p_delivered_mw, q_delivered_mvar: (n_peers,) what the meters say.
        bids: what the market received.
        clearing: what it made of it.
        trades: trades between peers.
        trade_entries: what the last round of trading has to pay.
        entries: every other euro of the period.
        states: grid by stage.
        rounds: record of each round of negotiation.
        flexibility: results of the flexibility markets.
        capacity: rounds of capacity trading.
        regulation: what the TSO asked for and got.
        limits_met: whether an iterative scheme ended with all limits held, None without one.
        ordered_mw: (n_peers, n_products) what has been activated of each peer, whether it has been told or not.
        p_activated_mw: (n_peers, n_products) what peers do for the DSO at delivery.
        aggregate_eur: (n_bus, n_products) what the mediator is paid for its peers' flexibility if all is delivered.
        outside_ordered_mw: (n_outside, n_products) what has been activated of each resource outside the P2P market.
        outside_mw: (n_outside, n_products) what each knows of it, and does.
        outside_eur: (n_outside, n_products) what each is paid for it.
        padding: what the mediator schedules beyond its auction, None if nothing.
    """

    period: int
    forecast: Outlook
    realised: Outlook
    battery_mw: FloatArray
    position: Position
    p_traded_mw: FloatArray
    p_change_mw: FloatArray
    p_followed_mw: FloatArray
    p_delivered_mw: FloatArray
    q_delivered_mvar: FloatArray
    bids: Bids | None = None
    clearing: Clearing | None = None
    trades: Trades = field(default_factory=Trades.none)
    trade_entries: list[Entries] = field(default_factory=list)
    entries: list[Entries] = field(default_factory=list)
    states: dict[str, GridState] = field(default_factory=dict)
    rounds: list[RoundRecord] = field(default_factory=list)
    flexibility: list[Activated] = field(default_factory=list)
    capacity: list[CapacityRound] = field(default_factory=list)
    regulation: Regulation | None = None
    limits_met: bool | None = None
    ordered_mw: FloatArray = field(default_factory=lambda: np.zeros((0, N_PRODUCTS)))
    p_activated_mw: FloatArray = field(default_factory=lambda: np.zeros((0, N_PRODUCTS)))
    aggregate_eur: FloatArray = field(default_factory=lambda: np.zeros((0, N_PRODUCTS)))
    outside_ordered_mw: FloatArray = field(default_factory=lambda: np.zeros((0, N_PRODUCTS)))
    outside_mw: FloatArray = field(default_factory=lambda: np.zeros((0, N_PRODUCTS)))
    outside_eur: FloatArray = field(default_factory=lambda: np.zeros((0, N_PRODUCTS)))
    padding: Padding | None = None


@dataclass(slots=True)
class Context:
    """Shared by all agents of a run.

    Attributes:
        clock, bus: time and communication.
        by_message: whether each message travels on its own (else in batches).
        population: the peers' numbers.
        roster: mailbox and rows of each group of peers, in the order in which they are written to.
        network, engine: the grid as it is in the current period, and what solves it.
        noise: errors of measurements in the current period.
        mechanism: how the market clears.
        conduct: what the mediator does beyond that.
        tariff: the outside option.
        design: how market and grid are brought together.
        lfm: rules of the flexibility market.
        markups: what peers want for flexibility.
        outside: flexible resources that are no peers.
        traders: rows of the peers in the P2P area; None for all.
        timetable: timetable of a period.
        period_s: length of a period.
        round_s: length of a round of negotiation: a message that was sent in one is there in the next.
        random: named random streams.
        spend: books the time that a part of the work took, for the summary.
        on_state: called with every state of the grid; raises where the run has to stop.
        draft: the current period.
        private: what peers who negotiate keep to themselves.
        row_of: row of each peer, by name.
        connection: positions of the buses at which peers or outside resources are, ascending.
        negotiates: whether peers negotiate with each other, rather than send the market their offers.
        has_terms: whether pairs of peers have costs besides the price: the DSO's signals, or peers' preferences.
    """

    clock: Clock
    bus: Bus
    by_message: bool
    population: Population
    roster: tuple[tuple[str, IntArray], ...]
    network: Network
    engine: Engine
    noise: Noise
    mechanism: Mechanism
    conduct: Conduct
    tariff: TariffSettings
    design: Design
    lfm: LfmSettings
    markups: Markups
    outside: tuple[Outside, ...]
    traders: IntArray | None
    timetable: Timetable
    period_s: int
    round_s: int
    random: Callable[[str], np.random.Generator]
    spend: Callable[[str], AbstractContextManager[None]]
    on_state: Callable[[str, GridState], None]
    draft: PeriodDraft | None = None
    private: Private = field(init=False)
    row_of: dict[str, int] = field(init=False)
    connection: IntArray = field(init=False)
    negotiates: bool = field(init=False)
    has_terms: bool = field(init=False)

    def __post_init__(self) -> None:
        self.negotiates = isinstance(self.mechanism, Negotiating)
        prefer = any(isinstance(STRATEGIES.get(name), Prefers) for name in self.population.strategy)
        self.has_terms = prefer or self.design.scheme is not None
        self.private = Private(len(self.population))
        self.row_of = {name: row for row, name in enumerate(self.population.name)}
        self.connection = np.unique([*self.population.bus.tolist(), *(fsp.bus for fsp in self.outside)])

    def round_number(self, number: int) -> int:
        """Number of a round of the current period, counted through the run."""
        return self.now.period * len(self.timetable.rounds) + number

    @property
    def has_tso(self) -> bool:
        """Whether there is a TSO, with a virtual load among the peers."""
        return bool(self.population.virtual.any())

    @property
    def market(self) -> str:
        """Name of who runs the market."""
        return MEDIATOR if self.mechanism.book is BookKind.STEPS else P2P_MARKET

    @property
    def n_accounts(self) -> int:
        """Accounts of the ledger: peers, supplier, DSO, market, resources outside the market."""
        return len(self.population) + 3 + len(self.outside)

    def connection_of(self, bus: IntArray) -> IntArray:
        """Number of the connection point at each bus."""
        return np.searchsorted(self.connection, bus)

    @property
    def period_h(self) -> float:
        """Length of a period, h."""
        return self.period_s / 3600.0

    @property
    def now(self) -> PeriodDraft:
        """The current period."""
        if self.draft is None:
            raise RuntimeError("no period has been opened")
        return self.draft


class Role(Agent):
    """An agent with a name, a mailbox and a process on the clock.

    Args:
        model: the Mesa model it belongs to.
        context: what it can reach.
        name: its name on the bus and in the results.
    """

    def __init__(self, model: Model, context: Context, name: str) -> None:
        super().__init__(model)
        self.context = context
        self.name = name
        self.inbox = context.bus.mailbox(name)

    def start(self) -> None:
        """Start its process."""
        self.context.clock.start(self.run(), self.name)

    def run(self) -> Process:
        """React to messages, for ever."""
        raise NotImplementedError

    def wait_for(self, *kinds: type[Message]) -> Generator[Any, Any, Any]:
        """Wait for a message of some kinds about the current period; others are read by `overheard`."""
        while True:
            yield self.inbox.arrival()
            found = None
            for message in self.inbox.take():
                if found is None and type(message) in kinds and message.period == self.context.now.period:
                    found = message
                else:
                    self.overheard(message)
            if found is not None:
                return found

    def overheard(self, message: Message) -> None:
        """Take note of a message that came while waiting for another; by default it is dropped."""
