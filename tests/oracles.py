"""Independent solvers that tests compare with: other formulations, other libraries."""

from __future__ import annotations

from dataclasses import dataclass

import clarabel
import highspy
import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.optimize import linprog

from peerwatt.market.book import QuadraticBook, StepBook

__all__ = ["auction_by_linprog", "bilateral_by_clarabel", "bilateral_by_highs", "welfare_of"]

KW = 1e3  # the oracles count in kW


@dataclass(frozen=True, slots=True)
class _Program:
    """min 1/2 x'diag(d)x + q'x  s.t.  A x = 0, lower <= x <= upper."""

    d: NDArray[np.float64]
    q: NDArray[np.float64]
    A: sparse.csc_array
    lower: NDArray[np.float64]
    upper: NDArray[np.float64]


def _both_directions(book: QuadraticBook) -> _Program:
    """Equations (1a)-(1f) as they stand: P_n, P_nm and P_mn in kW with explicit reciprocity (1d)."""
    n, e = book.n_agents, book.n_pairs
    can = ((book.p_max_mw[book.seller] > 0) & (book.p_min_mw[book.buyer] < 0)).astype(float)
    pairs = np.arange(e)
    sold = sparse.csc_array((np.ones(e), (book.seller, pairs)), shape=(n, e))
    bought = sparse.csc_array((np.ones(e), (book.buyer, pairs)), shape=(n, e))
    unit = sparse.eye_array(e)
    none = sparse.csc_array((e, n))
    balance = sparse.hstack((sparse.eye_array(n), -sold, -bought))
    reciprocity = sparse.hstack((none, unit, unit))
    far = 1e9 * can
    return _Program(
        d=np.r_[book.cost_a / KW, np.zeros(2 * e)],
        q=np.r_[book.cost_b, book.seller_cost, -book.buyer_cost],
        A=sparse.vstack((balance, reciprocity)).tocsc(),
        lower=np.r_[book.p_min_mw * KW, np.zeros(e), -far],
        upper=np.r_[book.p_max_mw * KW, far, np.zeros(e)],
    )


def bilateral_by_highs(book: QuadraticBook) -> float | None:
    """Social welfare in EUR by HiGHS' active-set QP solver; None if infeasible."""
    program = _both_directions(book)
    n, rows = program.q.size, program.A.shape[0]
    model = highspy.HighsModel()
    lp = model.lp_
    lp.num_col_, lp.num_row_ = n, rows
    lp.col_cost_ = program.q
    lp.col_lower_ = np.where(program.lower <= -1e8, -highspy.kHighsInf, program.lower)
    lp.col_upper_ = np.where(program.upper >= 1e8, highspy.kHighsInf, program.upper)
    lp.row_lower_ = lp.row_upper_ = np.zeros(rows)
    lp.a_matrix_.format_ = highspy.MatrixFormat.kColwise
    lp.a_matrix_.start_ = program.A.indptr
    lp.a_matrix_.index_ = program.A.indices
    lp.a_matrix_.value_ = program.A.data
    curved = np.flatnonzero(program.d)
    if curved.size:
        model.hessian_.dim_ = n
        model.hessian_.start_ = np.concatenate(([0], np.cumsum(program.d > 0)))
        model.hessian_.index_ = curved
        model.hessian_.value_ = program.d[curved]
    solver = highspy.Highs()
    solver.setOptionValue("output_flag", False)
    solver.passModel(model)
    solver.run()
    status = solver.getModelStatus()
    if status == highspy.HighsModelStatus.kInfeasible:
        return None
    assert status == highspy.HighsModelStatus.kOptimal, status
    return -float(solver.getInfo().objective_function_value) / KW * book.period_h


def bilateral_by_clarabel(book: QuadraticBook) -> float | None:
    """Social welfare in EUR by Clarabel on the formulation with explicit reciprocity; None if infeasible."""
    program = _both_directions(book)
    n, rows = program.q.size, program.A.shape[0]
    settings = clarabel.DefaultSettings()
    settings.verbose = False
    settings.tol_gap_abs = settings.tol_gap_rel = settings.tol_feas = 1e-10
    unit = sparse.eye_array(n, format="csr")
    has_lower, has_upper = program.lower > -1e8, program.upper < 1e8
    solution = clarabel.DefaultSolver(
        sparse.diags_array(program.d, format="csc"),
        program.q,
        sparse.vstack((program.A, -unit[has_lower], unit[has_upper]), format="csc"),
        np.r_[np.zeros(rows), -program.lower[has_lower], program.upper[has_upper]],
        [clarabel.ZeroConeT(rows), clarabel.NonnegativeConeT(int(has_lower.sum() + has_upper.sum()))],
        settings,
    ).solve()
    if solution.status == clarabel.SolverStatus.PrimalInfeasible:
        return None
    assert solution.status in (clarabel.SolverStatus.Solved, clarabel.SolverStatus.AlmostSolved), solution.status
    return -solution.obj_val / KW * book.period_h


def auction_by_linprog(book: StepBook) -> tuple[float, float]:
    """Highest welfare (EUR) and, at that welfare, the largest volume (MW) of a double auction."""
    if not book.p_mw.size:
        return 0.0, 0.0
    sign = np.sign(book.p_mw)
    cost = sign * book.price_eur_per_mwh
    bounds = np.c_[np.zeros(book.p_mw.size), np.abs(book.p_mw) * KW]
    best = linprog(cost, A_eq=sign[None, :], b_eq=[0.0], bounds=bounds, method="highs")
    assert best.status == 0, best.message
    largest = linprog(
        -(sign > 0).astype(float),
        A_ub=cost[None, :],
        b_ub=[best.fun + 1e-9 * max(1.0, abs(best.fun))],
        A_eq=sign[None, :],
        b_eq=[0.0],
        bounds=bounds,
        method="highs",
    )
    assert largest.status == 0, largest.message
    return -best.fun / KW * book.period_h, -largest.fun / KW


def welfare_of(book: QuadraticBook, seller: object, buyer: object, p_mw: object) -> float:
    """Social welfare in EUR of given trades, pair by pair and agent by agent, from equations (2) and (3)."""
    cost = dict(zip(zip(book.seller, book.buyer, strict=True), book.seller_cost + book.buyer_cost, strict=True))
    net = [0.0] * book.n_agents
    total = 0.0
    for s, b, p in zip(seller, buyer, p_mw, strict=True):  # type: ignore[call-overload]
        net[s] += p
        net[b] -= p
        total -= cost[(s, b)] * p
    for n, p in enumerate(net):
        total -= 0.5 * book.cost_a[n] * p * p + book.cost_b[n] * p
    return float(total * book.period_h)
