"""From an experiment to its variants: points of the design, their scenarios, and what their results depend on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from importlib import resources
from importlib.metadata import version
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from peerwatt.errors import Fault, ScenarioError
from peerwatt.experiments.comparison import Variant
from peerwatt.experiments.replica import RECORD, Lockstep
from peerwatt.experiments.sweep.experiment import Experiment
from peerwatt.sim.scenario import Scenario

__all__ = ["Plan", "points"]

_LIBRARIES = ("clarabel", "highspy", "numba", "numpy", "pandapower", "piqp", "power-grid-model", "scipy")
_SHOWN = 8  # faults of variants that are named one by one


@dataclass(frozen=True, slots=True)
class Plan:
    """What is run.

    Attributes:
        experiment: the experiment.
        variants: names and changes, in the order of the design.
        labels: of each variant, its level or value by factor.
        scenarios: of each variant, with paths that hold anywhere.
        digests: of each variant, hash of its scenario and of the files that it reads.
        reference: name of the variant that the others are compared to.
        together: of each variant, whether its replicas run in lockstep.
    """

    experiment: Experiment
    variants: tuple[Variant, ...]
    labels: tuple[dict[str, str], ...]
    scenarios: tuple[Scenario, ...]
    digests: tuple[str, ...]
    reference: str
    together: tuple[bool, ...]

    @classmethod
    def of(cls, experiment: Experiment, lockstep: Lockstep = Lockstep.AUTO) -> Plan:
        """Make the plan.

        Args:
            experiment: the experiment.
            lockstep: whether replicas run in lockstep.

        Raises:
            InputError: a variant is refused, a distribution reaches what the scenario refuses, there is no such
                reference, or a variant cannot run in lockstep and must; all faults at once.
        """
        base = Scenario.load(experiment.base_source, {**experiment.set, "seed": experiment.seed, "record": RECORD})
        drawn = points(experiment)
        _check_reach(experiment, base)
        names = _names(experiment, drawn)
        variants = tuple(
            Variant(name, {key: value for key, (_, value) in point.items()})
            for name, point in zip(names, drawn, strict=True)
        )
        labels = tuple({key: label for key, (label, _) in point.items()} for point in drawn)
        scenarios = _scenarios(experiment, base, variants)
        file_digest = cache(_file_digest)
        return cls(
            experiment,
            variants,
            labels,
            tuple(scenario.resolved() for scenario in scenarios),
            tuple(_digest(scenario, file_digest) for scenario in scenarios),
            _reference(experiment, names, labels),
            _together(experiment, names, scenarios, lockstep),
        )

    def manifest(self) -> dict[str, Any]:
        """What results depend on: two sweeps with equal manifests have equal results, replica by replica."""
        return {
            "kind": "sweep",
            "seed": self.experiment.seed,
            "scenario": [
                {"name": variant.name, "labels": labels, "digest": digest}
                for variant, labels, digest in zip(self.variants, self.labels, self.digests, strict=True)
            ],
            "lockstep": [variant.name for variant, own in zip(self.variants, self.together, strict=True) if own],
            "code": _code_digest(),
            "versions": {name: version(name) for name in ("peerwatt", *_LIBRARIES)},
        }


def points(experiment: Experiment) -> list[dict[str, tuple[str, Any]]]:
    """Points of the design: label and value by factor.

    A full factorial has the last factor vary fastest. Sampled designs are scrambled by the experiment's seed
    (`scipy.stats.qmc`), and mapped through the inverse of each factor's cumulated distribution.
    """
    factors, design = experiment.factors, experiment.design
    if design.method == "full_factorial":
        return [
            dict(zip(factors, combination, strict=True))
            for combination in product(*(factor.levels.items() for factor in factors.values()))
        ]
    from scipy.stats import qmc

    make = qmc.LatinHypercube if design.method == "latin_hypercube" else qmc.Sobol
    share = make(d=len(factors), rng=np.random.default_rng(experiment.seed)).random(design.points or 1)
    columns = [factor.at(share[:, k]) for k, factor in enumerate(factors.values())]
    return [dict(zip(factors, row, strict=True)) for row in zip(*columns, strict=True)]


def _names(experiment: Experiment, drawn: list[dict[str, tuple[str, Any]]]) -> list[str]:
    """Labels of a full factorial; of a sampled design the number of the point."""
    if experiment.design.method == "full_factorial":
        return [" | ".join(label for label, _ in point.values()) for point in drawn]
    digits = len(str(len(drawn) - 1))
    return [f"point {k:0{digits}d}" for k in range(len(drawn))]


def _scenarios(experiment: Experiment, base: Scenario, variants: tuple[Variant, ...]) -> list[Scenario]:
    scenarios: list[Scenario] = []
    refused: dict[str, list[str]] = {}
    for variant in variants:
        try:
            scenarios.append(base.replace(variant.changes))
        except ScenarioError as error:
            for fault in error.faults:
                refused.setdefault(str(fault), []).append(variant.name)
    if refused:
        raise ScenarioError(_by_variant(experiment, refused))
    return scenarios


def _by_variant(experiment: Experiment, refused: dict[str, list[str]], remedy: str = "") -> list[Fault]:
    """Faults and the variants that have them."""
    faults = []
    for text, names in list(refused.items())[:_SHOWN]:
        others = f" and {len(names) - 1} others" if len(names) > 1 else ""
        faults.append(Fault(f"{experiment.name}: variant '{names[0]}'{others}", text, remedy))
    return faults


def _together(
    experiment: Experiment, names: list[str], scenarios: list[Scenario], lockstep: Lockstep
) -> tuple[bool, ...]:
    """Which variants run in lockstep.

    Raises:
        ScenarioError: one cannot, and all must.
    """
    from peerwatt.sim.lockstep.qualify import obstacle

    if lockstep is Lockstep.NEVER:
        return (False,) * len(names)
    obstacles = [obstacle(scenario) for scenario in scenarios]
    refused: dict[str, list[str]] = {}
    for name, text in zip(names, obstacles, strict=True):
        if text:
            refused.setdefault(f"cannot run in lockstep: {text}", []).append(name)
    if refused and lockstep is Lockstep.ALWAYS:
        raise ScenarioError(_by_variant(experiment, refused, "take --lockstep auto, which runs it one by one"))
    return tuple(not text for text in obstacles)


def _check_reach(experiment: Experiment, base: Scenario) -> None:
    """Refuse a distribution without bounds where the scenario has some.

    Raises:
        ScenarioError: it would be refused one draw in a million.
    """
    faults = []
    for key, factor in experiment.factors.items():
        for _, value in factor.extremes() if factor.unbounded else ():
            try:
                base.replace({key: value})
            except ScenarioError as error:
                where = f"{experiment.name}: factors.{key}"
                faults.append(
                    Fault(where, f"{factor.distribution} reaches {value:g}: {error.faults[0]}", "give low and high")
                )
    if faults:
        raise ScenarioError(faults)


def _reference(experiment: Experiment, names: list[str], labels: tuple[dict[str, str], ...]) -> str:
    wanted = experiment.reference
    for name, own in zip(names, labels, strict=True):
        if all(own[key] == label for key, label in wanted.items()):
            return name
    said = ", ".join(f"{key} {label}" for key, label in wanted.items())
    raise ScenarioError(Fault(f"{experiment.name}: reference", f"no point of the design has {said}", "leave it out"))


def _digest(scenario: Scenario, file_digest: Callable[[Path], str]) -> str:
    """Hash of a scenario and of the grid and profiles that it reads from files."""
    from peerwatt.grid.cases import case_file

    files = [case_file(scenario.grid.case, base_dir=scenario.base)]
    files.append(None if scenario.grid.profiles is None else scenario.base / scenario.grid.profiles.file)
    parts = [scenario.digest(), *(file_digest(path) for path in files if path is not None)]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]


def _file_digest(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise ScenarioError(Fault(str(path), f"cannot be read: {error.strerror or error}")) from None


@cache
def _code_digest() -> str:
    """Hash of peerwatt's files, as they were when this process first asked."""
    return _digest_of(Path(str(resources.files("peerwatt"))))


def _digest_of(root: Path) -> str:
    """Hash of every file of a package, code and data; which of them a result depends on nobody can be sure of."""
    hashed = hashlib.sha256()
    for path in sorted(_files(root), key=lambda each: each.relative_to(root).as_posix()):
        content = path.read_bytes()
        hashed.update(f"{path.relative_to(root).as_posix()}\0{len(content)}\0".encode() + content)
    return hashed.hexdigest()[:16]


def _files(root: Path) -> Iterator[Path]:
    """Files below a folder, without those that Python and its compilers leave; layers may be symlinks."""
    for path in root.iterdir():
        if path.is_dir():
            if path.name != "__pycache__":
                yield from _files(path)
        elif path.suffix not in (".pyc", ".tmp"):
            yield path
