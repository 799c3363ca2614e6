"""Replicas of one scenario, from the first draw to the key figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from peerwatt.agents.devices import N_PRODUCTS
from peerwatt.agents.directive import Directive
from peerwatt.agents.messages import FloatArray
from peerwatt.errors import LockstepError
from peerwatt.grid.batch import rows_per_chunk
from peerwatt.grid.cases import GridCase
from peerwatt.sim.assembly import limited, load_grid
from peerwatt.sim.kpi import Kpi
from peerwatt.sim.lockstep.accounts import settled
from peerwatt.sim.lockstep.figures import Course, figures
from peerwatt.sim.lockstep.flows import StageTotals, evaluate
from peerwatt.sim.lockstep.members import Member, enlisted
from peerwatt.sim.lockstep.outlook import Ahead, look_ahead
from peerwatt.sim.lockstep.qualify import obstacle
from peerwatt.sim.lockstep.trading import trade
from peerwatt.sim.metered import Metered
from peerwatt.sim.scenario import Scenario
from peerwatt.sim.tables import Stage
from peerwatt.sim.timeline import Condition, Timeline

__all__ = ["run_lockstep"]

_CHUNK_BYTES = 256 * 2**20  # what the flat arrays of a chunk of replicas may take
_NUMBERS = 100  # held at once of each peer, period and replica


def run_lockstep(scenario: Scenario, replicas: Sequence[int], case: GridCase | None = None) -> list[dict[str, Kpi]]:
    """Run replicas together, each of which draws and trades what it does alone.

    Args:
        scenario: what to simulate.
        replicas: numbers of the replicas.
        case: a grid in place of the scenario's.

    Returns:
        The key figures of each replica.

    Raises:
        LockstepError: they cannot run in lockstep, see `obstacle`.
        InputError: the scenario or the grid cannot be used.
        AgentError: a strategy raised.
    """
    if reason := obstacle(scenario):
        raise LockstepError(reason)
    case = limited(load_grid(scenario) if case is None else case, scenario.grid)
    time = scenario.time
    profiles = case.series.window(np.datetime64(scenario.start, "s"), time.periods, time.period_s)
    timeline = Timeline((), case.network, scenario.grid.engine, scenario.start, time.periods, time.period_s)
    stage = _Setting(scenario, case, timeline.at(0), profiles)
    step = rows_per_chunk(8 * _NUMBERS * time.periods * stage.most_peers, _CHUNK_BYTES)
    found: list[dict[str, Kpi]] = []
    for first in range(0, len(replicas), step):
        found += _together(stage, replicas[first : first + step])
    return found


@dataclass(frozen=True, slots=True)
class _Setting:
    """What all replicas share.

    Attributes:
        scenario: what is simulated.
        case: its grid, with the scenario's limits.
        condition: the grid in every period.
        profiles: (n_periods, n_columns) values of the profiles.
    """

    scenario: Scenario
    case: GridCase
    condition: Condition
    profiles: FloatArray

    @property
    def most_peers(self) -> int:
        """How many peers there may be."""
        return self.scenario.population.size or len(self.case.units.name)

    @property
    def period_h(self) -> float:
        """Length of a period, h."""
        return self.scenario.time.period_s / 3600.0


def _together(setting: _Setting, replicas: Sequence[int]) -> list[dict[str, Kpi]]:
    """Some replicas at once."""
    scenario, condition = setting.scenario, setting.condition
    members = enlisted(scenario, setting.case, condition, replicas)
    start, series = np.datetime64(scenario.start, "s"), setting.case.series
    profiles = [
        each.population.moved.beside(setting.profiles, series, start, scenario.time.period_s) for each in members
    ]
    ahead = look_ahead(scenario, members, profiles, condition.supplied)
    traded = trade(members, ahead)
    for member in members:
        member.end()
    shape, change = ahead.shape, traded.change_mw
    stages, delivered = _stages(setting, members, ahead, change)
    if scenario.grid.on_divergence == "stop" and not all(each.converged.all() for each in stages.values()):
        raise LockstepError("a power flow has no solution, and the scenario says grid.on_divergence: stop")
    losses = stages[Stage.DELIVERY].columns["losses_mw"]
    books = settled(shape, traded, delivered, losses, scenario.tariff, setting.period_h)
    used = Metered.of(
        ahead.realised,
        ahead.position,
        ahead.battery_mw,
        change,
        np.zeros((shape.size, N_PRODUCTS)),
        Directive.none(shape.size),
        scenario.tariff,
        setting.period_h,
    )
    if condition.network.voltage_dependence is not None:
        used = used.at_meter(delivered, ahead.battery_mw)
    agent = {
        "p_mw": delivered,
        "p_load_mw": used.p_load_mw,
        "p_generation_mw": used.p_generation_mw,
        "p_curtailed_mw": used.p_curtailed_mw,
        "p_storage_mw": ahead.battery_mw,
        "soc_mwh": ahead.soc_after_mwh,
        "utility_eur": used.utility_eur,
        "payment_eur": books.payment_eur,
        "reference_payment_eur": used.reference_payment_eur,
    }
    course = Course(shape, setting.period_h, traded, stages, books, agent)
    return [figures(member, place, course, condition.network) for place, member in enumerate(members)]


def _stages(
    setting: _Setting, members: Sequence[Member], ahead: Ahead, change_mw: FloatArray
) -> tuple[Mapping[Stage, StageTotals], FloatArray]:
    """The power flows of every stage, and what the meters say at delivery, flat."""
    engine, network, shape = setting.condition.engine, setting.condition.network, ahead.shape
    bus = np.stack([member.population.bus for member in members]).repeat(shape.n_periods, axis=0)
    free, dependence = Directive.none(shape.size), network.voltage_dependence
    stages: dict[Stage, StageTotals] = {}
    for stage, outlook, change in (
        (Stage.FORECAST, ahead.forecast, np.zeros(shape.size)),
        (Stage.P2P, ahead.forecast, change_mw),
        (Stage.DELIVERY, ahead.realised, change_mw),
    ):
        p_mw, q_mvar = free.schedule(outlook, ahead.position, ahead.battery_mw, change)
        metered = stage is Stage.DELIVERY and dependence is not None
        stages[stage] = evaluate(engine, network, bus, p_mw, q_mvar, voltages=metered)
    vm_pu = stages[Stage.DELIVERY].vm_pu
    if dependence is not None and vm_pu is not None:  # what loads draw is known when the voltage is
        factor = np.take_along_axis(dependence.factors(vm_pu)[0], bus, axis=1)
        p_mw = p_mw * np.where(stages[Stage.DELIVERY].converged[:, None] > 0.0, factor, 1.0).ravel()
    return stages, p_mw
