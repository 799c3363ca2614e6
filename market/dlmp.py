"""Locational marginal prices (DLMP) from the network-constrained economic dispatch, linear at an operating point.

    min   sum_n a_n/2 P_n^2 + b_n P_n
    s.t.  p_k = fixed_k + sum of P_n at node k
          sum_k (p_k - p0_k) = sum_k dL/dP_k (p_k - p0_k)             losses      dual: the energy price
          lower_l <= flow_l + sum_k S_lk (p_k - p0_k) <= upper_l      flows
          lower_j <= vm_j + sum_k dV_j/dP_k (p_k - p0_k) <= upper_j   voltages
          P_min_n <= P_n <= P_max_n

The operating point has injections p0 and the flows, voltages and losses that belong to them; S, dV/dP and dL/dP are
its sensitivities, of an AC power flow (the factors of Guerrero et al.) or of a linear model. Costs are those of
Marques et al., eq. (2): power is positive when fed in, so a consumer's is negative and its b is what it is willing
to pay. The energy of the external grid is an agent at one of its nodes, where S, dV/dP and dL/dP are 0.

The DLMP of a node is what one more MWh of load there costs; `peerwatt.market.nodal` splits it. Without curvature it
is a linear program, solved by HiGHS, and where its solution is degenerate one of several sets of prices is given:
each lies between the costs of one MWh less and one more. With curvature it is a quadratic one, solved by Clarabel.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import sparse

from peerwatt.errors import Fault
from peerwatt.market.book import FloatArray, IntArray, sum_by_agent
from peerwatt.market.clearing import Status
from peerwatt.market.faults import (
    as_floats,
    as_integers,
    finite_faults,
    length_faults,
    period_faults,
    range_faults,
    refuse,
    row_faults,
)
from peerwatt.market.limits import NetworkLimits, check_limits, check_response
from peerwatt.market.linear import LinearSolver, LinearState
from peerwatt.market.nodal import NodalPrices, NodalProgram, nodal_program
from peerwatt.market.solver import DiagonalQP, QpSolver, solve

__all__ = ["Dispatch", "NodalBook", "OperatingPoint", "dispatch"]

_MISSING = 1e-7  # of the median agent: less is rounding
_NAMED = 8  # nodes named in a message


@dataclass(frozen=True, slots=True)
class NodalBook:
    """Who can feed in or draw at which node, and at which cost. Lists are accepted for arrays.

    An offer in steps is one agent per step.

    Attributes:
        node: where. (n,)
        p_min_mw: least net power; negative when the agent can draw. (n,)
        p_max_mw: highest net power. (n,)
        cost_a: curvature, EUR/MW2h, not negative. (n,)
        cost_b: marginal cost at zero power, EUR/MWh; a consumer's willingness to pay. (n,)
        fixed_mw: injection at every node that is not for dispatch, negative for load. (n_nodes,)
        period_h: length of the market period in hours.
        names: names of the agents for messages; their numbers if None.

    Raises:
        BookError: a column holds no numbers, or no integers.
    """

    node: IntArray
    p_min_mw: FloatArray
    p_max_mw: FloatArray
    cost_a: FloatArray
    cost_b: FloatArray
    fixed_mw: FloatArray
    period_h: float
    names: Sequence[str] | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "node", as_integers("node", self.node))
        for name in ("p_min_mw", "p_max_mw", "cost_a", "cost_b", "fixed_mw"):
            object.__setattr__(self, name, as_floats(name, getattr(self, name)))

    def name(self, agent: int) -> str:
        """Name of an agent for a message."""
        return str(self.names[agent]) if self.names is not None else str(agent)


@dataclass(frozen=True, slots=True)
class OperatingPoint:
    """Where the network is linear: `limits` has its flows, voltages and their sensitivities.

    Attributes:
        limits: flows and voltages at the point, their limits and sensitivities.
        p_mw: injections of all nodes at the point, the external grid's included: they add up to the losses.
            (n_nodes,)
        loss: dL/dP, change of the losses per MW fed in at each node; 0 at the external grid. (n_nodes,)

    Raises:
        BookError: a column holds no numbers.
    """

    limits: NetworkLimits
    p_mw: FloatArray
    loss: FloatArray

    def __post_init__(self) -> None:
        for name in ("p_mw", "loss"):
            object.__setattr__(self, name, as_floats(name, getattr(self, name)))


@dataclass(frozen=True, slots=True)
class Dispatch:
    """Result of a dispatch. Numbers are NaN where there is no result.

    Attributes:
        status: how it ended.
        p_mw: net power of every agent. (n,)
        cost_eur: cost of the production less benefit of the consumption.
        prices: DLMP of every node, by cause.
        flow_mw: flows. (n_constraints,)
        vm_pu: voltages. (n_voltages,)
        losses_mw: losses by the linear model.
        iterations: iterations of the solver.
        message: why there is no result; empty if there is.
    """

    status: Status
    p_mw: FloatArray
    cost_eur: float
    prices: NodalPrices
    flow_mw: FloatArray
    vm_pu: FloatArray
    losses_mw: float
    iterations: int = 0
    message: str = ""


def dispatch(book: NodalBook, point: OperatingPoint, *, max_iter: int | None = None) -> Dispatch:
    """Find the cheapest dispatch that the network allows, and the prices of all nodes.

    Args:
        book: agents and fixed injections.
        point: the network.
        max_iter: most iterations of the solver; its own limit if None.

    Raises:
        BookError: lists everything that is wrong with both.
    """
    limits = point.limits
    unsound = check_response(limits)
    refuse([*unsound, *check_limits(limits), *_book_faults(book), *([] if unsound else _node_faults(book, point))])
    case = _Case.of(book, point)
    x, y, iterations, message = _solved(case, max_iter)
    if message:
        conflict = _conflict(case)
        status = Status.INFEASIBLE if conflict else Status.NOT_CONVERGED
        return _failed(case, status, iterations, conflict or message)
    y = y * case.price
    p_mw = np.clip(x[: case.program.n] * case.power, book.p_min_mw, book.p_max_mw)
    injection = book.fixed_mw + sum_by_agent(book.node, p_mw, limits.n_nodes)
    change = injection - point.p_mw
    return Dispatch(
        status=Status.OPTIMAL,
        p_mw=p_mw,
        cost_eur=float((0.5 * book.cost_a * p_mw + book.cost_b) @ p_mw) * book.period_h,
        prices=case.program.prices(limits, float(y[-1]), *case.program.relief(y)),
        flow_mw=limits.flow_after_mw(change),
        vm_pu=limits.vm_after_pu(change),
        losses_mw=float(injection.sum()),
        iterations=iterations,
    )


# --- the program ---


@dataclass(frozen=True, slots=True)
class _Case:
    """The dispatch in the solver's units: powers in `power` MW, costs in `price` EUR/MWh."""

    program: NodalProgram
    book: NodalBook
    point: OperatingPoint
    power: float
    price: float
    d: FloatArray
    q: FloatArray
    b: FloatArray
    lower: FloatArray
    upper: FloatArray

    @classmethod
    def of(cls, book: NodalBook, point: OperatingPoint) -> _Case:
        limits = point.limits
        program = nodal_program(book.node, limits, loss=point.loss, everywhere=True)
        size = np.maximum(np.abs(book.p_min_mw), np.abs(book.p_max_mw))
        power = float(np.median(size[size > 0.0])) if size.any() else 1.0
        price = float(np.abs(book.cost_b).max(initial=0.0)) or float(book.cost_a.max(initial=0.0)) * power or 1.0
        d, q = np.zeros(program.n_variables), np.zeros(program.n_variables)
        d[: program.n], q[: program.n] = book.cost_a * power / price, book.cost_b / price
        lower = np.full(program.n_variables, -np.inf)
        upper = -lower
        lower[: program.n], upper[: program.n] = book.p_min_mw / power, book.p_max_mw / power
        below, above = program.room(limits)
        lower[program.limited], upper[program.limited] = below / power, above / power
        lower[-1] = upper[-1] = 0.0
        b = program.inject @ (point.p_mw - book.fixed_mw)[program.nodes] / power
        return cls(program, book, point, power, price, d, q, b, lower, upper)


def _solved(case: _Case, max_iter: int | None) -> tuple[FloatArray, FloatArray, int, str]:
    """Solution, duals (cost per unit of b), iterations, and why there is none; the last is empty if there is."""
    program = case.program
    if not case.d.any():
        found = LinearSolver(program.A, program.network, max_iter=max_iter).solve(
            case.q, case.b, case.lower, case.upper
        )
        return found.x, found.y, found.iterations, "" if found.state is LinearState.OPTIMAL else found.message
    problem = DiagonalQP(case.d, case.q, program.A, case.b, case.lower, case.upper)
    best = solve(problem, QpSolver.CLARABEL, max_iter=250 if max_iter is None else max_iter)
    return best.x, -best.y, best.iterations, "" if best.converged else best.message


def _conflict(case: _Case) -> str:
    """Say how much load cannot be served, or injection taken, at which nodes; empty if all can be."""
    program = case.program
    n = program.nodes.size
    A = sparse.hstack((program.A, program.inject, -program.inject), format="csc")
    found = LinearSolver(A, program.network).solve(
        np.concatenate((np.zeros(program.n_variables), np.ones(2 * n))),
        case.b,
        np.concatenate((case.lower, np.zeros(2 * n))),
        np.concatenate((case.upper, np.full(2 * n, np.inf))),
    )
    if found.state is not LinearState.OPTIMAL:
        return "the limits of flows and voltages contradict each other, whatever is fed in"
    unserved, untaken = found.x[program.n_variables :].reshape(2, n)
    return "; ".join((*_named(case, unserved, "load not served"), *_named(case, untaken, "injection not taken")))


def _named(case: _Case, power: FloatArray, what: str) -> Iterator[str]:
    rows = np.flatnonzero(power > _MISSING)
    if rows.size:
        worst = rows[np.argsort(-power[rows], kind="stable")]
        at = ", ".join(
            f"{case.point.limits.node_name(int(case.program.nodes[row]))} {power[row] * case.power:.6g} MW"
            for row in worst[:_NAMED].tolist()
        )
        more = f" and {rows.size - _NAMED} more" if rows.size > _NAMED else ""
        yield f"{power[rows].sum() * case.power:.6g} MW of {what}: node {at}{more}"


def _failed(case: _Case, status: Status, iterations: int, message: str) -> Dispatch:
    limits = case.point.limits
    n_voltages = 0 if limits.voltage is None else limits.voltage.vm_pu.size
    return Dispatch(
        status=status,
        p_mw=np.full(case.program.n, np.nan),
        cost_eur=np.nan,
        prices=NodalPrices.unknown(limits.n_nodes),
        flow_mw=np.full(limits.n_constraints, np.nan),
        vm_pu=np.full(n_voltages, np.nan),
        losses_mw=np.nan,
        iterations=iterations,
        message=message,
    )


# --- faults ---


def _book_faults(book: NodalBook) -> Iterator[Fault]:
    yield from period_faults(book.period_h)
    numbers = {name: getattr(book, name) for name in ("p_min_mw", "p_max_mw", "cost_a", "cost_b")}
    wrong = length_faults("agent", {"node": book.node, **numbers}, book.names)
    if wrong:
        yield from wrong
        return
    yield from finite_faults("agent", numbers, book.name)
    excess = book.p_min_mw - book.p_max_mw
    yield from row_faults("agent", excess > 0.0, excess, "p_min_mw above p_max_mw by", "swap them", book.name)
    yield from row_faults("agent", book.cost_a < 0.0, book.cost_a, "negative curvature", "0 or above", book.name)


def _node_faults(book: NodalBook, point: OperatingPoint) -> Iterator[Fault]:
    limits = point.limits
    n = limits.n_nodes
    yield from range_faults("agent", book.node, n, "unknown node", f"nodes are 0 to {n - 1}", book.name)
    for name, values in (("fixed_mw", book.fixed_mw), ("p_mw", point.p_mw), ("loss", point.loss)):
        if values.shape != (n,):
            yield Fault(name, f"has shape {values.shape}", f"one value for each of the {n} nodes")
        else:
            yield from finite_faults("node", {name: values}, limits.node_name)
