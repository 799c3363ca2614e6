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

import numpy as np
from scipy import sparse

from peerwatt.market.book import FloatArray

__all__ = ["DiagonalQP", "QpSolution", "QpSolver", "solve"]

_PIQP_TOLERANCE = 1e-13  # asked for: the last digits cost one or two iterations
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
    return _clarabel(problem, max_iter) if solver is QpSolver.CLARABEL else _piqp(problem, max_iter)


def _diagonal(d: FloatArray) -> sparse.csc_array:
    n = d.size
    return sparse.csc_array((d, np.arange(n, dtype=np.int32), np.arange(n + 1, dtype=np.int32)), shape=(n, n))


def _piqp(problem: DiagonalQP, max_iter: int) -> QpSolution:
    import piqp

    solver = piqp.SparseSolver()
    settings = solver.settings
    settings.eps_abs = settings.eps_duality_gap_abs = _PIQP_TOLERANCE
    settings.eps_rel = settings.eps_duality_gap_rel = _PIQP_TOLERANCE
    settings.max_iter = max_iter
    lower = np.maximum(problem.lower, -_INFINITY)
    upper = np.minimum(problem.upper, _INFINITY)
    solver.setup(_diagonal(problem.d), problem.q, problem.A, problem.b, None, None, None, lower, upper)
    status = solver.solve()
    result, info = solver.result, solver.result.info
    residuals = (info.primal_res, info.dual_res, info.duality_gap)
    solved = status == piqp.PIQP_SOLVED
    return QpSolution(
        converged=solved or _is_close(*residuals, info.primal_obj),
        x=np.array(result.x),
        y=np.array(result.y),
        iterations=int(info.iter),
        message=_message("PIQP", str(status).rsplit(".", maxsplit=1)[-1], *residuals),
    )


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
