"""Sweeps whose replicas run in lockstep: the same results, in the same directory, whatever the chunks."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from peerwatt.errors import ResultsError, ScenarioError
from peerwatt.experiments.pool import Backend, Pool
from peerwatt.experiments.replica import Lockstep
from peerwatt.experiments.sweep.experiment import Experiment
from peerwatt.experiments.sweep.plan import Plan
from peerwatt.experiments.sweep.run import sweep
from tests.sim.test_lockstep import OF_THE_GRID

HERE = Pool(Backend.SEQUENTIAL)
QUICK = {
    "time.period_s": 21600,
    "time.periods": 3,
    "time.start": "2016-06-21",
    "population.strategies": {"truthful": 1, "zero_intelligence": 1},
}


def experiment(mechanisms: tuple[str, ...] = ("double_auction", "bilateral"), replicas: int = 3) -> Experiment:
    return Experiment.model_validate(
        {
            "base": "lv-village",
            "set": QUICK,
            "factors": {"market.mechanism": list(mechanisms)},
            "replicas": replicas,
            "kpis": ["social_welfare_eur"],
        }
    )


def units(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted((directory / "units").iterdir())}


def test_together_and_one_by_one_are_the_same_but_for_the_solvers_tolerance(tmp_path: Path) -> None:
    found = {}
    for how in (Lockstep.ALWAYS, Lockstep.NEVER):
        assert not sweep(experiment(), tmp_path / how, pool=HERE, lockstep=how).failed
        found[how] = {name: json.loads(text) for name, text in units(tmp_path / how).items()}
    assert json.loads((tmp_path / "always/manifest.json").read_text())["lockstep"] == ["double_auction", "bilateral"]
    assert json.loads((tmp_path / "never/manifest.json").read_text())["lockstep"] == []
    assert list(found[Lockstep.ALWAYS]) == list(found[Lockstep.NEVER])
    for name, alone in found[Lockstep.NEVER].items():
        together = found[Lockstep.ALWAYS][name]
        assert list(together["kpi"]) == list(alone["kpi"])
        same = {key: value for key, value in alone["kpi"].items() if not key.startswith(OF_THE_GRID)}
        same.pop("max_vm_period")
        assert {**together["kpi"], **same} == together["kpi"]
        assert {**together, "kpi": 0} == {**alone, "kpi": 0}


def test_what_is_left_is_done_to_the_same_bytes_whatever_the_chunks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from peerwatt.experiments.sweep import run

    sweep(experiment(replicas=5), tmp_path / "at once", pool=HERE, lockstep=Lockstep.ALWAYS)
    monkeypatch.setattr(run, "_MOST_TOGETHER", 2)
    sweep(experiment(replicas=2), tmp_path / "in parts", pool=HERE)
    (tmp_path / "in parts/units/00000-000000.json").unlink()
    sweep(experiment(replicas=5), tmp_path / "in parts", pool=HERE)
    assert units(tmp_path / "in parts") == units(tmp_path / "at once")


def test_a_directory_is_not_continued_in_another_way(tmp_path: Path) -> None:
    sweep(experiment(replicas=1), tmp_path, pool=HERE, lockstep=Lockstep.NEVER)
    with pytest.raises(ResultsError, match="what runs in lockstep changed"):
        sweep(experiment(replicas=1), tmp_path, pool=HERE)


def test_what_cannot_runs_one_by_one_or_is_refused_where_all_must() -> None:
    mixed = experiment(("double_auction", "admm"))
    assert Plan.of(mixed).together == (True, False)
    with pytest.raises(ScenarioError, match=r"(?s)variant 'admm'.*cannot run in lockstep: peers negotiate.*auto"):
        Plan.of(mixed, Lockstep.ALWAYS)
    assert Plan.of(experiment(), Lockstep.ALWAYS).together == (True, True)


def squared_unless_deadly(numbers: tuple[int, ...], deadly: int) -> list[int]:
    if deadly in numbers:
        os.kill(os.getpid(), signal.SIGKILL)
    return [number**2 for number in numbers]


def one_each(numbers: tuple[int, ...], deadly: int) -> list[tuple[Any, ...]]:
    return [((number,), deadly) for number in numbers]


@pytest.mark.slow
def test_of_a_chunk_that_kills_its_process_only_the_deadly_part_is_lost() -> None:
    tasks = [((1, 2, 3), 2), ((4, 5), 2), ((6,), 2)]
    found = Pool(jobs=2).finished(
        squared_unless_deadly, tasks, lambda numbers, _: [-number for number in numbers], one_each
    )
    assert sorted(each for part in found for each in part) == [-2, 1, 9, 16, 25, 36]
