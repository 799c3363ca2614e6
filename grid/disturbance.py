"""A network as it is while lines are out: on the same buses and branches, without pandapower, from the two-ports alone.

Buses that lose their way to an external grid go out of service, and generators there hold no voltage any more.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import numpy as np
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components

from peerwatt.grid.admittance import Admittances, Bools, Ints
from peerwatt.grid.lookup import Elements
from peerwatt.grid.netjson import edited
from peerwatt.grid.network import Generators, Network

__all__ = ["without_lines"]


def without_lines(network: Network, lines_out: Iterable[str | int]) -> Network:
    """Take lines out of service.

    Args:
        network: the network; it is not changed.
        lines_out: names or indices of the lines.

    Returns:
        The network without them; buses without a way to an external grid are out of service.

    Raises:
        GridDataError: no line is called so, or several are.
    """
    rows = np.array(Elements(network, "line").rows(lines_out, f"{network.name}: line"), dtype=np.int64)
    model, lines, buses = network.admittances, network.lines, network.buses
    live, in_service = model.live.copy(), lines.in_service.copy()
    live[rows], in_service[rows] = False, False
    energised = _energised(model, live)
    supplied = (model.bus_node >= 0) & energised[model.bus_node]
    return replace(
        network,
        admittances=_reduced(model, live & energised[model.from_node], energised, supplied),
        lines=replace(lines, in_service=in_service),
        buses=replace(buses, in_service=buses.in_service & supplied),
        generators=_supplied(network.generators, supplied),
        pandapower_json=_without(network, rows, supplied),
    )


def _reduced(model: Admittances, live: Bools, energised: Bools, supplied: Bools) -> Admittances:
    """The model with the nodes that still have power; branches that are not live keep their rows."""
    number = np.cumsum(energised) - 1
    return replace(
        model,
        bus_node=np.where(supplied, number[model.bus_node], -1),
        node_vn_kv=model.node_vn_kv[energised],
        from_node=np.where(live, number[model.from_node], 0),
        to_node=np.where(live, number[model.to_node], 0),
        live=live,
        y_shunt=model.y_shunt[energised],
        slack_node=number[model.slack_node],
        **{name: np.where(live, getattr(model, name), 0.0) for name in ("yff", "yft", "ytf", "ytt")},
    )


def _without(network: Network, rows: Ints, supplied: Bools) -> str:
    """The text of the network with lines and the buses behind them out of service."""

    def without(old: list[Any] | None) -> list[Any]:
        return [False if i in rows else value for i, value in enumerate(old or [])]

    def buses_out(old: list[Any] | None) -> list[Any]:
        return [bool(value and here) for value, here in zip(old or [], supplied, strict=True)]

    text = edited(network, "line", {"in_service": without})
    return edited(replace(network, pandapower_json=text), "bus", {"in_service": buses_out})


def _supplied(generators: Generators, supplied: Bools) -> Generators:
    """The generators at buses that have power."""
    kept = np.flatnonzero(supplied[generators.bus])
    names = tuple(generators.name[row] for row in kept)
    return Generators(generators.index[kept], names, generators.bus[kept], generators.vm_pu[kept])


def _energised(model: Admittances, live: Bools) -> Bools:
    """Nodes with a way to an external grid, (n_node,)."""
    rows = np.flatnonzero(live)
    shape = (model.n_node, model.n_node)
    graph = csr_array((np.ones(len(rows)), (model.from_node[rows], model.to_node[rows])), shape=shape)
    _, label = connected_components(graph, directed=False)
    return np.isin(label, label[model.slack_node])
