import base64
import json
import re
import subprocess
import sys
from html.parser import HTMLParser

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from peerwatt.experiments.report import write_report
from peerwatt.experiments.report.grid import MAX_FRAMES, chosen_frames
from peerwatt.experiments.report.layout import place
from peerwatt.experiments.report.periods import Periods
from peerwatt.sim.results import Results
from tests.fabricate import tiny, village

SECTIONS = ["grid", "market", "trades", "accounts", "limits", "origin"]


class Page(HTMLParser):
    """The parts of a page that a test asks for."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.loaded: list[str] = []
        self.sections: list[str] = []
        self.tags: list[str] = []
        self.ids: list[str] = []
        self.text = ""
        self.scripts: list[str] = []
        self._inside = ""
        self.feed(text)
        self.data = json.loads(next(s for s in self.scripts if s.startswith('{"figures"')))

    def handle_starttag(self, tag, attrs):
        found = dict(attrs)
        self._inside = tag
        self.tags.append(tag)
        self.ids.append(found.get("id") or "")
        self.loaded += [found[key] for key in ("src", "srcset", "data", "action") if key in found]
        if tag in ("link", "base") or (tag == "a" and not (found.get("href") or "").startswith("#")):
            self.loaded.append(found.get("href") or "")
        if tag == "section":
            self.sections.append(found["id"] or "")
        if tag == "script":
            self.scripts.append("")

    def handle_endtag(self, tag):
        self._inside = ""

    def handle_data(self, data):
        if self._inside == "script":
            self.scripts[-1] += data
        elif self._inside != "style":
            self.text += data

    def figure(self, name):
        return next(figure for figure in self.data["figures"] if figure["id"] == name)


def page(path) -> Page:
    return Page(write_report(Results(path)).read_text(encoding="utf-8"))


def floats(packed):
    return np.frombuffer(base64.b64decode(packed), dtype="<f4")


def values(spec):
    return np.frombuffer(base64.b64decode(spec["bdata"]), dtype="<f8")


def test_the_page_has_every_section_and_a_place_for_every_figure(tmp_path):
    read = page(tiny(tmp_path))
    assert read.sections == SECTIONS
    assert {figure["id"] for figure in read.data["figures"]} <= set(read.ids)
    assert "grid-plot" in read.ids


def test_the_page_loads_nothing_from_anywhere(tmp_path):
    read = page(tiny(tmp_path))
    assert read.loaded == []
    text = write_report(Results(tmp_path)).read_text(encoding="utf-8")
    style = re.search(r"<style>(.*?)</style>", text, re.DOTALL)
    assert style is not None
    assert "url(" not in style.group(1)
    assert "@import" not in style.group(1)
    assert any("plotly.js v" in script for script in read.scripts)


def test_figures_of_a_known_run_are_right(tmp_path):
    read = page(tiny(tmp_path))
    assert "8.00 kWh" in read.text
    assert "1.80 EUR" in read.text
    heat = read.figure("trades-plot")["data"][0]
    assert (heat["y"], heat["x"], values(heat["z"]).tolist()) == (["solar"], ["house"], [pytest.approx(8.0)])
    link = read.figure("accounts-plot")["data"][0]["link"]
    flows = dict(zip(link["customdata"], link["value"], strict=False))
    assert flows["P2P trades"] == pytest.approx(1.6)
    assert sum(link["value"]) == pytest.approx(4 * (0.4 + 0.6 + 0.3 + 0.1))


def test_the_grid_holds_every_state_of_every_stage(tmp_path):
    grid = page(tiny(tmp_path)).data["grid"]
    assert grid["stages"] == ["forecast", "p2p", "delivery"]
    assert grid["frames"] == ["00:00", "01:00", "02:00", "03:00"]
    assert grid["first"] == 2  # the period of highest loading
    assert floats(grid["vm"][2]).reshape(4, 3)[3].tolist() == pytest.approx([1.0, 0.98, 0.963])
    assert floats(grid["loading"][2]).reshape(4, 2)[2].tolist() == pytest.approx([120.0, 30.0])  # line, trafo
    power = floats(grid["power"][2]).reshape(4, 3)
    assert power[0].tolist() == pytest.approx([-0.004, 0.003, -0.001], abs=1e-7)
    assert grid["peers"]["at"] == [[], [1], [0, 2]]
    assert grid["failed"] == [{"3": "the iteration diverged"}, {}, {}]


def test_names_are_escaped_everywhere(tmp_path):
    evil = "</script><script>alert(1)</script>"
    tiny(tmp_path, peer_name=evil, name=evil, exit_state="failed", reason=evil, mechanism=evil)
    (tmp_path / "scenario.yaml").write_text(json.dumps({"description": evil}))
    text = write_report(Results(tmp_path)).read_text(encoding="utf-8")
    assert "<script>alert" not in text
    assert "</script><script>a" not in text
    assert page(tmp_path).figure("trades-plot")["data"][0]["x"][0].startswith("&lt;/script&gt;")


def test_a_run_without_trades_says_so(tmp_path):
    read = page(village(tmp_path, periods=8, trading=0.0))
    assert "No energy was traded between peers." in read.text
    assert read.sections == SECTIONS


@pytest.mark.parametrize("without", ["bus", "line", "trafo", "trade", "settlement", "agent", "peer", "period"])
def test_a_table_that_was_not_recorded_does_not_spoil_the_rest(tmp_path, without):
    assert page(tiny(tmp_path, without=[without])).sections == SECTIONS


def test_a_run_that_recorded_no_table_still_has_a_page(tmp_path):
    path = tiny(tmp_path)
    for file in path.glob("*.parquet"):
        file.unlink()
    assert page(path).sections == SECTIONS


def test_a_run_that_stopped_early_says_why(tmp_path):
    read = page(village(tmp_path, periods_done=0, exit_state="failed", reason="an agent raised"))
    assert "0 of 96 periods done: an agent raised" in read.text
    assert page(village(tmp_path, periods_done=1, exit_state="stopped")).sections == SECTIONS


def test_failed_power_flows_are_listed_with_their_reason(tmp_path):
    read = page(village(tmp_path, periods=34))
    assert "2 power flows had no solution" in read.text
    assert "voltage collapse" in read.text
    marks = read.figure("limits-plot")["data"][-1]
    assert marks["x"] == ["2016-06-21T07:30:00", "2016-06-21T07:45:00"]


def test_periods_without_a_market_are_marked_and_listed(tmp_path):
    path = tiny(tmp_path)
    rows = pq.read_table(path / "period.parquet")
    ends = {("p2p", 1): "not_converged", ("p2p", 2): "infeasible"}
    status = [
        ends.get((stage, k), "optimal" if stage == "p2p" else None)
        for k, stage in zip(rows["period"].to_pylist(), rows["stage"].to_pylist(), strict=True)
    ]
    place_of = rows.column_names.index("market_status")
    pq.write_table(rows.set_column(place_of, "market_status", pa.array(status)), path / "period.parquet")
    read = page(path)
    assert "The market was not cleared in 2 periods" in read.text
    marks = next(each for each in read.figure("market-plot")["data"] if each["name"] == "Not cleared")
    assert marks["x"] == ["2016-06-21T01:00:00", "2016-06-21T02:00:00"]
    assert marks["text"] == ["not converged", "infeasible"]


def test_own_coordinates_are_used_and_a_tree_drawn_where_there_are_none(tmp_path):
    with_own = Results(village(tmp_path / "own", periods=1)).topology
    assert place(with_own).own
    assert place(with_own).xy[3].tolist() == [with_own["buses"][3]["x"], with_own["buses"][3]["y"]]
    read = page(village(tmp_path / "none", periods=2, coordinates=False))
    assert "no coordinates" in read.text
    assert None not in read.data["grid"]["buses"]["x"]


def test_the_tree_puts_parents_amid_their_children_without_crossings():
    lines = [(0, 1), (1, 2), (1, 3), (3, 4), (3, 5), (0, 6)]
    topology = {
        "buses": [{"bus": bus} for bus in range(7)],
        "lines": [{"line": i, "from_bus": a, "to_bus": b} for i, (a, b) in enumerate(lines)],
        "slack_buses": [0],
    }
    xy = place(topology).xy
    assert xy[:, 0].tolist() == [0, 1, 2, 2, 3, 3, 1]
    assert xy[3, 1] == pytest.approx((xy[4, 1] + xy[5, 1]) / 2)
    assert xy[1, 1] == pytest.approx((xy[2, 1] + xy[3, 1]) / 2)
    assert len({tuple(point) for point in xy.tolist()}) == 7


def test_a_long_run_is_thinned_and_keeps_its_extremes(tmp_path):
    results = Results(tiny(tmp_path, periods_done=35040, periods=35040, period_s=900))
    periods = Periods.of(results)
    frames = chosen_frames(results, periods)
    assert len(frames) <= MAX_FRAMES
    assert results.kpi["max_loading_period"] in frames
    assert frames[[0, -1]].tolist() == [0, 35039]
    assert periods.step == "24 h"
    assert periods.summed(np.ones(35040)).tolist() == [96.0] * 365
    assert periods.highest(np.arange(35040.0))[0] == 95.0
    assert "of 35,040 periods" in page(tmp_path).text


@pytest.mark.slow
def test_many_parties_are_cut_to_the_largest_and_the_page_says_so(tmp_path):
    path = village(tmp_path, n_peers=330, periods=50)
    read = page(path)
    assert len(read.figure("trades-plot")["data"][0]["x"]) == 60
    assert "60 largest" in read.text
    assert "200 largest savings" in read.text


def test_the_report_can_be_written_elsewhere(tmp_path):
    target = write_report(Results(tiny(tmp_path / "run")), tmp_path / "day.html")
    assert target == tmp_path / "day.html"
    assert target.read_text(encoding="utf-8").startswith("<!doctype html>")
    assert [file.name for file in tmp_path.iterdir() if file.is_file()] == ["day.html"]


def test_writing_the_report_imports_nothing_heavy(tmp_path):
    code = (
        "import sys; from peerwatt.sim.results import Results;"
        "from peerwatt.experiments.report import write_report; write_report(Results(sys.argv[1]));"
        "assert not {'pandapower', 'simbench', 'xarray', 'networkx'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code, str(village(tmp_path, periods=4))], check=True)


def test_the_page_forbids_the_browser_to_load_anything(tmp_path):
    text = write_report(Results(tiny(tmp_path))).read_text(encoding="utf-8")
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', text)
    assert policy is not None
    assert policy.group(1).startswith("default-src 'none';")
    assert "http" not in policy.group(1)
