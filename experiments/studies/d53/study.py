"""Runs the study: many seeds in parallel, each kept as soon as it is done."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from peerwatt import __version__
from peerwatt.errors import Fault, ResultsError, ScenarioError
from peerwatt.experiments.studies.d53.feeder import Feeder, load_feeder
from peerwatt.experiments.studies.d53.model import LEVELS, Level, Model
from peerwatt.experiments.studies.d53.scenarios import Outcome, run_seed
from peerwatt.experiments.studies.d53.table import read, rows, write

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

__all__ = ["StudyPlan", "run_study"]

_RUNS, _MANIFEST, _PARTS = "runs.parquet", "manifest.json", "parts"


@dataclass(frozen=True, slots=True)
class StudyPlan:
    """What to run.

    Attributes:
        seeds: how many.
        first_seed: the first of them.
        jobs: processes; as many as there are processors if 0.
        levels: levels of the factors.
        model: numbers of the study.

    Raises:
        ScenarioError: a number that means nothing.
    """

    seeds: int = 200
    first_seed: int = 0
    jobs: int = 0
    levels: tuple[Level, ...] = LEVELS
    model: Model = field(default_factory=Model)

    def __post_init__(self) -> None:
        faults = [
            Fault(f"study d53: {name}", f"is {getattr(self, name)}", f"{least} or more")
            for name, least in (("seeds", 1), ("first_seed", 0), ("jobs", 0))
            if getattr(self, name) < least
        ]
        if not self.levels:
            faults.append(Fault("study d53: levels", "there are none", "at least one"))
        if faults:
            raise ScenarioError(faults)

    @property
    def numbers(self) -> range:
        """The seeds."""
        return range(self.first_seed, self.first_seed + self.seeds)


def run_study(
    plan: StudyPlan, out: Path | None = None, on_seed: Callable[[int, int], None] | None = None
) -> pd.DataFrame:
    """Run the study.

    Args:
        plan: what to run.
        out: directory for `runs.parquet`; nothing is written if None. Seeds that an earlier, perhaps interrupted,
            run of the same plan has left there are not run again.
        on_seed: called with how many seeds are done, and how many there are.

    Returns:
        A row per seed, level and scenario, see `peerwatt.experiments.studies.d53.table.SCHEMA`.

    Raises:
        ResultsError: the directory holds a study of other numbers.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    store = None if out is None else _Store(out, plan)
    done = {} if store is None else store.finished(plan.numbers)
    missing = [seed for seed in plan.numbers if seed not in done]
    show = on_seed or (lambda _done, _of: None)
    show(len(done), plan.seeds)
    for outcomes in _outcomes(plan, load_feeder(), missing):
        seed = outcomes[0].seed
        done[seed] = rows(outcomes)
        if store is not None:
            write(done[seed], store.part(seed))
        show(len(done), plan.seeds)
    table = pa.concat_tables([done[seed] for seed in plan.numbers]).unify_dictionaries()
    if store is not None:
        store.finish(table)
        return read(store.runs)
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink)
    return read(pa.BufferReader(sink.getvalue()))


def _outcomes(plan: StudyPlan, feeder: Feeder, seeds: list[int]) -> Iterator[list[Outcome]]:
    """Outcomes of every seed, in the order in which they are ready."""
    jobs = min(plan.jobs or os.cpu_count() or 1, len(seeds))
    if jobs <= 1:
        yield from (run_seed(feeder, plan.model, seed, plan.levels) for seed in seeds)
        return
    from joblib import Parallel, delayed

    tasks = (delayed(run_seed)(feeder, plan.model, seed, plan.levels) for seed in seeds)
    yield from Parallel(n_jobs=jobs, return_as="generator_unordered")(tasks)


class _Store:
    """The directory of a study: a file per seed while it runs, one file when it is done."""

    def __init__(self, path: Path, plan: StudyPlan) -> None:
        self.path, self.runs = path, path / _RUNS
        about = {
            "study": "d53",
            "version": __version__,
            "levels": [str(level) for level in plan.levels],
            "model": json.loads(json.dumps(asdict(plan.model))),
        }
        manifest = path / _MANIFEST
        if manifest.exists():
            self._compare(manifest, about)
        elif path.exists() and any(path.iterdir()):
            raise ResultsError(Fault(str(path), "is not empty and holds no study", "choose another with --out"))
        (path / _PARTS).mkdir(parents=True, exist_ok=True)
        manifest.write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")

    def _compare(self, manifest: Path, about: dict[str, object]) -> None:
        try:
            before = json.loads(manifest.read_text(encoding="utf-8"))
        except ValueError:
            before = None
        if before != about:
            raise ResultsError(
                Fault(str(self.path), "holds another study, or one of another version", "choose another with --out")
            )

    def part(self, seed: int) -> Path:
        """File of one seed."""
        return self.path / _PARTS / f"{seed:06d}.parquet"

    def finished(self, seeds: range) -> dict[int, pa.Table]:
        """Rows of the seeds that are there."""
        import pyarrow.compute as pc
        import pyarrow.parquet as pq

        done = {seed: pq.read_table(self.part(seed)) for seed in seeds if self.part(seed).exists()}
        if self.runs.exists():
            table = pq.read_table(self.runs)
            there = set(table["seed"].unique().to_pylist())
            for seed in there.intersection(seeds).difference(done):
                done[seed] = table.filter(pc.equal(table["seed"], seed))
        return done

    def finish(self, table: pa.Table) -> None:
        """Write the one file and take the others away."""
        write(table, self.runs)
        parts = self.path / _PARTS
        for file in parts.glob("*.parquet"):
            file.unlink()
        parts.rmdir()
