"""Solves many rows in three phases with power-grid-model, and gives the external grid its voltage.

pandapower's external grid holds the positive sequence voltage at its bus, and is an impedance to earth in
the other two. A `source` has the same impedance in positive and negative sequence. So its voltage is set to
v_set + z_2 i_1, row by row, with i_1 estimated and then taken from the solution, until the bus has v_set within
1e-10 pu. The rest is scaled away: all voltages by 1 + e changes powers by 2 e and voltage drops by e. An error
shrinks by |z_2 s| from solution to solution, which is the load over the short-circuit power: two solutions
suffice, of which the first need only be rough.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from power_grid_model import CalculationMethod, ComponentType, PowerGridModel
from power_grid_model.errors import PowerGridError  # type: ignore[attr-defined]

from peerwatt.grid.admittance import Complexes, Floats, Ints
from peerwatt.grid.pgm_session import batch_failures
from peerwatt.grid.threephase_network import ThreePhaseNetwork, to_sequences

__all__ = ["PhaseSession"]

_MEGA = 1e6
_ROUGH_PU = 1e-6
_CURRENT_TOLERANCE_PU = 1e-11  # iterative current converges linearly, so it stops later
_CURRENT_ITERATIONS = 50
_NEWTON_TOLERANCE_PU = 1e-8
_NEWTON_ITERATIONS = 20
_COLLAPSED_PU = 0.01  # at 0 V an unloaded phase meets its 0 W with any current: beyond collapse Newton may end there
_SLACK_TOLERANCE_PU = 1e-10
_MAX_CORRECTIONS = 30
_UNSETTLED = "the voltage of the external grid does not settle: its s_sc_max_mva is too low"


class PhaseSession:
    """A power-grid-model that solves rows of injections.

    As in the symmetric `BatchSession`, iterative current is tried first, since its matrix is factorised once
    for all rows; rows that it does not solve are given to Newton-Raphson, whose verdict counts.

    Args:
        network: the network.
        input_data: the model, with one `asym_gen` per node and one `source`.
        threads: -1 none besides the caller's, 0 as many as the machine has, or how many.
    """

    def __init__(self, network: ThreePhaseNetwork, input_data: dict[ComponentType, Any], threads: int) -> None:
        model = network.grid.admittances
        self._model = PowerGridModel(input_data=input_data)
        self._threads = threads
        self._slack = int(model.slack_node[0])
        self._target = complex(model.slack_vm_pu[0] * np.exp(1j * np.radians(model.slack_va_degree[0])))
        self._z = complex(1.0 / network.zero.slack_y2[0])

    def solve(self, p_mw: Floats, q_mvar: Floats) -> tuple[Floats, Floats, dict[int, str]]:
        """Solve.

        Args:
            p_mw: (m, n_node, 3) active power into the nodes, contiguous.
            q_mvar: (m, n_node, 3) reactive power.

        Returns:
            Voltage magnitudes in pu and angles in radian, (m, n_node, 3), nan where there is no solution; and why
            there is none, by row.
        """
        vm, va = np.full(p_mw.shape, np.nan), np.full(p_mw.shape, np.nan)
        failed: dict[int, str] = {}
        total = p_mw.sum(axis=(1, 2)) + 1j * q_mvar.sum(axis=(1, 2))
        reference = self._target - self._z * np.conj(total / self._target)  # (m,)
        p_w, q_var = _MEGA * p_mw, _MEGA * q_mvar
        rows = np.arange(len(p_mw))
        for turn in range(_MAX_CORRECTIONS):
            if not len(rows):
                return vm, va, failed
            rough = turn == 0
            tolerance = _ROUGH_PU if rough else _CURRENT_TOLERANCE_PU
            got_vm, got_va, lost = self._voltages(p_w, q_var, reference[rows], tolerance)
            failed.update({int(rows[row]): reason for row, reason in lost.items()})
            v_1 = self._slack_voltage(got_vm, got_va)
            error = v_1 - self._target
            solved = np.isfinite(v_1)
            done = solved & (np.abs(error) <= _SLACK_TOLERANCE_PU) & (not rough)
            scale = self._target / v_1[done]
            vm[rows[done]] = got_vm[done] * np.abs(scale)[:, None, None]
            va[rows[done]] = got_va[done] + np.angle(scale)[:, None, None]
            reference[rows] -= error
            keep = solved & ~done
            if not keep.all():
                rows, p_w, q_var = rows[keep], p_w[keep], q_var[keep]
        failed.update(dict.fromkeys((int(row) for row in rows), _UNSETTLED))
        return vm, va, failed

    def _slack_voltage(self, vm: Floats, va: Floats) -> Complexes:
        """Positive sequence voltage at the external grid, (m,)."""
        phases = np.asarray(vm[:, self._slack] * np.exp(1j * va[:, self._slack]), dtype=np.complex128)
        return to_sequences(phases)[:, 1]

    def _voltages(
        self, p_w: Floats, q_var: Floats, reference: Complexes, tolerance_pu: float
    ) -> tuple[Floats, Floats, dict[int, str]]:
        """Voltages at given voltages of the source, (m,); the tolerance is that of iterative current."""
        method = CalculationMethod.iterative_current
        vm, va, failed = self._calculate(p_w, q_var, reference, method, tolerance_pu, _CURRENT_ITERATIONS)
        if not failed:
            return vm, va, failed
        rows: Ints = np.fromiter(failed, dtype=np.int64)
        method, again = CalculationMethod.newton_raphson, (p_w[rows], q_var[rows], reference[rows])
        vm[rows], va[rows], failed = self._calculate(*again, method, _NEWTON_TOLERANCE_PU, _NEWTON_ITERATIONS)
        return vm, va, {int(rows[row]): reason for row, reason in failed.items()}

    def _calculate(
        self,
        p_w: Floats,
        q_var: Floats,
        reference: Complexes,
        method: CalculationMethod,
        tolerance_pu: float,
        max_iterations: int,
    ) -> tuple[Floats, Floats, dict[int, str]]:
        update: dict[ComponentType, Any] = {
            ComponentType.asym_gen: {"p_specified": p_w, "q_specified": q_var},
            ComponentType.source: {"u_ref": np.abs(reference)[:, None], "u_ref_angle": np.angle(reference)[:, None]},
        }
        options: dict[str, Any] = {
            "symmetric": False,
            "calculation_method": method,
            "error_tolerance": tolerance_pu,
            "max_iterations": max_iterations,
            "output_component_types": {ComponentType.node: ["u_pu", "u_angle"]},
        }
        vm, va, failed = self._one(update, options) if len(p_w) == 1 else self._many(update, options)
        for row in np.flatnonzero(~np.isfinite(vm.sum(axis=(1, 2)))):
            failed.setdefault(int(row), "voltages are not finite")
        for row in np.flatnonzero((vm < _COLLAPSED_PU).any(axis=(1, 2))):
            failed.setdefault(int(row), "the voltage of a phase collapses")
        rows = list(failed)
        vm[rows] = va[rows] = np.nan
        return vm, va, failed

    def _one(self, update: dict[ComponentType, Any], options: dict[str, Any]) -> tuple[Floats, Floats, dict[int, str]]:
        """One row in place, since a batch begins with a copy of the model, which takes as long as solving it."""
        first = {kind: {name: values[0] for name, values in columns.items()} for kind, columns in update.items()}
        try:
            self._model.update(update_data=first)
            node = self._model.calculate_power_flow(**options)[ComponentType.node]
        except PowerGridError as error:
            nan = np.full(update[ComponentType.asym_gen]["p_specified"].shape, np.nan)
            return nan, nan.copy(), {0: str(error)}
        return node["u_pu"][None], node["u_angle"][None], {}

    def _many(self, update: dict[ComponentType, Any], options: dict[str, Any]) -> tuple[Floats, Floats, dict[int, str]]:
        result = self._model.calculate_power_flow(
            update_data=update, threading=self._threads, continue_on_batch_error=True, **options
        )
        node: Any = result[ComponentType.node]
        return node["u_pu"], node["u_angle"], batch_failures(self._model.batch_error)
