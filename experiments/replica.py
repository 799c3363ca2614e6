"""One replica of one scenario, down to its key figures; whatever goes wrong is part of the outcome."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from peerwatt.errors import PeerwattError
from peerwatt.experiments.comparison import Outcome

if TYPE_CHECKING:
    from peerwatt.grid.cases import GridCase
    from peerwatt.sim.scenario import Scenario

__all__ = ["RECORD", "attempt"]

RECORD = ("period", "agent", "round", "trade", "message", "settlement")
"""Tables that the compared key figures need."""


def attempt(variant: str, replica: int, scenario: Scenario, grid: Callable[[], GridCase]) -> Outcome:
    """Simulate once.

    Args:
        variant: name of the variant, for the outcome.
        replica: number of the replica.
        scenario: what to simulate.
        grid: loads its grid; called here so that what is wrong with it is part of the outcome too.
    """
    from peerwatt.sim.model import Simulation
    from peerwatt.sim.results import Results

    try:
        with TemporaryDirectory() as folder:
            out = Path(folder) / "run"
            with Simulation(scenario, out, grid(), replica) as simulation:
                simulation.run()
            return Outcome(variant, replica, Results(out).kpi)
    except PeerwattError as error:
        return Outcome(variant, replica, {}, str(error))
    except Exception as error:  # one run that fails must not end the others
        return Outcome(variant, replica, {}, f"{type(error).__name__}: {error}")
