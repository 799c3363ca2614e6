"""Paired statistics: what a variant changes, replica by replica.

A difference is taken replica by replica, so that what all variants share (weather, population, faults) cancels. Its
95 % confidence interval is that of Student's t with one degree of freedom less than there are pairs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.special import stdtr, stdtrit

if TYPE_CHECKING:
    from peerwatt.experiments.comparison import Comparison

__all__ = ["CONFIDENCE", "Paired", "half_width", "paired"]

CONFIDENCE = 0.95
ROUNDING = 1e-7
"""Differences of this share of the figures are none: solvers and sums do not agree further."""

Floats = np.ndarray[Any, np.dtype[np.float64]]


@dataclass(frozen=True, slots=True)
class Paired:
    """One figure of one variant.

    Attributes:
        mean: mean over the replicas that have it, NaN if none has.
        n: how many have it.
        difference: mean difference to the first variant over the replicas that have both, NaN if none has, and for
            the first variant itself.
        half_width: half of the interval's width; NaN with fewer than two pairs.
        mean_half_width: half of the width of the mean's own interval; NaN with fewer than two replicas.
        effect: Cohen's d of the differences, their mean by their standard deviation; NaN where they do not vary.
        p_value: two-sided, of the paired t test; NaN with fewer than two pairs.
    """

    mean: float
    n: int
    difference: float = np.nan
    half_width: float = np.nan
    mean_half_width: float = np.nan
    effect: float = np.nan
    p_value: float = np.nan


def paired(comparison: Comparison, key: str) -> dict[str, Paired]:
    """One key figure of every variant.

    Args:
        comparison: the runs.
        key: name of the figure; of messages and their numbers, none is 0.
    """
    none = 0.0 if key.startswith(("messages", "numbers")) else np.nan
    values = {name: np.full(comparison.replicas, np.nan) for name in comparison.variants}
    for outcome in comparison.outcomes:
        value = outcome.kpi.get(key, none) if outcome.kpi else np.nan
        values[outcome.variant][outcome.replica] = np.nan if isinstance(value, str) else float(value)
    reference, found = comparison.variants[0], {}
    for name, own in values.items():
        known = own[np.isfinite(own)]
        mean = float(known.mean()) if known.size else np.nan
        difference = np.empty(0) if name == reference else _differences(own, values[reference])
        difference = difference[np.isfinite(difference)]
        found[name] = Paired(
            mean,
            known.size,
            float(difference.mean()) if difference.size else np.nan,
            half_width(difference),
            half_width(known),
            *_test(difference),
        )
    return found


def _differences(own: Floats, reference: Floats) -> Floats:
    """Pair by pair; what is less than a solver's rounding is none, or it would be found to be significant."""
    found = own - reference
    found[np.abs(found) <= ROUNDING * np.maximum(np.abs(own), np.abs(reference))] = 0.0
    return found


def half_width(values: Floats) -> float:
    """Half the width of the confidence interval of a mean.

    Args:
        values: the sample, (n,).
    """
    n = values.size
    if n < 2:
        return np.nan
    return float(stdtrit(n - 1, 0.5 + CONFIDENCE / 2.0) * values.std(ddof=1) / np.sqrt(n))


def _test(differences: Floats) -> tuple[float, float]:
    """Cohen's d and the p-value of the t test that their mean is 0."""
    n = differences.size
    if n < 2:
        return np.nan, np.nan
    mean, spread = float(differences.mean()), float(differences.std(ddof=1))
    if spread == 0.0:
        return np.nan, 1.0 if mean == 0.0 else 0.0
    effect = mean / spread
    return effect, float(2.0 * stdtr(n - 1, -abs(effect) * np.sqrt(n)))
