"""From a scenario to what its agents share: the grid with its limits, the population, the market, the bus."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from peerwatt.agents.context import ROLES, Context, Outside
from peerwatt.agents.coordination import Design, LfmSettings
from peerwatt.agents.households import build_population
from peerwatt.agents.messages import BoolArray, IntArray
from peerwatt.agents.offers import Markups
from peerwatt.agents.peer import group_mailbox
from peerwatt.agents.policies import SignalKind
from peerwatt.agents.population import KINDS, Population
from peerwatt.agents.terms import Terms
from peerwatt.agents.timetable import Timetable
from peerwatt.errors import Fault, GridDataError, ScenarioError
from peerwatt.grid.cases import GridCase, load_case
from peerwatt.grid.lookup import Elements
from peerwatt.grid.network import Network
from peerwatt.grid.state import GridState
from peerwatt.grid.transform import scale_impedance, scale_line_capacity, scale_trafo, with_limits
from peerwatt.sim.bus import Bus, Link
from peerwatt.sim.clock import Clock
from peerwatt.sim.scenario import Scenario
from peerwatt.sim.settings import GridSettings
from peerwatt.sim.stopwatch import Stopwatch
from peerwatt.sim.streams import Streams
from peerwatt.sim.timeline import Condition

__all__ = ["flexibility_area", "limited", "load_grid", "make_bus", "make_context", "peer_rows"]

_NO_RATING_KA = 9_999.0  # how pandapower's networks say that a line has none


def load_grid(scenario: Scenario) -> GridCase:
    """The scenario's grid; relative paths start at the scenario file."""
    profiles = scenario.grid.profiles
    file = None if profiles is None else profiles.file
    return load_case(scenario.grid.case, profiles=file, base_dir=scenario.base, profile_format=profiles)


def limited(case: GridCase, settings: GridSettings) -> GridCase:
    """Scale the network as the scenario says and put its limits in; lines that no limit can hold are warned of."""
    lines = case.network.lines
    unrated = int(np.count_nonzero(lines.rating_ka >= _NO_RATING_KA))
    if unrated:
        problem = f"{unrated:,} of {len(lines):,} lines have no rating (max_i_ka of {_NO_RATING_KA:,.0f} or more)"
        warning = Fault(case.name, f"{problem}, so they are never congested", "give them max_i_ka")
        case = replace(case, warnings=(*case.warnings, warning))
    for scale, factor in (
        (scale_line_capacity, settings.line_capacity_factor),
        (scale_impedance, settings.line_impedance_factor),
        (scale_trafo, settings.trafo_capacity_factor),
    ):
        case = case if factor == 1.0 else scale(case, factor)
    limits = settings.model_dump(include={"min_vm_pu", "max_vm_pu", "max_loading_percent"}, exclude_none=True)
    return with_limits(case, **limits) if limits else case


def outside_resources(lfm: LfmSettings, network: Network, population: Population) -> tuple[Outside, ...]:
    """Flexible resources that are no peers.

    Raises:
        ScenarioError: an unknown bus, or a name that somebody else has.
    """
    found, faults, taken = [], [], {*population.name, *ROLES}
    for k, each in enumerate(lfm.outside):
        where = f"flexibility.outside.{k}"
        if each.name in taken:
            faults.append(Fault(f"{where}.name", f"'{each.name}' is the name of another agent", "take another"))
        taken.add(each.name)
        try:
            bus = _buses(network, (each.bus,), f"{where}.bus")[0]
        except ScenarioError as error:
            faults += error.faults
            continue
        power = np.array([each.up_mw, each.down_mw, 0.0])
        found.append(Outside(each.name, bus, power, np.array([each.up_eur_per_mwh, each.down_eur_per_mwh, 0.0])))
    if faults:
        raise ScenarioError(faults)
    return tuple(found)


def traders(design: Design, network: Network, population: Population) -> IntArray | None:
    """Rows of the peers in the P2P area, None for all.

    Raises:
        ScenarioError: an unknown bus, or an area without peers.
    """
    if design.p2p_area is None:
        return None
    buses = _buses(network, design.p2p_area, "coordination.p2p_area")
    rows = np.flatnonzero(np.isin(population.bus, buses))
    if not rows.size:
        fault = Fault("coordination.p2p_area", "no peer is at these buses", "name buses of peers, see peer.parquet")
        raise ScenarioError(fault)
    return rows


def flexibility_area(design: Design, network: Network, connection: IntArray) -> BoolArray:
    """Which connection points are in the area of the flexibility market, (n_connections,).

    Raises:
        ScenarioError: an unknown bus, or an area without connection points.
    """
    if design.lfm_area is None:
        return np.ones(len(connection), dtype=np.bool_)
    inside = np.isin(connection, _buses(network, design.lfm_area, "coordination.lfm_area"))
    if not inside.any():
        raise ScenarioError(Fault("coordination.lfm_area", "nobody who could offer flexibility is at these buses"))
    return inside


def _buses(network: Network, buses: Sequence[str | int], where: str) -> list[int]:
    """Positions of buses by name or index."""
    try:
        return Elements(network, "bus").rows(buses, where)
    except GridDataError as error:
        raise ScenarioError(error.faults) from error


def _check_requests(scenario: Scenario, population: Population) -> None:
    """Refuse requests of the TSO that no market can meet.

    Raises:
        ScenarioError: they come after the run, or are for more than the peers' connections carry.
    """
    requests, periods = scenario.tso.requests, scenario.time.periods
    most_mw, faults = float(population.connection_mw().sum()), []
    if requests and all(request.from_period >= periods for request in requests):
        problem = f"all requests begin after the run, which has periods 0 to {periods - 1}"
        faults.append(Fault("tso.requests", problem, "count periods from 0 at the start of the run"))
    for k, request in enumerate(requests):
        if abs(request.p_mw) > most_mw:
            problem = f"{request.p_mw:g} MW, but all connections of peers together carry {most_mw:.4g} MW"
            faults.append(Fault(f"tso.requests.{k}.p_mw", problem, "no market can meet this; ask for less"))
    if faults:
        raise ScenarioError(faults)


def make_bus(scenario: Scenario, clock: Clock, streams: Streams) -> Bus:
    """Build the message bus: links as the scenario says, and a backbone between the operators."""
    link = scenario.communication
    return Bus(clock, streams["communication"], Link(link.latency_s, link.jitter_s, link.loss), ROLES)


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
    if scenario.tso.active:
        _check_requests(scenario, population)
        population = population.with_virtual_load(int(case.network.slack_bus[0]))
    design, lfm = scenario.design(), scenario.flexibility
    policy = design.policy()
    if policy is not None:
        population.terms = Terms.none(len(population), lists=policy.kind is SignalKind.BLOCKING)
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
        mechanism=scenario.build_mechanism(),
        conduct=scenario.build_conduct(),
        tariff=scenario.tariff,
        design=design,
        lfm=lfm,
        markups=Markups.draw(lfm, population.n_real, streams["flexibility"]).extended(len(population)),
        outside=outside_resources(lfm, case.network, population),
        traders=traders(design, case.network, population),
        timetable=Timetable.of(design, scenario.time.period_s, tso=scenario.tso.active),
        period_s=scenario.time.period_s,
        round_s=bus.link.round_s,
        random=streams.__getitem__,
        spend=stopwatch,
        on_state=on_state,
    )


def peer_rows(population: Population, network: Network) -> dict[str, Any]:
    """The columns of table `peer`: who takes part."""
    load, generation = population.units.rated_mw(len(population))
    return {
        "agent": np.arange(len(population)),
        "bus": network.buses.index[population.bus],
        "kind": [KINDS[code] for code in population.kind().tolist()],
        "strategy": [population.strategy[code] for code in population.strategy_code.tolist()],
        "p_load_mw": load,
        "p_generation_mw": generation,
        "p_storage_mw": population.batteries.p_mw,
        "e_storage_mwh": population.batteries.e_mwh,
        "soc_initial_mwh": population.soc_initial_mwh,
    }
