from __future__ import annotations

import numpy as np
import pandapower as pp
import pandapower.networks as pn
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from peerwatt.errors import GridDataError
from peerwatt.grid.convert import convert_net, quiet
from peerwatt.grid.ptdf import ptdf, ptdf_dc, ptdf_radial
from peerwatt.grid.sensitivity import Sensitivities
from tests.grid.nets import injections, radial_nets, street
from tests.grid.sensitivity_nets import meshed_nets, network, ring, solved

RANDOM = settings(max_examples=6, deadline=None, suppress_health_check=list(HealthCheck))


def radial33():
    net = pn.case33bw()
    net.line = net.line[net.line.in_service]
    return net


def meshed33():
    net = pn.case33bw()
    net.line["in_service"] = True
    return net


@pytest.mark.parametrize("make", [radial33, meshed33, street, ring])
def test_it_is_that_of_pandapower(make):
    from pandapower.pypower.makePTDF import makePTDF

    net = make()
    with quiet():
        pp.runpp(net, trafo_model="pi", lightsim2grid=False, numba=False)
        ppc = net._ppc["internal"]
        theirs = makePTDF(ppc["baseMVA"], ppc["bus"], ppc["branch"])
    grid = convert_net(net, "grid")
    theirs = theirs[:, net._pd2ppc_lookups["bus"][net.bus.index]]
    np.testing.assert_allclose(ptdf_dc(grid), theirs, rtol=0, atol=1e-9)
    np.testing.assert_allclose(ptdf(grid), theirs, rtol=0, atol=1e-9)


@pytest.mark.slow
@RANDOM
@given(net=radial_nets())
def test_tree_and_reactances_agree_on_radial_nets(net):
    grid = convert_net(net, "random")
    exact = ptdf_radial(grid)
    assert set(np.unique(exact)) <= {-1.0, 0.0, 1.0}
    np.testing.assert_allclose(ptdf_dc(grid), exact, rtol=0, atol=1e-9)
    np.testing.assert_array_equal(ptdf(grid), exact)


@RANDOM
@given(net=meshed_nets(), seed=st.integers(0, 1000))
def test_power_that_is_fed_in_arrives_at_the_external_grid(net, seed):
    grid = convert_net(net, "random")
    p_mw, _ = injections(grid, 1.0, seed)
    flow = ptdf(grid) @ p_mw  # (n_branch,)
    model = grid.admittances
    balance = np.zeros(model.n_node)
    live = model.bus_node >= 0
    np.add.at(balance, model.bus_node[live], p_mw[live])
    np.subtract.at(balance, model.from_node, flow)
    np.add.at(balance, model.to_node, flow)
    inner = np.setdiff1d(np.arange(model.n_node), model.slack_node)
    np.testing.assert_allclose(balance[inner], 0.0, atol=1e-8)


@pytest.mark.parametrize("name", ["case33bw", "CIGRE MV", "ring", "two supplies"])
@pytest.mark.parametrize("function", [ptdf, ptdf_dc])
def test_rows_and_columns_of_the_whole_can_be_asked_for(name, function):
    grid = network(name)
    whole = function(grid)
    for rows, columns in (([3, 0], None), (None, [2, 1]), ([1], [3, 2, 0]), ([4, 2, 3], [5]), ([], [1])):
        pick = np.ix_(range(len(whole)) if rows is None else rows, range(grid.n_bus) if columns is None else columns)
        np.testing.assert_allclose(function(grid, rows, columns), whole[pick], rtol=0, atol=1e-12)
    mask = np.zeros(len(whole), dtype=np.bool_)
    mask[2] = True
    np.testing.assert_allclose(function(grid, mask), whole[[2]], rtol=0, atol=1e-12)


def test_the_real_factors_are_near_where_little_is_lost(village):
    grid = village.network
    _, state = solved(grid, 0.0003)
    np.testing.assert_allclose(ptdf(grid), Sensitivities(grid, state).p_from_mw().by_p_mw, rtol=0, atol=0.01)


def test_several_external_grids_share_as_the_engine_has_it():
    net = ring()
    pp.create_ext_grid(net, 4, vm_pu=1.02, va_degree=-150.0)
    net.line["r_ohm_per_km"] = 0.02  # the DC power flow knows no resistance
    grid = convert_net(net, "two supplies")
    _, state = solved(grid, 0.0003)
    assert not ptdf(grid)[:, grid.slack_bus].any()
    np.testing.assert_allclose(ptdf(grid), Sensitivities(grid, state).p_from_mw().by_p_mw, rtol=0, atol=0.05)


def test_the_exact_one_of_a_meshed_net_is_refused():
    with pytest.raises(GridDataError, match=r"close loops: line 'cable \d'"):
        ptdf_radial(network("ring"))
