"""What every agent can reach: the clock, the bus, the population, the tariff, random numbers.

The clock and the bus are protocols here; `peerwatt.sim` provides them. An agent reaches others only through
the bus.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias

import numpy as np
from mesa import Agent, Model

from peerwatt.agents.devices import Outlook
from peerwatt.agents.flexibility import Position
from peerwatt.agents.messages import Batch, FloatArray, IntArray, Message
from peerwatt.agents.population import Population
from peerwatt.agents.settings import TariffSettings
from peerwatt.grid.engine import Engine
from peerwatt.grid.network import Network
from peerwatt.grid.state import GridState
from peerwatt.market.clearing import Clearing, Trades
from peerwatt.market.mechanism import BookKind, Mechanism
from peerwatt.market.settlement import Entries

__all__ = [
    "DSO",
    "MEDIATOR",
    "P2P_MARKET",
    "ROLES",
    "SUPPLIER",
    "Bids",
    "Context",
    "Gates",
    "Noise",
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


DSO = "dso"
SUPPLIER = "supplier"
MEDIATOR = "mediator"
P2P_MARKET = "p2p market"
ROLES = frozenset((DSO, SUPPLIER, MEDIATOR, P2P_MARKET))


@dataclass(frozen=True, slots=True)
class Gates:
    """The timetable of a period, as seconds from its start; all strictly inside it.

    Attributes:
        gate_s: bids are due before.
        check_s: the DSO evaluates the traded schedule.
        delivery_s: energy is delivered and metered.
    """

    gate_s: int
    check_s: int
    delivery_s: int

    @classmethod
    def within(cls, period_s: int) -> Gates:
        """Gate at a third, check at half, delivery at five sixths of a period."""
        return cls(period_s // 3, period_s // 2, period_s * 5 // 6)


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
class Bids:
    """What a market received, as a table; arrays (n_rows,).

    Attributes:
        peer: row of the peer, -1 for the supplier.
        step: number of the step of this peer's bid.
        p_min_mw, p_max_mw: bounds of net power.
        cost_a: EUR/MW2h, 0 for price steps.
        cost_b: EUR/MWh, the limit price of price steps.
    """

    peer: IntArray
    step: IntArray
    p_min_mw: FloatArray
    p_max_mw: FloatArray
    cost_a: FloatArray
    cost_b: FloatArray


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
        entries: every euro of the period.
        states: grid by stage.
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
    entries: list[Entries] = field(default_factory=list)
    states: dict[str, GridState] = field(default_factory=dict)


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
        tariff: the outside option.
        gates: timetable of a period.
        period_s: length of a period.
        random: named random streams.
        spend: books the time that a part of the work took, for the summary.
        on_state: called with every state of the grid; raises where the run has to stop.
        draft: the current period.
        row_of: row of each peer, by name.
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
    tariff: TariffSettings
    gates: Gates
    period_s: int
    random: Callable[[str], np.random.Generator]
    spend: Callable[[str], AbstractContextManager[None]]
    on_state: Callable[[str, GridState], None]
    draft: PeriodDraft | None = None
    row_of: dict[str, int] = field(init=False)

    def __post_init__(self) -> None:
        self.row_of = {name: row for row, name in enumerate(self.population.name)}

    @property
    def market(self) -> str:
        """Name of who runs the market."""
        return MEDIATOR if self.mechanism.book is BookKind.STEPS else P2P_MARKET

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
