"""Bilateral peer-to-peer market, cleared centrally (multi-bilateral economic dispatch).

    min   sum_n C_n(P_n) + C~_n                       Marques et al., (1a)
    s.t.  P_n = sum_m P_nm               for every n  (1b)   dual mu_n
          P_min_n <= P_n <= P_max_n      for every n  (1c)
          P_nm + P_mn = 0                             (1d)   dual lambda_nm
          P_nm >= 0 for who sells, P_mn <= 0 for who buys    (1e), (1f)

with the quadratic costs (2) and the product differentiation (3) of `peerwatt.market.book.QuadraticBook`.
Its solution is the variational equilibrium of the game between peers of `003`, section 5.2.2. Reciprocity
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

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from peerwatt.errors import Fault, ScenarioError
from peerwatt.market.book import FloatArray, IntArray, QuadraticBook, sum_by_agent, validate
from peerwatt.market.clearing import Clearing, Status, Trades, empty_clearing, failed_clearing
from peerwatt.market.mechanism import BookKind
from peerwatt.market.solver import DiagonalQP, QpSolution, QpSolver, solve

__all__ = ["Bilateral", "bilateral"]

_REGULARISER = 1e-7  # of the spread of prices
_SMALL = 1e-6  # share of an agent's size that trades too small to be any may add up to
_TOUCHED = 1e-3  # share of a trade that tidying up may change at most
_PIQP_AGENTS = 1000  # more are solved with Clarabel
_ENDLESS = "unbounded: the incentives (negative pair costs) make a circle of trades pay without end"
_NAMED = 8  # agents named in a message


@dataclass(frozen=True, slots=True)
class Bilateral:
    """The central bilateral clearing as a mechanism.

    Attributes:
        solver: ``auto``, ``piqp`` or ``clarabel``.
        max_iter: most iterations of the solver.
    """

    name: ClassVar[str] = "bilateral"
    book: ClassVar[BookKind] = BookKind.QUADRATIC
    solver: str = QpSolver.AUTO
    max_iter: int = 250

    def __post_init__(self) -> None:
        faults = []
        if self.solver not in tuple(QpSolver):
            faults.append(Fault("mechanism 'bilateral'", f"option 'solver' is {self.solver!r}", ", ".join(QpSolver)))
        if type(self.max_iter) is not int or self.max_iter < 1:
            faults.append(Fault("mechanism 'bilateral'", f"option 'max_iter' is {self.max_iter!r}", "1 or more"))
        if faults:
            raise ScenarioError(faults)

    def clear(self, book: QuadraticBook, rng: np.random.Generator) -> Clearing:  # noqa: ARG002
        """Clear one book, see `bilateral`; nothing is drawn from `rng`."""
        return bilateral(book, solver=QpSolver(self.solver), max_iter=self.max_iter)


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
    validate(book)
    n = book.n_agents
    pairs = _able_pairs(book)
    at_rest = bool((book.p_min_mw <= 0.0).all() and (book.p_max_mw >= 0.0).all())
    if not pairs.seller.size:
        if at_rest:
            return empty_clearing(n, message="nobody may trade with anybody")
        return failed_clearing(Status.INFEASIBLE, n, message=_conflict(book, pairs) or "no pair may trade")

    scale = _Scale.of(book, pairs)
    problem = _program(book, pairs, scale)
    first, second = (QpSolver.PIQP, QpSolver.CLARABEL) if n <= _PIQP_AGENTS else (QpSolver.CLARABEL, QpSolver.PIQP)
    solution = solve(problem, first if solver is QpSolver.AUTO else solver, max_iter=max_iter)
    conflict = "" if solution.converged or at_rest else _conflict(book, pairs)
    if conflict:
        return failed_clearing(Status.INFEASIBLE, n, iterations=solution.iterations, message=conflict)
    if solver is QpSolver.AUTO and not solution.converged:
        solution = solve(problem, second, max_iter=max_iter)
    if not solution.converged:
        return failed_clearing(Status.NOT_CONVERGED, n, iterations=solution.iterations, message=solution.message)
    if solution.x[n:].max() * scale.power > 2.0 * scale.size.sum():
        return failed_clearing(Status.NOT_CONVERGED, n, iterations=solution.iterations, message=_ENDLESS)
    return _clearing(book, pairs, scale, problem, solution)


# --- the program ---


@dataclass(frozen=True, slots=True)
class _Pairs:
    """Candidate pairs that can carry a trade.

    Attributes:
        seller, buyer: agents. (n_pairs,)
        seller_cost, buyer_cost: EUR per MWh traded. (n_pairs,)
    """

    seller: IntArray
    buyer: IntArray
    seller_cost: FloatArray
    buyer_cost: FloatArray

    @property
    def cost(self) -> FloatArray:
        """Cost of both sides, EUR per MWh traded; (n_pairs,)."""
        return self.seller_cost + self.buyer_cost


def _able_pairs(book: QuadraticBook) -> _Pairs:
    able = (book.p_max_mw > 0.0)[book.seller] & (book.p_min_mw < 0.0)[book.buyer]
    keep: NDArray[np.bool_] | slice = slice(None) if able.all() else able
    return _Pairs(book.seller[keep], book.buyer[keep], book.seller_cost[keep], book.buyer_cost[keep])


@dataclass(frozen=True, slots=True)
class _Scale:
    """Units in which typical numbers are near 1, and bounds that are not out of all proportion.

    Powers are divided by the geometric mean of the agents' sizes. Marginal costs are measured from their
    median and divided by their spread: as all trades balance, a constant in all of them changes nothing.

    Attributes:
        power: MW.
        price: EUR/MWh.
        centre: EUR/MWh, subtracted from marginal costs.
        p_min, p_max: bounds in MW; those that the others' bounds keep from binding are cut. (n_agents,)
    """

    power: float
    price: float
    centre: float
    p_min: FloatArray
    p_max: FloatArray

    @property
    def size(self) -> FloatArray:
        """Largest power of every agent, MW; (n_agents,)."""
        size: FloatArray = np.maximum(np.abs(self.p_min), np.abs(self.p_max))
        return size

    @classmethod
    def of(cls, book: QuadraticBook, pairs: _Pairs) -> _Scale:
        p_min, p_max = book.p_min_mw, book.p_max_mw
        # P_n = -(sum of the others), so a bound beyond twice what they can give or take never binds
        most = np.maximum(p_min - p_min.sum(), 0.0)
        least = np.minimum(p_max - p_max.sum(), 0.0)
        slack = 0.01 * (most - least)
        p_max = np.maximum(np.minimum(p_max, 2.0 * most + slack), p_min)
        p_min = np.minimum(np.maximum(p_min, 2.0 * least - slack), p_max)
        size = np.maximum(np.abs(p_min), np.abs(p_max))
        power = float(np.exp(np.log(size[size > 0.0]).mean()))
        centre = float(np.median(book.cost_b))
        n = book.n_agents
        price = float(np.abs(book.cost_b - centre).sum() + (book.cost_a * size).sum()) / n
        price = price + float(np.abs(pairs.cost).mean())
        return cls(power, price if price > 0.0 else max(abs(centre), 1.0), centre, p_min, p_max)


def _program(book: QuadraticBook, pairs: _Pairs, scale: _Scale) -> DiagonalQP:
    """The program (1) in scaled (P, x).

    An agent whose bounds are equal has no interior: its power moves to the right-hand side of (1b), and its
    variable is left without meaning.
    """
    n, e = book.n_agents, pairs.seller.size
    lower, upper = scale.p_min / scale.power, scale.p_max / scale.power
    fixed = lower == upper
    b = np.where(fixed, -upper, 0.0)
    lower, upper = np.where(fixed, -1.0, lower), np.where(fixed, 1.0, upper)
    d = np.empty(n + e)
    d[n:] = 0.5 * _REGULARISER / _pair_power(pairs, scale)
    d[:n] = np.where(fixed, 1.0, book.cost_a * (scale.power / scale.price))
    q = np.empty(n + e)
    q[:n] = np.where(fixed, 0.0, (book.cost_b - scale.centre) / scale.price)
    q[n:] = pairs.cost / scale.price + _REGULARISER
    return DiagonalQP(
        d=d,
        q=q,
        A=_balance(np.where(fixed, 0.0, 1.0), pairs),
        b=b,
        lower=np.concatenate((lower, np.zeros(e))),
        upper=np.concatenate((upper, np.full(e, np.inf))),
    )


def _pair_power(pairs: _Pairs, scale: _Scale) -> FloatArray:
    """The most that each pair can trade, scaled; what an agent on both sides resells is not bounded by it."""
    most_sold, most_bought = np.maximum(scale.p_max, 0.0), np.maximum(-scale.p_min, 0.0)
    resells = (most_sold > 0.0) & (most_bought > 0.0)
    largest = float(scale.size.max())
    most_sold[resells] = most_bought[resells] = largest
    power: FloatArray = np.minimum(most_sold[pairs.seller], most_bought[pairs.buyer]) / scale.power
    return power


def _balance(own: FloatArray, pairs: _Pairs) -> sparse.csc_array:
    """Rows (1b): own power, less sales, plus purchases; (n_agents, n_agents + n_pairs)."""
    n, e = own.size, pairs.seller.size
    first = pairs.seller < pairs.buyer
    rows = np.empty(n + 2 * e, dtype=np.int32)
    rows[:n] = np.arange(n)
    rows[n::2] = np.minimum(pairs.seller, pairs.buyer)
    rows[n + 1 :: 2] = np.maximum(pairs.seller, pairs.buyer)
    values = np.empty(n + 2 * e)
    values[:n] = own
    values[n::2] = np.where(first, -1.0, 1.0)
    values[n + 1 :: 2] = -values[n::2]
    starts = np.empty(n + e + 1, dtype=np.int32)
    starts[: n + 1] = np.arange(n + 1)
    starts[n + 1 :] = np.arange(n + 2, n + 2 * e + 2, 2)
    return sparse.csc_array((values, rows, starts), shape=(n, n + e))


# --- the result ---


def _clearing(book: QuadraticBook, pairs: _Pairs, scale: _Scale, problem: DiagonalQP, solution: QpSolution) -> Clearing:
    n, h = book.n_agents, book.period_h
    price = scale.centre - scale.price * solution.y  # mu, (n_agents,)
    traded = _traded(pairs, scale, problem, solution)
    seller, buyer = pairs.seller[traded], pairs.buyer[traded]
    seller_cost, buyer_cost = pairs.seller_cost[traded], pairs.buyer_cost[traded]
    trades = Trades(
        seller,
        buyer,
        _restored(pairs, traded, solution.x[n:], n) * scale.power,
        0.5 * (price[seller] + seller_cost + price[buyer] - buyer_cost),  # lambda, the mean of both sides
    )
    p_mw = trades.net_mw(n)
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


def _traded(pairs: _Pairs, scale: _Scale, problem: DiagonalQP, solution: QpSolution) -> IntArray:
    """Pairs that trade, ordered by seller, then buyer; the flows of others are what the solver left.

    A flow is dropped if it is smaller than any trade, or if it is small and its reduced cost is not zero:
    where nothing is gained it is at least the regulariser. (n_traded,)
    """
    n = scale.size.size
    flow, dual = solution.x[n:], solution.y
    reduced = problem.q[n:] + problem.d[n:] * flow - dual[pairs.seller] + dual[pairs.buyer]
    partners = np.bincount(pairs.seller, minlength=n) + np.bincount(pairs.buyer, minlength=n)
    share = scale.size / (scale.power * np.maximum(partners, 1))
    share = np.minimum(share[pairs.seller], share[pairs.buyer])
    kept = (flow > _SMALL * share) & ((reduced < 0.5 * _REGULARISER) | (flow > _TOUCHED * share))
    traded = np.flatnonzero(kept)
    order: IntArray = np.argsort(pairs.seller[traded] * n + pairs.buyer[traded])
    return traded[order]


def _restored(pairs: _Pairs, traded: IntArray, flow: FloatArray, n_agents: int) -> FloatArray:
    """Scale what is traded such that dropping the other flows takes no power from who trades; (n_traded,)."""
    kept = flow[traded]
    seller, buyer = pairs.seller[traded], pairs.buyer[traded]
    sells, buys = np.bincount(seller, minlength=n_agents) > 0, np.bincount(buyer, minlength=n_agents) > 0
    flow = np.where(sells[pairs.seller] & buys[pairs.buyer], flow, 0.0)
    sold, bought = sum_by_agent(pairs.seller, flow, n_agents), sum_by_agent(pairs.buyer, flow, n_agents)
    for agent, due in ((seller, sold), (buyer, bought)) * 3:
        got = sum_by_agent(agent, kept, n_agents)
        factor = np.divide(due, got, out=np.ones(n_agents), where=got > 0.0)
        kept = kept * np.minimum(np.maximum(factor, 1.0 - _TOUCHED), 1.0 + _TOUCHED)[agent]
    return kept


# --- why there is none ---


def _conflict(book: QuadraticBook, pairs: _Pairs) -> str:
    """Say which agents' bounds cannot be met and how much is missing; empty if they can.

    The least power that must be thrown away or conjured up to meet all bounds is a linear program; its duals
    are -1 on the agents that are stuck with too much, +1 on those with too little.
    """
    from scipy.optimize import linprog

    n = book.n_agents
    unit = sparse.eye_array(n, format="csc")
    power = float(np.maximum(np.abs(book.p_min_mw), np.abs(book.p_max_mw)).max())
    bounds = np.zeros((3 * n + pairs.seller.size, 2))
    bounds[:, 1] = np.inf
    bounds[:n, 0], bounds[:n, 1] = book.p_min_mw / power, book.p_max_mw / power
    cost = np.concatenate((np.zeros(n + pairs.seller.size), np.ones(2 * n)))
    balance = sparse.hstack((_balance(np.ones(n), pairs), unit, -unit), format="csc")
    result = linprog(  # type: ignore[call-overload]  # its stubs know no sparse A_eq
        cost, A_eq=balance, b_eq=np.zeros(n), bounds=bounds, method="highs"
    )
    if result.status != 0 or result.fun <= 1e-8:
        return ""
    return "; ".join(_stuck(book, np.asarray(result.eqlin.marginals)))


def _stuck(book: QuadraticBook, dual: FloatArray) -> Iterator[str]:
    for agents, least, must, can in (
        (np.flatnonzero(dual < -0.5), book.p_min_mw, "feed in", "draw"),
        (np.flatnonzero(dual > 0.5), -book.p_max_mw, "draw", "feed in"),
    ):
        forced, partners = agents[least[agents] > 0.0], agents[least[agents] < 0.0]
        if forced.size:
            due, possible = float(least[forced].sum()), -float(least[partners].sum())
            yield (
                f"{_names(book, forced)} must {must} {due:.6g} MW; {_names(book, partners)}, who may trade "
                f"with them, can {can} at most {possible:.6g} MW; {due - possible:.6g} MW are missing"
            )


def _names(book: QuadraticBook, agents: IntArray) -> str:
    if not agents.size:
        return "nobody"
    named = ", ".join(book.name(int(agent)) for agent in agents[:_NAMED])
    more = f" and {agents.size - _NAMED} more" if agents.size > _NAMED else ""
    return f"agent{'s' if agents.size > 1 else ''} {named}{more}"
