"""Run a scenario from beginning to end and open what it leaves behind."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from peerwatt.sim.model import Simulation
from peerwatt.sim.results import Results
from peerwatt.sim.scenario import Scenario

__all__ = ["new_directory", "run"]


def run(
    scenario: Scenario | str | Path = "lv-village",
    out: str | Path | None = None,
    on_period: Callable[[Simulation], None] | None = None,
) -> Results:
    """Simulate a scenario and open its results.

    Args:
        scenario: a scenario, the name of a shipped one, or the path of a file.
        out: results directory; by default a new one, ``results/<name>-<date>-<time>``.
        on_period: called after each period.

    Raises:
        InputError: the scenario or the grid cannot be used.
        SimulationError: the run could not go on; what it computed is in the results directory.
    """
    chosen = scenario if isinstance(scenario, Scenario) else Scenario.load(scenario)
    directory = new_directory(chosen.name) if out is None else Path(out)
    with Simulation(chosen, directory) as simulation:
        simulation.run(on_period)
    return Results(directory)


def new_directory(name: str) -> Path:
    """A directory below ``results/`` that does not exist yet, by name and time."""
    stem = f"{name}-{datetime.now():%Y%m%d-%H%M%S}"
    path, copy = Path("results") / stem, 1
    while path.exists():
        copy += 1
        path = Path("results") / f"{stem}-{copy}"
    return path
