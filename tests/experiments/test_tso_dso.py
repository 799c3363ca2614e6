"""The study of Marques et al.: what section V says of its scenarios holds of ours; its command leaves its tables."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from peerwatt.experiments.cli import app
from peerwatt.experiments.studies.tso_dso import study as study_module
from peerwatt.experiments.studies.tso_dso.figures import FIGURES
from peerwatt.experiments.studies.tso_dso.page import write_page
from peerwatt.experiments.studies.tso_dso.runs import BASE, RUNS, Run, requests
from peerwatt.experiments.studies.tso_dso.study import Study, run_hours, run_study
from peerwatt.experiments.studies.tso_dso.summary import hours
from peerwatt.experiments.studies.tso_dso.tables import ALPHAS, QUANTITIES, TABLES, published, tables
from peerwatt.grid.verify import recompute
from peerwatt.sim.model import Simulation
from peerwatt.sim.running import run as run_scenario
from peerwatt.sim.scenario import Scenario

PRESETS = ("p2p_cong", "p2p_volt", "p2p_freq", "p2p_full")
SEARCHED = ("1", "2", "3", "3 reactive", "5")
NIGHT = [*range(1, 7), *range(19, 25)]  # hours without PV worth the name


@pytest.fixture(scope="module")
def study() -> Study:
    return run_study()


@pytest.fixture(scope="module")
def part() -> Study:
    """The quickest runs."""
    return run_study(runs=[run for run in RUNS if run.name in ("benchmark", "1 before", "1", "4", "4 flexible")])


SUMS_OF_TABLE_I = ("grid_mwh", "chp_mwh", "wind_mwh", "pv_mwh", "consumption_mwh", "welfare_eur")

BOUND_IS_WORTH = 2.82  # EUR/MWh, see the test of social welfare


def violated(rows: pd.DataFrame) -> list[int]:
    found: list[int] = rows[(rows["n_congested"] > 0) | (rows["n_voltage"] > 0)]["hour"].tolist()
    return found


def delivered(changes: dict[str, object], periods: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Power of all peers, and voltages, of some hours of the benchmark day; the virtual load left out."""
    with Simulation(Scenario.load(BASE, {"time.periods": periods, **changes})) as simulation:
        own = simulation.context.population.virtual == 0.0
        while simulation.running:
            simulation.step()
            assert simulation.last is not None
            yield simulation.last.p_delivered_mw[own], simulation.last.states["delivery"].vm_pu


# --- the benchmark ---


def test_the_benchmark_is_the_paper_s(part: Study) -> None:
    paper, day = published("benchmark"), part.day("benchmark")
    assert set(paper) == {*SUMS_OF_TABLE_I, "losses_percent"}
    for name in SUMS_OF_TABLE_I:
        assert day[name] == pytest.approx(paper[name], rel=0.005), name


def test_energies_balance_without_losses(part: Study) -> None:
    rows = part.hours
    made = rows["grid_mwh"] + rows["chp_mwh"] + rows["wind_mwh"] + rows["pv_mwh"]
    np.testing.assert_allclose(made, rows["consumption_mwh"], atol=1e-9)
    spill = rows[rows["run"] == "benchmark"]["spill_mwh"]
    assert spill.sum() == pytest.approx(29.59, rel=0.005)
    assert [each["from_period"] + 1 for each in requests(spill.tolist())] == list(range(9, 17))


@pytest.mark.parametrize("preset", PRESETS)
def test_where_nothing_is_violated_every_model_returns_the_benchmark(preset: str) -> None:
    benchmark, model = list(delivered({}, 2)), list(delivered({"coordination.preset": preset}, 2))
    for before, after in zip(benchmark, model, strict=True):
        np.testing.assert_array_equal(before[0], after[0])
        np.testing.assert_array_equal(before[1], after[1])


# --- the scenarios ---


@pytest.mark.slow
@pytest.mark.parametrize("run", SEARCHED)
def test_every_hour_ends_with_its_limits_held_or_says_that_it_does_not(study: Study, run: str) -> None:
    rows = study.of(run)
    assert rows["limits_met"].notna().all()
    for column, limit in (("n_congested", run not in ("3", "3 reactive")), ("n_voltage", run not in ("1", "2"))):
        if limit:
            assert not (rows["limits_met"].astype(bool) & (rows[column] > 0)).any(), column
    assert rows["limits_met"].all()


def test_a_small_transformer_is_congested_in_the_evening_and_only_flexibility_helps(part: Study) -> None:
    assert violated(part.of("1 before")) == [20, 21]
    solved = part.of("1")
    assert solved[solved["load_flexibility_percent"] > 0.0]["hour"].tolist() == [20, 21]
    assert (solved["penalty_eur_per_mwh"] == 0.0).all()
    assert (solved["trafo_loading_percent"] <= 100.0 + 1e-9).all()


@pytest.mark.slow
def test_thin_lines_are_congested_without_pv_and_cost_the_most_welfare(study: Study) -> None:
    before = violated(study.of("2 before"))
    assert set(NIGHT) <= set(before)
    assert not set(range(10, 16)) & set(before)  # hours of much PV
    solved = study.of("2")
    assert (solved["penalty_eur_per_mwh"] > 0.0).any()  # differentiation is effective
    assert (solved["load_flexibility_percent"] > 0.0).any()  # in some hours with flexibility
    day, benchmark = study.day("2"), study.day("benchmark")
    assert day["wind_mwh"] < benchmark["wind_mwh"] - 5.0
    assert day["losses hourly"] < 0.8 * benchmark["losses hourly"]
    assert day["welfare_eur"] == min(study.day(run)["welfare_eur"] for run in ("1", "2", "3", "3 reactive", "4"))


@pytest.mark.slow
def test_long_lines_sag_in_the_evening_and_reactive_power_spares_flexibility(study: Study) -> None:
    before = study.of("3 before")
    assert violated(before) == list(range(19, 25))
    assert (before["max_vm_pu"] <= 1.05).all()
    plain, reactive = study.of("3"), study.of("3 reactive")
    assert plain[plain["load_flexibility_percent"] > 0.0]["hour"].tolist() == list(range(19, 25))
    assert plain.loc[plain["load_flexibility_percent"].idxmax(), "hour"] in (20, 21)
    less = reactive["load_flexibility_percent"].to_numpy() <= plain["load_flexibility_percent"].to_numpy()
    assert less.all()
    assert study.day("3 reactive")["extra_mwh"] < 0.5 * study.day("3")["extra_mwh"]
    assert set(reactive[reactive["n_reactive"] > 0]["hour"]) == set(range(19, 25))


def test_regulation_up_runs_wind_and_sun_at_their_forecast(part: Study) -> None:
    day, benchmark = part.day("4"), part.day("benchmark")
    assert part.of("4")["spill_mwh"].abs().max() < 1e-6
    assert day["virtual_mwh"] == pytest.approx(sum(part.spill_mw), rel=1e-4)
    assert day["losses_mwh"] > benchmark["losses_mwh"]
    assert day["welfare_eur"] < benchmark["welfare_eur"]
    assert violated(part.of("4")) == []


def test_regulation_is_provided_by_who_need_not_run_with_the_same_dispatch(part: Study) -> None:
    must, may = part.of("4"), part.of("4 flexible")
    for column in ("wind_mwh", "pv_mwh", "chp_mwh", "consumption_mwh", "virtual_mwh", "welfare_eur"):
        np.testing.assert_allclose(must[column], may[column], atol=1e-3, err_msg=column)
    assert must["provided_mwh"].sum() == pytest.approx(0.0, abs=1e-6)  # it would have been fed in anyway
    losses = part.of("4 flexible")["losses_mwh"].sum() - part.of("benchmark")["losses_mwh"].sum()
    assert may["provided_mwh"].sum() == pytest.approx(may["requested_mwh"].sum() - losses, rel=1e-5)


@pytest.mark.slow
def test_when_everything_is_short_the_tso_is_refused(study: Study) -> None:
    before, after = study.hour("5 before"), study.hour("5")
    assert before["line_loading_percent"] == pytest.approx(133.97, rel=0.01)
    assert before["worst_line"] == after["worst_line"] == "13"
    assert before["worst_bus"] == 14
    assert before["max_vm_pu"] > 1.05
    assert after["limits_met"]
    assert after["refused"]
    assert after["accepted_mwh"] < 0.1 * after["requested_mwh"]
    assert after["res_flexibility_percent"] == pytest.approx(20.0)
    assert after["consumption_mwh"] - after["virtual_mwh"] == pytest.approx(22.13, rel=0.005)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "hour"), [("1", 20), ("2", 3), ("3", 21), ("3 reactive", 21)])
def test_plain_pandapower_finds_the_limits_held(tmp_path: Path, name: str, hour: int) -> None:
    chosen = next(run for run in RUNS if run.name == name)
    scenario = Scenario.load(BASE, chosen.scenario_changes([]) | {"time.periods": hour, "record": ["bus"]})
    results = run_scenario(scenario, tmp_path / "run")
    bus = results.bus[(results.bus["period"] == hour - 1) & (results.bus["stage"] == "delivery")]
    text = (results.path / "network.json").read_text(encoding="utf-8")
    net = recompute(text, bus["p_mw"].to_numpy(), bus["q_mvar"].to_numpy(), bus["bus"].to_numpy())
    if name in ("1", "2"):
        assert net.res_trafo["loading_percent"].max() <= 100.0 + 1e-3
        assert net.res_line["loading_percent"].max() <= 100.0 + 1e-3
    else:
        assert net.res_bus["vm_pu"].between(0.95 - 1e-6, 1.05 + 1e-6).all()


@pytest.mark.slow
def test_measures_never_raise_social_welfare_above_that_of_the_benchmark(study: Study) -> None:
    """But by what a bound of the loads is worth at most: at 70 % a MWh is worth less than the supplier's price."""
    scenario = Scenario.load(BASE)
    load = scenario.population.costs["load"]
    worth = scenario.tariff.supply_eur_per_mwh - (load.b_eur_per_mwh - load.sigma_eur_per_mwh * load.low)
    assert 0.0 < worth < BOUND_IS_WORTH < min(ALPHAS)
    benchmark = study.of("benchmark")["welfare_eur"].to_numpy()
    for run in ("1", "2", "3", "3 reactive", "4"):
        rows = study.of(run)
        most = (
            benchmark + BOUND_IS_WORTH * rows["extra_mwh"].to_numpy() + 1e-3
        )  # benchmark is an optimum, welfare concave
        assert (rows["welfare_eur"].to_numpy() <= most).all(), run
        assert study.day(run)["welfare_eur"] < study.day("benchmark")["welfare_eur"]


@pytest.mark.slow
@given(
    st.floats(0.3, 1.2),
    st.floats(0.5, 5.0),
    st.sampled_from(["p2p_cong", "p2p_volt", "p2p_full"]),
    st.sampled_from(["all", "effective"]),
)
@settings(max_examples=8, deadline=None)
def test_on_any_strength_of_the_lines_measures_cost_welfare_and_solve_or_say_so(
    capacity: float, impedance: float, preset: str, reach: str
) -> None:
    lines = {"grid.line_capacity_factor": capacity, "grid.line_impedance_factor": impedance}
    options = {"coordination.scheme_options": {"flexibility_of": "loads", "reach": reach}}
    few = {"time.periods": 3}
    run = Run("any", "", {**lines, "coordination.preset": preset, **options, **few})
    rows, benchmark = (
        run_hours(each, []).set_index("hour") for each in (run, Run("benchmark", "without the grid", few))
    )
    columns = {"p2p_cong": ["n_congested"], "p2p_volt": ["n_voltage"], "p2p_full": ["n_congested", "n_voltage"]}
    assert not (rows["limits_met"].astype(bool) & (rows[columns[preset]] > 0).any(axis=1)).any()
    assert (rows["welfare_eur"] <= benchmark["welfare_eur"] + BOUND_IS_WORTH * rows["extra_mwh"] + 1e-3).all()


@pytest.mark.slow
def test_what_the_grid_does_not_need_is_the_benchmark_s(study: Study) -> None:
    """Hours without measures are those of the benchmark, to the last bit that a solver gives."""
    benchmark = study.of("benchmark").set_index("hour")
    for run in ("1", "2", "3", "3 reactive"):
        rows = study.of(run).set_index("hour")
        calm = rows[rows["rounds"] == 1].index
        for column in ("grid_mwh", "wind_mwh", "pv_mwh", "consumption_mwh"):
            np.testing.assert_allclose(rows.loc[calm, column], benchmark.loc[calm, column], atol=1e-9)


# --- tables, page, command ---


def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs of the scenarios stand for themselves with numbers that nobody has simulated."""
    monkeypatch.setattr(study_module, "run_hours", fabricated)


def fabricated(run: object, spill_mw: object) -> pd.DataFrame:
    name = str(getattr(run, "name", ""))
    rows = [
        {
            "run": name,
            "hour": hour,
            **{f"{kind}_mwh": 1.0 for kind in ("grid", "chp", "wind", "pv", "virtual", "spill")},
            "consumption_mwh": 4.0,
            "welfare_eur": 100.0,
            "extra_mwh": 0.5,
            "losses_mwh": 0.04,
            "line_losses_mwh": 0.03,
            **dict.fromkeys(("trafo_loading_percent", "line_loading_percent"), 50.0),
            "worst_line": "13",
            "worst_bus": 14,
            **dict.fromkeys(("min_vm_pu", "max_vm_pu", "worst_vm_pu"), 1.0),
            **dict.fromkeys(("n_congested", "n_voltage", "n_reactive"), 0),
            "rounds": 2 if hour == 3 else 1,
            "limits_met": hour != 3 if name in SEARCHED else None,
            **dict.fromkeys(("penalty_eur_per_mwh", "res_flexibility_percent", "load_flexibility_percent"), 0.0),
            **dict.fromkeys(("requested_mwh", "accepted_mwh", "provided_mwh"), 0.0),
            "refused": False,
        }
        for hour in range(1, 25)
    ]
    return pd.DataFrame(rows)


def test_the_command_leaves_tables_figures_and_a_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    few(monkeypatch)
    out, docs = tmp_path / "out", tmp_path / "docs"
    arguments = ["study", "tso-dso", "--out", str(out), "--docs", str(docs)]
    result = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert result.exit_code == 0
    for text in ("Table V", "356.82", "by construction", "unsolved in hours 3"):
        assert text in result.output
    rows = json.loads((out / "tables.json").read_text(encoding="utf-8"))
    assert {row["table"] for row in rows} == set(TABLES)
    assert {row["quantity"] for row in rows} == set(QUANTITIES)
    frame = pd.read_csv(out / "tables.csv")
    assert len(frame) == len(rows)
    chosen = frame[(frame["run"] == "2") & (frame["quantity"] == "wind_mwh")].iloc[0]
    assert (chosen["paper"], chosen["here"]) == (102.05, 24.0)
    assert chosen["difference_percent"] == pytest.approx(100.0 * (24.0 / 102.05 - 1.0))
    assert len(pd.read_csv(out / "hours.csv")) == 24 * len(RUNS)
    page = (docs / "tso-dso.md").read_text(encoding="utf-8")
    pictures = sorted(path.name for path in docs.glob("*.svg"))
    assert len(pictures) == 4
    assert all(f"({name})" in page for name in pictures)
    assert "{" not in page
    assert "Not run" in page


def test_extra_flexibility_costs_alpha_in_the_tables_and_nowhere_else(monkeypatch: pytest.MonkeyPatch) -> None:
    few(monkeypatch)
    table = tables(run_study())[0]
    here = {row.quantity: row.here for row in table.rows if row.run == "1"}
    assert here["welfare_eur"] == 2400.0
    assert here["welfare_69_eur"] == 2400.0 - 69.0 * 12.0
    assert here["welfare_104_eur"] == 2400.0 - 104.0 * 12.0


def test_variations_stand_in_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    few(monkeypatch)
    from peerwatt.experiments.studies.tso_dso import sensitivity

    monkeypatch.setattr(sensitivity, "run_hours", fabricated)
    for name in FIGURES:
        (tmp_path / name).write_text("<svg/>")
    found = run_study()
    varied = sensitivity.run_variations(found)
    assert len(varied) == len(sensitivity.VARIATIONS)
    page = write_page(found, tables(found), varied, tmp_path, tmp_path / "docs").read_text(encoding="utf-8")
    assert all(f"| {each.text} |" in page for each in sensitivity.VARIATIONS)


def test_a_results_directory_that_cannot_be_made_is_refused_before_anything_runs(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("mine")
    result = CliRunner().invoke(app, ["study", "tso-dso", "--out", str(tmp_path / "taken")])
    assert result.exit_code != 0
    assert "cannot be made" in str(result.output) + str(result.exception)


def test_hours_are_said_in_spans() -> None:
    assert hours([1, 2, 3, 9, 16, 17]) == "1 to 3, 9, 16 to 17"
    assert hours([]) == "none"


def test_every_scenario_of_the_study_is_valid() -> None:
    for run in RUNS:
        Scenario.load(BASE, run.scenario_changes([1.0] * 24))
