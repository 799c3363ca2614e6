from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse

from peerwatt.market.linear import LinearSolver, LinearState

ONE_ROW = sparse.csc_array([[1.0, 1.0]])  # x0 + x1 = b
NO_END = np.full(2, np.inf)


def solver(**options: int) -> LinearSolver:
    return LinearSolver(ONE_ROW, np.array([0]), **options)


def test_a_dual_is_what_one_more_of_the_right_hand_side_costs() -> None:
    found = solver().solve(np.array([1.0, 2.0]), np.array([3.0]), np.zeros(2), np.array([2.0, 5.0]))
    assert found.state is LinearState.OPTIMAL
    assert found.x.tolist() == [2.0, 1.0]
    assert found.y.tolist() == [2.0]  # the dearer one is marginal


def test_a_program_without_a_solution_is_infeasible() -> None:
    found = solver().solve(np.ones(2), np.array([3.0]), np.zeros(2), np.ones(2))
    assert found.state is LinearState.INFEASIBLE


def test_a_program_without_end_is_no_solution() -> None:
    found = solver().solve(np.array([1.0, -2.0]), np.array([3.0]), -NO_END, NO_END)
    assert found.state is LinearState.STOPPED
    assert "Unbounded" in found.message


def test_what_was_solved_before_changes_nothing() -> None:
    again = solver()
    tie = np.ones(2), np.array([3.0]), np.zeros(2), np.full(2, 2.0)
    expected = solver().solve(*tie)
    again.solve(np.array([2.0, 1.0]), np.array([-1.0]), np.full(2, -5.0), np.zeros(2))
    found = again.solve(*tie)
    assert found.x.tolist() == expected.x.tolist()
    assert found.y.tolist() == expected.y.tolist()


@pytest.mark.parametrize("max_iter", [0, 1])
def test_a_solve_that_may_not_go_on_says_so(max_iter: int) -> None:
    rng = np.random.default_rng(1)
    A = sparse.hstack((rng.uniform(0.1, 1.0, (8, 20)), sparse.eye_array(8)), format="csc")
    bounds = np.r_[np.zeros(20), np.zeros(8)], np.r_[np.ones(20), np.zeros(8)]
    every = LinearSolver(A, np.arange(20, 28))
    b = A[:, :20] @ np.full(20, 0.5)
    assert every.solve(rng.uniform(1.0, 2.0, 28), b, *bounds).state is LinearState.OPTIMAL
    found = LinearSolver(A, np.arange(20, 28), max_iter=max_iter).solve(rng.uniform(1.0, 2.0, 28), b, *bounds)
    assert found.state is LinearState.STOPPED
    assert "Iteration limit" in found.message
    assert "residuals primal" in found.message
