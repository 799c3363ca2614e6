"""Invariant 5: the engines agree with plain pandapower."""

from __future__ import annotations

import copy

import numpy as np
import pandapower as pp
import pandapower.networks as pn
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from peerwatt.errors import GridDataError, PowerFlowError, ScenarioError
from peerwatt.grid import engine, load_case, make_engine
from peerwatt.grid.convert import convert_net, quiet
from peerwatt.grid.engine import ENGINES
from peerwatt.grid.pgm_engine import _input_data
from peerwatt.grid.pgm_session import FastSession, PlainSession, open_session
from peerwatt.grid.simbench_case import simbench_net
from peerwatt.grid.verify import prepare, recompute, set_injections, solve_closely
from tests.grid.nets import injections, radial_nets, street


def assert_like_pandapower(state, net, network, conserved_mw=1e-9):
    """Compare with the result tables of a solved pandapower network."""
    assert state.converged, state.reason
    bus = net.res_bus.loc[network.buses.index]
    np.testing.assert_allclose(state.vm_pu, bus.vm_pu, rtol=0, atol=1e-7)
    np.testing.assert_allclose(state.va_degree, bus.va_degree, rtol=0, atol=1e-4)
    for branch, result, index, ends in (
        (state.line, net.res_line, network.lines.index, ("from", "to")),
        (state.trafo, net.res_trafo, network.trafos.index, ("hv", "lv")),
    ):
        table = result.loc[index].fillna(0.0)
        np.testing.assert_allclose(branch.loading_percent, table.loading_percent, rtol=0, atol=1e-4)
        np.testing.assert_allclose(branch.p_from_mw, table[f"p_{ends[0]}_mw"], rtol=0, atol=1e-6)
        np.testing.assert_allclose(branch.q_from_mvar, table[f"q_{ends[0]}_mvar"], rtol=0, atol=1e-6)
        i_ka = table[[f"i_{end}_ka" for end in ends]].max(axis=1)
        np.testing.assert_allclose(branch.i_ka, i_ka, rtol=0, atol=1e-6)
        np.testing.assert_allclose(branch.pl_mw, table.pl_mw, rtol=0, atol=1e-6)
    shunts = net.res_shunt.p_mw.sum() if len(net.shunt) else 0.0
    losses = net.res_line.pl_mw.sum() + net.res_trafo.pl_mw.sum() + shunts
    assert state.losses_mw == pytest.approx(losses, abs=1e-6)
    assert state.slack_p_mw == pytest.approx(net.res_ext_grid.p_mw.sum(), abs=1e-6)
    assert state.slack_q_mvar == pytest.approx(net.res_ext_grid.q_mvar.sum(), abs=1e-6)
    assert state.p_mw.sum() + state.slack_p_mw == pytest.approx(state.losses_mw, abs=conserved_mw)


def oracle(net):
    """A copy of a network with one generator per bus in place of its units, and how to solve it."""
    bare = copy.deepcopy(net)
    for table in ("load", "sgen", "storage"):
        bare[table]["in_service"] = False
    sgen = [pp.create_sgen(bare, bus, p_mw=0.0) for bus in bare.bus.index]

    def solve(p_mw, q_mvar):
        bare.sgen.loc[sgen, "p_mw"] = p_mw
        bare.sgen.loc[sgen, "q_mvar"] = q_mvar
        with quiet():
            try:  # its own 1e-8 MVA is worth more than 1e-7 pu where impedances are high
                pp.runpp(bare, trafo_model="pi", lightsim2grid=False, tolerance_mva=1e-10)
            except pp.LoadflowNotConverged:
                pp.runpp(bare, trafo_model="pi", lightsim2grid=False)
        return bare

    return solve


def simbench_with_taps(code):
    """SimBench's positions count; to plain pandapower the kind of tap changer has to be given."""
    net = simbench_net(code)
    net.trafo["tap_changer_type"] = "Ratio"
    return net


NETWORKS = {
    "1-LV-rural1--2-sw": (lambda: simbench_with_taps("1-LV-rural1--2-sw"), 0.01),
    "case33bw": (pn.case33bw, 0.2),
    "CIGRE MV": (lambda: pn.create_cigre_network_mv(with_der="all"), 0.5),
}


def compare_at_random_points(net, size_mw, name):
    network, solve = convert_net(net, name), oracle(net)
    engine = make_engine("power-grid-model", network)
    for seed in range(4):
        p_mw, q_mvar = injections(network, size_mw, seed)
        assert_like_pandapower(engine.solve(p_mw, q_mvar), solve(p_mw, q_mvar), network)


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow if "LV" in name else ()) for name in NETWORKS]
)
def test_power_grid_model_agrees_with_plain_pandapower(name):
    with quiet():
        net = NETWORKS[name][0]()
    compare_at_random_points(net, NETWORKS[name][1], name)


def test_power_grid_model_agrees_with_plain_pandapower_on_the_village(village_net):
    compare_at_random_points(village_net, 0.01, "village")


@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
@given(net=radial_nets(), seed=st.integers(0, 1000))
def test_engines_agree_on_random_radial_grids(net, seed):
    network = convert_net(net, "random")
    p_mw, q_mvar = injections(network, 0.005, seed)
    solved = oracle(net)(p_mw, q_mvar)
    assert_like_pandapower(make_engine("power-grid-model", network).solve(p_mw, q_mvar), solved, network)


@settings(max_examples=2, deadline=None, suppress_health_check=list(HealthCheck))
@given(net=radial_nets(), seed=st.integers(0, 1000))
def test_reference_engine_agrees_with_plain_pandapower(net, seed):
    network = convert_net(net, "random")
    p_mw, q_mvar = injections(network, 0.005, seed)
    solved = oracle(net)(p_mw, q_mvar)
    state = make_engine("pandapower", network).solve(p_mw, q_mvar)
    assert_like_pandapower(state, solved, network, conserved_mw=1e-7)


def _ring(net):
    pp.create_line(net, 1, 4, 0.2, "NAYY 4x150 SE")
    return net


def _two_supplies(net):
    pp.create_ext_grid(net, 4, vm_pu=1.01, va_degree=-149.0)
    return net


def _line_between_joined_buses(net):
    pp.create_switch(net, 2, 3, et="b", closed=True)
    return net


def _switch_with_impedance(net):
    bus = pp.create_bus(net, 0.4)
    pp.create_switch(net, 4, bus, et="b", closed=True, z_ohm=0.01)
    return net


def _trafo_behind_open_switch(net):
    pp.create_transformer(net, 0, 1, "0.4 MVA 20/0.4 kV")
    pp.create_switch(net, 1, 1, et="t", closed=False)
    return net


def _phase_shifter(net):
    net.trafo[["shift_degree", "tap_pos"]] = [30.0, 2]
    return net


@pytest.mark.parametrize(
    "change",
    [
        _ring,
        _two_supplies,
        _line_between_joined_buses,
        _trafo_behind_open_switch,
        _phase_shifter,
    ],
)
@pytest.mark.parametrize("name", ["power-grid-model", "pandapower"])
def test_engines_hold_what_pandapower_holds(change, name):
    net = change(street())
    network = convert_net(net, "street")
    p_mw, q_mvar = injections(network, 0.01, 7)
    state = make_engine(name, network).solve(p_mw, q_mvar)
    assert_like_pandapower(state, oracle(net)(p_mw, q_mvar), network, conserved_mw=1e-7)


def test_branches_without_a_rating_carry_current_and_lose_power():
    net = _switch_with_impedance(street())
    bus = pp.create_bus(net, 0.4)
    pp.create_impedance(net, 4, bus, rft_pu=0.01, xft_pu=0.02, sn_mva=0.1)
    network = convert_net(net, "street")
    p_mw, q_mvar = injections(network, 0.01, 7)
    fast = make_engine("power-grid-model", network).solve(p_mw, q_mvar)
    slow = make_engine("pandapower", network).solve(p_mw, q_mvar)
    np.testing.assert_allclose(fast.vm_pu, slow.vm_pu, rtol=0, atol=1e-7)
    assert p_mw.sum() + fast.slack_p_mw == pytest.approx(fast.losses_mw, abs=1e-9)
    assert fast.slack_p_mw == pytest.approx(slow.slack_p_mw, abs=1e-7)


def test_a_generator_that_is_slack_is_an_external_grid():
    net = street()
    net.ext_grid["in_service"] = False
    pp.create_gen(net, 0, p_mw=0.0, vm_pu=1.01, slack=True)
    network = convert_net(net, "street")
    p_mw, q_mvar = injections(network, 0.01, 7)
    fast = make_engine("power-grid-model", network).solve(p_mw, q_mvar)
    slow = make_engine("pandapower", network).solve(p_mw, q_mvar)
    np.testing.assert_allclose(fast.vm_pu, slow.vm_pu, rtol=0, atol=1e-7)
    assert fast.slack_p_mw == pytest.approx(slow.slack_p_mw, abs=1e-7)


@pytest.mark.parametrize("name", ["power-grid-model", "pandapower"])
def test_an_infeasible_load_is_told_and_the_engine_goes_on(name):
    network = convert_net(street(), "street")
    engine = make_engine(name, network)
    p_mw, q_mvar = injections(network, 0.01, 1)
    before = engine.solve(p_mw, q_mvar)
    failed = engine.solve(p_mw - 5.0, q_mvar)
    assert not failed.converged
    assert name.split("-")[0] in failed.reason
    assert "converge" in failed.reason
    assert "\n" not in failed.reason
    for values in (failed.vm_pu, failed.va_degree, failed.line.loading_percent, failed.trafo.pl_mw):
        assert np.isnan(values).all()
    assert np.isnan([failed.slack_p_mw, failed.slack_q_mvar, failed.losses_mw]).all()
    np.testing.assert_array_equal(failed.p_mw, p_mw - 5.0)
    assert failed.violations(network).n_congested == 0
    assert failed.overflow_sum_mw(network) == 0.0
    after = engine.solve(p_mw, q_mvar)
    assert after.converged
    np.testing.assert_allclose(after.vm_pu, before.vm_pu, rtol=0, atol=1e-12)


def test_equal_injections_give_equal_bits_whatever_was_solved_before(village):
    engine = make_engine("power-grid-model", village.network)
    p_mw, q_mvar = injections(village.network, 0.01, 1)
    first = engine.solve(p_mw, q_mvar)
    engine.solve(3 * p_mw, q_mvar)
    engine.solve(1000 * p_mw, q_mvar)
    again = engine.solve(p_mw, q_mvar)
    np.testing.assert_array_equal(first.vm_pu, again.vm_pu)
    np.testing.assert_array_equal(first.line.loading_percent, again.line.loading_percent)
    assert first.slack_p_mw == again.slack_p_mw


def test_a_state_does_not_change_when_the_caller_reuses_its_arrays(village):
    engine = make_engine("power-grid-model", village.network)
    p_mw, q_mvar = injections(village.network, 0.01, 1)
    state = engine.solve(p_mw, q_mvar)
    vm_pu, given = state.vm_pu.copy(), p_mw.copy()
    p_mw[:] = 0.0
    engine.solve(p_mw, q_mvar)
    np.testing.assert_array_equal(state.vm_pu, vm_pu)
    np.testing.assert_array_equal(state.p_mw, given)


def test_injections_that_are_no_numbers_are_refused_by_bus(village):
    network = village.network
    p_mw = np.zeros(network.n_bus)
    p_mw[[3, 5]] = np.nan
    with pytest.raises(GridDataError, match=network.buses.name[3]) as caught:
        make_engine("power-grid-model", network).solve(p_mw, np.zeros(network.n_bus))
    assert len(caught.value.faults) == 2
    with pytest.raises(GridDataError, match="expected"):
        make_engine("power-grid-model", network).solve(np.zeros(3), np.zeros(3))


def test_an_injection_at_a_dead_bus_is_refused():
    net = street()
    dead = pp.create_bus(net, 0.4, in_service=False, name="ruin")
    network = convert_net(net, "street")
    p_mw = np.zeros(network.n_bus)
    engine = make_engine("power-grid-model", network)
    assert np.isnan(engine.solve(p_mw, p_mw).vm_pu[network.bus_position(dead)])
    p_mw[network.bus_position(dead)] = 0.01
    with pytest.raises(GridDataError, match="ruin"):
        engine.solve(p_mw, np.zeros(network.n_bus))


def test_both_sessions_give_the_same_bits(village):
    model = village.network.admittances
    data = _input_data(model)
    fast, plain = FastSession(data, model.n_node), PlainSession(data, model.n_node)
    for size in (1e3, 1e4, 1e9):
        load = np.linspace(-size, 0.0, model.n_node)
        fast.p_w[:] = plain.p_w[:] = load
        assert fast.solve() == plain.solve()
        if size < 1e9:
            np.testing.assert_array_equal(fast.vm_pu, plain.vm_pu)
            np.testing.assert_array_equal(fast.va_rad, plain.va_rad)


def test_the_locked_library_is_one_that_the_fast_session_was_tested_with(village):
    model = village.network.admittances
    assert isinstance(open_session(_input_data(model), model.n_node), FastSession)


def test_another_library_version_gets_the_public_functions(village, monkeypatch):
    monkeypatch.setattr("peerwatt.grid.pgm_session.version", lambda name: "1.99.0")
    model = village.network.admittances
    assert isinstance(open_session(_input_data(model), model.n_node), PlainSession)


def test_recompute_takes_a_file_and_buses_in_any_order(tmp_path):
    net = street()
    network = convert_net(net, "street")
    p_mw, q_mvar = injections(network, 0.005, 3)
    state = make_engine("power-grid-model", network).solve(p_mw, q_mvar)
    assert_like_pandapower(state, recompute(network.pandapower_json, p_mw, q_mvar), network)
    path = tmp_path / "network.json"
    path.write_text(network.pandapower_json)
    order = np.argsort(p_mw)
    solved = recompute(path, p_mw[order], q_mvar[order], network.buses.index[order])
    assert_like_pandapower(state, solved, network)
    with pytest.raises(GridDataError, match="5 buses"):
        recompute(path, p_mw[:2], q_mvar[:2])
    with pytest.raises(PowerFlowError, match="converge"):
        recompute(path, p_mw - 10, q_mvar)


def test_a_cable_of_a_metre_is_solved_as_closely_as_rounding_allows():
    net = pp.create_empty_network()
    a, b, c = (pp.create_bus(net, 20.0) for _ in range(3))
    pp.create_ext_grid(net, a)
    for start, end, length_km in ((a, b, 1.0), (b, c, 0.001)):
        pp.create_line(net, start, end, length_km, "NA2XS2Y 1x185 RM/25 12/20 kV")
    network, p_mw = convert_net(net, "cable"), np.array([0.0, 0.0, -3.0])
    solved = oracle(net)(p_mw, p_mw / 3)
    with quiet(), pytest.raises(pp.LoadflowNotConverged):
        pp.runpp(solved, trafo_model="pi", lightsim2grid=False, tolerance_mva=1e-10)
    state = make_engine("pandapower", network).solve(p_mw, p_mw / 3)
    assert state.converged
    np.testing.assert_allclose(state.vm_pu, make_engine("power-grid-model", network).solve(p_mw, p_mw / 3).vm_pu)


@pytest.mark.slow
def test_the_reference_is_closer_than_pandapower_stops_by_default():
    network = load_case("ieee-eu-lv").network
    p_mw, q_mvar = injections(network, 1e-4, 0)
    exact = make_engine("power-grid-model", network).solve(p_mw, q_mvar)
    net = pp.from_json_string(network.pandapower_json)
    prepare(net)
    set_injections(net, p_mw, q_mvar, network.buses.index)
    with quiet():
        pp.runpp(net, trafo_model="pi", lightsim2grid=False)
        early = np.abs(net.res_bus.vm_pu.to_numpy() - exact.vm_pu).max()
        solve_closely(net)
    assert np.abs(net.res_bus.vm_pu.to_numpy() - exact.vm_pu).max() < min(2e-8, early)


def test_an_unknown_engine_is_refused_with_the_nearest_name(village):
    with pytest.raises(ScenarioError, match="did you mean 'power-grid-model'"):
        make_engine("power-grid-mode", village.network, "grid.engine")


def test_users_register_engines_of_their_own(village):
    @engine("mine")
    class Mine:
        name = "mine"

        def __init__(self, network):
            self.network = network

    try:
        assert make_engine("mine", village.network).network is village.network
        assert set(ENGINES.names()) >= {"mine", "pandapower", "power-grid-model"}
    finally:
        ENGINES._items.pop("mine")
