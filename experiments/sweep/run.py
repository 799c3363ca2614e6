"""Runs a sweep: what is missing is computed, what is there is not computed again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from peerwatt.errors import Fault, ScenarioError
from peerwatt.experiments.comparison import DIED, Comparison, Outcome
from peerwatt.experiments.pool import Pool
from peerwatt.experiments.replica import Lockstep, attempt, attempt_together
from peerwatt.experiments.sweep.experiment import Experiment, Stop
from peerwatt.experiments.sweep.plan import Plan
from peerwatt.experiments.sweep.store import Store
from peerwatt.registry import nearest

if TYPE_CHECKING:
    from peerwatt.grid.cases import GridCase
    from peerwatt.sim.scenario import Scenario
    from peerwatt.sim.settings import ProfileSettings

__all__ = ["Progress", "sweep"]

_MOST_TOGETHER = 64  # replicas in a task: more are no faster, and what a kill loses grows
_TASKS_PER_JOB = 2  # at least, so that processes end at about the same time

_Task: TypeAlias = "tuple[str, tuple[int, ...], Scenario, str, Lockstep]"


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a sweep is.

    Attributes:
        done: units that are finished or failed, those of earlier runs included.
        total: units there will be, as far as is known.
        failed: of those that are done.
        computed: by this run.
    """

    done: int
    total: int
    failed: int
    computed: int


def sweep(
    experiment: Experiment | str | Path,
    out: str | Path,
    *,
    pool: Pool | None = None,
    rerun_failed: bool = False,
    recompute: bool = False,
    lockstep: Lockstep = Lockstep.AUTO,
    on_unit: Callable[[Progress], None] | None = None,
) -> Comparison:
    """Run an experiment, or what is left of it.

    Args:
        experiment: an experiment, the name of a shipped one, or the path of a file.
        out: results directory; units of the same experiment that are there are not run again.
        pool: where to run; by default one process per processor.
        rerun_failed: run those again that failed.
        recompute: throw away what is there.
        lockstep: whether the replicas of a variant run together, see `peerwatt.sim.lockstep`.
        on_unit: called at the start and after each unit.

    Returns:
        Every unit, those of earlier runs included; the reference is the first variant.

    Raises:
        InputError: the experiment, the backend or the directory cannot be used; nothing has been touched.
        SimulationError: a result cannot be written; what was finished is kept.
    """
    from peerwatt.experiments.sweep.table import write_experiment, write_tables

    chosen = experiment if isinstance(experiment, Experiment) else Experiment.load(experiment)
    pool = pool or Pool()
    pool.check()
    plan = Plan.of(chosen, lockstep)
    store = Store(Path(out), plan)
    with pool.connected(), store.opened(recompute=recompute):
        write_experiment(chosen, store)
        work = _Work(plan, store, pool, lockstep, on_unit or (lambda _: None), rerun_failed=rerun_failed)
        replicas = chosen.replicas
        comparison = work.up_to(replicas)
        while chosen.stop is not None and replicas < chosen.stop.at_most and not _narrow(comparison, chosen.stop):
            replicas = min(replicas + (chosen.stop.step or chosen.replicas), chosen.stop.at_most)
            comparison = work.up_to(replicas)
        write_tables(comparison, plan, store)
    return comparison


class _Work:
    """Units of a plan, up to any number of replicas."""

    def __init__(
        self,
        plan: Plan,
        store: Store,
        pool: Pool,
        lockstep: Lockstep,
        on_unit: Callable[[Progress], None],
        *,
        rerun_failed: bool,
    ) -> None:
        self._plan, self._store, self._pool, self._on_unit = plan, store, pool, on_unit
        self._lockstep, self._rerun_failed = lockstep, rerun_failed
        self._computed: dict[tuple[str, int], Outcome] = {}

    def up_to(self, replicas: int) -> Comparison:
        """Run the units that are missing.

        Args:
            replicas: of each variant.
        """
        done = self._store.finished(replicas)
        if self._rerun_failed:
            done = {unit: each for unit, each in done.items() if not each.error or unit in self._computed}
        missing = [[r for r in range(replicas) if (name, r) not in done] for name in self._names]
        n_missing = sum(map(len, missing))
        self._store.check_room(n_missing)
        total, failed = n_missing + len(done), sum(bool(each.error) for each in done.values())
        self._on_unit(Progress(len(done), total, failed, len(self._computed)))
        for outcomes in self._pool.finished(_run, self._tasks(missing), _died, _parts):
            for outcome in outcomes:
                self._store.add(outcome)
                done[outcome.variant, outcome.replica] = self._computed[outcome.variant, outcome.replica] = outcome
                failed += bool(outcome.error)
                self._on_unit(Progress(len(done), total, failed, len(self._computed)))
        return self._comparison(replicas, done)

    @property
    def _names(self) -> list[str]:
        return [variant.name for variant in self._plan.variants]

    def _tasks(self, missing: list[list[int]]) -> list[_Task]:
        """Replicas that run in one go, the first ones of all variants first.

        Args:
            missing: replicas of each variant.
        """
        plan, tasks = self._plan, []
        together = sum(len(own) for own, each in zip(missing, plan.together, strict=True) if each)
        most = min(max(1, -(-together // (_TASKS_PER_JOB * self._pool.n_jobs))), _MOST_TOGETHER)
        for own, name, scenario, digest, each in zip(
            missing, self._names, plan.scenarios, plan.digests, plan.together, strict=True
        ):
            step, how = (most, self._lockstep) if each else (1, Lockstep.NEVER)
            parts = (tuple(own[first : first + step]) for first in range(0, len(own), step))
            tasks += [(name, part, scenario, digest, how) for part in parts]
        return sorted(tasks, key=lambda task: task[1][0])

    def _comparison(self, replicas: int, done: dict[tuple[str, int], Outcome]) -> Comparison:
        names = self._names
        names.sort(key=lambda name: name != self._plan.reference)
        outcomes = tuple(done[name, replica] for name in names for replica in range(replicas))
        scenario, experiment = self._plan.scenarios[0], self._plan.experiment
        about = {
            "experiment": experiment.name,
            "base": experiment.base,
            "time": f"{scenario.time.periods} periods of {scenario.time.period_s} s from {scenario.start:%Y-%m-%d}",
            "design": f"{experiment.design.method}, {len(names)} variants",
            "seed": str(experiment.seed),
        }
        return Comparison(tuple(names), replicas, about, (), outcomes)


def _narrow(comparison: Comparison, stop: Stop) -> bool:
    """Whether the interval of every variant that is not the reference itself is narrow enough.

    Raises:
        ScenarioError: no replica has the figure.
    """
    from peerwatt.experiments.paired import paired

    known = {key for outcome in comparison.outcomes for key, value in outcome.kpi.items() if not isinstance(value, str)}
    if known and stop.kpi not in known:
        remedy = nearest(stop.kpi, sorted(known))
        raise ScenarioError(Fault("stop.kpi", f"no replica has a figure '{stop.kpi}'", remedy))
    found = paired(comparison, stop.kpi)
    widths = [
        each.mean_half_width if stop.of == "mean" else each.half_width
        for name, each in found.items()
        if stop.of == "mean" or name != comparison.variants[0]
    ]
    return all(width <= stop.half_width for width in widths)  # an unknown one, NaN, is not narrow


def _run(name: str, replicas: tuple[int, ...], scenario: Scenario, digest: str, lockstep: Lockstep) -> list[Outcome]:
    """One task, in any process."""

    def grid() -> GridCase:
        return _grid(scenario, digest)

    if lockstep is Lockstep.NEVER:
        return [attempt(name, replica, scenario, grid) for replica in replicas]
    return attempt_together(name, replicas, scenario, grid, lockstep)


def _parts(name: str, replicas: tuple[int, ...], *rest: Any) -> list[tuple[Any, ...]]:
    """The same, replica by replica."""
    return [(name, (replica,), *rest) for replica in replicas]


def _grid(scenario: Scenario, digest: str) -> GridCase:
    case, profiles = scenario.grid.case, scenario.grid.profiles
    return _loaded(case, profiles, digest if profiles is not None or case.endswith((".json", ".m")) else "")


@lru_cache(maxsize=4)
def _loaded(case: str, profiles: ProfileSettings | None, _digest: str) -> GridCase:
    """A grid, once per process; one from a file anew when the file is another."""
    from peerwatt.grid.cases import load_case

    return load_case(case, profiles=None if profiles is None else profiles.file, profile_format=profiles)


def _died(name: str, replicas: tuple[int, ...], *_: object) -> list[Outcome]:
    return [Outcome(name, replica, {}, DIED) for replica in replicas]
