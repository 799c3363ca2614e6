from __future__ import annotations

import copy
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandapower as pp
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from peerwatt.grid import case_from_net, load_case, make_engine, simbench_case
from peerwatt.grid.convert import convert_net, quiet
from peerwatt.grid.simbench_case import simbench_net
from peerwatt.grid.stored import to_parts
from peerwatt.grid.threephase import three_phase_from_net
from peerwatt.sim.model import Simulation
from tests.grid.nets import CABLE, TRAFO, street
from tests.grid.threephase_nets import feeder as unbalanced_feeder
from tests.scenarios import START, small_scenario


def everything():
    """A network with two elements or more in every table, none like another, whose indices are in no order."""
    net = pp.create_empty_network()
    rng = np.random.default_rng(1)
    buses = [int(index) for index in rng.permutation(40)[:10]]
    for k, bus in enumerate(buses):
        pp.create_bus(net, 20.0 if k < 2 else 0.4, name=f"bus {k}", index=bus, max_vm_pu=1.1 + 0.001 * k)
    supply, ring, busbar, second, *street = buses
    pp.create_ext_grid(net, supply, vm_pu=1.01, index=7)
    pp.create_ext_grid(net, supply, vm_pu=1.01, index=3)
    pp.create_line(net, supply, ring, 2.0, "NA2XS2Y 1x95 RM/25 12/20 kV", index=9)
    for index, low, tap_pos in ((6, busbar, -1), (2, second, 1)):
        pp.create_transformer(net, ring, low, TRAFO, tap_pos=tap_pos, index=index)
    for k, (a, b) in enumerate(((busbar, street[0]), *pairwise(street), (second, street[5]))):
        pp.create_line(net, a, b, 0.05 + 0.02 * k, CABLE, index=8 - k, parallel=1 + k % 2)
    pp.create_switch(net, street[2], 8 - 3, et="l", closed=False, index=5)
    pp.create_switch(net, busbar, 8, et="l", closed=True, index=1)
    pp.create_switch(net, busbar, second, et="b", closed=False, index=4)
    pp.create_impedance(net, busbar, street[1], 0.02, 0.03, 0.4, index=5)
    pp.create_impedance(net, second, street[4], 0.05, 0.04, 0.4, index=1)
    pp.create_shunt(net, street[0], q_mvar=-0.01, p_mw=0.001, index=5)
    pp.create_shunt(net, street[4], q_mvar=-0.02, p_mw=0.0, index=2)
    for k, bus in enumerate(street):
        pp.create_load(net, bus, 0.004 + 0.003 * k, 0.001, index=90 - 7 * k, scaling=1.0 + 0.1 * k)
        pp.create_sgen(net, bus, 0.001 + 0.002 * k, index=(5 * k + 3) % 7, type="PV")
        pp.create_storage(
            net, bus, 0.0, max_e_mwh=0.01 + 0.01 * k, sn_mva=0.005, soc_percent=10.0 * k, index=(3 * k + 1) % 7
        )
    pp.create_gen(net, street[3], p_mw=0.01, vm_pu=1.0, index=4)
    pp.create_gen(net, street[5], p_mw=0.02, vm_pu=1.01, index=2)
    return net


def permuted(net, seed):
    """The network with the rows of every table in another order."""
    rng, other = np.random.default_rng(seed), copy.deepcopy(net)
    for key, table in other.items():
        if isinstance(table, pd.DataFrame):
            other[key] = table.iloc[rng.permutation(len(table))]
    return other


def parts(case):
    return {
        key: part if isinstance(part, str) else (part.dtype, part.tobytes())
        for key, part in to_parts(case.name, case.network, case.units, case.series).items()
    }


ORIGINAL = everything()


@settings(max_examples=3, deadline=None)
@given(st.integers(0, 2**31))
def test_the_order_of_rows_in_any_table_changes_nothing(seed):
    assert parts(case_from_net(permuted(ORIGINAL, seed))) == parts(case_from_net(ORIGINAL))


@pytest.mark.parametrize(("seed", "engine"), [(1, "power-grid-model"), (2, "pandapower")])
def test_units_stand_where_pandapower_has_them(seed, engine):
    """Every unit's power is put into plain pandapower by its table and index, and into the engine by its position."""
    net = permuted(ORIGINAL, seed)
    if engine == "power-grid-model":  # it has no generators that hold a voltage
        net.gen = net.gen.iloc[:0]
    case = case_from_net(net)
    rng = np.random.default_rng(seed)
    power = {
        (table, index): rng.uniform(0.0, 0.01)
        for table in ("load", "sgen", "storage", "gen")
        for index in net[table].index
    }
    for (table, index), p_mw in power.items():
        net[table].loc[index, ["p_mw", "scaling"]] = p_mw, 1.0
        if table != "gen":
            net[table].loc[index, "q_mvar"] = 0.0
    with quiet():
        pp.runpp(net, trafo_model="pi", tolerance_mva=1e-10, lightsim2grid=False)
    p_mw = np.zeros(case.network.n_bus)
    for table, index, bus in zip(case.units.table, case.units.index, case.units.bus, strict=True):
        p_mw[bus] += power[table, int(index)] * (-1.0 if table in ("load", "storage") else 1.0)
    state = make_engine(engine, case.network).solve(p_mw, np.zeros_like(p_mw))
    solved = net.res_bus.vm_pu.loc[case.network.buses.index]
    np.testing.assert_allclose(state.vm_pu, solved, rtol=0.0, atol=1e-8)
    loading = net.res_line.loading_percent.loc[case.network.lines.index]
    np.testing.assert_allclose(state.line.loading_percent, loading, rtol=0.0, atol=1e-4)


def test_a_bus_that_was_added_later_with_a_low_index_moves_no_load():
    net = pp.create_empty_network()
    for index, vn_kv, name in ((10, 20.0, "MV"), (11, 0.4, "busbar"), (12, 0.4, "far"), (3, 0.4, "near")):
        pp.create_bus(net, vn_kv, name=name, index=index)
    pp.create_ext_grid(net, 10)
    pp.create_transformer(net, 10, 11, TRAFO)
    pp.create_line(net, 11, 3, 0.05, CABLE)
    pp.create_line(net, 3, 12, 0.4, CABLE)
    pp.create_load(net, 12, 0.06, 0.01, name="Factory")
    case = case_from_net(net)
    assert [case.network.buses.name[bus] for bus in case.units.bus] == ["far"]
    p_mw, q_mvar = case.units.injection(np.empty((1, 0)), case.network.n_bus)
    state = make_engine("power-grid-model", case.network).solve(p_mw[0], q_mvar[0])
    assert state.vm_pu.min() == pytest.approx(0.95705, abs=5e-6)  # by plain pandapower


def test_profiles_reach_the_elements_of_a_network_in_any_order():
    net = street()
    net.load["scaling"] = [1.0, 2.0, 3.0]
    time = pd.date_range(START, periods=2, freq="15min")
    profiles = pd.DataFrame({"time": time, "load.2.p_mw": [0.001, 0.002], "load.House 0.p_mw": [0.003, 0.004]})
    first, second = (case_from_net(given, profiles) for given in (net, permuted(net, 3)))
    assert parts(first) == parts(second)
    p_mw, _ = second.units.injection(second.series.values, second.network.n_bus)
    at = second.network.buses.name.index("corner 2")
    np.testing.assert_allclose(p_mw[:, at], [-0.003 + 0.01, -0.006 + 0.01])


@pytest.mark.parametrize("seed", [1, 2])
def test_the_order_of_rows_does_not_matter_in_three_phases(seed):
    net = unbalanced_feeder(n_house=4)
    net.asymmetric_load["p_c_mw"] = np.arange(4) * 0.001
    pp.create_load(net, 3, 0.001)
    pp.create_load(net, 4, 0.002)
    first, second = three_phase_from_net(net), three_phase_from_net(permuted(net, seed))
    assert first.grid.pandapower_json == second.grid.pandapower_json
    assert first.grid.buses.name == second.grid.buses.name
    np.testing.assert_array_equal(first.p_mw, second.p_mw)
    np.testing.assert_array_equal(first.grid.admittances.yff, second.grid.admittances.yff)
    np.testing.assert_array_equal(first.zero.yff, second.zero.yff)
    expected = net.load.set_index("bus").p_mw / 3.0 + net.asymmetric_load.set_index("bus").p_c_mw
    np.testing.assert_allclose(-second.p_mw[[3, 4], 2], expected.loc[[3, 4]])


def no_load(network):
    zero = np.zeros(network.n_bus)
    return make_engine("power-grid-model", network).solve(zero, zero)


@pytest.mark.parametrize(
    ("kind", "side", "ratio"), [(None, "hv", 1 / 1.05), (np.nan, "lv", 1.05), ("", "hv", 1 / 1.05)]
)
def test_a_tap_changer_of_no_kind_changes_the_ratio(kind, side, ratio):
    net = street()
    net.trafo["tap_changer_type"] = pd.Series([kind], dtype=object)
    net.trafo[["tap_side", "tap_pos", "i0_percent", "pfe_kw"]] = side, 2, 0.0, 0.0
    case = case_from_net(net, name="street")
    busbar = no_load(case.network).vm_pu[1]
    assert busbar == pytest.approx(1.02 * ratio, abs=1e-5)  # charging of the cables is what is left
    (warning,) = (str(fault) for fault in case.warnings if "tap_changer_type" in fault.problem)
    assert warning == (
        "street: trafo station: tap_changer_type is empty and tap_pos is not tap_neutral: read as a ratio tap changer "
        "(set tap_changer_type; plain pandapower 3 ignores the position)"
    )
    net.trafo["tap_changer_type"] = "Ratio"
    assert parts(case_from_net(net, name="street"))["pandapower"] == parts(case)["pandapower"]


def test_a_capacitive_transformer_of_pandapower_2_is_warned_of():
    net = street()
    net.trafo["i0_percent"] = -0.5
    (warning,) = (fault for fault in case_from_net(net).warnings if "i0_percent" in fault.problem)
    assert warning.where == "network: trafo station"
    solved = []
    for i0_percent in (-0.5, 0.5):  # once this fails, pandapower has its sign again and the warning goes
        net.trafo["i0_percent"] = i0_percent
        with quiet():
            pp.runpp(net, lightsim2grid=False)
        solved.append(net.res_bus.vm_pu[1])
    assert solved[0] == solved[1]


def test_a_column_of_tap_changer_types_that_is_missing_is_read_like_an_empty_one():
    net = street()
    net.trafo["tap_pos"] = -1
    typed = convert_net(net, "street")
    net.trafo = net.trafo.drop(columns="tap_changer_type")
    np.testing.assert_array_equal(convert_net(net, "street").admittances.yff, typed.admittances.yff)


@pytest.mark.parametrize(
    ("column", "value"), [("tap_side", None), ("tap_neutral", np.nan), ("tap_step_percent", 0.0), ("tap_pos", np.nan)]
)
def test_a_tap_changer_without_steps_side_or_position_stays_without_effect(column, value):
    net = street()
    net.trafo["tap_changer_type"] = None
    net.trafo["tap_pos"] = 2
    net.trafo[column] = pd.Series([value])
    case = case_from_net(net)
    assert case.network.admittances.ratio[case.network.n_line] == 1.0 * np.exp(1j * np.radians(150.0))
    assert not [fault for fault in case.warnings if "tap_changer_type" in fault.problem]


def simbench_ratios(network, scenario):
    """Complex ratios by SimBench's own tables, pu: rated over bus voltages, with the tap's step and phase shift."""
    import simbench

    folder = Path(simbench.__file__).parent / "networks" / f"1-complete_data-mixed-all-{scenario}-sw"
    types = pd.read_csv(folder / "TransformerType.csv", sep=";").set_index("id")
    table = pd.read_csv(folder / "Transformer.csv", sep=";").set_index("id").join(types, on="type")
    trafo = table.loc[list(network.trafos.name)]
    assert not trafo.dVa.any()
    step = 1.0 + (trafo.tappos - trafo.tapNeutr) * trafo.dVm / 100.0
    at_hv = trafo.tapside == "HV"
    high = trafo.vmHV * np.where(at_hv, step, 1.0) / network.buses.vn_kv[network.trafos.hv_bus]
    low = trafo.vmLV * np.where(at_hv, 1.0, step) / network.buses.vn_kv[network.trafos.lv_bus]
    return (high / low * np.exp(1j * np.radians(trafo.va0))).to_numpy(), int((step != 1.0).sum())


def test_the_position_of_a_simbench_transformer_counts(village_net, monkeypatch):
    """Its data have steps of 2.5 % at the high-voltage side, and no kind of tap changer."""
    net = copy.deepcopy(village_net)
    assert net.trafo.tap_changer_type.isna().all()
    net.trafo["tap_pos"] = 1.0
    monkeypatch.setattr(simbench_case, "simbench_net", lambda code: net)
    network, *_ = simbench_case.build_simbench("1-LV-semiurb4--2-sw")
    ratio = network.admittances.ratio[network.n_line]
    assert ratio == pytest.approx(1.025 * np.exp(1j * np.radians(150.0)), rel=1e-12)


@pytest.mark.slow
def test_simbench_transformers_have_the_ratio_of_its_own_tables():
    network = load_case("simbench:1-LV-rural1--2-sw").network
    expected, moved = simbench_ratios(network, 2)
    assert moved == 1
    np.testing.assert_allclose(network.admittances.ratio[network.n_line :][: network.n_trafo], expected, rtol=1e-12)
    assert no_load(network).vm_pu[network.trafos.lv_bus[0]] == pytest.approx(1.0, abs=5e-5)


def connected(net, buses):
    """Buses that closed switches join to some."""
    switches = net.switch[(net.switch.et == "b") & net.switch.closed]
    found = set(buses)
    while more := {b for a, b in ends(switches) if a in found} - found:
        found |= more
    return found


def ends(switches):
    return [*zip(switches.bus, switches.element, strict=True), *zip(switches.element, switches.bus, strict=True)]


@pytest.mark.slow
@pytest.mark.parametrize("scenario", [0, 1, 2])
def test_all_simbench_transformers_have_the_ratio_of_its_own_tables(scenario):
    """The grids of all codes of a scenario are parts of the complete one."""
    with quiet():
        net = simbench_net(f"1-complete_data-mixed-all-{scenario}-sw")
    net.dcline["in_service"] = False  # not supported
    net.gen["in_service"] &= ~net.gen.bus.isin(connected(net, net.ext_grid.bus))  # there the external grid counts
    network = convert_net(net, "complete")
    expected, moved = simbench_ratios(network, scenario)
    assert len(expected) > 100
    assert moved >= 2
    live = network.trafos.in_service
    ratio = network.admittances.ratio[network.n_line :][: network.n_trafo]
    np.testing.assert_allclose(ratio[live], expected[live], rtol=1e-12)


def test_runs_of_one_network_in_two_orders_are_equal_to_the_byte(tmp_path):
    tables, original = [], copy.deepcopy(ORIGINAL)
    original.gen = original.gen.iloc[:0]
    for name, net in (("a", original), ("b", permuted(original, 4))):
        scenario = small_scenario(2, communication__loss=0.05)
        with Simulation(scenario, tmp_path / name, case=case_from_net(net)) as simulation:
            simulation.run()
        tables.append({path.name: path.read_bytes() for path in (tmp_path / name).glob("*.parquet")})
    assert {"bus.parquet", "peer.parquet"} <= set(tables[0])
    assert tables[0] == tables[1]
