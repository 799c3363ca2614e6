"""Local flexibility market: the cheapest bids that bring all flows and voltages within their limits.

    min   sum_i c_i x_i + c_s g                                     D5.3, section 5.2.1
    s.t.  lower_l <= flow_l + sum_i S_l,k(i) d_i x_i <= upper_l     for every limited flow l
          lower_j <= vm_j + sum_i dV_j/dP_k(i) d_i x_i <= upper_j   for every limited voltage j
          sum_i d_i x_i + g = 0,   0 <= x_i <= p_max_i

with x_i the activation of bid i at node k(i), d_i = 1 upward and -1 downward, and g what the external grid gives
more: 0 where upward and downward are to balance, else anything at the price c_s. The limits hold for all flows, so
that no new congestion arises. D5.3 describes the market in words and leaves its equations to its references; these
are built from the description.

**Grid.** Flows without the market come from the grid's owner, AC or not: bids act on them by linear changes. A
radial grid, `peerwatt.market.limits.Tree`, has one flow variable per branch and no PTDF matrix; a matrix gives the
same result in more time (`peerwatt.market.nodal`).

**Prices.** Duals of a linear program are marginal costs. Where the solution is degenerate there are several sets of
them; one is reported, the same one every time.

**Not enough.** Where the limits cannot be met, or the solver stops for another reason, limits are relaxed; if
something is missing then the status is `infeasible`, with the best there is: every limit that
is broken beforehand may stay broken, by as much at most, at `shortfall_eur_per_mwh`. A price above what any relief
costs makes this the smallest shortfall; a lower one leaves congestion that is dearer to relieve. Nodes then have it
in their prices. A voltage counts with the MW that would mend it at the node with the largest sensitivity.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from scipy import sparse

from peerwatt.errors import Fault, ScenarioError
from peerwatt.market.book import FloatArray, sum_by_agent
from peerwatt.market.clearing import Status
from peerwatt.market.faults import refuse
from peerwatt.market.flexibility import FlexibilityBook, FlexibilityClearing, Pricing, flexibility_faults
from peerwatt.market.limits import NetworkLimits, check_limits, check_response, same_response
from peerwatt.market.linear import LinearSolution, LinearSolver, LinearState
from peerwatt.market.nodal import NodalPrices, NodalProgram, nodal_program

__all__ = ["FlexibilityMarket", "FlexibilityOptions", "clear_flexibility"]

_SHORTFALL_EUR_PER_MWH = 10_000.0
_MISSING = 1e-9  # of the median bid: less is rounding
_NAMED = 8  # limits named in a message


@dataclass(frozen=True, slots=True)
class FlexibilityOptions:
    """Rules of a local flexibility market.

    Attributes:
        balanced: whether upward and downward activations must be equal.
        slack_eur_per_mwh: what energy of the external grid costs if they need not be, and what it pays for
            energy; other than 0 it makes the market buy energy, too, where that is cheaper.
        pricing: what activated bids are paid.
        shortfall_eur_per_mwh: price of what stays beyond a limit where not all limits can be met.
        max_iter: most iterations of the solver; no limit if None.

    Raises:
        ScenarioError: lists the rules that are impossible.
    """

    balanced: bool = True
    slack_eur_per_mwh: float = 0.0
    pricing: Pricing = Pricing.PAY_AS_BID
    shortfall_eur_per_mwh: float = _SHORTFALL_EUR_PER_MWH
    max_iter: int | None = None

    def __post_init__(self) -> None:
        faults = []
        if not np.isfinite(self.slack_eur_per_mwh):
            faults.append(Fault("slack_eur_per_mwh", f"is {self.slack_eur_per_mwh}", "a finite price"))
        if not 0.0 < self.shortfall_eur_per_mwh < np.inf:
            faults.append(Fault("shortfall_eur_per_mwh", f"is {self.shortfall_eur_per_mwh}", "a price above 0"))
        if self.pricing in tuple(Pricing):
            object.__setattr__(self, "pricing", Pricing(self.pricing))
        else:
            faults.append(Fault("pricing", f"is {self.pricing!r}", ", ".join(Pricing)))
        if self.max_iter is not None and self.max_iter < 1:
            faults.append(Fault("max_iter", f"is {self.max_iter}", "1 or more, or None"))
        if faults:
            raise ScenarioError(faults)


def clear_flexibility(
    book: FlexibilityBook, limits: NetworkLimits, options: FlexibilityOptions | None = None
) -> FlexibilityClearing:
    """Clear one local flexibility market; `FlexibilityMarket` is quicker for many of the same bidders.

    Args:
        book: bids.
        limits: flows, voltages and their limits.
        options: rules; those of `FlexibilityOptions` if None.

    Raises:
        BookError: lists everything that is wrong with the book and the limits.
    """
    return FlexibilityMarket(book, limits, options).clear(book, limits)


class FlexibilityMarket:
    """A market of the same nodes period after period: the program's matrix is built once.

    Args:
        book: bids whose nodes and directions all later books share; a bid that is not there has 0 MW.
        limits: network whose sensitivities all later limits share.
        options: rules; those of `FlexibilityOptions` if None.

    Raises:
        BookError: lists everything that is wrong with the book and the limits.
    """

    def __init__(self, book: FlexibilityBook, limits: NetworkLimits, options: FlexibilityOptions | None = None) -> None:
        unsound = check_response(limits)
        n_nodes = None if unsound else limits.n_nodes
        refuse([*unsound, *check_limits(limits), *flexibility_faults(book, n_nodes)])
        self._options = FlexibilityOptions() if options is None else options
        self._book, self._limits = book, limits
        self._program = nodal_program(book.node, limits, direction=book.direction)
        self._solver = LinearSolver(self._program.A, self._program.network, max_iter=self._options.max_iter)

    def clear(self, book: FlexibilityBook, limits: NetworkLimits) -> FlexibilityClearing:
        """Clear one period.

        Args:
            book: bids; prices, quantities and owners may differ from the first book's.
            limits: flows, voltages and their limits.

        Raises:
            BookError: lists everything that is wrong, bids at other nodes and other sensitivities included.
        """
        if book is not self._book or limits is not self._limits:
            refuse(self._faults(book, limits))
        case = _Case.of(self._program, book, limits, self._options)
        if not book.n_bids and not case.broken.any():
            return _failed(Status.EMPTY, book, limits, 0, "no bids, and no limit is broken")
        zero = np.zeros(self._program.A.shape[0])
        found = self._solver.solve(case.q, zero, case.lower, case.upper)
        if found.state is LinearState.OPTIMAL:
            return _clearing(case, found, Status.OPTIMAL)
        relaxed = _relaxed(case, self._options.max_iter)  # whatever has stopped it: this one has a solution
        if relaxed.state is not LinearState.OPTIMAL:
            return _failed(Status.NOT_CONVERGED, book, limits, relaxed.iterations, relaxed.message)
        enough = found.state is LinearState.STOPPED and not _Missing.of(case, relaxed).any
        return _clearing(case, relaxed, Status.OPTIMAL if enough else Status.INFEASIBLE)

    def _faults(self, book: FlexibilityBook, limits: NetworkLimits) -> Iterator[Fault]:
        yield from check_limits(limits)
        yield from flexibility_faults(book, self._limits.n_nodes)
        for name in ("node", "direction"):
            if not np.array_equal(getattr(book, name), getattr(self._book, name)):
                yield Fault(f"{name}s of the bids", "are others than this market's", "make another FlexibilityMarket")
        if not same_response(limits, self._limits):
            yield Fault("response", "is another than this market's", "make another FlexibilityMarket")


# --- the program ---


@dataclass(frozen=True, slots=True)
class _Case:
    """One period in the solver's units: x in `power` MW, costs in `price` EUR/MWh.

    The columns are those of `NodalProgram`, its participants the bids. `lower` and `upper` bound them; `lack` is
    how far each limited flow and voltage without bids is above (> 0) or below (< 0) its limits, in `power`.
    """

    program: NodalProgram
    book: FlexibilityBook
    limits: NetworkLimits
    options: FlexibilityOptions
    power: float
    price: float
    q: FloatArray
    lower: FloatArray
    upper: FloatArray
    lack: FloatArray

    @classmethod
    def of(
        cls, program: NodalProgram, book: FlexibilityBook, limits: NetworkLimits, options: FlexibilityOptions
    ) -> _Case:
        offered = book.p_max_mw[book.p_max_mw > 0.0]
        power = float(np.median(offered)) if offered.size else 1.0
        price = max(float(np.abs(book.price_eur_per_mwh).max(initial=0.0)), abs(options.slack_eur_per_mwh)) or 1.0
        q = np.zeros(program.n_variables)
        q[: program.n] = book.price_eur_per_mwh / price
        q[-1] = 0.0 if options.balanced else -options.slack_eur_per_mwh / price  # the sum is what the slack takes
        lower = np.full(program.n_variables, -np.inf)
        lower[: program.n] = 0.0
        upper = -lower
        upper[: program.n] = book.p_max_mw / power
        below, above = (room / power for room in program.room(limits))
        lower[program.limited], upper[program.limited] = below, above
        if options.balanced:
            lower[-1] = upper[-1] = 0.0
        lack = np.maximum(-above, 0.0) - np.maximum(below, 0.0)
        return cls(program, book, limits, options, power, price, q, lower, upper, lack)

    @property
    def broken(self) -> FloatArray:
        """How far each limited flow and voltage is beyond its limits without bids; (n_flows + n_voltages,)."""
        return np.abs(self.lack)


def _relaxed(case: _Case, max_iter: int | None) -> LinearSolution:
    """Solve again, with what broken limits may stay broken as further columns, at the end and at their price."""
    broken = np.flatnonzero(case.lack)
    A, lack = case.program.A, case.lack[broken]
    price = case.options.shortfall_eur_per_mwh / case.price
    wider = sparse.hstack((A, A[:, case.program.limited[broken]]), format="csc")
    return LinearSolver(wider, case.program.network, max_iter=max_iter).solve(
        np.concatenate((case.q, price * np.sign(lack))),
        np.zeros(A.shape[0]),
        np.concatenate((case.lower, np.minimum(lack, 0.0))),
        np.concatenate((case.upper, np.maximum(lack, 0.0))),
    )


# --- the result ---


def _clearing(case: _Case, found: LinearSolution, status: Status) -> FlexibilityClearing:
    program, book, limits, options = case.program, case.book, case.limits, case.options
    activated = np.clip(found.x[: program.n] * case.power, 0.0, book.p_max_mw)
    y = found.y * case.price
    flow_relief, volt_relief = program.relief(y)
    prices = program.prices(limits, float(y[-1]), flow_relief, volt_relief)
    congestion = np.zeros(limits.n_constraints)
    congestion[program.constraint] = -flow_relief
    added = sum_by_agent(book.node, book.direction * activated, limits.n_nodes)
    slack_mw = -float(added.sum())
    flow = limits.flow_after_mw(added)
    vm_pu = limits.vm_after_pu(added)
    bid_price = paid_price = book.price_eur_per_mwh
    if options.pricing is Pricing.PAY_AS_CLEARED:
        paid_price = np.maximum(book.direction * prices.total[book.node], bid_price)  # rounding takes nothing away
    slack_eur = 0.0 if options.balanced else options.slack_eur_per_mwh * slack_mw * book.period_h
    missing = _Missing.of(case, found)
    return FlexibilityClearing(
        status=status,
        activated_mw=activated,
        paid_eur=paid_price * activated * book.period_h,
        cost_eur=float(bid_price @ activated) * book.period_h + slack_eur,
        slack_mw=0.0 if options.balanced else slack_mw,
        prices=prices,
        flow_mw=flow,
        vm_pu=vm_pu,
        congestion_eur_per_mwh=congestion,
        voltage_eur_per_puh=-volt_relief,
        shortfall_mw=missing.mw,
        shortfall_pu=missing.pu,
        iterations=found.iterations,
        message=missing.message(limits, flow, vm_pu) if status is Status.INFEASIBLE else "",
    )


@dataclass(frozen=True, slots=True)
class _Missing:
    """How far flows, (n_constraints,), and voltages, (n_voltages,), stay beyond their limits."""

    mw: FloatArray
    pu: FloatArray

    @classmethod
    def of(cls, case: _Case, found: LinearSolution) -> _Missing:
        """Read it from the further columns of `_relaxed`; nothing is missing where there are none."""
        program = case.program
        left = np.zeros(case.lack.size)
        left[np.flatnonzero(case.lack)[: found.x.size - program.n_variables]] = np.abs(found.x[program.n_variables :])
        left = np.where(left > _MISSING, left, 0.0) * case.power
        mw = np.zeros(case.limits.n_constraints)
        mw[program.constraint] = left[: program.constraint.size]
        return cls(mw, left[program.constraint.size :] * program.volt)

    @property
    def any(self) -> bool:
        """Whether anything is missing."""
        return bool(self.mw.any() or self.pu.any())

    def message(self, limits: NetworkLimits, flow: FloatArray, vm_pu: FloatArray) -> str:
        """Say what is missing and where."""
        parts = []
        if self.mw.any():
            parts.append(f"{self.mw.sum():.6g} MW beyond limits that the bids cannot bring back")
        parts += _worst("flow", self.mw, flow, limits.lower_mw, limits.upper_mw, limits.name, "MW")
        if limits.voltage is not None:
            band = limits.voltage
            parts += _worst("voltage", self.pu, vm_pu, band.lower_pu, band.upper_pu, band.name, "pu")
        return "; ".join(parts) or "the limits cannot be met together, by less than can be told from rounding"


def _worst(
    what: str,
    missing: FloatArray,
    value: FloatArray,
    lower: FloatArray,
    upper: FloatArray,
    name: Callable[[int], str],
    unit: str,
) -> Iterator[str]:
    worst = np.argsort(-missing, kind="stable")[: int(np.count_nonzero(missing))]
    for row in worst[:_NAMED].tolist():
        limit = upper[row] if value[row] > upper[row] else lower[row]
        yield f"{what} {name(row)}: {missing[row]:.6g} {unit} ({value[row]:.6g}, limit {limit:.6g})"
    if worst.size > _NAMED:
        yield f"{worst.size - _NAMED} more {what}s"


def _failed(
    status: Status, book: FlexibilityBook, limits: NetworkLimits, iterations: int, message: str
) -> FlexibilityClearing:
    """A clearing without activations: zero where there is nothing to do, else NaN."""
    value = 0.0 if status is Status.EMPTY else np.nan
    n_voltages = 0 if limits.voltage is None else limits.voltage.vm_pu.size
    on_bids, on_flows, on_volts = (np.full(n, value) for n in (book.n_bids, limits.n_constraints, n_voltages))
    vm_pu = np.empty(0) if limits.voltage is None else limits.voltage.vm_pu
    return FlexibilityClearing(
        status=status,
        activated_mw=on_bids,
        paid_eur=on_bids,
        cost_eur=value,
        slack_mw=value,
        prices=NodalPrices.unknown(limits.n_nodes),
        flow_mw=limits.flow_mw + on_flows,
        vm_pu=vm_pu + on_volts,
        congestion_eur_per_mwh=on_flows,
        voltage_eur_per_puh=on_volts,
        shortfall_mw=on_flows,
        shortfall_pu=on_volts,
        iterations=iterations,
        message=message,
    )
