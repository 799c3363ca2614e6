from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from peerwatt.sim.results import Results
from tests.command import peerwatt

PEERWATT = Path(sys.executable).with_name("peerwatt")


def installed(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run the installed command in a process of its own."""
    return subprocess.run([PEERWATT, *arguments], capture_output=True, text=True, cwd=cwd, timeout=300, check=False)


def test_a_run_prints_its_summary_and_leaves_results_and_a_report(tmp_path: Path) -> None:
    ended = installed("run", "lv-village", "--periods", "4", "--seed", "9", "--out", "r", cwd=tmp_path)
    assert ended.returncode == 0, ended.stderr
    assert ended.stderr == ""
    for words in (
        "Traded between peers",
        "Lowest voltage",
        "Highest loading",
        "without trading",
        "seed 9",
        "report.html",
    ):
        assert words in ended.stdout
    results = Results(tmp_path / "r")
    assert results.manifest["periods_done"] == 4
    assert results.manifest["exit_state"] == "finished"
    assert (tmp_path / "r" / "report.html").stat().st_size > 1_000_000


def test_overrides_reach_the_run(tmp_path: Path) -> None:
    ended = peerwatt(
        "run", "--periods", "2", "--set", "market.mechanism=bilateral", "--set", "population.pv_share=0.5",
        "--set", "population.peers={}",
        "--out", "r", cwd=tmp_path,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    results = Results(tmp_path / "r")
    assert results.manifest["mechanism"] == "bilateral"
    assert (results.peer.p_generation_mw > 0).mean() == pytest.approx(0.5, abs=0.02)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["run", "lv-vilage"], "did you mean 'lv-village'?"),
        (["run", "--set", "population.pvshare=1"], "did you mean 'pv_share'?"),
        (["run", "--set", "grid.case=simbench:1-LV-semiurb4--2-sv"], "1-LV-semiurb4--2-sw"),
        (["run", "--set", "grid.case=missing.json"], "missing.json"),
        (["run", "--set", "time.start=2017-06-01"], "2016"),
        (["run", "--set", "population.peers[Bus 9].pv_mw=0.1"], "no peer has this name"),
        (["run", "--set", "population.peers[LV4.101 Bus 1].strategy=x"], "unknown strategy 'x'"),
        (["validate", "nowhere.yaml"], "there is no such scenario or file"),
    ],
)
def test_bad_input_is_refused_with_one_message_and_status_2(tmp_path: Path, arguments: list[str], words: str) -> None:
    ended = peerwatt(*arguments, cwd=tmp_path)
    assert ended.returncode == 2
    assert words in ended.stderr
    assert "Traceback" not in ended.stderr + ended.stdout
    assert list(tmp_path.iterdir()) == []


def test_the_installed_command_refuses_in_the_same_way(tmp_path: Path) -> None:
    ended, same = (call("run", "lv-vilage", cwd=tmp_path) for call in (installed, peerwatt))
    assert (ended.returncode, ended.stdout, ended.stderr) == (same.returncode, same.stdout, same.stderr)


def test_results_are_not_overwritten(tmp_path: Path) -> None:
    for status in (0, 2):
        ended = peerwatt("run", "--periods", "1", "--out", "r", cwd=tmp_path)
        assert ended.returncode == status
    assert "holds results already" in ended.stderr


def test_a_run_can_be_repeated_from_what_it_left(tmp_path: Path) -> None:
    assert installed("run", "--periods", "3", "--seed", "5", "--out", "a", cwd=tmp_path).returncode == 0
    assert peerwatt("run", "a/scenario.yaml", "--out", "b", cwd=tmp_path).returncode == 0
    for path in sorted((tmp_path / "a").glob("*.parquet")):
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes(), path.name


def test_examples_and_validate_and_schema(tmp_path: Path) -> None:
    listed = peerwatt("examples")
    assert "lv-village-bilateral" in listed.stdout
    valid = peerwatt("validate", "lv-village")
    assert valid.returncode == 0
    assert "39 peers, 44 buses" in valid.stdout
    assert "energy in 24 h" in valid.stdout
    schema = json.loads(peerwatt("schema").stdout)
    assert schema["properties"]["seed"]["minimum"] == 0


def test_help_and_a_warm_run_import_nothing_that_they_do_not_need(tmp_path: Path) -> None:
    heavy = ("pandapower", "simbench", "numba", "xarray", "networkx", "matplotlib")
    code = (
        "import sys; sys.argv = ['peerwatt', *{arguments!r}]\n"
        "from peerwatt.experiments.cli import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "print('LOADED', sorted(name for name in {heavy!r} if name in sys.modules))"
    )
    helped = code.format(arguments=["--help"], heavy=(*heavy, "numpy", "pandas", "mesa", "pydantic"))
    assert (
        "LOADED []" in subprocess.run([sys.executable, "-c", helped], capture_output=True, text=True, check=True).stdout
    )
    peerwatt("validate", "lv-village")  # fills the cache
    warm = code.format(arguments=["run", "--periods", "2", "--out", str(tmp_path / "r")], heavy=heavy[:3])
    assert (
        "LOADED []" in subprocess.run([sys.executable, "-c", warm], capture_output=True, text=True, check=True).stdout
    )
