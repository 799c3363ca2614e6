"""The study of EUniversal D5.3, chapter 5: peer-to-peer trading before a local flexibility market, over many seeds.

    runs = run_study(StudyPlan(seeds=10))
    runs.groupby(["pair_bound", "reading", "scenario"], observed=True)["lfm_cost_eur"].median()

One seed draws everything that the report leaves open; all its scenarios share the draws.
"""

from __future__ import annotations

from peerwatt.experiments.studies.d53.model import Level, Model, PairBound, Scenario
from peerwatt.experiments.studies.d53.study import StudyPlan, run_study

__all__ = ["Level", "Model", "PairBound", "Scenario", "StudyPlan", "run_study"]
