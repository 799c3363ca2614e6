"""Bilateral peer-to-peer market, cleared centrally (multi-bilateral economic dispatch).

    min   sum_n C_n(P_n) + C~_n                       Marques et al., (1a)
    s.t.  P_n = sum_m P_nm               for every n  (1b)   dual mu_n
          P_min_n <= P_n <= P_max_n      for every n  (1c)
          P_nm + P_mn = 0                             (1d)   dual lambda_nm
          P_nm >= 0 for who sells, P_mn <= 0 for who buys    (1e), (1f)

with the quadratic costs (2) and the product differentiation (3) of `peerwatt.market.book.QuadraticBook`.
Its solution is the variational equilibrium of the game between peers of D5.3, section 5.2.2. Reciprocity
(1d) is eliminated by one flow x_e = P_sb = -P_bs >= 0 per candidate pair e = (s, b), which leaves one sparse
quadratic program in (P, x). Its duals mu_n, the marginal value of power of every peer, give the prices:

    lambda_sb = mu_s + c_sb = mu_b - c_bs             where x_e > 0
    mu_s + c_sb >= mu_b - c_bs                        where x_e = 0

**Ties.** Where several trades are worth the same, their split is not unique. A regulariser per pair makes it
so: r (x + x^2 / 4X), with r = 1e-7 of the spread of prices and X the most that the pair can trade. Its square
shares among equal partners in proportion to X, whatever the order of the book; its linear part takes no
trade, no detour and no circle that gains nothing (two legs cost at least 2r per MWh, one at most 1.5r). It
shifts prices, and the welfare per traded MWh, by some 1e-7 of the spread of prices; welfare is reported
without it.

**Both sides.** An agent with P_min < 0 < P_max has pairs of both directions and may resell; it does so only
where a direct trade is dearer or is not among the pairs.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from peerwatt.errors import BookError, Fault, ScenarioError
from peerwatt.market.bilateral_conflict import Conflict, find_conflict
from peerwatt.market.bilateral_program import (
    REGULARISER,
    FlowSession,
    Pairs,
    Scale,
    able_pairs,
    flow_program,
    with_idle_flows,
)
from peerwatt.market.book import FloatArray, IntArray, QuadraticBook, sum_by_agent, validate
from peerwatt.market.clearing import Clearing, Status, Trades, empty_clearing, failed_clearing
from peerwatt.market.mechanism import BookKind
from peerwatt.market.price_interval import within_interval
from peerwatt.market.solver import DiagonalQP, QpSolution, QpSolver

__all__ = ["Bilateral", "PreparedBilateral", "bilateral"]

_SMALL = 1e-6  # share of an agent's size that trades too small to be any may add up to
_TOUCHED = 1e-3  # share of a trade that tidying up may change at most
_PIQP_AGENTS = 1000  # more are solved with Clarabel
_ENDLESS = "unbounded: the incentives (negative pair costs) make a circle of trades pay without end"


@dataclass(frozen=True, slots=True)
class Bilateral:
    """The central bilateral clearing as a mechanism.

    A book with the pairs of the one before is cleared quicker, and to the same last digit.

    Attributes:
        solver: ``auto``, ``piqp`` or ``clarabel``.
        max_iter: most iterations of the solver.
        k: which price of the interval counts where the book leaves one, 0 lowest to 1 highest.
    """

    name: ClassVar[str] = "bilateral"
    book: ClassVar[BookKind] = BookKind.QUADRATIC
    solver: str = QpSolver.AUTO
    max_iter: int = 250
    k: float = 0.5
    _session: FlowSession = field(default_factory=FlowSession, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        faults = []
        if self.solver not in tuple(QpSolver):
            faults.append(Fault("mechanism 'bilateral'", f"option 'solver' is {self.solver!r}", ", ".join(QpSolver)))
        if type(self.max_iter) is not int or self.max_iter < 1:
            faults.append(Fault("mechanism 'bilateral'", f"option 'max_iter' is {self.max_iter!r}", "1 or more"))
        if type(self.k) not in (int, float) or not 0.0 <= self.k <= 1.0:
            faults.append(Fault("mechanism 'bilateral'", f"option 'k' is {self.k!r}", "0 to 1"))
        if faults:
            raise ScenarioError(faults)

    def clear(self, book: QuadraticBook, rng: np.random.Generator) -> Clearing:  # noqa: ARG002
        """Clear one book, see `bilateral`; nothing is drawn from `rng`."""
        prepared = PreparedBilateral(book, session=self._session)
        return prepared.clear(solver=QpSolver(self.solver), max_iter=self.max_iter, k=self.k)


def bilateral(book: QuadraticBook, *, solver: QpSolver = QpSolver.AUTO, max_iter: int = 250) -> Clearing:
    """Clear a book of quadratic costs and candidate pairs at the highest social welfare.

    Args:
        book: costs, bounds, pairs and their costs. A pair whose seller cannot feed in (P_max <= 0) or whose
            buyer cannot draw (P_min >= 0) carries no trade, (1e) and (1f).
        solver: which solver; if not told PIQP up to 1,000 agents and Clarabel above, and the other one
            where the first does not converge.
        max_iter: most iterations of the solver.

    Raises:
        BookError: the book contradicts itself.
    """
    return PreparedBilateral(book).clear(solver=solver, max_iter=max_iter)


class PreparedBilateral:
    """A book to be cleared again and again while only the pairs' costs change, or which pairs are blocked.

    The book is validated, and its structure analysed by PIQP, once. Nothing is warm-started: interior point methods
    gain nothing from it, and a clearing does not depend on those before.

    Args:
        book: the book, see `bilateral`.
        session: where the analysis of the structure is kept; of this book alone if None.

    Raises:
        BookError: the book contradicts itself.
    """

    def __init__(self, book: QuadraticBook, *, session: FlowSession | None = None) -> None:
        validate(book)
        self._book = book
        self._session = FlowSession() if session is None else session
        self._at_rest = bool((book.p_min_mw <= 0.0).all() and (book.p_max_mw >= 0.0).all())

    def clear(
        self,
        seller_cost: ArrayLike | None = None,
        buyer_cost: ArrayLike | None = None,
        *,
        blocked: ArrayLike | None = None,
        solver: QpSolver = QpSolver.AUTO,
        max_iter: int = 250,
        k: float = 0.5,
    ) -> Clearing:
        """Clear the book with other costs of its pairs.

        Args:
            seller_cost: c_nm of the sellers, EUR per MWh traded; the book's if None. (n_pairs,)
            buyer_cost: c_mn of the buyers, likewise. (n_pairs,)
            blocked: pairs that may not trade this time, as a mask, (n_pairs,), or as their numbers; none if None.
            solver: which solver, see `bilateral`.
            max_iter: most iterations of the solver.
            k: which price of an interval counts, see `peerwatt.market.price_interval`.

        Raises:
            BookError: costs or blocked pairs do not fit the book.
        """
        book = _with_costs(self._book, seller_cost, buyer_cost)
        mask = None if blocked is None else _as_mask(blocked, book.n_pairs)
        pairs, n = able_pairs(book, mask), book.n_agents
        if not pairs.seller.size:
            return self._without_pairs(pairs)
        scale = Scale.of(book, pairs)
        program = flow_program(book, pairs, scale, self._session)
        first, *others = _solvers(solver, n)
        solution = self._solved(program, mask, first, max_iter)
        conflict = None if solution.converged or self._at_rest else find_conflict(book, pairs)
        if conflict:
            return _infeasible(conflict, n, solution.iterations)
        if others and not solution.converged:
            solution = self._solved(program, mask, others[0], max_iter)
        if not solution.converged:
            return failed_clearing(Status.NOT_CONVERGED, n, iterations=solution.iterations, message=solution.message)
        if solution.x[n:].max() * scale.power > 2.0 * scale.size.sum():
            return failed_clearing(Status.NOT_CONVERGED, n, iterations=solution.iterations, message=_ENDLESS)
        return _clearing(book, pairs, scale, program, solution, k)

    def _solved(
        self, program: DiagonalQP, blocked: NDArray[np.bool_] | None, solver: QpSolver, max_iter: int
    ) -> QpSolution:
        """Solve; blocked pairs stay in the program that PIQP knows, such that its analysis holds."""
        if blocked is None or solver is QpSolver.CLARABEL:
            return self._session.solve(program, solver, max_iter=max_iter)
        wide, kept = with_idle_flows(program, self._book, blocked)
        solution = self._session.solve(wide, solver, max_iter=max_iter)
        return replace(solution, x=solution.x[kept])

    def _without_pairs(self, pairs: Pairs) -> Clearing:
        if self._at_rest:
            return empty_clearing(self._book.n_agents, message="nobody may trade with anybody")
        conflict = find_conflict(self._book, pairs) or Conflict("no pair may trade", np.nan)
        return _infeasible(conflict, self._book.n_agents, 0)


def _solvers(solver: QpSolver, n_agents: int) -> tuple[QpSolver, ...]:
    """Which solver, and which one where that does not converge."""
    if solver is not QpSolver.AUTO:
        return (solver,)
    both = (QpSolver.PIQP, QpSolver.CLARABEL)
    return both if n_agents <= _PIQP_AGENTS else both[::-1]


def _with_costs(book: QuadraticBook, seller_cost: ArrayLike | None, buyer_cost: ArrayLike | None) -> QuadraticBook:
    if seller_cost is None and buyer_cost is None:
        return book
    sellers = np.asarray(book.seller_cost if seller_cost is None else seller_cost, dtype=np.float64)
    buyers = np.asarray(book.buyer_cost if buyer_cost is None else buyer_cost, dtype=np.float64)
    faults = [
        Fault(name, f"is not {book.n_pairs} finite numbers", "one cost per pair of the book, EUR/MWh")
        for name, cost in (("seller_cost", sellers), ("buyer_cost", buyers))
        if cost.shape != (book.n_pairs,) or not np.isfinite(cost).all()
    ]
    if faults:
        raise BookError(faults)
    return replace(book, seller_cost=sellers, buyer_cost=buyers)


def _as_mask(blocked: ArrayLike, n_pairs: int) -> NDArray[np.bool_]:
    given = np.asarray(blocked)
    if given.dtype == np.bool_ and given.shape == (n_pairs,):
        return given
    mask = np.zeros(n_pairs, dtype=bool)
    if given.size:
        if given.dtype.kind not in "iu" or given.ndim != 1 or given.min() < 0 or given.max() >= n_pairs:
            remedy = f"a mask of {n_pairs} pairs, or numbers of pairs from 0 to {n_pairs - 1}"
            raise BookError(Fault("blocked", f"does not name pairs of the book: {given.dtype} {given.shape}", remedy))
        mask[given] = True
    return mask


def _infeasible(conflict: Conflict, n_agents: int, iterations: int) -> Clearing:
    failed = failed_clearing(Status.INFEASIBLE, n_agents, iterations=iterations, message=conflict.message)
    return replace(failed, shortfall_mw=conflict.missing_mw)


# --- the result ---


def _clearing(
    book: QuadraticBook, pairs: Pairs, scale: Scale, program: DiagonalQP, solution: QpSolution, k: float
) -> Clearing:
    n, h = book.n_agents, book.period_h
    price = scale.centre - scale.price * solution.y  # mu, (n_agents,)
    traded = _traded(pairs, scale, program, solution)
    seller, buyer = pairs.seller[traded], pairs.buyer[traded]
    seller_cost, buyer_cost = pairs.seller_cost[traded], pairs.buyer_cost[traded]
    power = _restored(pairs, traded, solution.x[n:], n) * scale.power
    p_mw = sum_by_agent(seller, power, n) - sum_by_agent(buyer, power, n)
    price = within_interval(book, pairs, traded, p_mw, price, k)
    # lambda, the mean of both sides
    trades = Trades(seller, buyer, power, 0.5 * (price[seller] + seller_cost + price[buyer] - buyer_cost))
    production = (0.5 * book.cost_a * p_mw + book.cost_b) * p_mw
    sales = trades.p_mw * (trades.price_eur_per_mwh - seller_cost)
    purchases = trades.p_mw * (trades.price_eur_per_mwh + buyer_cost)
    gain = sum_by_agent(seller, sales, n) - sum_by_agent(buyer, purchases, n)
    trading = float(trades.p_mw @ (seller_cost + buyer_cost))
    return Clearing(
        status=Status.OPTIMAL,
        p_mw=p_mw,
        trades=trades,
        social_welfare_eur=-(float(production.sum()) + trading) * h,
        welfare_eur=(gain - production) * h,
        agent_price_eur_per_mwh=price,
        iterations=solution.iterations,
    )


def _traded(pairs: Pairs, scale: Scale, program: DiagonalQP, solution: QpSolution) -> IntArray:
    """Pairs that trade, ordered by seller, then buyer; the flows of others are what the solver left.

    A flow is dropped if it is smaller than any trade, or if it is small and its reduced cost is not zero:
    where nothing is gained it is at least the regulariser. (n_traded,)
    """
    n = scale.size.size
    flow, dual = solution.x[n:], solution.y
    reduced = program.q[n:] + program.d[n:] * flow - dual[pairs.seller] + dual[pairs.buyer]
    share = pairs.share(scale.size / scale.power)
    kept = (flow > _SMALL * share) & ((reduced < 0.5 * REGULARISER) | (flow > _TOUCHED * share))
    traded = np.flatnonzero(kept)
    order: IntArray = np.argsort(pairs.seller[traded] * n + pairs.buyer[traded])
    return traded[order]


def _restored(pairs: Pairs, traded: IntArray, flow: FloatArray, n_agents: int) -> FloatArray:
    """Scale what is traded such that dropping the other flows takes no power from who trades; (n_traded,)."""
    kept = flow[traded]
    seller, buyer = pairs.seller[traded], pairs.buyer[traded]
    sells, buys = np.bincount(seller, minlength=n_agents) > 0, np.bincount(buyer, minlength=n_agents) > 0
    flow = np.where(sells[pairs.seller] & buys[pairs.buyer], flow, 0.0)
    sold, bought = sum_by_agent(pairs.seller, flow, n_agents), sum_by_agent(pairs.buyer, flow, n_agents)
    for agent, due in ((seller, sold[seller]), (buyer, bought[buyer])) * 3:
        factor = due / sum_by_agent(agent, kept, n_agents)[agent]
        kept = kept * np.minimum(np.maximum(factor, 1.0 - _TOUCHED), 1.0 + _TOUCHED)
    return kept
