"""What a run understood of its inputs, against sums by hand."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from peerwatt.experiments.report import write_report
from peerwatt.experiments.understood import listings
from peerwatt.grid.cases import case_from_net
from peerwatt.sim.model import Simulation
from peerwatt.sim.results import Results
from tests.scenarios import feeder, profiles, small_scenario


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Results, Simulation]:
    net = feeder()
    net.load.loc[0, "scaling"] = 0.5
    frame = profiles(net, 8).drop(columns=["load.load 3.p_mw", "sgen.pv 4.p_mw"])
    out = tmp_path_factory.mktemp("inventory") / "run"
    simulation = Simulation(small_scenario(4, time__period_s=1800), out, case=case_from_net(net, frame, "net"))
    simulation.run()
    return Results(out), simulation


def test_energy_by_kind_is_that_of_the_profiles_and_of_what_is_constant(run: tuple[Results, Simulation]) -> None:
    frame = profiles(feeder(), 8)
    hours = frame.drop(columns="time").mean() * 2.0
    loads = 0.5 * hours["load.load 1.p_mw"] + sum(hours[f"load.load {k}.p_mw"] for k in (2, 4, 5)) + 2 * 0.004
    inventory = run[0].inventory
    assert inventory is not None
    assert inventory.hours == 2.0
    by_kind = {each.kind: each for each in inventory.kinds}
    assert by_kind["household"].energy_mwh == pytest.approx(loads)
    assert by_kind["pv"].energy_mwh == pytest.approx(hours["sgen.pv 2.p_mw"] + 2 * 0.01)
    assert (by_kind["household"].count, by_kind["household"].constant, by_kind["pv"].constant) == (5, 1, 1)
    assert inventory.constant == "1 sgen and 1 load without a profile: constant all the time, PV at night too"
    peers = {each.agent: each for each in inventory.peers}
    assert peers["House 1"].consumption_mwh == pytest.approx(0.5 * hours["load.load 1.p_mw"])
    assert peers["House 4"].generation_mwh == pytest.approx(2 * 0.01)


def test_peaks_stand_against_the_ratings_of_the_net(run: tuple[Results, Simulation]) -> None:
    inventory = run[0].inventory
    assert inventory is not None
    peak = profiles(feeder(), 8)["load.load 1.p_mw"].to_numpy().reshape(4, 2).mean(axis=1).max()
    found = next(each for each in inventory.elements if each.name == "load 1")
    assert found.peak_mw == pytest.approx(0.5 * peak)
    assert found.rating_mva == pytest.approx(0.5 * (0.004**2 + 0.001**2) ** 0.5)
    shares = [each.peak_mw / each.rating_mva for each in inventory.elements]
    assert shares == sorted(shares, reverse=True)


def test_the_report_says_the_same_and_old_results_nothing(run: tuple[Results, Simulation], tmp_path: Path) -> None:
    results, simulation = run
    assert results.inventory == simulation.inventory()
    page = write_report(results, tmp_path / "a.html").read_text()
    assert "What was read" in page
    for listing in listings(simulation.inventory()):
        assert all(cell in page for row in listing.rows for cell in row)
    (results.path / "inputs.json").rename(results.path / "away.json")
    assert Results(results.path).inventory is None
    assert "What was read" not in write_report(Results(results.path), tmp_path / "b.html").read_text()
    assert json.loads((results.path / "away.json").read_text())["hours"] == 2.0


def test_long_lists_are_cut_with_a_count(run: tuple[Results, Simulation]) -> None:
    from dataclasses import replace

    inventory = run[1].inventory()
    many = replace(inventory, peers=inventory.peers * 3)
    peers = listings(many)[1]
    assert len(peers.rows) == 10
    assert peers.remark == "the first 10 of 15 peers, by energy"
