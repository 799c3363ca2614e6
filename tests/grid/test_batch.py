"""Batches are the same numbers as step by step, with failures that stay in their rows."""

from __future__ import annotations

import importlib.util
import logging
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandapower as pp
import pandapower.networks as pn
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from peerwatt.errors import GridDataError, PowerFlowError
from peerwatt.grid import CASES, make_engine
from peerwatt.grid.batch import GridStates, difference
from peerwatt.grid.convert import convert_net, quiet
from peerwatt.grid.engine import Engine
from peerwatt.grid.flows import total_shunts
from peerwatt.grid.pgm_engine import PgmEngine
from tests.grid.nets import CABLE, injections, radial_nets, street

ALL = ("power-grid-model", "pandapower", "lindistflow", "dc")
RELAXED = settings(max_examples=6, deadline=None, suppress_health_check=list(HealthCheck))


def rows(network, size_mw, k, seed=0):
    pairs = [injections(network, size_mw, seed + row) for row in range(k)]
    return np.stack([p for p, _ in pairs]), np.stack([q for _, q in pairs])


def assert_same(one, other, atol=1e-10):
    """Two states are the same in pu, MW and kA; in percent and degree a hundred times the digits count."""
    assert one.converged == other.converged
    assert bool(one.reason) == bool(other.reason)
    for name, scale in (("vm_pu", 1), ("va_degree", 100), ("p_mw", 0), ("q_mvar", 0)):
        np.testing.assert_allclose(getattr(one, name), getattr(other, name), rtol=0, atol=scale * atol)
    for name in ("slack_p_mw", "slack_q_mvar", "losses_mw"):
        np.testing.assert_allclose(getattr(one, name), getattr(other, name), rtol=0, atol=10 * atol)
    for table in ("line", "trafo"):
        for name, scale in (("p_from_mw", 1), ("q_from_mvar", 1), ("i_ka", 1), ("pl_mw", 1), ("loading_percent", 100)):
            a, b = (getattr(getattr(state, table), name) for state in (one, other))
            np.testing.assert_allclose(a, b, rtol=0, atol=10 * scale * atol)


@st.composite
def meshed_nets(draw):
    """A random radial grid in which some more cables close loops."""
    net = draw(radial_nets())
    live = [int(bus) for bus in net.bus.index[net.bus.in_service & (net.bus.vn_kv < 1.0)]]
    for _ in range(draw(st.integers(1, 3))):
        a, b = draw(st.sampled_from(live)), draw(st.sampled_from(live))
        if a != b:
            pp.create_line(net, a, b, draw(st.floats(0.005, 0.3)), CABLE)
    return net


@pytest.mark.parametrize("name", ALL)
def test_a_batch_is_its_rows_one_by_one(name):
    network = convert_net(street(), "street")
    engine = make_engine(name, network)
    p_mw, q_mvar = rows(network, 0.01, 6)
    states = engine.solve_batch(p_mw, q_mvar)
    assert len(states) == 6
    assert states.converged.all()
    for row, state in enumerate(states):
        assert_same(state, engine.solve(p_mw[row], q_mvar[row]))


@pytest.mark.parametrize("name", ["power-grid-model", "pandapower", "lindistflow"])
def test_an_infeasible_row_says_why_and_leaves_the_others_alone(name):
    network = convert_net(street(), "street")
    engine = make_engine(name, network)
    p_mw, q_mvar = rows(network, 0.01, 5)
    p_mw[[1, 3]] -= 5.0
    states = engine.solve_batch(p_mw, q_mvar)
    np.testing.assert_array_equal(states.converged, [True, False, True, False, True])
    for row, state in enumerate(states):
        assert_same(state, engine.solve(p_mw[row], q_mvar[row]))
        assert state.converged or name.split("-")[0] in state.reason
    for table in (states.line, states.trafo):
        for part in (table.p_from_mw, table.q_from_mvar, table.i_ka, table.loading_percent, table.pl_mw):
            np.testing.assert_array_equal(np.isnan(part).all(axis=1), ~states.converged)
    for part in (states.vm_pu, states.va_degree):
        np.testing.assert_array_equal(np.isnan(part).all(axis=1), ~states.converged)
    for part in (states.slack_p_mw, states.slack_q_mvar, states.losses_mw):
        np.testing.assert_array_equal(np.isnan(part), ~states.converged)
    assert states.violations(network).n_congested[1] == states.violations(network).n_voltage[3] == 0


def test_limits_and_overflows_of_a_batch_are_those_of_its_rows():
    net = street()
    net.trafo["sn_mva"] = 0.05
    net.line.loc[0, "max_loading_percent"] = 60.0
    network = convert_net(net, "street")
    p_mw, q_mvar = rows(network, 0.04, 8)
    p_mw[2] = 0.0
    p_mw[5] -= 5.0
    states = make_engine("power-grid-model", network).solve_batch(p_mw, q_mvar)
    violations = states.violations(network)
    assert violations.n_congested.sum() > 0
    for row, state in enumerate(states):
        single = state.violations(network)
        assert violations.n_congested[row] == violations[row].n_congested == single.n_congested
        assert violations.n_voltage[row] == violations[row].n_voltage == single.n_voltage
        assert states.overflow_sum_mw(network)[row] == pytest.approx(state.overflow_sum_mw(network), abs=1e-12)
        mean = states.overflow_weighted_mean(network)[row]
        assert mean == pytest.approx(state.overflow_weighted_mean(network), abs=1e-12)
        mean = states.overflow_weighted_mw(network)[row]
        assert mean == pytest.approx(state.overflow_weighted_mw(network), abs=1e-12)
        for all_rows, one in zip(states.overflow_mw(network), state.overflow_mw(network), strict=True):
            np.testing.assert_allclose(all_rows[row], one, rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", ALL)
def test_a_batch_without_rows_is_empty(name):
    network = convert_net(street(), "street")
    states = make_engine(name, network).solve_batch(np.zeros((0, 5)), np.zeros((0, 5)))
    assert len(states) == 0
    assert states.vm_pu.shape == (0, 5)
    assert states.line.pl_mw.shape == (0, 3)


def test_chunks_and_threads_do_not_change_the_numbers(monkeypatch):
    net = street(6)
    pp.create_switch(net, 2, 3, et="b", closed=True)  # two buses that are one node
    network = convert_net(net, "street")
    p_mw, q_mvar = rows(network, 0.01, 40)
    p_mw[11] -= 5.0
    whole = PgmEngine(network).solve_batch(p_mw, q_mvar)
    threaded = PgmEngine(network, threads=2).solve_batch(p_mw, q_mvar)
    monkeypatch.setattr("peerwatt.grid.pgm_engine.rows_per_chunk", lambda size: 7)
    monkeypatch.setattr("peerwatt.grid.flows.rows_per_chunk", lambda size, budget: 3)
    chunked = PgmEngine(network).solve_batch(p_mw, q_mvar)
    for other in (threaded, chunked):
        assert other.reason == whole.reason
        np.testing.assert_allclose(other.vm_pu, whole.vm_pu, rtol=0, atol=1e-13)
        np.testing.assert_allclose(other.line.p_from_mw, whole.line.p_from_mw, rtol=0, atol=1e-13)


def test_what_is_wrong_in_a_batch_is_named_with_its_row():
    net = street()
    dead = pp.create_bus(net, 0.4, in_service=False, name="ruin")
    network = convert_net(net, "street")
    engine = make_engine("power-grid-model", network)
    p_mw, q_mvar = np.zeros((3, 6)), np.zeros((3, 6))
    assert np.isnan(engine.solve_batch(p_mw, q_mvar).vm_pu[:, network.bus_position(dead)]).all()
    p_mw[2, 5] = 0.01
    with pytest.raises(GridDataError, match=r"ruin.*row 2"):
        engine.solve_batch(p_mw, q_mvar)
    p_mw[2, 5] = np.nan
    with pytest.raises(GridDataError, match="not a number"):
        engine.solve_batch(p_mw, q_mvar)
    with pytest.raises(GridDataError, match=r"expected \(k, 6\)"):
        engine.solve_batch(p_mw[0], q_mvar[0])


def test_an_engine_of_ones_own_solves_batches_row_by_row():
    network = convert_net(street(), "street")
    exact = make_engine("power-grid-model", network)

    class Mine(Engine):
        name = "mine"

        def solve(self, p_mw, q_mvar):
            return exact.solve(p_mw, q_mvar)

    p_mw, q_mvar = rows(network, 0.01, 3)
    found = difference(Mine().solve_batch(p_mw, q_mvar), exact.solve_batch(p_mw, q_mvar))
    assert found.n_rows == 3
    assert found.vm_pu < 1e-10
    assert found.losses_mw < 1e-10


@RELAXED
@given(net=st.one_of(radial_nets(), meshed_nets()), seed=st.integers(0, 1000), size=st.floats(0.001, 0.05))
def test_batches_agree_with_steps_on_random_grids_and_conserve_power(net, seed, size):
    network = convert_net(net, "random")
    engine = make_engine("power-grid-model", network)
    p_mw, q_mvar = rows(network, size, 3, seed)
    states = engine.solve_batch(p_mw, q_mvar)
    for row, state in enumerate(states):
        step = engine.solve(p_mw[row], q_mvar[row])
        if step.converged and step.vm_pu[~np.isnan(step.vm_pu)].min() > 0.7:
            assert_same(state, step)
        if state.converged:
            assert state.p_mw.sum() + state.slack_p_mw == pytest.approx(state.losses_mw, abs=1e-8)


@RELAXED
@given(net=st.one_of(radial_nets(), meshed_nets()), seed=st.integers(0, 1000), size=st.floats(0.01, 20.0))
def test_a_loading_without_a_solution_is_never_numbers(net, seed, size):
    network = convert_net(net, "random")
    engine = make_engine("power-grid-model", network)
    p_mw, q_mvar = injections(network, size, seed)
    for state in (engine.solve(p_mw, q_mvar), engine.solve_batch(p_mw[None], q_mvar[None])[0]):
        if state.converged:
            assert worst_mismatch_mva(network, state) < 1e-6 * max(1.0, size)
        else:
            assert state.reason
            assert np.isnan(state.vm_pu).all()
            assert np.isnan(state.line.loading_percent).all()
            assert np.isnan([state.slack_p_mw, state.losses_mw]).all()


def worst_mismatch_mva(network, state):
    """Largest difference of given and flowing power at any node that holds no voltage."""
    model = network.admittances
    node = np.full(model.n_node, np.nan, dtype=complex)
    live = model.bus_node >= 0
    node[model.bus_node[live]] = (state.vm_pu * np.exp(1j * np.radians(state.va_degree)))[live]
    matrix = np.diag(total_shunts(model))
    for row in np.flatnonzero(model.live & (model.from_node != model.to_node)):
        a, b, ratio = model.from_node[row], model.to_node[row], model.ratio[row]
        series = -model.ytf[row] * ratio
        matrix[a, a] += series / abs(ratio) ** 2
        matrix[b, b] += series
        matrix[a, b] += model.yft[row]
        matrix[b, a] += model.ytf[row]
    unknown = np.isnan(node)  # open ends of lines
    if unknown.any():
        node[unknown] = np.linalg.solve(
            matrix[np.ix_(unknown, unknown)], -matrix[np.ix_(unknown, ~unknown)] @ node[~unknown]
        )
    power = node * np.conj(matrix @ node)
    np.subtract.at(power, model.bus_node[live], (state.p_mw + 1j * state.q_mvar)[live])
    return np.abs(np.delete(power, model.slack_node)).max()


@pytest.mark.slow
@RELAXED
@given(net=meshed_nets(), seed=st.integers(0, 1000))
def test_pandapower_agrees_on_random_meshed_grids(net, seed):
    network = convert_net(net, "random")
    p_mw, q_mvar = rows(network, 0.005, 1, seed)
    exact = make_engine("power-grid-model", network).solve_batch(p_mw, q_mvar)
    found = difference(exact, make_engine("pandapower", network).solve_batch(p_mw, q_mvar))
    assert found.n_disagree == 0
    assert found.vm_pu < 1e-7
    assert found.va_degree < 1e-4
    assert found.loading_percent < 1e-4
    assert found.losses_mw < 1e-6


def differing_by_direction(network):
    """A network with a branch that power-grid-model cannot represent."""
    yft = network.admittances.yft.copy()
    yft[1] *= 1.1
    return replace(network, admittances=replace(network.admittances, yft=yft))


def test_auto_is_power_grid_model_where_that_is_exact():
    assert make_engine("auto", convert_net(street(), "street")).name == "power-grid-model"


def test_auto_falls_back_to_pandapower_and_names_the_element(caplog):
    network = differing_by_direction(convert_net(street(), "street"))
    with pytest.raises(GridDataError, match="cable 1"):
        make_engine("power-grid-model", network)
    with caplog.at_level(logging.WARNING, logger="peerwatt"):
        assert make_engine("auto", network).name == "pandapower"
    assert "cable 1" in caplog.text


@pytest.mark.slow
@pytest.mark.parametrize("make", [street, pn.mv_oberrhein, lambda: with_shunt(street()), lambda: two_grids(street())])
def test_a_state_goes_back_to_pandapower_with_its_results(make):
    with quiet():
        net = make()
    network = convert_net(net, "net")
    p_mw, q_mvar = injections(network, 0.005, 3)
    state = make_engine("power-grid-model", network).solve(p_mw, q_mvar)
    given, solved = state.to_pandapower(network), state.to_pandapower(network)
    with quiet():
        pp.runpp(solved, trafo_model="pi", lightsim2grid=False)
    for table in ("res_bus", "res_line", "res_trafo", "res_ext_grid", "res_sgen", "res_shunt"):
        expected = solved[table]
        ours = given[table][list(expected.columns)] if len(expected) else expected
        aux = [column for column in expected.columns if column.startswith(("vm_", "va_")) and table == "res_line"]
        np.testing.assert_allclose(
            ours.drop(columns=aux).fillna(0.0), expected.drop(columns=aux).fillna(0.0), rtol=0, atol=2e-5, err_msg=table
        )
    np.testing.assert_array_equal(given.res_bus.vm_pu, state.vm_pu)
    with pytest.raises(PowerFlowError, match="converge"):
        make_engine("power-grid-model", network).solve(p_mw - 500.0, q_mvar).to_pandapower(network)


def with_shunt(net):
    pp.create_shunt(net, 3, q_mvar=-0.01, p_mw=0.002, step=2, vn_kv=0.39)
    return net


def two_grids(net):
    pp.create_ext_grid(net, 4, vm_pu=1.0, va_degree=-150.0)
    pp.create_ext_grid(net, 4, vm_pu=1.0, va_degree=-150.0)
    return net


_PEAK = """
import resource
import numpy as np
import pandapower.networks as pn
from peerwatt.grid import CASES, make_engine
from peerwatt.grid.convert import convert_net, quiet

with quiet():
    network = convert_net(pn.mv_oberrhein(), "oberrhein")
p_mw = -np.random.default_rng(0).uniform(0.0, 0.3, (10_000, network.n_bus))
states = make_engine("power-grid-model", network).solve_batch(p_mw, p_mw / 3)
assert states.converged.all()
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


@pytest.mark.slow
def test_ten_thousand_solves_of_179_buses_take_less_than_2_gib():
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", _PEAK], capture_output=True, text=True, check=True)
    assert int(done.stdout) * 1024 < 2 * 2**30


@pytest.fixture(scope="module")
def page():
    """The script that writes the page of engines."""
    path = Path(__file__).parents[2] / "docs" / "generate_engines.py"
    spec = importlib.util.spec_from_file_location("generate_engines", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look it up
    try:
        spec.loader.exec_module(module)
        yield module
    finally:
        del sys.modules[spec.name]


def assert_exact_and_on_the_page(row, page):
    assert row.apart.n_rows == 20
    assert row.apart.n_disagree == 0
    assert row.apart.vm_pu < 1e-7
    assert row.apart.va_degree < 1e-4
    assert row.apart.loading_percent < 1e-4
    assert row.apart.losses_mw < 1e-6
    assert f"| `{row.case}` | {row.n_bus} | {row.engine} |" in page.TARGET.read_text(encoding="utf-8")


@pytest.mark.slow
@pytest.mark.parametrize("name", [*CASES.names(), "simbench:1-LV-semiurb4--2-sw"])
def test_every_shipped_case_is_within_the_limits_at_20_random_points(page, name):
    assert_exact_and_on_the_page(page.rows_of(name)[0], page)


@pytest.mark.slow
def test_the_three_phase_feeder_is_within_the_limits_at_20_random_points(page):
    assert_exact_and_on_the_page(page.three_phase_row(page.THREE_PHASE), page)


def test_states_can_be_stacked():
    network = convert_net(street(), "street")
    engine = make_engine("power-grid-model", network)
    p_mw, q_mvar = rows(network, 0.01, 3)
    states = GridStates.stack([engine.solve(p, q) for p, q in zip(p_mw, q_mvar, strict=True)])
    assert difference(states, engine.solve_batch(p_mw, q_mvar)).vm_pu < 1e-10
