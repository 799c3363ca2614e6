"""How the parts of a period ended, and which endings are no result: what figures, tables and pages all go by.

A clearing's `peerwatt.market.clearing.Status` says how it ended. `optimal` and `empty` are results as they should be;
every other status has a key figure of its own, ``<part>_<status>_periods``. Some of these are a result all the same:

| part | recorded as | also a result | no result |
|---|---|---|---|
| ``market`` | ``market_status`` | | `infeasible`, `not_converged`: nobody trades |
| ``lfm`` | ``lfm_status`` | `infeasible`: the best that bids can do is activated | `not_converged` |
| ``capacity`` | ``capacity_status`` | `infeasible`: what there is is provided | `not_converged` |
| power flow | ``converged`` | | false: the grid's state is not known |

An iterative scheme that ends with a limit violated (``limits_met`` false, ``limits_unmet_periods``) leaves the best
state it found, which is a result. Figures of a run with periods that have no result are those of another market or of
fewer periods than those of a run without: `unsolved` says so in words, for whoever shows them side by side.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from peerwatt.market.clearing import Status
from peerwatt.sim.columns import at_stage, numbers, strings
from peerwatt.sim.tables import STAGES, Stage

__all__ = ["MARKET", "PARTS", "STATUS_FIGURES", "Part", "Unsolved", "status_figures", "unsolved"]

PERIODS = "periods"


@dataclass(frozen=True, slots=True)
class Part:
    """A market of the period.

    Attributes:
        name: what its figures begin with.
        words: what it is called.
        column: where table `period` has its status.
        stage: on the rows of which stage.
        effect: what that means for a period in which it has no result.
        partial: statuses that are neither as they should be nor without a result.
    """

    name: str
    words: str
    column: str
    stage: Stage
    effect: str
    partial: frozenset[Status] = frozenset()

    def figure(self, status: Status) -> str:
        """Key figure that counts the periods with a status."""
        return f"{self.name}_{status}_periods"

    @property
    def failures(self) -> tuple[Status, ...]:
        """Statuses without a result."""
        return tuple(each for each in Status if not each.solved and each not in self.partial)


_SHORT = frozenset((Status.INFEASIBLE,))
MARKET = Part("market", "market", "market_status", Stage.P2P, "nobody trades then")
PARTS = (
    MARKET,
    Part("lfm", "flexibility market", "lfm_status", Stage.FINAL, "nothing is activated then", _SHORT),
    Part("capacity", "capacity market", "capacity_status", Stage.FINAL, "nothing is provided then", _SHORT),
)
_FLAWED = tuple(status for status in Status if not status.solved)
_NO_STATE = "what is said of the grid is of the other periods"
_BY_STAGE = {stage: f"not_converged_{stage}" for stage in STAGES}

STATUS_FIGURES = (
    PERIODS,
    *(part.figure(status) for part in PARTS for status in _FLAWED),
    "limits_unmet_periods",
    "not_converged",
    *_BY_STAGE.values(),
)
"""Every key figure that counts periods by how they ended, and the number of all periods."""


def status_figures(period: pa.Table) -> dict[str, float | int | str]:
    """Periods by status, of every part that the run has; 0 where each has its result.

    Args:
        period: table `period`.
    """
    figures: dict[str, float | int | str] = {PERIODS: int(np.unique(numbers(period, "period")).size)}
    for part in PARTS:
        found = [text for text in strings(at_stage(period, part.stage), part.column) if text]
        if found or (part.name == "lfm" and _has_lfm(period)):
            figures |= {part.figure(status): found.count(status) for status in _FLAWED}
    met = numbers(at_stage(period, Stage.P2P), "limits_met")
    if np.isfinite(met).any():
        figures["limits_unmet_periods"] = int(np.count_nonzero(met == 0.0))
    figures["not_converged"] = int(np.count_nonzero(numbers(period, "converged") == 0.0))
    for stage, name in _BY_STAGE.items():
        rows = at_stage(period, stage)
        if rows.num_rows:
            figures[name] = int(np.count_nonzero(numbers(rows, "converged") == 0.0))
    return figures


def _has_lfm(period: pa.Table) -> bool:
    """Whether there is a flexibility market, which is not run in every period, and maybe in none."""
    final = at_stage(period, Stage.FINAL)
    return bool(final.num_rows) and not np.isfinite(numbers(final, "capacity_mw")).any()


@dataclass(frozen=True, slots=True)
class Unsolved:
    """Periods in which a part has no result.

    Attributes:
        words: what is the matter, e.g. `market not cleared`.
        count: in how many periods.
        periods: of how many; 0 where that is not known.
        remark: which statuses, and what that means.
    """

    words: str
    count: int
    periods: int
    remark: str

    @property
    def share(self) -> str:
        """How many of how many."""
        return f"{self.count:,} of {self.periods:,} periods" if self.periods else f"{self.count:,} periods"

    def __str__(self) -> str:
        return f"{self.words} in {self.share}"


def unsolved(figures: Iterable[Mapping[str, Any]]) -> tuple[Unsolved, ...]:
    """What has no result in some period of some runs; nothing where everything has one.

    Args:
        figures: key figures of each run; what a run does not have counts as 0.
    """
    runs = list(figures)
    return tuple(each for each in _every(runs, _sum(runs, PERIODS)) if each.count)


def _every(runs: list[Mapping[str, Any]], periods: int) -> Iterator[Unsolved]:
    for part in PARTS:
        counts = {status: _sum(runs, part.figure(status)) for status in part.failures}
        remark = ", ".join(f"{count:,} {status.words}" for status, count in counts.items() if count)
        yield Unsolved(f"{part.words} not cleared", sum(counts.values()), periods, f"{remark}; {part.effect}")
    for stage, name in _BY_STAGE.items():
        yield Unsolved(f"power flow failed ({stage})", _sum(runs, name), periods, _NO_STATE)


def _sum(runs: list[Mapping[str, Any]], name: str) -> int:
    return sum(int(run.get(name) or 0) for run in runs)
