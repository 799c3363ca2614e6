"""Replicas of one scenario, down to their key figures; whatever goes wrong is part of the outcome."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import StrEnum
from errno import EDQUOT, ENOSPC
from pathlib import Path
from tempfile import TemporaryDirectory, gettempdir
from typing import TYPE_CHECKING

from peerwatt.errors import LockstepError, PeerwattError, SimulationError
from peerwatt.experiments.comparison import Outcome

if TYPE_CHECKING:
    from peerwatt.grid.cases import GridCase
    from peerwatt.sim.scenario import Scenario

__all__ = ["RECORD", "Lockstep", "attempt", "attempt_together"]

RECORD = ("period", "agent", "round", "trade", "message", "settlement")
"""Tables that the compared key figures need."""


class Lockstep(StrEnum):
    """Whether replicas run together, see `peerwatt.sim.lockstep`.

    Attributes:
        AUTO: where they can.
        ALWAYS: what cannot is refused.
        NEVER: each is a run of its own.
    """

    AUTO = "auto"
    ALWAYS = "always"
    NEVER = "never"


def attempt(variant: str, replica: int, scenario: Scenario, grid: Callable[[], GridCase]) -> Outcome:
    """Simulate once.

    Args:
        variant: name of the variant, for the outcome.
        replica: number of the replica.
        scenario: what to simulate.
        grid: loads its grid; called here so that what is wrong with it is part of the outcome too.

    Raises:
        SimulationError: the disk for temporary files is full, which is no fault of the run.
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
        _check_disk(error)
        return Outcome(variant, replica, {}, str(error))
    except Exception as error:  # one run that fails must not end the others
        _check_disk(error)
        return Outcome(variant, replica, {}, f"{type(error).__name__}: {error}")


def _check_disk(error: BaseException) -> None:
    """End where the others would fail for the same reason.

    Raises:
        SimulationError: the disk is full.
    """
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.errno in (ENOSPC, EDQUOT):
            remedy = "make room or set TMPDIR, and give the same command again; what was finished is kept"
            raise SimulationError(f"{gettempdir()}: no space is left for temporary files; {remedy}") from None
        cause = cause.__cause__ or cause.__context__


def attempt_together(
    variant: str,
    replicas: Sequence[int],
    scenario: Scenario,
    grid: Callable[[], GridCase],
    lockstep: Lockstep = Lockstep.AUTO,
) -> list[Outcome]:
    """Simulate replicas in lockstep; those that cannot, one by one.

    What a replica comes to does not depend on the others: where one of them fails each is tried alone.

    Args:
        variant: name of the variant, for the outcomes.
        replicas: numbers of the replicas.
        scenario: what to simulate, which has no `obstacle`.
        grid: loads its grid.
        lockstep: with `ALWAYS` what fails in lockstep has failed; else it is tried by itself.
    """
    from peerwatt.sim.lockstep import run_lockstep

    try:
        found = run_lockstep(scenario, replicas, grid())
        return [Outcome(variant, replica, kpi) for replica, kpi in zip(replicas, found, strict=True)]
    except Exception as error:
        if len(replicas) > 1:
            return [attempt_together(variant, (each,), scenario, grid, lockstep)[0] for each in replicas]
        if lockstep is Lockstep.ALWAYS:
            text = str(error) if isinstance(error, PeerwattError) else f"{type(error).__name__}: {error}"
            hint = "; with --lockstep auto it runs by itself" if isinstance(error, LockstepError) else ""
            return [Outcome(variant, replicas[0], {}, text + hint)]
        return [attempt(variant, replicas[0], scenario, grid)]
