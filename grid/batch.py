"""Many grid states at once: periods, replicas, scenarios.

    states = engine.solve_batch(p_mw, q_mvar)       # (k, n_bus) each
    states.violations(network).n_congested          # (k,)
    states[7].line.loading_percent                  # (n_line,) of the eighth row

The numbers of all rows are one array each, so that a study over thousands of rows is a handful of array
operations. A row without a solution is nan and does not disturb the others.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from peerwatt.grid.admittance import Bools, Floats, Ints
from peerwatt.grid.network import Network
from peerwatt.grid.state import BranchState, GridState, Violations, exceeded

__all__ = ["BatchViolations", "Difference", "GridStates", "difference", "rows_per_chunk"]

_CHUNK_BYTES = 4 * 2**20  # larger ones are no faster: the system hands out their memory anew each time


def rows_per_chunk(bytes_per_row: int, budget: int = _CHUNK_BYTES) -> int:
    """How many rows to work on at once, so that memory beside the result stays within a budget.

    Args:
        bytes_per_row: working memory of one row.
        budget: bytes.
    """
    return max(1, budget // max(1, bytes_per_row))


@dataclass(frozen=True, slots=True)
class BatchViolations:
    """Which limits are exceeded in each row.

    Attributes:
        line_mask: (k, n_line) loading above the line's limit.
        trafo_mask: (k, n_trafo) loading above the transformer's limit.
        low_voltage: (k, n_bus) voltage below the bus's band.
        high_voltage: (k, n_bus) voltage above the bus's band.
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
        """Number of buses outside their voltage band, (k,)."""
        count: Ints = self.low_voltage.sum(axis=1) + self.high_voltage.sum(axis=1)
        return count

    def __getitem__(self, row: int) -> Violations:
        return Violations(self.line_mask[row], self.trafo_mask[row], self.low_voltage[row], self.high_voltage[row])


@dataclass(frozen=True, slots=True)
class GridStates:
    """The solutions of `k` power flows of one network, see `GridState` for the meaning of each field.

    Attributes:
        converged: (k,) whether the power flow of a row has a solution.
        reason: why a row has none, in the engine's words; empty when converged; length k.
        vm_pu: (k, n_bus) voltage magnitude.
        va_degree: (k, n_bus) voltage angle.
        p_mw: (k, n_bus) net injection that was given, at 1 pu.
        q_mvar: (k, n_bus) net reactive injection at 1 pu, with that of generators which hold a voltage.
        line: flows of the lines, arrays of (k, n_line).
        trafo: flows of the transformers, arrays of (k, n_trafo).
        slack_p_mw: (k,) power drawn from all external grids.
        slack_q_mvar: (k,) reactive power drawn from all external grids.
        losses_mw: (k,) active losses.
    """

    converged: Bools
    reason: tuple[str, ...]
    vm_pu: Floats
    va_degree: Floats
    p_mw: Floats
    q_mvar: Floats
    line: BranchState
    trafo: BranchState
    slack_p_mw: Floats
    slack_q_mvar: Floats
    losses_mw: Floats

    @classmethod
    def empty(cls, network: Network, p_mw: Floats, q_mvar: Floats) -> GridStates:
        """Rows that an engine has to fill in.

        Args:
            network: the network.
            p_mw: (k, n_bus) net injection.
            q_mvar: (k, n_bus) net reactive injection.
        """
        k = len(p_mw)

        def free(*shape: int) -> Floats:
            return np.empty((k, *shape))

        def branch(n: int) -> BranchState:
            return BranchState(free(n), free(n), free(n), free(n), free(n))

        n_bus, line, trafo = network.n_bus, branch(network.n_line), branch(network.n_trafo)
        good = np.ones(k, dtype=np.bool_)
        return cls(good, ("",) * k, free(n_bus), free(n_bus), p_mw, q_mvar, line, trafo, free(), free(), free())

    def with_reasons(self, reason: Sequence[str]) -> GridStates:
        """The same batch, with why rows have no solution, (k,); empty where they have one."""
        good = np.array([not text for text in reason], dtype=np.bool_)
        return replace(self, converged=good, reason=tuple(reason))

    @classmethod
    def stack(cls, states: Sequence[GridState]) -> GridStates:
        """Put the states of one network, at least one, into rows."""

        def branch(parts: list[BranchState]) -> BranchState:
            return BranchState(*(np.stack([getattr(part, name) for part in parts]) for name in BranchState.__slots__))

        return cls(
            np.array([state.converged for state in states], dtype=np.bool_),
            tuple(state.reason for state in states),
            np.stack([state.vm_pu for state in states]),
            np.stack([state.va_degree for state in states]),
            np.stack([state.p_mw for state in states]),
            np.stack([state.q_mvar for state in states]),
            branch([state.line for state in states]),
            branch([state.trafo for state in states]),
            np.array([state.slack_p_mw for state in states], dtype=np.float64),
            np.array([state.slack_q_mvar for state in states], dtype=np.float64),
            np.array([state.losses_mw for state in states], dtype=np.float64),
        )

    def __len__(self) -> int:
        return len(self.reason)

    def __iter__(self) -> Iterator[GridState]:
        return (self[row] for row in range(len(self)))

    def __getitem__(self, row: int) -> GridState:
        """The state of one row; its arrays are views of this batch."""
        return GridState(
            bool(self.converged[row]),
            self.reason[row],
            self.vm_pu[row],
            self.va_degree[row],
            self.p_mw[row],
            self.q_mvar[row],
            _row(self.line, row),
            _row(self.trafo, row),
            float(self.slack_p_mw[row]),
            float(self.slack_q_mvar[row]),
            float(self.losses_mw[row]),
        )

    def injected(self, network: Network) -> tuple[Floats, Floats]:
        """Net injections at the voltages of each row, (k, n_bus), see `GridState.injected`."""
        return network.injected(self.p_mw, self.q_mvar, self.vm_pu)

    def violations(self, network: Network) -> BatchViolations:
        """Which limits of `network` each row exceeds; none where the power flow has no solution."""
        return BatchViolations(*exceeded(network, self.line, self.trafo, self.vm_pu))

    def overflow_mw(self, network: Network) -> tuple[Floats, Floats]:
        """Flow above the limit of each branch, (k, n_line) and (k, n_trafo), see `GridState.overflow_mw`."""
        return (
            _overflow_mw(self.line, network.lines.max_loading_percent),
            _overflow_mw(self.trafo, network.trafos.max_loading_percent),
        )

    def overflow_sum_mw(self, network: Network) -> Floats:
        """Flow above the limit, summed over congested lines and transformers, (k,), MW."""
        line, trafo = self.overflow_mw(network)
        total: Floats = line.sum(axis=1) + trafo.sum(axis=1)
        return total

    def overflow_weighted_mean(self, network: Network) -> Floats:
        """Capacity-weighted mean of (loading - limit) over congested branches, (k,), percent.

        See `GridState.overflow_weighted_mean`.
        """
        lines, trafos = network.lines, network.trafos
        excess = (
            branch.loading_percent - limit
            for branch, limit in ((self.line, lines.max_loading_percent), (self.trafo, trafos.max_loading_percent))
        )
        return _weighted_mean(network, *excess)

    def overflow_weighted_mw(self, network: Network) -> Floats:
        """Capacity-weighted mean of `overflow_mw` over congested branches, (k,), MW.

        See `GridState.overflow_weighted_mw`.
        """
        return _weighted_mean(network, *self.overflow_mw(network))


@dataclass(frozen=True, slots=True)
class Difference:
    """The largest differences between two batches, over the rows that both have solved.

    Attributes:
        n_rows: number of rows that both have solved.
        n_disagree: number of rows that only one of them has solved.
        vm_pu: of the voltage magnitudes.
        va_degree: of the voltage angles.
        loading_percent: of the loadings of lines and transformers.
        p_from_mw: of the active power at the from ends.
        losses_mw: of the total losses.
    """

    n_rows: int
    n_disagree: int
    vm_pu: float
    va_degree: float
    loading_percent: float
    p_from_mw: float
    losses_mw: float


def difference(one: GridStates, other: GridStates) -> Difference:
    """How far two engines are apart, such as a linear engine from an exact one.

    Args:
        one: states of a network.
        other: states of the same network and injections.
    """
    both = one.converged & other.converged

    def most(a: npt.NDArray[np.float64], b: npt.NDArray[np.float64]) -> float:
        gap = np.abs(a[both] - b[both])
        return float(np.nanmax(gap)) if gap.size else 0.0

    def branches(name: str) -> float:
        parts = ((one.line, other.line), (one.trafo, other.trafo))
        return max(most(getattr(a, name), getattr(b, name)) for a, b in parts)

    return Difference(
        int(both.sum()),
        int((one.converged ^ other.converged).sum()),
        most(one.vm_pu, other.vm_pu),
        most(one.va_degree, other.va_degree),
        branches("loading_percent"),
        branches("p_from_mw"),
        most(one.losses_mw, other.losses_mw),
    )


def _row(branch: BranchState, row: int) -> BranchState:
    return BranchState(
        branch.p_from_mw[row],
        branch.q_from_mvar[row],
        branch.i_ka[row],
        branch.loading_percent[row],
        branch.pl_mw[row],
    )


def _weighted_mean(network: Network, line: Floats, trafo: Floats) -> Floats:
    """Mean of what is above 0, (k, n_line) and (k, n_trafo), weighted by capacity, (k,); 0 where nothing is."""
    weight, total = np.zeros(len(line)), np.zeros(len(line))
    for excess, capacity in ((line, network.line_capacity_mva), (trafo, network.trafo_capacity_mva)):
        share = np.where(excess > 0.0, capacity(), 0.0)  # (k, n)
        weight += share.sum(axis=1)
        total += np.where(share > 0.0, share * excess, 0.0).sum(axis=1)
    return np.divide(total, weight, out=np.zeros(len(line)), where=weight > 0.0)


def _overflow_mw(branch: BranchState, limit: Floats) -> Floats:
    loading = branch.loading_percent
    over = loading > limit
    share = np.divide(limit, loading, out=np.ones_like(loading), where=over)
    overflow: Floats = np.where(over, np.abs(branch.p_from_mw) * (1.0 - share), 0.0)
    return overflow
