"""Why a bilateral market has no solution: whose bounds cannot be met, and by how much."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy import sparse

from peerwatt.market.bilateral_program import Pairs, balance_matrix
from peerwatt.market.book import FloatArray, IntArray, QuadraticBook

__all__ = ["Conflict", "find_conflict"]

_NAMED = 8  # agents named in a message


@dataclass(frozen=True, slots=True)
class Conflict:
    """Bounds that cannot be met.

    Attributes:
        message: the agents concerned and what each group of them misses.
        missing_mw: least power that would have to be thrown away or conjured up.
    """

    message: str
    missing_mw: float


def find_conflict(book: QuadraticBook, pairs: Pairs) -> Conflict | None:
    """Find which agents' bounds cannot be met and how much is missing; None if they can be.

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
    balance = sparse.hstack((balance_matrix(np.ones(n), pairs.seller, pairs.buyer), unit, -unit), format="csc")
    result = linprog(  # type: ignore[call-overload]  # its stubs know no sparse A_eq
        cost, A_eq=balance, b_eq=np.zeros(n), bounds=bounds, method="highs"
    )
    if result.status != 0 or result.fun <= 1e-8:
        return None
    return Conflict("; ".join(_stuck(book, np.asarray(result.eqlin.marginals))), float(result.fun) * power)


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
