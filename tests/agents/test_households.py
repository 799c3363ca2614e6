from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from peerwatt.agents.context import ROLES
from peerwatt.agents.households import _moves, build_population
from peerwatt.agents.population import KINDS, Population
from peerwatt.agents.settings import PopulationSettings
from peerwatt.errors import ScenarioError
from peerwatt.grid.cases import GridCase, case_from_net
from peerwatt.grid.series import TimeSeries
from tests.scenarios import feeder, profiles, small_case


@pytest.fixture(scope="module")
def case() -> GridCase:
    return small_case(4, 12)


def build(case: GridCase, seed: int = 1, **settings: Any) -> Population:
    return build_population(case, PopulationSettings.model_validate(settings), np.random.default_rng(seed))


def owners(population: Population) -> set[str]:
    generation = population.units.rated_mw(len(population))[1]
    return {name for name, power in zip(population.name, generation, strict=True) if power > 0.0}


def test_what_stands_at_one_bus_is_one_peer(case: GridCase) -> None:
    population = build(case)
    assert population.name == tuple(f"House {i}" for i in range(1, 12))
    kinds = dict(zip(population.name, (KINDS[k] for k in population.kind()), strict=True))
    assert kinds["House 1"] == "consumer"
    assert kinds["House 2"] == "prosumer"
    assert population.batteries.e_mwh[1] == pytest.approx(0.01)


def test_the_population_injects_what_the_grid_has_connected(case: GridCase) -> None:
    population = build(case, demand_response={})
    for row in case.series.values:
        outlook = population.outlook(row)
        p, q = case.units.injection(row[None, :], case.network.n_bus)
        net_p, net_q = outlook.net(np.zeros(len(population)), np.zeros(len(population)))
        assert np.allclose(population.at_buses(net_p, case.network.n_bus), p[0], atol=1e-15)
        assert np.allclose(population.at_buses(net_q, case.network.n_bus), q[0], atol=1e-15)


@pytest.mark.parametrize("size", [1, 11, 400])
def test_another_number_of_peers_keeps_the_feeders_scale(case: GridCase, size: int) -> None:
    population = build(case, size=size)
    assert len(population) == len(set(population.name)) == size
    load, _ = population.units.rated_mw(size)
    own = dict(zip(build(case).name, build(case).units.rated_mw(11)[0], strict=True))
    expected = [own[name.split(" #")[0]] * 11 / size for name in population.name]
    assert load == pytest.approx(expected)
    bus_of = dict(zip(build(case).name, build(case).bus, strict=True))
    assert all(bus_of[name.split(" #")[0]] == bus for name, bus in zip(population.name, population.bus, strict=True))


def test_a_larger_share_of_pv_keeps_who_has_it_at_a_smaller_one(case: GridCase) -> None:
    smaller = owners(build(case))
    for share in (0.5, 0.6, 0.8, 1.0):
        larger = owners(build(case, pv_share=share))
        assert len(larger) == round(share * 11)
        assert smaller <= larger
        smaller = larger
    assert owners(build(case, pv_share=0.0)) == set()


def test_added_pv_follows_the_grids_own_profile_at_its_rated_power(case: GridCase) -> None:
    population = build(case, peers={"House 1": {"pv_mw": 0.02}})
    values = population.outlook(case.series.values[2]).generation_mw
    # House 2 has the plant whose profile is used, rated 10 kW.
    assert values[0] == pytest.approx(2.0 * values[1])


@pytest.fixture(scope="module")
def charging() -> GridCase:
    """The feeder with chargers of 3.7, 11 and 11 kW at Houses 3, 5 and 7, each with a profile of its own."""
    import pandapower as pp

    net = feeder(12)
    net.load["kind"] = "household"
    low = net.bus.index[1:]
    for i, power in ((3, 0.0037), (5, 0.011), (7, 0.011)):
        pp.create_load(net, low[i], p_mw=power, q_mvar=0.2 * power, name=f"charger {i}", kind="ev")
    table = profiles(net, 8)
    for k, i in enumerate((3, 5, 7)):
        table[f"load.charger {i}.p_mw"] = np.eye(8)[k] * net.load.p_mw[net.load.name == f"charger {i}"].item()
    return case_from_net(net, profiles=table, name="charging")


def chargers(population: Population) -> dict[str, float]:
    """Rated power by owner."""
    units = population.units
    return {
        population.name[p]: mw for p, mw in zip(units.peer[units.is_ev], units.p_rated_mw[units.is_ev], strict=True)
    }


def test_a_larger_share_of_evs_keeps_who_has_one_and_moves_nothing_else(charging: GridCase) -> None:
    plain = build(charging, pv_share=0.5, storage_share=0.5, strategies={"truthful": 1.0, "zero_intelligence": 1.0})
    before = set(chargers(plain))
    assert before == {"House 3", "House 5", "House 7"}
    for share in (0.5, 0.8, 1.0):
        settings = {"pv_share": 0.5, "storage_share": 0.5, "strategies": {"truthful": 1.0, "zero_intelligence": 1.0}}
        more = build(charging, ev_share=share, **settings)
        owners_now = set(chargers(more))
        assert len(owners_now) == round(share * 11)
        assert before <= owners_now
        before = owners_now
        assert owners(more) == owners(plain)
        assert np.array_equal(more.batteries.e_mwh, plain.batteries.e_mwh)
        assert np.array_equal(more.strategy_code, plain.strategy_code)
    assert chargers(build(charging, ev_share=0.0)) == {}


def profiles_of(case: GridCase, population: Population) -> np.ndarray:
    """Values of all profiles, moved ones too, over the whole series."""
    series = case.series
    return population.moved.beside(series.values, series, series.start, series.step_s)


def drawn_by_cars(case: GridCase, population: Population) -> np.ndarray:
    """(n_steps, n_peers)"""
    load = population.outlooks(profiles_of(case, population))[0]
    return build(case, ev_share=0.0).outlooks(case.series.values)[0] - load


def test_an_added_charging_point_has_the_profile_of_one_of_its_size_at_another_time(charging: GridCase) -> None:
    plain, more = build(charging), build(charging, seed=3, ev_share=1.0, ev_mw=0.010)
    added = [row for row, name in enumerate(more.name) if name not in chargers(plain)]
    own = sorted(set(range(11)) - set(added))
    drawn = drawn_by_cars(charging, more)
    assert np.allclose(drawn.sum(axis=0)[added], 0.010)  # as much as the grid's, which draw 11 kW for one step
    assert len({int(step) for step in drawn[:, added].argmax(axis=0)}) >= 4  # but not in step
    assert np.allclose(drawn[:, own], drawn_by_cars(charging, plain)[:, own])  # the grid's own are where they were


def test_a_cars_charging_does_not_depend_on_who_else_has_one(charging: GridCase) -> None:
    some, all_ = (drawn_by_cars(charging, build(charging, ev_share=share)) for share in (0.6, 1.0))
    has_one = some.any(axis=0)
    assert has_one.sum() == 7
    assert np.array_equal(some[:, has_one], all_[:, has_one])
    assert not np.array_equal(all_, drawn_by_cars(charging, build(charging, seed=2, ev_share=1.0)))


def test_copies_of_a_peer_do_not_charge_in_step(charging: GridCase) -> None:
    many = build(charging, size=60)
    load = many.outlooks(profiles_of(charging, many))[0]
    copies = [row for row, name in enumerate(many.name) if name.startswith("House 5 #")]
    assert len(copies) > 3
    assert len({int(step) for step in load[:, copies].argmin(axis=0)}) > 1
    energy = load[:, copies].sum(axis=0)
    assert np.allclose(energy, energy[0])


def test_moves_are_whole_weeks_and_less_than_an_hour() -> None:
    year = TimeSeries(np.datetime64("2016-01-01"), 900, ("a",), np.zeros((35_136, 1)))
    moves = _moves(year, np.random.default_rng(0).random((2, 5000)))
    weeks, rest = np.divmod(moves + 4, 7 * 96)
    assert set(weeks.tolist()) == set(range(52))
    assert set(rest.tolist()) == set(range(9))
    day = TimeSeries(np.datetime64("2016-01-01"), 900, ("a",), np.zeros((96, 1)))
    assert np.abs(_moves(day, np.random.default_rng(0).random((2, 500)))).max() == 4


def test_an_added_charging_point_responds_to_prices_as_its_kind_does(charging: GridCase) -> None:
    some = build(charging, peers={"House 1": {"ev_mw": 0.0074}}, demand_response={"ev": 0.5})
    assert chargers(some)["House 1"] == pytest.approx(0.0074)
    bands = -some.outlooks(profiles_of(charging, some))[4][:, 0]
    assert max(bands) == pytest.approx(0.0037)
    assert "House 5" not in chargers(build(charging, peers={"House 5": {"ev_mw": 0.0}}))


def test_evs_are_refused_where_no_charging_is_known(case: GridCase) -> None:
    with pytest.raises(ScenarioError, match=r"population\.ev_share: the grid has no EV profile"):
        build(case, ev_share=0.5)
    with pytest.raises(ScenarioError, match="no EV profile"):
        build(case, peers={"House 1": {"ev_mw": 0.011}})
    assert len(build(case, ev_share=0.0)) == 11


def test_batteries_are_given_and_taken(case: GridCase) -> None:
    population = build(case, storage_share=1.0, storage_mwh=0.008, storage_mw=0.004)
    assert (population.batteries.e_mwh > 0.0).all()
    assert population.batteries.e_mwh[1] == pytest.approx(0.01)  # its own
    assert not build(case, storage_share=0.0).batteries.e_mwh.any()
    one = build(case, peers={"House 3": {"storage_mwh": 0.02}}, storage_initial_charge=0.25).batteries
    assert (one.e_mwh[2], one.p_mw[2], one.soc_mwh[2]) == pytest.approx((0.02, 0.01, 0.005))
    assert one.soc_mwh[1] == pytest.approx(0.0025)  # every battery's


def of_battery(population: Population, row: int) -> dict[str, float]:
    own = population.batteries
    return {key: float(getattr(own, key)[row]) for key in own.__slots__}


@pytest.fixture(scope="module")
def stored() -> GridCase:
    """The feeder with a battery of its own values at House 2, half full, and plants of its own orientation."""
    net = feeder(6)
    net.storage["soc_percent"] = 50.0
    net.storage["efficiency_percent"] = 80.0
    net.storage["self-discharge_percent_per_day"] = 1.0
    net.sgen["q_mvar"] = 0.002
    return case_from_net(net, profiles=profiles(net, 4), name="stored")


def test_the_capacity_of_a_peers_battery_changes_nothing_else(stored: GridCase) -> None:
    usual = of_battery(build(stored), 1)
    assert usual == {
        "e_mwh": 0.01,
        "p_mw": 0.005,
        "efficiency": 0.8,
        "self_discharge_per_day": 0.01,
        "soc_mwh": 0.005,
    }
    larger = of_battery(build(stored, peers={"House 2": {"storage_mwh": 0.05}}), 1)
    assert larger == pytest.approx(usual | {"e_mwh": 0.05, "soc_mwh": 0.025})  # still half full


@pytest.mark.parametrize(
    ("key", "changed", "value"),
    [
        ("storage_mw", "p_mw", 0.003),
        ("storage_efficiency", "efficiency", 0.9),
        ("storage_self_discharge_per_day", "self_discharge_per_day", 0.02),
    ],
)
def test_each_value_of_a_peers_battery_has_a_key(stored: GridCase, key: str, changed: str, value: float) -> None:
    found = of_battery(build(stored, peers={"House 2": {key: value}}), 1)
    assert found == pytest.approx(of_battery(build(stored), 1) | {changed: value})


def test_the_initial_charge_is_the_peers_else_the_populations_else_the_grids(stored: GridCase) -> None:
    assert of_battery(build(stored), 1)["soc_mwh"] == pytest.approx(0.005)
    assert of_battery(build(stored, storage_initial_charge=0.1), 1)["soc_mwh"] == pytest.approx(0.001)
    own = {"House 2": {"storage_initial_charge": 0.9}}
    assert of_battery(build(stored, storage_initial_charge=0.1, peers=own), 1)["soc_mwh"] == pytest.approx(0.009)


def test_a_battery_that_is_not_there_cannot_be_set(stored: GridCase) -> None:
    with pytest.raises(ScenarioError, match=r"population\.peers\.House 1\.storage_mw: this peer has no battery"):
        build(stored, peers={"House 1": {"storage_mw": 0.003}})
    gone = {"House 2": {"storage_mwh": 0.0, "storage_initial_charge": 0.5}}
    with pytest.raises(ScenarioError, match=r"House 2\.storage_initial_charge"):
        build(stored, peers=gone)


def test_the_rating_of_a_peers_own_plant_keeps_its_profile_and_power_factor(stored: GridCase) -> None:
    row = stored.series.values[1]
    usual, larger = build(stored).outlook(row), build(stored, peers={"House 4": {"pv_mw": 0.02}}).outlook(row)
    assert larger.generation_mw[3] == pytest.approx(2.0 * usual.generation_mw[3])
    assert larger.generation_mvar[3] == pytest.approx(2.0 * usual.generation_mvar[3]) != 0.0
    assert owners(build(stored, peers={"House 4": {"pv_mw": 0.0}})) == owners(build(stored)) - {"House 4"}


def test_strategies_are_drawn_by_their_shares(case: GridCase) -> None:
    population = build(case, size=1000, strategies={"truthful": 3.0, "zero_intelligence": 1.0})
    count = np.bincount(population.strategy_code)
    assert dict(zip(population.strategy, count.tolist(), strict=True)) == {"truthful": 750, "zero_intelligence": 250}
    own = build(case, peers={"House 4": {"strategy": "grid_aware"}})
    assert own.strategy[own.strategy_code[3]] == "grid_aware"


def test_unknown_peers_are_named_with_the_nearest(case: GridCase) -> None:
    with pytest.raises(ScenarioError, match=r"population.peers.Haus 3: no peer has this name \(did you mean 'House 3'"):
        build(case, peers={"Haus 3": {"pv_mw": 0.01}})


def test_peers_have_names_of_their_own_whatever_the_buses_are_called() -> None:
    net = feeder(9)
    net.bus.loc[net.bus.index[2:], "name"] = ["A", "A", "A (4)", "supplier", "dso", "mediator", "p2p market", None]
    population = build(case_from_net(net, name="odd"))
    assert len(set(population.name)) == len(population) == 8
    assert not {*population.name} & ROLES
    assert "A (4)" in population.name


def test_rated_powers_are_those_of_the_units_and_not_of_their_profiles(case: GridCase) -> None:
    load, generation = build(case).units.rated_mw(11)
    values = case.series.values
    assert load == pytest.approx(np.maximum(0.004, values[:, :11].max(axis=0)), rel=0.5)
    assert generation[:3] == pytest.approx([0.0, 0.01, 0.0], abs=0.002)
