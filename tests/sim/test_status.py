"""Periods that have no result are counted, by part and status, and said in words."""

import numpy as np
import pytest

from peerwatt.market.clearing import Status
from peerwatt.sim.kpi import compute_kpis
from peerwatt.sim.lockstep import run_lockstep
from peerwatt.sim.results import Results
from peerwatt.sim.running import run
from peerwatt.sim.scenario import Scenario
from peerwatt.sim.status import PARTS, STATUS_FIGURES, status_figures, unsolved
from tests.fabricate import as_tables, tiny

STAGES = ["forecast", "p2p", "final", "delivery"]
OF_A_MARKET = [
    ("market", "market_status", "p2p"),
    ("lfm", "lfm_status", "final"),
    ("capacity", "capacity_status", "final"),
]


def period(**by_stage):
    """Table `period` of as many periods as each column has values, which stand at one stage."""
    n = len(next(iter(by_stage.values()))[1])
    rows = {"period": [k for k in range(n) for _ in STAGES], "stage": STAGES * n}
    rows["converged"] = [True] * (n * len(STAGES))
    for column, (stage, values) in by_stage.items():
        rows[column] = [
            values[k] if each == stage else (column == "converged" or None) for k in range(n) for each in STAGES
        ]
    return as_tables({"period": rows})["period"]


@pytest.mark.parametrize(("part", "column", "stage"), OF_A_MARKET)
def test_every_status_but_that_of_a_result_is_counted(part, column, stage):
    ends = ["optimal", "not_converged", "infeasible", "empty", "not_converged", None]
    found = status_figures(period(**{column: (stage, ends)}))
    assert (found[f"{part}_not_converged_periods"], found[f"{part}_infeasible_periods"]) == (2, 1)
    assert found["periods"] == 6
    assert not [name for name in found if "optimal" in name or "empty" in name]


def test_a_market_that_always_has_a_result_counts_0_and_one_that_is_not_there_counts_nothing():
    found = status_figures(period(market_status=("p2p", ["optimal", "empty"])))
    assert (found["market_not_converged_periods"], found["market_infeasible_periods"]) == (0, 0)
    assert "capacity_not_converged_periods" not in found


@pytest.mark.parametrize("stage", STAGES)
def test_power_flows_are_counted_at_their_stage_and_in_all(stage):
    found = status_figures(period(converged=(stage, [True, False, False])))
    counts = {each: found[f"not_converged_{each}"] for each in STAGES}
    assert counts == {each: 2 * (each == stage) for each in STAGES}
    assert found["not_converged"] == 2


def test_a_scheme_that_ends_with_a_limit_violated_is_counted():
    found = status_figures(period(limits_met=("p2p", [True, False, None, False])))
    assert found["limits_unmet_periods"] == 2


def test_words_add_up_over_runs():
    runs = [{"periods": 12, "market_not_converged_periods": n, "market_infeasible_periods": 1} for n in (9, 8)]
    (found,) = unsolved(runs)
    assert str(found) == "market not cleared in 19 of 24 periods"
    assert found.remark == "2 infeasible, 17 not converged; nobody trades then"


def test_what_is_a_result_as_far_as_it_goes_is_none_of_these():
    short = {"periods": 4, "lfm_infeasible_periods": 3, "capacity_infeasible_periods": 2, "limits_unmet_periods": 4}
    assert unsolved([short]) == ()
    assert [each.words for each in unsolved([{**short, "lfm_not_converged_periods": 1}])] == [
        "flexibility market not cleared"
    ]


def test_a_power_flow_without_solution_is_said_with_its_stage():
    (found,) = unsolved([{"periods": 4, "not_converged": 1, "not_converged_p2p": 1}])
    assert str(found) == "power flow failed (p2p) in 1 of 4 periods"


def test_the_list_has_every_figure_that_there_is():
    every = period(
        market_status=("p2p", ["optimal"]),
        lfm_status=("final", ["optimal"]),
        capacity_status=("final", ["optimal"]),
        limits_met=("p2p", [True]),
    )
    assert list(status_figures(every)) == list(STATUS_FIGURES)


def test_every_status_is_a_result_as_it_should_be_one_so_far_or_none():
    for part in PARTS:
        kinds = [[each.solved, each in part.partial, each in part.failures] for each in Status]
        assert np.array(kinds).sum(axis=1).tolist() == [1] * len(Status)


# --- figures of other periods ---


def test_without_any_solution_nothing_is_said_of_limits(tmp_path):
    results = Results(tiny(tmp_path))
    tables = {name: results.arrow(name) for name in ("period", "agent", "peer")}
    rows = tables["period"].to_pydict()
    delivery = [stage == "delivery" for stage in rows["stage"]]
    for name in ("converged", "n_voltage_violations", "n_congested_lines", "slack_p_mw", "losses_mw"):
        none = False if name == "converged" else None
        rows[name] = [none if there else value for there, value in zip(delivery, rows[name], strict=True)]
    kpi = compute_kpis({**tables, **as_tables({"period": rows})}, results.manifest)
    assert kpi["not_converged_delivery"] == kpi["periods"] == 4
    assert not {"voltage_violations", "congestion_violations", "losses_mwh", "import_mwh", "min_vm_pu"} & set(kpi)


# --- a run, alone and in lockstep ---

TIRED = {"time.period_s": 10800, "time.periods": 8, "market.options": {"max_iter": 3}}


@pytest.fixture(scope="module")
def tired(tmp_path_factory):
    """A day whose market is stopped after three iterations."""
    return run(Scenario.load("lv-village-bilateral", TIRED), tmp_path_factory.mktemp("tired") / "run")


def test_a_market_that_is_stopped_early_is_counted(tired):
    p2p = tired.period.query("stage == 'p2p'")
    assert tired.kpi["market_not_converged_periods"] == (p2p.market_status == "not_converged").sum() > 0
    assert tired.kpi["periods"] == 8
    assert p2p.social_welfare_eur[p2p.market_status == "not_converged"].isna().all()


def test_lockstep_counts_the_same(tired):
    (together,) = run_lockstep(Scenario.load("lv-village-bilateral", TIRED), [0])
    for name in STATUS_FIGURES:
        assert together.get(name) == tired.kpi.get(name), name


def test_capacity_keeps_how_its_last_round_ended(tmp_path):
    changes = {"time.period_s": 14400, "time.periods": 6, "grid.max_loading_percent": 8, "market.mechanism": None}
    results = run(
        Scenario.load("lv-village", {**changes, "coordination.preset": "cm5", "coordination.rounds": 3}),
        tmp_path / "run",
    )
    final = results.period.query("stage == 'final'")
    asked = final.capacity_mw.notna()
    assert asked.any()
    assert (final.capacity_status.notna() == asked).all()
    short = (final.capacity_status == "infeasible").sum()
    assert results.kpi["capacity_infeasible_periods"] == short
    assert ((final.capacity_missing_mw > 1e-6) == (final.capacity_status == "infeasible")).all()
