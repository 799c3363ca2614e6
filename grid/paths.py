"""Ways from every bus to the external grid.

In a radial grid the way is unique; in a meshed one it is the one with the fewest branches.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from peerwatt.grid.admittance import Floats, Ints
from peerwatt.grid.network import Network
from peerwatt.grid.state import GridState
from peerwatt.grid.tree import SlackTree

__all__ = ["SlackPaths"]


class SlackPaths:
    """Finds the most loaded branch between each bus and the external grid.

    Args:
        network: the network; branches without a rating count with a loading of 0.

    Raises:
        GridDataError: a bus in service has no way to an external grid.
    """

    def __init__(self, network: Network) -> None:
        model = network.admittances
        self._n_branch, self._n_node = model.n_branch, model.n_node
        self._slack = model.slack_node
        self._bus_node = np.where(model.bus_node >= 0, model.bus_node, model.n_node)
        self._levels = _by_depth(SlackTree(network))

    def highest_loading_percent(self, state: GridState) -> Floats:
        """Highest loading on the way from each bus to the external grid.

        Args:
            state: grid state of the same network.

        Returns:
            (n_bus,) percent; NaN for buses out of service or when the power flow has no solution.
        """
        loading = np.zeros(self._n_branch)
        rated = np.concatenate([state.line.loading_percent, state.trafo.loading_percent])
        loading[: len(rated)] = rated
        worst = np.full(self._n_node + 1, np.nan)  # the last entry stands for buses out of service
        worst[self._slack] = 0.0
        for node, parent, branch in self._levels:
            worst[node] = np.maximum(worst[parent], loading[branch])
        return worst[self._bus_node]


def _by_depth(tree: SlackTree) -> list[tuple[Ints, Ints, Ints]]:
    """Nodes, their parents and the branches between, one entry per depth below the external grids."""
    depth = np.zeros(len(tree.parent), dtype=np.int64)
    for node in tree.order:
        if tree.parent[node] >= 0:
            depth[node] = depth[tree.parent[node]] + 1
    cuts = np.searchsorted(depth[tree.order], np.arange(1, depth.max(initial=0) + 2))
    levels = [tree.order[a:b] for a, b in pairwise(cuts)]
    return [(node, tree.parent[node], tree.branch[node]) for node in levels]
