from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from peerwatt.errors import GridDataError, ScenarioError
from peerwatt.grid.cases import GridCase, case_from_net
from peerwatt.sim.model import Simulation
from peerwatt.sim.period import PeriodResult
from peerwatt.sim.scenario import Scenario
from tests.scenarios import feeder, profiles, small_scenario


@pytest.fixture(scope="module")
def case() -> GridCase:
    net = feeder(8)
    net.line["name"] = [f"Line {i}" for i in range(len(net.line))]
    net.trafo["name"] = "Trafo"
    return case_from_net(net, profiles=profiles(net, 8), name="feeder")


def simulate(case: GridCase, *events: dict[str, Any], **changes: Any) -> list[PeriodResult]:
    simulation = Simulation(small_scenario(8, events=list(events), **changes), case=case)
    results = []
    while simulation.running:
        simulation.step()
        results.append(simulation.last)
    simulation.close()
    return results  # type: ignore[return-value]


OUTAGE = {"kind": "line_outage", "line": "Line 4", "begin": "2030-06-01 00:30", "end": "2030-06-01 01:15"}


@pytest.mark.parametrize("engine", ["power-grid-model", pytest.param("pandapower", marks=pytest.mark.slow)])
def test_who_is_behind_a_line_that_is_out_has_no_supply_until_it_is_back(case: GridCase, engine: str) -> None:
    usual = simulate(case, grid__engine=engine)
    results = simulate(case, OUTAGE, grid__engine=engine)
    for period, (result, before) in enumerate(zip(results, usual, strict=True)):
        state = result.states["delivery"]
        assert state.converged
        if 2 <= period < 5:
            assert (result.p_delivered_mw[4:] == 0.0).all()
            assert (result.p_traded_mw[4:] == 0.0).all()
            assert (result.payment_eur[4:] == 0.0).all()
            assert np.isnan(state.vm_pu[6:]).all()
            assert (result.p_delivered_mw[:4] != 0.0).all()
        else:
            # Batteries are elsewhere, so only who has none is as before.
            assert np.array_equal(result.p_delivered_mw[[0, 2, 4, 6]], before.p_delivered_mw[[0, 2, 4, 6]])


def test_a_stuck_tap_changes_the_voltages_from_the_next_period_on(case: GridCase) -> None:
    event = {"kind": "tap_stuck", "trafo": "Trafo", "tap_pos": -2, "begin": "2030-06-01 00:20"}
    usual, results = simulate(case), simulate(case, event)
    rise = [r.states["delivery"].vm_pu[1] - u.states["delivery"].vm_pu[1] for r, u in zip(results, usual, strict=True)]
    assert rise[:2] == [0.0, 0.0]
    assert rise[2:] == pytest.approx([0.0525] * 6, abs=0.005)


def test_noise_is_in_what_peers_are_told_and_not_in_the_grid(case: GridCase) -> None:
    noise = {"kind": "measurement_noise", "vm_pu": 0.01, "loading_percent": 5.0}
    simulations = [Simulation(small_scenario(2, events=events), case=case) for events in ([], [noise])]
    for simulation in simulations:
        simulation.step()
    quiet, noisy = (simulation.context.population for simulation in simulations)
    true, same = (simulation.last.states["delivery"].vm_pu for simulation in simulations)  # type: ignore[union-attr]
    assert np.array_equal(true, same)
    assert np.array_equal(quiet.vm_pu, true[quiet.bus])
    assert 0.001 < np.std(noisy.vm_pu - quiet.vm_pu) < 0.03
    assert (noisy.path_loading_percent >= 0.0).all()
    for simulation in simulations:
        simulation.close()


def test_an_event_that_names_what_is_not_there_is_refused_with_all_faults(case: GridCase) -> None:
    events = [OUTAGE | {"line": "Lnie 4"}, {"kind": "tap_stuck", "trafo": "Trafo", "tap_pos": 9}]
    with pytest.raises(GridDataError) as caught:
        simulate(case, *events)
    text = str(caught.value)
    assert "did you mean 'Line 4'" in text
    assert "no tap position 9" in text


def test_events_are_checked_with_the_scenario() -> None:
    with pytest.raises(ScenarioError, match=r"events\.0.*end .* is not after begin"):
        Scenario().replace(events=[OUTAGE | {"end": "2030-06-01 00:10"}])
    with pytest.raises(ScenarioError, match=r"events\.0"):
        Scenario().replace(events=[{"kind": "earthquake"}])


@pytest.mark.parametrize("fidelity", ["message", "round"])
def test_messages_are_lost_while_the_event_lasts_and_the_past_stays(case: GridCase, fidelity: str) -> None:
    lost = {"kind": "message_loss", "begin": "2030-06-01 00:30", "end": "2030-06-01 01:15"}
    usual = simulate(case, communication__fidelity=fidelity)
    results = simulate(case, lost, communication__fidelity=fidelity)
    for period, (result, before) in enumerate(zip(results, usual, strict=True)):
        gone = sum(message.n for message in result.messages if message.delivered_s < 0)
        if 2 <= period < 5:
            assert gone >= 7  # nobody gets the call for bids, so nobody trades
            assert not len(result.trades)
        else:
            assert gone == 0
        if period < 2:
            assert result.messages == before.messages
            assert np.array_equal(result.payment_eur, before.payment_eur)


def test_a_weaker_event_does_not_lower_the_usual_loss(case: GridCase) -> None:
    usual = simulate(case, communication__loss=0.5)
    same = simulate(case, {"kind": "message_loss", "loss": 0.1}, communication__loss=0.5)
    assert [result.messages for result in same] == [result.messages for result in usual]


def test_lines_that_share_a_name_are_refused_with_their_indices_and_taken_by_index(case: GridCase) -> None:
    names = ("NAYY 4x150",) * case.network.n_line
    same = replace(case, network=replace(case.network, lines=replace(case.network.lines, name=names)))
    with pytest.raises(GridDataError, match=r"events\.0: feeder: line: 7 lines have the name.*index of one: 0, 1, 2"):
        simulate(same, OUTAGE | {"line": "NAYY 4x150"})
    simulation = Simulation(small_scenario(8, events=[OUTAGE | {"line": 4}]), case=same)
    assert np.flatnonzero(~simulation._timeline.at(2).network.lines.in_service).tolist() == [4]
    simulation.close()


@pytest.mark.parametrize(
    ("key", "change"),
    [
        ("coordination.p2p_area", {"coordination__p2p_area": ["Home"]}),
        ("coordination.lfm_area", {"coordination__preset": "cm2", "coordination__lfm_area": ["Home"]}),
        (
            "flexibility.outside.0.bus",
            {"coordination__preset": "cm2", "flexibility__outside": [{"name": "CHP", "bus": "Home"}]},
        ),
    ],
)
def test_buses_that_share_a_name_are_refused_with_their_indices(
    case: GridCase, key: str, change: dict[str, Any]
) -> None:
    names = (*case.network.buses.name[:4], *["Home"] * (case.network.n_bus - 4))
    same = replace(case, network=replace(case.network, buses=replace(case.network.buses, name=names)))
    first = int(case.network.buses.index[4])
    with pytest.raises(
        ScenarioError, match=rf"{key}: \d buses have the name 'Home' \(give the index of one: {first}, "
    ):
        Simulation(small_scenario(8, **change), case=same)


def test_a_peer_of_a_bus_that_shares_its_name_has_its_index_in_its_own(case: GridCase) -> None:
    names = (*case.network.buses.name[:4], *["Home"] * (case.network.n_bus - 4))
    same = replace(case, network=replace(case.network, buses=replace(case.network.buses, name=names)))
    own = {"Home": {"strategy": "truthful"}}
    with pytest.raises(
        ScenarioError, match=r"population\.peers\.Home: \d peers have this name \(name one: Home \(4\), Home \(5\)"
    ):
        Simulation(small_scenario(8, population__peers=own), case=same)
