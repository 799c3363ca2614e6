"""The simulation: one Mesa model whose step is one market period.

    with Simulation(Scenario.load("lv-village")) as simulation:
        simulation.run()

A script, the browser page and a batch all drive the same thing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from time import perf_counter
from types import TracebackType
from typing import Any, Self

import numpy as np
from mesa import Agent, Model

from peerwatt.agents.bilateral import BilateralMarket
from peerwatt.agents.capacity import CapacityMarket
from peerwatt.agents.context import AGGREGATOR, DSO, FMO, SUPPLIER, TSO, Role
from peerwatt.agents.coordination import Participant, Service
from peerwatt.agents.dso import Dso
from peerwatt.agents.fmo import Fmo
from peerwatt.agents.fsp import Aggregator, OutsideProvider
from peerwatt.agents.idle import idle_additions
from peerwatt.agents.mediator import Mediator
from peerwatt.agents.negotiation import NegotiatedMarket
from peerwatt.agents.peer import Peer, PeerGroup
from peerwatt.agents.regulation import regulation_source
from peerwatt.agents.supplier import Supplier
from peerwatt.agents.tso import Tso
from peerwatt.errors import Fault, PeerwattError, PowerFlowError, SimulationError
from peerwatt.grid.cases import GridCase
from peerwatt.grid.forecast import ForecastErrors
from peerwatt.grid.state import GridState
from peerwatt.market.mechanism import BookKind
from peerwatt.sim.assembly import flexibility_area, limited, load_grid, make_bus, make_context, peer_rows
from peerwatt.sim.clock import Clock
from peerwatt.sim.inventory import Inventory
from peerwatt.sim.period import PeriodResult, open_period, publish
from peerwatt.sim.recorder import Recorder, refuse_used
from peerwatt.sim.rows import Vocabulary
from peerwatt.sim.scenario import Scenario
from peerwatt.sim.stopwatch import Stopwatch
from peerwatt.sim.streams import Streams
from peerwatt.sim.timeline import Timeline

__all__ = ["Simulation"]


class Simulation(Model):
    """A run of one scenario.

    Args:
        scenario: what to simulate.
        out: results directory; nothing is written without one.
        case: a grid in place of the scenario's, e.g. from `peerwatt.grid.cases.case_from_net`.
        replica: number of the replica; each draws everything anew, the same for the same number.

    Attributes:
        period: number of the next period.
        last: result of the period before, None at the start.
        warnings: what was understood in a way that the user should know of; also in `manifest.json`.

    Raises:
        InputError: the scenario or the grid cannot be used; nothing has been written.
    """

    def __init__(
        self,
        scenario: Scenario | None = None,
        out: Path | None = None,
        case: GridCase | None = None,
        replica: int = 0,
    ) -> None:
        begin = perf_counter()
        scenario = Scenario.load() if scenario is None else scenario
        scenario.load_plugins()
        if out is not None:
            refuse_used(Path(out))
        super().__init__(seed=scenario.seed % 2**32)
        self.settings = scenario
        self.streams = Streams(scenario.seed, replica)
        self.stopwatch = Stopwatch()
        self.case = limited(load_grid(scenario) if case is None else case, scenario.grid)
        self.warnings: tuple[Fault, ...] = self.case.warnings
        self.running: bool = True
        self.period = 0
        self.last: PeriodResult | None = None
        self.recorder: Recorder | None = None
        self._closed = False
        self._begin = begin
        time = scenario.time
        self._profiles = self.case.series.window(np.datetime64(scenario.start, "s"), time.periods, time.period_s)
        self.clock = Clock()
        self._bus = make_bus(scenario, self.clock, self.streams)
        self._timeline = Timeline(
            scenario.events, self.case.network, scenario.grid.engine, scenario.start, time.periods, time.period_s
        )
        first = self._timeline.at(0)
        self.context = make_context(scenario, self.case, self.streams, self._bus, first, self.stopwatch, self._on_state)
        population, begins = self.context.population, np.datetime64(scenario.start, "s")
        self._profiles = population.moved.beside(self._profiles, self.case.series, begins, time.period_s)
        self.warnings += idle_additions(population, self._profiles)
        n, forecast = population.n_real, scenario.forecast
        self._errors = (
            ForecastErrors(forecast.load(), n, (self.streams["load forecast"],)),
            ForecastErrors(forecast.generation(), n, (self.streams["generation forecast"],)),
        )
        try:
            self._start_agents()
            if out is not None:
                self.recorder = Recorder(
                    Path(out), scenario, self.case.network, self._vocabulary(), replica, self.warnings
                )
                self.recorder.write_peers(peer_rows(self.context.population, self.case.network))
                self.recorder.write_inputs(self.inventory())
        except BaseException:
            self.close()
            raise
        self.stopwatch.add("set-up", perf_counter() - begin)

    def inventory(self) -> Inventory:
        """What was understood of grid and profiles."""
        return Inventory.take(self.case, self.context.population, self._profiles, self.context.period_h)

    @property
    def n_periods(self) -> int:
        """Number of periods of the scenario."""
        return self.settings.time.periods

    @property
    def now(self) -> datetime:
        """Simulated time at the start of the next period."""
        return self.settings.start + self.period * (self.settings.end - self.settings.start) / self.n_periods

    def step(self) -> None:
        """Simulate one period; does nothing once the run is over.

        Raises:
            PowerFlowError: a power flow has no solution and the scenario says stop.
            AgentError: code of an agent raised.
        """
        if not self.running:
            return
        if self.period >= self.n_periods:
            self.running = False
            return
        begin = perf_counter()
        known = sum(self.stopwatch.seconds.values())
        context, length_s = self.context, self.settings.time.period_s
        condition = self._timeline.at(self.period)
        context.network, context.engine, context.noise = condition.network, condition.engine, condition.noise
        self._bus.link = replace(self._bus.link, loss=max(self.settings.communication.loss, condition.loss))
        supplied = condition.supplied[context.population.bus]
        left_h = (self.n_periods - self.period - 1) * context.period_h
        context.draft = open_period(context, self.period, self._profiles[self.period], self._errors, supplied, left_h)
        try:
            self.clock.run_until((self.period + 1) * length_s)
            context.population.batteries.apply(context.draft.battery_mw, context.period_h)
            self.last = publish(context.draft, context, self._bus.take_record())
        except Exception:
            self.running = False
            raise
        booked = sum(self.stopwatch.seconds.values()) - known
        self.stopwatch.add("agents", perf_counter() - begin - booked)
        if self.recorder is not None:
            with self.stopwatch("recording"):
                self.recorder.add(self.last)
        self.period += 1
        self.running = self.period < self.n_periods

    def run(self, on_period: Callable[[Simulation], None] | None = None) -> None:
        """Simulate all periods that are left, then close the run; also when it fails or is interrupted.

        Args:
            on_period: called after each period, e.g. to show progress.
        """
        try:
            while self.running:
                self.step()
                if on_period is not None:
                    on_period(self)
        except BaseException as error:
            self.close(error)
            raise
        self.close()

    def close(self, error: BaseException | None = None) -> None:
        """End the run: write what is left to write, release the model.

        Args:
            error: why it ends early.
        """
        if self._closed:
            return
        self._closed, self.running = True, False
        # Mesa keeps a counter per model, and by it the model, for ever.
        Agent._ids.pop(self, None)
        if self.recorder is not None:
            state, reason = _exit_state(error, self.n_periods - self.period)
            with self.stopwatch("recording"):
                self.recorder.close(state, reason, self.stopwatch.seconds, perf_counter() - self._begin)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close(error)

    def __getstate__(self) -> Any:
        raise SimulationError(
            "a running simulation cannot be pickled or copied; send its scenario (`simulation.settings`) instead"
        )

    def _start_agents(self) -> None:
        context = self.context
        self.market = self._market()
        self.dso = Dso(self, context)
        self.supplier = Supplier(self, context, SUPPLIER)
        self.groups = [
            PeerGroup(self, context, name, rows)
            for name, (_, rows) in zip(context.population.strategy, context.roster, strict=True)
        ]
        self.flexibility_market = self._flexibility_roles()
        group_of = context.population.strategy_code
        self.peers = [Peer(self, context, row, self.groups[code]) for row, code in enumerate(group_of.tolist())]
        for role in (
            *self._tso(),  # its request is on its way before the call for bids
            self.market,
            self.dso,
            self.supplier,
            *self.flexibility_market,
            *(self.peers if context.by_message else self.groups),
        ):
            role.start()

    def _market(self) -> Role:
        """Who runs the market: of capacity for an explicit service, else of energy."""
        context = self.context
        if context.design.service is Service.EXPLICIT:
            return CapacityMarket(self, context, context.market)
        if context.negotiates:
            return NegotiatedMarket(self, context, context.market)
        steps = context.mechanism.book is BookKind.STEPS
        return (Mediator if steps else BilateralMarket)(self, context, context.market)

    def _tso(self) -> list[Role]:
        """The TSO, where it may ask for something."""
        if not self.context.has_tso:
            return []
        return [Tso(self, self.context, regulation_source(self.settings.tso, self.streams["frequency"]))]

    def _flexibility_roles(self) -> list[Role]:
        """The FMO and who offers flexibility to it besides the peers."""
        context, scenario = self.context, self.settings
        if not context.design.lfm:
            return []
        allowed = flexibility_area(context.design, self.case.network, context.connection)
        roles: list[Role] = [Fmo(self, context, scenario.flexibility, scenario.participants, allowed)]
        roles += [OutsideProvider(self, context, number) for number in range(len(context.outside))]
        if Participant.MEDIATOR in scenario.participants:
            roles.append(Aggregator(self, context))
        return roles

    def _on_state(self, stage: str, state: GridState) -> None:
        if not state.converged and self.settings.grid.on_divergence == "stop":
            raise PowerFlowError(
                f"period {self.period} ({self.now:%Y-%m-%d %H:%M}), stage {stage}: {state.reason}; the scenario says "
                "grid.on_divergence: stop, so the run ends here; the periods before are kept"
            )

    def _vocabulary(self) -> Vocabulary:
        context = self.context
        outside = tuple(fsp.name for fsp in context.outside)
        groups = (group.name for group in self.groups)
        others = (SUPPLIER, DSO, context.market, *outside, FMO, AGGREGATOR, TSO, *groups)
        return Vocabulary(context.population.name, context.market, others)


def _exit_state(error: BaseException | None, periods_left: int) -> tuple[str, str]:
    if error is None:
        return ("stopped", "closed before the last period") if periods_left else ("finished", "")
    if isinstance(error, KeyboardInterrupt):
        return "interrupted", "interrupted by the user"
    if isinstance(error, PowerFlowError):
        return "stopped", str(error)
    return "failed", str(error) if isinstance(error, PeerwattError) else f"{type(error).__name__}: {error}"
