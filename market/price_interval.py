"""Which price counts where a bilateral book leaves an interval.

Whoever is strictly within its bounds has its marginal cost as its price. Where the partners of a trade all stand at
their bounds, the duals mu of (1b) are free within

    mu_n >= C'_n(P_n) at P_max,    mu_n <= C'_n(P_n) at P_min,
    mu_b - mu_s = c_e of a pair e = (s, b) that trades,    mu_b - mu_s <= c_e of one that does not.

These are constraints on differences, so there is a lowest and a highest solution, agent by agent; the price is
low + k (high - low), as in an auction, which is a solution too. It depends neither on the solver nor on the order of
the agents, nor on anybody whose limits lie outside the interval. Where nothing bounds the interval on a side, because
somebody must trade at any price, that side is the solver's price.
"""

from __future__ import annotations

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from peerwatt.market.bilateral_program import Pairs
from peerwatt.market.book import FloatArray, IntArray, QuadraticBook

__all__ = ["within_interval"]

_AT_BOUND = 1e-6  # share of an agent's range within which it stands at its bound


def within_interval(
    book: QuadraticBook, pairs: Pairs, traded: IntArray, p_mw: FloatArray, price: FloatArray, k: float
) -> FloatArray:
    """Prices of all agents by the rule, EUR/MWh, (n_agents,); the solver's where the book leaves no interval.

    Args:
        book: what was cleared.
        pairs: pairs that can trade.
        traded: which of them do. (n_traded,)
        p_mw: net power. (n_agents,)
        price: the solver's duals. (n_agents,)
        k: 0 for the lowest price of the interval, 1 for the highest.
    """
    slack = _AT_BOUND * (book.p_max_mw - book.p_min_mw)
    high_end, low_end = p_mw >= book.p_max_mw - slack, p_mw <= book.p_min_mw + slack
    seller, buyer = pairs.seller[traded], pairs.buyer[traded]
    if not _has_interval(seller, buyer, ~(high_end | low_end)):
        return price
    marginal = book.cost_a * p_mw + book.cost_b
    low = np.where(low_end, -np.inf, np.where(high_end, np.minimum(marginal, price), price))
    high = np.where(high_end, np.inf, np.where(low_end, np.maximum(marginal, price), price))
    gap = price[pairs.buyer] - price[pairs.seller]
    cost = np.maximum(pairs.cost, gap)
    cost[traded] = gap[traded]
    _close(low, high, pairs, traded, cost)
    low, high = np.where(np.isfinite(low), low, price), np.where(np.isfinite(high), high, price)
    return np.asarray(low + k * (high - low), dtype=np.float64)


def _has_interval(seller: IntArray, buyer: IntArray, inside: np.ndarray) -> bool:
    """Whether some who trade with each other, at one remove or more, all stand at their bounds."""
    n = inside.size
    _, group = connected_components(coo_array((np.ones(seller.size), (seller, buyer)), shape=(n, n)), directed=False)
    held = np.bincount(group, weights=inside) > 0
    return bool((~held[group[seller]]).any())


def _close(low: FloatArray, high: FloatArray, pairs: Pairs, traded: IntArray, cost: FloatArray) -> None:
    """Tighten the bounds of all agents until every pair holds, in place."""
    s, b, own, s_own, b_own = pairs.seller, pairs.buyer, cost[traded], pairs.seller[traded], pairs.buyer[traded]
    for _ in range(low.size):
        before = low.copy(), high.copy()
        np.minimum.at(high, b, high[s] + cost)
        np.minimum.at(high, s_own, high[b_own] - own)
        np.maximum.at(low, s, low[b] - cost)
        np.maximum.at(low, b_own, low[s_own] + own)
        if np.array_equal(low, before[0]) and np.array_equal(high, before[1]):
            return
