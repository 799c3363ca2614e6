"""From a scenario to what its agents share: the grid with its limits, the population, the market, the bus."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from peerwatt.agents.context import DSO, MEDIATOR, P2P_MARKET, SUPPLIER, Context, Gates
from peerwatt.agents.households import build_population
from peerwatt.agents.peer import group_mailbox
from peerwatt.grid.cases import GridCase, load_case
from peerwatt.grid.state import GridState
from peerwatt.grid.transform import with_limits
from peerwatt.sim.bus import Bus, Link
from peerwatt.sim.clock import Clock
from peerwatt.sim.scenario import GridSettings, Scenario
from peerwatt.sim.stopwatch import Stopwatch
from peerwatt.sim.streams import Streams
from peerwatt.sim.timeline import Condition

__all__ = ["limited", "load_grid", "make_bus", "make_context"]


def load_grid(scenario: Scenario) -> GridCase:
    """The scenario's grid; relative paths start at the scenario file."""
    return load_case(scenario.grid.case, profiles=scenario.grid.profiles, base_dir=scenario.base)


def limited(case: GridCase, settings: GridSettings) -> GridCase:
    """Put the scenario's own limits in place of the network's."""
    limits = settings.model_dump(include={"min_vm_pu", "max_vm_pu", "max_loading_percent"}, exclude_none=True)
    return with_limits(case, **limits) if limits else case


def make_bus(scenario: Scenario, clock: Clock, streams: Streams) -> Bus:
    """Build the message bus: links as the scenario says, and a backbone between the operators."""
    link = scenario.communication
    operators = frozenset((DSO, SUPPLIER, MEDIATOR, P2P_MARKET))
    return Bus(clock, streams["communication"], Link(link.latency_s, link.jitter_s, link.loss), operators)


def make_context(
    scenario: Scenario,
    case: GridCase,
    streams: Streams,
    bus: Bus,
    condition: Condition,
    stopwatch: Stopwatch,
    on_state: Callable[[str, GridState], None],
) -> Context:
    """Build what the agents of a run share.

    Args:
        scenario: what is simulated.
        case: its grid.
        streams: random streams of the run.
        bus: message bus on the run's clock.
        condition: the grid in the first period.
        stopwatch: books where the time goes.
        on_state: called with every state of the grid.

    Raises:
        ScenarioError: the population cannot be built.
    """
    population = build_population(case, scenario.population, streams["population"])
    return Context(
        clock=bus.clock,
        bus=bus,
        by_message=scenario.communication.fidelity == "message",
        population=population,
        roster=tuple(
            (group_mailbox(name), np.flatnonzero(population.strategy_code == code))
            for code, name in enumerate(population.strategy)
        ),
        network=condition.network,
        engine=condition.engine,
        noise=condition.noise,
        mechanism=scenario.market.build(),
        tariff=scenario.tariff,
        gates=Gates.within(scenario.time.period_s),
        period_s=scenario.time.period_s,
        random=streams.__getitem__,
        spend=stopwatch,
        on_state=on_state,
    )
