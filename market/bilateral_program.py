"""The bilateral market as a scaled program of powers and flows, see `peerwatt.market.bilateral`."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from peerwatt.market.book import FloatArray, IntArray, QuadraticBook
from peerwatt.market.solver import DiagonalQP, QpSession

__all__ = [
    "REGULARISER",
    "FlowSession",
    "Pairs",
    "Scale",
    "able_pairs",
    "balance_matrix",
    "flow_program",
    "with_idle_flows",
]

REGULARISER = 1e-7
"""Cost of a pair's trade that breaks ties, as a share of the spread of prices."""

_LEAST = 1e-6  # of a typical power: what a pair is taken to trade at least


@dataclass(frozen=True, slots=True)
class Pairs:
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

    def share(self, size: FloatArray) -> FloatArray:
        """What each pair trades if every agent's size, (n_agents,), is split among its pairs; (n_pairs,)."""
        partners = np.bincount(self.seller, minlength=size.size) + np.bincount(self.buyer, minlength=size.size)
        share = size / np.maximum(partners, 1)
        smaller: FloatArray = np.minimum(share[self.seller], share[self.buyer])
        return smaller


def able_pairs(book: QuadraticBook, blocked: NDArray[np.bool_] | None = None) -> Pairs:
    """The pairs that can carry a trade, (1e) and (1f).

    Args:
        book: a sound book.
        blocked: pairs that may not. (book.n_pairs,)
    """
    able = _are_able(book)
    if blocked is not None:
        able &= ~blocked
    keep: NDArray[np.bool_] | slice = slice(None) if able.all() else able
    return Pairs(book.seller[keep], book.buyer[keep], book.seller_cost[keep], book.buyer_cost[keep])


def _are_able(book: QuadraticBook) -> NDArray[np.bool_]:
    able: NDArray[np.bool_] = (book.p_max_mw > 0.0)[book.seller] & (book.p_min_mw < 0.0)[book.buyer]
    return able


@dataclass(frozen=True, slots=True)
class Scale:
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
    def of(cls, book: QuadraticBook, pairs: Pairs) -> Scale:
        """Units for a book and the pairs of it that can trade."""
        p_min, p_max = book.p_min_mw, book.p_max_mw
        # a bound beyond three times what others would take or give never binds
        sold, bought = _within_reach(book, pairs)
        size = np.maximum(np.abs(p_min), np.abs(p_max))
        least = 0.01 * size[size > 0.0].min()
        p_max = np.maximum(np.minimum(p_max, 3.0 * sold + least), p_min)
        p_min = np.minimum(np.maximum(p_min, -3.0 * bought - least), p_max)
        size = np.maximum(np.abs(p_min), np.abs(p_max))
        positive = size[size > 0.0]
        power = float(np.exp(np.log(positive).sum() / positive.size))
        n = book.n_agents
        centre = float(np.partition(book.cost_b, n // 2)[n // 2])
        price = float(np.abs(book.cost_b - centre).sum() + (book.cost_a * size).sum()) / n
        price = price + float(np.abs(pairs.cost).sum()) / pairs.seller.size
        return cls(power, price if price > 0.0 else max(abs(centre), 1.0), centre, p_min, p_max)


def _within_reach(book: QuadraticBook, pairs: Pairs) -> tuple[FloatArray, FloatArray]:
    """The most that each agent sells, and buys, in any efficient outcome, MW; (n_agents,) each.

    Nobody sells to those who value power less than it costs, unless bounds force it; an incentive may pay for it, so
    with any everybody is within reach. Sums are taken best first: a bound without end stands behind all that count.
    """
    sells, buys = np.maximum(book.p_max_mw, 0.0), np.maximum(-book.p_min_mw, 0.0)
    gain = np.inf if pairs.cost.min(initial=0.0) < 0.0 else 0.0
    forced_sales, forced_purchases = np.maximum(book.p_min_mw, 0.0).sum(), np.maximum(-book.p_max_mw, 0.0).sum()
    dear, cheap = np.argsort(-book.cost_b, kind="stable"), np.argsort(book.cost_b, kind="stable")
    upto_buys, upto_sells = (np.append(0.0, each.cumsum()) for each in (buys[dear], sells[cheap]))
    takers = np.searchsorted(-book.cost_b[dear], -book.cost_b + gain, side="right")
    givers = np.searchsorted(book.cost_b[cheap], book.cost_b + gain, side="right")
    return upto_buys[takers] + forced_purchases, upto_sells[givers] + forced_sales


class FlowSession(QpSession):
    """A session of bilateral programs; it also keeps the balances of the last pairs."""

    def __init__(self) -> None:
        super().__init__()
        self._pairs: tuple[FloatArray, IntArray, IntArray] | None = None
        self._balances = sparse.csc_array((0, 0))

    def balances(self, own: FloatArray, seller: IntArray, buyer: IntArray) -> sparse.csc_array:
        """`balance_matrix`, that of the last call if it was for the same."""
        given = (own, seller, buyer)
        if self._pairs is None or not all(map(np.array_equal, self._pairs, given)):
            self._balances = balance_matrix(*given)
            self._pairs = (own.copy(), seller.copy(), buyer.copy())
        return self._balances


def flow_program(book: QuadraticBook, pairs: Pairs, scale: Scale, session: FlowSession) -> DiagonalQP:
    """The program (1) in scaled (P, x), powers first, then flows.

    An agent whose bounds are equal has no interior: its power moves to the right-hand side of (1b), and its
    variable is left without meaning.
    """
    e = pairs.seller.size
    lower, upper = scale.p_min / scale.power, scale.p_max / scale.power
    fixed = lower == upper
    return DiagonalQP(
        d=np.concatenate(
            (
                np.where(fixed, 1.0, book.cost_a * (scale.power / scale.price)),
                0.5 * REGULARISER / _pair_power(pairs, scale),
            )
        ),
        q=np.concatenate(
            (
                np.where(fixed, 0.0, (book.cost_b - scale.centre) / scale.price),
                pairs.cost / scale.price + REGULARISER,
            )
        ),
        A=session.balances(np.where(fixed, 0.0, 1.0), pairs.seller, pairs.buyer),
        b=np.where(fixed, -upper, 0.0),
        lower=np.concatenate((np.where(fixed, -1.0, lower), np.zeros(e))),
        upper=np.concatenate((np.where(fixed, 1.0, upper), np.full(e, np.inf))),
    )


def with_idle_flows(
    program: DiagonalQP, book: QuadraticBook, blocked: NDArray[np.bool_]
) -> tuple[DiagonalQP, NDArray[np.bool_]]:
    """The same program with flows for the blocked pairs, so that its structure is that of all pairs.

    The flow of a blocked pair costs something and stands in no balance. It is zero, and unlike one with a bound at
    zero it leaves the program an interior.

    Args:
        program: of the pairs that are not blocked.
        book: the book.
        blocked: pairs that may not trade. (book.n_pairs,)

    Returns:
        The program, and which of its variables are those of the given one.
    """
    n, able = book.n_agents, _are_able(book)
    seller, buyer, idle = book.seller[able], book.buyer[able], blocked[able]
    kept = np.concatenate((np.ones(n, dtype=bool), ~idle))
    A = balance_matrix(program.A.data[:n], seller, buyer)
    A.data[n:][np.repeat(idle, 2)] = 0.0
    d, q, lower, upper = np.ones(kept.size), np.ones(kept.size), np.zeros(kept.size), np.full(kept.size, np.inf)
    for wide, values in ((d, program.d), (q, program.q), (lower, program.lower), (upper, program.upper)):
        wide[kept] = values
    return DiagonalQP(d, q, A, program.b, lower, upper), kept


def _pair_power(pairs: Pairs, scale: Scale) -> FloatArray:
    """The most that each pair can trade, scaled; what an agent on both sides resells is not bounded by it."""
    most_sold, most_bought = np.maximum(scale.p_max, 0.0), np.maximum(-scale.p_min, 0.0)
    resells = (most_sold > 0.0) & (most_bought > 0.0)
    most_sold[resells] = most_bought[resells] = scale.size.max()
    # a bound that the others' bounds leave no room is cut to zero
    power: FloatArray = np.maximum(np.minimum(most_sold[pairs.seller], most_bought[pairs.buyer]) / scale.power, _LEAST)
    return power


def balance_matrix(own: FloatArray, seller: IntArray, buyer: IntArray) -> sparse.csc_array:
    """Balances of all agents: own power, less sales, plus purchases; (n_agents, n_agents + n_pairs)."""
    n, e = own.size, seller.size
    first = seller < buyer
    rows = np.empty(n + 2 * e, dtype=np.int32)
    rows[:n] = np.arange(n)
    rows[n::2] = np.minimum(seller, buyer)
    rows[n + 1 :: 2] = np.maximum(seller, buyer)
    values = np.empty(n + 2 * e)
    values[:n] = own
    values[n::2] = np.where(first, -1.0, 1.0)
    values[n + 1 :: 2] = -values[n::2]
    starts = np.empty(n + e + 1, dtype=np.int32)
    starts[: n + 1] = np.arange(n + 1)
    starts[n + 1 :] = np.arange(n + 2, n + 2 * e + 2, 2)
    return sparse.csc_array((values, rows, starts), shape=(n, n + e))
