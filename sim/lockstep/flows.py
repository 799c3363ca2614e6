"""The power flows of a stage, of all periods of all replicas in one batch."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from peerwatt.agents.messages import FloatArray, IntArray
from peerwatt.grid.batch import GridStates, rows_per_chunk
from peerwatt.grid.engine import Engine
from peerwatt.grid.network import Network

__all__ = ["StageTotals", "evaluate"]

_BATCH_BYTES = 32 * 2**20  # states of a batch that are held at once
_PER_BUS, _PER_BRANCH = 6, 8  # numbers of a row's state, with what is worked out from it


@dataclass(frozen=True, slots=True)
class StageTotals:
    """What a stage's power flows came to; arrays (n_rows,), one row per period of a replica, NaN without a solution.

    Attributes:
        columns: by name, as in table `period`.
        vm_pu: (n_rows, n_bus) voltages, where they were asked for; else None.
    """

    columns: dict[str, FloatArray]
    vm_pu: FloatArray | None

    @property
    def converged(self) -> FloatArray:
        """1 where there is a solution, else 0."""
        return self.columns["converged"]


def evaluate(
    engine: Engine, network: Network, bus: IntArray, p_mw: FloatArray, q_mvar: FloatArray, *, voltages: bool = False
) -> StageTotals:
    """Solve the power flows of all rows.

    Args:
        engine: what solves them.
        network: the network.
        bus: position of each peer's bus, (n_rows, n_peers).
        p_mw: net injections of the peers, flat.
        q_mvar: net reactive injections, flat.
        voltages: whether to keep the voltages of all buses.
    """
    parts: list[dict[str, FloatArray]] = []
    kept: list[FloatArray] = []
    p_mw, q_mvar = p_mw.reshape(bus.shape), q_mvar.reshape(bus.shape)
    n_rows, n_bus = len(bus), network.n_bus
    step = rows_per_chunk(8 * (_PER_BUS * n_bus + _PER_BRANCH * (network.n_line + network.n_trafo)), _BATCH_BYTES)
    for first in range(0, n_rows, step):
        rows = slice(first, min(first + step, n_rows))
        k = rows.stop - first
        place = (np.arange(k)[:, None] * n_bus + bus[rows]).ravel()
        p_bus = np.bincount(place, p_mw[rows].ravel(), k * n_bus).astype(np.float64, copy=False)
        q_bus = np.bincount(place, q_mvar[rows].ravel(), k * n_bus).astype(np.float64, copy=False)
        states = engine.solve_batch(p_bus.reshape(k, n_bus), q_bus.reshape(k, n_bus))
        parts.append(_totals(states, network))
        if voltages:
            kept.append(states.vm_pu)
    columns = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    return StageTotals(columns, np.concatenate(kept) if voltages else None)


def _highest(values: list[FloatArray], k: int) -> FloatArray:
    """Highest of each row, (k,), over all branches; nan without any."""
    highest: FloatArray = np.fmax.reduce([np.fmax.reduce(each, axis=1) for each in values] or [np.full(k, np.nan)])
    return highest


def _totals(states: GridStates, network: Network) -> dict[str, FloatArray]:
    """The columns of table `period` that are the grid's."""
    violations = states.violations(network)
    loading = [branch.loading_percent for branch in (states.line, states.trafo) if branch.loading_percent.shape[1]]
    limits = [each.max_loading_percent for each in (network.lines, network.trafos) if len(each)]
    shares = [each / limit for each, limit in zip(loading, limits, strict=True)]
    columns: dict[str, FloatArray] = {
        "slack_p_mw": states.slack_p_mw,
        "losses_mw": states.losses_mw,
        "n_congested_lines": violations.n_congested.astype(np.float64),
        "overflow_sum_mw": states.overflow_sum_mw(network),
        "overflow_weighted_mean": states.overflow_weighted_mean(network),
        "overflow_weighted_mw": states.overflow_weighted_mw(network),
        "n_voltage_violations": violations.n_voltage.astype(np.float64),
        "min_vm_pu": np.fmin.reduce(states.vm_pu, axis=1),
        "max_vm_pu": np.fmax.reduce(states.vm_pu, axis=1),
        "max_loading_percent": _highest(loading, len(states)),
        "max_occupancy_percent": 100.0 * _highest(shares, len(states)),
    }
    known = {name: np.where(states.converged, values, np.nan) for name, values in columns.items()}
    return {"converged": states.converged.astype(np.float64), **known}
