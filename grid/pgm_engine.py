"""The default engine: power-grid-model, a power flow solver in C++.

Every branch becomes a `generic_branch` (series impedance and ratio); what the two-port has beyond that, the
line charging and the magnetising current, is summed into one shunt per node, which is exact. Injections are
one constant-power `sym_gen` per node, external grids are sources so stiff that their voltage is given.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from power_grid_model import ComponentType, DatasetType, LoadGenType, initialize_array

from peerwatt.errors import Fault, GridDataError
from peerwatt.grid.admittance import Admittances, Floats
from peerwatt.grid.batch import GridStates, rows_per_chunk
from peerwatt.grid.flows import Flows, branch_name, total_shunts
from peerwatt.grid.injection import NodeInjections, NodeShares
from peerwatt.grid.network import Network
from peerwatt.grid.pgm_session import BatchSession, open_session
from peerwatt.grid.state import GridState

__all__ = ["PgmEngine", "refusals"]

_MEGA = 1e6
_SOURCE_SK_VA = 1e18  # a source moves by 1e-12 pu per MVA; stiffer ones cost precision, softer ones are seen


class PgmEngine:
    """Solves a network with power-grid-model.

    Args:
        network: the network.
        threads: of a batch: -1 none besides the caller's, which is right where replicas already run in
            processes of their own; 0 as many as the machine has; or how many.

    Raises:
        GridDataError: what the library cannot represent exactly, by element.
    """

    name = "power-grid-model"

    def __init__(self, network: Network, threads: int = -1) -> None:
        faults = refusals(network)
        if faults:
            raise GridDataError(faults)
        self._network = network
        self._shares = None if network.voltage_dependence is None else NodeShares(network)
        self._injections = NodeInjections(network)
        self._flows = Flows(network)
        self._threads = threads
        self._input = _input_data(network.admittances, () if self._shares is None else self._shares.node)
        self._session = open_session(self._input, network.admittances.n_node)
        self._batch: BatchSession | None = None

    def solve(self, p_mw: Floats, q_mvar: Floats) -> GridState:
        """Solve the grid for net injections, see `Engine.solve`."""
        p_mw, q_mvar = self._injections.check(p_mw, q_mvar)
        nodes = self._injections.to_nodes(p_mw, q_mvar)
        session, shares = self._session, self._shares
        p, q = (nodes.real, nodes.imag) if shares is None else shares.split(nodes.real, nodes.imag)
        np.multiply(p, _MEGA, out=session.p_w)
        np.multiply(q, _MEGA, out=session.q_var)
        reason = session.solve()
        if not reason and not np.isfinite(session.vm_pu.sum()):
            reason = "voltages are not finite"
        if reason:
            return GridState.failed(self._network, p_mw, q_mvar, _reason(reason))
        if shares is not None:
            nodes = shares.injected(nodes, session.vm_pu)
        return self._flows.state(session.vm_pu, session.va_rad, nodes, p_mw, q_mvar)

    def solve_batch(self, p_mw: Floats, q_mvar: Floats) -> GridStates:
        """Solve many rows of net injections, see `Engine.solve_batch`."""
        p_mw, q_mvar = self._injections.check_batch(p_mw, q_mvar)
        if self._batch is None:
            self._batch = BatchSession(self._input, self._threads)
        reasons = [""] * len(p_mw)
        states = GridStates.empty(self._network, p_mw, q_mvar)
        slack = self._network.admittances.slack_node
        shares = self._shares
        step = rows_per_chunk(8 * 8 * self._network.admittances.n_node)
        for first in range(0, len(p_mw), step):
            p_node = self._injections.to_nodes_batch(p_mw[first : first + step])
            q_node = self._injections.to_nodes_batch(q_mvar[first : first + step])
            slack_mva = p_node[:, slack] + 1j * q_node[:, slack]
            if shares is not None:
                p_node, q_node = shares.split(p_node, q_node)
            p_node *= _MEGA
            q_node *= _MEGA
            vm_pu, va_rad, failed = self._batch.solve(p_node, q_node)
            for row, message in failed.items():
                reasons[first + row] = _reason(message)
            if shares is not None:
                slack_mva = shares.injected(slack_mva, vm_pu, slack)
            self._flows.fill(states, first, vm_pu, va_rad, slack_mva)
        return states.with_reasons(reasons)


def refusals(network: Network) -> list[Fault]:
    """What power-grid-model cannot represent exactly.

    These are branches whose impedance differs by direction and generators that hold a voltage.

    Args:
        network: the network.

    Returns:
        One fault per element; empty when everything is represented.
    """
    model = network.admittances
    there, back = -model.ytf * model.ratio, -model.yft * model.ratio.conj()  # both the series admittance
    loop = model.from_node == model.to_node
    wrong = model.live & ~loop & ~(np.abs(there - back) <= 1e-9 * np.abs(there))
    remedy = "use the engine 'pandapower', or 'auto'"
    regulated = "power-grid-model cannot represent a generator that holds a voltage"
    return network.generators.faults(network.name, regulated, remedy) + [
        Fault(
            f"{network.name}: {branch_name(network, int(row))}",
            "power-grid-model cannot represent an impedance that differs by direction",
            remedy,
        )
        for row in np.flatnonzero(wrong)
    ]


def _reason(message: str) -> str:
    return "power-grid-model: " + " ".join(message.split("\nTry ")[0].split())


def _input_data(model: Admittances, dependent: npt.ArrayLike = ()) -> dict[ComponentType, Any]:
    """The network in power-grid-model's terms; ids count through all components.

    Args:
        model: the electrical model.
        dependent: nodes whose power depends on the voltage: they have a part of constant impedance and one of constant
            current besides, in this order after those of constant power.
    """
    n_node, live = model.n_node, np.flatnonzero(model.live & (model.from_node != model.to_node))
    node = initialize_array(DatasetType.input, ComponentType.node, n_node)
    node["id"] = np.arange(n_node)
    node["u_rated"] = 1e3 * model.node_vn_kv

    more = np.asarray(dependent, dtype=np.int64)
    n_gen = n_node + 2 * len(more)
    gen = initialize_array(DatasetType.input, ComponentType.sym_gen, n_gen)
    gen["id"] = n_node + np.arange(n_gen)
    gen["node"] = np.concatenate([node["id"], more, more])
    gen["status"] = 1
    gen["type"] = LoadGenType.const_power
    gen["type"][n_node : n_node + len(more)] = LoadGenType.const_impedance
    gen["type"][n_node + len(more) :] = LoadGenType.const_current
    gen["p_specified"] = 0.0
    gen["q_specified"] = 0.0

    branch = initialize_array(DatasetType.input, ComponentType.generic_branch, len(live))
    first = n_node + n_gen
    branch["id"] = first + np.arange(len(live))
    branch["from_node"], branch["to_node"] = model.from_node[live], model.to_node[live]
    branch["from_status"] = branch["to_status"] = 1
    series = -model.ytf[live] * model.ratio[live]  # ytf = -y / ratio, MVA at 1 pu
    z_ohm = model.node_vn_kv[model.to_node[live]] ** 2 / series
    branch["r1"], branch["x1"] = z_ohm.real, z_ohm.imag
    branch["g1"] = branch["b1"] = 0.0
    branch["k"], branch["theta"] = np.abs(model.ratio[live]), np.angle(model.ratio[live])

    y_shunt = total_shunts(model)
    at = np.flatnonzero(y_shunt)
    shunt = initialize_array(DatasetType.input, ComponentType.shunt, len(at))
    shunt["id"] = first + len(live) + np.arange(len(at))
    shunt["node"], shunt["status"] = at, 1
    siemens = y_shunt[at] / model.node_vn_kv[at] ** 2
    shunt["g1"], shunt["b1"] = siemens.real, siemens.imag

    source = initialize_array(DatasetType.input, ComponentType.source, len(model.slack_node))
    source["id"] = first + len(live) + len(at) + np.arange(len(model.slack_node))
    source["node"], source["status"] = model.slack_node, 1
    source["u_ref"], source["u_ref_angle"] = model.slack_vm_pu, np.radians(model.slack_va_degree)
    source["sk"] = _SOURCE_SK_VA
    return {
        ComponentType.node: node,
        ComponentType.sym_gen: gen,
        ComponentType.generic_branch: branch,
        ComponentType.shunt: shunt,
        ComponentType.source: source,
    }
