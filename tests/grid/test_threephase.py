"""Three phases: against `runpp_3ph`, and against a hand-built phase-domain solution that arbitrates."""

from __future__ import annotations

import numpy as np
import pandapower as pp
import pytest
from pandapower.networks import ieee_european_lv_asymmetric

from peerwatt.errors import GridDataError, ScenarioError
from peerwatt.grid import load_case
from peerwatt.grid.convert import convert_net, quiet
from peerwatt.grid.pgm_engine import PgmEngine
from peerwatt.grid.threephase import (
    DEFAULT_THREE_PHASE_ENGINE,
    load_three_phase,
    make_three_phase_engine,
    pvur_percent,
    three_phase_from_net,
    vuf_percent,
)
from tests.grid.threephase_nets import arbiter, chain, feeder, random_injections


def voltage(state):
    assert state.converged, state.reason
    return state.vm_pu * np.exp(1j * np.radians(state.va_degree))


def engines(net):
    network = three_phase_from_net(net)
    return network, make_three_phase_engine("power-grid-model", network), make_three_phase_engine("pandapower", network)


def same(a, b):
    """Two exact engines agree."""
    assert np.abs(a.vm_pu - b.vm_pu).max() < 1e-7
    assert np.abs(a.va_degree - b.va_degree).max() < 1e-4
    for table in ("line", "trafo"):
        one, other = getattr(a, table), getattr(b, table)
        assert np.abs(one.loading_percent - other.loading_percent).max() < 1e-4
        assert np.abs(one.p_from_mw - other.p_from_mw).max() < 1e-6
        assert np.abs(one.q_from_mvar - other.q_from_mvar).max() < 1e-6
        assert np.abs(one.i_ka - other.i_ka).max() < 1e-6
        assert np.abs(one.pl_mw - other.pl_mw).max() < 1e-6
    assert abs(a.losses_mw - b.losses_mw) < 1e-6


@pytest.mark.parametrize(("group", "shift"), [("Dyn", 30.0), ("Dyn", -30.0), ("YNyn", 0.0)])
def test_random_unbalance_on_four_buses_is_that_of_the_arbiter_and_of_runpp_3ph(group, shift):
    net = feeder(group, shift)
    _, engine, reference = engines(net)
    for seed in range(3):
        p, q = random_injections(net, 0.015, seed)
        state = engine.solve(p, q)
        assert np.abs(voltage(state) - arbiter(net, p, q)).max() < 2e-8
        same(state, reference.solve(p, q))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("group", "shift"),
    [("Dd", 0), ("Dy", 30), ("Dyn", -30), ("Yd", -30), ("Yy", 180), ("Yyn", 0), ("YNd", 30), ("YNy", 0), ("YNyn", 180)],
)
def test_every_vector_group_is_that_of_the_arbiter_and_of_runpp_3ph_where_it_has_it(group, shift):
    net = chain(group, shift)
    network = three_phase_from_net(net)
    state = make_three_phase_engine("power-grid-model", network).solve(network.p_mw, network.q_mvar)
    assert state.vuf_percent.max() > 0.1
    assert np.abs(voltage(state) - arbiter(net, network.p_mw, network.q_mvar)).max() < 2e-8
    if group in ("Yyn", "YNd", "YNy"):
        with pytest.raises(GridDataError, match=rf"trafo 'bulk' \(index 1\): runpp_3ph does not solve .* '{group}'"):
            make_three_phase_engine("pandapower", network)
    else:
        same(state, make_three_phase_engine("pandapower", network).solve(network.p_mw, network.q_mvar))


def test_zero_sequence_current_of_single_phase_loads_passes_the_core_of_a_yyn():
    net = feeder("Yyn", 0.0)
    network = three_phase_from_net(net)
    state = make_three_phase_engine("power-grid-model", network).solve(network.p_mw, network.q_mvar)
    assert np.abs(voltage(state) - arbiter(net, network.p_mw, network.q_mvar)).max() < 2e-8
    solid = make_three_phase_engine("power-grid-model", three_phase_from_net(feeder()))
    other = voltage(solid.solve(network.p_mw, network.q_mvar))
    assert np.abs(voltage(state)[1].sum()) > 5 * np.abs(other[1].sum())  # at the busbar


@pytest.fixture(scope="module")
def european():
    with quiet():
        return ieee_european_lv_asymmetric()


def test_a_file_is_loaded_as_the_network_it_was_saved_from(tmp_path):
    net = feeder()
    pp.to_json(net, tmp_path / "street.json")
    network = load_three_phase(str(tmp_path / "street.json"))
    np.testing.assert_array_equal(network.p_mw, three_phase_from_net(net).p_mw)


def test_the_feeder_has_the_buses_and_the_total_load_of_the_case_of_its_name():
    network, case = load_three_phase("ieee-eu-lv"), load_case("ieee-eu-lv")
    np.testing.assert_array_equal(network.buses.index, case.network.buses.index)
    values = case.series.window("2016-06-21T12:00", periods=1, period_s=900)
    p_mw, _ = case.units.injection(values, case.network.n_bus)
    np.testing.assert_allclose(network.p_mw.sum(axis=1), p_mw[0], atol=1e-9)


def test_the_european_feeder_has_55_single_phase_loads():
    network = load_three_phase("ieee-european-lv")
    assert network.n_bus == 907
    assert (np.count_nonzero(network.p_mw, axis=1) <= 1).all()
    assert np.count_nonzero(network.p_mw) == 55
    assert network.p_mw.sum(axis=0) == pytest.approx([-0.017436, -0.033698, -0.006224], abs=1e-6)


@pytest.mark.slow
def test_random_loads_on_the_european_feeder_are_those_of_the_arbiter_and_of_runpp_3ph(european):
    network, engine, reference = engines(european)
    rng = np.random.default_rng(3)
    for k in range(3):
        share = rng.uniform(0.0, 3.0, (network.n_bus, 1))
        p, q = share * network.p_mw, share * network.q_mvar
        state = engine.solve(p, q)
        if k == 0:
            assert np.abs(voltage(state) - arbiter(european, p, q)).max() < 2e-8
        other = reference.solve(p, q)
        same(state, other)
        assert np.abs(state.slack_p_mw - other.slack_p_mw).max() < 1e-6


def test_runpp_3ph_contradicts_itself_on_the_phases_of_the_slack():
    """It takes the negative sequence impedance of the source out of the zero sequence."""
    net = feeder("YNyn", 0.0)
    _, engine, reference = engines(net)
    p, q = random_injections(net, 0.015, 0)
    state, other = engine.solve(p, q), reference.solve(p, q)
    assert state.slack_p_mw == pytest.approx(state.trafo.p_from_mw[0], abs=1e-8)
    assert np.abs(other.slack_p_mw - other.trafo.p_from_mw[0]).max() > 1e-3
    net.ext_grid = net.ext_grid.assign(x0x_max=1.0, r0x0_max=0.2)  # equal impedances
    _, engine, reference = engines(net)
    assert engine.solve(p, q).slack_p_mw == pytest.approx(reference.solve(p, q).slack_p_mw, abs=1e-7)


def test_runpp_3ph_scales_a_zigzag_with_the_base_power_and_drops_symmetric_units_without_type():
    net = feeder("Yzn")
    pp.create_load(net, 2, p_mw=0.01, type=None)
    voltages = []
    for net.sn_mva in (1.0, 10.0):
        with quiet():
            pp.runpp_3ph(net)
        voltages.append(net.res_bus_3ph.vm_a_pu[3])
    assert abs(voltages[0] - voltages[1]) > 1e-3
    assert net.res_ext_grid_3ph.filter(regex="p_._mw").to_numpy().sum() < 0.025  # 20 kW of single-phase loads


def test_a_small_magnetising_impedance_is_what_an_engine_without_it_misses(european):
    """mag0_percent = 100 is in parallel to the leakage; the page on three phases has the numbers."""
    net = pp.pandapowerNet(european)
    network = three_phase_from_net(european)
    given = arbiter(european, network.p_mw, network.q_mvar)
    net.trafo = european.trafo.assign(mag0_percent=1e10)
    without = arbiter(net, network.p_mw, network.q_mvar)
    difference = np.abs(np.abs(given) - np.abs(without)).max()
    assert difference == pytest.approx(6.2e-4, rel=0.02)
    engine = make_three_phase_engine("power-grid-model", three_phase_from_net(net))
    assert np.abs(voltage(engine.solve(network.p_mw, network.q_mvar)) - without).max() < 2e-8


def test_plain_runpp_3ph_stops_early_where_the_base_power_is_large(european):
    net = pp.pandapowerNet(european)
    network = three_phase_from_net(net)
    right = np.abs(arbiter(european, network.p_mw, network.q_mvar))
    with quiet():
        pp.runpp_3ph(net)
    plain = net.res_bus_3ph[["vm_a_pu", "vm_b_pu", "vm_c_pu"]].to_numpy()
    assert net.sn_mva == 100.0
    assert 1e-6 < np.abs(plain - right).max() < 1e-5


def test_an_earthing_reactor_counts_three_times():
    net = feeder()
    net.trafo["xn_ohm"] = 0.05
    network = three_phase_from_net(net)
    engine = make_three_phase_engine("power-grid-model", network)
    p, q = random_injections(net, 0.01, 1)
    assert np.abs(voltage(engine.solve(p, q)) - arbiter(net, p, q)).max() < 2e-8
    with pytest.raises(GridDataError, match=r"trafo 'station' \(index 0\): runpp_3ph takes a third"):
        make_three_phase_engine("pandapower", network)


def test_balanced_three_phases_are_the_symmetric_engine():
    net = feeder()
    net.trafo["pfe_kw"] = net.trafo["i0_percent"] = 0.0  # the symmetric engine has the pi model
    network = three_phase_from_net(net)
    net.asymmetric_load = net.asymmetric_load.iloc[:0]
    symmetric = PgmEngine(convert_net(net, "network"))
    p = np.array([0.0, -0.03, -0.06, 0.03])
    whole = symmetric.solve(p, p / 3)
    state = make_three_phase_engine(DEFAULT_THREE_PHASE_ENGINE, network).solve(
        np.outer(p, [1, 1, 1]) / 3, np.outer(p, [1, 1, 1]) / 9
    )
    assert state.vm_pu == pytest.approx(np.outer(whole.vm_pu, [1, 1, 1]), abs=1e-7)
    assert state.va_degree[:, 0] == pytest.approx(whole.va_degree, abs=1e-5)
    assert state.line.loading_percent[:, 1] == pytest.approx(whole.line.loading_percent, abs=1e-4)
    assert state.trafo.loading_percent[:, 2] == pytest.approx(whole.trafo.loading_percent, abs=1e-4)
    assert state.losses_mw == pytest.approx(whole.losses_mw, abs=1e-6)
    assert state.slack_q_mvar.sum() == pytest.approx(whole.slack_q_mvar, abs=1e-6)
    assert state.vuf_percent == pytest.approx(np.zeros(4), abs=1e-5)


@pytest.mark.parametrize("table", ["bus", "line", "asymmetric_load"])
def test_the_order_of_a_table_changes_nothing(table):
    net = feeder()
    p, q = random_injections(net, 0.01, 3)
    straight, engine, _ = engines(net)
    state = engine.solve(p, q)
    net[table] = net[table].iloc[::-1]
    network, engine, reference = engines(net)
    np.testing.assert_array_equal(network.p_mw, straight.p_mw)
    same(engine.solve(p, q), state)
    same(reference.solve(p, q), state)


@pytest.mark.parametrize("name", ["power-grid-model", "pandapower"])
def test_power_is_conserved(name):
    net = feeder()
    engine = make_three_phase_engine(name, three_phase_from_net(net))
    p, q = random_injections(net, 0.01, 7)
    state = engine.solve(p, q)
    assert p.sum() + state.slack_p_mw.sum() == pytest.approx(state.losses_mw, abs=1e-7)
    assert state.line.pl_mw.sum() + state.trafo.pl_mw.sum() == pytest.approx(state.losses_mw, abs=1e-7)


def test_symmetric_units_are_split_equally_whatever_their_type():
    net = feeder()
    pp.create_load(net, 2, p_mw=0.03, q_mvar=0.006, scaling=0.5)
    pp.create_sgen(net, 3, p_mw=0.009, type="PV")
    network = three_phase_from_net(net)
    assert network.p_mw[2] == pytest.approx([-0.013, -0.007, -0.005])
    assert network.q_mvar[2] == pytest.approx([-0.002, -0.001, -0.001])
    assert network.p_mw[3] == pytest.approx([-0.005, 0.001, 0.003])


def test_the_negative_sequence_factor_of_a_known_voltage():
    angle = np.array([0.0, -120.0, 120.0])
    positive, negative = np.exp(1j * np.radians(angle)), 0.02 * np.exp(-1j * np.radians(angle))
    mixed = positive + negative + 0.03  # a zero sequence changes nothing
    assert vuf_percent(np.abs(mixed), np.degrees(np.angle(mixed))) == pytest.approx(2.0)
    assert vuf_percent(np.array([0.9, 1.0, 1.0]), angle) == pytest.approx(100 * (0.1 / 3) / (2.9 / 3))


def test_the_voltage_unbalance_rate_of_known_magnitudes():
    assert pvur_percent(np.array([0.9, 1.0, 1.1])) == pytest.approx(10.0)
    assert pvur_percent(np.array([[230.0, 232.0, 225.0]])) == pytest.approx([100 * 4 / 229])


def test_missing_zero_sequence_data_are_named_all_at_once():
    net = feeder()
    net.line.loc[1, ["r0_ohm_per_km", "c0_nf_per_km"]] = np.nan
    net.trafo = net.trafo.drop(columns=["vk0_percent"]).assign(mag0_percent=0.0)
    net.ext_grid["s_sc_max_mva"] = np.nan
    with pytest.raises(GridDataError) as error:
        three_phase_from_net(net, "mine")
    text = str(error.value)
    assert len(error.value.faults) == 5
    for part in (
        "mine: line 'cable 1' (index 1): r0_ohm_per_km is missing",
        "mine: line 'cable 1' (index 1): c0_nf_per_km is missing",
        "mine: trafo 'station' (index 0): vk0_percent is missing",
        "mine: trafo 'station' (index 0): mag0_percent is 0.0",
        "mine: ext_grid 'grid' (index 0): s_sc_max_mva is missing",
    ):
        assert part in text


def test_a_zigzag_is_refused_with_what_is_equal_to_it():
    with pytest.raises(GridDataError, match=r"trafo 'station' \(index 0\): vector group 'Yzn'.*equal is Dyn with"):
        three_phase_from_net(feeder("Yzn"))


@pytest.mark.parametrize("group", ["ZNd", "Dyn11", None])
def test_a_vector_group_that_is_not_supported_is_named(group):
    net = feeder()
    net.trafo["vector_group"] = net.trafo["vector_group"].astype(object)
    net.trafo.loc[0, "vector_group"] = group
    with pytest.raises(GridDataError, match=r"trafo 'station' \(index 0\).*vector.group.*allowed: Dd, Dy, Dyn"):
        three_phase_from_net(net)


def test_buses_without_a_path_to_earth_are_named():
    net = feeder("Dy")
    net.line["c0_nf_per_km"] = 0.0
    with pytest.raises(GridDataError, match="3 buses have no zero sequence path to earth: busbar, corner 0, corner 1"):
        three_phase_from_net(net)


def test_what_only_a_symmetric_power_flow_knows_is_named_together_with_other_faults():
    net = feeder()
    pp.create_gen(net, 3, p_mw=0.01, vm_pu=1.0, name="turbine")
    pp.create_load(net, 2, p_mw=0.01, const_i_p_percent=50.0, name="lamp")
    pp.create_bus(net, 0.4, name="lost", in_service=False)
    pp.create_ward(net, 2, 0.0, 0.0, 0.0, 0.0, name="oven")
    net.line.loc[0, "r0_ohm_per_km"] = np.nan
    with pytest.raises(GridDataError) as error:
        three_phase_from_net(net)
    named = {fault.where for fault in error.value.faults}
    assert named == {
        "network: gen 'turbine' (index 0)",
        "network: load 'lamp' (index 0)",
        "network: ward 'oven' (index 0)",
        "network: line 'cable 0' (index 0)",
    }


def test_a_network_without_zero_sequence_columns_and_one_with_an_island_are_named():
    net = feeder()
    net.line = net.line.drop(columns=["r0_ohm_per_km", "x0_ohm_per_km", "c0_nf_per_km"])
    with pytest.raises(GridDataError, match=r"line 'cable 0' \(index 0\): r0_ohm_per_km is missing"):
        three_phase_from_net(net)
    net = feeder()
    net.line.loc[1, "in_service"] = False
    with pytest.raises(GridDataError, match=r"no path to an external grid: bus 'corner 1' \(index 3\)"):
        three_phase_from_net(net)


def test_loads_between_phases_and_odd_elements_are_named():
    net = feeder()
    net.asymmetric_load.loc[1, "type"] = "delta"
    pp.create_ext_grid(net, 3, name="second", s_sc_max_mva=100.0, rx_max=0.1, x0x_max=1.0, r0x0_max=0.1)
    with pytest.raises(GridDataError) as error:
        three_phase_from_net(net)
    assert [fault.where for fault in error.value.faults] == [
        "network: ext_grid 'second' (index 1)",
        "network: asymmetric_load 'house 1' (index 1)",
    ]


def test_a_phase_shift_off_the_clock_is_left_to_runpp_3ph():
    network = three_phase_from_net(feeder(shift=20.0))
    with pytest.raises(GridDataError, match=r"trafo 'station' \(index 0\): .*not 20"):
        make_three_phase_engine("power-grid-model", network)
    assert make_three_phase_engine("pandapower", network).solve(network.p_mw, network.q_mvar).converged


def test_an_infeasible_loading_gives_a_reason_and_no_numbers():
    network, engine, _ = engines(feeder())
    state = engine.solve(50 * network.p_mw, network.q_mvar)
    assert not state.converged
    assert state.reason.startswith("power-grid-model: ")
    assert np.isnan(state.vm_pu).all()
    assert np.isnan(state.losses_mw)
    assert engine.solve(network.p_mw, network.q_mvar).converged


def test_injections_that_no_grid_can_take_are_named():
    network, engine, _ = engines(feeder())
    with pytest.raises(GridDataError, match="shape"):
        engine.solve(network.p_mw[:, 0], network.q_mvar)
    wrong = network.p_mw.copy()
    wrong[2, 1] = np.nan
    with pytest.raises(GridDataError, match=r"bus 'corner 0' \(index 2\), phase b: not a number"):
        engine.solve(wrong, network.q_mvar)


def test_switches_taps_and_parallel_units_are_those_of_runpp_3ph():
    net = feeder()
    net.trafo = net.trafo.assign(
        tap_pos=2, tap_neutral=0, tap_min=-2, tap_max=2, tap_step_percent=2.5, tap_side="hv", tap_changer_type="Ratio"
    )
    net.trafo["parallel"], net.line["parallel"], net.line["df"] = 2, [2, 1], 0.8
    bus = pp.create_bus(net, 0.4, name="branch")
    pp.create_switch(net, 3, bus, et="b")
    spare = net.line.iloc[[0]].assign(from_bus=bus, name="stub")
    net.line.loc[2] = spare.iloc[0]
    pp.create_switch(net, 2, 2, et="l", closed=False)
    _, engine, reference = engines(net)
    for seed in range(3):
        p, q = random_injections(net, 0.01, seed)
        same(engine.solve(p, q), reference.solve(p, q))


def test_unknown_names_come_with_the_known_ones():
    with pytest.raises(GridDataError, match=r"did you mean 'ieee-eu-lv'.*path of a \.json"):
        load_three_phase("ieee-eu-lw")
    with pytest.raises(ScenarioError, match="power-grid-model"):
        make_three_phase_engine("opendss", three_phase_from_net(feeder()))
