"""Nothing computed is lost: killed processes, full disks, used directories."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from peerwatt.errors import ResultsError
from peerwatt.sim.model import Simulation
from peerwatt.sim.results import Results
from tests.scenarios import small_case, small_scenario

ROOT = Path(__file__).parents[2]

SLOW_RUN = """
    import sys, time
    from pathlib import Path
    import peerwatt.sim.recorder as recorder
    from peerwatt.sim.model import Simulation
    from tests.scenarios import small_case, small_scenario
    recorder.FLUSH_AFTER_S = -1.0
    {before}
    simulation = Simulation(small_scenario(200), Path(sys.argv[1]), case=small_case(200))

    def told(simulation):
        print(simulation.period, flush=True)
        time.sleep({pause})

    simulation.run(told)
"""


def start(directory: Path, *, pause: float = 0.02, before: str = "") -> subprocess.Popen[str]:
    code = textwrap.dedent(SLOW_RUN).format(pause=pause, before=before)
    return subprocess.Popen(
        [sys.executable, "-c", code, str(directory)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def whole(directory: Path) -> Results:
    """The same run, undisturbed."""
    with Simulation(small_scenario(200), directory, case=small_case(200)) as simulation:
        simulation.run()
    return Results(directory)


def test_a_killed_run_keeps_every_period_that_was_flushed(tmp_path: Path) -> None:
    process = start(tmp_path / "killed")
    assert process.stdout is not None
    assert "20\n" in process.stdout  # reads on until it is there, or the process has ended
    with pytest.raises(ResultsError, match="still writing"):
        Results(tmp_path / "killed")
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    process.communicate()

    killed, undisturbed = Results(tmp_path / "killed"), whole(tmp_path / "whole")
    done = killed.manifest["periods_done"]
    assert killed.manifest["exit_state"] == "killed"
    assert 20 <= done < 200
    for name in killed.tables:
        table = undisturbed.table(name)
        expected = table[table.period < done] if "period" in table else table
        assert killed.table(name).astype(str).equals(expected.reset_index(drop=True).astype(str)), name
    assert killed.kpi["p2p_volume_mwh"] == pytest.approx(killed.period.p2p_volume_mwh.sum())
    assert not (tmp_path / "killed" / "journal").exists()


def test_a_full_disk_ends_the_run_with_one_message_and_keeps_what_was_written(tmp_path: Path) -> None:
    limit = "import resource, signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN); "
    limit += "resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))"
    process = start(tmp_path / "full", pause=0.0, before=limit)
    _, errors = process.communicate(timeout=300)
    assert process.returncode != 0
    assert "SimulationError" in errors
    assert "what was written before is kept" in errors
    results = Results(tmp_path / "full")
    assert results.manifest["exit_state"] == "killed"
    assert 5 < results.manifest["periods_done"] < 200


def test_an_interrupted_run_writes_its_tables(tmp_path: Path) -> None:
    def interrupt(simulation: Simulation) -> None:
        if simulation.period == 3:
            raise KeyboardInterrupt

    simulation = Simulation(small_scenario(8), tmp_path / "i", case=small_case(8))
    with pytest.raises(KeyboardInterrupt):
        simulation.run(interrupt)
    results = Results(tmp_path / "i")
    assert results.manifest["exit_state"] == "interrupted"
    assert results.period.period.unique().tolist() == [0, 1, 2]


def test_results_are_never_overwritten(tmp_path: Path) -> None:
    with Simulation(small_scenario(1), tmp_path / "r", case=small_case(1)) as simulation:
        simulation.run()
    before = (tmp_path / "r" / "manifest.json").read_bytes()
    with pytest.raises(ResultsError, match="holds results already"):
        Simulation(small_scenario(1), tmp_path / "r", case=small_case(1))
    assert (tmp_path / "r" / "manifest.json").read_bytes() == before


def test_a_directory_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(ResultsError, match="is a file"):
        Simulation(small_scenario(1), tmp_path / "file", case=small_case(1))
    with pytest.raises(ResultsError, match="cannot be written"):
        Simulation(small_scenario(1), tmp_path / "file" / "below", case=small_case(1))


def test_a_run_that_is_killed_while_it_tidies_up_is_complete(tmp_path: Path) -> None:
    with Simulation(small_scenario(3), tmp_path / "r", case=small_case(3)) as simulation:
        simulation.run()
    before = {path.name: path.read_bytes() for path in (tmp_path / "r").glob("*.parquet")}
    # The tables and the manifest are there, and a part of the journal is left.
    (tmp_path / "r" / "journal").mkdir()
    (tmp_path / "r" / "journal" / "bus.arrows").write_bytes(b"half")
    results = Results(tmp_path / "r")
    assert results.manifest["exit_state"] == "finished"
    assert {path.name: path.read_bytes() for path in results.path.glob("*.parquet")} == before
    assert not (tmp_path / "r" / "journal").exists()
