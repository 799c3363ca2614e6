"""What is shipped: lazy public names, layers, wheel and sdist with their data."""

from __future__ import annotations

import multiprocessing
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

import peerwatt
from peerwatt.sim.model import Simulation
from peerwatt.sim.scenario import Scenario
from tests.scenarios import small_case, small_scenario

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize("name", peerwatt.__all__)
def test_public_names_are_there(name: str) -> None:
    assert getattr(peerwatt, name) is not None
    assert name in dir(peerwatt)


def test_importing_the_package_imports_nothing_else() -> None:
    code = "import sys, peerwatt; print(sorted(name for name in sys.modules if name.startswith('peerwatt.')))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def volume(scenario: Scenario) -> float:
    total = 0.0
    with Simulation(scenario, case=small_case(3)) as simulation:
        while simulation.running:
            simulation.step()
            total += float(simulation.last.trades.p_mw.sum())  # type: ignore[union-attr]
    return total


@pytest.mark.slow
def test_a_scenario_runs_the_same_in_a_worker_process() -> None:
    """Importing mesa switches multiprocessing to `spawn`: workers get scenarios, never models."""
    scenario = small_scenario(3)
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.map(volume, [scenario]) == [volume(scenario)]


@pytest.mark.slow
def test_wheel_and_sdist_carry_scenarios_page_and_types(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(tmp_path), str(ROOT)]
    subprocess.run(command, check=True, capture_output=True)
    (wheel,), (sdist,) = tmp_path.glob("*.whl"), tmp_path.glob("*.tar.gz")
    shipped = set(zipfile.ZipFile(wheel).namelist())
    for name in ("py.typed", "errors.py", "experiments/scenarios/lv-village.yaml", "experiments/report/page.html"):
        assert f"peerwatt/{name}" in shipped
    assert not [name for name in shipped if name.split("/")[0] in ("agents", "grid", "market", "sim", "tests")]
    with tarfile.open(sdist) as archive:
        names = {name.split("/", 1)[1] for name in archive.getnames() if "/" in name}
    assert {"pyproject.toml", "experiments/scenarios/lv-village.yaml", "tests/test_package.py", "LICENSE"} <= names
