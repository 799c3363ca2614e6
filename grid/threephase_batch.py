"""Many three-phase states at once: periods, replicas, scenarios.

    states = engine.solve_batch(p_mw, q_mvar)       # (k, n_bus, 3) each
    states.violations(network).n_voltage            # (k,)
    states.vuf_percent.max(axis=1)                  # (k,)
    states[7].line.loading_percent                  # (n_line, 3) of the eighth row

A row without a solution is nan and does not disturb the others.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace

import numpy as np

from peerwatt.grid.admittance import Bools, Floats, Ints
from peerwatt.grid.threephase_network import ThreePhaseNetwork
from peerwatt.grid.threephase_state import (
    PhaseBranchState,
    PhaseViolations,
    ThreePhaseState,
    pvur_percent,
    vuf_percent,
)

__all__ = ["BatchPhaseViolations", "ThreePhaseStates"]


@dataclass(frozen=True, slots=True)
class BatchPhaseViolations:
    """Which limits are exceeded in each row.

    Attributes:
        line_mask: (k, n_line) loading of the worst phase above the line's limit.
        trafo_mask: (k, n_trafo) loading of the worst phase above the transformer's limit.
        low_voltage: (k, n_bus, 3) phase-to-neutral voltage below the bus's band.
        high_voltage: (k, n_bus, 3) phase-to-neutral voltage above the bus's band.
    """

    line_mask: Bools
    trafo_mask: Bools
    low_voltage: Bools
    high_voltage: Bools

    @property
    def n_congested(self) -> Ints:
        """Number of lines and transformers above their limit, (k,)."""
        count: Ints = self.line_mask.sum(axis=1) + self.trafo_mask.sum(axis=1)
        return count

    @property
    def n_voltage(self) -> Ints:
        """Number of buses with a phase outside their voltage band, (k,)."""
        count: Ints = (self.low_voltage | self.high_voltage).any(axis=2).sum(axis=1)
        return count

    def __getitem__(self, row: int) -> PhaseViolations:
        return PhaseViolations(self.line_mask[row], self.trafo_mask[row], self.low_voltage[row], self.high_voltage[row])


@dataclass(frozen=True, slots=True)
class ThreePhaseStates:
    """The solutions of `k` power flows of one network, see `ThreePhaseState` for the meaning of each field.

    Attributes:
        converged: (k,) whether the power flow of a row has a solution.
        reason: why a row has none, in the engine's words; empty when converged; length k.
        vm_pu: (k, n_bus, 3) phase-to-neutral voltage.
        va_degree: (k, n_bus, 3) its angle.
        p_mw: (k, n_bus, 3) net injection that was given.
        q_mvar: (k, n_bus, 3) net reactive injection that was given.
        line: flows of the lines, arrays of (k, n_line, 3), losses of (k, n_line).
        trafo: flows of the transformers, arrays of (k, n_trafo, 3), losses of (k, n_trafo).
        slack_p_mw: (k, 3) power drawn from the external grid.
        slack_q_mvar: (k, 3) reactive power drawn from the external grid.
        losses_mw: (k,) active losses.
    """

    converged: Bools
    reason: tuple[str, ...]
    vm_pu: Floats
    va_degree: Floats
    p_mw: Floats
    q_mvar: Floats
    line: PhaseBranchState
    trafo: PhaseBranchState
    slack_p_mw: Floats
    slack_q_mvar: Floats
    losses_mw: Floats

    @classmethod
    def empty(cls, network: ThreePhaseNetwork, p_mw: Floats, q_mvar: Floats) -> ThreePhaseStates:
        """Rows that an engine has to fill in.

        Args:
            network: the network.
            p_mw: (k, n_bus, 3) net injection.
            q_mvar: (k, n_bus, 3) net reactive injection.
        """
        k, n_bus = len(p_mw), network.n_bus

        def free(*shape: int) -> Floats:
            return np.empty((k, *shape))

        def branch(n: int) -> PhaseBranchState:
            return PhaseBranchState(free(n, 3), free(n, 3), free(n, 3), free(n, 3), free(n))

        good = np.ones(k, dtype=np.bool_)
        line, trafo = branch(len(network.lines)), branch(len(network.trafos))
        voltage = (free(n_bus, 3), free(n_bus, 3))
        return cls(good, ("",) * k, *voltage, p_mw, q_mvar, line, trafo, free(3), free(3), free())

    def with_reasons(self, reason: Sequence[str]) -> ThreePhaseStates:
        """The same batch, with why rows have no solution, (k,); empty where they have one."""
        good = np.array([not text for text in reason], dtype=np.bool_)
        return replace(self, converged=good, reason=tuple(reason))

    def put(self, row: int, state: ThreePhaseState) -> None:
        """Copy the numbers of a state into a row."""
        for field in fields(PhaseBranchState):
            getattr(self.line, field.name)[row] = getattr(state.line, field.name)
            getattr(self.trafo, field.name)[row] = getattr(state.trafo, field.name)
        for name in ("vm_pu", "va_degree", "slack_p_mw", "slack_q_mvar", "losses_mw"):
            getattr(self, name)[row] = getattr(state, name)

    def __len__(self) -> int:
        return len(self.reason)

    def __iter__(self) -> Iterator[ThreePhaseState]:
        return (self[row] for row in range(len(self)))

    def __getitem__(self, row: int) -> ThreePhaseState:
        """The state of one row; its arrays are views of this batch."""
        return ThreePhaseState(
            bool(self.converged[row]),
            self.reason[row],
            self.vm_pu[row],
            self.va_degree[row],
            self.p_mw[row],
            self.q_mvar[row],
            _row(self.line, row),
            _row(self.trafo, row),
            self.slack_p_mw[row],
            self.slack_q_mvar[row],
            float(self.losses_mw[row]),
        )

    @property
    def vuf_percent(self) -> Floats:
        """Voltage unbalance factor of every bus, (k, n_bus)."""
        return vuf_percent(self.vm_pu, self.va_degree)

    @property
    def pvur_percent(self) -> Floats:
        """Phase voltage unbalance rate of every bus, (k, n_bus)."""
        return pvur_percent(self.vm_pu)

    def violations(self, network: ThreePhaseNetwork) -> BatchPhaseViolations:
        """Which limits of `network` each row exceeds; none where the power flow has no solution."""
        buses = network.buses
        return BatchPhaseViolations(
            line_mask=self.line.worst_loading_percent > network.lines.max_loading_percent,
            trafo_mask=self.trafo.worst_loading_percent > network.trafos.max_loading_percent,
            low_voltage=self.vm_pu < buses.min_vm_pu[:, None],
            high_voltage=self.vm_pu > buses.max_vm_pu[:, None],
        )


def _row(branch: PhaseBranchState, row: int) -> PhaseBranchState:
    return PhaseBranchState(*(getattr(branch, field.name)[row] for field in fields(PhaseBranchState)))
