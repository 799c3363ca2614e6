from __future__ import annotations

import logging
import pickle
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from peerwatt.agents.strategies import STRATEGIES
from peerwatt.errors import ScenarioError
from peerwatt.experiments.sweep.experiment import Experiment
from peerwatt.experiments.sweep.plan import Plan
from peerwatt.market.mechanism import MECHANISMS
from peerwatt.sim.model import Simulation
from peerwatt.sim.plugins import load_plugin
from peerwatt.sim.scenario import Scenario
from tests.scenarios import small_case

SCENARIO = """
plugins: [mine.py]
time: {start: 2030-06-01, periods: 2}
population: {strategies: {mine: 1}}
"""
MINE = """
import peerwatt

@peerwatt.strategy("mine")
def mine(peer):
    return %s
"""


def written(folder: Path, price: str = "123.0", scenario: str = SCENARIO) -> Path:
    (folder / "mine.py").write_text(MINE % price, encoding="utf-8")
    path = folder / "mine.yaml"
    path.write_text(scenario, encoding="utf-8")
    return path


def test_a_scenario_names_what_its_plugins_register(tmp_path: Path) -> None:
    path = written(tmp_path)
    scenario = Scenario.load(path)
    again = Scenario.load(path).replace({"population.strategies": {"mine": 0.5, "truthful": 0.5}})
    assert again.plugins == ("mine.py",)
    with Simulation(scenario, case=small_case(2)) as simulation:
        simulation.step()
        assert simulation.last is not None
        bids = simulation.last.bids
    assert bids is not None
    assert set(bids.cost_b[bids.step == 0].tolist()) == {123.0}


def test_one_plugin_needs_no_list_and_other_kinds_register_too(tmp_path: Path) -> None:
    (tmp_path / "rule.py").write_text(
        "import peerwatt\nfrom peerwatt.market.auction import DoubleAuction\n"
        "peerwatt.mechanism('by_plugin')(DoubleAuction)\n",
        encoding="utf-8",
    )
    path = tmp_path / "s.yaml"
    path.write_text("plugins: rule.py\nmarket: {mechanism: by_plugin, options: {k: 0.2}}\n", encoding="utf-8")
    assert Scenario.load(path).mechanism == "by_plugin"
    assert "by_plugin" in MECHANISMS.names()


def test_a_file_is_run_once_and_again_when_it_has_changed(tmp_path: Path) -> None:
    path = tmp_path / "counted.py"
    path.write_text("import sys\nsys.runs = getattr(sys, 'runs', 0) + 1\n", encoding="utf-8")
    for _ in range(3):
        load_plugin("counted.py", tmp_path)
    assert vars(sys)["runs"] == 1
    path.write_text("import sys\nsys.runs += 10\n", encoding="utf-8")
    load_plugin(str(path), Path())
    assert vars(sys).pop("runs") == 11


@pytest.mark.parametrize(
    ("content", "source", "words"),
    [
        (None, "none.py", ("plugins.0", "none.py: there is no file", "folder of the scenario file")),
        ("import peerwatt\n\n1 / 0\n", "mine.py", ("mine.py", "line 3: ZeroDivisionError: division by zero")),
        ("x = (1,\n", "mine.py", ("mine.py", "line 1: '(' was never closed")),
        ("import no_such_thing\n", "mine.py", ("line 1: ModuleNotFoundError", "no_such_thing")),
        (None, "no.such.module", ("there is no module of this name", "install it, or name a file")),
    ],
)
def test_what_is_wrong_with_a_plugin_is_told_with_its_line(
    tmp_path: Path, content: str | None, source: str, words: tuple[str, ...]
) -> None:
    if content is not None:
        (tmp_path / source).write_text(content, encoding="utf-8")
    path = tmp_path / "s.yaml"
    path.write_text(f"plugins: [{source}]\ntariff: {{supply: 3}}\n", encoding="utf-8")
    with pytest.raises(ScenarioError) as caught:
        Scenario.load(path)
    text = str(caught.value)
    assert all(word in text for word in words), text
    assert "unknown key" in text  # with all other faults


def test_a_plugin_that_registers_nothing_is_told_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "empty.py").write_text("x = 1\n", encoding="utf-8")
    with caplog.at_level(logging.WARNING, "peerwatt"):
        load_plugin("empty.py", tmp_path)
        load_plugin("json", tmp_path)  # a module that is there; nobody knows what it has registered
    assert [record.getMessage().split(":")[1] for record in caplog.records] == [" empty.py has registered nothing"]


def test_changed_code_is_another_scenario(tmp_path: Path) -> None:
    path = written(tmp_path)
    first = Scenario.load(path).digest()
    assert Scenario.load(path).digest() == first
    written(tmp_path, "124.0")
    assert Scenario.load(path).digest() != first


def test_a_sweep_notices_that_a_plugin_has_changed(tmp_path: Path) -> None:
    written(tmp_path)
    experiment = tmp_path / "e.yaml"
    experiment.write_text("base: mine.yaml\nfactors: {market.mechanism: [double_auction]}\n", encoding="utf-8")
    before = Plan.of(Experiment.load(experiment))
    assert before.scenarios[0].plugins == (str(tmp_path / "mine.py"),)
    written(tmp_path, "125.0")
    after = Plan.of(Experiment.load(experiment)).manifest()
    assert before.manifest()["scenario"] != after["scenario"]


@pytest.mark.slow
def test_another_process_runs_the_plugins_of_a_scenario_that_it_is_sent(tmp_path: Path) -> None:
    (tmp_path / "sent.py").write_text(MINE.replace('"mine"', '"sent"') % "101.0", encoding="utf-8")
    scenario = Scenario().replace({"plugins": [str(tmp_path / "sent.py")], "time.start": "2030-06-01"})
    scenario = scenario.replace({"population.strategies": {"sent": 1.0}, "time.periods": 1})
    (tmp_path / "scenario.pickle").write_bytes(pickle.dumps(scenario.resolved()))
    script = """
        import pickle, sys
        from tests.scenarios import small_case
        from peerwatt.agents.strategies import STRATEGIES
        from peerwatt.sim.model import Simulation
        scenario = pickle.load(open(sys.argv[1], "rb"))
        assert "sent" not in STRATEGIES.names()
        with Simulation(scenario, case=small_case(1)) as simulation:
            simulation.step()
            print(set(simulation.last.bids.cost_b[simulation.last.bids.step == 0].tolist()))
    """
    command = [sys.executable, "-c", textwrap.dedent(script), str(tmp_path / "scenario.pickle")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=Path(__file__).parents[2])
    assert done.stdout.strip() == "{101.0}", done.stderr
    assert "sent" in STRATEGIES.names()
