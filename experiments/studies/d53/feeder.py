"""The radial grid of the study as plain arrays, which workers get without loading a grid."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from peerwatt.grid import load_case
from peerwatt.grid.ptdf import ptdf_radial
from peerwatt.grid.tree import SlackTree
from peerwatt.market.book import FloatArray, IntArray
from peerwatt.market.limits import NetworkLimits, Tree

__all__ = ["Feeder", "load_feeder"]


@dataclass(frozen=True, slots=True)
class Feeder:
    """A radial grid without losses.

    Attributes:
        lines: names of the lines.
        buses: names of the buses.
        load_mw: consumption at every bus, not negative. (n_buses,)
        ptdf: flow on every line per MW fed in at every bus. (n_lines, n_buses)
        tree: the same for the flexibility market; its nodes are `node`.
        node: node of every bus. (n_buses,)
    """

    lines: tuple[str, ...]
    buses: tuple[str, ...]
    load_mw: FloatArray
    ptdf: FloatArray
    tree: Tree
    node: IntArray

    def flow_mw(self, p_mw: FloatArray) -> FloatArray:
        """Flows of net injections, (n_buses,): the grid check of section 5.2.1; (n_lines,)."""
        flow: FloatArray = self.ptdf @ p_mw
        return flow

    def limits(self, flow_mw: FloatArray, limit_mw: FloatArray) -> NetworkLimits:
        """What the flexibility market is told of the grid."""
        return NetworkLimits(flow_mw, -limit_mw, limit_mw, self.tree, names=self.lines)


def load_feeder(case: str = "case69") -> Feeder:
    """Load a radial grid and its loads.

    Raises:
        GridDataError: the grid is meshed, or does not exist.
    """
    loaded = load_case(case)
    network, model = loaded.network, loaded.network.admittances
    slack_tree = SlackTree(network)
    load_mw = np.zeros(network.n_bus)
    np.subtract.at(load_mw, loaded.units.bus, loaded.units.p_scale_mw)
    branch = slack_tree.branch
    outward = model.from_node[branch] != np.arange(branch.size)
    return Feeder(
        lines=tuple(network.lines.name),
        buses=tuple(network.buses.name),
        load_mw=load_mw,
        ptdf=ptdf_radial(network),
        tree=Tree(slack_tree.parent, branch, np.where(outward, -1, 1)),
        node=model.bus_node.astype(np.intp),
    )
