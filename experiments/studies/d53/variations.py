"""One number of the model at a time: which choice decides what the statements' shares are."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from peerwatt.experiments.studies.d53.model import LEVELS, Level, Model
from peerwatt.experiments.studies.d53.statements import Share, shares
from peerwatt.experiments.studies.d53.study import StudyPlan, run_study

__all__ = ["VARIATIONS", "Variation", "run_variations"]


@dataclass(frozen=True, slots=True)
class Variation:
    """A model that differs from the study's in one number, or a level besides.

    Attributes:
        text: what is different.
        model: the model.
        level: of the factors.
    """

    text: str
    model: Model
    level: Level = LEVELS[0]


_M = Model()

VARIATIONS = (
    Variation("as it is", _M),
    Variation("loads of case69 as they are, with the same bids", replace(_M, load_scale=1.0, size=(0.75, 2.55))),
    Variation("bids of 0.1 to 0.4 of the base load", replace(_M, size=(0.1, 0.4))),
    Variation("half as many peers", replace(_M, n_peers=35)),
    Variation("all bids are peers'", replace(_M, n_peers=172)),
    Variation("first MWh worth 60 to 80 EUR", replace(_M, utility_eur_per_mwh=(60.0, 80.0))),
    Variation("first MWh worth 160 to 240 EUR", replace(_M, utility_eur_per_mwh=(160.0, 240.0))),
    Variation("penalties only, no rewards", replace(_M, most_eur_per_mwh=0.0)),
    Variation("rewards up to 200 EUR/MWh, not 50", replace(_M, most_eur_per_mwh=200.0)),
    Variation("penalties only, bound per pair, W as times W", replace(_M, most_eur_per_mwh=0.0), LEVELS[-1]),
    Variation("W = 0.5", replace(_M, w=0.5)),
    Variation("0' needs half of the relief there is", replace(_M, heavy_relief=0.5)),
    Variation("0' needs a quarter of the relief there is", replace(_M, heavy_relief=0.25)),
)


def run_variations(
    seeds: int, jobs: int = 0, on_done: Callable[[int, int], None] | None = None
) -> dict[str, dict[str, Share]]:
    """Run every variation.

    Args:
        seeds: seeds of each.
        jobs: processes, see `StudyPlan`.
        on_done: called with how many variations are done, and how many there are.

    Returns:
        Shares of the statements by variation.
    """
    found: dict[str, dict[str, Share]] = {}
    for variation in VARIATIONS:
        plan = StudyPlan(seeds=seeds, jobs=jobs, levels=(variation.level,), model=variation.model)
        found[variation.text] = shares(run_study(plan), variation.level)
        if on_done is not None:
            on_done(len(found), len(VARIATIONS))
    return found
