"""What a run is made of, before it starts."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from peerwatt.errors import Fault
from peerwatt.experiments.report import write_report
from peerwatt.experiments.summary import summary
from peerwatt.grid.cases import case_from_net
from peerwatt.grid.stored import from_parts, to_parts
from peerwatt.sim.model import Simulation
from peerwatt.sim.results import Results
from tests.scenarios import feeder, small_case, small_scenario


def test_lines_without_a_rating_are_warned_of_wherever_results_are_read(tmp_path: Path) -> None:
    net = feeder()
    net.line.loc[[0, 3], "max_i_ka"] = [9_999.0, 99_999.0]
    case = case_from_net(net, name="street")
    with Simulation(small_scenario(2), out=tmp_path / "out", case=case) as simulation:
        simulation.run()
    warning = "street: 2 of 5 lines have no rating (max_i_ka of 9,999 or more), so they are never congested"
    assert [str(each) for each in simulation.warnings] == [f"{warning} (give them max_i_ka)"]
    results = Results(tmp_path / "out")
    assert results.warnings == (f"{warning} (give them max_i_ka)",)
    console = Console(width=200, record=True, file=io.StringIO())
    console.print(summary(results))
    assert "2 of 5 lines have no rating" in console.export_text()
    assert "2 of 5 lines have no rating" in write_report(results).read_text(encoding="utf-8")


def test_nothing_is_warned_of_where_lines_have_ratings() -> None:
    with Simulation(small_scenario(2), case=small_case(2)) as simulation:
        assert simulation.warnings == ()


def test_what_a_reader_warned_of_survives_the_cache() -> None:
    warned = replace(small_case(2), warnings=(Fault("net: trafo 0", "is controlled", "fix its tap"),))
    kept = from_parts(to_parts(warned.name, warned.network, warned.units, warned.series, warned.warnings))
    assert kept[-1] == warned.warnings
