"""The default three-phase engine: power-grid-model's asymmetric calculation.

Lines become a `line` of series impedances, transformers a `transformer` without magnetising current whose
star points are earthed only where zero sequence current passes. Everything else of both sequences, charging,
magnetising and the zero sequence of a Dyn, is one `shunt` per node, which is exact. Injections are one
constant-power `asym_gen` per node. How the external grid is represented is told in `threephase_session`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from power_grid_model import ComponentType, DatasetType, LoadGenType, WindingType, initialize_array

from peerwatt.errors import Fault, GridDataError
from peerwatt.grid.admittance import Floats
from peerwatt.grid.batch import rows_per_chunk
from peerwatt.grid.threephase_batch import ThreePhaseStates
from peerwatt.grid.threephase_flows import PhaseFlows
from peerwatt.grid.threephase_network import ThreePhaseNetwork
from peerwatt.grid.threephase_session import PhaseSession
from peerwatt.grid.threephase_state import ThreePhaseState

__all__ = ["PgmThreePhase"]

_MEGA = 1e6


class PgmThreePhase:
    """Solves a network with power-grid-model.

    Args:
        network: the network.
        threads: of a batch: -1 none besides the caller's; 0 as many as the machine has; or how many.

    Raises:
        GridDataError: a transformer's phase shift is no multiple of 30 degree.
    """

    name = "power-grid-model"

    def __init__(self, network: ThreePhaseNetwork, threads: int = -1) -> None:
        _refuse(network)
        self._network = network
        self._flows = PhaseFlows(network)
        self._session = PhaseSession(network, _input_data(network), threads)

    def solve(self, p_mw: Floats, q_mvar: Floats) -> ThreePhaseState:
        """Solve the grid for net injections, see `ThreePhaseEngine.solve`."""
        p_mw, q_mvar = self._network.check_injections(p_mw, q_mvar)
        return self._solved(p_mw[None], q_mvar[None])[0]

    def solve_batch(self, p_mw: Floats, q_mvar: Floats) -> ThreePhaseStates:
        """Solve many rows of net injections, see `ThreePhaseEngine.solve_batch`."""
        return self._solved(*self._network.check_batch(p_mw, q_mvar))

    def _solved(self, p_mw: Floats, q_mvar: Floats) -> ThreePhaseStates:
        """States of checked injections, (k, n_bus, 3), chunk by chunk."""
        network, reasons = self._network, [""] * len(p_mw)
        slack = network.grid.admittances.slack_node
        states = ThreePhaseStates.empty(network, p_mw, q_mvar)
        step = rows_per_chunk(8 * 3 * 12 * network.grid.admittances.n_node)
        for first in range(0, len(p_mw), step):
            p_node = network.to_nodes(p_mw[first : first + step])
            q_node = network.to_nodes(q_mvar[first : first + step])
            slack_mva = p_node[:, slack] + 1j * q_node[:, slack]
            vm_pu, va_rad, failed = self._session.solve(p_node, q_node)
            for row, message in failed.items():
                reasons[first + row] = _reason(message)
            self._flows.fill(states, first, vm_pu, va_rad, slack_mva)
        return states.with_reasons(reasons)


def _reason(message: str) -> str:
    return "power-grid-model: " + " ".join(message.split("\nTry ")[0].split())


def _refuse(network: ThreePhaseNetwork) -> None:
    trafos, start = network.trafos, len(network.lines)
    model = network.grid.admittances
    shift = np.degrees(np.angle(model.ratio[start : start + len(trafos)]))
    odd = np.abs(shift / 30.0 - np.round(shift / 30.0)) > 1e-9
    faults = [
        Fault(
            f"{network.name}: trafo '{trafos.name[k]}' (index {trafos.index[k]})",
            f"power-grid-model takes phase shifts of 30 degree only, not {shift[k]:g}",
            "use engine pandapower",
        )
        for k in np.flatnonzero(odd & model.live[start : start + len(trafos)])
    ]
    if faults:
        raise GridDataError(faults)


def _input_data(network: ThreePhaseNetwork) -> dict[ComponentType, Any]:
    """The network in power-grid-model's terms; ids count through all components."""
    model = network.grid.admittances
    n_node = model.n_node
    node = initialize_array(DatasetType.input, ComponentType.node, n_node)
    node["id"] = np.arange(n_node)
    node["u_rated"] = 1e3 * model.node_vn_kv
    gen = initialize_array(DatasetType.input, ComponentType.asym_gen, n_node)
    gen["id"], gen["node"] = n_node + np.arange(n_node), np.arange(n_node)
    gen["status"], gen["type"] = 1, LoadGenType.const_power
    gen["p_specified"] = gen["q_specified"] = 0.0
    first = 2 * n_node
    is_trafo = np.zeros(model.n_branch, dtype=np.bool_)
    is_trafo[len(network.lines) : len(network.lines) + len(network.trafos)] = True
    live = model.live & (model.from_node != model.to_node)
    line = _lines(network, np.flatnonzero(live & ~is_trafo), first)
    trafo = _trafos(network, np.flatnonzero(live & is_trafo), first + len(line))
    shunt = _shunts(network, first + len(line) + len(trafo))
    source = _source(network, first + len(line) + len(trafo) + len(shunt))
    return {
        ComponentType.node: node,
        ComponentType.asym_gen: gen,
        ComponentType.line: line,
        ComponentType.transformer: trafo,
        ComponentType.shunt: shunt,
        ComponentType.source: source,
    }


def _ends(network: ThreePhaseNetwork, kind: ComponentType, rows: Any, first: int) -> Any:
    model = network.grid.admittances
    branch = initialize_array(DatasetType.input, kind, len(rows))
    branch["id"] = first + np.arange(len(rows))
    branch["from_node"], branch["to_node"] = model.from_node[rows], model.to_node[rows]
    branch["from_status"] = branch["to_status"] = 1
    return branch


def _lines(network: ThreePhaseNetwork, rows: Any, first: int) -> Any:
    model = network.grid.admittances
    line = _ends(network, ComponentType.line, rows, first)
    base = model.node_vn_kv[model.from_node[rows]] ** 2
    z_1, z_0 = base / -model.ytf[rows], base / network.zero.series()[rows]
    line["r1"], line["x1"], line["r0"], line["x0"] = z_1.real, z_1.imag, z_0.real, z_0.imag
    line["c1"] = line["tan1"] = line["c0"] = line["tan0"] = 0.0
    return line


def _trafos(network: ThreePhaseNetwork, rows: Any, first: int) -> Any:
    """Transformers; uk and pk are at 1 MVA and the base voltage of the low-voltage node."""
    model = network.grid.admittances
    trafo = _ends(network, ComponentType.transformer, rows, first)
    vn_lv = 1e3 * model.node_vn_kv[model.to_node[rows]]
    ratio = model.ratio[rows]
    z_1 = 1.0 / (-model.ytf[rows] * ratio)  # pu of 1 MVA
    series_0 = network.zero.series()[rows]
    through = np.abs(series_0) > 0.0
    trafo["u1"], trafo["u2"] = 1e3 * model.node_vn_kv[model.from_node[rows]] * np.abs(ratio), vn_lv
    trafo["sn"], trafo["uk"], trafo["pk"] = _MEGA, np.abs(z_1), _MEGA * z_1.real
    trafo["i0"] = trafo["p0"] = trafo["i0_zero_sequence"] = trafo["p0_zero_sequence"] = 0.0
    clock = np.mod(np.round(np.degrees(np.angle(ratio)) / 30.0), 12).astype(np.int8)
    trafo["clock"] = clock
    even = np.where(through, WindingType.wye_n, WindingType.wye)
    trafo["winding_from"] = np.where(clock % 2 == 1, WindingType.delta, even)
    trafo["winding_to"] = np.where(clock % 2 == 1, WindingType.wye, even)
    trafo["tap_side"] = trafo["tap_pos"] = trafo["tap_min"] = trafo["tap_max"] = 0
    trafo["tap_size"] = 0.0
    z_0 = 1.0 / np.where(through, series_0, 1.0)
    ground = np.where(through, (z_0 - z_1) * vn_lv**2 / _MEGA / 3.0, 0.0)
    trafo["r_grounding_from"] = trafo["x_grounding_from"] = 0.0
    trafo["r_grounding_to"], trafo["x_grounding_to"] = ground.real, ground.imag
    return trafo


def _shunts(network: ThreePhaseNetwork, first: int) -> Any:
    """All that is not series impedance; the external grid's zero sequence too, as its source has another."""
    model, zero = network.grid.admittances, network.zero
    loop = model.from_node == model.to_node  # between buses that a switch joins
    series = np.where(loop, 0.0, -model.ytf * model.ratio)
    y_1, y_0 = model.y_shunt.copy(), zero.shunts(model)
    np.add.at(y_1, model.from_node, model.yff - series / np.abs(model.ratio) ** 2)
    np.add.at(y_1, model.to_node, model.ytt - series)
    np.add.at(y_1, model.from_node[loop], (model.yft + model.ytf)[loop])
    y_0[model.slack_node] += zero.slack_y0 - zero.slack_y2
    at = np.flatnonzero((y_1 != 0.0) | (y_0 != 0.0))
    shunt = initialize_array(DatasetType.input, ComponentType.shunt, len(at))
    shunt["id"] = first + np.arange(len(at))
    shunt["node"], shunt["status"] = at, 1
    base = model.node_vn_kv[at] ** 2
    shunt["g1"], shunt["b1"] = y_1[at].real / base, y_1[at].imag / base
    shunt["g0"], shunt["b0"] = y_0[at].real / base, y_0[at].imag / base
    return shunt


def _source(network: ThreePhaseNetwork, first: int) -> Any:
    model = network.grid.admittances
    z = 1.0 / network.zero.slack_y2
    source = initialize_array(DatasetType.input, ComponentType.source, len(model.slack_node))
    source["id"], source["node"], source["status"] = first, model.slack_node, 1
    source["u_ref"], source["u_ref_angle"] = model.slack_vm_pu, np.radians(model.slack_va_degree)
    source["sk"], source["rx_ratio"], source["z01_ratio"] = _MEGA / np.abs(z), z.real / z.imag, 1.0
    return source
