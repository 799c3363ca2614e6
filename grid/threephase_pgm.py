"""The default three-phase engine: power-grid-model's asymmetric calculation.

Lines become a `line` of series impedances, transformers a `transformer` without magnetising current whose
star points are earthed only where zero sequence current passes. Everything else of both sequences, charging,
magnetising and the zero sequence of a Dyn, is one `shunt` per node, which is exact. Injections are one
constant-power `asym_gen` per node.

pandapower's external grid holds the positive sequence voltage at its bus, and is an impedance to earth in
the other two. A `source` has the same impedance in positive and negative sequence. So its voltage is set to
v_set + z_2 i_1, with i_1 estimated and then taken from the solution, until the bus has v_set within 1e-7 pu. The
rest is scaled away: all voltages by 1 + e changes powers by 2 e and voltage drops by e, so 1e-8 pu at most at 10
percent of drop. One or two solutions suffice.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from power_grid_model import (
    CalculationMethod,
    ComponentType,
    DatasetType,
    LoadGenType,
    PowerGridModel,
    WindingType,
    initialize_array,
)
from power_grid_model.errors import PowerGridError  # type: ignore[attr-defined]

from peerwatt.errors import Fault, GridDataError
from peerwatt.grid.admittance import Complexes, Floats
from peerwatt.grid.threephase_flows import PhaseFlows
from peerwatt.grid.threephase_network import ThreePhaseNetwork, to_sequences
from peerwatt.grid.threephase_state import ThreePhaseState

__all__ = ["PgmThreePhase"]

_MEGA = 1e6
_TOLERANCE_PU = 1e-8
_MAX_ITERATIONS = 20
_SLACK_TOLERANCE_PU = 1e-7
_MAX_CORRECTIONS = 20


class PgmThreePhase:
    """Solves a network with power-grid-model.

    Args:
        network: the network.

    Raises:
        GridDataError: a transformer's phase shift is no multiple of 30 degree.
    """

    name = "power-grid-model"

    def __init__(self, network: ThreePhaseNetwork) -> None:
        model = network.grid.admittances
        _refuse(network)
        self._network = network
        self._flows = PhaseFlows(network)
        self._live = np.flatnonzero(model.bus_node >= 0)
        self._node = model.bus_node[self._live]
        self._slack = int(model.slack_node[0])
        self._target = complex(model.slack_vm_pu[0] * np.exp(1j * np.radians(model.slack_va_degree[0])))
        self._z = complex(1.0 / network.zero.slack_y2[0])
        self._reference = self._target
        self._losses, self._last_power = 0j, 0.0
        data = _input_data(network)
        self._source = initialize_array(DatasetType.update, ComponentType.source, 1)
        self._source["id"] = data[ComponentType.source]["id"]
        self._p_w, self._q_var = np.zeros((model.n_node, 3)), np.zeros((model.n_node, 3))
        self._model = PowerGridModel(input_data=data)

    def solve(self, p_mw: Floats, q_mvar: Floats) -> ThreePhaseState:
        """Solve the grid for net injections, see `ThreePhaseEngine.solve`."""
        p_mw, q_mvar = self._network.check_injections(p_mw, q_mvar)
        nodes = np.zeros(self._p_w.shape, dtype=np.complex128)
        np.add.at(nodes, self._node, (p_mw + 1j * q_mvar)[self._live])
        self._p_w[:], self._q_var[:] = _MEGA * nodes.real, _MEGA * nodes.imag
        self._reference = self._target - self._z * np.conj((nodes.sum() - self._guess(nodes)) / self._target)
        try:
            vm_pu, va_rad = self._settle(nodes)
        except PowerGridError as error:
            return ThreePhaseState.failed(self._network, p_mw, q_mvar, _reason(str(error)))
        if not np.isfinite(vm_pu.sum()):
            return ThreePhaseState.failed(self._network, p_mw, q_mvar, _reason("voltages are not finite"))
        return self._flows.state(vm_pu, va_rad, nodes, p_mw, q_mvar)

    def _guess(self, nodes: Complexes) -> complex:
        """Losses by those of the solution before, which grow with the square of the power."""
        power = float(np.abs(nodes).sum())
        share = min(power / self._last_power, 2.0) if self._last_power > 0.0 else 1.0
        self._last_power = power
        return self._losses * share**2

    def _settle(self, nodes: Complexes) -> tuple[Floats, Floats]:
        """Voltages at which the slack has its positive sequence voltage, both (n_node, 3)."""
        for _ in range(_MAX_CORRECTIONS):
            vm_pu, va_rad = self._solve_once()
            voltage = vm_pu * np.exp(1j * va_rad)
            v_1 = complex(to_sequences(voltage[self._slack])[1])
            i_1 = (self._reference - v_1) / self._z
            self._losses = complex(nodes.sum()) + self._target * np.conj(i_1)
            error = v_1 - self._target
            if not abs(error) > _SLACK_TOLERANCE_PU:  # also where it is nan
                return vm_pu * abs(self._target / v_1), va_rad + np.angle(self._target / v_1)
            self._reference -= error
        raise PowerGridError("the voltage of the external grid does not settle: its s_sc_max_mva is too low")

    def _solve_once(self) -> tuple[Floats, Floats]:
        self._source["u_ref"], self._source["u_ref_angle"] = abs(self._reference), np.angle(self._reference)
        self._model.update(
            update_data={
                ComponentType.asym_gen: {"p_specified": self._p_w, "q_specified": self._q_var},
                ComponentType.source: self._source,
            }
        )
        node = self._model.calculate_power_flow(
            symmetric=False,
            error_tolerance=_TOLERANCE_PU,
            max_iterations=_MAX_ITERATIONS,
            calculation_method=CalculationMethod.newton_raphson,
            output_component_types={ComponentType.node: ["u_pu", "u_angle"]},
        )[ComponentType.node]
        return node["u_pu"], node["u_angle"]


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
