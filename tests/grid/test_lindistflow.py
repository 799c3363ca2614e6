from __future__ import annotations

import numpy as np
import pandapower as pp
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from peerwatt.errors import GridDataError
from peerwatt.grid import make_engine
from peerwatt.grid.batch import difference
from peerwatt.grid.convert import convert_net
from tests.grid.nets import CABLE, injections, radial_nets, street


def plain_street():
    """A street whose cables have no capacitance and that hangs on the external grid itself."""
    net = pp.create_empty_network()
    last = pp.create_bus(net, 0.4)
    pp.create_ext_grid(net, last, vm_pu=1.03)
    for k in range(4):
        bus = pp.create_bus(net, 0.4)
        pp.create_line_from_parameters(net, last, bus, 0.1, 0.2, 0.08, 0.0, 0.27, name=f"cable {k}")
        last = bus if k < 2 else 1
    return net


def test_voltages_fall_by_the_path_that_two_buses_share():
    network = convert_net(plain_street(), "street")
    z = (0.02 + 0.008j) / 0.4**2  # pu of 1 MVA, each cable
    paths = np.array([[0, 0, 0, 0], [1, 0, 0, 0], [1, 1, 0, 0], [1, 1, 1, 0], [1, 0, 0, 1]])  # bus x cable
    shared = paths @ paths.T
    p_mw, q_mvar = injections(network, 0.01, 3)
    state = make_engine("lindistflow", network).solve(p_mw, q_mvar)
    w = 1.03**2 + 2 * (z.real * shared @ p_mw + z.imag * shared @ q_mvar)
    np.testing.assert_allclose(state.vm_pu**2, w, rtol=0, atol=1e-12)
    np.testing.assert_allclose(state.line.p_from_mw, -paths.T @ p_mw, rtol=0, atol=1e-12)
    np.testing.assert_allclose(state.line.q_from_mvar, -paths.T @ q_mvar, rtol=0, atol=1e-12)
    flow = state.line.p_from_mw + 1j * state.line.q_from_mvar
    np.testing.assert_allclose(state.line.pl_mw, z.real * np.abs(flow) ** 2, rtol=0, atol=1e-12)
    percent = 100 * np.abs(flow) / (np.sqrt(3) * 0.4 * 0.27)
    np.testing.assert_allclose(state.line.loading_percent, percent, rtol=0, atol=1e-9)


@pytest.mark.slow
@settings(max_examples=6, deadline=None, suppress_health_check=list(HealthCheck))
@given(net=radial_nets(), seed=st.integers(0, 1000))
def test_the_error_against_ac_shrinks_with_the_load_and_power_is_conserved(net, seed):
    network = convert_net(net, "random")
    linear, exact = make_engine("lindistflow", network), make_engine("power-grid-model", network)
    p_mw, q_mvar = injections(network, 0.005, seed)
    p, q = np.stack([p_mw, p_mw / 10]), np.stack([q_mvar, q_mvar / 10])
    states, truth = linear.solve_batch(p, q), exact.solve_batch(p, q)
    np.testing.assert_allclose(states.p_mw.sum(axis=1) + states.slack_p_mw, states.losses_mw, rtol=0, atol=1e-12)
    full = difference(states, truth)
    assert full.n_rows == 2
    assert full.vm_pu < 0.02
    assert np.nanmax(np.abs(states.vm_pu[1] - truth.vm_pu[1])) < 1.5e-3
    assert full.losses_mw < 2e-3


def test_meshes_are_refused_with_the_lines_that_close_them():
    net = street(4)
    pp.create_line(net, 1, 4, 0.2, CABLE, name="shortcut")
    pp.create_line(net, 2, 3, 0.2, CABLE, name="twin")
    with pytest.raises(GridDataError, match="closes a loop") as caught:
        make_engine("lindistflow", convert_net(net, "street"))
    assert len(caught.value.faults) == 2
    assert "twin" in str(caught.value)


def test_two_external_grids_in_one_tree_are_a_loop():
    net = street()
    pp.create_ext_grid(net, 4, vm_pu=1.0, va_degree=-150.0)
    with pytest.raises(GridDataError, match="closes a loop"):
        make_engine("lindistflow", convert_net(net, "street"))


def test_a_grid_of_one_bus_has_the_voltage_of_its_external_grid():
    net = pp.create_empty_network()
    bus = pp.create_bus(net, 0.4)
    pp.create_ext_grid(net, bus, vm_pu=1.01)
    network = convert_net(net, "bus")
    for name in ("lindistflow", "power-grid-model"):
        state = make_engine(name, network).solve(np.array([-0.1]), np.array([0.0]))
        assert state.vm_pu[0] == pytest.approx(1.01)
        assert state.slack_p_mw == pytest.approx(0.1)
