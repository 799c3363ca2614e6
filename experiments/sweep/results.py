"""The directory of a sweep, opened for reading, whether all of it is there or not.

    results = SweepResults("results/strategies")
    results.runs.frame(["variant", "replica", "social_welfare_eur"], [("status", "==", "finished")])
    results.analysis().as_markdown()

Nothing but the names is read before it is asked for.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from peerwatt.errors import Fault, ResultsError
from peerwatt.experiments.comparison import Comparison, Outcome
from peerwatt.experiments.sweep.experiment import Experiment
from peerwatt.experiments.sweep.plan import points
from peerwatt.experiments.sweep.store import EXPERIMENT, REPLICAS
from peerwatt.experiments.sweep.table import factor_columns, replica_table
from peerwatt.registry import nearest
from peerwatt.sim.batch import Batch, LazyTable
from peerwatt.sim.status import STATUS_FIGURES
from peerwatt.validation import validated

if TYPE_CHECKING:
    from peerwatt.experiments.sweep.analysis import Analysis

__all__ = ["SweepResults", "is_sweep"]

_MANIFEST = "manifest.json"
_NO_FIGURE = ("variant", "replica", "seed", "status", "error", "unsolved")


def is_sweep(path: Path) -> bool:
    """Whether a directory is that of a sweep; one that has only begun counts."""
    try:
        return bool(json.loads((path / _MANIFEST).read_text(encoding="utf-8")).get("kind") == "sweep")
    except (OSError, ValueError, AttributeError):
        return False


class SweepResults:
    """A sweep's directory.

    Args:
        path: the directory that `peerwatt sweep` writes or has written.

    Raises:
        ResultsError: it is not one, or is damaged.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        if not is_sweep(self.path):
            problem = "is not the directory of a sweep" if self.path.exists() else "there is no such directory"
            raise ResultsError(Fault(str(self.path), problem, "give the one that 'peerwatt sweep' wrote"))
        self.manifest = self._document(_MANIFEST)
        self.experiment = validated(Experiment, self._document(EXPERIMENT), str(self.path / EXPERIMENT))
        self.design = points(self.experiment)
        """Of each variant, label and value by factor."""
        self.variants = tuple(str(each["name"]) for each in self.manifest["scenario"])
        """Names in the order of the design."""
        if len(self.variants) != len(self.design):
            problem = f"{EXPERIMENT} has {len(self.design)} variants, {_MANIFEST} {len(self.variants)}"
            raise ResultsError(Fault(str(self.path), problem, "give the sweep's command again"))

    # What it was

    @property
    def factors(self) -> dict[str, list[Any]]:
        """Of each factor, what every variant has: numbers where all are, else labels."""
        return factor_columns(self.design)

    @property
    def reference(self) -> str:
        """Name of the variant that the others are compared to."""
        wanted = self.experiment.reference.items()
        fits = (all(point[key][0] == label for key, label in wanted) for point in self.design)
        return next(name for name, fit in zip(self.variants, fits, strict=True) if fit)

    @cached_property
    def done(self) -> int:
        """How many runs are there, failed ones included."""
        return self.runs.n_rows

    @cached_property
    def failed(self) -> int:
        """How many of them failed."""
        return int(self.runs.arrow(["status"], [("status", "==", "failed")]).num_rows)

    @cached_property
    def replicas(self) -> int:
        """Replicas of each variant, as far as is known: a stopping rule may ask for more."""
        import pyarrow.compute as pc

        highest = pc.max(self.runs.arrow(["replica"])["replica"]).as_py()
        return max(self.experiment.replicas, 0 if highest is None else int(highest) + 1)

    @property
    def total(self) -> int:
        """How many runs there will be, as far as is known."""
        return len(self.variants) * self.replicas

    @cached_property
    def figures(self) -> tuple[str, ...]:
        """Names of the key figures that are numbers."""
        import pyarrow as pa

        skipped = {*_NO_FIGURE, *self.experiment.factors}
        return tuple(f.name for f in self.runs.schema if f.name not in skipped and pa.types.is_floating(f.type))

    def check_figures(self, names: Sequence[str], where: str) -> None:
        """Refuse key figures that are not there.

        Args:
            names: figures.
            where: option or argument for the message.

        Raises:
            ResultsError: no run has some of them, or they are no numbers; all at once.
        """
        unknown = [name for name in names if name not in self.figures]
        if unknown:
            faults = (
                Fault(where, f"no run has a figure '{each}'", nearest(each, list(self.figures))) for each in unknown
            )
            raise ResultsError(faults)

    # What came out

    @cached_property
    def runs(self) -> LazyTable:
        """One row per run: variant, factors by key path, replica, seed, status, error, unsolved, key figures.

        It is the table on file where that is as new as the runs, else one made of these.
        """
        import pyarrow.dataset as pads

        if self._is_current():
            return Batch(self.path)["replicas"]
        rows = replica_table(self._units(), self.variants, self.factors, self.experiment.seed)
        return LazyTable(str(self.path), lambda: pads.dataset(rows))

    def comparison(self, figures: Sequence[str], reference: str = "") -> Comparison:
        """The runs with some of their key figures, and those that say how their periods ended.

        Args:
            figures: which.
            reference: name of the variant that is compared to; by default the experiment's.

        Raises:
            ResultsError: there is no such figure or variant.
        """
        self.check_figures(figures, "key figures")
        first = reference or self.reference
        if first not in self.variants:
            fault = Fault("reference", f"there is no variant '{first}'", nearest(first, list(self.variants)))
            raise ResultsError(fault)
        ends = (name for name in STATUS_FIGURES if name in self.figures)
        columns = tuple(dict.fromkeys((*figures, *ends)))
        rows = self.runs.arrow(["variant", "replica", "error", *columns]).to_pydict()
        values = zip(*(rows[name] for name in columns), strict=True) if columns else ((),) * len(rows["variant"])
        outcomes = tuple(
            Outcome(variant, replica, {k: v for k, v in zip(columns, row, strict=True) if v is not None}, error)
            for variant, replica, error, row in zip(
                rows["variant"], rows["replica"], rows["error"], values, strict=True
            )
        )
        names = (first, *(name for name in self.variants if name != first))
        return Comparison(names, self.replicas, {"experiment": self.experiment.name}, (), outcomes)

    def analysis(self, figures: Sequence[str] = (), reference: str = "") -> Analysis:
        """Paired differences, their intervals and adjusted p-values.

        Args:
            figures: which; by default those of the experiment that runs have.
            reference: name of the variant that is compared to; by default the experiment's.
        """
        from peerwatt.experiments.sweep.analysis import Analysis

        names = tuple(figures or (each for each in self.experiment.kpis if each in self.figures))
        return Analysis.of(self.comparison(names, reference), names)

    # Helpers

    def _is_current(self) -> bool:
        """Whether there is a table with as many rows as there are runs, none of which is newer."""
        import os

        import pyarrow as pa
        import pyarrow.parquet as pq

        file = self.path / REPLICAS
        try:
            written, n_rows = file.stat().st_mtime_ns, pq.read_metadata(file).num_rows
        except (OSError, pa.ArrowInvalid):
            return False
        with os.scandir(self.path / "units") as entries:
            made = [entry.stat().st_mtime_ns for entry in entries if entry.name.endswith(".json")]
        return len(made) == n_rows and max(made, default=0) <= written

    def _units(self) -> list[Outcome]:
        """Runs that are there and that the experiment, with its number of replicas, asks for."""
        stop = self.experiment.stop
        n = self.experiment.replicas if stop is None else stop.at_most
        found, names = [], set(self.variants)
        for path in sorted((self.path / "units").glob("*.json")):
            unit = self._document(f"units/{path.name}")
            try:
                outcome = Outcome(unit["variant"], unit["replica"], unit["kpi"], unit["error"])
            except KeyError as error:
                raise _damaged(path, f"{error} is missing") from None
            if outcome.replica < n and outcome.variant in names:
                found.append(outcome)
        return found

    def _document(self, name: str) -> dict[str, Any]:
        path = self.path / name
        try:
            read = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise _damaged(path, str(error)) from None
        if not isinstance(read, dict):
            raise _damaged(path, "is no JSON object")
        return read


def _damaged(path: Path, why: str) -> ResultsError:
    return ResultsError(Fault(str(path), f"cannot be read: {why}", "give the sweep's command again"))
