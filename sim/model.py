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
from peerwatt.agents.context import DSO, SUPPLIER, Context, Gates, PeriodDraft
from peerwatt.agents.devices import Outlook
from peerwatt.agents.dso import Dso
from peerwatt.agents.flexibility import Position
from peerwatt.agents.households import build_population
from peerwatt.agents.market import Market
from peerwatt.agents.mediator import Mediator
from peerwatt.agents.peer import Peer, PeerGroup, group_mailbox
from peerwatt.agents.population import KINDS
from peerwatt.agents.supplier import Supplier
from peerwatt.errors import PeerwattError, PowerFlowError, SimulationError
from peerwatt.grid.cases import GridCase, load_case
from peerwatt.grid.engine import make_engine
from peerwatt.grid.state import GridState
from peerwatt.market.mechanism import BookKind
from peerwatt.sim.bus import Bus, Link
from peerwatt.sim.clock import Clock
from peerwatt.sim.period import PeriodResult, publish
from peerwatt.sim.recorder import Recorder
from peerwatt.sim.results import Results
from peerwatt.sim.rows import Vocabulary
from peerwatt.sim.scenario import GridSettings, Scenario
from peerwatt.sim.stopwatch import Stopwatch
from peerwatt.sim.streams import Streams

__all__ = ["Simulation", "run"]


class Simulation(Model):
    """A run of one scenario.

    Args:
        scenario: what to simulate.
        out: results directory; nothing is written without one.
        case: a grid in place of the scenario's, e.g. from `peerwatt.grid.cases.case_from_net`.

    Attributes:
        period: number of the next period.
        last: result of the period before, None at the start.

    Raises:
        InputError: the scenario or the grid cannot be used; nothing has been written.
    """

    def __init__(self, scenario: Scenario | None = None, out: Path | None = None, case: GridCase | None = None) -> None:
        begin = perf_counter()
        scenario = Scenario.load() if scenario is None else scenario
        super().__init__(seed=scenario.seed % 2**32)
        self.settings = scenario
        self.streams = Streams(scenario.seed)
        self.stopwatch = Stopwatch()
        self.case = limited(_load(scenario) if case is None else case, scenario.grid)
        self.running: bool = True
        self.period = 0
        self.last: PeriodResult | None = None
        self.recorder: Recorder | None = None
        self._closed = False
        time = scenario.time
        self._profiles = self.case.series.window(np.datetime64(scenario.start, "s"), time.periods, time.period_s)
        self.clock = Clock()
        self.context = self._make_context()
        self._start_agents()
        if out is not None:
            self.recorder = Recorder(Path(out), scenario, self.case.network, self._vocabulary())
            self.recorder.write_peers(self._peer_rows())
        self._begin = begin
        self.stopwatch.add("set-up", perf_counter() - begin)

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
        context.draft = self._open()
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

    def _make_context(self) -> Context:
        scenario, case, streams = self.settings, self.case, self.streams
        communication = scenario.communication
        mechanism = scenario.market.build()
        population = build_population(case, scenario.population, streams["population"])
        market = "mediator" if mechanism.book is BookKind.STEPS else "p2p market"
        self._bus = Bus(
            self.clock,
            streams["communication"],
            Link(communication.latency_s, communication.jitter_s, communication.loss),
            frozenset((DSO, SUPPLIER, market)),
        )
        roster = tuple(
            (group_mailbox(name), np.flatnonzero(population.strategy_code == code))
            for code, name in enumerate(population.strategy)
        )
        return Context(
            clock=self.clock,
            bus=self._bus,
            by_message=communication.fidelity == "message",
            population=population,
            roster=roster,
            network=case.network,
            engine=make_engine(scenario.grid.engine, case.network, "grid.engine"),
            mechanism=mechanism,
            tariff=scenario.tariff,
            gates=Gates.within(scenario.time.period_s),
            period_s=scenario.time.period_s,
            start_hour=0.0,
            random=streams.__getitem__,
            spend=self.stopwatch,
            on_state=self._on_state,
        )

    def _start_agents(self) -> None:
        context = self.context
        steps = context.mechanism.book is BookKind.STEPS
        self.market: Market = (Mediator if steps else BilateralMarket)(self, context, context.market)
        self.dso = Dso(self, context)
        self.supplier = Supplier(self, context, SUPPLIER)
        self.groups = [
            PeerGroup(self, context, name, rows)
            for name, (_, rows) in zip(context.population.strategy, context.roster, strict=True)
        ]
        group_of = context.population.strategy_code
        self.peers = [Peer(self, context, row, self.groups[code]) for row, code in enumerate(group_of.tolist())]
        for role in (
            self.market,
            self.dso,
            self.supplier,
            *(self.peers if context.by_message else self.groups),
        ):
            role.start()

    def _open(self) -> PeriodDraft:
        """What happens in the next period and what the peers expect of it."""
        context, forecast = self.context, self.settings.forecast
        population, n = context.population, len(context.population)
        realised = population.outlook(self._profiles[self.period])
        errors = self.streams["forecast errors"].standard_normal((2, n))
        expected: Outlook = realised.scaled(
            np.maximum(1.0 + forecast.load_error * errors[0], 0.0),
            np.maximum(1.0 + forecast.generation_error * errors[1], 0.0),
        )
        battery = population.batteries.dispatch(expected.load_mw + expected.generation_mw, context.period_h)
        usual = expected.load_mw + expected.generation_mw + battery
        population.p_change_mw[:] = 0.0
        return PeriodDraft(
            period=self.period,
            start_s=self.period * context.period_s,
            forecast=expected,
            realised=realised,
            battery_mw=battery,
            position=Position.of(usual, expected.band_mw, context.tariff),
            p_traded_mw=np.zeros(n),
            p_change_mw=np.zeros(n),
            p_followed_mw=np.zeros(n),
            p_delivered_mw=np.full(n, np.nan),
            q_delivered_mvar=np.full(n, np.nan),
        )

    def _on_state(self, stage: str, state: GridState) -> None:
        if not state.converged and self.settings.grid.on_divergence == "stop":
            raise PowerFlowError(
                f"period {self.period} ({self.now:%Y-%m-%d %H:%M}), stage {stage}: {state.reason}; the scenario says "
                "grid.on_divergence: stop, so the run ends here; the periods before are kept"
            )

    def _vocabulary(self) -> Vocabulary:
        context = self.context
        others = (SUPPLIER, DSO, context.market, *(group.name for group in self.groups))
        return Vocabulary(context.population.name, context.market, others)

    def _peer_rows(self) -> dict[str, Any]:
        population = self.context.population
        load, generation = population.units.rated_mw(len(population))
        return {
            "agent": np.arange(len(population)),
            "bus": self.case.network.buses.index[population.bus],
            "kind": [KINDS[code] for code in population.kind().tolist()],
            "strategy": [population.strategy[code] for code in population.strategy_code.tolist()],
            "p_load_mw": load,
            "p_generation_mw": generation,
            "p_storage_mw": population.batteries.p_mw,
            "e_storage_mwh": population.batteries.e_mwh,
        }


def _load(scenario: Scenario) -> GridCase:
    """The scenario's grid; relative paths start at the scenario file."""
    return load_case(scenario.grid.case, profiles=scenario.grid.profiles, base_dir=scenario.base)


def limited(case: GridCase, settings: GridSettings) -> GridCase:
    """Put the scenario's own limits in place of the network's."""
    network = case.network
    buses, lines, trafos = network.buses, network.lines, network.trafos
    if settings.min_vm_pu is not None:
        buses = replace(buses, min_vm_pu=np.full(len(buses), settings.min_vm_pu))
    if settings.max_vm_pu is not None:
        buses = replace(buses, max_vm_pu=np.full(len(buses), settings.max_vm_pu))
    if settings.max_loading_percent is not None:
        lines = replace(lines, max_loading_percent=np.full(len(lines), settings.max_loading_percent))
        trafos = replace(trafos, max_loading_percent=np.full(len(trafos), settings.max_loading_percent))
    return replace(case, network=replace(network, buses=buses, lines=lines, trafos=trafos))


def _exit_state(error: BaseException | None, periods_left: int) -> tuple[str, str]:
    if error is None:
        return ("stopped", "closed before the last period") if periods_left else ("finished", "")
    if isinstance(error, KeyboardInterrupt):
        return "interrupted", "interrupted by the user"
    if isinstance(error, PowerFlowError):
        return "stopped", str(error)
    return "failed", str(error) if isinstance(error, PeerwattError) else f"{type(error).__name__}: {error}"


def run(
    scenario: Scenario | str | Path = "lv-village",
    out: str | Path | None = None,
    on_period: Callable[[Simulation], None] | None = None,
) -> Results:
    """Simulate a scenario and open its results.

    Args:
        scenario: a scenario, the name of a shipped one, or the path of a file.
        out: results directory; by default a new one, ``results/<name>-<date>-<time>``.
        on_period: called after each period.

    Raises:
        InputError: the scenario or the grid cannot be used.
        SimulationError: the run could not go on; what it computed is in the results directory.
    """
    chosen = scenario if isinstance(scenario, Scenario) else Scenario.load(scenario)
    directory = new_directory(chosen.name) if out is None else Path(out)
    with Simulation(chosen, directory) as simulation:
        simulation.run(on_period)
    return Results(directory)


def new_directory(name: str) -> Path:
    """A directory below ``results/`` that does not exist yet, by name and time."""
    stem = f"{name}-{datetime.now():%Y%m%d-%H%M%S}"
    path, copy = Path("results") / stem, 1
    while path.exists():
        copy += 1
        path = Path("results") / f"{stem}-{copy}"
    return path
