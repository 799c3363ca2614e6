"""Key figures of Table 7 about the grid, before the flexibility market runs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from peerwatt.market.book import FloatArray

__all__ = ["Overflow", "overflow"]

_ROUNDING = 1e-9  # of the limit: a line that is full is not congested


@dataclass(frozen=True, slots=True)
class Overflow:
    """Flows above the limits.

    Attributes:
        mw: overflow of every line, 0 where it is within its limit. (n_lines,)
        sum_mw: over all congested lines.
        weighted_mw: mean of the congested lines' overflows, weighted by their limits; 0 without congestion.
    """

    mw: FloatArray
    sum_mw: float
    weighted_mw: float

    @property
    def n_congested(self) -> int:
        """Number of lines whose flow surpasses their limit."""
        return int(np.count_nonzero(self.mw))


def overflow(flow_mw: FloatArray, limit_mw: FloatArray) -> Overflow:
    """Compare flows with limits.

    Args:
        flow_mw: flows in either direction. (n_lines,)
        limit_mw: limits, above 0. (n_lines,)
    """
    excess = np.abs(flow_mw) - limit_mw
    mw = np.where(excess > _ROUNDING * limit_mw, excess, 0.0)
    capacity = np.where(mw > 0.0, limit_mw, 0.0)
    weight = float(capacity.sum())
    return Overflow(mw, float(mw.sum()), float(capacity @ mw) / weight if weight else 0.0)
