"""Distances and zones of cost allocation, against the impedance matrix and feeders by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandapower as pp
import pytest

from peerwatt.agents.policies import GridView
from peerwatt.agents.policies.cost_allocation import CostAllocation, feeders
from peerwatt.agents.policies.harm import pair_distance
from peerwatt.grid import make_engine
from peerwatt.grid.convert import convert_net
from peerwatt.grid.trade_effect import FlowModel
from tests.agents.policies.ac import NETS, truth

Array = np.ndarray[Any, Any]

grids = pytest.mark.parametrize("name", NETS)


@grids
def test_distances_are_those_of_the_impedance_matrix(name: str) -> None:
    grid = truth(name)
    z = grid.plain.impedance[np.ix_(grid.bus - 1, grid.bus - 1)]
    expected = np.abs(np.diag(z)[:, None] + np.diag(z)[None, :] - z - z.T)
    policy = CostAllocation(losses_eur_per_mwh=0.0, congestion_eur_per_mwh=0.0, distance_eur_per_mwh_pu=6.0)
    np.testing.assert_allclose(policy.signals(grid.view(), 0).seller_fee, 3.0 * expected, rtol=1e-3, atol=1e-9)
    apart = expected > 1e-9
    mean = expected[apart].mean()
    scaled = pair_distance(grid.view(), euclidean=False)
    np.testing.assert_allclose(scaled, np.where(apart, expected / mean, 0.0), rtol=1e-3, atol=1e-6)


def test_feeders_part_behind_the_trunk() -> None:
    net = pp.create_empty_network("trunk")
    pp.create_buses(net, 6, 0.4)
    pp.create_ext_grid(net, 0)
    for a, b in ((0, 1), (1, 2), (2, 3), (4, 3), (2, 5)):
        pp.create_line(net, a, b, 0.1, "NAYY 4x150 SE")
    network = convert_net(net, "trunk")
    state = make_engine("power-grid-model", network).solve(np.zeros(6), np.zeros(6))
    view = GridView(network, state, np.array([4, 5, 3, 2, 1]), FlowModel.AC)
    zone = feeders(view)
    assert zone[0] == zone[2]
    assert len({zone[0], zone[1], zone[3]}) == 3
    policy = CostAllocation(losses_eur_per_mwh=0.0, congestion_eur_per_mwh=0.0, zone_eur_per_mwh=7.0)
    np.testing.assert_allclose(policy.signals(view, 0).buyer_fee[0, :4], [0.0, 3.5, 0.0, 3.5])
