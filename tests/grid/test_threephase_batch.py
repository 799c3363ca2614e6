"""Three-phase batches are the same numbers as step by step; limits, unbalance and pandapower's tables of them."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pandapower as pp
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

import peerwatt.grid
from peerwatt.errors import GridDataError, PowerFlowError
from peerwatt.grid import make_three_phase_engine, three_phase_from_net, threephase_pgm, threephase_session
from peerwatt.grid.convert import quiet
from tests.grid.threephase_nets import feeder, random_injections, unbalanced_nets

RELAXED = {"deadline": None, "suppress_health_check": list(HealthCheck)}
NUMBERS = ("vm_pu", "va_degree", "slack_p_mw", "slack_q_mvar", "losses_mw")
FLOWS = ("p_from_mw", "q_from_mvar", "i_ka", "loading_percent", "pl_mw")


def engine_of(net, name="power-grid-model"):
    network = three_phase_from_net(net)
    return network, make_three_phase_engine(name, network)


def rows(net, size_mw, k):
    pairs = [random_injections(net, size_mw, seed) for seed in range(k)]
    return np.stack([p for p, _ in pairs]), np.stack([q for _, q in pairs])


def assert_same(one, other, atol=1e-10):
    """Two states are the same in pu, MW and kA; in percent and degree a hundred times the digits count."""
    assert (one.converged, bool(one.reason)) == (other.converged, bool(other.reason))
    for name in NUMBERS:
        scale = {"vm_pu": 1, "va_degree": 100}.get(name, 10)
        np.testing.assert_allclose(getattr(one, name), getattr(other, name), rtol=0, atol=scale * atol)
    for table in ("line", "trafo"):
        for name in FLOWS:
            a, b = (getattr(getattr(state, table), name) for state in (one, other))
            np.testing.assert_allclose(a, b, rtol=0, atol=(1000 if name == "loading_percent" else 10) * atol)


@pytest.mark.parametrize(("name", "k"), [("power-grid-model", 8), ("pandapower", 2)])
def test_a_batch_is_its_rows_one_by_one(name, k, monkeypatch):
    monkeypatch.setattr(threephase_pgm, "rows_per_chunk", lambda _: 3)
    net = feeder()
    _, engine = engine_of(net, name)
    p, q = rows(net, 0.01, k)
    states = engine.solve_batch(p, q)
    assert len(states) == k
    assert states.converged.all()
    for row, state in enumerate(states):
        assert_same(state, engine.solve(p[row], q[row]))
        np.testing.assert_array_equal(state.p_mw, p[row])
    assert len(engine.solve_batch(p[:0], q[:0])) == 0


def test_what_an_engine_has_solved_before_changes_no_later_solution():
    net = feeder()
    network, engine = engine_of(net)
    fresh = engine.solve(network.p_mw, network.q_mvar)
    for p, q in zip(*rows(net, 0.02, 4), strict=True):
        engine.solve(p, q)
    assert_same(engine.solve(network.p_mw, network.q_mvar), fresh, atol=0.0)


@pytest.mark.parametrize(("name", "k"), [("power-grid-model", 5), ("pandapower", 3)])
def test_an_infeasible_row_says_why_and_leaves_the_others_alone(name, k):
    net = feeder()
    _, engine = engine_of(net, name)
    p, q = rows(net, 0.01, k)
    right = engine.solve_batch(p, q)
    p[1] -= 5.0 * (p[1] != 0.0)
    states = engine.solve_batch(p, q)
    assert states.converged.tolist() == [row != 1 for row in range(k)]
    assert states.reason[1].startswith(f"{name}: ")
    assert not states[1].converged
    for numbers in (*(getattr(states, name) for name in NUMBERS), *(getattr(states.line, name) for name in FLOWS)):
        assert np.isnan(numbers[1]).all()
    assert np.isnan(states.vuf_percent[1]).all()
    for row in set(range(k)) - {1}:
        assert_same(states[row], right[row], atol=1e-12)


def test_rows_with_a_short_circuit_power_near_the_load_settle_on_the_voltage_that_is_set():
    net = feeder()
    net.ext_grid["s_sc_max_mva"] = 1.5
    _, engine = engine_of(net)
    p, q = rows(net, 0.02, 4)
    states = engine.solve_batch(p, q)
    assert states.converged.all()
    slack = states.vm_pu[:, 0] * np.exp(1j * np.radians(states.va_degree[:, 0]))
    positive = slack @ np.exp(2j * np.pi / 3 * np.arange(3)) / 3
    np.testing.assert_allclose(positive, 1.02, rtol=0, atol=1e-12)


def test_loading_until_collapse_gives_the_same_numbers_by_both_methods_and_none_beyond(monkeypatch):
    network, engine = engine_of(feeder())
    scale = np.linspace(1.0, 14.0, 40)[:, None, None]
    states = engine.solve_batch(scale * network.p_mw, scale * network.q_mvar)
    last = int(np.count_nonzero(states.converged))
    assert 10 < last < 30
    assert states.converged[:last].all()
    assert (np.diff(states.vm_pu[:last, 3, 0]) < 0.0).all()
    assert np.isnan(states.vm_pu[last:]).all()
    assert any("a phase collapses" in reason for reason in states.reason[last:])  # 0 V and so 0 W where nothing draws
    monkeypatch.setattr(threephase_session, "_CURRENT_ITERATIONS", 1)  # so that Newton-Raphson solves all
    newton = engine.solve_batch(scale * network.p_mw, scale * network.q_mvar)
    np.testing.assert_array_equal(newton.converged, states.converged)
    np.testing.assert_allclose(newton.vm_pu, states.vm_pu, rtol=0, atol=1e-10)


def test_memory_beside_the_result_does_not_grow_with_the_rows():
    net = feeder()
    network, engine = engine_of(net)
    p = np.broadcast_to(network.p_mw, (6000, *network.p_mw.shape))
    extra = []
    for k in (3000, 6000):
        tracemalloc.start()
        states = engine.solve_batch(p[:k], 0.0 * p[:k])
        kept, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert states.converged.all()
        extra.append(peak - kept)
    assert extra[1] < 1.2 * extra[0] + 2**20


def test_a_wrong_number_is_named_with_its_row():
    net = feeder()
    _, engine = engine_of(net)
    p, q = rows(net, 0.01, 3)
    q[2, 3, 0] = np.inf
    with pytest.raises(GridDataError, match=r"bus 'corner 1' \(index 3\), phase a, row 2: not a number"):
        engine.solve_batch(p, q)
    with pytest.raises(GridDataError, match=r"expected \(k, 4, 3\) for both"):
        engine.solve_batch(p[0], q[0])


@settings(max_examples=6, **RELAXED)
@given(net=unbalanced_nets(), share=st.lists(st.floats(0.0, 1.5), min_size=2, max_size=4))
def test_random_batches_conserve_power_and_are_their_rows(net, share):
    network, engine = engine_of(net)
    scale = np.array(share)[:, None, None]
    states = engine.solve_batch(scale * network.p_mw, scale * network.q_mvar)
    for row, state in enumerate(states):
        assert_same(state, engine.solve(share[row] * network.p_mw, share[row] * network.q_mvar))
        assume(state.converged)
        assert state.p_mw.sum() + state.slack_p_mw.sum() == pytest.approx(state.losses_mw, abs=1e-9)
        assert state.line.pl_mw.sum() + state.trafo.pl_mw.sum() == pytest.approx(state.losses_mw, abs=1e-12)
        np.testing.assert_allclose(state.trafo.p_from_mw[0], state.slack_p_mw, atol=1e-9)  # phase by phase
        assert (state.line.pl_mw >= -1e-12).all()


@settings(max_examples=3, **RELAXED)
@given(net=unbalanced_nets())
def test_random_networks_are_those_of_runpp_3ph(net):
    network, engine = engine_of(net)
    state = engine.solve(network.p_mw, network.q_mvar)
    with quiet():
        try:
            pp.runpp_3ph(net)
        except pp.LoadflowNotConverged:
            assume(False)
    assert state.converged
    bus, line = net.res_bus_3ph, net.res_line_3ph
    np.testing.assert_allclose(state.vm_pu, bus[["vm_a_pu", "vm_b_pu", "vm_c_pu"]], rtol=0, atol=1e-7)
    np.testing.assert_allclose(state.vuf_percent, bus.unbalance_percent, rtol=0, atol=1e-5)
    np.testing.assert_allclose(state.line.worst_loading_percent, line.loading_percent, rtol=0, atol=1e-4)


@pytest.fixture(scope="module")
def strained():
    """A feeder on which phase a alone is loaded beyond its limits."""
    net = feeder()
    net.line["max_i_ka"] = 0.05
    net.line.loc[1, "max_loading_percent"] = 20.0
    net.bus["min_vm_pu"] = 0.97
    net.trafo["max_loading_percent"] = 15.0
    network, engine = engine_of(net)
    p = np.zeros((3, 4, 3))
    p[1, 3, 0], p[2, 2, 1] = -0.02, 0.012
    return network, engine.solve_batch(p, 0.0 * p)


def test_violations_are_those_of_the_worst_phase_and_of_every_phase_voltage(strained):
    network, states = strained
    found = states.violations(network)
    expected = states.line.loading_percent.max(axis=2) > [100.0, 20.0]
    np.testing.assert_array_equal(found.line_mask, expected)
    np.testing.assert_array_equal(found.low_voltage, states.vm_pu < 0.97)
    assert found.line_mask[1].all()
    assert (states.line.loading_percent[1, :, 1:] < 20.0).all()  # the other phases are idle
    assert found.n_congested.tolist() == [
        0,
        3,
        1,
    ]  # 12 kW on one phase: 15 % of a third of 250 kVA is more, 50 A is less
    assert found.low_voltage[1].any(axis=0).tolist() == [True, False, False]
    assert found.n_voltage.tolist() == [0, int(found.low_voltage[1].any(axis=1).sum()), 0]


def test_violations_of_a_state_are_those_of_its_row(strained):
    network, states = strained
    found = states.violations(network)
    for row, state in enumerate(states):
        own = state.violations(network)
        for name in ("line_mask", "trafo_mask", "low_voltage", "high_voltage"):
            np.testing.assert_array_equal(getattr(own, name), getattr(found[row], name))
        assert (own.n_congested, own.n_voltage) == (found.n_congested[row], found.n_voltage[row])


def test_a_state_without_numbers_exceeds_no_limit():
    network, engine = engine_of(feeder())
    state = engine.solve(100 * network.p_mw, network.q_mvar)
    assert not state.converged
    assert (state.violations(network).n_congested, state.violations(network).n_voltage) == (0, 0)
    with pytest.raises(PowerFlowError, match="no results to give to pandapower: power-grid-model: "):
        state.to_pandapower(network)


def test_unbalance_of_a_batch_is_that_of_its_rows(strained):
    _, states = strained
    for row, state in enumerate(states):
        np.testing.assert_array_equal(states.vuf_percent[row], state.vuf_percent)
        np.testing.assert_array_equal(states.pvur_percent[row], state.pvur_percent)
    assert states.vuf_percent[0].max() < 1e-9
    assert states.vuf_percent[1].max() > 0.1


def test_the_tables_given_to_pandapower_are_those_of_runpp_3ph():
    net = feeder("YNyn", 0.0)
    net.sn_mva = 0.01
    net.ext_grid = net.ext_grid.assign(x0x_max=1.0, r0x0_max=0.2)  # else it contradicts itself on the slack's phases
    pp.create_line(net, 3, 2, 0.1, "NAYY 4x50 SE", name="stub", index=7)
    net.line.loc[7, ["r0_ohm_per_km", "x0_ohm_per_km", "c0_nf_per_km"]] = 1.2, 0.4, 300.0
    pp.create_switch(net, 2, 7, et="l", closed=False)  # its open end is no bus
    network, engine = engine_of(net)
    given = engine.solve(network.p_mw, network.q_mvar).to_pandapower(network)
    with quiet():
        pp.runpp_3ph(net)
    for table in ("bus", "line", "trafo", "ext_grid"):
        ours, theirs = given[f"res_{table}_3ph"], net[f"res_{table}_3ph"]
        assert set(ours.columns) == set(theirs.columns)
        assert list(ours.index) == list(theirs.index)
        for name in ours.columns:
            atol = 1e-5 if name.endswith(("percent", "degree")) else 1e-7
            np.testing.assert_allclose(ours[name], theirs[name], rtol=0, atol=atol, err_msg=f"{table}.{name}")


def test_the_network_given_to_pandapower_solves_to_the_same_tables_again():
    net = feeder()
    net.sn_mva = 0.01
    pp.create_load(net, 2, p_mw=0.006, type=None)
    pp.create_bus(net, 0.4, name="lost", in_service=False)
    network, engine = engine_of(net)
    given = engine.solve(network.p_mw, network.q_mvar).to_pandapower(network)
    before = {table: given[f"res_{table}_3ph"].copy() for table in ("bus", "line", "trafo", "asymmetric_sgen")}
    with quiet():
        pp.runpp_3ph(given)
    for table, ours in before.items():
        theirs = given[f"res_{table}_3ph"]
        np.testing.assert_allclose(ours, theirs[ours.columns], rtol=0, atol=1e-5, err_msg=table)


def test_the_public_names_lead_to_three_phases():
    for name in ("load_three_phase", "ThreePhaseEngine", "ThreePhaseNetwork", "ThreePhaseState", "ThreePhaseStates"):
        assert name in peerwatt.grid.__all__
        assert getattr(peerwatt.grid, name).__name__ == name
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = peerwatt.grid.nothing
