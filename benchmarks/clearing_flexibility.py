"""Local flexibility market: flow variables per line against the dense PTDF, both solved by HiGHS to the optimum."""

from __future__ import annotations

from dataclasses import replace

import highspy
import numpy as np
from clearing_rows import Row, best_of
from scipy import sparse

from peerwatt.market.clearing import Status
from peerwatt.market.flexibility import FlexibilityBook
from peerwatt.market.lfm import FlexibilityMarket, clear_flexibility
from peerwatt.market.limits import NetworkLimits, Tree

__all__ = ["flexibility_rows"]

EXACT = 1e-9  # relative difference of the costs that is allowed
LARGE, SMALL = (10_000, 1_000, 0.02), (172, 118, 0.005)  # bids, lines, MW of room; the second is about D5.3's study


def flexibility_rows(rounds: int = 3) -> list[Row]:
    rows = [row for size in (LARGE, SMALL) for row in _rows(*size, rounds)]
    inexact = [row.case for row in rows if not row.gap <= EXACT]
    if inexact:
        raise AssertionError(f"not the same cost: {', '.join(inexact)}")
    return rows


def _rows(n_bids: int, n_lines: int, room_mw: float, rounds: int) -> list[Row]:
    book, limits, ptdf = congested_feeders(n_bids, n_lines, room_mw)
    market, dense = FlexibilityMarket(book, limits), replace(limits, response=ptdf)
    result, matrix = clear_flexibility(book, limits), clear_flexibility(book, dense)
    if not result.status is matrix.status is Status.OPTIMAL:
        raise AssertionError(f"{result.status}, {matrix.status}: {result.message}{matrix.message}")
    reference = by_ptdf(book, limits, ptdf, presolve=True) * book.period_h

    seconds = best_of(
        rounds,
        {
            "flows": lambda: clear_flexibility(book, limits),
            "again": lambda: market.clear(book, limits),
            "matrix": lambda: clear_flexibility(book, dense),
            "textbook": lambda: by_ptdf(book, limits, ptdf, presolve=True),
            "without presolve": lambda: by_ptdf(book, limits, ptdf, presolve=False),
        },
    )
    flow_gap, matrix_gap = (abs(cost / reference - 1.0) for cost in (result.cost_eur, matrix.cost_eur))
    case = f"flexibility, {n_bids:,} bids, {n_lines:,} lines"
    congested = int((np.abs(limits.flow_mw) > limits.upper_mw).sum())
    wanted = 8.0 if n_lines == LARGE[1] else np.nan
    plain, bare = "HiGHS, dense PTDF", "the same without presolve"
    return [
        Row(case, seconds["flows"], seconds["textbook"], plain, wanted, flow_gap, f"{congested} lines congested"),
        Row(f"{case}, prepared", seconds["again"], seconds["textbook"], plain, np.nan, flow_gap),
        Row(case, seconds["flows"], seconds["without presolve"], bare, np.nan, flow_gap),
        Row(f"{case}, as a matrix", seconds["matrix"], seconds["textbook"], plain, np.nan, matrix_gap),
    ]


def congested_feeders(n_bids: int, n_lines: int, room_mw: float) -> tuple[FlexibilityBook, NetworkLimits, np.ndarray]:
    """Random feeders some of whose lines are congested, a book that can relieve them, and the PTDF.

    Prices as in D5.3, section 5.4.1: 45 to 55 EUR/MWh upward, downward bids pay 5 to 15.
    """
    rng = np.random.default_rng(0)
    parent = np.array([-1, *(int(rng.integers(max(0, k - 20), k)) for k in range(1, n_lines + 1))])
    ptdf = np.zeros((n_lines, n_lines + 1))
    for node in range(1, n_lines + 1):
        ptdf[:, node] = ptdf[:, parent[node]]
        ptdf[node - 1, node] = 1.0
    node, direction = rng.integers(1, n_lines + 1, n_bids), rng.choice([-1, 1], n_bids)
    p_max = rng.uniform(0.001, 0.02, n_bids)
    price = np.where(direction > 0, rng.uniform(45, 55, n_bids), -rng.uniform(5, 15, n_bids))
    flow = ptdf @ rng.normal(-0.01, 0.02, n_lines + 1)
    x = np.where(rng.random(n_bids) < 0.1, p_max, 0.0)
    up, down = x[direction > 0].sum(), x[direction < 0].sum()
    x *= np.where(direction > 0, min(1.0, down / up), min(1.0, up / down))
    after = flow + ptdf @ np.bincount(node, direction * x, minlength=n_lines + 1)
    limit = np.abs(after) * rng.uniform(1.0, 1.5, n_lines) + room_mw
    tree = Tree(parent, np.arange(-1, n_lines), np.ones(n_lines + 1, dtype=np.intp))
    book = FlexibilityBook(np.arange(n_bids), node, direction, p_max, price, n_bids, 0.25)
    return book, NetworkLimits(flow, -limit, limit, tree), ptdf


def by_ptdf(book: FlexibilityBook, limits: NetworkLimits, ptdf: np.ndarray, *, presolve: bool) -> float:
    """The market as D5.3, section 5.2.1, has it: a row per line over all bids, PTDF times direction. EUR/h."""
    A = sparse.csc_array(np.vstack((ptdf[:, book.node] * book.direction, book.direction)))
    unit = float(np.median(book.p_max_mw))
    program = highspy.HighsLp()
    program.num_row_, program.num_col_ = A.shape
    program.col_cost_, program.col_lower_, program.col_upper_ = (
        book.price_eur_per_mwh,
        np.zeros(book.n_bids),
        book.p_max_mw / unit,
    )
    program.row_lower_ = np.r_[limits.lower_mw - limits.flow_mw, 0.0] / unit
    program.row_upper_ = np.r_[limits.upper_mw - limits.flow_mw, 0.0] / unit
    program.a_matrix_.format_ = highspy.MatrixFormat.kColwise
    program.a_matrix_.start_, program.a_matrix_.index_, program.a_matrix_.value_ = A.indptr, A.indices, A.data
    highs = highspy.Highs()
    highs.setOptionValue("output_flag", False)  # noqa: FBT003
    highs.setOptionValue("threads", 1)
    highs.setOptionValue("presolve", "choose" if presolve else "off")
    highs.passModel(program)
    highs.run()
    if highs.getModelStatus() != highspy.HighsModelStatus.kOptimal:
        raise AssertionError(highs.modelStatusToString(highs.getModelStatus()))
    return float(highs.getInfo().objective_function_value) * unit
