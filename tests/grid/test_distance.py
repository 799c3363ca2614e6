from __future__ import annotations

import networkx as nx
import numpy as np
import pandapower as pp
import pandapower.networks as pn
import pytest
from hypothesis import HealthCheck, given, settings

from peerwatt.errors import GridDataError
from peerwatt.grid.convert import convert_net
from peerwatt.grid.distance import common_path_resistance, euclidean_distance, nodal_impedance, thevenin_distance
from peerwatt.grid.sensitivity import Sensitivities
from tests.grid.nets import radial_nets, street
from tests.grid.sensitivity_nets import network, solved

RANDOM = settings(max_examples=6, deadline=None, suppress_health_check=list(HealthCheck))


def test_the_common_path_is_that_of_a_graph_library():
    grid = network("case33bw")
    ohm = {}
    graph = nx.Graph()
    table = pn.case33bw().line.query("in_service")
    for row in table.itertuples():
        graph.add_edge(row.from_bus, row.to_bus)
        ohm[frozenset((row.from_bus, row.to_bus))] = row.r_ohm_per_km * row.length_km
    ways = {bus: {frozenset(e) for e in nx.utils.pairwise(nx.shortest_path(graph, 0, bus))} for bus in graph}
    expected = [[sum(ohm[e] for e in ways[i] & ways[j]) for j in range(33)] for i in range(33)]
    np.testing.assert_allclose(common_path_resistance(grid) * 12.66**2, expected, rtol=0, atol=1e-9)


@RANDOM
@given(net=radial_nets())
def test_it_is_the_real_part_of_the_nodal_impedance(net):
    net.trafo["tap_pos"] = 0
    grid = convert_net(net, "random")
    np.testing.assert_allclose(common_path_resistance(grid), nodal_impedance(grid).real, rtol=0, atol=2e-3)


def test_it_is_nearly_the_voltage_sensitivity_of_an_idle_grid(village):
    grid = village.network
    _, state = solved(grid, 1e-6)
    near = Sensitivities(grid, state).vm_pu().by_p_mw
    np.testing.assert_allclose(common_path_resistance(grid), near, rtol=0, atol=0.1 * near.max())


def test_chosen_buses_are_those_of_the_whole():
    grid = network("CIGRE MV")
    for function in (common_path_resistance, thevenin_distance, nodal_impedance, euclidean_distance):
        whole = function(grid)
        for rows, columns in (([3, 1], None), (None, [4]), ([5, 2, 2], [3, 5])):
            every = range(grid.n_bus)
            pick = np.ix_(every if rows is None else rows, every if columns is None else columns)
            np.testing.assert_allclose(function(grid, rows, columns), whole[pick], rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", ["CIGRE MV", "ring", "two supplies"])
def test_the_electrical_distance_is_that_of_the_dense_inverse(name):
    grid = network(name)
    distance = thevenin_distance(grid)
    model = grid.admittances
    z = np.zeros((model.n_node,) * 2, dtype=complex)
    for i, j, a, b, c, d in zip(
        model.from_node, model.to_node, model.yff, model.yft, model.ytf, model.ytt, strict=True
    ):
        z[np.ix_([i, j], [i, j])] += [[a, b], [c, d]]
    free = np.setdiff1d(np.arange(model.n_node), model.slack_node)
    inverse = np.zeros_like(z)
    inverse[np.ix_(free, free)] = np.linalg.inv(z[np.ix_(free, free)] + np.diag(model.y_shunt[free]))
    inverse = inverse[np.ix_(model.bus_node, model.bus_node)]
    low = grid.buses.vn_kv < 1.0 if name != "CIGRE MV" else grid.buses.vn_kv < 30.0  # one side of the phase shift
    own = np.diag(inverse)
    expected = np.abs(own[:, None] + own - 2.0 * inverse)
    np.testing.assert_allclose(distance[np.ix_(low, low)], expected[np.ix_(low, low)], rtol=0, atol=1e-9)
    np.testing.assert_allclose(distance, distance.T, rtol=0, atol=1e-9)
    assert not np.diag(distance).any()


def test_buses_that_are_dead_or_unknown_to_the_map_are_nan():
    net = street()
    dead = pp.create_bus(net, 0.4, in_service=False, geodata=(3.0, 4.0))
    other = pp.create_bus(net, 0.4, in_service=False, geodata=(0.0, 0.0))
    grid = convert_net(net, "street")
    at, zero = grid.bus_position(dead), grid.bus_position(other)
    for function in (common_path_resistance, thevenin_distance):
        matrix = function(grid)
        assert np.isnan(matrix[at]).all()
        assert np.isnan(matrix[:, at]).all()
        assert np.isfinite(matrix[:at, :at]).all()
    assert euclidean_distance(grid)[at, zero] == pytest.approx(5.0)
    assert np.isnan(euclidean_distance(grid)[0, at])


def test_a_meshed_net_has_no_common_path():
    with pytest.raises(GridDataError, match="nodal_impedance"):
        common_path_resistance(network("ring"))
