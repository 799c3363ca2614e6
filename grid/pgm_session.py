"""One power-grid-model and its buffers, ready to be solved again and again.

power-grid-model's Python face describes its buffers to the C++ core anew in every call, which takes ten
times as long as solving a grid of 50 nodes. `FastSession` describes them once, with functions that are not
part of the library's public face and so are only used with a version that was tested; `PlainSession` uses
the public ones. Both give the same numbers.
"""

from __future__ import annotations

from importlib.metadata import version
from typing import Any, Protocol

import numpy as np
from power_grid_model import (
    CalculationMethod,
    ComponentType,
    DatasetType,
    PowerGridModel,
    TapChangingStrategy,
)
from power_grid_model.errors import PowerGridBatchError, PowerGridError  # type: ignore[attr-defined]

from peerwatt.grid.admittance import Floats

__all__ = ["BatchSession", "FastSession", "PlainSession", "Session", "batch_failures", "open_session"]

_TESTED = ("1.12.",)
_TOLERANCE_PU = 1e-8
_MAX_ITERATIONS = 20
_CURRENT_TOLERANCE_PU = 1e-11
_CURRENT_ITERATIONS = 50


class Session(Protocol):
    """Solves for `p_w` and `q_var`, (n_sym_gen,), and leaves the answer in `vm_pu` and `va_rad`, (n_node,)."""

    p_w: Floats
    q_var: Floats
    vm_pu: Floats
    va_rad: Floats

    def solve(self) -> str:
        """Solve.

        Returns:
            Why there is no solution; empty when there is one.
        """
        ...


def open_session(input_data: dict[ComponentType, Any], n_node: int) -> Session:
    """Choose the faster session that the installed power-grid-model supports.

    Args:
        input_data: the model; the `sym_gen` are what is updated.
        n_node: number of nodes.
    """
    if version("power-grid-model").startswith(_TESTED):
        return FastSession(input_data, n_node)
    return PlainSession(input_data, n_node)


class PlainSession:
    """A session over the public functions.

    Args:
        input_data: the model; the `sym_gen` are what is updated.
        n_node: number of nodes.
    """

    def __init__(self, input_data: dict[ComponentType, Any], n_node: int) -> None:
        n_gen = len(input_data[ComponentType.sym_gen])
        self.p_w, self.q_var = np.zeros(n_gen), np.zeros(n_gen)
        self.vm_pu, self.va_rad = np.empty(n_node), np.empty(n_node)
        self._update = {ComponentType.sym_gen: {"p_specified": self.p_w, "q_specified": self.q_var}}
        self._output: Any = {ComponentType.node: ["u_pu", "u_angle"]}
        self._model = PowerGridModel(input_data=input_data)

    def solve(self) -> str:
        """Solve, see `Session.solve`."""
        try:
            self._model.update(update_data=self._update)
            node = self._model.calculate_power_flow(
                error_tolerance=_TOLERANCE_PU,
                max_iterations=_MAX_ITERATIONS,
                output_component_types=self._output,
            )[ComponentType.node]
        except PowerGridError as error:
            return str(error)
        self.vm_pu[:], self.va_rad[:] = node["u_pu"], node["u_angle"]
        return ""


class FastSession:
    """A session that describes its buffers to the C++ core once.

    Args:
        input_data: the model; the `sym_gen` are what is updated.
        n_node: number of nodes.
    """

    def __init__(self, input_data: dict[ComponentType, Any], n_node: int) -> None:
        from power_grid_model._core.data_handling import prepare_output_view, prepare_update_view
        from power_grid_model._core.enum import CalculationType
        from power_grid_model._core.error_handling import find_error
        from power_grid_model._core.power_grid_core import ConstDatasetPtr, get_power_grid_core

        n_gen = len(input_data[ComponentType.sym_gen])
        self.p_w, self.q_var = np.zeros(n_gen), np.zeros(n_gen)
        self.vm_pu, self.va_rad = np.empty(n_node), np.empty(n_node)
        self._model = PowerGridModel(input_data=input_data)
        self._update = prepare_update_view(
            {ComponentType.sym_gen: {"p_specified": self.p_w, "q_specified": self.q_var}}
        )
        self._output = prepare_output_view(
            {ComponentType.node: {"u_pu": self.vm_pu, "u_angle": self.va_rad}}, DatasetType.sym_output
        )
        self._options = self._model._options(
            calculation_type=CalculationType.power_flow,
            symmetric=True,
            error_tolerance=_TOLERANCE_PU,
            max_iterations=_MAX_ITERATIONS,
            calculation_method=CalculationMethod.newton_raphson,
            threading=-1,
            tap_changing_strategy=TapChangingStrategy.disabled,
        )
        self._no_update = ConstDatasetPtr()
        self._core: Any = get_power_grid_core
        self._find_error = find_error

    def solve(self) -> str:
        """Solve, see `Session.solve`."""
        core = self._core()  # one per thread
        core.clear_error()
        core.update_model(self._model._model, self._update.get_dataset_ptr())
        error = self._find_error()
        if error is None:
            core.calculate(
                self._model._model,
                self._options.opt,
                output_data=self._output.get_dataset_ptr(),
                update_data=self._no_update,
            )
            error = self._find_error()
        return "" if error is None else str(error)


class BatchSession:
    """Solves many rows with the library's own batch calculation.

    Iterative current is the fastest method here: its matrix does not change, so it is factorised once for all
    rows. It converges linearly, so it stops at a change of 1e-11 pu, where Newton-Raphson, which converges
    quadratically, may stop at 1e-8 pu: both are then equally exact, within 1e-10 pu. A row that it does not
    solve in 50 iterations is heavily loaded or has no solution; such rows are given to Newton-Raphson, whose
    verdict counts.

    Args:
        input_data: the model; the `sym_gen` are what is updated.
        threads: -1 none besides the caller's, 0 as many as the machine has, or how many.
    """

    def __init__(self, input_data: dict[ComponentType, Any], threads: int) -> None:
        self._model = PowerGridModel(input_data=input_data)
        self._threads = threads

    def solve(self, p_w: Floats, q_var: Floats) -> tuple[Floats, Floats, dict[int, str]]:
        """Solve.

        Args:
            p_w: (m, n_sym_gen) active power into the nodes, contiguous.
            q_var: (m, n_sym_gen) reactive power.

        Returns:
            Voltage magnitudes in pu and angles in radian, (m, n_node), nan where there is no solution; and why
            there is none, by row.
        """
        vm, va, failed = self._calculate(
            p_w, q_var, CalculationMethod.iterative_current, _CURRENT_TOLERANCE_PU, _CURRENT_ITERATIONS
        )
        if failed:
            rows = np.fromiter(failed, dtype=np.int64)
            again = CalculationMethod.newton_raphson
            vm[rows], va[rows], failed = self._calculate(p_w[rows], q_var[rows], again, _TOLERANCE_PU, _MAX_ITERATIONS)
            failed = {int(rows[row]): reason for row, reason in failed.items()}
        return vm, va, failed

    def _calculate(
        self, p_w: Floats, q_var: Floats, method: CalculationMethod, tolerance_pu: float, max_iterations: int
    ) -> tuple[Floats, Floats, dict[int, str]]:
        output: Any = {ComponentType.node: ["u_pu", "u_angle"]}
        result: Any = self._model.calculate_power_flow(
            calculation_method=method,
            update_data={ComponentType.sym_gen: {"p_specified": p_w, "q_specified": q_var}},
            error_tolerance=tolerance_pu,
            max_iterations=max_iterations,
            threading=self._threads,
            output_component_types=output,
            continue_on_batch_error=True,
        )
        vm, va = result[ComponentType.node]["u_pu"], result[ComponentType.node]["u_angle"]
        failed = batch_failures(self._model.batch_error)
        for row in np.flatnonzero(~np.isfinite(vm.sum(axis=1))):
            failed.setdefault(int(row), "voltages are not finite")
        rows = list(failed)
        vm[rows] = va[rows] = np.nan
        return vm, va, failed


def batch_failures(error: PowerGridBatchError | None) -> dict[int, str]:
    """What went wrong, by row."""
    if error is None:
        return {}
    return {int(row): text for row, text in zip(error.failed_scenarios, error.error_messages, strict=True)}
