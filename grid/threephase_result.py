"""Gives a three-phase state back as a pandapower network with `res_*_3ph` tables.

What a state holds is copied as it is. What only pandapower's tables have (both ends of a branch, the current
in the neutral) follows from the voltages.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from peerwatt.errors import PowerFlowError
from peerwatt.grid.admittance import Complexes, Floats
from peerwatt.grid.threephase_currents import EndCurrents, phase_power
from peerwatt.grid.threephase_network import PHASES, ThreePhaseNetwork, to_phases, to_sequences

if TYPE_CHECKING:
    from pandapower import pandapowerNet

__all__ = ["replace_units", "to_pandapower"]

_UNITS = ("load", "sgen", "storage", "asymmetric_load", "asymmetric_sgen")


class Flowing(Protocol):
    """What is read of a `PhaseBranchState`."""

    @property
    def p_from_mw(self) -> Floats: ...

    @property
    def q_from_mvar(self) -> Floats: ...

    @property
    def i_ka(self) -> Floats: ...

    @property
    def loading_percent(self) -> Floats: ...


class Solved(Protocol):
    """What is read of a `ThreePhaseState`, which imports this module."""

    @property
    def converged(self) -> bool: ...

    @property
    def reason(self) -> str: ...

    @property
    def vm_pu(self) -> Floats: ...

    @property
    def va_degree(self) -> Floats: ...

    @property
    def vuf_percent(self) -> Floats: ...

    @property
    def p_mw(self) -> Floats: ...

    @property
    def q_mvar(self) -> Floats: ...

    @property
    def line(self) -> Flowing: ...

    @property
    def trafo(self) -> Flowing: ...

    @property
    def slack_p_mw(self) -> Floats: ...

    @property
    def slack_q_mvar(self) -> Floats: ...


def replace_units(net: Any, network: ThreePhaseNetwork) -> None:
    """Replace all units of a network, in place, by one `asymmetric_sgen` at every bus that is in service, at 0.

    Args:
        net: the network as pandapower has it.
        network: the same as peerwatt's.
    """
    import pandapower

    from peerwatt.grid.convert import quiet

    with quiet():
        for table in _UNITS:
            if table in net:
                net[table] = net[table].iloc[:0]
        for bus in network.buses.index[network.grid.admittances.bus_node >= 0]:
            pandapower.create_asymmetric_sgen(net, int(bus), type="wye")


def to_pandapower(state: Solved, network: ThreePhaseNetwork) -> pandapowerNet:
    """The network with the `res_*_3ph` tables of buses, lines, transformers, external grids and units of a state.

    One `asymmetric_sgen` per bus, in place of all units, stands for their net injection, so that `runpp_3ph(net)`
    finds the same state again, as near as `net.sn_mva` lets it.

    Args:
        state: the state.
        network: the network that it is of.

    Raises:
        PowerFlowError: the state has no numbers, because its power flow has no solution.
    """
    import pandas as pd

    from peerwatt.grid.netfile import parse_net

    if not state.converged:
        raise PowerFlowError(f"there are no results to give to pandapower: {state.reason}")
    net = parse_net(network.grid.pandapower_json, network.name)
    replace_units(net, network)
    live = network.grid.admittances.bus_node >= 0
    for label, power in _by_phase(state.p_mw[live], state.q_mvar[live]).items():
        net.asymmetric_sgen[label] = power
    net["res_asymmetric_sgen_3ph"] = net.asymmetric_sgen[list(_by_phase(state.p_mw, state.q_mvar))].astype(float)
    net["res_ext_grid_3ph"] = _sources(net, state)
    net["res_bus_3ph"] = pd.DataFrame(_buses(net, state), index=network.buses.index)
    sequences = _node_sequences(network, state)
    ends = EndCurrents(network)
    voltage, current = ends.at_ends(sequences)
    flow, amount = phase_power(voltage, current), to_phases(current) * ends.ka[:, None]
    n, n_line = network.grid.admittances.n_branch, len(network.lines)
    for table, branch, names, first, index in (
        ("line", state.line, ("from", "to"), 0, network.lines.index),
        ("trafo", state.trafo, ("hv", "lv"), n_line, network.trafos.index),
    ):
        at = slice(n + first, n + first + len(index))
        start = slice(first, first + len(index))
        columns = _branch(branch, names, flow[at], amount[start], amount[at])
        net[f"res_{table}_3ph"] = pd.DataFrame(columns, index=index)
    net["converged"] = True
    return net


def _by_phase(p: Floats, q: Floats, side: str = "", kind: tuple[str, str] = ("p", "q")) -> dict[str, Floats]:
    """Columns such as p_a_mw, or with side `_from` p_a_from_mw, of arrays of (n, 3)."""
    columns = {}
    for k, phase in enumerate(PHASES):
        columns[f"{kind[0]}_{phase}{side}_mw"] = p[:, k]
        columns[f"{kind[1]}_{phase}{side}_mvar"] = q[:, k]
    return columns


def _sources(net: Any, state: Solved) -> Any:
    """Power of the external grids; those in service are at one bus and share alike."""
    import pandas as pd

    from peerwatt.grid.columns import in_service

    share = in_service(net.ext_grid) / np.count_nonzero(in_service(net.ext_grid))  # (n_ext_grid,)
    columns = _by_phase(np.outer(share, state.slack_p_mw), np.outer(share, state.slack_q_mvar))
    return pd.DataFrame(columns, index=net.ext_grid.index)


def _buses(net: Any, state: Solved) -> dict[str, Floats]:
    columns = {}
    for k, phase in enumerate(PHASES):
        columns[f"vm_{phase}_pu"] = state.vm_pu[:, k]
        columns[f"va_{phase}_degree"] = (state.va_degree[:, k] + 180.0) % 360.0 - 180.0
    p, q = -state.p_mw, -state.q_mvar  # pandapower counts consumption
    source = net.res_ext_grid_3ph
    at = net.bus.index.get_indexer(net.ext_grid.bus)
    for k, phase in enumerate(PHASES):
        np.subtract.at(p[:, k], at, source[f"p_{phase}_mw"])
        np.subtract.at(q[:, k], at, source[f"q_{phase}_mvar"])
    return {**columns, **_by_phase(p, q), "unbalance_percent": state.vuf_percent}


def _node_sequences(network: ThreePhaseNetwork, state: Solved) -> Complexes:
    """Sequence voltages of the nodes, (n_node, 3); those of a line's open end, which is no bus, from its other end."""
    model, zero = network.grid.admittances, network.zero
    angle = np.radians(state.va_degree)
    voltage = state.vm_pu * np.cos(angle) + 1j * (state.vm_pu * np.sin(angle))
    node = np.full((model.n_node, 3), np.nan, dtype=np.complex128)
    live = model.bus_node >= 0
    node[model.bus_node[live]] = to_sequences(voltage[live])
    known = ~np.isnan(node[:, 0])
    for row in np.flatnonzero(model.live & (known[model.from_node] != known[model.to_node])):
        start, end = model.from_node[row], model.to_node[row]
        y_0, y_1 = (zero.ytf[row], zero.ytt[row]), (model.ytf[row], model.ytt[row])
        if known[end]:
            start, end = end, start
            y_0, y_1 = (zero.yft[row], zero.yff[row]), (model.yft[row], model.yff[row])
        through, own = (np.array([zeros, ones, ones]) for zeros, ones in zip(y_0, y_1, strict=True))
        node[end] = -through / own * node[start]
    return node


def _branch(
    branch: Flowing, names: tuple[str, str], power_to: Complexes, i_from: Complexes, i_to: Complexes
) -> dict[str, Floats]:
    """Columns of a branch table, of the power into the to ends and the currents in kA into both ends, (n, 3)."""
    start, end = names
    p_to, q_to = power_to.real, power_to.imag
    columns = {
        **_by_phase(branch.p_from_mw, branch.q_from_mvar, f"_{start}"),
        **_by_phase(p_to, q_to, f"_{end}"),
        **_by_phase(branch.p_from_mw + p_to, branch.q_from_mvar + q_to, kind=("pl", "ql")),
    }
    for side, current in ((start, i_from), (end, i_to)):
        columns |= {f"i_{phase}_{side}_ka": np.abs(current[:, k]) for k, phase in enumerate(PHASES)}
    if start == "from":
        columns |= {f"i_{phase}_ka": branch.i_ka[:, k] for k, phase in enumerate(PHASES)}
        neutral = np.abs(i_from.sum(axis=1)), np.abs(i_to.sum(axis=1))
        columns |= {"i_n_from_ka": neutral[0], "i_n_to_ka": neutral[1], "i_n_ka": np.maximum(*neutral)}
    columns |= {f"loading_{phase}_percent": branch.loading_percent[:, k] for k, phase in enumerate(PHASES)}
    return {**columns, "loading_percent": branch.loading_percent.max(axis=1)}
