"""Time series on an even time grid, and windows cut out of them.

Value k holds for the half-open step [start + k step, start + (k+1) step).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from peerwatt.errors import Fault, ProfileError
from peerwatt.grid.admittance import Floats, Ints

__all__ = ["TimeSeries"]

_DAY_S = 86_400


@dataclass(frozen=True, slots=True)
class TimeSeries:
    """Columns of values over time.

    Attributes:
        start: beginning of the first step.
        step_s: length of a step.
        columns: names of the columns; none where everything is constant, and then every date is covered.
        values: (n_steps, n_columns), read-only, possibly a memory map.
    """

    start: np.datetime64
    step_s: int
    columns: tuple[str, ...]
    values: Floats

    def __post_init__(self) -> None:
        object.__setattr__(self, "start", self.start.astype("datetime64[s]"))
        self.values.setflags(write=False)

    @classmethod
    def constant(cls) -> TimeSeries:
        """A series without columns, which covers every date."""
        return cls(np.datetime64("2000-01-01", "s"), 900, (), np.empty((0, 0)))

    @property
    def end(self) -> np.datetime64:
        """End of the last step; the first moment that is not covered."""
        return self.start + np.timedelta64(len(self.values) * self.step_s, "s")

    def window(self, start: np.datetime64 | str, periods: int, period_s: int) -> Floats:
        """Mean values over consecutive periods.

        Energy is conserved: each value is the mean over its period, whether the period is longer or shorter
        than the step or overlaps several of them.

        Args:
            start: beginning of the first period; any moment that is covered.
            periods: how many.
            period_s: length of a period.

        Returns:
            (periods, n_columns), the caller's own.

        Raises:
            ProfileError: the window is not covered; says what is.
        """
        begin = _second(start)
        if periods < 0 or period_s <= 0:
            raise ProfileError(Fault("window", f"{periods} periods of {period_s} s", "give lengths above 0"))
        if not self.columns:
            return np.empty((periods, 0))
        offset = int((begin - self.start) / np.timedelta64(1, "s"))
        self._check_covered(begin, offset, periods * period_s, period_s)
        step = self.step_s
        if offset % step == 0 and period_s % step == 0:
            first, n = offset // step, period_s // step
            rows = self.values[first : first + periods * n]
            return np.array(rows) if n == 1 else rows.reshape(periods, n, rows.shape[1]).mean(axis=1)
        return self._overlapping(offset, periods, period_s)

    @property
    def cycle(self) -> int:
        """Steps after which the series can begin anew: whole weeks, else days, that it covers, else all of it."""
        for length_s in (7 * _DAY_S, _DAY_S):
            if _DAY_S % self.step_s == 0 and len(self.values) * self.step_s >= 2 * length_s:
                unit = length_s // self.step_s
                return len(self.values) // unit * unit
        return len(self.values)

    def moved(self, columns: Ints, steps: Ints, start: np.datetime64, periods: int, period_s: int) -> Floats:
        """Mean values of some columns over consecutive periods, each as they are some steps later.

        What is beyond the end of the `cycle` is its begin, so that over a cycle a column keeps its values.

        Args:
            columns: (n,) their positions.
            steps: (n,) by how many steps each is moved, either way.
            start: beginning of the first period.
            periods: how many.
            period_s: length of a period.

        Returns:
            (periods, n), the caller's own.
        """
        first = int((_second(start) - self.start) / np.timedelta64(1, "s")) // self.step_s
        stop = first - (-(periods * period_s) // self.step_s) + 1
        rows = np.arange(first, min(stop, len(self.values)))
        values = self.values[(rows[:, None] + steps) % self.cycle, columns]
        begin = self.start + np.timedelta64(first * self.step_s, "s")
        names = tuple(str(k) for k in range(len(columns)))
        return TimeSeries(begin, self.step_s, names, values).window(start, periods, period_s)

    def _overlapping(self, offset: int, periods: int, period_s: int) -> Floats:
        """Mean over periods whose edges are not edges of steps: cut time at the edges of both."""
        step, stop = self.step_s, offset + periods * period_s
        if periods == 0:
            return np.empty((0, len(self.columns)))
        period_edges = offset + period_s * np.arange(periods, dtype=np.int64)
        step_edges: Ints = np.arange(offset // step + 1, -(-stop // step), dtype=np.int64) * step
        edges = np.union1d(period_edges, step_edges)
        length = np.diff(edges, append=stop)
        pieces = self.values[edges // step] * (length / period_s)[:, None]
        return np.asarray(np.add.reduceat(pieces, np.searchsorted(edges, period_edges), axis=0))

    def _check_covered(self, begin: np.datetime64, offset: int, length_s: int, period_s: int) -> None:
        total = len(self.values) * self.step_s
        if offset >= 0 and offset + length_s <= total:
            return
        end = begin + np.timedelta64(length_s, "s")
        latest = self.end - np.timedelta64(min(length_s, total), "s")
        remedy = (
            f"a window of {length_s} s can start from {self.start} to {latest}"
            if length_s <= total
            else f"at most {total // period_s} periods of {period_s} s are covered"
        )
        raise ProfileError(
            Fault(
                "profiles",
                f"{begin} to {end} is not covered; they reach from {self.start} to {self.end}",
                remedy,
            )
        )


def _second(moment: np.datetime64 | str) -> np.datetime64:
    parsed = np.datetime64(moment) if isinstance(moment, str) else moment
    second: np.datetime64 = parsed.astype("datetime64[s]")
    return second
