"""Variants side by side: paired draws, intervals, failures that do not stop the rest."""

import json
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from typer.testing import CliRunner

from peerwatt.errors import ResultsError, ScenarioError
from peerwatt.experiments.assumptions import assumed_case, assumptions
from peerwatt.experiments.cli import app
from peerwatt.experiments.compare import VARIANTS, compare, read_variants
from peerwatt.experiments.compare_command import write_comparison
from peerwatt.experiments.comparison import Comparison, Outcome
from peerwatt.experiments.comparison_table import as_document, as_markdown, paired
from peerwatt.grid.cases import load_case

QUICK = {"time.period_s": 7200, "time.periods": 6, "grid.max_loading_percent": 25}


def made_up(values, names=("a", "b")):
    """A comparison with one figure; values by variant and replica, None where it is missing."""
    outcomes = [
        Outcome(name, replica, {} if value is None else {"losses_mwh": value}, "" if value is not None else "broke")
        for name in names
        for replica, value in enumerate(values[name])
    ]
    return Comparison(tuple(names), len(values[names[0]]), {"grid": "none"}, (), tuple(outcomes))


def test_the_interval_is_that_of_a_paired_t_test():
    rng = np.random.default_rng(3)
    a, b = rng.normal(5.0, 2.0, 9), rng.normal(6.0, 2.0, 9)
    found = paired(made_up({"a": a.tolist(), "b": b.tolist()}), "losses_mwh")["b"]
    expected = stats.ttest_rel(b, a).confidence_interval(0.95)
    assert (found.difference - found.half_width, found.difference + found.half_width) == pytest.approx(expected)


def test_a_difference_counts_only_replicas_that_both_have():
    found = paired(made_up({"a": [1.0, 2.0, 30.0], "b": [2.0, 4.0, None]}), "losses_mwh")
    assert found["b"].difference == pytest.approx(1.5)
    assert found["b"].n == 2
    assert found["a"].mean == pytest.approx(11.0)
    assert np.isnan(found["a"].difference)


def test_what_is_compared_with_an_uncleared_market_is_marked_in_the_table():
    ends = {"periods": 12, "market_infeasible_periods": 0}
    runs = {"a": (5.0, 0), "b": (4.0, 3), "c": (3.0, 0)}
    outcomes = [
        Outcome(name, replica, {"losses_mwh": value + replica, "market_not_converged_periods": failed, **ends})
        for name, (value, failed) in runs.items()
        for replica in range(2)
    ]
    comparison = Comparison(("a", "b", "c"), 2, {}, (), tuple(outcomes))
    lines = as_markdown(comparison).splitlines()
    assert "| market not cleared | none | 6 of 24 periods † | none |" in lines
    assert "| losses, MWh | 5.50 | 4.50 † (-1 ± 0 †) | 3.50 (-2 ± 0) |" in lines
    assert any(line.startswith("† b: market not cleared in 6 of 24 periods.") for line in lines)
    assert as_document(comparison)["unsolved"] == {"b": "market not cleared in 6 of 24 periods"}
    turned = Comparison(("b", "a", "c"), 2, {}, (), tuple(outcomes))
    assert "| losses, MWh | 4.50 † | 5.50 (+1 ± 0 †) | 3.50 (-1 ± 0 †) |" in as_markdown(turned).splitlines()


def test_the_table_of_runs_says_it_of_each(tmp_path):
    ends = {"periods": 12, "lfm_not_converged_periods": 1}
    outcomes = (Outcome("a", 0, {"losses_mwh": 1.0, **ends}), Outcome("b", 0, {"losses_mwh": 1.0}))
    write_comparison(Comparison(("a", "b"), 1, {}, (), outcomes), tmp_path)
    table = pd.read_parquet(tmp_path / "compare.parquet")
    assert table.unsolved.tolist() == ["flexibility market not cleared in 1 of 12 periods", ""]


def test_one_replica_has_a_difference_and_no_interval():
    comparison = made_up({"a": [1.0], "b": [3.0]})
    found = paired(comparison, "losses_mwh")["b"]
    assert (found.difference, np.isnan(found.half_width)) == (2.0, True)
    assert "No intervals" in as_markdown(comparison)
    assert as_document(comparison)["figures"]["losses_mwh"]["b"]["half_width"] is None


def test_messages_that_nobody_sends_are_none_and_not_unknown():
    comparison = made_up({"a": [1.0], "b": [3.0]})
    assert paired(comparison, "numbers_peers_to_dso")["b"].mean == 0.0


def test_every_variant_of_the_same_replica_has_the_same_peers_and_weather():
    comparison = compare(read_variants(["cm1", "cm2", "cm4-blocking"]), changes=QUICK, replicas=2, jobs=1)
    cost = {(each.variant, each.replica): each.kpi["reference_cost_peers_eur"] for each in comparison.outcomes}
    overflow = {(each.variant, each.replica): each.kpi["overflow_sum_forecast_mw"] for each in comparison.outcomes}
    for replica in (0, 1):
        for own in ("cm2", "cm4-blocking"):
            assert cost[own, replica] == cost["cm1", replica]
            assert overflow[own, replica] == overflow["cm1", replica]
    assert overflow["cm1", 0] != overflow["cm1", 1]


@pytest.mark.slow
def test_a_replica_is_the_same_however_many_run_at_a_time():
    variants = read_variants(["cm1"])
    alone = compare(variants, changes=QUICK, replicas=2, jobs=1)
    together = compare(variants, changes=QUICK, replicas=2, jobs=2)
    assert [each.kpi for each in alone.outcomes] == [each.kpi for each in together.outcomes]


def test_a_variant_that_is_refused_is_shown_and_the_rest_goes_on(tmp_path):
    out = tmp_path / "out"
    options = [f"--set={key}={value}" for key, value in QUICK.items()]
    broken = "broken:coordination.service=implicit"
    result = CliRunner().invoke(app, ["compare", "cm1", broken, "--jobs", "1", "--out", str(out), *options])
    assert result.exit_code == 1
    assert "Failed: broken: " in result.output
    assert "needs a scheme" in result.output
    assert "traded, MWh" in result.output
    table = pd.read_parquet(out / "compare.parquet")
    assert table.error.ne("").tolist() == [False, True]
    assert "needs a scheme" in (out / "compare.md").read_text()
    assert json.loads((out / "compare.json").read_text())["figures"]["p2p_volume_mwh"]["cm1"]["n"] == 1


def test_what_only_fails_while_it_runs_does_not_stop_the_rest():
    broken = "broken:coordination.preset=cm2,coordination.lfm_area=[nowhere]"
    comparison = compare(read_variants(["cm2", broken]), changes=QUICK, jobs=1)
    assert [each.variant for each in comparison.failed] == ["broken"]
    assert "nowhere" in comparison.failed[0].error


def test_where_every_variant_is_refused_the_reason_is_the_error():
    with pytest.raises(ScenarioError, match="nowhere"):
        compare(read_variants(["cm1", "cm2"]), changes={"nowhere": 1}, jobs=1)


def test_names_that_cannot_be_read_come_all_at_once():
    with pytest.raises(ScenarioError) as caught:
        read_variants(["cm1", "cm1", "cm9", "own:what"])
    assert len(caught.value.faults) == 3


def test_a_variant_of_ones_own_may_hold_lists():
    (own,) = read_variants(["own:coordination.addresses=[congestion, voltage],seed=3"])
    assert own.changes == {"coordination.addresses": ["congestion", "voltage"], "seed": 3}


def test_a_comparison_is_never_overwritten(tmp_path):
    comparison = made_up({"a": [1.0], "b": [3.0]})
    write_comparison(comparison, tmp_path)
    with pytest.raises(ResultsError, match="holds a comparison"):
        write_comparison(comparison, tmp_path)


@pytest.mark.parametrize("grid", ["case69", "ieee-eu-lv"])
def test_a_grid_with_constant_loads_gets_something_to_trade(grid):
    changes = {"time.period_s": 21600, "time.periods": 3}
    comparison = compare(read_variants(["cm2"]), grid=grid, changes=changes, jobs=1)
    (outcome,) = comparison.outcomes
    assert outcome.error == ""
    assert outcome.kpi["p2p_volume_mwh"] > 0.0
    assert any("PV" in text for text in comparison.assumed)


def test_what_is_lent_leaves_the_published_loads_as_the_peak():
    case = load_case("case69")
    lent = assumed_case(case)
    n = len(case.units)
    assert lent.series.values[:, 0].max() == 1.0
    np.testing.assert_array_equal(lent.units.p_scale_mw[:n], case.units.p_scale_mw)
    assert lent.units.p_mw[n:].sum() == pytest.approx(2.0 * case.units.p_mw.sum())


def test_a_grid_with_generation_is_left_as_it_is():
    assert not assumptions(load_case("rbts2-37")).lent


@pytest.mark.slow
def test_every_shipped_variant_runs():
    comparison = compare([*read_variants(VARIANTS)], changes=QUICK, jobs=1)
    assert [each.error for each in comparison.failed] == []


def test_the_command_starts_without_heavy_libraries():
    code = (
        "import sys; import peerwatt.experiments.compare;"
        "assert not {'pandas', 'scipy', 'joblib', 'mesa', 'pyarrow'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
