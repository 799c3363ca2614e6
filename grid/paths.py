"""Ways from every bus to the external grid.

In a radial grid the way is unique; in a meshed one it is the one with the fewest branches.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from scipy.sparse import csr_array
from scipy.sparse.csgraph import breadth_first_order

from peerwatt.grid.admittance import Floats, Ints
from peerwatt.grid.network import Network
from peerwatt.grid.state import GridState

__all__ = ["SlackPaths"]


class SlackPaths:
    """Finds the most loaded branch between each bus and the external grid.

    Args:
        network: the network; its live branches count, those without a rating with a loading of 0.
    """

    def __init__(self, network: Network) -> None:
        model = network.admittances
        root = model.n_node  # a node above all external grids
        live = np.flatnonzero(model.live)
        rows = np.concatenate([model.from_node[live], np.full(len(model.slack_node), root)])
        columns = np.concatenate([model.to_node[live], model.slack_node])
        branch = np.concatenate([live, np.full(len(model.slack_node), model.n_branch)])
        graph = csr_array((np.ones(len(rows)), (rows, columns)), shape=(root + 1, root + 1))
        order, parent = (part.astype(np.int64) for part in breadth_first_order(graph, root, directed=False))
        towards = self._branch_to_parent(rows, columns, branch, parent)
        self._levels = self._by_depth(order, parent, towards)
        self._n_branch = model.n_branch
        self._root = root
        self._bus_node = np.where(model.bus_node >= 0, model.bus_node, root)

    def highest_loading_percent(self, state: GridState) -> Floats:
        """Highest loading on the way from each bus to the external grid.

        Args:
            state: grid state of the same network.

        Returns:
            (n_bus,) percent; NaN for buses without a way or when the power flow has no solution.
        """
        loading = np.zeros(self._n_branch + 1)
        rated = np.concatenate([state.line.loading_percent, state.trafo.loading_percent])
        loading[: len(rated)] = rated
        worst = np.full(self._root + 1, np.nan)
        worst[self._root] = 0.0
        for node, parent, branch in self._levels:
            worst[node] = np.maximum(worst[parent], loading[branch])
        worst[self._root] = np.nan  # stands for buses out of service
        return worst[self._bus_node]

    @staticmethod
    def _branch_to_parent(rows: Ints, columns: Ints, branch: Ints, parent: Ints) -> Ints:
        """The branch that joins each node to its parent; of parallel ones the first."""
        towards = np.full(len(parent), -1, dtype=np.int64)
        for a, b in ((rows, columns), (columns, rows)):
            up = np.flatnonzero(parent[a] == b)[::-1]
            towards[a[up]] = branch[up]
        return towards

    @staticmethod
    def _by_depth(order: Ints, parent: Ints, towards: Ints) -> list[tuple[Ints, Ints, Ints]]:
        """Nodes, their parents and the branches between, one entry per depth."""
        depth = np.zeros(len(parent), dtype=np.int64)
        for node in order[1:]:
            depth[node] = depth[parent[node]] + 1
        reached = order[1:]
        cuts = np.searchsorted(depth[reached], np.arange(1, depth.max(initial=0) + 2))
        return [(reached[a:b], parent[reached[a:b]], towards[reached[a:b]]) for a, b in pairwise(cuts)]
