from __future__ import annotations

import copy
from dataclasses import replace

import cvxpy as cp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from peerwatt.errors import BookError
from peerwatt.market.bilateral import Bilateral, PreparedBilateral, bilateral
from peerwatt.market.book import QuadraticBook, all_pairs
from peerwatt.market.clearing import Clearing, Status
from peerwatt.market.optimality import optimality_gap
from peerwatt.market.solver import QpSession, QpSolver
from tests.oracles import bilateral_by_clarabel
from tests.strategies import quadratic_books, random_quadratic_book

KW = 1e3


def random_book(seed: int) -> QuadraticBook:
    rng = np.random.default_rng(2000 + seed)
    return random_quadratic_book(rng, int(rng.integers(4, 40)), partners=None if seed % 3 else 5)


def by_cvxpy(book: QuadraticBook) -> float:
    """Social welfare in EUR: powers of both directions in kW, with explicit reciprocity."""
    n, e = book.n_agents, book.n_pairs
    pairs, one = np.arange(e), np.ones(e)
    of_seller = sparse.csr_array((one, (book.seller, pairs)), shape=(n, e))
    of_buyer = sparse.csr_array((one, (book.buyer, pairs)), shape=(n, e))
    p, sold, bought = cp.Variable(n), cp.Variable(e, nonneg=True), cp.Variable(e, nonpos=True)
    cost = cp.sum(cp.multiply(book.cost_a / KW / 2, cp.square(p))) + book.cost_b @ p
    cost = cost + book.seller_cost @ sold - book.buyer_cost @ bought
    rules = [p == of_seller @ sold + of_buyer @ bought, sold + bought == 0]
    problem = cp.Problem(cp.Minimize(cost), [*rules, p >= book.p_min_mw * KW, p <= book.p_max_mw * KW])
    tight = {"tol_gap_abs": 1e-9, "tol_gap_rel": 1e-9, "tol_feas": 1e-9}
    problem.solve(solver=cp.CLARABEL, **tight)
    assert problem.status == cp.OPTIMAL
    return float(-problem.value / KW * book.period_h)


@pytest.mark.parametrize(
    "seeds", [range(20), pytest.param(range(20, 200), marks=pytest.mark.slow)], ids=["20 books", "180 books"]
)
def test_random_markets_equal_cvxpy_and_every_peer_is_content_with_its_prices(seeds: range) -> None:
    for seed in seeds:
        book = random_book(seed)
        result = bilateral(book)
        if result.status is Status.EMPTY:
            continue
        assert result.status is Status.OPTIMAL, (seed, result.message)
        assert result.social_welfare_eur == pytest.approx(by_cvxpy(book), rel=1e-6, abs=1e-9), seed
        gap = optimality_gap(book, result)
        size = np.maximum(np.abs(book.p_min_mw), np.abs(book.p_max_mw))
        turnover = float(size @ np.abs(book.cost_b)) * book.period_h
        assert np.abs(gap.balance_mw).max() <= 1e-12
        assert (gap.bounds_mw <= 2e-6 * size).all()
        assert gap.pair_gain_eur_per_mwh.max() <= 1e-3
        assert gap.price_eur_per_mwh.max(initial=0.0) <= 1e-3
        assert abs(gap.gap_eur) <= 1e-6 * turnover, seed
        assert (gap.forgone_eur >= -2e-6 * turnover).all()


def test_the_gap_shows_a_schedule_that_is_not_the_best() -> None:
    book = random_book(4)
    result = bilateral(book)
    worse = replace(result, agent_price_eur_per_mwh=result.agent_price_eur_per_mwh + 5.0)
    assert optimality_gap(book, worse).gap_eur > 1e3 * abs(optimality_gap(book, result).gap_eur)
    failed = bilateral(book, max_iter=1)
    with pytest.raises(ValueError, match="not_converged"):
        optimality_gap(book, failed)


def assert_identical(one: Clearing, other: Clearing) -> None:
    """To the last digit."""
    assert one.status is other.status
    assert one.iterations == other.iterations
    for field in ("p_mw", "welfare_eur", "agent_price_eur_per_mwh"):
        assert np.array_equal(getattr(one, field), getattr(other, field), equal_nan=True), field
    for field in ("seller", "buyer", "p_mw", "price_eur_per_mwh"):
        assert np.array_equal(getattr(one.trades, field), getattr(other.trades, field)), field


def without(book: QuadraticBook, blocked: np.ndarray) -> QuadraticBook:
    names = ("seller", "buyer", "seller_cost", "buyer_cost")
    return replace(book, **{name: getattr(book, name)[~blocked] for name in names})


def next_period(book: QuadraticBook, rng: np.random.Generator) -> QuadraticBook:
    """The same pairs with other numbers; some agents' power becomes fixed, some bounds cannot be met."""
    n, e = book.n_agents, book.n_pairs
    p_min, p_max = (bound * rng.choice([0.5, 1.0, 1.5], n) for bound in (book.p_min_mw, book.p_max_mw))
    must = rng.random(n) < 0.1
    p_min = np.where(must & (p_max > 0.0) & (p_min >= 0.0), p_max, np.minimum(p_min, p_max))
    return replace(
        book,
        p_min_mw=p_min,
        p_max_mw=p_max,
        cost_a=book.cost_a * rng.choice([0.0, 1.0, 2.0], n),
        cost_b=book.cost_b * rng.uniform(0.8, 1.2, n),
        seller_cost=rng.uniform(0.0, 5.0, e),
        buyer_cost=rng.uniform(0.0, 5.0, e),
    )


@pytest.mark.parametrize("seed", range(6))
def test_prepared_clears_other_costs_as_a_new_book_would(seed: int) -> None:
    book, rng = random_book(seed), np.random.default_rng(seed)
    prepared = PreparedBilateral(book)
    for _ in range(3):
        seller_cost, buyer_cost = rng.uniform(-2, 15, (2, book.n_pairs))
        other = replace(book, seller_cost=seller_cost, buyer_cost=buyer_cost)
        assert_identical(prepared.clear(seller_cost, buyer_cost), bilateral(other))
        assert_identical(prepared.clear(), bilateral(book))


@pytest.mark.parametrize("seed", range(12))
def test_blocked_pairs_leave_the_trades_of_a_book_without_them(seed: int) -> None:
    book, rng = random_book(seed), np.random.default_rng(seed)
    prepared = PreparedBilateral(book)
    for share in (0.05, 0.3, 0.9):
        blocked = rng.random(book.n_pairs) < share
        result, left = prepared.clear(blocked=blocked), bilateral(without(book, blocked))
        assert result.status is left.status
        assert result.social_welfare_eur == pytest.approx(left.social_welfare_eur, rel=1e-9, abs=1e-12)
        assert result.p_mw == pytest.approx(left.p_mw, abs=1e-8, nan_ok=True)
        banned = set(zip(book.seller[blocked].tolist(), book.buyer[blocked].tolist(), strict=True))
        assert not banned & set(zip(result.trades.seller.tolist(), result.trades.buyer.tolist(), strict=True))
        assert_identical(prepared.clear(blocked=np.flatnonzero(blocked)), result)
        assert_identical(PreparedBilateral(book).clear(blocked=blocked), result)
        by_clarabel = prepared.clear(blocked=blocked, solver=QpSolver.CLARABEL)
        assert by_clarabel.p_mw == pytest.approx(result.p_mw, abs=1e-6, nan_ok=True)


@pytest.mark.parametrize("seed", range(12))
def test_what_a_mechanism_has_cleared_before_changes_no_digit(seed: int) -> None:
    rng, mechanism = np.random.default_rng(seed), Bilateral()
    first, stranger = random_book(seed), random_book(seed + 50)
    periods = [
        first,
        *(next_period(first, rng) for _ in range(4)),
        stranger,
        first,
        replace(first, cost_b=first.cost_b[::-1]),
    ]
    for book in (*periods, first):
        assert_identical(mechanism.clear(book, rng), bilateral(book))
    stopped = Bilateral(max_iter=2)
    assert stopped.clear(first, rng).status is bilateral(first, max_iter=2).status
    assert_identical(copy.deepcopy(mechanism).clear(first, rng), bilateral(first))


@settings(max_examples=50, deadline=None)
@given(quadratic_books(), st.integers(0, 2**16))
def test_small_books_of_every_kind_are_cleared_the_same_after_others(book: QuadraticBook, seed: int) -> None:
    rng, mechanism = np.random.default_rng(seed), Bilateral()
    for each in (book, next_period(book, rng), next_period(book, rng), book):
        assert_identical(mechanism.clear(each, rng), bilateral(each))


def test_costs_and_blocked_pairs_that_do_not_fit_are_refused_together() -> None:
    prepared, n = PreparedBilateral(random_book(1)), random_book(1).n_pairs
    with pytest.raises(BookError) as error:
        prepared.clear(np.full(n, np.nan), np.zeros(n + 1))
    assert [fault.where for fault in error.value.faults] == ["seller_cost", "buyer_cost"]
    for blocked in ([n], [-1], [0.5], np.zeros(n + 1, dtype=bool)):
        with pytest.raises(BookError, match="blocked"):
            prepared.clear(blocked=blocked)


def test_the_missing_power_is_a_number_too() -> None:
    zero = np.zeros(1)
    book = QuadraticBook([3e-3, -1e-3], [5e-3, 0], [0, 0], [100, 300], [0], [1], zero, zero, 1.0)
    result = bilateral(book)
    assert result.status is Status.INFEASIBLE
    assert result.shortfall_mw == pytest.approx(2e-3)
    blocked = PreparedBilateral(book).clear(blocked=[0])
    assert blocked.status is Status.INFEASIBLE
    assert blocked.shortfall_mw == pytest.approx(3e-3)


@pytest.mark.parametrize("max_iter", [1, 3])
def test_a_solver_that_stops_early_gives_residuals_and_no_numbers(max_iter: int) -> None:
    result = bilateral(random_book(2), max_iter=max_iter)
    assert result.status is Status.NOT_CONVERGED
    assert "residuals primal" in result.message
    assert np.isnan(result.p_mw).all()
    assert np.isnan(result.social_welfare_eur)


def test_where_one_solver_stops_early_the_other_one_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    book = random_book(2)
    expected = bilateral(book, solver=QpSolver.CLARABEL)
    piqp = QpSession._piqp
    monkeypatch.setattr(QpSession, "_piqp", lambda session, problem, max_iter: piqp(session, problem, 1))
    assert bilateral(book, solver=QpSolver.PIQP).status is Status.NOT_CONVERGED
    assert_identical(bilateral(book), expected)


@pytest.mark.parametrize("seed", range(10))
def test_both_solvers_find_the_same_trades(seed: int) -> None:
    book = random_book(seed)
    one, other = (bilateral(book, solver=solver) for solver in (QpSolver.PIQP, QpSolver.CLARABEL))
    assert one.social_welfare_eur == pytest.approx(other.social_welfare_eur, rel=1e-8, abs=1e-11)
    assert one.p_mw == pytest.approx(other.p_mw, abs=1e-6)


@pytest.mark.parametrize("solver", [QpSolver.PIQP, QpSolver.CLARABEL])
@pytest.mark.parametrize("curvature", [0.0, 1e4])
@pytest.mark.parametrize("more", [[], [(0.0, 1e-3)], [(-1e-3, 0.0)], [(-2e-3, 1e-3)], [(0.0, 1e-3), (-5e-3, 0.0)]])
def test_others_may_still_trade_where_what_must_be_sold_must_be_bought(
    more: list[tuple[float, float]], curvature: float, solver: QpSolver
) -> None:
    # the sum of all bounds leaves the others nothing, or in floating point next to nothing (0.1 + 0.2 against 0.3)
    must = [1e-4, 2e-4, -3e-4]
    p_min, p_max = [*must, *(low for low, _ in more)], [*must, *(high for _, high in more)]
    n, (seller, buyer) = len(p_min), all_pairs(p_min, p_max)
    cost = np.zeros(seller.size)
    price = [100.0, 120.0, 300.0, 150.0, 250.0][:n]
    book = QuadraticBook(p_min, p_max, np.full(n, curvature), price, seller, buyer, cost, cost, 1.0)
    result = bilateral(book, solver=solver)
    assert result.status is Status.OPTIMAL, result.message
    assert result.p_mw[:3] == pytest.approx(must, rel=1e-5)
    assert result.social_welfare_eur == pytest.approx(bilateral_by_clarabel(book), rel=1e-6)
