"""The tree in which power comes from the external grid, and which node lies behind which branch.

Nodes are numbered in preorder, so that everything behind a node is one interval of numbers: node k is behind
node n when `first[n] <= first[k] < first[n] + size[n]`. That makes "who is downstream" two comparisons.
"""

from __future__ import annotations

import numpy as np
from scipy.sparse import csr_array
from scipy.sparse.csgraph import breadth_first_order

from peerwatt.errors import Fault, GridDataError
from peerwatt.grid.admittance import Bools, Ints
from peerwatt.grid.flows import branch_name
from peerwatt.grid.network import Network

__all__ = ["SlackTree"]


class SlackTree:
    """Spanning tree with the fewest branches from all external grids to every node.

    Attributes:
        order: (n_node,) nodes, parents before children.
        parent: (n_node,) node on the side of the external grid, -1 at external grids.
        branch: (n_node,) branch to the parent, -1 at external grids.
        first: (n_node,) preorder number.
        size: (n_node,) number of nodes in the subtree, the node itself included.
        loops: (n_loop,) live branches that are not in the tree, those between one node and itself aside.

    Args:
        network: the network.

    Raises:
        GridDataError: a node has no way to an external grid.
    """

    def __init__(self, network: Network) -> None:
        model = network.admittances
        self._network = network
        n, slack = model.n_node, model.slack_node
        live = np.flatnonzero(model.live & (model.from_node != model.to_node))
        rows = np.concatenate([model.from_node[live], np.full(len(slack), n)])
        columns = np.concatenate([model.to_node[live], slack])
        graph = csr_array((np.ones(len(rows)), (rows, columns)), shape=(n + 1, n + 1))
        order, parent = (part.astype(np.int64) for part in breadth_first_order(graph, n, directed=False))
        if len(order) <= n:
            raise GridDataError(_islanded(network, np.setdiff1d(np.arange(n), order)))
        self.order, self.parent = order[1:], np.where(parent[:n] == n, -1, parent[:n])
        self.branch = self._branches(live)
        self.loops = np.setdiff1d(live, self.branch)
        self.first, self.size = self._preorder()

    @property
    def radial(self) -> bool:
        """Whether every node has one way only to one external grid."""
        return len(self.loops) == 0

    def require_radial(self, what: str) -> None:
        """Refuse a meshed network.

        Args:
            what: what cannot be told of a meshed network, and what to use, for the message.

        Raises:
            GridDataError: the network has loops, or external grids that branches join.
        """
        if not self.radial:
            shown = ", ".join(branch_name(self._network, int(branch)) for branch in self.loops[:5])
            raise GridDataError(
                Fault(f"network {self._network.name}", f"{len(self.loops)} branches close loops: {shown}", what)
            )

    def downstream(self, heads: Ints, nodes: Ints) -> Bools:
        """Which nodes lie in the subtree of which head, (n_heads, n_nodes)."""
        first = self.first[nodes]
        start = self.first[heads][:, None]
        return (first >= start) & (first < start + self.size[heads][:, None])

    def _branches(self, live: Ints) -> Ints:
        """The branch from each node to its parent; of parallel ones the first."""
        model = self._network.admittances
        branch = np.full(model.n_node, -1, dtype=np.int64)
        for child, parent in ((model.from_node, model.to_node), (model.to_node, model.from_node)):
            up = live[self.parent[child[live]] == parent[live]][::-1]
            branch[child[up]] = up
        return branch

    def _preorder(self) -> tuple[Ints, Ints]:
        parent = [*self.parent.tolist(), -1]  # the last entry stands for the node above all external grids
        size, first, free = [1] * len(parent), [0] * len(parent), [0] * len(parent)
        order = self.order.tolist()
        for node in reversed(order):
            size[parent[node]] += size[node]
        for node in order:
            above = parent[node]
            first[node] = free[above]
            free[above] += size[node]
            free[node] = first[node] + 1
        return np.array(first[:-1], dtype=np.int64), np.array(size[:-1], dtype=np.int64)


def _islanded(network: Network, nodes: Ints) -> Fault:
    dead = np.isin(network.admittances.bus_node, nodes)
    named = [network.buses.name[k] for k in np.flatnonzero(dead)]
    return Fault(
        f"network {network.name}",
        f"no way to an external grid from {len(named)} buses: {', '.join(named[:10])}",
        "close a switch, add an external grid, or take these buses out of service",
    )
