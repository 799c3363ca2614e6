"""Table 8 over the seeds: the report's number, the median and the 5 to 95 % range."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from peerwatt.experiments.studies.d53.model import Level, Scenario
from peerwatt.experiments.studies.d53.table import KPIS, at_level, published
from peerwatt.market.clearing import Status

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Cell", "Row", "number", "table8"]

_DIGITS = 3


@dataclass(frozen=True, slots=True)
class Cell:
    """One key figure of one scenario.

    Attributes:
        published: as the report prints it, "" where it has none.
        median, low, high: median and 5 and 95 % quantile of the seeds that have it; NaN if none has.
    """

    published: str
    median: float
    low: float
    high: float

    def __str__(self) -> str:
        if np.isnan(self.median):
            return "-"
        return f"{number(self.median)} ({number(self.low)} to {number(self.high)})"


@dataclass(frozen=True, slots=True)
class Row:
    """One scenario.

    Attributes:
        scenario: which one.
        cells: by key figure; costs are of the seeds in which the flexibility market has a solution.
        infeasible: share of the seeds in which it has none.
    """

    scenario: Scenario
    cells: dict[str, Cell]
    infeasible: float


def table8(frame: pd.DataFrame, level: Level) -> list[Row]:
    """Table 8 at one level, scenarios in the report's order."""
    rows, report = [], published()
    chosen = at_level(frame, level.pair_bound, level.reading)
    for scenario in Scenario:
        part = chosen[chosen["scenario"] == scenario]
        cells = {}
        for kpi in KPIS:
            values = part[kpi].dropna().to_numpy(dtype=np.float64)
            low, median, high = np.quantile(values, (0.05, 0.5, 0.95)) if values.size else (np.nan,) * 3
            cells[kpi] = Cell(report[scenario][kpi], float(median), float(low), float(high))
        infeasible = float((part["lfm_status"].astype(str) == Status.INFEASIBLE).mean())
        rows.append(Row(scenario, cells, infeasible))
    return rows


def number(value: float) -> str:
    """Three digits, at most as many after the point; "-" if there is none."""
    if np.isnan(value):
        return "-"
    if abs(value) < 0.5 * 10.0**-_DIGITS:
        return "0"
    digits = min(max(_DIGITS - 1 - int(np.floor(np.log10(abs(value)))), 0), _DIGITS)
    text = f"{value:.{digits}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
