"""What the report says about its one case, as tests that each seed passes or fails."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from peerwatt.agents.policies.incentive_matrix import Reading
from peerwatt.experiments.studies.d53.model import Level, PairBound, Scenario
from peerwatt.experiments.studies.d53.table import at_level
from peerwatt.market.clearing import Status

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["STATEMENTS", "Share", "Statement", "Wide", "factor_effects", "shares", "word"]

_SAME = 1e-6  # MW: less is rounding
_PRINTED = 0.005  # MW: the report prints two digits
_CLOSE = 0.01  # relative: the report prints three digits

START, FREE, BLOCKED, CHOSEN = Scenario.START, Scenario.FREE, Scenario.BLOCKED, Scenario.CHOSEN
INCENTIVES, CONGESTED_ONLY = Scenario.INCENTIVES_80, Scenario.INCENTIVES_100


class Wide:
    """Key figures of one level, a column per scenario, a row per seed.

    Args:
        frame: rows of one level.
    """

    def __init__(self, frame: pd.DataFrame) -> None:
        self._frame = frame

    def __call__(self, column: str, scenario: Scenario) -> pd.Series:
        """One key figure of one scenario, by seed."""
        chosen = self._frame[self._frame["scenario"] == scenario]
        return chosen.set_index("seed")[column].sort_index()

    def infeasible(self, scenario: Scenario) -> pd.Series:
        """Whether the flexibility market has no solution, by seed."""
        return self("lfm_status", scenario).astype(str) == Status.INFEASIBLE

    def dearer(self, scenario: Scenario, other: Scenario) -> pd.Series:
        """Whether the flexibility market costs more than in another scenario; without a solution it does."""
        more = self("lfm_cost_eur", scenario) > self("lfm_cost_eur", other) + _SAME
        return (more | self.infeasible(scenario)) & ~self.infeasible(other)


Test: TypeAlias = "Callable[[Wide], pd.Series]"


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement of the report.

    Attributes:
        name: short name.
        text: what it says.
        where: section of the report.
        holds: whether it holds, by seed.
    """

    name: str
    text: str
    where: str
    holds: Test


@dataclass(frozen=True, slots=True)
class Share:
    """In how many seeds a statement holds.

    Attributes:
        holds: number of seeds.
        of: number of all seeds.
        low, high: 95 % interval of the share (Wilson).
    """

    holds: int
    of: int
    low: float
    high: float

    @property
    def value(self) -> float:
        """The share."""
        return self.holds / self.of


def _blocking_keeps(wide: Wide) -> pd.Series:
    same = wide("n_congested", BLOCKED) <= wide("n_congested", START)
    return same & (wide("overflow_sum_mw", BLOCKED) <= wide("overflow_sum_mw", START) + _SAME)


def _blocking_changes_nothing(wide: Wide) -> pd.Series:
    before, after = (wide("overflow_sum_mw", scenario) for scenario in (START, BLOCKED))
    same = (wide("n_original", BLOCKED) == wide("n_original", START)) & (
        wide("n_congested", BLOCKED) == wide("n_congested", START)
    )
    return same & ((after - before).abs() <= _PRINTED)


def _below_incentives(wide: Wide) -> pd.Series:
    blocked = wide("overflow_sum_mw", BLOCKED)
    return (blocked < wide("overflow_sum_mw", INCENTIVES)) & (blocked < wide("overflow_sum_mw", CONGESTED_ONLY))


def _ratio(wide: Wide, scenario: Scenario) -> pd.Series:
    return wide("p2p_volume_mw", scenario) / wide("p2p_volume_mw", FREE)


STATEMENTS = (
    Statement(
        "more congested lines",
        "unchecked P2P trading raises the number of congested lines",
        "5.4.2.2",
        lambda wide: wide("n_congested", FREE) > wide("n_congested", START),
    ),
    Statement(
        "all old resolved, new created",
        "unchecked trading resolves both original congestions while new ones arise",
        "5.4.2.2",
        lambda wide: (wide("n_original", FREE) == 0) & (wide("n_congested", FREE) > 0),
    ),
    Statement(
        "one old resolved, new created",
        "unchecked trading resolves an original congestion while new ones arise",
        "5.4.2.2",
        lambda wide: (
            (wide("n_original", FREE) < wide("n_original", START))
            & (wide("n_congested", FREE) > wide("n_original", FREE))
        ),
    ),
    Statement(
        "dearer LFM",
        "the flexibility market costs more after unchecked trading, or has no solution",
        "5.4.2.2",
        lambda wide: wide.dearer(FREE, START),
    ),
    Statement(
        "1' infeasible",
        "unchecked trading makes the flexibility market of the heavily loaded grid infeasible",
        "5.4.2.2",
        lambda wide: wide.infeasible(Scenario.HEAVY_FREE) & ~wide.infeasible(Scenario.HEAVY),
    ),
    Statement(
        "1'' needs no LFM",
        "seven chosen peers resolve everything by free trading",
        "5.4.2.2",
        lambda wide: (wide("n_congested", CHOSEN) == 0) & (wide("lfm_cost_eur", CHOSEN).abs() < _SAME),
    ),
    Statement(
        "blocking keeps the state",
        "blocking leaves no more congested lines and no more overflow than scenario 0",
        "5.4.2.3",
        _blocking_keeps,
    ),
    Statement(
        "blocking changes nothing",
        "blocking leaves the same congested lines and an overflow of 0.04 MW",
        "5.4.2.3",
        _blocking_changes_nothing,
    ),
    Statement(
        "blocking below incentives",
        "with blocking the overflow is below that of both variants of incentives",
        "5.4.2.4",
        _below_incentives,
    ),
    Statement(
        "blocking halves the volume",
        "blocking leaves at most half of the free volume (45 % in the report)",
        "5.4.2.3",
        lambda wide: _ratio(wide, BLOCKED) <= 0.5,
    ),
    Statement(
        "80 % does more",
        "incentives for lines from 80 % leave less overflow than for congested lines only",
        "5.4.2.4",
        lambda wide: wide("overflow_sum_mw", INCENTIVES) < wide("overflow_sum_mw", CONGESTED_ONLY) - _SAME,
    ),
    Statement(
        "80 % halves the volume",
        "incentives for lines from 80 % leave at most half of the free volume (47 % in the report)",
        "5.4.2.4",
        lambda wide: _ratio(wide, INCENTIVES) <= 0.5,
    ),
    Statement(
        "100 % keeps the volume",
        "incentives for congested lines only leave the volume as it is, within 1 %",
        "5.4.2.4",
        lambda wide: (_ratio(wide, CONGESTED_ONLY) - 1.0).abs() <= _CLOSE,
    ),
    Statement(
        "incentives are no remedy",
        "with incentives from 80 % more lines are congested than in scenario 0",
        "5.4.2.4",
        lambda wide: wide("n_congested", INCENTIVES) > wide("n_congested", START),
    ),
)


def shares(frame: pd.DataFrame, level: Level) -> dict[str, Share]:
    """In how many seeds each statement holds at a level, by its name."""
    from scipy.stats import binomtest

    wide, found = Wide(at_level(frame, level.pair_bound, level.reading)), {}
    for statement in STATEMENTS:
        holds = statement.holds(wide)
        n, of = int(holds.sum()), int(holds.size)
        interval = binomtest(n, of).proportion_ci(method="wilson")
        found[statement.name] = Share(n, of, float(interval.low), float(interval.high))
    return found


def factor_effects(by_level: dict[Level, dict[str, Share]], name: str) -> dict[str, tuple[float, float]]:
    """Share of a statement at both levels of each factor, averaged over the other: factor to (first, second)."""
    effects = {}
    for factor, levels in (("pair_bound", tuple(PairBound)), ("reading", tuple(Reading))):
        means = []
        for value in levels:
            found = [share[name].value for level, share in by_level.items() if getattr(level, factor) == value]
            means.append(sum(found) / len(found))
        effects[factor] = (means[0], means[1])
    return effects


def word(share: float) -> str:
    """A share in words."""
    limits = ((0.9, "nearly every seed"), (0.6, "most seeds"), (0.4, "about half"), (0.25, "about a third"))
    return next((text for limit, text in limits if share >= limit), "few seeds" if share > 0.05 else "hardly any")
