"""CPU seconds of clearing markets, against the same problems written as a user would write them.

The yardstick of the central bilateral market is cvxpy with the equations (1a) to (1f) of Marques et al. as they
stand, vectorised: powers of both directions with explicit reciprocity, whose duals are the prices. Consecutive
periods have the same pairs and other powers and costs; all ways clear the same periods. Everything runs in turns in
one process, several rounds, and the best round counts, so that the ratios hold on a busy machine too.
"""

from __future__ import annotations

import resource
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace

import cvxpy as cp
import numpy as np
from clearing_flexibility import flexibility_rows
from clearing_negotiation import negotiation_rows
from clearing_rows import Row, best_of
from rich.console import Console
from rich.table import Table
from scipy import sparse

from peerwatt.market.bilateral import Bilateral, PreparedBilateral, bilateral
from peerwatt.market.book import QuadraticBook, all_pairs

CONSOLE = Console(width=170)
CASES = (  # peers, partners, ratio wanted of a first period and of later ones, rounds
    (50, None, np.nan, 15.0, 40),
    (200, None, 5.0, np.nan, 3),
    (1_000, 20, 3.0, np.nan, 2),
)
PERIODS = 3
BLOCKED = 0.1  # share of the pairs
LARGE = 5_000
MEMORY = 2 * 1024**3  # bytes that the largest case may take
EXACT = 1e-6  # relative difference of the welfare that is allowed


def main() -> None:
    if sys.argv[1:] == ["large"]:
        large()
        return
    rows = [*central_rows(), *negotiation_rows(), *flexibility_rows()]
    table = Table("case", "CPU s", "yardstick CPU s", "yardstick", "ratio", "wanted", "gap", "note")
    for row in rows:
        wanted = "-" if np.isnan(row.wanted) else f"{row.wanted:.0f}x {'met' if row.met else 'MISSED'}"
        against = (f"{row.reference_s:.4f}", row.reference, f"{row.ratio:.1f}x")
        times = (f"{row.ours_s:.4f}", *(("-",) * 3 if np.isnan(row.ratio) else against))
        table.add_row(row.case, *times, wanted, "-" if np.isnan(row.gap) else f"{row.gap:.1e}", row.note)
    CONSOLE.print(table)


def central_rows() -> list[Row]:
    rows = [row for case in CASES for row in central(*case)]
    spent = subprocess.run([sys.executable, __file__, "large"], check=True, capture_output=True, text=True).stdout
    seconds, memory, note = spent.split(maxsplit=2)
    if int(memory) > MEMORY:
        raise AssertionError(f"{LARGE} peers took {int(memory) / 2**20:.0f} MiB")
    note = f"{note.strip()}, at most {int(memory) / 2**20:.0f} MiB"
    rows.append(Row(f"bilateral, {LARGE:,} peers, 20 partners", float(seconds), np.nan, "-", np.nan, np.nan, note))
    return rows


def central(n: int, partners: int | None, wanted: float, wanted_later: float, rounds: int) -> list[Row]:
    rng = np.random.default_rng(1)
    first = households(n, partners)
    books = [first, *(next_period(first, rng) for _ in range(PERIODS - 1))]
    prepared, mechanism, blocked = PreparedBilateral(first), Bilateral(), rng.random(first.n_pairs) < BLOCKED
    results = [mechanism.clear(book, rng) for book in books]
    gap = max(abs(r.social_welfare_eur / by_cvxpy(book) - 1.0) for r, book in zip(results, books, strict=True))
    if not gap <= EXACT:
        raise AssertionError(f"{n} peers: welfare off by {gap:.1e}")
    ways: dict[str, Callable[[QuadraticBook], object]] = {
        "first": bilateral,
        "later": lambda book: mechanism.clear(book, rng),
        "costs": lambda book: prepared.clear(book.seller_cost, book.buyer_cost),
        "blocked": lambda book: prepared.clear(book.seller_cost, book.buyer_cost, blocked=blocked),
        "cvxpy": by_cvxpy,
    }
    calls = {name: lambda way=way: [way(book) for book in books] for name, way in ways.items()}
    seconds = {name: spent / PERIODS for name, spent in best_of(rounds, calls).items()}
    name = f"bilateral, {n:,} peers, " + ("dense" if partners is None else f"{partners} partners")
    yardstick = (seconds["cvxpy"], "cvxpy + Clarabel")
    iterations = ", ".join(str(result.iterations) for result in results)
    return [
        Row(name, seconds["first"], *yardstick, wanted, gap, f"cold; {first.n_pairs:,} pairs, {iterations} iterations"),
        Row(f"{name}, per period", seconds["later"], *yardstick, wanted_later, gap, "the pairs of the period before"),
        Row(f"{name}, other pair costs", seconds["costs"], *yardstick, np.nan, gap, "prepared once"),
        Row(f"{name}, pairs blocked", seconds["blocked"], *yardstick, np.nan, gap, f"prepared once, {BLOCKED:.0%}"),
    ]


def large() -> None:
    book = households(LARGE, 20)
    bilateral(households(10, None))
    results = []
    seconds = best_of(0, {"once": lambda: results.append(bilateral(book))})["once"]
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(seconds, memory, f"{book.n_pairs:,} pairs, {results[0].status}, {results[0].iterations} iterations")


def households(n: int, partners: int | None, seed: int = 0) -> QuadraticBook:
    """Half of the peers sell; each seller has that many partners, or all buyers."""
    rng, half = np.random.default_rng(seed), n // 2
    p_min = np.concatenate((np.zeros(half), -rng.uniform(5e-4, 6e-3, n - half)))
    p_max = np.concatenate((rng.uniform(5e-4, 6e-3, half), np.zeros(n - half)))
    cost_a = 10 ** rng.uniform(3.5, 5, n)
    cost_b = np.concatenate((rng.uniform(50, 200, half), rng.uniform(100, 320, n - half)))
    seller, buyer = all_pairs(p_min, p_max)
    if partners is not None:
        seller = np.repeat(np.arange(half), partners)
        chosen = [np.sort(rng.choice(n - half, partners, replace=False)) for _ in range(half)]
        buyer = half + np.concatenate(chosen)
    cost = rng.uniform(0, 10, (2, seller.size))
    return QuadraticBook(p_min, p_max, cost_a, cost_b, seller, buyer, *cost, 0.25)


def next_period(book: QuadraticBook, rng: np.random.Generator) -> QuadraticBook:
    """The same pairs with other powers and costs."""
    power, cost = rng.uniform(0.7, 1.3, book.n_agents), rng.uniform(0.9, 1.1, book.n_agents)
    return replace(
        book,
        p_min_mw=book.p_min_mw * power,
        p_max_mw=book.p_max_mw * power,
        cost_b=book.cost_b * cost,
        seller_cost=rng.uniform(0, 10, book.n_pairs),
        buyer_cost=rng.uniform(0, 10, book.n_pairs),
    )


def by_cvxpy(book: QuadraticBook) -> float:
    """Social welfare in EUR."""
    n, e = book.n_agents, book.n_pairs
    pairs, one = np.arange(e), np.ones(e)
    of_seller = sparse.csr_array((one, (book.seller, pairs)), shape=(n, e))
    of_buyer = sparse.csr_array((one, (book.buyer, pairs)), shape=(n, e))
    p, sold, bought = cp.Variable(n), cp.Variable(e, nonneg=True), cp.Variable(e, nonpos=True)
    production = cp.sum(cp.multiply(book.cost_a / 2, cp.square(p))) + book.cost_b @ p
    trading = book.seller_cost @ sold - book.buyer_cost @ bought
    balance, reciprocity = p == of_seller @ sold + of_buyer @ bought, sold + bought == 0
    bounds = [p >= book.p_min_mw, p <= book.p_max_mw]
    problem = cp.Problem(cp.Minimize(production + trading), [balance, reciprocity, *bounds])
    problem.solve(solver=cp.CLARABEL)
    return float(-problem.value * book.period_h)


if __name__ == "__main__":
    main()
