"""Networks as they are after something has happened: a line is out, a transformer's tap is stuck elsewhere.

Each function gives a new network on the same buses and branches, without pandapower, from the two-ports alone.
Buses that lose their way to an external grid go out of service, and generators there hold no voltage any more.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import numpy as np
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components

from peerwatt.errors import Fault, GridDataError
from peerwatt.grid.admittance import Admittances, Bools, Ints
from peerwatt.grid.netjson import edited, table_rows
from peerwatt.grid.network import Generators, Network
from peerwatt.registry import nearest

__all__ = ["with_tap_position", "without_lines"]


def without_lines(network: Network, names: Iterable[str]) -> Network:
    """Take lines out of service.

    Args:
        network: the network; it is not changed.
        names: names of the lines.

    Returns:
        The network without them; buses without a way to an external grid are out of service.

    Raises:
        GridDataError: no line has one of the names.
    """
    rows = np.array([_row(network, "line", network.lines.name, name) for name in names], dtype=np.int64)
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


def with_tap_position(network: Network, name: str, tap_pos: int) -> Network:
    """Put a transformer's tap to another position.

    The tap changes the ratio by `tap_step_percent` per step on its side (pandapower's type "Ratio", which is
    also assumed where the network gives steps but no type).

    Args:
        network: the network; it is not changed.
        name: name of the transformer.
        tap_pos: the position.

    Raises:
        GridDataError: no transformer has this name, it has no taps, or not this position.
    """
    row = _row(network, "trafo", network.trafos.name, name)
    tap = table_rows(network, "trafo")[row]
    where = f"{network.name}: trafo '{name}'"
    if not tap.get("tap_step_percent"):
        raise GridDataError(Fault(where, "has no taps", "its tap_step_percent is empty or 0"))
    if not tap["tap_min"] <= tap_pos <= tap["tap_max"]:
        allowed = f"{tap['tap_min']:g} to {tap['tap_max']:g}"
        raise GridDataError(Fault(where, f"has no tap position {tap_pos}", f"positions: {allowed}"))
    effective = tap.get("tap_changer_type") in ("Ratio", "Symmetrical")
    before = 1.0 + (tap["tap_pos"] - tap["tap_neutral"]) * tap["tap_step_percent"] / 100.0 if effective else 1.0
    after = 1.0 + (tap_pos - tap["tap_neutral"]) * tap["tap_step_percent"] / 100.0
    change = after / before
    ratio = change if tap["tap_side"] == "hv" else 1.0 / change
    # Impedances are referred to the low-voltage winding: its tap scales them with the voltage squared.
    scale = 1.0 if tap["tap_side"] == "hv" else 1.0 / change**2
    model = network.admittances
    branch = network.n_line + row
    parts = {name: getattr(model, name).copy() for name in ("yff", "yft", "ytf", "ytt", "ratio")}
    for part, factor in (("yff", scale / ratio**2), ("yft", scale / ratio), ("ytf", scale / ratio), ("ytt", scale)):
        parts[part][branch] *= factor
    parts["ratio"][branch] *= ratio
    rows = range(network.n_trafo)
    text = edited(
        network,
        "trafo",
        {
            "tap_pos": lambda old: [tap_pos if i == row else value for i, value in zip(rows, old or (), strict=True)],
            "tap_changer_type": lambda old: [
                "Ratio" if i == row else value for i, value in zip(rows, old or [None] * len(rows), strict=True)
            ],
        },
    )
    return replace(network, admittances=replace(model, **parts), pandapower_json=text)


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

    def lines_out(old: list[Any] | None) -> list[Any]:
        return [False if i in rows else value for i, value in enumerate(old or [])]

    def buses_out(old: list[Any] | None) -> list[Any]:
        return [bool(value and here) for value, here in zip(old or [], supplied, strict=True)]

    text = edited(network, "line", {"in_service": lines_out})
    return edited(replace(network, pandapower_json=text), "bus", {"in_service": buses_out})


def _supplied(generators: Generators, supplied: Bools) -> Generators:
    """The generators at buses that have power."""
    kept = np.flatnonzero(supplied[generators.bus])
    names = tuple(generators.name[row] for row in kept)
    return Generators(generators.index[kept], names, generators.bus[kept], generators.vm_pu[kept])


def _row(network: Network, kind: str, names: tuple[str, ...], name: str) -> int:
    if name not in names:
        raise GridDataError(Fault(network.name, f"no {kind} has the name '{name}'", nearest(name, list(names))))
    return names.index(name)


def _energised(model: Admittances, live: Bools) -> Bools:
    """Nodes with a way to an external grid, (n_node,)."""
    rows = np.flatnonzero(live)
    shape = (model.n_node, model.n_node)
    graph = csr_array((np.ones(len(rows)), (model.from_node[rows], model.to_node[rows])), shape=shape)
    _, label = connected_components(graph, directed=False)
    return np.isin(label, label[model.slack_node])
