from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandapower as pp
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from peerwatt.errors import GridDataError
from peerwatt.grid import make_engine
from peerwatt.grid.convert import convert_net, quiet
from peerwatt.grid.netfile import parse_net
from peerwatt.grid.verify import prepare, set_injections
from tests.grid.nets import CABLE, injections, radial_nets, street


def assert_like_rundcpp(net, seed):
    network = convert_net(net, "net")
    p_mw, q_mvar = injections(network, 0.01, seed)
    state = make_engine("dc", network).solve(p_mw, q_mvar)
    solved = parse_net(network.pandapower_json, "net")
    with quiet():
        prepare(solved)
        set_injections(solved, p_mw, q_mvar, network.buses.index)
        pp.rundcpp(solved, trafo_model="pi")
    np.testing.assert_allclose(state.va_degree, solved.res_bus.va_degree, rtol=0, atol=1e-8)
    np.testing.assert_allclose(state.line.p_from_mw, solved.res_line.p_from_mw.fillna(0.0), rtol=0, atol=1e-9)
    np.testing.assert_allclose(state.trafo.p_from_mw, solved.res_trafo.p_hv_mw.fillna(0.0), rtol=0, atol=1e-9)
    assert state.slack_p_mw == pytest.approx(solved.res_ext_grid.p_mw.sum(), abs=1e-9)
    assert state.p_mw.sum() + state.slack_p_mw == pytest.approx(state.losses_mw, abs=1e-12)


@pytest.mark.slow
@settings(max_examples=5, deadline=None, suppress_health_check=list(HealthCheck))
@given(net=radial_nets(), seed=st.integers(0, 1000))
def test_dc_is_pandapowers_on_random_radial_grids(net, seed):
    assert_like_rundcpp(net, seed)


@pytest.mark.parametrize("shift", [150.0, 30.0])
def test_dc_is_pandapowers_with_meshes_phase_shifts_and_two_external_grids(shift):
    net = street()
    pp.create_line(net, 1, 4, 0.2, CABLE)
    net.trafo[["shift_degree", "tap_pos"]] = [shift, 2]
    pp.create_ext_grid(net, 4, vm_pu=1.0, va_degree=-shift - 0.5)
    assert_like_rundcpp(net, 1)


def test_what_dc_does_not_know_is_nan():
    network = convert_net(street(), "street")
    state = make_engine("dc", network).solve(*injections(network, 0.01, 1))
    assert np.isnan(state.slack_q_mvar)
    assert np.isnan(state.line.q_from_mvar).all()
    np.testing.assert_array_equal(state.vm_pu, 1.0)
    kv_ka = np.sqrt(3) * 0.4 * network.lines.rating_ka
    np.testing.assert_allclose(state.line.loading_percent, 100 * np.abs(state.line.p_from_mw) / kv_ka, rtol=1e-12)


def test_a_branch_without_reactance_is_refused_by_name():
    network = convert_net(street(), "street")
    ytf = network.admittances.ytf.copy()
    ytf[1] = ytf[1].real
    with pytest.raises(GridDataError, match=r"cable 1.*no reactance"):
        make_engine("dc", replace(network, admittances=replace(network.admittances, ytf=ytf)))
