"""Run a scenario from beginning to end and open what it leaves behind."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from itertools import count
from pathlib import Path

from peerwatt.errors import Fault, ResultsError
from peerwatt.sim.model import Simulation
from peerwatt.sim.results import Results
from peerwatt.sim.scenario import Scenario

__all__ = ["results_directory", "run"]


def run(
    scenario: Scenario | str | Path = "lv-village",
    out: str | Path | None = None,
    on_period: Callable[[Simulation], None] | None = None,
    replica: int = 0,
) -> Results:
    """Simulate a scenario and open its results.

    Args:
        scenario: a scenario, the name of a shipped one, or the path of a file.
        out: results directory; by default a new one, ``results/<name>-<date>-<time>``.
        on_period: called after each period.
        replica: number of the replica; each draws everything anew, the same for the same number.

    Raises:
        InputError: the scenario or the grid cannot be used.
        SimulationError: the run could not go on; what it computed is in the results directory.
    """
    chosen = scenario if isinstance(scenario, Scenario) else Scenario.load(scenario)
    with results_directory(chosen.name, None if out is None else Path(out)) as directory:
        simulation = Simulation(chosen, directory, replica=replica)
    with simulation:
        simulation.run(on_period)
    return Results(directory)


@contextmanager
def results_directory(name: str, out: Path | None) -> Iterator[Path]:
    """A directory for the results of one run, taken away again when the block refuses to run.

    Args:
        name: name of the scenario.
        out: the directory that the user wants; by default a new one below ``results/``, by name and time.
    """
    if out is not None:
        yield out
        return
    stem = Path("results") / f"{name}-{datetime.now():%Y%m%d-%H%M%S}"
    for copy in count(1):
        path = stem if copy == 1 else stem.with_name(f"{stem.name}-{copy}")
        try:
            path.mkdir(parents=True)  # claims it: of two runs in the same second one finds it taken
            break
        except FileExistsError:
            continue
        except OSError as error:
            raise ResultsError(
                Fault(str(path), f"cannot be made: {error.strerror}", "choose another with --out")
            ) from None
    try:
        yield path
    except BaseException:
        with suppress(OSError):  # not empty: something is in it that must stay
            path.rmdir()
            path.parent.rmdir()
        raise
