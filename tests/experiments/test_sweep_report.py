"""The report of a sweep: its figures against other ways to compute them, what it says where there is nothing."""

import json
import re
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from typer.testing import CliRunner

from peerwatt.errors import ResultsError, SimulationError
from peerwatt.experiments.cli import app
from peerwatt.experiments.pool import Backend, Pool
from peerwatt.experiments.replica import attempt
from peerwatt.experiments.sweep.effects import SRC, SRRC, main_effects, regression_effects
from peerwatt.experiments.sweep.experiment import Experiment
from peerwatt.experiments.sweep.plan import points
from peerwatt.experiments.sweep.report import write_sweep_report
from peerwatt.experiments.sweep.report.tradeoff import front
from peerwatt.experiments.sweep.results import SweepResults
from peerwatt.experiments.sweep.run import sweep
from peerwatt.sim.batch import Batch
from tests.experiments.test_report import Page, values
from tests.fabricate import tiny

WELFARE, VIOLATIONS = "social_welfare_eur", "congestion_violations"
LEVELS = {"market.mechanism": ["auction", "bilateral"], "population.pv_share": [0.1, 0.5, 0.9]}
DRAWN = {
    "factors": {
        "population.pv_share": {"distribution": "uniform", "low": 0, "high": 1},
        "population.size": {"distribution": "uniform", "low": 0, "high": 9},
        "market.mechanism": ["auction", "bilateral"],
    },
    "design": {"method": "latin_hypercube", "points": 40},
}
SECTIONS = ["overview", "distributions", "differences", "factors", "tradeoff", "origin"]


@pytest.fixture(autouse=True)
def _small_pages(monkeypatch):
    """Pages without the plotting library are read more quickly; test_report.py has it in."""
    monkeypatch.setattr("plotly.offline.get_plotlyjs", lambda: "")


def invented(point, replica, rng):
    """Key figures of a run that nobody simulated: known effects, and noise."""
    setting = {key: value for key, (_, value) in point.items()}
    size = 10.0 * setting["population.pv_share"] + (3.0 if setting["market.mechanism"] == "bilateral" else 0.0)
    shared = float(np.random.default_rng(replica).normal(0.0, 2.0))
    return {
        WELFARE: size + shared + float(rng.normal(0.0, 0.3)),
        VIOLATIONS: round(4.0 * setting["population.pv_share"]),
        "voltage_violations": 0,
        "max_loading_percent": 50.0,
        "remark": "words",
    }


def made(path, *, done=None, failed=(), replicas=4, figures=invented, **keys):
    """A sweep's directory in which nothing was simulated; `failed` are (variant, replica)."""
    document = {"name": "made up", "factors": LEVELS, "replicas": replicas, "kpis": [WELFARE, VIOLATIONS], **keys}
    experiment = Experiment.model_validate(document)
    drawn, rng = points(experiment), np.random.default_rng(1)
    names = [" | ".join(label for label, _ in point.values()) for point in drawn]
    (path / "units").mkdir(parents=True)
    scenario = [{"name": name, "labels": {}, "digest": ""} for name in names]
    (path / "manifest.json").write_text(json.dumps({"kind": "sweep", "scenario": scenario, "versions": {"numpy": "2"}}))
    (path / "experiment.json").write_text(json.dumps(document))
    units = [(replica, number) for replica in range(replicas) for number in range(len(names))]
    for replica, number in units[:done]:
        bad = (number, replica) in failed
        unit = {"variant": names[number], "replica": replica, "error": "it broke" if bad else ""}
        unit["kpi"] = {} if bad else figures(drawn[number], replica, rng)
        (path / "units" / f"{number:05d}-{replica:06d}.json").write_text(json.dumps(unit))
    return path


def page(path, **keys):
    return Page(write_sweep_report(SweepResults(path), **keys).read_text(encoding="utf-8"))


def invoke(*arguments):
    return CliRunner().invoke(app, ["report", *map(str, arguments)])


def said(error):
    return " ".join(str(error.value).split())


# --- what is in it ---


def test_the_page_has_every_section_loads_nothing_and_says_how_far_the_sweep_is(tmp_path):
    read = page(made(tmp_path))
    assert read.sections == SECTIONS
    assert read.loaded == []
    assert {figure["id"] for figure in read.data["figures"]} <= set(read.ids)
    assert "24 of 24" in read.text
    assert "runs are done;" not in read.text


def test_the_table_has_a_row_per_run_as_csv_and_as_parquet(tmp_path):
    page(made(tmp_path, failed=[(2, 1)]))
    csv, parquet = pd.read_csv(tmp_path / "runs.csv"), pd.read_parquet(tmp_path / "runs.parquet")
    assert len(csv) == len(parquet) == 24
    assert csv.status.value_counts().to_dict() == {"finished": 23, "failed": 1}
    assert csv["population.pv_share"].tolist() == parquet["population.pv_share"].tolist()
    assert csv["population.pv_share"].unique().tolist() == [0.1, 0.5, 0.9]
    np.testing.assert_allclose(csv[WELFARE], parquet[WELFARE])
    assert {"variant", "market.mechanism", "replica", "seed", "error", "remark"} <= set(csv.columns)


def test_differences_are_those_of_a_paired_t_test(tmp_path):
    read = page(made(tmp_path, reference={"market.mechanism": "bilateral"}, replicas=6))
    drawn = read.figure("difference-0")["data"][0]
    table = pd.read_parquet(tmp_path / "runs.parquet").pivot(index="replica", columns="variant", values=WELFARE)
    others = [name for name in table.columns if name != "bilateral | 0.1"]
    for at, name in enumerate(others):
        interval = stats.ttest_rel(table[name], table["bilateral | 0.1"]).confidence_interval(0.95)
        x, half = values(drawn["x"])[at], drawn["error_x"]["array"][at]
        assert (x - half, x + half) == pytest.approx((interval.low, interval.high))


def test_boxes_are_the_quartiles_of_the_runs(tmp_path):
    read = page(made(tmp_path))
    box = read.figure("distribution-0")["data"][0]
    table = pd.read_parquet(tmp_path / "runs.parquet")
    expected = table.groupby("variant", observed=True, sort=False)[WELFARE].describe()
    for name, column in (("q1", "25%"), ("median", "50%"), ("q3", "75%"), ("upperfence", "max")):
        assert box[name] == pytest.approx(expected[column].tolist())


def test_other_figures_another_reference_and_another_pair_are_shown_on_demand(tmp_path):
    made(tmp_path / "in")
    pair = ("max_loading_percent", "congestion_violations + voltage_violations")
    keys = {"figures": ["max_loading_percent"], "reference": "auction | 0.9", "pareto": pair}
    read = page(tmp_path / "in", out=tmp_path / "out", **keys)
    assert "compared to auction | 0.9" in read.text
    assert "No factor changes it" in read.text
    assert "congestion_violations + voltage_violations" in str(read.figure("tradeoff-plot")["layout"])
    assert sorted(each.name for each in (tmp_path / "out").iterdir()) == ["report.html", "runs.csv", "runs.parquet"]
    assert not (tmp_path / "in" / "report.html").exists()


def test_names_are_escaped(tmp_path):
    evil = "</script><script>alert(1)</script>"
    factors = {"market.mechanism": {"levels": {evil: 1, "b": 2}}, "population.pv_share": [0.1, 0.2]}
    text = write_sweep_report(SweepResults(made(tmp_path, factors=factors, description=evil))).read_text()
    assert "<script>alert" not in text
    assert "</script><script>a" not in text


def test_a_drawn_design_has_histograms_and_coefficients(tmp_path):
    read = page(made(tmp_path, replicas=2, **DRAWN))
    assert read.sections == SECTIONS
    assert sum(read.figure("distribution-0")["data"][0]["y"]) == 80
    assert "Standardised regression coefficients" in read.text


# --- a sweep that is not whole ---


def test_a_sweep_that_is_not_finished_says_how_many_runs_are_done(tmp_path):
    read = page(made(tmp_path, done=9))
    assert "9 of 24 runs are done" in read.text
    assert read.sections == SECTIONS
    assert page(made(tmp_path / "one", done=1)).sections == SECTIONS


def test_means_are_over_the_replicas_that_all_variants_have(tmp_path):
    read = page(made(tmp_path, failed=[(3, 0), (4, 1)], done=23))
    runs = pd.read_parquet(tmp_path / "runs.parquet").query("replica == 2")
    shown = [float(row[0]) for row in read.figure("overview-plot")["data"][0]["text"]]
    assert shown == pytest.approx(runs[WELFARE].tolist(), rel=0.005)
    assert values(read.figure("tradeoff-plot")["data"][2]["y"]).max() == pytest.approx(runs[WELFARE].max())


def test_runs_that_failed_are_listed(tmp_path):
    read = page(made(tmp_path, failed=[(1, replica) for replica in range(4)]))
    assert read.sections == [*SECTIONS[:-1], "failed", "origin"]
    assert "auction | 0.5: it broke" in read.text


def test_a_newer_run_is_not_hidden_by_the_table_that_is_there(tmp_path):
    made(tmp_path, done=12)
    (tmp_path / "replicas.parquet").write_bytes((page(tmp_path), (tmp_path / "runs.parquet").read_bytes())[1])
    assert SweepResults(tmp_path).done == 12
    made(tmp_path / "more")
    last = sorted((tmp_path / "more" / "units").iterdir())[-1]
    (tmp_path / "units" / last.name).write_bytes(last.read_bytes())
    assert SweepResults(tmp_path).done == 13


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"done": 0}, "no run has finished yet, of 24"),
        ({"done": 2, "failed": [(0, 0), (1, 0)]}, "all 2 runs failed, of 24 .*failed: auction | 0.1.* it broke"),
        ({"kpis": ["nothing"]}, "no run has a key figure of the experiment .*--kpi"),
    ],
)
def test_a_sweep_without_anything_to_show_says_why(tmp_path, keys, message):
    with pytest.raises(ResultsError) as error:
        write_sweep_report(SweepResults(made(tmp_path, **keys)))
    assert re.search(message, said(error))
    assert not (tmp_path / "report.html").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--kpi", "social_welfare", "--kpi", "remark"], "did you mean 'social_welfare_eur'"),
        (["--kpi", "remark"], "no run has a figure 'remark'"),
        (["--reference", "auction | 0.2"], "there is no variant 'auction | 0.2' (did you mean"),
        (["--pareto", WELFARE, "congestion"], "--pareto: no run has a figure 'congestion'"),
    ],
)
def test_what_is_not_there_is_refused_with_the_nearest_name(tmp_path, arguments, message):
    result = invoke(made(tmp_path), *arguments)
    assert isinstance(result.exception, ResultsError)
    assert result.exception.exit_status == 2
    assert message in str(result.exception)


def test_the_command_takes_a_sweep_a_run_and_nothing_else(tmp_path):
    assert "24 of 24 runs are done" in invoke(made(tmp_path / "sweep")).output
    run = tiny(tmp_path / "run")
    assert f"Report: {run / 'report.html'}" in invoke(run).output
    assert "single run" in str(invoke(run, "--kpi", WELFARE).exception)
    assert "holds neither a sweep nor a run" in str(invoke(tmp_path).exception)
    assert "no such directory" in str(invoke(tmp_path / "none").exception)


def test_an_experiment_without_factors_is_refused_with_an_example():
    with pytest.raises(ValueError, match="there are none; name what varies"):
        Experiment.model_validate({"factors": {}})


def test_a_full_disk_is_no_fault_of_the_run_that_meets_it(monkeypatch):
    def full(*_, **__):
        try:
            raise OSError(28, "No space left on device")
        except OSError as error:
            raise SimulationError("cannot write the tables") from error

    monkeypatch.setattr("peerwatt.experiments.replica.TemporaryDirectory", full)
    with pytest.raises(
        SimulationError, match=r"no space is left for temporary files; make room .*what was finished is"
    ):
        attempt("a", 0, None, lambda: None)


def test_a_report_that_cannot_be_written_leaves_no_half_of_it(tmp_path):
    made(tmp_path / "in")
    (tmp_path / "file").touch()
    with pytest.raises(ResultsError, match=r"cannot be written: .*--out"):
        write_sweep_report(SweepResults(tmp_path / "in"), tmp_path / "file")
    (tmp_path / "out" / "runs.parquet").mkdir(parents=True)
    with pytest.raises(ResultsError, match="cannot be written"):
        write_sweep_report(SweepResults(tmp_path / "in"), tmp_path / "out")
    assert not [each for each in (tmp_path / "out").iterdir() if each.name.startswith(".")]


def test_a_damaged_directory_is_refused(tmp_path):
    made(tmp_path)
    (tmp_path / "units" / "00000-000000.json").write_text("{")
    with pytest.raises(ResultsError, match=r"00000-000000.json: cannot be read"):
        write_sweep_report(SweepResults(tmp_path))
    (tmp_path / "experiment.json").unlink()
    with pytest.raises(ResultsError, match=r"experiment.json: cannot be read.*command again"):
        SweepResults(tmp_path)


def test_a_real_sweep_is_read_back(tmp_path):
    quick = {"time.period_s": 21600, "time.periods": 3, "time.start": "2016-06-21"}
    document = {"set": quick, "factors": {"market.mechanism": ["double_auction", "bilateral"]}, "replicas": 1}
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(document))
    comparison = sweep(tmp_path / "mine.yaml", tmp_path / "out", pool=Pool(Backend.SEQUENTIAL))
    assert not comparison.failed, comparison.failed
    results = SweepResults(tmp_path / "out")
    assert results.experiment.name == "mine"
    assert results.comparison([WELFARE]).variants == comparison.variants
    assert results.runs.arrow([WELFARE]) == Batch(tmp_path / "out")["replicas"].arrow([WELFARE])
    assert page(tmp_path / "out").sections == SECTIONS


# --- effects of factors ---


@given(seed=st.integers(0, 2**31), n=st.integers(2, 5))
@settings(max_examples=15, deadline=None)
def test_main_effects_of_a_whole_factorial_are_differences_of_level_means(seed, n):
    figures = np.random.default_rng(seed).normal(size=(6, n))
    levels = {"a": ["x", "x", "x", "y", "y", "y"], "b": ["1", "2", "3"] * 2}
    frame = pd.DataFrame(figures).assign(**levels).set_index(["a", "b"])
    for effect in main_effects(figures, levels).effects:
        means = frame.groupby(level=effect.factor).mean()
        assert effect.size == pytest.approx(means.mean(axis=1).max() - means.mean(axis=1).min())
        difference = means.loc[effect.high] - means.loc[effect.low]
        wide = stats.studentized_range.ppf(0.95, len(means), n - 1) / np.sqrt(2.0)
        assert effect.half_width == pytest.approx(wide * difference.std(ddof=1) / np.sqrt(n), rel=1e-5)


def test_an_effect_of_two_levels_has_the_paired_t_interval():
    figures = np.random.default_rng(2).normal(size=(2, 7))
    (effect,) = main_effects(figures, {"a": ["x", "y"]}).effects
    interval = stats.ttest_rel(*figures).confidence_interval(0.95)
    assert effect.half_width == pytest.approx((interval.high - interval.low) / 2.0)


def test_an_effect_of_three_levels_has_the_interval_of_a_printed_table():
    values = np.array(
        [[1.0, 2.0, 3.0, 4.0, 5.0, 6.0], [3.0, 3.0, 5.0, 5.0, 7.0, 7.0], [9.0, 8.0, 13.0, 12.0, 17.0, 16.0]]
    )
    (effect,) = main_effects(values, {"a": ["x", "y", "z"]}).effects
    assert (effect.low, effect.high, effect.size) == ("x", "z", pytest.approx(9.0))
    spread = np.sqrt((1.0 + 9.0 + 1.0 + 1.0 + 9.0 + 1.0) / 5.0)  # of 8, 6, 10, 8, 12, 10 about 9
    assert effect.half_width == pytest.approx(
        4.602 / np.sqrt(2.0) * spread / np.sqrt(6.0), rel=1e-3
    )  # q(3, 5) is 4.602


def test_a_model_that_has_a_coefficient_for_every_mean_explains_nothing():
    found = main_effects(np.random.default_rng(1).normal(size=(5, 6)), {"a": list("vwxyz")})
    assert np.isnan(found.explained)
    assert len(found.effects) == 1


# --- variants with periods without a result ---


def tired(point, replica, rng):
    """The bilateral market is not cleared in two periods of twelve."""
    failed = 2 if point["market.mechanism"][1] == "bilateral" else 0
    return invented(point, replica, rng) | {
        "periods": 12,
        "market_not_converged_periods": failed,
        "market_infeasible_periods": 0,
    }


def test_variants_with_periods_without_a_result_are_marked_wherever_they_stand(tmp_path):
    read = page(made(tmp_path, figures=tired), pareto=(WELFARE, VIOLATIONS))
    assert "market not cleared in 8 of 48 periods" in read.text
    for figure in ("overview-plot", "distribution-0", "difference-0"):
        labels = read.figure(figure)["layout"]["yaxis"]["ticktext"]
        assert [label.startswith("†") for label in labels] == ["bilateral" in label for label in labels], figure
    differences = read.figure("difference-0")["data"][0]
    labels = read.figure("difference-0")["layout"]["yaxis"]["ticktext"]
    symbols = dict(zip(labels, differences["marker"]["symbol"], strict=True))
    assert {symbol for label, symbol in symbols.items() if "†" in label} == {"circle-open"}
    ends = [text for trace in read.figure("tornado-0")["data"][2:] for text in trace["text"]]
    assert " † bilateral " in ends
    assert not [text for text in ends if "auction" in text and "†" in text]


def test_a_reference_with_such_periods_marks_every_difference(tmp_path):
    results = SweepResults(made(tmp_path, figures=tired))
    reference = next(name for name in results.variants if "bilateral" in name)
    analysis = results.analysis([WELFARE], reference)
    for row in analysis.rows:
        assert row.unsolved
        assert ("reference: " in row.unsolved) == (row.variant != reference)
    text = analysis.as_markdown()
    assert "| without a result |" in text
    assert "market not cleared in 8 of 48 periods" in text
    p_values = [line.split("|")[6].strip() for line in text.splitlines() if line.startswith(f"| {WELFARE}")]
    assert all(p == "-" or (p.startswith("(") and p.endswith(") †")) for p in p_values)


def test_every_run_says_it_in_the_tables(tmp_path):
    page(made(tmp_path, figures=tired))
    rows = pd.read_csv(tmp_path / "runs.csv", keep_default_na=False)
    bilateral = rows["market.mechanism"] == "bilateral"
    assert (rows.unsolved[bilateral] == "market not cleared in 2 of 12 periods").all()
    assert (rows.unsolved[~bilateral] == "").all()


def test_without_such_periods_nothing_is_marked(tmp_path):
    read = page(made(tmp_path))
    assert "†" not in read.text
    assert SweepResults(tmp_path).analysis().head[-1] == "n"


def test_a_variant_without_runs_does_not_shift_main_effects():
    levels = {"a": ["x", "x", "x", "y", "y", "y"], "b": ["1", "2", "3"] * 2}
    additive = np.array([0.0, 5.0, 7.0, 1.0, 6.0, 8.0])[:, None] + np.arange(4.0)
    additive[5] = np.nan
    additive[0, 2] = np.nan
    found = {each.factor: each for each in main_effects(additive, levels).effects}
    assert found["a"].size == pytest.approx(1.0)
    assert (found["b"].low, found["b"].high, found["b"].size) == ("1", "3", pytest.approx(7.0))
    assert main_effects(np.full((6, 2), np.nan), levels).effects == ()


def test_coefficients_of_a_linear_model_are_known_and_ranks_stand_in_for_a_curve():
    rng = np.random.default_rng(3)
    x, z = (stats.zscore(rng.normal(size=400)) for _ in range(2))
    z = stats.zscore(z - x * (x @ z) / 400)
    factors = {"x": x.tolist(), "z": z.tolist()}
    found = regression_effects((-4.0 * x + 3.0 * z)[:, None], factors)
    assert found.method == SRC
    assert [(each.factor, pytest.approx(each.size)) for each in found.effects] == [("x", -0.8), ("z", 0.6)]
    assert found.explained == pytest.approx(1.0)
    curve = regression_effects(np.exp(4.0 * x)[:, None], factors)
    assert curve.method == SRRC
    assert curve.effects[0].size == pytest.approx(1.0)


def test_too_few_points_have_no_coefficients():
    assert regression_effects(np.arange(3.0)[:, None], {"x": [1.0, 2.0, 3.0], "z": [3.0, 1.0, 2.0]}).effects == ()


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=1, max_size=30))
@settings(max_examples=60, deadline=None)
def test_the_front_is_what_nothing_beats(pairs):
    high, low = np.array(pairs, dtype=float).T
    beaten = [((high >= h) & (low <= b) & ((high > h) | (low < b))).any() for h, b in zip(high, low, strict=True)]
    assert front(high, low).tolist() == [not each for each in beaten]


# --- tables that are read in part ---


def test_tables_of_runs_are_read_side_by_side_and_in_part(tmp_path):
    first, second = tiny(tmp_path / "first"), tiny(tmp_path / "second")
    batch = Batch(tmp_path)
    assert batch.runs == ("first", "second")
    asked = [("run", "==", "second"), ("stage", "==", "delivery")]
    part = batch["period"].frame(["run", "period", "losses_mw"], asked)
    whole = pd.read_parquet(second / "period.parquet").query("stage == 'delivery'")
    assert part.losses_mw.tolist() == whole.losses_mw.tolist()
    assert part.run.unique().tolist() == ["second"]
    assert batch["period"].n_rows == 2 * len(pd.read_parquet(first / "period.parquet"))
    assert sum(each.num_rows for each in Batch([first])["period"].batches(["run"])) == batch["period"].n_rows / 2


@pytest.mark.parametrize(
    ("columns", "filters", "message"),
    [
        (["loses_mw"], None, "did you mean 'losses_mw'"),
        (None, [("stge", "==", "p2p")], "did you mean 'stage'"),
        (None, [("period", "==", "p2p")], "cannot be read"),
        (None, [("period", "~", 1)], "cannot be read"),
    ],
)
def test_columns_and_filters_that_mean_nothing_are_refused(tmp_path, columns, filters, message):
    tiny(tmp_path / "run")
    with pytest.raises(ResultsError, match=message):
        Batch(tmp_path)["period"].frame(columns, filters)


def test_a_damaged_table_is_named(tmp_path):
    (tiny(tmp_path / "run") / "period.parquet").write_bytes(b"not Parquet")
    table = Batch(tmp_path)["period"]
    for ask in (lambda: table.n_rows, lambda: table.schema, table.frame):
        with pytest.raises(ResultsError, match="table 'period': cannot be read"):
            ask()


def test_opening_a_table_imports_no_pandas(tmp_path):
    code = (
        "import sys; from peerwatt.sim.batch import Batch; Batch(sys.argv[1])['period'].n_rows;"
        "assert 'pandas' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code, str(tiny(tmp_path / "run").parent)], check=True)


def test_directories_without_tables_are_refused(tmp_path):
    with pytest.raises(ResultsError, match="holds no tables"):
        Batch(tmp_path)
    with pytest.raises(ResultsError, match="no such directory"):
        Batch(tmp_path / "none")
    for name in ("a", "b"):
        tiny(tmp_path / name / "run")
    with pytest.raises(ResultsError, match="two runs have the same name"):
        Batch([tmp_path / "a" / "run", tmp_path / "b" / "run"])
    with pytest.raises(ResultsError, match=r"there is no table 'perod'.*'period'"):
        Batch([tmp_path / "a" / "run"])["perod"]
