"""How often what a sweep prints holds: intervals of means and differences, where it stops, effects of factors."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table
from scipy.special import stdtr, stdtrit
from scipy.stats import false_discovery_control

from peerwatt.experiments.paired import half_width
from peerwatt.experiments.sweep.effects import range_half_width

N_EXPERIMENTS = 20_000
AT_MOST = 200  # replicas
HALF_WIDTHS = (0.3, 0.4, 0.5, 0.7, 1.0)  # standard deviations
REPLICAS = (5, 10, 20, 30, 50)
LEVELS = range(2, 9)

Floats = np.ndarray[Any, np.dtype[np.float64]]
Draw = Callable[[tuple[int, ...]], Floats]
RNG = np.random.default_rng(1)


def exponential_difference(shape: tuple[int, ...]) -> Floats:
    """Of two figures that are skewed alike."""
    return RNG.standard_exponential(shape) - RNG.standard_exponential(shape)


def one_wider(shape: tuple[int, ...]) -> Floats:
    """(n_experiments, n_levels, n_replicas), with three times the spread at the first level."""
    found = RNG.standard_normal(shape)
    found[:, 0] *= 3.0
    return found


SAMPLES: dict[str, tuple[Draw, float]] = {
    "normal": (RNG.standard_normal, 0.0),
    "exponential": (RNG.standard_exponential, 1.0),
    "difference of two exponentials": (exponential_difference, 0.0),
}
NOISE: dict[str, Draw] = {
    "normal": RNG.standard_normal,
    "one level three times as wide": one_wider,
    "exponential": RNG.standard_exponential,
}


def main() -> None:
    console = Console()
    fixed = {
        name: [_held(draw((N_EXPERIMENTS, n)), mean).mean() for n in REPLICAS] for name, (draw, mean) in SAMPLES.items()
    }
    console.print(_table("intervals that hold the true mean, % by replicas", REPLICAS, fixed))
    stopped = {
        name: [min(_stopped(draw((N_EXPERIMENTS, AT_MOST)), mean, n, half) for half in HALF_WIDTHS) for n in REPLICAS]
        for name, (draw, mean) in SAMPLES.items()
    }
    title = f"the same with a stopping rule, worst of half-widths {HALF_WIDTHS}, % by replicas between looks"
    console.print(_table(title, REPLICAS, stopped))
    for n in (5, 10, 30):
        effects = {name: [_excludes(draw((N_EXPERIMENTS, k, n))) for k in LEVELS] for name, draw in NOISE.items()}
        plain = {"normal, plain t": [_excludes(_normal(k, n), factor=1.0) for k in LEVELS]}
        console.print(
            _table(f"effects of noise whose interval excludes 0, {n} replicas, % by levels", LEVELS, effects | plain)
        )
    true = {f"{n} replicas": [_effect_held(k, n) for k in LEVELS] for n in (5, 10, 30)}
    console.print(_table("effects whose interval holds the true difference, % by levels", LEVELS, true))
    several = {n: np.array([_several(k, n) for k in LEVELS]) for n in (5, 10, 30)}
    for column, words in enumerate(("an interval without 0", "an adjusted p below 0.05")):
        rows = {f"{n} replicas": found[:, column] for n, found in several.items()}
        console.print(_table(f"noise with {words} among all differences to one reference, % by variants", LEVELS, rows))


def _table(title: str, columns: Any, rows: Mapping[str, Any]) -> Table:
    table = Table("", *map(str, columns), title=title, title_justify="left")
    for name, shares in rows.items():
        table.add_row(name, *(f"{100.0 * share:.1f}" for share in shares))
    return table


def _normal(n_levels: int, n: int) -> Floats:
    return RNG.standard_normal((N_EXPERIMENTS, n_levels, n))


def _half_widths(samples: Floats) -> Floats:
    """Of each row, as peerwatt.experiments.paired has them one by one."""
    n = samples.shape[1]
    return np.asarray(stdtrit(n - 1, 0.975) * samples.std(axis=1, ddof=1) / np.sqrt(n))


def _held(samples: Floats, mean: float) -> Floats:
    return np.abs(samples.mean(axis=1) - mean) <= _half_widths(samples)


def _stopped(samples: Floats, mean: float, step: int, half: float) -> float:
    """Share that hold the mean at the first look at which they are narrow enough."""
    held, left, n = 0, np.arange(len(samples)), step
    while left.size:
        looked = samples[left, :n]
        done = (_half_widths(looked) <= half) | (n >= AT_MOST)
        held += int(_held(looked[done], mean).sum())
        left, n = left[~done], min(n + step, AT_MOST)
    return held / len(samples)


@cache
def _factor(n_levels: int, n: int) -> float:
    """How much wider the interval of an effect is than the t interval."""
    some = np.arange(float(n))
    return range_half_width(some, n_levels) / half_width(some)


def _effects(values: Floats, factor: float | None) -> tuple[Floats, Floats, Floats, Floats]:
    """Size and half-width of each experiment's effect, and its levels; as `main_effects` has them one by one."""
    _, n_levels, n = values.shape
    mean, row = values.mean(axis=2), np.arange(len(values))
    low, high = mean.argmin(axis=1), mean.argmax(axis=1)
    half = _half_widths(values[row, high] - values[row, low])
    return mean[row, high] - mean[row, low], half * (_factor(n_levels, n) if factor is None else factor), low, high


def _excludes(values: Floats, factor: float | None = None) -> float:
    size, half, _, _ = _effects(values, factor)
    return float((size > half).mean())


def _effect_held(n_levels: int, n: int) -> float:
    """With true means from 0 to one standard deviation."""
    truth = np.linspace(0.0, 1.0, n_levels)
    size, half, low, high = _effects(_normal(n_levels, n) + truth[:, None], None)
    return float((np.abs(size - (truth[high] - truth[low])) <= half).mean())


def _several(n_variants: int, n: int) -> tuple[float, float]:
    """Share of experiments in which some difference to the first variant excludes 0, before and after adjustment."""
    values = _normal(n_variants, n)
    difference = values[:, 1:] - values[:, :1]
    t = np.abs(difference.mean(axis=2)) / (difference.std(axis=2, ddof=1) / np.sqrt(n))
    p_value = 2.0 * stdtr(n - 1, -t)
    adjusted = false_discovery_control(p_value, axis=1, method="by")
    return float((p_value < 0.05).any(axis=1).mean()), float((adjusted < 0.05).any(axis=1).mean())


if __name__ == "__main__":
    main()
