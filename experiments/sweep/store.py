"""The directory of a sweep: one file per unit as it ends, and a manifest of what they depend on."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from peerwatt.errors import Fault, ResultsError, SimulationError
from peerwatt.experiments.comparison import Outcome
from peerwatt.experiments.sweep.plan import Plan
from peerwatt.sim.journal import write_atomically

__all__ = ["ANALYSIS", "EXPERIMENT", "REPLICAS", "REPORT", "Store"]

EXPERIMENT, REPLICAS, ANALYSIS = "experiment.json", "replicas.parquet", ("analysis.json", "analysis.md")
REPORT = ("report.html", "runs.csv", "runs.parquet")
_MANIFEST, _UNITS, _LOCK = "manifest.json", "units", "lock"
_UNIT_BYTES = 8192  # two blocks of most file systems; a unit has about 3 kB
_PARTS = {
    "seed": "the root seed",
    "scenario": "the scenarios",
    "lockstep": "what runs in lockstep",
    "code": "the code",
    "versions": "versions of libraries",
}


class Store:
    """A directory of results.

    Args:
        path: the directory.
        plan: what is run.
    """

    def __init__(self, path: Path, plan: Plan) -> None:
        self.path, self._plan = path, plan
        self._number = {variant.name: number for number, variant in enumerate(plan.variants)}

    @contextmanager
    def opened(self, *, recompute: bool) -> Iterator[None]:
        """Claim the directory; make it, or see that what it holds is of the same plan.

        Args:
            recompute: start anew where it is of another.

        Raises:
            ResultsError: it is of another, in use, no sweep, or cannot be written; nothing in it is touched.
        """
        manifest = self._plan.manifest()
        self._check(manifest, recompute=recompute)
        lock = FileLock(self.path / _LOCK)
        try:
            (self.path / _UNITS).mkdir(parents=True, exist_ok=True)
            lock.acquire(timeout=0)
        except Timeout:
            fault = Fault(str(self.path), "another sweep is writing it", "wait for its end, or choose another --out")
            raise ResultsError(fault) from None
        except OSError as error:
            fault = Fault(str(self.path), f"cannot be written: {error.strerror or error}", "choose another with --out")
            raise ResultsError(fault) from None
        try:
            if recompute:
                self._clear()
            for left_over in (self.path / _UNITS).glob(".*.tmp"):
                left_over.unlink()
            self.write(_MANIFEST, json.dumps(manifest, indent=1) + "\n")
            yield
        finally:
            lock.release()

    def check_room(self, n_units: int) -> None:
        """Refuse a disk that is too full.

        Args:
            n_units: how many units will be written.

        Raises:
            ResultsError: they do not fit.
        """
        free, needed = shutil.disk_usage(self.path).free, 2 * n_units * _UNIT_BYTES
        if free < needed:
            problem = f"{free / 1e6:.0f} MB are free, {n_units} results need about {needed / 1e6:.0f} MB"
            raise ResultsError(Fault(str(self.path), problem, "make room, or choose another with --out"))

    def finished(self, replicas: int) -> dict[tuple[str, int], Outcome]:
        """Units that are there.

        Args:
            replicas: of each variant, the first so many.
        """
        found = {}
        for variant in self._number:
            for replica in range(replicas):
                outcome = self._read(variant, replica)
                if outcome is not None:
                    found[variant, replica] = outcome
        return found

    def add(self, outcome: Outcome) -> None:
        """Keep a unit.

        Raises:
            SimulationError: it cannot be written.
        """
        document = {
            "variant": outcome.variant,
            "replica": outcome.replica,
            "seed": self._plan.experiment.seed,
            "status": "failed" if outcome.error else "finished",
            "error": outcome.error,
            "kpi": outcome.kpi,
        }
        self.write(self._unit(outcome.variant, outcome.replica), json.dumps(document, indent=1) + "\n")

    def write(self, name: str, content: str | bytes) -> None:
        """Write a file of the directory.

        Raises:
            SimulationError: it cannot be written.
        """
        try:
            write_atomically(self.path / name, content)
        except OSError as error:
            (self.path / name).with_name(f".{Path(name).name}.tmp").unlink(missing_ok=True)
            raise SimulationError(
                f"{self.path / name}: cannot be written: {error.strerror or error}; what was finished is kept; make "
                "room and give the same command again"
            ) from None

    def _unit(self, variant: str, replica: int) -> str:
        return f"{_UNITS}/{self._number[variant]:05d}-{replica:06d}.json"

    def _read(self, variant: str, replica: int) -> Outcome | None:
        path = self.path / self._unit(variant, replica)
        try:
            document = json.loads(path.read_text(encoding="utf-8"))
            return Outcome(document["variant"], document["replica"], document["kpi"], document["error"])
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError) as error:
            fault = Fault(str(path), f"cannot be read: {error}", "delete it, and it is computed again")
            raise ResultsError(fault) from None

    def _clear(self) -> None:
        """Take away what is there, first what was made of the units."""
        for name in (EXPERIMENT, REPLICAS, *ANALYSIS, *REPORT):
            (self.path / name).unlink(missing_ok=True)
        shutil.rmtree(self.path / _UNITS)
        (self.path / _UNITS).mkdir()

    def _untouched(self) -> bool:
        """Whether there is nothing but what a sweep leaves that was killed before its manifest was there."""
        if not self.path.is_dir():
            return False
        own = {_LOCK, _UNITS, f".{_MANIFEST}.tmp"}
        units = self.path / _UNITS
        return {each.name for each in self.path.iterdir()} <= own and not (units.is_dir() and any(units.iterdir()))

    def _check(self, manifest: dict[str, Any], *, recompute: bool) -> None:
        path = self.path / _MANIFEST
        try:
            before = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            if self.path.exists() and not self._untouched():
                fault = Fault(str(self.path), "is not empty and holds no sweep", "choose another with --out")
                raise ResultsError(fault) from None
            return
        except (OSError, ValueError):
            before = {}
        if before.get("kind") != "sweep":
            raise ResultsError(Fault(str(path), "is not that of a sweep", "choose another with --out"))
        if recompute or before == manifest:
            return
        changed = " and ".join(said for key, said in _PARTS.items() if before.get(key) != manifest[key])
        raise ResultsError(
            Fault(
                str(self.path),
                f"holds results of another experiment: {changed} changed since",
                "choose another with --out, or start anew with --recompute",
            )
        )
