"""The study of Marques et al., section V: a P2P market on 37 buses that TSO and DSO coordinate with.

    study = run_study()
    study.day("1")["consumption_mwh"]

One day is run without the grid, and again in five scenarios in which something of the grid or of the system is short.
"""

from __future__ import annotations

from peerwatt.experiments.studies.tso_dso.runs import RUNS, Run
from peerwatt.experiments.studies.tso_dso.study import Study, run_study

__all__ = ["RUNS", "Run", "Study", "run_study"]
