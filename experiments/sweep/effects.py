"""What each factor does to a key figure, ranked.

Of a full factorial it is the *main effect*: means of the figure at each level of the factor, over all levels of the
others. They are least-squares effects of an additive model in each replica, so that variants without a run do not shift
them; where none is missing they are the plain means of levels. The effect is the highest less the lowest of them.
Which two levels these are is known only from what came out, so that a t interval of their difference would be too
narrow: on noise it would exclude 0 in a quarter of all cases with five levels. Its 95 % interval is that of Tukey's
range: the quantile of the studentised range over all levels (Tukey 1953; Hochberg and Tamhane, Multiple Comparison
Procedures, 1987, chapter 3), times the standard error of that one difference, replica by replica. Not the pooled error
of all levels, as Tukey has it: levels differ in how much they vary, and where one varies three times as much as the
others, pooled intervals of eight levels exclude 0 in 13 % of all cases. With two levels it is the paired t interval.

Of a drawn design it is the *standardised regression coefficient*: the figure's mean at each point, regressed on the
standardised factors; its square is the share of the variance that a factor explains where factors are not correlated.
Where the straight line explains less than `LINEAR` of the variance, figures and factors are replaced by their ranks,
which holds for any monotone dependence (Saltelli et al., Global Sensitivity Analysis: The Primer, 2008, section 1.2).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from scipy.special import stdtrit

from peerwatt.experiments.paired import CONFIDENCE, ROUNDING, half_width

__all__ = ["LINEAR", "Effect", "Effects", "main_effects", "means", "range_half_width", "regression_effects", "shared"]

LINEAR = 0.7
"""Least share of the variance that a straight line explains for its coefficients to be told."""
MAIN, SRC, SRRC = "main effect", "standardised regression coefficient", "standardised rank regression coefficient"

Floats = np.ndarray[Any, np.dtype[np.float64]]


@dataclass(frozen=True, slots=True)
class Effect:
    """One factor.

    Attributes:
        factor: its key path.
        size: main effect in the figure's unit, never negative; or coefficient, with its sign where values are numbers.
        half_width: of the 95 % interval of a main effect, its levels having been picked; NaN where there is none.
        low: level with the lowest mean; empty of a coefficient.
        high: level with the highest mean, likewise.
        low_mean: mean at that level, NaN of a coefficient.
        high_mean: likewise.
        signed: whether the size has a sign.
    """

    factor: str
    size: float
    half_width: float = np.nan
    low: str = ""
    high: str = ""
    low_mean: float = np.nan
    high_mean: float = np.nan
    signed: bool = False


@dataclass(frozen=True, slots=True)
class Effects:
    """All factors of one key figure.

    Attributes:
        method: what the sizes are.
        effects: the largest first; empty where the figure does not vary, or runs are too few.
        mean: mean of the figure over all variants.
        explained: share of the variance between variants' means that the model explains; NaN where they do not vary,
            or where the model has as many coefficients as there are means.
    """

    method: str
    effects: tuple[Effect, ...]
    mean: float
    explained: float


def main_effects(values: Floats, levels: Mapping[str, Sequence[str]]) -> Effects:
    """Effects of a full factorial.

    Args:
        values: the figure by variant and replica, NaN where there is none; (n_variants, n_replicas).
        levels: of each factor, the level of every variant.
    """
    blocks = {factor: _contrasts(own) for factor, own in levels.items() if len(set(own)) > 1}
    X = np.hstack([np.ones((len(values), 1)), *(X for X, _ in blocks.values())])
    found = _replica_by_replica(X, values)
    if not found.size:
        return Effects(MAIN, (), np.nan, np.nan)
    effects, at = [], 1
    for factor, (block, names) in blocks.items():
        width = block.shape[1]
        by_level = np.vstack([found[at : at + width], -found[at : at + width].sum(axis=0)])
        at += width
        offset = by_level.mean(axis=1)
        low, high = int(offset.argmin()), int(offset.argmax())
        base = float(found[0].mean())
        span = by_level[high] - by_level[low]
        if (np.abs(span) <= ROUNDING * np.abs(found[0])).all():
            span = np.zeros_like(span)
        ends = names[low], names[high], base + float(offset[low]), base + float(offset[high])
        effects.append(Effect(factor, float(span.mean()), range_half_width(span, len(names)), *ends))
    effects.sort(key=lambda each: -each.size)
    return Effects(MAIN, tuple(effects), float(found[0].mean()), _explained(X, means(values)))


def range_half_width(span: Floats, n_levels: int) -> float:
    """Half the width of the 95 % interval of the highest less the lowest of several means.

    Args:
        span: this difference in each replica, (n_replicas,).
        n_levels: among how many means the two were picked.
    """
    return half_width(span) * _range_factor(n_levels, span.size) if span.size > 1 else np.nan


@cache
def _range_factor(n_levels: int, n_replicas: int) -> float:
    """How much wider it is than the t interval of a difference that was chosen beforehand."""
    if n_levels == 2:
        return 1.0
    from scipy.stats import studentized_range

    wide = float(studentized_range.ppf(CONFIDENCE, n_levels, n_replicas - 1) / np.sqrt(2.0))
    return wide / float(stdtrit(n_replicas - 1, 0.5 + CONFIDENCE / 2.0))


def regression_effects(values: Floats, factors: Mapping[str, Sequence[Any]]) -> Effects:
    """Effects of a drawn design.

    Args:
        values: the figure by point and replica, NaN where there is none; (n_points, n_replicas).
        factors: of each factor, what every point has: numbers, else labels.
    """
    every = means(values)
    known = np.isfinite(every)
    y = every[known]
    own = {key: [v for v, k in zip(column, known, strict=True) if k] for key, column in factors.items()}
    straight = _regressed(y, own, SRC)
    if not straight.explained < LINEAR:
        return straight
    from scipy.stats import rankdata

    ranks = {key: rankdata(column).tolist() if isinstance(column[0], float) else column for key, column in own.items()}
    return _regressed(rankdata(y), ranks, SRRC, mean=straight.mean)


def _regressed(y: Floats, factors: Mapping[str, Sequence[Any]], method: str, mean: float | None = None) -> Effects:
    mean = float(y.mean()) if mean is None and y.size else (np.nan if mean is None else mean)
    blocks: dict[str, Floats] = {}
    for factor, column in factors.items():
        if len(set(column)) > 1:
            X = _contrasts(column)[0] if isinstance(column[0], str) else np.array(column, dtype=float)[:, None]
            blocks[factor] = X - X.mean(axis=0)
    n_columns = 1 + sum(X.shape[1] for X in blocks.values())
    if y.size <= n_columns or _constant(y):
        return Effects(method, (), mean, np.nan)
    X = np.hstack([np.ones((y.size, 1)), *blocks.values()])
    coefficients = np.linalg.lstsq(X, y, rcond=None)[0]
    effects, at = [], 1
    for factor, block in blocks.items():
        own = coefficients[at : at + block.shape[1]]
        at += block.shape[1]
        signed = not isinstance(factors[factor][0], str)
        sign = float(np.sign(own[0])) if signed else 1.0
        effects.append(Effect(factor, sign * float((block @ own).std() / y.std()), signed=signed))
    effects.sort(key=lambda each: -abs(each.size))
    return Effects(method, tuple(effects), mean, _explained(X, y))


def _contrasts(column: Sequence[str]) -> tuple[Floats, list[str]]:
    """Sum-to-zero columns, (n, n_levels - 1), and the names of the levels; the last is minus the sum of the others."""
    names = list(dict.fromkeys(column))
    code = np.vstack([np.eye(len(names) - 1), -np.ones(len(names) - 1)])
    return code[[names.index(level) for level in column]], names


def _replica_by_replica(X: Floats, values: Floats) -> Floats:
    """Coefficients of each replica whose variants tell all of them, (n_coefficients, n_of_these)."""
    there = np.isfinite(values)
    found = []
    for pattern in np.unique(there, axis=1).T:
        which = (there == pattern[:, None]).all(axis=0)
        if np.linalg.matrix_rank(X[pattern]) == X.shape[1]:
            found.append(np.linalg.lstsq(X[pattern], values[np.ix_(pattern, which)], rcond=None)[0])
    return np.hstack(found) if found else np.empty((X.shape[1], 0))


def shared(values: Floats) -> Floats:
    """Only the replicas that all variants have, as long as there are any, so that variants are compared on equal draws.

    Args:
        values: the figure by variant and replica, NaN where there is none; (n_variants, n_replicas).

    Returns:
        Some of the columns, or all; variants without any replica do not count.
    """
    there = np.isfinite(values)
    by_all = there[there.any(axis=1)].all(axis=0)
    return values[:, by_all] if by_all.any() else values


def means(values: Floats) -> Floats:
    """Means by variant over the `shared` replicas, NaN of a variant without any; (n_variants,)."""
    values = shared(values)
    n = np.isfinite(values).sum(axis=1)
    return np.where(n > 0, np.nansum(values, axis=1) / np.maximum(n, 1), np.nan)


def _explained(X: Floats, y: Floats) -> float:
    known = np.isfinite(y)
    X, y = X[known], y[known]
    if y.size <= X.shape[1] or _constant(y):
        return np.nan
    rest = y - X @ np.linalg.lstsq(X, y, rcond=None)[0]
    return float(1.0 - (rest @ rest) / ((y - y.mean()) @ (y - y.mean())))


def _constant(y: Floats) -> bool:
    return bool(np.ptp(y) <= ROUNDING * np.abs(y).max())
