"""Runs the study: the benchmark, and the scenarios of the paper one after the other."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import TYPE_CHECKING, Any

from peerwatt.experiments.studies.tso_dso.hours import day_of, hour_of, kinds_of
from peerwatt.experiments.studies.tso_dso.runs import BASE, HOUR, RUNS, Run

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Study", "run_hours", "run_study"]


@dataclass(frozen=True, slots=True)
class Study:
    """What the study has found.

    Attributes:
        hours: a row per run and hour.
        seconds: how long each run took, the grid's loading in the first.
    """

    hours: pd.DataFrame
    seconds: Mapping[str, float]

    def of(self, run: str) -> pd.DataFrame:
        """Rows of a run."""
        return self.hours[self.hours["run"] == run]

    def day(self, run: str) -> dict[str, float]:
        """Totals of a run."""
        return day_of(self.of(run))

    def hour(self, run: str, hour: int = HOUR) -> dict[str, Any]:
        """One hour of a run: its row, and its losses as in `day_of`."""
        rows = self.of(run)
        chosen = rows[rows["hour"] == hour]
        found: dict[str, Any] = {str(name): value for name, value in chosen.iloc[0].items()}
        return found | day_of(chosen)

    @property
    def spill_mw(self) -> list[float]:
        """What the benchmark does not use of wind and sun, by hour."""
        values: list[float] = self.of("benchmark")["spill_mwh"].tolist()
        return values


def run_study(on_run: Callable[[int, int], None] | None = None, runs: Sequence[Run] = RUNS) -> Study:
    """Run the study.

    Args:
        on_run: called with how many runs are done, and how many there are.
        runs: which, the benchmark first.

    Raises:
        SimulationError: a run could not go on.
    """
    import pandas as pd

    frames: list[pd.DataFrame] = []
    seconds: dict[str, float] = {}
    spill: list[float] = []
    for run in runs:
        begin = perf_counter()
        frames.append(run_hours(run, spill))
        seconds[run.name] = perf_counter() - begin
        spill = spill or frames[0]["spill_mwh"].tolist()
        if on_run is not None:
            on_run(len(frames), len(runs))
    return Study(pd.concat(frames, ignore_index=True), seconds)


def run_hours(run: Run, spill_mw: Sequence[float]) -> pd.DataFrame:
    """Run one scenario; a row per hour.

    Args:
        run: which.
        spill_mw: see `Run.scenario_changes`.
    """
    import pandas as pd

    from peerwatt.sim.model import Simulation
    from peerwatt.sim.scenario import Scenario

    rows = []
    with Simulation(Scenario.load(BASE, run.scenario_changes(spill_mw))) as simulation:
        kinds = kinds_of(simulation)
        while simulation.running:
            simulation.step()
            if run.only in (None, simulation.period):
                rows.append({"run": run.name, **hour_of(simulation, kinds)})
    return pd.DataFrame(rows)
