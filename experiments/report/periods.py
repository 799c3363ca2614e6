"""The time axis of the figures: periods, or bins of periods where there are too many to draw."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from peerwatt.experiments.wording import length
from peerwatt.sim.columns import numbers
from peerwatt.sim.results import Results

__all__ = ["MAX_POINTS", "Periods"]

MAX_POINTS = 2000
"""How many points a curve over time has at most."""

Floats = NDArray[np.float64]


def _bin(done: int, period_s: int) -> int:
    """Periods per point: one, or those of an hour, a day or a week, so that curves stay readable."""
    if done <= MAX_POINTS:
        return 1
    rounds = (seconds // period_s for seconds in (3600, 86400, 604800) if seconds % period_s == 0)
    return next((size for size in rounds if size > 1 and done <= size * MAX_POINTS), -(-done // MAX_POINTS))


@dataclass(frozen=True, slots=True)
class Periods:
    """The periods that were done.

    Attributes:
        start: start of period 0, without time zone.
        period_s: length of a period in seconds.
        done: how many periods there are.
        bin: how many periods one point of a curve stands for.
    """

    start: np.datetime64
    period_s: int
    done: int
    bin: int

    @classmethod
    def of(cls, results: Results) -> Periods:
        """The periods of a run."""
        manifest: dict[str, Any] = results.manifest
        start = datetime.fromisoformat(str(manifest["start"])).replace(tzinfo=None)
        done = int(manifest["periods_done"])
        period_s = int(manifest["period_s"])
        return cls(np.datetime64(start, "s"), period_s, done, _bin(done, period_s))

    @property
    def hours(self) -> float:
        """Length of a period in hours."""
        return self.period_s / 3600.0

    @property
    def starts(self) -> NDArray[np.intp]:
        """First period of every bin, shape (n_bins,)."""
        return np.arange(0, self.done, self.bin)

    def stamps(self, periods: NDArray[np.intp] | None = None) -> list[str]:
        """Start of the given periods, or of every bin, as ISO texts."""
        chosen = self.starts if periods is None else periods
        times = self.start + (chosen * self.period_s).astype("timedelta64[s]")
        return [str(stamp) for stamp in times]

    def labels(self, periods: NDArray[np.intp]) -> list[str]:
        """The given periods as people write times; with the date where the run is longer than a day."""
        one_day = self.done * self.period_s <= 86400
        return [s[11:16] if one_day else f"{s[:10]} {s[11:16]}" for s in self.stamps(periods)]

    def column(self, table: pa.Table, name: str) -> Floats:
        """A column of a table with one row per period, shape (n_periods,); NaN where there is no row."""
        values = np.full(self.done, np.nan)
        period = numbers(table, "period").astype(np.intp)
        known = period < self.done
        values[period[known]] = numbers(table, name)[known]
        return values

    def totals(self, period: NDArray[np.intp], values: Floats) -> Floats:
        """Sum of rows over each period, shape (n_periods,)."""
        known = period < self.done
        return np.bincount(period[known], weights=values[known], minlength=self.done).astype(np.float64)

    def summed(self, values: Floats) -> Floats:
        """Sum over each bin, from shape (n_periods,) to (n_bins,); NaN only where all are."""
        if self.bin == 1 or not values.size:
            return values
        known = np.add.reduceat(np.isfinite(values).astype(float), self.starts)
        total = np.add.reduceat(np.nan_to_num(values), self.starts)
        return np.where(known > 0, total, np.nan)

    def lowest(self, values: Floats) -> Floats:
        """Least value of each bin, from shape (n_periods,) to (n_bins,)."""
        return values if self.bin == 1 or not values.size else np.fmin.reduceat(values, self.starts)

    def highest(self, values: Floats) -> Floats:
        """Greatest value of each bin, from shape (n_periods,) to (n_bins,)."""
        return values if self.bin == 1 or not values.size else np.fmax.reduceat(values, self.starts)

    @property
    def step(self) -> str:
        """What one point of a curve stands for, e.g. ``15 min``."""
        return length(float(self.period_s * self.bin))

    @property
    def thinned(self) -> str:
        """A remark where a point stands for several periods; else empty."""
        return f"Each point stands for {self.bin} periods ({self.step})." if self.bin > 1 else ""
