"""Reads what ties voltage and power together: generators that hold a voltage, loads that depend on it.

pandapower has the shares of ZIP loads for a node as a whole: its solver multiplies everything at the node but
`gen` by them, static generators too, and of several loads takes their mean, or that of the last bus. What its
result tables call the power of a load is then not what was solved. So all units at a node must agree on their
shares; then the model, the solver and the tables mean the same.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from peerwatt.errors import Fault, GridDataError
from peerwatt.grid.admittance import Admittances, Floats, Ints
from peerwatt.grid.check import element
from peerwatt.grid.columns import column, flag, in_service, names
from peerwatt.grid.network import Generators, VoltageDependence

if TYPE_CHECKING:
    from pandapower import pandapowerNet

__all__ = ["ZIP_COLUMNS", "read_voltage_control", "voltage_shares"]

ZIP_COLUMNS = ("const_z_p_percent", "const_i_p_percent", "const_z_q_percent", "const_i_q_percent")
"""Columns of pandapower's loads that say how they depend on the voltage, in the order of `VoltageDependence`."""

_OTHERS = ("sgen", "storage", "gen")


def voltage_shares(net: pandapowerNet) -> Floats:
    """Shares of constant impedance and current of the loads, (n_load, 4); 0 of those out of service."""
    shares = np.stack([column(net.load, name, 0.0) for name in ZIP_COLUMNS], axis=1) / 100.0
    return np.where(in_service(net.load)[:, None], shares, 0.0)


def read_voltage_control(
    net: pandapowerNet, model: Admittances, name: str
) -> tuple[Generators, VoltageDependence | None]:
    """Read generators and voltage dependence of a network.

    Args:
        net: network that `check_net` has passed.
        model: its nodes.
        name: what to call it in messages.

    Raises:
        GridDataError: two elements at one node that contradict each other; all of them.
    """
    gen = net.gen[in_service(net.gen) & ~flag(net.gen, "slack")]
    generators = Generators(
        gen.index.to_numpy(np.int64),
        names(gen, "gen"),
        np.asarray(net.bus.index.get_indexer(gen.bus), dtype=np.int64),
        column(gen, "vm_pu", 1.0),
    )
    shares = voltage_shares(net)
    faults = [*_contradictions(generators, model), *_mixtures(net, shares, model)]
    if faults:
        raise GridDataError([Fault(f"{name}: {fault.where}", fault.problem, fault.remedy) for fault in faults])
    return generators, _dependence(net, shares, model)


def _nodes(net: Any, table: str, model: Admittances) -> Ints:
    """Node of each element of a table, (n,)."""
    bus: Ints = np.asarray(net.bus.index.get_indexer(net[table].bus), dtype=np.int64)
    return model.bus_node[bus]


def _contradictions(generators: Generators, model: Admittances) -> Iterator[Fault]:
    """Generators at a node whose voltage something else holds already."""
    node = model.bus_node[generators.bus]
    called = generators.element
    for where, at, vm_pu in zip(called, node, generators.vm_pu, strict=True):
        if at in model.slack_node:
            yield Fault(where, "an external grid holds the voltage of its bus", "replace it by an sgen")
        first = int(np.flatnonzero(node == at)[0])
        if generators.vm_pu[first] != vm_pu:
            problem = f"vm_pu is {vm_pu}, at the same bus {called[first]} holds {generators.vm_pu[first]}"
            yield Fault(where, problem, "give both the same vm_pu, or replace one by an sgen")


def _mixtures(net: Any, shares: Floats, model: Admittances) -> Iterator[Fault]:
    """Loads that depend on the voltage, at a node with units that do so otherwise."""
    at_node: dict[int, list[tuple[str, Floats]]] = {}
    node = _nodes(net, "load", model)
    for at in set(node[shares.any(axis=1)].tolist()):
        rows = np.flatnonzero((node == at) & in_service(net.load))
        at_node[at] = [(element(net, "load", net.load.index[row]), shares[row]) for row in rows]
    none = np.zeros(len(ZIP_COLUMNS))
    for table in _OTHERS if at_node else ():
        slack = flag(net.gen, "slack") if table == "gen" else np.zeros(len(net[table]), dtype=np.bool_)
        for at, index, live in zip(
            _nodes(net, table, model).tolist(), net[table].index, in_service(net[table]) & ~slack, strict=True
        ):
            if live and at in at_node:
                at_node[at].append((element(net, table, index), none))
    remedy = "give it a bus of its own behind a line, or a switch with z_ohm"
    for units in at_node.values():
        for where, share in units:
            other = next((name for name, another in units if (another != share).any()), None)
            if other is not None and share.any():
                yield Fault(where, f"depends on the voltage otherwise than {other} at the same bus", remedy)


def _dependence(net: Any, shares: Floats, model: Admittances) -> VoltageDependence | None:
    rows = np.flatnonzero(shares.any(axis=1))
    if not len(rows):
        return None
    of_node = np.zeros((model.n_node, len(ZIP_COLUMNS)))
    of_node[_nodes(net, "load", model)[rows]] = shares[rows]
    of_bus = np.where(model.bus_node[:, None] >= 0, of_node[model.bus_node], 0.0)
    z_p, i_p, z_q, i_q = np.ascontiguousarray(of_bus.T)
    return VoltageDependence(z_p, i_p, z_q, i_q, tuple(element(net, "load", index) for index in net.load.index[rows]))
