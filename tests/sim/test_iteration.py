"""The DSO's iteration with the market, and the TSO's virtual load: what must hold under every model."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from peerwatt.agents.iteration import Iteration
from peerwatt.agents.policies import Course, Measures, SignalKind
from peerwatt.errors import ScenarioError
from peerwatt.market.settlement import REASONS, Reason
from peerwatt.sim.model import Simulation
from peerwatt.sim.period import PeriodResult
from peerwatt.sim.scenario import Scenario
from tests.scenarios import small_case, small_scenario

PERIODS = 6
COSTS = {
    "load": {"sigma_eur_per_mwh": 90.0, "b_eur_per_mwh": 120.0, "low": 0.7, "high": 1.3},
    "pv": {"b_eur_per_mwh": 3.0, "a_eur_per_mw2h": 1.0},
}
WILLING = {"load": {"sigma_eur_per_mwh": 40.0, "b_eur_per_mwh": 50.0, "high": 1.3}}
"""Loads that find the supplier too dear: they consume what they buy from other peers."""
MUST_RUN = {"pv": {"b_eur_per_mwh": 3.0, "low": 1.0}}
MODELS = ("p2p_cong", "p2p_volt", "p2p_freq", "p2p_full")
REQUEST = {"requests": [{"from_period": 2, "to_period": 3, "p_mw": 0.006, "price_eur_per_mwh": 50.0}]}


def scenario(preset: str | None, **changes: Any) -> Scenario:
    usual: dict[str, Any] = {
        "market__mechanism": "bilateral",
        "population__peer_of": "unit",
        "population__costs": COSTS,
        "population__demand_response": {},
        "tariff": {"supply_eur_per_mwh": 60.0, "feed_in_eur_per_mwh": 0.0},
        "forecast": {"load_error": 0.0, "generation_error": 0.0},
        "coordination__preset": preset,
    }
    return small_scenario(PERIODS, **(usual | changes))


def results(preset: str | None, **changes: Any) -> tuple[Simulation, list[PeriodResult]]:
    found: list[PeriodResult] = []
    simulation = Simulation(scenario(preset, **changes), case=small_case(PERIODS))
    with simulation:
        simulation.run(lambda model: found.append(model.last))  # type: ignore[arg-type]
    return simulation, found


def dispatch(found: list[PeriodResult]) -> np.ndarray:
    return np.array([result.p_p2p_mw for result in found])


@pytest.fixture(scope="module")
def benchmark() -> list[PeriodResult]:
    return results(None)[1]


@pytest.mark.parametrize("preset", MODELS)
def test_without_violations_all_models_are_the_benchmark(preset: str, benchmark: list[PeriodResult]) -> None:
    _, found = results(preset)
    np.testing.assert_array_equal(dispatch(found), dispatch(benchmark))
    assert [len(result.rounds) for result in found] == [1] * PERIODS
    assert {result.limits_met for result in found} == {None if preset == "p2p_freq" else True}


STRESSED: dict[str, dict[str, Any]] = {
    "p2p_cong": {"grid__max_loading_percent": 7.0},
    "p2p_volt": {"grid__min_vm_pu": 0.9945, "grid__max_vm_pu": 1.005},
    "p2p_full": {"grid__max_loading_percent": 3.0, "population__costs": WILLING | MUST_RUN, "tso": REQUEST},
}


@pytest.mark.parametrize("search", ["least", "growth"])
@pytest.mark.parametrize("preset", STRESSED)
def test_limits_hold_at_the_end_or_the_record_says_that_they_do_not(preset: str, search: str) -> None:
    options = {"search": search, "iterations": 3, "growth": 6.0}
    simulation, found = results(preset, **STRESSED[preset], coordination__scheme_options=options)
    network, cares = simulation.case.network, simulation.context.design.addresses
    iterated = [result for result in found if len(result.rounds) > 1]
    assert iterated
    for result in found:
        left = result.states["p2p"].violations(network)
        held = not (left.n_congested and "congestion" in cares) and not (left.n_voltage and "voltage" in cares)
        assert result.limits_met is held
        last = result.rounds[-1]
        assert (last.n_congested, last.n_voltage) == (left.n_congested, left.n_voltage)
        assert all(each.measures is not None and each.extremes is not None for each in result.rounds)
    # With a coarse growth over three levels of penalties rounds may run out.
    assert any(result.limits_met for result in iterated) or (preset, search) == ("p2p_full", "growth")


@pytest.mark.parametrize("preset", STRESSED)
def test_both_fidelities_go_the_same_way(preset: str) -> None:
    _, by_message = results(preset, **STRESSED[preset])
    _, by_round = results(preset, **STRESSED[preset], communication__fidelity="round")
    np.testing.assert_array_equal(dispatch(by_message), dispatch(by_round))
    for one, other in zip(by_message, by_round, strict=True):
        assert [each.measures.rank for each in one.rounds] == [each.measures.rank for each in other.rounds]  # type: ignore[union-attr]
        np.testing.assert_allclose(one.payment_eur, other.payment_eur, atol=1e-12)


def welfare(simulation: Simulation, results_: list[PeriodResult], benchmark: list[PeriodResult]) -> Iterator[float]:
    """Utility of loads less cost of generation, of the supplier and, at alpha, of moved loads (eq. (9a))."""
    costs, tariff = simulation.context.population.costs, simulation.settings.tariff
    assert costs is not None
    for result, plain in zip(results_, benchmark, strict=True):
        outlook = simulation.context.population.outlook(simulation._profiles[plain.period])
        drawn = -float(result.p_p2p_mw.sum())
        price = tariff.supply_eur_per_mwh if drawn > 0.0 else tariff.feed_in_eur_per_mwh
        alpha = result.entries.amount_eur[result.entries.reason == REASONS.index(Reason.FLEXIBILITY)].sum()
        cost = float(costs.cost_eur(result.p_p2p_mw, outlook, result.period_h).sum())
        yield -cost - price * drawn * result.period_h - float(alpha)


@pytest.mark.parametrize(("limit", "costs"), [(7.0, COSTS), (2.0, COSTS | WILLING)])
def test_measures_never_raise_welfare_above_the_benchmark(limit: float, costs: dict[str, Any]) -> None:
    simulation, found = results("p2p_cong", grid__max_loading_percent=limit, population__costs=costs)
    plain, benchmark = results(None, population__costs=costs)
    best, ours = list(welfare(plain, benchmark, benchmark)), list(welfare(simulation, found, benchmark))
    assert sum(len(result.rounds) > 1 for result in found) >= 2
    assert all(mine <= theirs + 1e-9 for mine, theirs in zip(ours, best, strict=True))
    assert sum(ours) < sum(best) - 1e-6


def test_no_load_is_moved_where_penalties_are_enough() -> None:
    _, found = results("p2p_cong", grid__max_loading_percent=2.0, population__costs=COSTS | WILLING)
    penalised = 0
    for result in found:
        tried = [each.measures for each in result.rounds if each.measures is not None]
        enough = any(
            record.n_congested == 0 and each.flexibility == 0.0 and each.penalty_eur_per_mwh > 0.0
            for record, each in zip(result.rounds, tried, strict=True)
        )
        penalised += enough
        assert not enough or tried[-1].flexibility == 0.0
        if tried[-1].flexibility > 0.0:  # one step less would not do
            less = [each for each, record in zip(tried, result.rounds, strict=True) if not record.n_congested]
            assert min(each.flexibility for each in less) == tried[-1].flexibility
    assert penalised


def test_moved_loads_are_paid_alpha_and_the_books_balance() -> None:
    simulation, found = results(
        "p2p_cong", grid__max_loading_percent=3.0, coordination__scheme_options={"search": "least"}
    )
    n = len(simulation.context.population)
    alpha = simulation.context.design.policy().alpha_eur_per_mwh  # type: ignore[union-attr]
    for result in found:
        entries, share = result.entries, result.rounds[-1].measures.flexibility  # type: ignore[union-attr]
        load = simulation.context.population.outlook(simulation._profiles[result.period]).load_mw.sum()
        paid = entries.amount_eur[entries.reason == REASONS.index(Reason.FLEXIBILITY)].sum()
        assert paid == pytest.approx(alpha * share * -load * result.period_h, abs=1e-12)
        balance = np.bincount(entries.payee, entries.amount_eur, n + 3) - np.bincount(
            entries.payer, entries.amount_eur, n + 3
        )
        assert balance.sum() == pytest.approx(0.0, abs=1e-12)
    assert any(result.rounds[-1].measures.flexibility > 0.0 for result in found)  # type: ignore[union-attr]


class Scripted:
    """A policy that tries penalties one after the other and never is content."""

    kind = SignalKind.WEIGHT
    alpha_eur_per_mwh = 0.0

    def __init__(self, *penalties: float, solved: bool = False) -> None:
        self.penalties, self.solved = penalties, solved

    def course(self, n_peers: int) -> Course:
        for each in self.penalties:
            yield Measures(each)
        return self.solved


def tried(
    simulation: Simulation, policy: Scripted, severities: dict[float, float], rounds: int
) -> tuple[list[float], Any]:
    """What an iteration tries when each penalty leads to a given severity, and what it says at the end."""
    iteration = Iteration(simulation.context, policy, "dso")
    iteration.begin()
    penalties = []
    for left in range(rounds - 1, -1, -1):
        penalty = iteration.measures.penalty_eur_per_mwh
        penalties.append(penalty)
        if not iteration.check(_Outcome(severities[penalty]), left):  # type: ignore[arg-type]
            break
    return penalties, iteration.solved


class _Outcome:
    """Stands for a check of which only the severity counts."""

    def __init__(self, severity: float) -> None:
        self.severity, self.ok, self.voltage = severity, severity == 0.0, False
        self.change_mw = np.zeros(0)

    def congested(self) -> np.ndarray:
        return np.zeros(0, dtype=np.int64)


SEVERITY = {1.0: 0.5, 2.0: 0.1, 3.0: 0.3, 4.0: 0.0}


@pytest.mark.parametrize(
    ("policy", "rounds", "expected", "solved"),
    [
        (Scripted(1.0, 2.0, 3.0), 9, [1.0, 2.0, 3.0, 2.0], False),  # gives up: back to the best
        (Scripted(1.0, 2.0), 9, [1.0, 2.0], False),  # the last was the best
        (Scripted(1.0, 2.0, 3.0, 4.0), 4, [1.0, 2.0, 3.0, 2.0], False),  # the last round is for the best
        (Scripted(3.0, 4.0, solved=True), 9, [3.0, 4.0], True),
        (Scripted(4.0, 2.0, 3.0), 3, [4.0, 2.0, 4.0], True),  # what solved it counts, though the policy went on
        (Scripted(1.0), 1, [1.0], False),
    ],
)
def test_an_iteration_ends_with_the_best_that_was_tried(
    policy: Scripted, rounds: int, expected: list[float], *, solved: bool
) -> None:
    with Simulation(scenario("p2p_cong"), case=small_case(PERIODS)) as simulation:
        assert tried(simulation, policy, SEVERITY, rounds) == (expected, solved)


def test_rounds_that_leave_no_time_for_messages_are_refused() -> None:
    with pytest.raises(ScenarioError, match="messages take up to"):
        scenario("p2p_cong", coordination__rounds=200)


@pytest.mark.parametrize(
    "option",
    [{"flexibility_step": 0.0}, {"search": "luck"}, {"iterations": 0}, {"c_eur_per_mwh": -1.0}, {"growth": 1.0}],
)
def test_options_without_meaning_are_refused(option: dict[str, Any]) -> None:
    with pytest.raises(ScenarioError, match=next(iter(option))):
        scenario("p2p_cong", coordination__scheme_options=option)


# --- the TSO ---


@pytest.mark.parametrize("p_mw", [0.006, -0.006])
def test_the_virtual_load_gets_what_was_asked_for_and_changes_nothing_else(
    p_mw: float, benchmark: list[PeriodResult]
) -> None:
    request = {
        "requests": [{"from_period": 2, "to_period": 3, "p_mw": p_mw, "price_eur_per_mwh": 50.0 if p_mw > 0 else 1.0}]
    }
    simulation, found = results("p2p_freq", tso=request)
    virtual = simulation.context.population.virtual > 0.0
    for result, plain in zip(found, benchmark, strict=True):
        own = result.p_p2p_mw[~virtual]
        asked = result.period in (2, 3)
        assert result.regulation is not None
        assert result.regulation.requested_mw == (p_mw if asked else 0.0)
        accepted = -float(result.p_p2p_mw[virtual][0])
        assert result.regulation.accepted_mw == pytest.approx(accepted, abs=1e-9)
        assert 0.0 <= accepted * np.sign(p_mw) <= abs(p_mw) + 1e-9
        np.testing.assert_array_equal(result.p_forecast_mw[~virtual], plain.p_forecast_mw)
        if not asked:
            np.testing.assert_array_equal(own, plain.p_p2p_mw)
    assert any(abs(result.regulation.accepted_mw) > 1e-4 for result in found)  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("request_", "where"),
    [
        ({"from_period": 2, "to_period": 3, "p_mw": 50.0}, "tso.requests.0.p_mw"),
        ({"from_period": 20, "to_period": 23, "p_mw": 0.001}, "tso.requests"),
    ],
)
def test_requests_that_no_market_can_meet_are_refused(request_: dict[str, float], where: str) -> None:
    with pytest.raises(ScenarioError) as error:
        results("p2p_freq", tso={"requests": [request_]})
    assert [fault.where for fault in error.value.faults] == [where]


def exchange_mw(result: PeriodResult) -> float:
    """What the grid is scheduled to draw, a virtual load apart."""
    virtual = 0.0 if result.regulation is None else float(result.p_p2p_mw[-1])
    return result.states["p2p"].slack_p_mw + virtual


@pytest.mark.parametrize(
    ("preset", "changes"),
    [
        ("p2p_freq", {}),
        ("p2p_freq", {"forecast": {"load_error": 0.1, "generation_error": 0.1}}),
        ("p2p_freq", {"population__costs": COSTS | MUST_RUN}),
        ("p2p_freq", {"population__costs": COSTS | MUST_RUN | {"load": {"b_eur_per_mwh": 120.0, "low": 1.0}}}),
        pytest.param("p2p_freq", {"market__mechanism": "admm"}, marks=pytest.mark.slow),
        ("cm1", {"market__mechanism": "double_auction", "population__costs": {}, "population__peer_of": "bus"}),
    ],
    ids=["", "errors", "must run", "all must run", "negotiated", "auction"],
)
@pytest.mark.parametrize("p_mw", [0.006, -0.006])
def test_what_is_provided_is_how_the_exchange_differs_from_a_run_without_the_request(
    p_mw: float, preset: str, changes: dict[str, Any]
) -> None:
    price = 100.0 if p_mw > 0.0 else 1.0
    request = {"requests": [{"from_period": 2, "to_period": 3, "p_mw": p_mw, "price_eur_per_mwh": price}]}
    later = {"requests": [request["requests"][0] | {"from_period": 5, "to_period": 5}]}
    _, without = results(preset, **changes, tso=later)  # the same peers, whose virtual load asks for nothing yet
    _, found = results(preset, **changes, tso=request)
    for plain, result in list(zip(without, found, strict=True))[:3]:  # until batteries are elsewhere
        assert result.regulation is not None
        more = exchange_mw(plain) - exchange_mw(result)
        assert result.regulation.provided_mw == pytest.approx(more, abs=1e-5 if "admm" in changes.values() else 1e-9)
        assert result.regulation.provided_mw == 0.0 or result.period == 2
    assert abs(found[2].regulation.accepted_mw) > 1e-4  # type: ignore[union-attr]


def test_regulation_up_is_what_peers_feed_in_more(benchmark: list[PeriodResult]) -> None:
    _, found = results("p2p_freq", tso=REQUEST)
    for number in (2, 3):
        regulation, plain = found[number].regulation, benchmark[number]
        assert regulation is not None
        more = found[number].p_p2p_mw[:-1].sum() - plain.p_p2p_mw.sum()
        losses = found[number].states["p2p"].losses_mw - plain.states["p2p"].losses_mw
        assert more == pytest.approx(regulation.accepted_mw, abs=1e-6)
        assert regulation.provided_mw == pytest.approx(regulation.accepted_mw - losses, abs=1e-6)


def test_energy_that_would_be_fed_in_anyway_is_no_regulation() -> None:
    given = COSTS | MUST_RUN | {"load": {"b_eur_per_mwh": 120.0, "low": 1.0}}
    dear = {"requests": [REQUEST["requests"][0] | {"price_eur_per_mwh": 100.0}]}
    _, found = results("p2p_freq", tso=dear, population__costs=given)
    regulation = found[2].regulation
    assert regulation is not None
    assert regulation.accepted_mw > 1e-4
    assert regulation.provided_mw == pytest.approx(0.0, abs=1e-9)


def test_who_runs_with_a_tso_sees_the_same_weather() -> None:
    noisy = {"forecast": {"load_error": 0.1, "generation_error": 0.1}}
    _, without = results("p2p_freq", **noisy)
    simulation, found = results("p2p_freq", **noisy, tso=REQUEST)
    own = simulation.context.population.virtual == 0.0
    for one, other in zip(without, found, strict=True):
        np.testing.assert_array_equal(one.p_forecast_mw, other.p_forecast_mw[own])


def test_the_dso_refuses_what_the_grid_does_not_bear_and_says_for_whose_sake() -> None:
    simulation, found = results("p2p_full", **STRESSED["p2p_full"])
    network = simulation.case.network
    refused = [
        result.regulation
        for result in found
        if result.regulation and result.regulation.accepted_mw < result.regulation.requested_mw - 1e-6
    ]
    assert refused
    assert all(each.branch >= 0 or each.bus >= 0 for each in refused)
    assert all(each.branch < network.n_line + network.n_trafo for each in refused)


def test_the_loop_from_imbalance_to_delivery_closes() -> None:
    frequency = {
        "system_mw": 0.5,
        "reserve_mw": 0.02,
        "system_imbalance_std_mw": 0.02,
        "deadband_hz": 0.0,
        "share": 1.0,
    }
    _, found = results("p2p_freq", tso={"frequency": frequency, "price_eur_per_mwh": 50.0})
    records = [result.regulation for result in found]
    assert all(each is not None for each in records)
    for before, after in pairwise(records):
        assert after.requested_mw == before.frequency.request_mw  # type: ignore[union-attr]
    moved = [each for each in records if each is not None and abs(each.provided_mw) > 1e-6]
    assert moved
    for each in moved:
        assert each.frequency.deviation_hz != each.frequency.deviation_without_hz


class Wrong:
    """Forecasts that are a share of the truth, always the same."""

    def __init__(self, share: float, n: int) -> None:
        self._factor = np.full((1, n), share)

    def factors(self, period_s: float) -> np.ndarray:
        """Forecast over truth, (1, n)."""
        return self._factor


@pytest.mark.parametrize("share", [0.8, 1.25])
def test_load_beyond_the_forecast_lowers_the_frequency_and_is_regulated_up_and_the_other_way_round(
    share: float,
) -> None:
    quiet = {"system_mw": 0.5, "reserve_mw": 0.02, "system_imbalance_std_mw": 0.0, "deadband_hz": 0.0, "share": 1.0}
    tso = {"frequency": quiet, "price_eur_per_mwh": 100.0, "price_down_eur_per_mwh": 1.0}
    records = []
    with Simulation(scenario("p2p_freq", tso=tso), case=small_case(PERIODS)) as simulation:
        n = simulation.context.population.n_real
        simulation._errors = (Wrong(share, n), Wrong(1.0, n))  # type: ignore[assignment]
        while simulation.running:
            simulation.step()
            result = simulation.last
            assert result is not None
            assert result.regulation is not None
            seen = result.states["p2p"].slack_p_mw + float(result.p_p2p_mw[-1])  # the virtual load apart
            meter = result.states["delivery"].slack_p_mw + float(result.p_delivered_mw[-1])
            records.append((result.regulation, seen - meter))
    sign = np.sign(share - 1.0)  # more load than foreseen: power is missing
    first = records[0][0]
    assert first.provided_mw == first.requested_mw == 0.0
    for regulation, area_mw in records:
        assert sign * regulation.frequency.imbalance_mw > 0.0
        assert regulation.frequency.imbalance_mw == pytest.approx(area_mw, abs=1e-12)
        assert sign * regulation.frequency.deviation_without_hz > 0.0
    for (before, _), (after, _) in pairwise(records):
        assert after.requested_mw == pytest.approx(-before.frequency.imbalance_mw)
        assert sign * after.requested_mw < 0.0
        assert sign * after.provided_mw <= 1e-9
    helped = [each for each, _ in records if abs(each.provided_mw) > 1e-6]
    assert helped
    for each in helped:
        raised_hz = each.frequency.deviation_hz - each.frequency.deviation_without_hz
        assert np.sign(raised_hz) == np.sign(each.provided_mw) == -sign
