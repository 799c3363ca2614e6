from __future__ import annotations

from dataclasses import replace

import networkx as nx
import numpy as np
import pytest

from peerwatt.errors import GridDataError
from peerwatt.grid.convert import convert_net
from peerwatt.grid.tree import SlackTree
from tests.grid.nets import street
from tests.grid.sensitivity_nets import network


def test_downstream_is_what_a_graph_library_calls_descendants():
    grid = network("case33bw")
    tree = SlackTree(grid)
    graph = nx.DiGraph([(p, k) for k, p in enumerate(tree.parent.tolist()) if p >= 0])
    nodes = np.arange(grid.admittances.n_node)
    inside = tree.downstream(nodes, nodes)
    for node in nodes.tolist():
        assert set(np.flatnonzero(inside[node])) == nx.descendants(graph, node) | {node}
    assert tree.radial


def test_loops_are_the_branches_outside_the_tree():
    tree = SlackTree(network("ring"))
    assert len(tree.loops) == 2
    assert not tree.radial


def test_a_bus_that_an_outage_cuts_off_is_named():
    grid = convert_net(street(), "street")
    live = grid.admittances.live.copy()
    live[1] = False
    with pytest.raises(GridDataError, match="from 2 buses: corner 1, corner 2"):
        SlackTree(replace(grid, admittances=replace(grid.admittances, live=live)))
