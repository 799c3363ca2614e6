"""Replicas in lockstep come to what each comes to alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from peerwatt.agents.strategies import STRATEGIES, Group, OnePeer, group_strategy, strategy
from peerwatt.errors import AgentError, LockstepError
from peerwatt.experiments.replica import RECORD, Lockstep, attempt, attempt_together
from peerwatt.grid.batch import GridStates
from peerwatt.grid.cases import GridCase, case_from_net
from peerwatt.grid.engine import ENGINES
from peerwatt.grid.pgm_engine import PgmEngine
from peerwatt.grid.state import GridState
from peerwatt.sim.lockstep import obstacle, run_lockstep
from peerwatt.sim.scenario import Scenario
from tests.scenarios import feeder, profiles, small_case, small_scenario

PERIODS = 6
OF_THE_GRID = (
    "import_mwh",
    "export_mwh",
    "peak_import_mw",
    "losses_",
    "min_vm_pu",
    "max_vm_pu",
    "max_occupancy_percent",
    "max_loading_percent",
    "overflow_",
    "money_supplier_eur",  # is paid for losses by the
    "money_dso_eur",
)
"""Figures that have rounding errors of the power flow in them; all others are the same bit by bit."""

FLEXIBLE = {"population.demand_response": {"household": 0.3, "heat_pump": 0.3, "aggregate": 0.3}}


@pytest.fixture(scope="module")
def case() -> GridCase:
    return small_case(PERIODS)


def scenario(changes: dict[str, Any] | None = None) -> Scenario:
    usual = {"population.size": 9, "population.storage_share": 0.4, "record": RECORD, "communication.fidelity": "round"}
    return small_scenario(PERIODS).replace({**usual, **(changes or {})})


def assert_as_alone(chosen: Scenario, case: GridCase, replicas: tuple[int, ...] = (0, 3)) -> None:
    """Same figures, in the same order; of power flows within the solvers' tolerance.

    The period of the highest voltage is not compared: where that is the external grid's, every period has it.
    """
    assert obstacle(chosen) == ""
    for replica, together in zip(replicas, run_lockstep(chosen, replicas, case), strict=True):
        alone = attempt("", replica, chosen, lambda: case)
        assert not alone.error
        assert list(together) == list(alone.kpi)
        for name, value in alone.kpi.items():
            if name == "max_vm_period":
                continue
            if name.startswith(OF_THE_GRID):
                assert together[name] == pytest.approx(value, rel=1e-7, abs=1e-9), name
            else:
                assert together[name] == value, name
                assert type(together[name]) is type(value), name


# --- the same results ---


@pytest.mark.parametrize("mechanism", ["double_auction", "average", "mcafee", "pay_as_bid", "bilateral"])
def test_every_central_mechanism_is_the_same(case: GridCase, mechanism: str) -> None:
    assert_as_alone(scenario({"market.mechanism": mechanism, **FLEXIBLE}), case)


def test_message_by_message_is_the_same(case: GridCase) -> None:
    changes = {"communication.fidelity": "message", "communication.latency_s": 20, "communication.jitter_s": 5}
    assert_as_alone(scenario(changes), case)


@pytest.mark.parametrize("mechanism", ["double_auction", "bilateral"])
def test_strategies_with_draws_memory_and_preferences_are_the_same(case: GridCase, mechanism: str) -> None:
    shares = dict.fromkeys(("truthful", "zero_intelligence", "roth_erev", "zero_intelligence_plus"), 1.0)
    if mechanism == "bilateral":
        shares["prefers_green"] = 1.0
    assert_as_alone(scenario({"market.mechanism": mechanism, "population.strategies": shares, **FLEXIBLE}), case)


@pytest.mark.parametrize(
    "changes",
    [
        {
            "seed": 7,
            "forecast.load_error": 0.6,
            "forecast.load_correlation_time_h": 2.0,
            "forecast.load_spatial_correlation": 0.5,
            "population.storage_share": 1.0,
            "population.storage_efficiency": 0.8,
            "population.pv_share": 0.8,
        },
        {
            "tariff.network_fee_eur_per_mwh": 20.0,
            "tariff.imbalance_short_eur_per_mwh": 500.0,
            "market.options": {"k": 0.2},
            "grid.max_loading_percent": 5.0,
            "grid.min_vm_pu": 0.999,
        },
        {"tariff.supply_eur_per_mwh": 100.0, "tariff.feed_in_eur_per_mwh": -20.0, "grid.engine": "lindistflow"},
        {
            "population.storage_share": 0.8,
            "population.storage_initial_charge": 0.7,
            "population.storage_self_discharge_per_day": 0.1,
            "population.storage_return_h": 1.0,
        },
        {"population.size": None, "population.pv_share": 0.0, "time.period_s": 3600, "time.periods": 1},
    ],
    ids=["draws", "fees and limits", "a negative price", "stored energy", "one period"],
)
def test_settings_are_heeded(case: GridCase, changes: dict[str, Any]) -> None:
    assert_as_alone(scenario(changes), case)


def test_cars_that_are_added_charge_at_the_same_time() -> None:
    net = feeder()
    net.load["kind"] = np.where(net.load.index == 0, "ev", "household")
    assert_as_alone(
        scenario({"population.ev_share": 0.8, "population.ev_mw": 0.004}),
        case_from_net(net, profiles=profiles(net, 12), name="charging"),
    )


def test_loads_that_depend_on_the_voltage_are_metered_at_it() -> None:
    net = feeder()
    alone_at_bus = ~net.load.bus.isin(net.sgen.bus)
    net.load["const_z_p_percent"] = np.where(alone_at_bus, 50.0, 0.0)
    net.load["const_z_q_percent"] = np.where(alone_at_bus, 50.0, 0.0)
    case = case_from_net(net, profiles=profiles(net, PERIODS), name="zip")
    assert case.network.voltage_dependence is not None
    chosen, replicas = scenario(), (1, 2)
    for replica, together in zip(replicas, run_lockstep(chosen, replicas, case), strict=True):
        alone = attempt("", replica, chosen, lambda: case).kpi
        assert {**together, "max_vm_period": alone["max_vm_period"]} == pytest.approx(alone, rel=1e-7, abs=1e-9)


class Fragile(PgmEngine):
    """Finds no solution where much is fed in."""

    name = "fragile"

    def solve(self, p_mw: Any, q_mvar: Any) -> GridState:
        if p_mw.sum() > 0.005:
            return GridState.failed(self._network, p_mw, q_mvar, "too much")
        return super().solve(p_mw, q_mvar)

    def solve_batch(self, p_mw: Any, q_mvar: Any) -> GridStates:
        return GridStates.stack([self.solve(p, q) for p, q in zip(p_mw, q_mvar, strict=True)])


@pytest.fixture
def fragile(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    monkeypatch.setattr(ENGINES, "_items", {**ENGINES._items, "fragile": Fragile})
    return {"grid.engine": "fragile", "population.pv_share": 0.8}


def test_periods_without_a_solution_are_left_out_of_the_same_figures(case: GridCase, fragile: dict[str, Any]) -> None:
    assert 0 < attempt("", 0, scenario(fragile), lambda: case).kpi["not_converged"] < 3 * PERIODS
    assert_as_alone(scenario(fragile), case)


def test_a_run_that_has_to_stop_stops(case: GridCase, fragile: dict[str, Any]) -> None:
    stopping = scenario({**fragile, "grid.on_divergence": "stop"})
    outcome = attempt_together("", (0,), stopping, lambda: case)[0]
    assert "grid.on_divergence: stop" in outcome.error
    assert outcome == attempt("", 0, stopping, lambda: case)


def test_a_replica_does_not_depend_on_those_beside_it(case: GridCase) -> None:
    chosen = scenario(FLEXIBLE)
    together = run_lockstep(chosen, range(7), case)
    assert [run_lockstep(chosen, [replica], case)[0] for replica in range(7)] == together
    assert run_lockstep(chosen, [5, 2], case) == [together[5], together[2]]


def test_small_chunks_are_the_same(case: GridCase, monkeypatch: pytest.MonkeyPatch) -> None:
    from peerwatt.sim.lockstep import flows, run

    chosen = scenario({"market.mechanism": "bilateral"})
    together = run_lockstep(chosen, range(5), case)
    monkeypatch.setattr(run, "_CHUNK_BYTES", 1)
    monkeypatch.setattr(flows, "_BATCH_BYTES", 20_000)
    assert run_lockstep(chosen, range(5), case) == together


# --- what cannot ---


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"coordination.preset": "cm2"}, "coordination.lfm"),
        ({"coordination.preset": "cm3-v1"}, "coordination.scheme"),
        ({"coordination.preset": "cm5"}, "coordination.service"),
        ({"coordination.p2p_area": ["House 1", "House 2"]}, "coordination.p2p_area"),
        ({"communication.loss": 0.1}, "communication.loss"),
        ({"communication.latency_s": 200}, "too late"),
        ({"market.mechanism": "admm"}, "admm"),
        ({"events": [{"kind": "measurement_noise", "vm_pu": 0.1}]}, "events"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_follows_from_the_power_flow_or_from_messages_runs_one_by_one(changes: dict[str, Any], said: str) -> None:
    assert said in obstacle(small_scenario(2).replace(changes))
    with pytest.raises(LockstepError, match=said):
        run_lockstep(small_scenario(2).replace(changes), [0], small_case(2))


def test_a_setting_that_lockstep_does_not_know_runs_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    from peerwatt.sim.lockstep import qualify

    changed = small_scenario(2).replace({"tariff.losses_eur_per_mwh": 1.0})
    assert obstacle(changed) == ""
    known = {**qualify._KNOWN, "tariff": qualify._KNOWN["tariff"] - {"losses_eur_per_mwh"}}
    monkeypatch.setattr(qualify, "_KNOWN", known)
    assert "tariff.losses_eur_per_mwh" in obstacle(changed)
    assert obstacle(small_scenario(2)) == ""


def looks_late(peer: OnePeer) -> float:
    return peer.vm_pu if peer.period > 1 else 100.0


def looks_at_nothing(peer: OnePeer) -> float:
    return peer.feed_in_eur_per_mwh + peer.hour


def raises_in_one_replica(group: Group) -> np.ndarray:
    draws = group.rng.uniform(100.0, 200.0, len(group.name))
    if draws[0] > 180.0:
        raise ValueError("too dear")
    return draws


@pytest.fixture
def own_strategies(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(STRATEGIES, "_items", dict(STRATEGIES._items))
    strategy("looks_late")(looks_late)
    strategy("looks_at_nothing")(looks_at_nothing)
    group_strategy("raises_in_one_replica")(raises_in_one_replica)


def test_a_strategy_that_looks_at_the_grid_is_found_out(case: GridCase, own_strategies: None) -> None:
    for name in ("grid_aware", "looks_late"):
        looking = scenario({"population.strategies": {name: 1.0, "truthful": 1.0}})
        assert obstacle(looking) == ""
        with pytest.raises(LockstepError, match=f"'{name}' looks at voltages"):
            run_lockstep(looking, [0, 1], case)
        by_itself = [attempt("", replica, looking, lambda: case) for replica in (0, 1)]
        assert attempt_together("", (0, 1), looking, lambda: case) == by_itself
        refused = attempt_together("", (0, 1), looking, lambda: case, Lockstep.ALWAYS)
        assert all("--lockstep auto" in outcome.error for outcome in refused)


def test_a_strategy_for_one_peer_that_does_not_look_is_fine(case: GridCase, own_strategies: None) -> None:
    assert_as_alone(scenario({"population.strategies": {"looks_at_nothing": 1.0}}), case)


def test_a_replica_that_fails_leaves_the_others_as_they_are(case: GridCase, own_strategies: None) -> None:
    chosen = scenario({"population.strategies": {"raises_in_one_replica": 1.0}})
    outcomes = attempt_together("v", tuple(range(8)), chosen, lambda: case)
    failed = [outcome for outcome in outcomes if outcome.error]
    assert 0 < len(failed) < 8
    assert all("too dear" in outcome.error for outcome in failed)
    with pytest.raises(AgentError):
        run_lockstep(chosen, range(8), case)
    for outcome in outcomes:
        if not outcome.error:
            assert outcome.kpi == run_lockstep(chosen, [outcome.replica], case)[0]
