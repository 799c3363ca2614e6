"""Quadratic programs with a diagonal cost, solved by PIQP or Clarabel directly.

    minimise    1/2 x' diag(d) x + q' x
    subject to  A x = b                 (dual y)
                lower <= x <= upper

with the Lagrangian q + d x + A' y - z_lower + z_upper = 0. Data must be scaled by the caller such that
typical values of x and of its costs are near 1: tolerances are absolute.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
from scipy import sparse

from peerwatt.market.book import FloatArray

__all__ = ["DiagonalQP", "QpSession", "QpSolution", "QpSolver", "solve"]

_PIQP_TOLERANCE = 1e-13  # asked for: the last digits cost one or two iterations
_PIQP_STEP = 0.999  # share of the longest step; its default of 0.99 takes more iterations
_CLARABEL_TOLERANCE = 1e-12  # does not always reach the next digit
_ACCEPTED = 1e-8  # residuals at which a solver that could not reach it is still believed
_INFINITY = 1e30


class QpSolver(StrEnum):
    """Which solver.

    Attributes:
        AUTO: the faster one for the size.
        PIQP: proximal interior point, fastest for small problems.
        CLARABEL: interior point, fastest for large sparse problems.
    """

    AUTO = "auto"
    PIQP = "piqp"
    CLARABEL = "clarabel"


@dataclass(frozen=True, slots=True)
class DiagonalQP:
    """One problem.

    Attributes:
        d: diagonal of the cost, not negative. (n_variables,)
        q: linear cost. (n_variables,)
        A: equality constraints. (n_rows, n_variables)
        b: their right-hand side. (n_rows,)
        lower: lower bounds, -inf where there is none. (n_variables,)
        upper: upper bounds, inf where there is none. (n_variables,)
    """

    d: FloatArray
    q: FloatArray
    A: sparse.csc_array
    b: FloatArray
    lower: FloatArray
    upper: FloatArray


@dataclass(frozen=True, slots=True)
class QpSolution:
    """What the solver found.

    Attributes:
        converged: whether `x` and `y` are a solution.
        x: solution. (n_variables,)
        y: duals of the equalities. (n_rows,)
        iterations: iterations taken.
        message: the solver's state and residuals, in scaled units.
    """

    converged: bool
    x: FloatArray
    y: FloatArray
    iterations: int
    message: str


def solve(problem: DiagonalQP, solver: QpSolver, *, max_iter: int = 250) -> QpSolution:
    """Solve one problem with PIQP or Clarabel; `AUTO` is PIQP."""
    return QpSession().solve(problem, solver, max_iter=max_iter)


class QpSession:
    """Problems solved one after the other, quicker where the next one has the structure of the last.

    The structure is the sparsity of `A` and which bounds are finite; while it stays, PIQP keeps its symbolic
    analysis and takes the new numbers. Nothing is warm-started and nothing scaled by what came before: a solution is
    that of a new session to the last digit. Clarabel starts anew every time. A session is for one thread.
    """

    def __init__(self) -> None:
        self._last: DiagonalQP | None = None
        self._solver: Any = None
        self._cost: Any = None

    def __reduce__(self) -> tuple[type[QpSession], tuple[()]]:
        """A copy is a new session: PIQP's solvers cannot be copied."""
        return type(self), ()

    def solve(self, problem: DiagonalQP, solver: QpSolver, *, max_iter: int = 250) -> QpSolution:
        """Solve one problem with PIQP or Clarabel; `AUTO` is PIQP."""
        return _clarabel(problem, max_iter) if solver is QpSolver.CLARABEL else self._piqp(problem, max_iter)

    def _piqp(self, problem: DiagonalQP, max_iter: int) -> QpSolution:
        import piqp

        last, self._last = self._last, None  # after an error there is nothing to go on from
        lower, upper = np.maximum(problem.lower, -_INFINITY), np.minimum(problem.upper, _INFINITY)
        others = (problem.b, None, None, None, lower, upper)
        if last is not None and _same_structure(last, problem):
            solver, self._cost.data = self._solver, problem.d
            same = last.A is problem.A or np.array_equal(last.A.data, problem.A.data)
            solver.update(self._cost, problem.q, None if same else sparse.csc_matrix(problem.A), *others)
        else:
            solver, self._cost = _piqp_solver(), sparse.csc_matrix(_diagonal(problem.d))
            solver.setup(self._cost, problem.q, sparse.csc_matrix(problem.A), *others)
        solver.settings.max_iter = max_iter
        status = solver.solve()
        result, info = solver.result, solver.result.info
        residuals = (info.primal_res, info.dual_res, info.duality_gap)
        solved = status == piqp.PIQP_SOLVED
        self._solver, self._last = solver, problem if solved else None
        return QpSolution(
            converged=solved or _is_close(*residuals, info.primal_obj),
            x=np.array(result.x),
            y=np.array(result.y),
            iterations=int(info.iter),
            message=_message("PIQP", str(status).rsplit(".", maxsplit=1)[-1], *residuals),
        )


def _same_structure(one: DiagonalQP, other: DiagonalQP) -> bool:
    return (
        one.A.shape == other.A.shape
        and (
            one.A is other.A
            or (np.array_equal(one.A.indptr, other.A.indptr) and np.array_equal(one.A.indices, other.A.indices))
        )
        and np.array_equal(np.isinf(one.lower), np.isinf(other.lower))
        and np.array_equal(np.isinf(one.upper), np.isinf(other.upper))
    )


def _piqp_solver() -> Any:
    import piqp

    solver = piqp.SparseSolver()
    settings = solver.settings
    settings.eps_abs = settings.eps_duality_gap_abs = _PIQP_TOLERANCE
    settings.eps_rel = settings.eps_duality_gap_rel = _PIQP_TOLERANCE
    settings.tau = _PIQP_STEP
    settings.preconditioner_iter = 0  # data are scaled, and its scaling would be that of the first problem
    return solver


def _diagonal(d: FloatArray) -> sparse.csc_array:
    n = d.size
    return sparse.csc_array((d, np.arange(n, dtype=np.int32), np.arange(n + 1, dtype=np.int32)), shape=(n, n))


def _clarabel(problem: DiagonalQP, max_iter: int) -> QpSolution:
    import clarabel

    settings = clarabel.DefaultSettings()
    settings.verbose = False
    settings.max_iter = max_iter
    settings.tol_feas = settings.tol_gap_abs = settings.tol_gap_rel = _CLARABEL_TOLERANCE
    below = np.flatnonzero(np.isfinite(problem.lower))
    above = np.flatnonzero(np.isfinite(problem.upper))
    n = problem.q.size
    unit = sparse.eye_array(n, format="csr")
    rows = sparse.vstack((problem.A, -unit[below], unit[above]), format="csc")
    rhs = np.concatenate((problem.b, -problem.lower[below], problem.upper[above]))
    cones = [clarabel.ZeroConeT(problem.b.size), clarabel.NonnegativeConeT(below.size + above.size)]
    result = clarabel.DefaultSolver(_diagonal(problem.d), problem.q, rows, rhs, cones, settings).solve()
    x, dual = np.array(result.x), np.array(result.z)
    gap = abs(result.obj_val - result.obj_val_dual)
    solved = result.status == clarabel.SolverStatus.Solved
    return QpSolution(
        converged=solved or _is_close(result.r_prim, result.r_dual, gap, result.obj_val),
        x=x,
        y=dual[: problem.b.size],
        iterations=int(result.iterations),
        message=_message("Clarabel", str(result.status), result.r_prim, result.r_dual, gap),
    )


def _is_close(primal: float, dual: float, gap: float, objective: float) -> bool:
    return max(primal, dual) <= _ACCEPTED and gap <= _ACCEPTED * max(1.0, abs(objective))


def _message(solver: str, status: str, primal: float, dual: float, gap: float) -> str:
    return f"{solver}: {status}; residuals primal {primal:.1e}, dual {dual:.1e}, gap {gap:.1e}"
