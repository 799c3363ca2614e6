"""From two proposals per pair to trades: exactly reciprocal, and within every agent's bounds.

When a negotiation ends, both sides of a pair name nearly the same power. The trade starts from their mean and is
then moved as little as possible, measured by the size w_e of the smaller agent, to where all bounds hold:

    min  sum_e (x_e - z_e)^2 / (2 w_e)    s.t.  P_min_n <= P_n(x) <= P_max_n,   x_e >= 0

by Hildreth's method: x_e = max(0, z_e - w_e (phi_s - phi_b)), and one agent after the other moves its phi_n such
that its own bounds hold. A pair that trades nothing stays so.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from peerwatt.market.book import FloatArray, IntArray

__all__ = ["within_bounds"]

_EXACT = 1e-8  # share of an agent's size by which its bounds may be missed
_SWEEPS = 2000


@njit(cache=True)
def _sweep(
    p_min: FloatArray,
    p_max: FloatArray,
    start: IntArray,
    pair: IntArray,
    sign: FloatArray,
    weight: FloatArray,
    trade: FloatArray,
    phi: FloatArray,
) -> float:
    """One correction of every agent; by how much bounds were missed before, relative to the agents' sizes."""
    worst = 0.0
    for n in range(p_min.size):
        power, given = 0.0, 0.0
        for h in range(start[n], start[n + 1]):
            power += sign[h] * max(0.0, trade[pair[h]])
            given += weight[pair[h]] if trade[pair[h]] > 0.0 else 0.0
        size = max(abs(p_min[n]), abs(p_max[n]))
        if size > 0.0:
            worst = max(worst, max(power - p_max[n], p_min[n] - power) / size)
        if given == 0.0:
            continue
        free = power + phi[n] * given
        wanted = (free - min(max(free, p_min[n]), p_max[n])) / given
        step = wanted - phi[n]
        if step != 0.0:
            phi[n] = wanted
            for h in range(start[n], start[n + 1]):
                trade[pair[h]] -= step * sign[h] * weight[pair[h]]
    return worst


def within_bounds(
    p_min: FloatArray,
    p_max: FloatArray,
    start: IntArray,
    pair: IntArray,
    sign: FloatArray,
    mean: FloatArray,
    weight: FloatArray,
) -> tuple[FloatArray, float]:
    """Move the means of both proposals to trades that keep all bounds.

    Args:
        p_min: lower bounds, MW. (n_agents,)
        p_max: upper bounds, MW. (n_agents,)
        start: agent n has the sides start[n] to start[n + 1]. (n_agents + 1,)
        pair: pair of every side. (n_sides,)
        sign: 1 where it sells, -1 where it buys. (n_sides,)
        mean: mean of both sides' proposals, MW. (n_pairs,)
        weight: size of the smaller agent of each pair, MW. (n_pairs,)

    Returns:
        Trades in MW, (n_pairs,), and the share of an agent's size by which a bound is missed at most: rounding,
        unless the pairs that trade cannot meet all bounds.
    """
    trade, phi, worst = mean.copy(), np.zeros(p_min.size), np.inf
    weight = np.where(mean > 0.0, weight, 0.0)
    for _ in range(_SWEEPS):
        worst = _sweep(p_min, p_max, start, pair, sign, weight, trade, phi)
        if worst <= _EXACT:
            break
    return np.maximum(trade, 0.0), worst
