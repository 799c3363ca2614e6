"""What the paper leaves open, one choice at a time: which decides where its numbers and ours differ."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from time import perf_counter
from typing import TYPE_CHECKING, Any

from peerwatt.experiments.studies.tso_dso.hours import day_of
from peerwatt.experiments.studies.tso_dso.runs import RUNS
from peerwatt.experiments.studies.tso_dso.study import Study, run_hours

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["VARIATIONS", "Variation", "run_variations"]


@dataclass(frozen=True, slots=True)
class Variation:
    """A run with other options.

    Attributes:
        run: of which scenario.
        text: what is different.
        options: of the scheme, on top of the run's.
    """

    run: str
    text: str
    options: Mapping[str, Any]


def _growth(c: float, growth: float, k: int) -> dict[str, Any]:
    return {"search": "growth", "c_eur_per_mwh": c, "growth": growth, "iterations": k}


VARIATIONS = (
    Variation("1", "as it is", {}),
    Variation("1", "steps of 1 %", {"flexibility_step": 0.01}),
    Variation("1", "steps of 10 %", {"flexibility_step": 0.1}),
    Variation("2", "as it is", {}),
    Variation("2", "steps of 10 %", {"flexibility_step": 0.1}),
    Variation("2", "only loads that relieve", {"reach": "effective"}),
    Variation("2", "electrical distance", {"distance": "electrical"}),
    Variation("2", "least penalty to 1 %", {"tolerance": 0.01}),
    Variation("2", "growth 2, k = 3, from 5", _growth(5.0, 2.0, 3)),
    Variation("2", "growth 2, k = 5, from 5", _growth(5.0, 2.0, 5)),
    Variation("2", "growth 2, k = 8, from 5", _growth(5.0, 2.0, 8)),
    Variation("2", "growth 1.3, k = 10, from 5", _growth(5.0, 1.3, 10)),
    Variation("2", "growth 4, k = 5, from 5", _growth(5.0, 4.0, 5)),
    Variation("2", "growth 2, k = 5, from 50", _growth(50.0, 2.0, 5)),
    Variation("3", "as it is", {}),
    Variation("3", "steps of 1 %", {"flexibility_step": 0.01}),
    Variation("3", "steps of 10 %", {"flexibility_step": 0.1}),
    Variation("3", "only loads that relieve", {"reach": "effective"}),
    Variation("3 reactive", "as it is", {}),
    Variation("3 reactive", "half of the reactive power stays", {"reactive_share": 0.5}),
    Variation("5", "as it is", {}),
    Variation("5", "the usual search, from 5", {"c_eur_per_mwh": 5.0}),
    Variation("5", "steps of 1 %", {"flexibility_step": 0.01}),
)

_MOST_ROUNDS = 200  # the longest of them raises flexibility 14 times, after 10 iterations each


def run_variations(study: Study, on_done: Callable[[int, int], None] | None = None) -> pd.DataFrame:
    """Run every variation.

    Args:
        study: the study, for what the TSO asks for.
        on_done: called with how many are done, and how many there are.

    Returns:
        A row per variation: its totals and what it took.
    """
    import pandas as pd

    runs, rows = {run.name: run for run in RUNS}, []
    for variation in VARIATIONS:
        run, begin = runs[variation.run], perf_counter()
        options = {**run.changes.get("coordination.scheme_options", {}), **variation.options}
        more = {"coordination.scheme_options": options, "coordination.rounds": _MOST_ROUNDS}
        frame = run_hours(replace(run, changes={**run.changes, **more}), study.spill_mw)
        rows.append(
            {
                "run": run.name,
                "variation": variation.text,
                **day_of(frame),
                "most_load_flexibility_percent": float(frame["load_flexibility_percent"].max()),
                "most_res_flexibility_percent": float(frame["res_flexibility_percent"].max()),
                "unsolved": int((~frame["limits_met"].astype(bool)).sum()),
                "rounds": int(frame["rounds"].sum()),
                "seconds": perf_counter() - begin,
            }
        )
        if on_done is not None:
            on_done(len(rows), len(VARIATIONS))
    return pd.DataFrame(rows)
