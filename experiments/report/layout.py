"""Where buses are drawn: their own coordinates, or a tree that grows from the slack bus."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Placement", "place"]


@dataclass(frozen=True, slots=True)
class Placement:
    """Coordinates of the buses.

    Attributes:
        xy: shape (n_buses, 2).
        ratio: how much longer a step in y is drawn than one in x; 0 where the axes are independent.
        own: whether these are the grid's own coordinates.
    """

    xy: NDArray[np.float64]
    ratio: float
    own: bool


def place(topology: dict[str, Any]) -> Placement:
    """Find coordinates for every bus of a topology, in its order."""
    buses = topology.get("buses", [])
    xy = np.array([[_number(bus.get("x")), _number(bus.get("y"))] for bus in buses], dtype=float).reshape(-1, 2)
    if len(xy) > 1 and np.isfinite(xy).all() and np.ptp(xy, axis=0).max() > 0.0:
        return Placement(xy, _ratio(xy), own=True)
    return Placement(_tree(topology), 0.0, own=False)


def _number(value: Any) -> float:
    return np.nan if value is None else float(value)


def _ratio(xy: NDArray[np.float64]) -> float:
    """Longitudes and latitudes of a place are stretched to true proportions."""
    low, high = xy.min(axis=0), xy.max(axis=0)
    geographic = low[0] >= -180 and high[0] <= 180 and low[1] >= -90 and high[1] <= 90
    if geographic and np.ptp(xy, axis=0).max() < 5.0 and abs(high[1]) > 1.0:
        return float(1.0 / np.cos(np.radians((low[1] + high[1]) / 2.0)))
    return 1.0


def _tree(topology: dict[str, Any]) -> NDArray[np.float64]:
    """A layered tree: depth from the slack bus to the right, leaves evenly spaced, parents amid children."""
    import networkx as nx

    buses = [int(bus["bus"]) for bus in topology.get("buses", [])]
    graph: nx.Graph[int] = nx.Graph()
    graph.add_nodes_from(buses)
    graph.add_edges_from(
        (line["from_bus"], line["to_bus"]) for line in topology.get("lines", []) if line.get("in_service", True)
    )
    graph.add_edges_from((trafo["hv_bus"], trafo["lv_bus"]) for trafo in topology.get("trafos", []))
    graph.remove_nodes_from(set(graph) - set(buses))
    position: dict[int, tuple[float, float]] = {}
    leaf = 0.0
    for root in [bus for bus in topology.get("slack_buses", []) if bus in graph] + buses:
        if root in position:
            continue
        tree = nx.bfs_tree(graph, root)
        depth = nx.single_source_shortest_path_length(tree, root)
        for bus in nx.dfs_postorder_nodes(tree, root):
            children = [position[child][1] for child in tree.successors(bus)]
            if not children:
                leaf += 1.0
            position[bus] = (float(depth[bus]), sum(children) / len(children) if children else leaf)
    return np.array([position[bus] for bus in buses], dtype=float).reshape(-1, 2) * (1.0, -1.0)
