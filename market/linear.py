"""Linear programs, solved by HiGHS directly.

    minimise    q' x
    subject to  A x = b                 (dual y, the change of the cost per unit of b)
                lower <= x <= upper

Data must be scaled by the caller such that typical values are near 1: tolerances are absolute. The simplex method
on one thread gives the same vertex and duals every time.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
from scipy import sparse

from peerwatt.market.book import FloatArray, IntArray

__all__ = ["LinearSolution", "LinearSolver", "LinearState"]

_TOLERANCE = 1e-9  # absolute, of scaled data


class LinearState(StrEnum):
    """How a solve ended.

    Attributes:
        OPTIMAL: solved.
        INFEASIBLE: no x meets all constraints.
        STOPPED: neither; the message says why.
    """

    OPTIMAL = "optimal"
    INFEASIBLE = "infeasible"
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True)
class LinearSolution:
    """What the solver found; `x` and `y` mean something when optimal only.

    Attributes:
        state: how the solve ended.
        x: solution. (n_variables,)
        y: duals of the equalities. (n_rows,)
        iterations: of the simplex method.
        message: HiGHS's own state, with its residuals.
    """

    state: LinearState
    x: FloatArray
    y: FloatArray
    iterations: int
    message: str


class LinearSolver:
    """Programs of one matrix A; costs, right-hand sides and bounds change from solve to solve.

    Every solve starts from the same basis, so that a result does not depend on what was solved before.

    Args:
        A: equality constraints. (n_rows, n_variables)
        basic: columns to start with, a nonsingular basis, all others being at their lower bounds. (n_rows,)
        max_iter: most iterations of the simplex method; no limit if None.
    """

    def __init__(self, A: sparse.csc_array, basic: IntArray, *, max_iter: int | None = None) -> None:
        self._A = A
        self._start = _basis(A, basic)
        self._max_iter = max_iter
        self._highs: Any = None

    def solve(self, q: FloatArray, b: FloatArray, lower: FloatArray, upper: FloatArray) -> LinearSolution:
        """Solve one program.

        Args:
            q: costs. (n_variables,)
            b: right-hand sides. (n_rows,)
            lower: lower bounds, -inf where there is none. (n_variables,)
            upper: upper bounds, inf where there is none. (n_variables,)
        """
        if self._highs is None:
            self._highs = _pass(self._A, q, b, lower, upper, self._max_iter)
        else:
            self._change(q, b, lower, upper)
        self._highs.setBasis(self._start)
        self._highs.run()
        return _solution(self._highs)

    def _change(self, q: FloatArray, b: FloatArray, lower: FloatArray, upper: FloatArray) -> None:
        highs = self._highs
        n_rows, n = self._A.shape
        columns, rows = np.arange(n, dtype=np.int32), np.arange(n_rows, dtype=np.int32)
        highs.clearSolver()
        highs.changeColsCost(n, columns, q)
        highs.changeColsBounds(n, columns, lower, upper)
        highs.changeRowsBounds(n_rows, rows, b, b)


def _basis(A: sparse.csc_array, basic: IntArray) -> Any:
    import highspy

    status = highspy.HighsBasisStatus
    n_rows, n = A.shape
    columns = [status.kLower] * n
    for column in basic.tolist():
        columns[column] = status.kBasic
    start = highspy.HighsBasis()
    start.col_status, start.row_status = columns, [status.kLower] * n_rows
    start.valid = True
    return start


def _pass(
    A: sparse.csc_array, q: FloatArray, b: FloatArray, lower: FloatArray, upper: FloatArray, max_iter: int | None
) -> Any:
    import highspy

    program = highspy.HighsLp()
    program.num_row_, program.num_col_ = A.shape
    program.col_cost_, program.col_lower_, program.col_upper_ = q, lower, upper
    program.row_lower_ = program.row_upper_ = b
    program.a_matrix_.format_ = highspy.MatrixFormat.kColwise
    program.a_matrix_.start_, program.a_matrix_.index_, program.a_matrix_.value_ = A.indptr, A.indices, A.data
    highs: Any = highspy.Highs()  # type: ignore[no-untyped-call]
    options: dict[str, bool | int | float | str] = {
        "output_flag": False,
        "threads": 1,
        "solver": "simplex",
        "presolve": "off",  # dearer than the solve for what markets ask
        "primal_feasibility_tolerance": _TOLERANCE,
        "dual_feasibility_tolerance": _TOLERANCE,
    }
    if max_iter is not None:
        options["simplex_iteration_limit"] = max_iter
    for option, value in options.items():
        highs.setOptionValue(option, value)
    highs.passModel(program)
    return highs


def _solution(highs: Any) -> LinearSolution:
    import highspy

    ended, info, found = highs.getModelStatus(), highs.getInfo(), highs.getSolution()
    states = {
        highspy.HighsModelStatus.kOptimal: LinearState.OPTIMAL,
        highspy.HighsModelStatus.kInfeasible: LinearState.INFEASIBLE,
    }
    residuals = f"primal {info.max_primal_infeasibility:.1e}, dual {info.max_dual_infeasibility:.1e}"
    return LinearSolution(
        state=states.get(ended, LinearState.STOPPED),
        x=np.array(found.col_value),
        y=np.array(found.row_dual),
        iterations=int(info.simplex_iteration_count),
        message=f"HiGHS: {highs.modelStatusToString(ended)}; residuals {residuals}",
    )
