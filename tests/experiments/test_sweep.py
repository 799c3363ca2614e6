"""Sweeps: the design's points, paired draws, nothing lost and nothing repeated."""

import io
import json
import os
import signal
import subprocess
import sys
import time
from importlib import resources
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console
from scipy import stats
from typer.testing import CliRunner

from peerwatt.errors import ResultsError, ScenarioError, SimulationError
from peerwatt.experiments.cli import app
from peerwatt.experiments.comparison import Comparison, Outcome
from peerwatt.experiments.pool import Backend, Pool
from peerwatt.experiments.sweep import plan as plan_module
from peerwatt.experiments.sweep import store as store_module
from peerwatt.experiments.sweep.analysis import Analysis
from peerwatt.experiments.sweep.command import shown
from peerwatt.experiments.sweep.experiment import Experiment, shipped_experiments
from peerwatt.experiments.sweep.plan import Plan, points
from peerwatt.experiments.sweep.run import Progress, sweep

QUICK = {"time.period_s": 21600, "time.periods": 3, "time.start": "2016-06-21"}
MECHANISMS = {"market.mechanism": ["double_auction", "bilateral"]}
HERE = Pool(Backend.SEQUENTIAL)
BROKEN = {"coordination.preset": "cm2", "coordination.lfm_area": ["nowhere"]}
FIGURE = "social_welfare_eur"


def experiment(**keys):
    document = {"base": "lv-village", "set": QUICK, "factors": MECHANISMS, "replicas": 2, "kpis": [FIGURE], **keys}
    return Experiment.model_validate(document)


def half_broken(**keys):
    """Every second variant names a bus that is not there, which only shows when it runs."""
    areas = {"coordination.lfm_area": {"levels": {"all": None, "none": ["nowhere"]}}}
    return experiment(set={**QUICK, "coordination.preset": "cm2"}, factors=areas, **keys)


def left_in(directory):
    """Bytes of all results by name."""
    return {
        path.relative_to(directory).as_posix(): path.read_bytes()
        for path in sorted(directory.rglob("*"))
        if path.is_file() and path.name != "lock"
    }


def made_up(a, b):
    """Two variants with one figure."""
    values = {"a": a, "b": b}
    outcomes = (Outcome(name, r, {FIGURE: v}) for name, own in values.items() for r, v in enumerate(own))
    return Comparison(("a", "b"), len(a), {}, (), tuple(outcomes))


# --- the design ---


def test_a_full_factorial_has_every_level_with_every_other():
    factors = {"seedless.a": [1, 2], "seedless.b": ["x", "y", "z"]}
    drawn = [tuple(value for _, value in point.values()) for point in points(experiment(factors=factors))]
    assert drawn == [(1, "x"), (1, "y"), (1, "z"), (2, "x"), (2, "y"), (2, "z")]


@given(n=st.integers(1, 40), seed=st.integers(0, 2**31))
@settings(max_examples=20, deadline=None)
def test_a_latin_hypercube_has_one_point_in_each_slice(n, seed):
    factors = {
        "x.a": {"distribution": "uniform", "low": -1, "high": 3},
        "x.b": {"distribution": "normal", "mean": 0, "std": 2},
    }
    design = {"method": "latin_hypercube", "points": n}
    drawn = points(experiment(factors=factors, design=design, seed=seed))
    a, b = (np.array([point[key][1] for point in drawn]) for key in factors)
    assert sorted(np.floor((a + 1.0) / 4.0 * n).astype(int)) == list(range(n))
    assert sorted(np.floor(stats.norm.cdf(b, 0.0, 2.0) * n).astype(int)) == list(range(n))


@given(power=st.integers(2, 6), seed=st.integers(0, 2**31))
@settings(max_examples=10, deadline=None)
def test_sobol_points_fill_every_elementary_box(power, seed):
    factors = {f"x.{k}": {"distribution": "uniform", "low": 0, "high": 1} for k in "ab"}
    drawn = points(experiment(factors=factors, design={"method": "sobol", "points": 2**power}, seed=seed))
    a, b = (np.array([point[key][1] for point in drawn]) for key in factors)
    for cut in range(power + 1):
        box = np.floor(a * 2**cut) * 2 ** (power - cut) + np.floor(b * 2 ** (power - cut))
        assert sorted(box.astype(int)) == list(range(2**power))


@pytest.mark.parametrize(
    ("factor", "of"),
    [
        ({"distribution": "normal", "mean": 1, "std": 2, "low": 0, "high": 2}, stats.truncnorm(-0.5, 0.5, 1, 2)),
        ({"distribution": "lognormal", "median": 2, "sigma": 0.5}, stats.lognorm(0.5, scale=2)),
        ({"distribution": "loguniform", "low": 0.1, "high": 10}, stats.loguniform(0.1, 10)),
        ({"distribution": "uniform", "low": 2, "high": 5}, stats.uniform(2, 3)),
    ],
)
def test_draws_follow_their_distribution(factor, of):
    design = {"method": "latin_hypercube", "points": 500}
    drawn = [point["x.a"][1] for point in points(experiment(factors={"x.a": factor}, design=design))]
    assert stats.kstest(drawn, of.cdf).statistic < 0.01


def test_levels_are_drawn_by_weight_and_integers_are_whole():
    factors = {
        "x.a": {"levels": ["rare", "often"], "weights": [1, 3]},
        "x.b": {"distribution": "integer", "low": 1, "high": 4},
    }
    drawn = points(experiment(factors=factors, design={"method": "latin_hypercube", "points": 100}))
    assert [label for label, _ in (point["x.a"] for point in drawn)].count("rare") == 25
    assert sorted(point["x.b"][1] for point in drawn) == [k for k in (1, 2, 3, 4) for _ in range(25)]


# --- what is refused ---


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"factors": {}}, "factors"),
        ({"factors": {"market.mechanism": []}}, "has no levels"),
        ({"factors": {"market.mechanism": ["bilateral", "bilateral"]}}, "stands twice"),
        ({"factors": {"seed": [1, 2]}}, "variants stay paired"),
        ({"factors": {"market": [{}], "market.mechanism": ["bilateral"]}}, "inside of 'market'"),
        ({"factors": {"population.pv_share": {"distribution": "uniform", "low": 0, "high": 1}}}, "needs levels"),
        ({"factors": {"population.pv_share": {"distribution": "uniform", "low": 0}}}, "needs high"),
        ({"factors": {"population.pv_share": {"distribution": "uniform", "low": 1, "high": 0}}}, "is not below"),
        ({"factors": {"population.pv_share": 0.3}}, "neither a list"),
        ({"design": "sobol"}, "needs points"),
        ({"design": {"method": "sobol", "points": 6}}, "e.g. 8"),
        ({"reference": {"market.mechanism": "bilatral"}}, "did you mean 'bilateral'"),
        ({"stop": {"kpi": FIGURE, "half_width": 1, "at_most": 1}}, "is below replicas"),
        ({"replicas": 0}, "replicas"),
    ],
)
def test_an_experiment_that_means_nothing_is_refused(tmp_path, keys, said):
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump({"factors": MECHANISMS, **keys}))
    with pytest.raises(ScenarioError, match=said):
        Experiment.load(path)


def test_all_faults_of_a_file_come_at_once_with_their_keys(tmp_path):
    path = tmp_path / "mine.yaml"
    factors = {"market.mechanism": [], "population.pv_share": {"distribution": "uniform", "low": 0}}
    path.write_text(yaml.safe_dump({"factors": factors, "replicas": 0, "sed": 1}))
    with pytest.raises(ScenarioError) as caught:
        Experiment.load(path)
    said = str(caught.value)
    assert len(caught.value.faults) == 4
    for key in ("factors.market.mechanism", "factors.population.pv_share", "replicas", "did you mean 'seed'"):
        assert key in said


@pytest.mark.parametrize(
    ("factors", "said"),
    [
        ({"population.pv_shre": [0.1, 0.2]}, "variant '0.1' and 1 others: .*pv_shre: unknown key .*'pv_share'"),
        ({"population.pv_share": [0.1, 2]}, "variant '2': .*pv_share"),
    ],
)
def test_a_factor_that_the_scenario_refuses_is_refused_before_anything_runs(tmp_path, factors, said):
    with pytest.raises(ScenarioError, match=said):
        sweep(experiment(factors=factors), tmp_path / "out", pool=HERE)
    assert not (tmp_path / "out").exists()


def test_a_distribution_needs_bounds_where_the_scenario_has_some():
    factors = {"population.pv_share": {"distribution": "normal", "mean": 0.5, "std": 0.2}}
    design = {"method": "latin_hypercube", "points": 1}
    with pytest.raises(ScenarioError, match=r"factors.population.pv_share: normal reaches .*give low and high"):
        Plan.of(experiment(factors=factors, design=design))
    factors["population.pv_share"] |= {"low": 0, "high": 1}
    assert len(Plan.of(experiment(factors=factors, design=design)).variants) == 1


def test_a_backend_that_is_not_there_is_refused_with_the_command_that_installs_it(tmp_path, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ScenarioError, match="pip install distributed"):
        sweep(experiment(), tmp_path / "out", pool=Pool(Backend.DASK))
    assert not (tmp_path / "out").exists()


def test_a_directory_of_something_else_is_refused(tmp_path):
    (tmp_path / "precious").touch()
    with pytest.raises(ResultsError, match="holds no sweep"):
        sweep(experiment(), tmp_path, pool=HERE)
    assert [path.name for path in tmp_path.iterdir()] == ["precious"]


# --- running ---


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """A sweep that nothing disturbed."""
    out = tmp_path_factory.mktemp("undisturbed") / "out"
    sweep(experiment(), out, pool=HERE)
    return out


def test_every_variant_of_a_replica_has_the_same_peers_and_weather(undisturbed):
    table = pd.read_parquet(undisturbed / "replicas.parquet")
    assert table.groupby("replica").reference_cost_peers_eur.nunique().eq(1).all()
    assert table.groupby("replica").overflow_sum_forecast_mw.nunique().eq(1).all()
    assert table.p2p_volume_mwh.nunique() > 1
    assert table.loc[table.variant == "bilateral", FIGURE].nunique() == 2
    assert table["market.mechanism"].tolist() == table.variant.tolist()
    assert table.status.eq("finished").all()


@pytest.mark.slow
def test_two_jobs_leave_the_same_bytes_as_one(undisturbed, tmp_path):
    sweep(experiment(), tmp_path / "out", pool=Pool(jobs=2))
    assert left_in(tmp_path / "out") == left_in(undisturbed)


def test_what_is_there_is_not_computed_again_and_more_replicas_are_added(undisturbed, tmp_path):
    out, seen = tmp_path / "out", []
    sweep(experiment(replicas=1), out, pool=HERE)
    sweep(experiment(), out, pool=HERE, on_unit=seen.append)
    assert [(each.done, each.computed) for each in seen] == [(2, 0), (3, 1), (4, 2)]
    assert left_in(out) == left_in(undisturbed)
    sweep(experiment(), out, pool=HERE, on_unit=seen.append)
    assert seen[-1].computed == 0
    assert left_in(out) == left_in(undisturbed)


@pytest.mark.slow
@pytest.mark.parametrize("jobs", ["1", "2"])
def test_a_killed_sweep_is_completed_to_the_same_bytes(tmp_path, jobs):
    path, out, straight = tmp_path / "mine.yaml", tmp_path / "out", tmp_path / "straight"
    path.write_text(yaml.safe_dump({"set": QUICK, "factors": MECHANISMS, "replicas": 8}))
    main = "from peerwatt.experiments.cli import main; main()"
    command = [sys.executable, "-c", main, "sweep", str(path), "--jobs", jobs]
    with subprocess.Popen([*command, "--out", str(out)], start_new_session=True, stdout=subprocess.DEVNULL) as process:
        while len(list(out.glob("units/*.json"))) < 3 and process.poll() is None:
            time.sleep(0.005)
        os.killpg(process.pid, signal.SIGKILL)
    before = left_in(out / "units")
    assert 3 <= len(before) < 16
    assert not (out / "replicas.parquet").exists()
    own = Pool(Backend.SEQUENTIAL)
    sweep(path, out, pool=own)
    sweep(path, straight, pool=own)
    after = left_in(out)
    assert after == left_in(straight)
    assert all(after[f"units/{name}"] == content for name, content in before.items() if name.endswith(".json"))


def test_a_sweep_that_was_killed_before_it_began_goes_on(tmp_path):
    out = tmp_path / "out"
    (out / "units").mkdir(parents=True)
    (out / "lock").touch()
    (out / ".manifest.json.tmp").touch()
    assert not sweep(experiment(replicas=1), out, pool=HERE).failed


@pytest.mark.parametrize("part", ["the root seed", "the scenarios", "the code"])
def test_results_of_another_experiment_are_refused_and_recomputed_as_asked(tmp_path, monkeypatch, part):
    out = tmp_path / "out"
    sweep(experiment(replicas=1), out, pool=HERE)
    before = left_in(out)
    changed = experiment(replicas=1)
    if part == "the root seed":
        changed = experiment(replicas=1, seed=2)
    elif part == "the scenarios":
        changed = experiment(replicas=1, set={**QUICK, "tariff.supply_eur_per_mwh": 310})
    else:
        monkeypatch.setattr(plan_module, "_code_digest", lambda: "other")
    with pytest.raises(ResultsError, match=f"{part}.* changed since .*--recompute"):
        sweep(changed, out, pool=HERE)
    assert left_in(out) == before
    sweep(changed, out, pool=HERE, recompute=True)
    assert left_in(out)["manifest.json"] != before["manifest.json"]


LAYERS = ("agents", "grid", "market", "sim", "experiments")


@pytest.mark.parametrize("layer", [*LAYERS, "."])
def test_results_depend_on_every_file_of_every_layer(tmp_path, layer):
    for each in (*LAYERS, "."):
        (tmp_path / each / "deep").mkdir(parents=True)
        (tmp_path / each / "deep" / "module.py").write_text("a = 1")
        (tmp_path / each / "data.csv").write_text("1,2")
    digests = {plan_module._digest_of(tmp_path)}
    for name, content in (("deep/module.py", "a = 2"), ("data.csv", "1,3"), ("new.py", "")):
        (tmp_path / layer / name).write_text(content)
        digests.add(plan_module._digest_of(tmp_path))
    (tmp_path / layer / "new.py").rename(tmp_path / layer / "renamed.py")
    digests.add(plan_module._digest_of(tmp_path))
    assert len(digests) == 5
    (tmp_path / layer / "__pycache__").mkdir()
    (tmp_path / layer / "__pycache__" / "module.pyc").write_text("compiled")
    assert plan_module._digest_of(tmp_path) in digests


def test_the_files_that_are_watched_are_those_of_the_package():
    root = Path(str(resources.files("peerwatt")))
    watched = {path.relative_to(root).as_posix() for path in plan_module._files(root)}
    modules = {"errors.py", "registry.py", "validation.py", "experiments/replica.py", "experiments/assumptions.py"}
    modules |= {"market/auction.py", "grid/convert.py", "agents/policies/request.py", "sim/lockstep/figures.py"}
    assert modules <= watched
    assert {f"grid/data/{path.name}" for path in (root / "grid" / "data").glob("*.csv")} <= watched
    assert not [name for name in watched if "__pycache__" in name]


def read_figures(out):
    return pd.read_parquet(out / "replicas.parquet")


@pytest.mark.parametrize("changed", ["profiles.csv", "net.json"])
def test_a_changed_file_of_the_grid_is_noticed(tmp_path, changed):
    import pandapower as pp

    from tests.scenarios import feeder, profiles

    net = feeder(3)
    pp.to_json(net, tmp_path / "net.json")
    profiles(net, 4).to_csv(tmp_path / "profiles.csv", index=False)
    scenario = {
        "grid": {"case": "net.json", "profiles": "profiles.csv"},
        "time": {"start": "2030-06-01", "periods": 2},
        "population": {"demand_response": {}},
    }
    (tmp_path / "own.yaml").write_text(yaml.safe_dump(scenario))
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump({"base": "own.yaml", "factors": MECHANISMS, "replicas": 1}))
    assert not sweep(path, tmp_path / "out", pool=HERE).failed
    if changed == "profiles.csv":
        profiles(net, 4, seed=1).to_csv(tmp_path / "profiles.csv", index=False)
    else:
        net.line.length_km *= 1.5
        pp.to_json(net, tmp_path / "net.json")
    with pytest.raises(ResultsError, match="the scenarios changed"):
        sweep(path, tmp_path / "out", pool=HERE)
    before = read_figures(tmp_path / "out")
    sweep(path, tmp_path / "out", pool=HERE, recompute=True)
    assert (read_figures(tmp_path / "out").losses_mwh != before.losses_mwh).all()


def test_two_sweeps_do_not_write_one_directory(tmp_path):
    store = store_module.Store(tmp_path, Plan.of(experiment()))
    with store.opened(recompute=False), pytest.raises(ResultsError, match="another sweep"):
        sweep(experiment(), tmp_path, pool=HERE)


# --- failures ---


def test_a_unit_that_fails_is_recorded_and_the_rest_goes_on(tmp_path):
    out, path = tmp_path / "out", tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(half_broken().model_dump(mode="json")))
    result = CliRunner().invoke(app, ["sweep", str(path), "--backend", "sequential", "--out", str(out)])
    assert result.exit_code == 1
    assert "nowhere" in result.output
    table = pd.read_parquet(out / "replicas.parquet")
    assert table.status.tolist() == ["finished", "finished", "failed", "failed"]
    assert table.error.str.contains("nowhere").tolist() == [False, False, True, True]
    unit = json.loads((out / "units" / "00001-000001.json").read_text())
    assert (unit["seed"], unit["replica"], unit["status"]) == (1, 1, "failed")


def test_failed_units_are_run_again_only_when_asked(tmp_path):
    seen = []
    for rerun_failed in (False, False, True):
        sweep(half_broken(), tmp_path, pool=HERE, rerun_failed=rerun_failed, on_unit=seen.append)
        seen.append(None)
    computed = [seen[k - 1].computed for k, each in enumerate(seen) if each is None]
    assert computed == [4, 0, 2]


def test_a_full_disk_ends_the_sweep_and_keeps_what_was_finished(tmp_path, undisturbed, monkeypatch):
    write, left = store_module.write_atomically, [2]

    def full(path, content):
        if path.parent.name == "units":
            left[0] -= 1
            if left[0] < 0:
                raise OSError(28, "No space left on device")
        write(path, content)

    monkeypatch.setattr(store_module, "write_atomically", full)
    with pytest.raises(SimulationError, match=r"No space left.*make room"):
        sweep(experiment(), tmp_path, pool=HERE)
    assert len(left_in(tmp_path / "units")) == 2
    monkeypatch.undo()
    sweep(experiment(), tmp_path, pool=HERE)
    assert left_in(tmp_path) == left_in(undisturbed)


def test_a_disk_that_is_too_full_is_noticed_before_the_run(tmp_path, monkeypatch):
    usage = type("Usage", (), {"free": 1000})()
    monkeypatch.setattr(store_module.shutil, "disk_usage", lambda path: usage)
    with pytest.raises(ResultsError, match="4 results need"):
        sweep(experiment(), tmp_path, pool=HERE)
    assert not left_in(tmp_path / "units")


def doubled(folder, number, deaths):
    """Twice the number; kills its own process the first times, as a lack of memory would."""
    mark = Path(folder) / str(number)
    died = len(mark.read_text()) if mark.exists() else 0
    if died < deaths:
        mark.write_text("x" * (died + 1))
        os.kill(os.getpid(), signal.SIGKILL)
    return 2 * number


@pytest.mark.slow
def test_a_dead_worker_costs_nothing_but_time(tmp_path):
    tasks = [(str(tmp_path), number, int(number == 5)) for number in range(12)]
    found = list(Pool(jobs=2).finished(doubled, tasks, lambda *task: -1))
    assert sorted(found) == [2 * number for number in range(12)]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of the cluster's own libraries
def test_a_dask_cluster_that_loses_a_worker_leaves_the_same_bytes(tmp_path):
    distributed = pytest.importorskip("distributed")
    chosen, killed = experiment(replicas=10), []
    with distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster:

        def kill_once(progress):
            if progress.computed == 4 and not killed:
                killed.append(next(iter(cluster.workers.values())).pid)
                os.kill(killed[0], signal.SIGKILL)

        pool = Pool(Backend.DASK, address=cluster.scheduler_address)
        sweep(chosen, tmp_path / "dask", pool=pool, on_unit=kill_once)
    sweep(chosen, tmp_path / "here", pool=HERE)
    assert killed
    assert left_in(tmp_path / "dask") == left_in(tmp_path / "here")


@pytest.mark.slow
def test_a_cluster_that_is_not_there_is_refused_and_nothing_is_touched(tmp_path):
    pytest.importorskip("distributed")
    with pytest.raises(ScenarioError, match=r"no dask scheduler at .*dask scheduler"):
        sweep(experiment(), tmp_path / "out", pool=Pool(Backend.DASK, address="tcp://127.0.0.1:9"))
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_a_call_that_always_kills_is_told_from_its_neighbours(tmp_path):
    tasks = [(str(tmp_path), number, 99 * (number in (2, 7))) for number in range(12)]
    found = list(Pool(jobs=2).finished(doubled, tasks, lambda folder, number, deaths: -number))
    assert sorted(found) == sorted([2 * n for n in range(12) if n not in (2, 7)] + [-2, -7])


def test_workers_do_not_import_pandapower():
    code = (
        "import sys\n"
        "from peerwatt.experiments.sweep.run import _run\n"
        "from peerwatt.experiments.sweep.plan import Plan\n"
        "from peerwatt.experiments.sweep.experiment import Experiment\n"
        f"plan = Plan.of(Experiment(set={QUICK!r}, factors={MECHANISMS!r}))\n"
        "from peerwatt.experiments.replica import Lockstep\n"
        "for how in (Lockstep.AUTO, Lockstep.NEVER):\n"
        "    (outcome,) = _run('a', (0,), plan.scenarios[0], plan.digests[0], how)\n"
        "    assert not outcome.error, outcome.error\n"
        "assert not {'pandapower', 'simbench'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_progress_in_a_log_file_is_in_lines():
    file = io.StringIO()
    with shown(Console(file=file, width=80)) as show:
        for done in range(5):
            show(Progress(done, 4, failed=int(done > 2), computed=done))
    lines = file.getvalue().splitlines()
    assert lines[0] == "0/4 done, 0.0 /s, - s left, 0 failed"
    assert lines[-1].startswith("4/4 done, ")
    assert lines[-1].endswith(" 0 s left, 1 failed")


def test_progress_in_a_terminal_is_a_bar():
    file = io.StringIO()
    with shown(Console(file=file, width=80, force_terminal=True, no_color=True)) as show:
        show(Progress(3, 4, failed=1, computed=3))
    assert "3/4" in file.getvalue()
    assert "1 failed" in file.getvalue()


# --- stopping and analysis ---


def test_it_stops_when_the_interval_is_narrow_enough(tmp_path):
    stop = {"kpi": FIGURE, "half_width": 1e9, "at_most": 9}
    assert sweep(experiment(stop=stop), tmp_path / "wide", pool=HERE).replicas == 2
    stop["half_width"] = 1e-9
    assert sweep(experiment(stop={**stop, "at_most": 5}), tmp_path / "narrow", pool=HERE).replicas == 5
    assert sweep(experiment(stop={**stop, "of": "mean", "at_most": 3}), tmp_path / "narrow", pool=HERE).replicas == 3


def test_a_stopping_rule_on_a_figure_that_is_not_there_is_refused(tmp_path):
    stop = {"kpi": "social_welfare", "half_width": 1, "at_most": 9}
    with pytest.raises(ScenarioError, match="did you mean 'social_welfare_eur'"):
        sweep(experiment(stop=stop), tmp_path, pool=HERE)


def test_effect_and_p_value_are_those_of_a_paired_t_test():
    rng = np.random.default_rng(1)
    a, b = rng.normal(5.0, 2.0, 12), rng.normal(6.0, 2.0, 12)
    row = Analysis.of(made_up(a.tolist(), b.tolist()), (FIGURE,)).rows[1]
    expected = stats.ttest_rel(b, a)
    assert row.found.p_value == pytest.approx(expected.pvalue)
    assert row.p_adjusted == pytest.approx(expected.pvalue)
    assert row.found.effect == pytest.approx((b - a).mean() / (b - a).std(ddof=1))


def test_what_is_the_same_in_every_replica_has_no_effect():
    row = Analysis.of(made_up([1.0, 2.0, 3.0], [1.0, 2.0, 3.0]), (FIGURE,)).rows[1]
    assert (row.found.difference, row.found.half_width, row.p_adjusted) == (0.0, 0.0, 1.0)


def test_intervals_cover_the_true_difference_as_often_as_they_say():
    rng, n = np.random.default_rng(7), 2000
    covered = 0
    for _ in range(n):
        shared = rng.normal(0.0, 5.0, 6)
        pair = made_up((shared + rng.normal(0.0, 1.0, 6)).tolist(), (shared + 0.7 + rng.normal(0.0, 1.0, 6)).tolist())
        found = Analysis.of(pair, (FIGURE,)).rows[1].found
        covered += abs(found.difference - 0.7) <= found.half_width
    assert abs(covered / n - 0.95) < 3.0 * np.sqrt(0.95 * 0.05 / n)


def test_the_reference_is_the_one_that_was_asked_for(tmp_path):
    found = sweep(experiment(reference={"market.mechanism": "bilateral"}, replicas=2), tmp_path, pool=HERE)
    assert found.variants == ("bilateral", "double_auction")
    document = json.loads((tmp_path / "analysis.json").read_text())
    assert document["reference"] == "bilateral"
    assert document["rows"][0]["difference"] is None
    assert "Benjamini" in (tmp_path / "analysis.md").read_text()


@pytest.mark.parametrize("name", shipped_experiments())
def test_shipped_experiments_have_a_plan(name):
    assert len(Plan.of(Experiment.load(name)).variants) > 1


def test_the_command_starts_without_heavy_libraries_and_has_a_schema():
    code = (
        "import sys; import peerwatt.experiments.cli;"
        "assert not {'pandas', 'scipy', 'joblib', 'mesa', 'pyarrow'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    schema = json.loads(CliRunner().invoke(app, ["schema", "experiment"]).output)
    assert set(schema["properties"]) == set(Experiment.model_fields)
