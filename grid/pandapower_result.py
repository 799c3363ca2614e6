"""Gives a grid state back as a pandapower network with result tables, for those who go on with pandapower.

What a state holds is copied as it is. What only pandapower's tables have (the reactive power and the current
at each end of a branch, the share of each external grid and shunt) follows from the voltages.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from peerwatt.errors import PowerFlowError
from peerwatt.grid.admittance import Complexes, Floats, Ints
from peerwatt.grid.columns import flag
from peerwatt.grid.network import Network

if TYPE_CHECKING:
    from pandapower import pandapowerNet

__all__ = ["to_pandapower"]

_SQRT3 = float(np.sqrt(3.0))


class Flowing(Protocol):
    """What is read of a `BranchState`."""

    @property
    def p_from_mw(self) -> Floats: ...

    @property
    def q_from_mvar(self) -> Floats: ...

    @property
    def i_ka(self) -> Floats: ...

    @property
    def loading_percent(self) -> Floats: ...

    @property
    def pl_mw(self) -> Floats: ...


class Solved(Protocol):
    """What is read of a `GridState`, which imports this module."""

    @property
    def converged(self) -> bool: ...

    @property
    def reason(self) -> str: ...

    @property
    def vm_pu(self) -> Floats: ...

    @property
    def va_degree(self) -> Floats: ...

    @property
    def p_mw(self) -> Floats: ...

    @property
    def q_mvar(self) -> Floats: ...

    @property
    def line(self) -> Flowing: ...

    @property
    def trafo(self) -> Flowing: ...

    @property
    def slack_p_mw(self) -> float: ...

    @property
    def slack_q_mvar(self) -> float: ...


def to_pandapower(state: Solved, network: Network) -> pandapowerNet:
    """The network with `res_bus`, `res_line`, `res_trafo`, `res_ext_grid` and `res_sgen` of a state.

    Its loads, generators and storages are out of service, and one static generator per bus stands for their
    net injection, so that `runpp(net, trafo_model="pi")` finds the same state again. Generators that hold a
    voltage stay, without power: theirs is part of the injection. Where the injection depends on the voltage it is
    that of a load.

    Args:
        state: the state.
        network: the network that it is of.

    Raises:
        PowerFlowError: the state has no numbers, because its power flow has no solution.
    """
    import pandas as pd

    from peerwatt.grid.convert import quiet
    from peerwatt.grid.netfile import parse_net
    from peerwatt.grid.verify import prepare, set_injections

    if not state.converged:
        raise PowerFlowError(f"there are no results to give to pandapower: {state.reason}")
    net = parse_net(network.pandapower_json, network.name)
    with quiet():
        prepare(net)
        set_injections(net, state.p_mw, state.q_mvar, network.buses.index)
    angle = np.radians(state.va_degree)
    voltage = state.vm_pu * np.cos(angle) + 1j * (state.vm_pu * np.sin(angle))  # (n_bus,)
    start, end = _ends(network, np.nan_to_num(voltage))
    first, last = network.n_line, network.n_line + network.n_trafo
    lines, trafos = network.lines, network.trafos
    net["res_line"] = pd.DataFrame(
        _branch(state.line, network, voltage, (lines.from_bus, lines.to_bus), ("from", "to"), end[:first]),
        index=lines.index,
    )
    net["res_trafo"] = pd.DataFrame(
        _branch(state.trafo, network, voltage, (trafos.hv_bus, trafos.lv_bus), ("hv", "lv"), end[first:last]),
        index=trafos.index,
    )
    drawn = _drawn(state, network, np.nan_to_num(voltage), start, end)
    taken = _share_of_sources(net, network, drawn)
    taken += _shunts(net, network, state.vm_pu)
    p_mw, q_mvar = network.injected(state.p_mw, state.q_mvar, state.vm_pu)
    columns = {
        "vm_pu": state.vm_pu,
        "va_degree": state.va_degree,
        "p_mw": taken.real - p_mw,  # pandapower counts consumption
        "q_mvar": taken.imag - q_mvar,
    }
    net["res_bus"] = pd.DataFrame(columns, index=network.buses.index)
    net["res_sgen"] = net.sgen[["p_mw", "q_mvar"]].where(net.sgen.in_service, 0.0)
    net["res_load"] = pd.DataFrame({"p_mw": 0.0, "q_mvar": 0.0}, index=net.load.index)
    at = _rows(net, network, "load")[net.load.index.get_indexer(net["_dependent"])]
    net.res_load.loc[net["_dependent"]] = -np.stack([p_mw[at], q_mvar[at]], axis=1)
    net["converged"] = True
    return net


def _ends(network: Network, voltage: Complexes) -> tuple[Complexes, Complexes]:
    """Power into both ends of each branch, (n_branch,), MVA, from the voltages of the buses."""
    model = network.admittances
    node = _node_voltage(network, voltage)
    v_from, v_to = node[model.from_node], node[model.to_node]
    s_from = v_from * np.conj(model.yff * v_from + model.yft * v_to)
    s_to = v_to * np.conj(model.ytf * v_from + model.ytt * v_to)
    return s_from, s_to


def _node_voltage(network: Network, voltage: Complexes) -> Complexes:
    """Voltages of the nodes; that of the open end of a line, which is no bus, from its other end."""
    model = network.admittances
    node = np.full(model.n_node, np.nan, dtype=np.complex128)
    live = model.bus_node >= 0
    node[model.bus_node[live]] = voltage[live]
    for row in np.flatnonzero(model.live & (np.isnan(node[model.from_node]) != np.isnan(node[model.to_node]))):
        start, end = model.from_node[row], model.to_node[row]
        if np.isnan(node[end]):
            node[end] = -model.ytf[row] * node[start] / model.ytt[row]
        else:
            node[start] = -model.yft[row] * node[end] / model.yff[row]
    return node


def _branch(
    branch: Flowing,
    network: Network,
    voltage: Complexes,
    buses: tuple[Any, Any],
    ends: tuple[str, str],
    power_to: Complexes,
) -> dict[str, Floats]:
    """Columns of a branch table; `loading_percent` and what else the state knows are those of the state."""
    columns: dict[str, Floats] = {}
    s_from = branch.p_from_mw + 1j * branch.q_from_mvar
    s_to = branch.pl_mw - branch.p_from_mw + 1j * power_to.imag
    for name, power in zip(ends, (s_from, s_to), strict=True):
        columns[f"p_{name}_mw"], columns[f"q_{name}_mvar"] = power.real, power.imag
    columns["pl_mw"], columns["ql_mvar"] = branch.pl_mw, s_from.imag + s_to.imag
    for name, bus, power in zip(ends, buses, (s_from, s_to), strict=True):
        kv = np.abs(voltage[bus]) * network.buses.vn_kv[bus]
        dead = (power == 0.0) | np.isnan(kv)  # an open end may have no voltage
        columns[f"i_{name}_ka"] = np.where(dead, 0.0, np.abs(power) / (_SQRT3 * np.where(dead, 1.0, kv)))
    if ends[0] == "from":
        columns["i_ka"] = branch.i_ka
    for name, bus in zip(ends, buses, strict=True):
        columns[f"vm_{name}_pu"] = np.abs(voltage[bus])
        columns[f"va_{name}_degree"] = np.degrees(np.angle(voltage[bus]))
    columns["loading_percent"] = branch.loading_percent
    return columns


def _drawn(state: Solved, network: Network, voltage: Complexes, start: Complexes, end: Complexes) -> Complexes:
    """Power that each node with an external grid draws from it, (n_slack,); the sums are those of the state."""
    model = network.admittances
    balance = _node_voltage(network, voltage)
    balance = np.abs(balance) ** 2 * model.y_shunt.conj()
    np.add.at(balance, model.from_node, start)
    np.add.at(balance, model.to_node, end)
    live = model.bus_node >= 0
    p_mw, q_mvar = network.injected(state.p_mw, state.q_mvar, state.vm_pu)
    np.subtract.at(balance, model.bus_node[live], (p_mw + 1j * q_mvar)[live])
    drawn = balance[model.slack_node]
    drawn += (complex(state.slack_p_mw, state.slack_q_mvar) - drawn.sum()) / len(drawn)
    return drawn


def _share_of_sources(net: Any, network: Network, drawn: Complexes) -> Complexes:
    """Write `res_ext_grid` and `res_gen`; sources at one node share alike.

    Returns:
        (n_bus,) consumption by sources, MVA.
    """
    import pandas as pd

    model = network.admittances
    given = {table: net[table].in_service.to_numpy(dtype=bool) for table in ("ext_grid", "gen")}
    given["gen"] = given["gen"] & flag(net.gen, "slack")  # others have their power in the injections
    taken = np.zeros(network.n_bus, dtype=np.complex128)
    rows = {table: _rows(net, network, table) for table in given}
    node = {table: np.where(given[table], model.bus_node[rows[table]], -1) for table in given}
    everywhere = np.concatenate(list(node.values()))
    for table, at in node.items():
        power = np.zeros(len(at), dtype=np.complex128)
        for slack, share in zip(model.slack_node, drawn, strict=True):
            power[at == slack] = share / np.count_nonzero(everywhere == slack)
        net[f"res_{table}"] = pd.DataFrame({"p_mw": power.real, "q_mvar": power.imag}, index=net[table].index)
        np.subtract.at(taken, rows[table], power)
    return taken


def _shunts(net: Any, network: Network, vm_pu: Floats) -> Complexes:
    """Write `res_shunt`; returns the consumption of shunts by bus, (n_bus,), MVA."""
    import pandas as pd

    taken = np.zeros(network.n_bus, dtype=np.complex128)
    shunt, rows = net.shunt, _rows(net, network, "shunt")
    live = shunt.in_service.to_numpy(dtype=bool) & ~np.isnan(vm_pu[rows])
    ratio = np.where(live, vm_pu[rows], 0.0) * network.buses.vn_kv[rows] / shunt.vn_kv.to_numpy(np.float64)
    power = (shunt.p_mw + 1j * shunt.q_mvar).to_numpy() * shunt.step.to_numpy(np.float64) * ratio**2
    columns = {"p_mw": power.real, "q_mvar": power.imag, "vm_pu": vm_pu[rows]}
    net["res_shunt"] = pd.DataFrame(columns, index=shunt.index)
    np.add.at(taken, rows, power)
    return taken


def _rows(net: Any, network: Network, table: str) -> Ints:
    """Positions of the buses of a table's elements, (n,)."""
    position = {int(index): row for row, index in enumerate(network.buses.index)}
    return np.array([position[int(bus)] for bus in net[table].bus], dtype=np.int64)
