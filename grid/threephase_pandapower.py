"""The three-phase reference engine: plain `pandapower.runpp_3ph`, slow and independent of peerwatt's model."""

from __future__ import annotations

from typing import Any

import numpy as np

from peerwatt.errors import Fault, GridDataError
from peerwatt.grid.admittance import Floats
from peerwatt.grid.check import element
from peerwatt.grid.columns import column, in_service, texts
from peerwatt.grid.convert import quiet
from peerwatt.grid.netfile import parse_net
from peerwatt.grid.threephase_batch import ThreePhaseStates
from peerwatt.grid.threephase_network import PHASES, ThreePhaseNetwork, to_sequences
from peerwatt.grid.threephase_result import replace_units
from peerwatt.grid.threephase_state import PhaseBranchState, ThreePhaseState

__all__ = ["PandapowerThreePhase"]

_SOLVED_GROUPS = ("dd", "dy", "dyn", "yd", "yy", "ynyn")
_BASE_MVA = 0.01  # runpp_3ph stops at a mismatch of 3e-8 of this; at 100 MVA that is 3 VA at every bus


class PandapowerThreePhase:
    """Solves a network with `pandapower.runpp_3ph`.

    Args:
        network: the network.

    Raises:
        GridDataError: `runpp_3ph` calculates this network wrongly or not at all.
    """

    name = "pandapower"

    def __init__(self, network: ThreePhaseNetwork) -> None:
        self._network = network
        self._net = parse_net(network.grid.pandapower_json, network.name)
        _refuse(self._net, network.name)
        replace_units(self._net, network)
        self._net.sn_mva = _BASE_MVA
        self._live = np.flatnonzero(network.grid.admittances.bus_node >= 0)

    def solve(self, p_mw: Floats, q_mvar: Floats) -> ThreePhaseState:
        """Solve the grid for net injections, see `ThreePhaseEngine.solve`."""
        import pandapower

        p_mw, q_mvar = self._network.check_injections(p_mw, q_mvar)
        net, network = self._net, self._network
        for phase, letter in enumerate(PHASES):
            net.asymmetric_sgen[f"p_{letter}_mw"] = p_mw[self._live, phase]
            net.asymmetric_sgen[f"q_{letter}_mvar"] = q_mvar[self._live, phase]
        try:
            with quiet():
                pandapower.runpp_3ph(net)
        except pandapower.LoadflowNotConverged as error:
            return ThreePhaseState.failed(network, p_mw, q_mvar, f"pandapower: {error}")
        return _state(net, network, p_mw, q_mvar)

    def solve_batch(self, p_mw: Floats, q_mvar: Floats) -> ThreePhaseStates:
        """Solve many rows of net injections one by one, see `ThreePhaseEngine.solve_batch`."""
        p_mw, q_mvar = self._network.check_batch(p_mw, q_mvar)
        states, reasons = ThreePhaseStates.empty(self._network, p_mw, q_mvar), []
        for row, (p, q) in enumerate(zip(p_mw, q_mvar, strict=True)):
            state = self.solve(p, q)
            states.put(row, state)
            reasons.append(state.reason)
        return states.with_reasons(reasons)


def _refuse(net: Any, name: str) -> None:
    trafo = net.trafo
    neutral = (column(trafo, "xn_ohm", 0.0) != 0.0) | (column(trafo, "rn_ohm", 0.0) != 0.0)
    faults = []
    for index, text, earthed, live in zip(
        trafo.index, texts(trafo, "vector_group"), neutral, in_service(trafo), strict=True
    ):
        where = f"{name}: {element(net, 'trafo', index)}"
        if live and text.lower() not in _SOLVED_GROUPS:
            faults.append(Fault(where, f"runpp_3ph does not solve vector group '{text}'", "use power-grid-model"))
        if live and earthed:
            faults.append(Fault(where, "runpp_3ph takes a third of rn_ohm and xn_ohm", "use power-grid-model"))
    if faults:
        raise GridDataError(faults)


def _state(net: Any, network: ThreePhaseNetwork, p_mw: Floats, q_mvar: Floats) -> ThreePhaseState:
    bus = net.res_bus_3ph.loc[network.buses.index]
    line = _branches(net, "line", ("from", "to"), network.lines.index)
    trafo = _branches(net, "trafo", ("hv", "lv"), network.trafos.index)
    slack = net.res_ext_grid_3ph
    slack_p = np.array([np.nansum(slack[f"p_{letter}_mw"]) for letter in PHASES])
    slack_q = np.array([np.nansum(slack[f"q_{letter}_mvar"]) for letter in PHASES])
    return ThreePhaseState(
        True,  # noqa: FBT003 - converged
        "",
        _by_phase(bus, "vm_{}_pu"),
        _by_phase(bus, "va_{}_degree"),
        p_mw,
        q_mvar,
        line,
        trafo,
        slack_p,
        slack_q,
        float(line.pl_mw.sum() + trafo.pl_mw.sum() + _shunt_losses(net, network)),
    )


def _shunt_losses(net: Any, network: ThreePhaseNetwork) -> float:
    """Active power of the bus shunts, which `runpp_3ph` has no table of."""
    total = 0.0
    if len(net.shunt):
        shunt = net.shunt[in_service(net.shunt)]
        bus = net.res_bus_3ph.loc[shunt.bus]
        voltage = _by_phase(bus, "vm_{}_pu") * np.exp(1j * np.radians(_by_phase(bus, "va_{}_degree")))
        square = (np.abs(to_sequences(np.asarray(voltage, dtype=np.complex128))[:, 1:]) ** 2).sum(axis=1)
        ratio = network.buses.vn_kv[net.bus.index.get_indexer(shunt.bus)] / column(shunt, "vn_kv", np.nan)
        total = float((column(shunt, "p_mw", 0.0) * column(shunt, "step", 1.0) * ratio**2 * square).sum())
    return total


def _by_phase(frame: Any, label: str) -> Floats:
    return np.stack([frame[label.format(letter)].to_numpy(np.float64) for letter in PHASES], axis=1)


def _branches(net: Any, table: str, ends: tuple[str, str], index: Any) -> PhaseBranchState:
    """Flows of lines or transformers; out of service pandapower has nan where here it is 0."""
    frame = net[f"res_{table}_3ph"].loc[index] if len(index) else None
    if frame is None:
        return PhaseBranchState.unknown(0)
    start, end = ends

    def values(label: str) -> Floats:
        return np.nan_to_num(_by_phase(frame, label))

    p_from, p_to = values(f"p_{{}}_{start}_mw"), values(f"p_{{}}_{end}_mw")
    q_from = values(f"q_{{}}_{start}_mvar")
    i_ka = np.maximum(values(f"i_{{}}_{start}_ka"), values(f"i_{{}}_{end}_ka"))
    loading = values("loading_{}_percent")
    return PhaseBranchState(p_from, q_from, i_ka, loading, (p_from + p_to).sum(axis=1))
