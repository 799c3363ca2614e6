"""The study of D5.3: its start is the report's, its schemes do what they say, its command leaves what it promises."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog
from typer.testing import CliRunner

from peerwatt.agents.policies.risk import at_risk
from peerwatt.errors import ResultsError, ScenarioError
from peerwatt.experiments.cli import app
from peerwatt.experiments.studies.d53 import feeder as feeder_module
from peerwatt.experiments.studies.d53.kpi import overflow
from peerwatt.experiments.studies.d53.model import LEVELS, Level, Model, PairBound, Scenario
from peerwatt.experiments.studies.d53.scenarios import Seed
from peerwatt.experiments.studies.d53.statements import STATEMENTS, shares
from peerwatt.experiments.studies.d53.study import StudyPlan, run_study
from peerwatt.experiments.studies.d53.table import at_level, published, read
from peerwatt.experiments.studies.d53.trading import Signals, Traded, trade
from peerwatt.market.clearing import Status

FEW = settings(max_examples=8, deadline=None)
SEEDS = st.integers(0, 2**31)
BOUNDED = Level(PairBound.PRO_RATA)


@cache
def feeder() -> feeder_module.Feeder:
    return feeder_module.load_feeder()


def seed_of(number: int, **changes: object) -> Seed:
    return Seed(feeder(), Model(**changes), number)  # type: ignore[arg-type]


def traded(seed: Seed, scenario: Scenario, level: Level) -> Traded:
    drawn = seed.drawn
    return trade(drawn.bids, drawn.peers, seed.signals(scenario, level), level.pair_bound)


def flow_after(seed: Seed, result: Traded) -> np.ndarray:
    """Flows after trading, trade by trade."""
    drawn, bus = seed.drawn, seed.drawn.bids.bus[seed.drawn.peers]
    p_mw = -drawn.load_mw
    for seller, buyer, power in zip(result.seller, result.buyer, result.p_mw, strict=True):
        p_mw[bus[seller]] += power
        p_mw[bus[buyer]] -= power
    return seed.feeder.ptdf @ p_mw


# --- the start ---


@given(SEEDS)
@settings(max_examples=50, deadline=None)
def test_every_seed_starts_as_the_report_says(number: int) -> None:
    drawn = seed_of(number).drawn
    occupancy = np.abs(drawn.flow_mw) / drawn.limit_mw
    congested = np.flatnonzero(occupancy > 1.0)
    assert [feeder().lines[line] for line in congested] == ["44", "67"]
    assert overflow(drawn.flow_mw, drawn.limit_mw).sum_mw == pytest.approx(0.04, rel=1e-9)
    assert occupancy.mean() == pytest.approx(0.65, rel=1e-9)
    assert np.count_nonzero(occupancy >= 0.8) == 17
    assert np.count_nonzero(occupancy > 0.6) / occupancy.size == pytest.approx(0.6029, abs=5e-5)
    assert occupancy.min() >= 0.2


@given(SEEDS)
@FEW
def test_the_order_book_is_that_of_the_report(number: int) -> None:
    drawn = seed_of(number).drawn
    bids = drawn.bids
    assert bids.p_mw.size == 172
    assert np.unique(bids.bus).size == 46
    assert np.unique(drawn.peers).size == 70
    price, share = bids.price_eur_per_mwh, bids.p_mw / drawn.load_mw[bids.bus]
    assert ((price[bids.upward] >= 45.0) & (price[bids.upward] <= 55.0)).all()
    assert ((price[~bids.upward] >= 5.0) & (price[~bids.upward] <= 15.0)).all()
    assert ((share >= 0.25) & (share <= 0.85)).all()
    assert all(bids.upward[bids.bus == bus].any() and (~bids.upward[bids.bus == bus]).any() for bus in bids.bus)


@given(SEEDS)
@FEW
def test_the_heavy_start_has_34_congested_lines_and_a_solution(number: int) -> None:
    outcome = seed_of(number).run(Scenario.HEAVY, LEVELS[0])
    assert outcome.n_congested == 34
    assert outcome.lfm_status is Status.OPTIMAL
    assert outcome.lfm_missing_mw == 0.0


def test_a_start_that_the_grid_cannot_have_is_refused() -> None:
    with pytest.raises(ScenarioError, match="overflow_mw"):
        seed_of(0, overflow_mw=1.0)
    with pytest.raises(ScenarioError, match="mean_occupancy"):
        seed_of(0, mean_occupancy=0.9)


def test_a_model_names_all_its_faults_at_once() -> None:
    with pytest.raises(ScenarioError) as error:
        Model(w=1.5, n_peers=300, size=(0.5, 0.1))
    assert [fault.where.removeprefix("study d53: ") for fault in error.value.faults] == ["size", "w", "n_peers"]


# --- trading ---


@given(SEEDS, st.sampled_from(PairBound))
@FEW
def test_blocked_pairs_never_trade_and_no_line_at_risk_carries_more(number: int, bound: PairBound) -> None:
    seed, level = seed_of(number), Level(bound)
    drawn, result = seed.drawn, traded(seed, Scenario.BLOCKED, level)
    risky = at_risk(np.abs(drawn.flow_mw) / drawn.limit_mw, 0.8)
    before, after = drawn.flow_mw[risky], flow_after(seed, result)[risky]
    assert result.volume_mw > 0.0
    assert not seed.signals(Scenario.BLOCKED, level).blocked[result.seller, result.buyer].any()
    assert (np.sign(before) * after <= np.abs(before) + 1e-9).all()


@given(SEEDS, st.sampled_from(list(Scenario)[3:7]))
@FEW
def test_a_bound_per_pair_holds_and_nobody_trades_beyond_its_bid(number: int, scenario: Scenario) -> None:
    seed = seed_of(number)
    bids, peers = seed.drawn.bids, seed.drawn.peers
    result = traded(seed, scenario, BOUNDED)
    demand = bids.p_mw[peers] * ~bids.upward[peers]
    bound = bids.p_mw[peers][result.seller] * demand[result.buyer] / demand.sum()
    assert (result.p_mw <= bound * (1.0 + 1e-6)).all()
    assert (result.realised_mw <= bids.p_mw[peers]).all()
    assert bids.upward[peers][result.seller].all()
    assert not bids.upward[peers][result.buyer].any()


def test_a_bound_that_binds_nobody_changes_nothing() -> None:
    """One buyer: every seller's whole offer is for it."""
    seed = seed_of(3)
    bids = seed.drawn.bids
    peers = np.sort(np.r_[np.flatnonzero(bids.upward)[:6], np.flatnonzero(~bids.upward)[:1]])
    free, bounded = (trade(bids, peers, Signals.none(7), bound) for bound in PairBound)
    np.testing.assert_allclose(free.realised_mw, bounded.realised_mw, atol=1e-6)


def test_what_the_dso_pays_for_incentives_is_what_the_pairs_get() -> None:
    seed, level = seed_of(5), LEVELS[0]
    signals, result = seed.signals(Scenario.INCENTIVES_80, level), traded(seed, Scenario.INCENTIVES_80, level)
    paid = 0.0
    for seller, buyer, power in zip(result.seller, result.buyer, result.p_mw, strict=True):
        paid -= power * (signals.seller_cost[seller, buyer] + signals.buyer_cost[seller, buyer])
    assert result.incentive_eur == pytest.approx(paid)
    assert result.incentive_eur > 0.0


def test_incentives_cost_a_party_a_share_of_its_own_price() -> None:
    seed = seed_of(7)
    price = seed.drawn.bids.price_eur_per_mwh[seed.drawn.peers]
    signals = seed.signals(Scenario.INCENTIVES_100, LEVELS[0])
    share = signals.seller_cost / price[:, None]
    np.testing.assert_allclose(signals.buyer_cost, price[None, :] * share)
    allowed = 1.0 - np.array([1.0, 1.2, 0.8, 1.44, 0.96, 0.64])  # at most two lines are at 100 %
    assert np.isclose(share[..., None], allowed).any(axis=-1).all()


# --- the flexibility market and the key figures ---


def test_key_figures_of_three_lines_are_those_worked_out_by_hand() -> None:
    found = overflow(np.array([-3.0, 1.0, 5.0]), np.array([2.0, 1.0, 4.5]))
    assert found.n_congested == 2  # the second is full, not congested
    assert found.sum_mw == pytest.approx(1.5)
    assert found.weighted_mw == pytest.approx((2.0 * 1.0 + 4.5 * 0.5) / 6.5)
    assert overflow(np.array([1.0]), np.array([2.0])).weighted_mw == 0.0


def lfm_by_linprog(seed: Seed) -> float:
    """Cost of scenario 0: the dense PTDF and scipy."""
    bids, drawn = seed.drawn.bids, seed.drawn
    sign = np.where(bids.upward, 1.0, -1.0)
    moves = seed.feeder.ptdf[:, bids.bus] * sign
    found = linprog(
        sign * bids.price_eur_per_mwh,
        A_ub=np.vstack([moves, -moves]),
        b_ub=np.concatenate([drawn.limit_mw - drawn.flow_mw, drawn.limit_mw + drawn.flow_mw]),
        A_eq=sign[None, :],
        b_eq=[0.0],
        bounds=np.column_stack([np.zeros(bids.p_mw.size), bids.p_mw]),
    )
    assert found.status == 0
    return float(found.fun)


@pytest.mark.parametrize("number", [0, 11, 2026])
def test_scenario_0_costs_what_an_independent_solver_says(number: int) -> None:
    seed = seed_of(number)
    assert seed.run(Scenario.START, LEVELS[0]).lfm_cost_eur == pytest.approx(lfm_by_linprog(seed), rel=1e-6)


@given(SEEDS, st.sampled_from(Scenario))
@FEW
def test_a_flexibility_market_either_resolves_everything_or_says_what_is_missing(
    number: int, scenario: Scenario
) -> None:
    outcome = seed_of(number).run(scenario, LEVELS[0])
    if outcome.lfm_status is Status.OPTIMAL:
        assert outcome.lfm_missing_mw == 0.0
        assert (outcome.lfm_cost_eur > 0.0) == (outcome.n_congested > 0)
    else:
        assert outcome.lfm_status is Status.INFEASIBLE
        assert outcome.lfm_missing_mw > 0.0
        assert np.isnan(outcome.lfm_cost_eur)


# --- the study ---


def test_the_study_is_the_same_however_many_processes_run_it() -> None:
    one, two = (run_study(StudyPlan(seeds=2, jobs=jobs, levels=LEVELS[:1])) for jobs in (1, 2))
    assert one.drop(columns="loading").equals(two.drop(columns="loading"))
    assert all(np.array_equal(a, b) for a, b in zip(one["loading"], two["loading"], strict=True))


def test_a_seed_is_the_same_in_every_study() -> None:
    first = run_study(StudyPlan(seeds=1, first_seed=1, jobs=1, levels=(BOUNDED,)))
    both = run_study(StudyPlan(seeds=2, jobs=1))
    there = at_level(both[both["seed"] == 1], BOUNDED.pair_bound, BOUNDED.reading)
    columns = ["overflow_sum_mw", "p2p_volume_mw", "lfm_missing_mw"]
    assert np.array_equal(first[columns], there[columns], equal_nan=True)


def test_seeds_that_are_there_are_not_run_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = run_study(StudyPlan(seeds=1, jobs=1, levels=LEVELS[:1]), tmp_path)
    ran = []
    from peerwatt.experiments.studies.d53 import study

    def counted(*arguments: object) -> object:
        ran.append(arguments[2])
        return run_seed(*arguments)

    run_seed = study.run_seed
    monkeypatch.setattr(study, "run_seed", counted)
    after = run_study(StudyPlan(seeds=2, jobs=1, levels=LEVELS[:1]), tmp_path)
    assert ran == [1]
    assert after[after["seed"] == 0]["overflow_sum_mw"].to_list() == before["overflow_sum_mw"].to_list()


def test_an_interrupted_study_keeps_the_seeds_that_are_done(tmp_path: Path) -> None:
    def stop(done: int, of: int) -> None:
        if done == 1:
            raise KeyboardInterrupt

    plan = StudyPlan(seeds=3, jobs=1, levels=LEVELS[:1])
    with pytest.raises(KeyboardInterrupt):
        run_study(plan, tmp_path, stop)
    assert len(list((tmp_path / "parts").iterdir())) == 1
    counts: list[int] = []
    assert run_study(plan, tmp_path, lambda done, _: counts.append(done))["seed"].nunique() == 3
    assert counts == [1, 2, 3]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["manifest.json", "runs.parquet"]


def test_a_directory_with_something_else_is_refused(tmp_path: Path) -> None:
    run_study(StudyPlan(seeds=1, jobs=1, levels=LEVELS[:1]), tmp_path / "study")
    with pytest.raises(ResultsError, match="another study"):
        run_study(StudyPlan(seeds=1, jobs=1, levels=LEVELS[:1], model=Model(w=0.5)), tmp_path / "study")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.txt").write_text("mine")
    with pytest.raises(ResultsError, match="holds no study"):
        run_study(StudyPlan(seeds=1, jobs=1), tmp_path / "other")


def test_statements_are_counted_over_all_seeds_infeasible_ones_included() -> None:
    frame = run_study(StudyPlan(seeds=2, jobs=1, levels=LEVELS[:1]))
    frame.loc[(frame["scenario"] == "1") & (frame["seed"] == 0), "lfm_status"] = "infeasible"
    frame.loc[(frame["scenario"] == "1") & (frame["seed"] == 0), "lfm_cost_eur"] = np.nan
    found = shares(frame, LEVELS[0])
    assert {share.of for share in found.values()} == {2}
    assert set(found) == {statement.name for statement in STATEMENTS}
    assert found["dearer LFM"].holds >= 1


def test_the_report_s_table_is_shipped_whole() -> None:
    table = published()
    assert list(table) == [str(scenario) for scenario in Scenario]
    assert table["1"]["lfm_cost_eur"] == "25.78"
    assert table["1'"]["lfm_cost_eur"] == "infeasible"


@pytest.mark.slow
def test_the_command_prints_table_8_and_leaves_rows_and_a_page(tmp_path: Path) -> None:
    out, docs = tmp_path / "out", tmp_path / "docs"
    arguments = ["study", "d53", "--seeds", "3", "--jobs", "1", "--out", str(out), "--docs", str(docs)]
    result = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert result.exit_code == 0
    for text in ("1.336", "25.78", "infeasible", "3 (100 %)", "unchecked P2P trading raises"):
        assert text in result.output
    rows = read(out / "runs.parquet")
    assert len(rows) == 3 * len(LEVELS) * len(Scenario)
    page = (docs / "d53.md").read_text(encoding="utf-8")
    pictures = sorted(path.name for path in docs.glob("*.svg"))
    assert len(pictures) == 7
    assert all(f"({name})" in page for name in pictures)
    assert "{" not in page


@pytest.mark.parametrize("option", ["--seeds", "--jobs", "--variations"])
def test_a_number_that_means_nothing_is_refused(option: str) -> None:
    value = "0" if option == "--seeds" else "-1"
    result = CliRunner().invoke(app, ["study", "d53", option, value])
    assert result.exit_code == 2
    assert option in result.output


def test_a_plan_that_means_nothing_is_refused() -> None:
    with pytest.raises(ScenarioError, match="seeds: is 0"):
        StudyPlan(seeds=0)
