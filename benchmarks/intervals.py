"""How often 95 % intervals hold the true mean: after so many replicas, and where a sweep stops by itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table
from scipy.special import stdtrit

N_EXPERIMENTS = 20_000
AT_MOST = 200  # replicas
HALF_WIDTHS = (0.3, 0.4, 0.5, 0.7, 1.0)  # standard deviations
REPLICAS = (5, 10, 20, 30, 50)

Floats = np.ndarray[Any, np.dtype[np.float64]]
Draw = Callable[[tuple[int, int]], Floats]


def main() -> None:
    rng = np.random.default_rng(1)
    models: dict[str, tuple[Draw, float]] = {
        "normal": (rng.standard_normal, 0.0),
        "exponential": (rng.standard_exponential, 1.0),
    }
    title = "share of intervals that hold the true mean, %"
    fixed = Table(title=title, title_justify="left")
    stopped = Table(title=f"the same with a stopping rule, worst of half-widths {HALF_WIDTHS}", title_justify="left")
    for table, head in ((fixed, "replicas"), (stopped, "looks after every")):
        table.add_column(head)
        for n in REPLICAS:
            table.add_column(str(n), justify="right")
    for name, (draw, mean) in models.items():
        fixed.add_row(name, *(f"{100 * _held(draw((N_EXPERIMENTS, n)), mean).mean():.1f}" for n in REPLICAS))
        worst = (min(_stopped(draw((N_EXPERIMENTS, AT_MOST)), mean, n, half) for half in HALF_WIDTHS) for n in REPLICAS)
        stopped.add_row(name, *(f"{100 * share:.1f}" for share in worst))
    console = Console()
    console.print(fixed)
    console.print(stopped)


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


if __name__ == "__main__":
    main()
