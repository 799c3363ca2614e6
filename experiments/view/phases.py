"""The period that is shown, in three phases: what the balanced run injects, put on the phases that peers are on.

A run is balanced, and so are its trades and its limits. Who is on which phase is known of the test feeders with
single-phase loads (`THREE_PHASE_CASES`). Elsewhere a peer with a connection of up to `SINGLE_PHASE_MW` is on one phase,
drawn by the scenario's seed from a stream of its own, and a larger one on all three equally. What is injected at a bus
besides its peers' schedules, and its reactive power, is spread as the connections of its peers are.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from peerwatt.errors import PeerwattError
from peerwatt.grid.network import Network
from peerwatt.grid.state import BranchState, GridState
from peerwatt.sim.model import Simulation
from peerwatt.sim.period import PeriodResult
from peerwatt.sim.streams import Streams
from peerwatt.sim.tables import Stage

if TYPE_CHECKING:
    from peerwatt.grid.threephase import ThreePhaseEngine
    from peerwatt.grid.threephase_network import ThreePhaseNetwork
    from peerwatt.grid.threephase_state import PhaseBranchState, ThreePhaseState

__all__ = ["PHASE_NAMES", "SINGLE_PHASE_MW", "Phases", "as_balanced"]

Floats = NDArray[np.float64]

PHASE_NAMES = {"": "balanced", "a": "phase A", "b": "phase B", "c": "phase C"}
"""What the map can show, with its words."""

SINGLE_PHASE_MW = 0.005
"""Largest connection of a peer on one phase, where the network does not say who is on which."""

_AT_BUSES = ("load", "sgen", "storage", "gen", "shunt", "asymmetric_load", "asymmetric_sgen")
_NEEDED = ("r0_ohm_per_km", "vk0_percent", "x0x_max")  # of lines, transformers and external grids


class Phases:
    """Solves periods of a run in three phases, the last one solved is kept.

    Args:
        simulation: the run.

    Attributes:
        refused: why its network cannot be solved in three phases; empty where it can, as far as is known.
    """

    def __init__(self, simulation: Simulation) -> None:
        self._simulation = simulation
        self._engine: tuple[Network, ThreePhaseEngine] | None = None
        self._shares: Floats | None = None
        self._feeder: ThreePhaseNetwork | None = None
        self._solved: tuple[tuple[int, str], ThreePhaseState] | None = None
        text = simulation.case.network.pandapower_json
        missing = [name for name in _NEEDED[: 2 if len(simulation.case.network.trafos) else 1] if name not in text]
        self.refused = f"the network has no zero sequence data: {', '.join(missing)}" if missing else ""

    @property
    def drawn(self) -> bool:
        """Whether the phases of the peers are drawn, and not the network's own."""
        from peerwatt.grid.threephase import THREE_PHASE_CASES

        return self._simulation.case.name not in THREE_PHASE_CASES

    def state(self, result: PeriodResult, stage: str) -> ThreePhaseState | None:
        """The grid at a stage of a period, by phase; None where it cannot be solved, then `refused` says why.

        Args:
            result: the period that is shown, the last one of the run.
            stage: a stage that it has reached.
        """
        key = result.period, stage
        if self._solved is None or self._solved[0] != key:
            try:
                solver = self._solver()
            except PeerwattError as error:
                self.refused = str(error).partition("\n")[0]
                return None
            self._solved = key, solver.solve(*self.injections(result, stage))
        return self._solved[1]

    def shares(self) -> Floats:
        """Which share of each peer is on each phase, (n_peers, 3)."""
        if self._shares is None:
            self._shares = _drawn(self._simulation) if self.drawn else self._known()
        return self._shares

    def injections(self, result: PeriodResult, stage: str) -> tuple[Floats, Floats]:
        """Net injections of the balanced state by phase, MW and Mvar, each (n_bus, 3)."""
        population, state = self._simulation.context.population, result.states[stage]
        n_bus, shares = len(state.p_mw), self.shares()
        power = {Stage.FORECAST: result.p_forecast_mw, Stage.DELIVERY: result.p_delivered_mw}
        p_peer = np.nan_to_num(power.get(Stage(stage), result.p_p2p_mw))
        size = population.at_buses(population.connection_mw(), n_bus)
        p_mw, at_bus = np.empty((n_bus, 3)), np.full((n_bus, 3), 1.0 / 3.0)
        for k in range(3):
            own = population.at_buses(population.connection_mw() * shares[:, k], n_bus)
            at_bus[:, k] = np.divide(own, size, out=at_bus[:, k].copy(), where=size > 0.0)
            p_mw[:, k] = population.at_buses(p_peer * shares[:, k], n_bus)
        rest = state.p_mw - population.at_buses(p_peer, n_bus)
        return p_mw + rest[:, None] * at_bus, state.q_mvar[:, None] * at_bus

    def _solver(self) -> ThreePhaseEngine:
        """An engine for the network as it is in the period, with lines that are cut out of service."""
        network = self._simulation.context.network
        if self._engine is None or self._engine[0] is not network:
            from peerwatt.grid.threephase import DEFAULT_THREE_PHASE_ENGINE, make_three_phase_engine

            untouched = network is self._simulation.case.network and not self.drawn
            converted = self._test_feeder() if untouched else _converted(network)
            self._engine = network, make_three_phase_engine(DEFAULT_THREE_PHASE_ENGINE, converted)
        return self._engine[1]

    def _test_feeder(self) -> ThreePhaseNetwork:
        """The case as its source has it, with its single-phase loads."""
        if self._feeder is None:
            from peerwatt.grid.threephase import load_three_phase

            self._feeder = load_three_phase(self._simulation.case.name)
        return self._feeder

    def _known(self) -> Floats:
        """Phases of the network's own single-phase loads, (n_peers, 3)."""
        at_bus = np.abs(self._test_feeder().p_mw)[self._simulation.context.population.bus]
        total = at_bus.sum(axis=1, keepdims=True)
        known: Floats = np.divide(at_bus, total, out=np.full_like(at_bus, 1.0 / 3.0), where=total > 0.0)
        return known


def _converted(network: Network) -> ThreePhaseNetwork:
    """The network in three phases; what stands at buses that have lost their supply is off."""
    from peerwatt.grid.netfile import parse_net
    from peerwatt.grid.threephase import three_phase_from_net

    net = parse_net(network.pandapower_json, network.name)
    for table in _AT_BUSES:
        net[table]["in_service"] &= net[table]["bus"].map(net.bus["in_service"]).astype(bool)
    return three_phase_from_net(net, network.name)


def _drawn(simulation: Simulation) -> Floats:
    """Small peers on a phase that is drawn, large ones on all, (n_peers, 3)."""
    population = simulation.context.population
    phase = Streams(simulation.settings.seed)["phases"].integers(3, size=len(population))
    single = population.connection_mw() <= SINGLE_PHASE_MW
    return np.where(single[:, None], np.eye(3)[phase], 1.0 / 3.0)


def as_balanced(state: ThreePhaseState, phase: str, like: GridState) -> GridState:
    """One phase of a three-phase state in the form that the map draws.

    Args:
        state: the grid by phase; the losses of a branch are split equally.
        phase: `a`, `b` or `c`.
        like: the balanced state of the same moment.
    """
    k = "abc".index(phase)
    return replace(
        like,
        converged=state.converged,
        reason=state.reason,
        vm_pu=state.vm_pu[:, k],
        va_degree=state.va_degree[:, k],
        line=_branch(state.line, k),
        trafo=_branch(state.trafo, k),
    )


def _branch(state: PhaseBranchState, k: int) -> BranchState:
    return BranchState(
        state.p_from_mw[:, k],
        state.q_from_mvar[:, k],
        state.i_ka[:, k],
        state.loading_percent[:, k],
        state.pl_mw / 3.0,
    )
