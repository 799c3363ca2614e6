"""One measured case of `clearing.py`, and the stopwatch that all cases share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from time import process_time

import numpy as np

__all__ = ["Row", "best_of"]


@dataclass(frozen=True, slots=True)
class Row:
    """One case.

    Attributes:
        case: what is cleared, e.g. ``bilateral, 50 peers dense``.
        ours_s: CPU seconds of peerwatt.
        reference_s: CPU seconds of the yardstick, NaN if there is none.
        reference: what the yardstick is, e.g. ``cvxpy + Clarabel``.
        wanted: least ratio `reference_s` / `ours_s` that is asked for, NaN if none is.
        gap: relative difference of the objective to the yardstick's, or to the optimum.
        note: anything else to print, e.g. rounds and residuals.
    """

    case: str
    ours_s: float
    reference_s: float
    reference: str
    wanted: float
    gap: float
    note: str = ""

    @property
    def ratio(self) -> float:
        """How many times faster than the yardstick."""
        return self.reference_s / self.ours_s

    @property
    def met(self) -> bool:
        """Whether the case is as fast as asked for; true if nothing is asked for."""
        return bool(np.isnan(self.wanted) or self.ratio >= self.wanted)


def best_of(rounds: int, calls: Mapping[str, Callable[[], object]]) -> dict[str, float]:
    """CPU seconds of each call: all in turns, one turn to warm up, the best of the others counts."""
    seconds = dict.fromkeys(calls, np.inf)
    for turn in range(rounds + 1):
        for name, call in calls.items():
            begin = process_time()
            call()
            if turn or rounds == 0:
                seconds[name] = min(seconds[name], process_time() - begin)
    return seconds
