import json
import subprocess
import sys
from io import StringIO

import pytest
from rich.console import Console

from peerwatt.experiments.summary import summary
from peerwatt.experiments.wording import energy, facts, money, number
from peerwatt.sim.results import Results
from tests.fabricate import tiny, village


def printed(path, width=200):
    console = Console(file=StringIO(), width=width)
    console.print(summary(Results(path)))
    return console.file.getvalue()


def test_it_says_what_came_out(tmp_path):
    text = printed(tiny(tmp_path))
    for part in (
        "8.00 kWh",
        "40.0 % of demand",
        "200.0 EUR/MWh",
        "0.400 kWh",
        "0.9600 pu",
        "Bus 2, 00:00",
        "Line 5, 02:00",
        "4 lost",
        "seed 7",
        "power flow 0.3 s",
        str(tmp_path.name),
    ):
        assert part in text.replace("\n", " "), part


def test_each_group_is_compared_with_no_trading(tmp_path):
    row = next(line for line in printed(tiny(tmp_path)).splitlines() if line.strip().startswith("consumers"))
    assert row.split() == ["consumers", "1", "3.80", "4.80", "1.00", "+20.8", "%"]


def test_no_line_is_wider_than_90_columns(tmp_path):
    text = printed(village(tmp_path, periods=4, reason="word " * 60, exit_state="stopped", periods_done=2))
    assert max(len(line) for line in text.splitlines()) <= 90


def test_a_run_that_was_stopped_says_how_far_it_came_and_why(tmp_path):
    text = printed(tiny(tmp_path, exit_state="stopped", reason="strategy [bold] raised", periods=9))
    assert "stopped" in text
    assert "4 of 9 periods done: strategy [bold] raised" in text


def test_a_flexibility_market_is_told_of_only_where_there_is_one(tmp_path):
    assert "Flexibility market" not in printed(tiny(tmp_path / "without"))
    path = tiny(tmp_path / "with")
    kpi = json.loads((path / "kpi.json").read_text())
    kpi |= {"lfm_runs": 3, "lfm_volume_mwh": 0.5, "lfm_cost_eur": 12.0, "rounds_mean": 1.5, "incentives_eur": 2.0}
    kpi |= {"lfm_infeasible_percent": 25.0, "lfm_missing_max_mw": 0.0031, "lfm_missing_max_pu": 0.0125}
    (path / "kpi.json").write_text(json.dumps(kpi))
    text = printed(path)
    for part in ("3 of 4 periods", "500 kWh activated, 12.00 EUR", "25.0 %", "up to 3.10 kW", "1.50", "2.00 EUR"):
        assert part in text, part


def test_periods_without_a_result_are_alarms(tmp_path):
    path = tiny(tmp_path)
    kpi = json.loads((path / "kpi.json").read_text())
    kpi |= {"market_not_converged_periods": 2, "lfm_not_converged_periods": 1, "not_converged_delivery": 3}
    (path / "kpi.json").write_text(json.dumps(kpi))
    results = Results(path)
    alarms = {fact.label: (fact.value, fact.remark) for fact in facts(results) if fact.alarm}
    assert alarms["Market not cleared"] == ("2 of 4 periods", "2 not converged; nobody trades then")
    assert alarms["Flexibility market not cleared"][0] == "1 of 4 periods"
    assert alarms["Power flow failed (delivery)"][0] == "3 of 4 periods"
    assert "Power flow failed (forecast)" in alarms  # of the made-up run itself
    none = next(fact for fact in facts(results) if fact.label == "Voltage out of band")
    assert (none.value, none.remark) == ("none", "in the periods with a solution")


def test_a_run_with_a_result_in_every_period_has_no_such_alarm(tmp_path):
    labels = [fact.label for fact in facts(Results(tiny(tmp_path)))]
    assert not [label for label in labels if "cleared" in label]


def test_the_report_is_named_once_it_is_there(tmp_path):
    tiny(tmp_path)
    assert "Report" not in printed(tmp_path)
    (tmp_path / "report.html").write_text("")
    assert "Report" in printed(tmp_path)


def test_what_was_not_recorded_is_left_out(tmp_path):
    text = printed(tiny(tmp_path, without=["period", "agent", "message", "bus", "line", "trafo"]))
    assert "seed 7" in text
    assert "Lowest voltage" not in text


def test_nothing_heavy_is_imported(tmp_path):
    code = (
        "import sys; from peerwatt.sim.results import Results;"
        "from peerwatt.experiments.summary import summary; summary(Results(sys.argv[1]));"
        "assert not {'pandas', 'xarray', 'pandapower', 'plotly', 'networkx'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code, str(tiny(tmp_path))], check=True)


CASES = [(0.0, "0 kWh"), (0.0123, "12.3 kWh"), (1.5, "1.50 MWh"), (2e4, "20.0 GWh")]


@pytest.mark.parametrize(("mwh", "text"), CASES)
def test_energy_is_given_in_the_unit_that_reads_best(mwh, text):
    assert energy(mwh) == text


def test_small_and_large_numbers_keep_three_digits():
    texts = [number(value) for value in (0.00123, 1.234, 12345.6, -0.02)]
    assert texts == ["0.00123", "1.23", "12,346", "-0.0200"]
    assert money(-0.001) == "0.00"
