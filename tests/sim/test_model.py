from __future__ import annotations

import copy
import gc
import pickle
import weakref
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mesa import Agent

import peerwatt
from peerwatt.agents.messages import CallForBids, ConnectionState, MeterReadings, ProposedTrades
from peerwatt.agents.strategies import OnePeer
from peerwatt.errors import AgentError, PowerFlowError, SimulationError
from peerwatt.sim.model import Simulation
from peerwatt.sim.results import Results
from tests.scenarios import small_case, small_scenario


def simulate(tmp_path: Path | None = None, periods: int = 8, case: Any = None, **changes: Any) -> Simulation:
    simulation = Simulation(small_scenario(periods, **changes), tmp_path, case=case or small_case(periods))
    simulation.run()
    return simulation


def test_one_step_is_one_period() -> None:
    with Simulation(small_scenario(3), case=small_case(3)) as simulation:
        for period in range(3):
            assert simulation.period == period
            simulation.step()
            assert simulation.last is not None
            assert simulation.last.period == period
            assert list(simulation.last.states) == ["forecast", "p2p", "delivery"]
        assert not simulation.running


def test_step_is_harmless_after_the_end_although_mesa_counts_on() -> None:
    simulation = simulate(periods=2)
    last, steps = simulation.last, simulation.steps
    simulation.step()
    assert simulation.last is last
    assert simulation.period == 2
    assert simulation.steps == steps + 1


def test_a_closed_model_is_released() -> None:
    simulation = simulate(periods=1)
    peer = weakref.ref(simulation.peers[0])
    model = weakref.ref(simulation)
    assert simulation not in Agent._ids
    del simulation
    gc.collect()
    assert model() is None
    assert peer() is None


def test_a_running_model_refuses_to_be_copied_and_its_scenario_does_not() -> None:
    with Simulation(small_scenario(2), case=small_case(2)) as simulation:
        simulation.step()
        for duplicate in (copy.deepcopy, pickle.dumps):
            with pytest.raises(SimulationError, match="send its scenario"):
                duplicate(simulation)
        settings = pickle.loads(pickle.dumps(simulation.settings))
        assert settings == simulation.settings
        assert settings.base == simulation.settings.base


def test_names_that_mesa_uses_stay_free() -> None:
    with Simulation(small_scenario(1), case=small_case(1)) as simulation:
        for name in ("grid", "space", "time", "scenario"):
            assert not hasattr(simulation, name)


def test_gates_close_strictly_inside_the_period() -> None:
    with Simulation(small_scenario(1, time__period_s=60, time__periods=1), case=small_case(1)) as simulation:
        timetable = simulation.context.timetable
        (only,) = timetable.rounds
        assert 0 <= only.call_s < only.gate_s < only.check_s < timetable.delivery_s < 60


def test_no_message_to_the_dso_or_to_third_parties_can_carry_a_price() -> None:
    for kind in (ProposedTrades, MeterReadings, ConnectionState, CallForBids):
        assert not [field.name for field in fields(kind) if "price" in field.name or "cost" in field.name]


@pytest.mark.parametrize("mechanism", ["double_auction", "bilateral"])
@pytest.mark.parametrize("link", [{}, {"communication__loss": 0.3, "communication__jitter_s": 4}])
def test_both_fidelities_make_the_same_market(mechanism: str, link: dict[str, Any]) -> None:
    mix = {"zero_intelligence": 1.0, "truthful": 1.0}
    runs = [
        Simulation(
            small_scenario(
                4,
                market__mechanism=mechanism,
                communication__fidelity=fidelity,
                population__strategies=mix,
                **link,
            ),
            case=small_case(4, 20),
        )
        for fidelity in ("message", "round")
    ]
    traded = 0.0
    for _ in range(4):
        for simulation in runs:
            simulation.step()
        a, b = (simulation.last for simulation in runs)
        assert a is not None
        assert b is not None
        assert np.array_equal(a.trades.p_mw, b.trades.p_mw)
        assert np.array_equal(a.p_delivered_mw, b.p_delivered_mw)
        assert np.array_equal(a.payment_eur, b.payment_eur)
        assert sum(row.n for row in a.messages) == sum(row.n for row in b.messages)
        assert len(b.messages) < len(a.messages)
        traded += float(a.trades.p_mw.sum())
        told = [simulation.context.population.vm_pu for simulation in runs]
        assert np.array_equal(*told, equal_nan=True)
    assert traded > 0.0
    for simulation in runs:
        simulation.close()


def test_bids_that_come_after_the_gate_do_not_count() -> None:
    simulation = simulate(communication__latency_s=400, periods=3)
    assert simulation.last is not None
    assert len(simulation.last.trades) == 0
    assert any(row.kind == "Bid" for row in simulation.last.messages)


def test_without_any_message_arriving_everyone_is_supplied_all_the_same() -> None:
    simulation = simulate(communication__loss=1.0, periods=3)
    result = simulation.last
    assert result is not None
    assert len(result.trades) == 0
    assert np.allclose(result.payment_eur, result.reference_payment_eur)


def test_peers_learn_the_state_of_their_own_connection_point_only() -> None:
    with Simulation(small_scenario(2), case=small_case(2)) as simulation:
        assert np.isnan(simulation.context.population.vm_pu).all()
        simulation.step()
        state = simulation.last.states["delivery"]  # type: ignore[union-attr]
        for peer in simulation.peers:
            bus = simulation.context.population.bus[peer.row]
            assert peer.vm_pu == state.vm_pu[bus]
            # The feeder is one line after the other: the way passes all branches before the bus.
            way = [state.trafo.loading_percent[0], *state.line.loading_percent[: bus - 1]]
            assert peer.path_loading_percent == pytest.approx(max(way))


def test_a_peer_is_a_view_on_its_row() -> None:
    with Simulation(small_scenario(1), case=small_case(1)) as simulation:
        peer = next(peer for peer in simulation.peers if peer.name == "House 2")
        peer.soc_mwh = 0.004
        assert simulation.context.population.batteries.soc_mwh[peer.row] == 0.004
        assert peer.kind == "prosumer"


def test_a_power_flow_without_solution_is_recorded_and_the_run_goes_on(tmp_path: Path) -> None:
    case = small_case(4)
    heavy = case.series.values.copy()
    heavy[2] *= 2_000.0
    broken = type(case)(case.name, case.network, case.units, type(case.series)(
        case.series.start, case.series.step_s, case.series.columns, heavy
    ))  # fmt: skip
    simulate(tmp_path / "on", periods=4, case=broken)
    results = Results(tmp_path / "on")
    failed = results.period[~results.period.converged.astype(bool)]
    assert failed.period.unique().tolist() == [2]
    assert failed.reason.str.len().min() > 0
    assert failed.min_vm_pu.isna().all()
    assert results.manifest["periods_done"] == 4

    with pytest.raises(PowerFlowError, match=r"period 2 .*stage forecast.*on_divergence: stop"):
        simulate(tmp_path / "stop", periods=4, case=broken, grid__on_divergence="stop")
    kept = Results(tmp_path / "stop")
    assert kept.manifest["exit_state"] == "stopped"
    assert kept.period.period.unique().tolist() == [0, 1]
    before = results.bus[results.bus.period < 2].reset_index(drop=True)
    assert kept.bus.reset_index(drop=True).equals(before)


def test_a_strategy_that_raises_is_named_with_its_peer_and_period(tmp_path: Path) -> None:
    @peerwatt.strategy("raises-in-period-1")
    def raises(peer: OnePeer) -> float:
        if peer.period == 1 and peer.name == "House 3":
            raise ZeroDivisionError("division by zero")
        return peer.supply_eur_per_mwh

    changes = {"population__strategies": {"raises-in-period-1": 1.0}}
    with pytest.raises(AgentError, match=r"'raises-in-period-1'.*'House 3'.*period 1.*division by zero") as caught:
        simulate(tmp_path / "r", **changes)
    assert isinstance(caught.value.__cause__, ZeroDivisionError)
    results = Results(tmp_path / "r")
    assert results.manifest["exit_state"] == "failed"
    assert results.period.period.unique().tolist() == [0]


@pytest.mark.parametrize(("value", "words"), [(float("nan"), "the price nan"), (None, "TypeError")])
def test_a_strategy_without_a_price_is_refused(value: Any, words: str) -> None:
    @peerwatt.strategy("no-price")
    def no_price(peer: OnePeer) -> float:
        return value  # type: ignore[no-any-return]

    with pytest.raises(AgentError, match=words):
        simulate(population__strategies={"no-price": 1.0})


def test_a_market_without_buyers_clears_to_nothing() -> None:
    simulation = simulate(population__pv_share=0.0, population__storage_share=0.0, periods=2)
    assert simulation.last is not None
    assert simulation.last.clearing is not None
    assert simulation.last.clearing.status == "empty"
    assert np.allclose(simulation.last.payment_eur, simulation.last.reference_payment_eur)


@pytest.mark.parametrize("fidelity", ["message", "round"])
def test_what_is_told_after_delivery_moves_nothing_and_is_not_credited(fidelity: str) -> None:
    simulation = Simulation(
        small_scenario(
            6,
            communication__latency_s=250,
            communication__jitter_s=240,
            communication__fidelity=fidelity,
            population__demand_response={"household": 0.5},
        ),
        case=small_case(6, 20),
    )
    while simulation.running:
        simulation.step()
        result = simulation.last
        assert result is not None
        # Utility is credited exactly where delivery moved with the trade.
        moved = np.abs(result.utility_eur) > 0.0
        draft = simulation.context.now
        assert np.array_equal(moved, np.abs(draft.p_followed_mw) > 0.0)


def test_a_late_state_of_the_grid_is_of_use_until_a_newer_one_comes() -> None:
    with Simulation(small_scenario(3, communication__latency_s=200), case=small_case(3)) as simulation:
        simulation.step()
        first = simulation.last.states["delivery"]  # type: ignore[union-attr]
        assert np.isnan(simulation.context.population.vm_pu).all()  # delivered at 750 s, told at 950 s
        simulation.step()
        assert np.array_equal(simulation.context.population.vm_pu, first.vm_pu[simulation.context.population.bus])
