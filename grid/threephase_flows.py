"""From phase voltages to everything else: branch currents, loadings, losses, slack power."""

from __future__ import annotations

import numpy as np

from peerwatt.grid.admittance import Admittances, Complexes, Floats
from peerwatt.grid.threephase_network import ThreePhaseNetwork, ZeroSequence, to_phases, to_sequences
from peerwatt.grid.threephase_state import PhaseBranchState, ThreePhaseState

__all__ = ["PhaseFlows"]

_SQRT3 = float(np.sqrt(3.0))


class PhaseFlows:
    """Evaluates the state of a network from its node voltages.

    Args:
        network: the network.
    """

    def __init__(self, network: ThreePhaseNetwork) -> None:
        model = network.grid.admittances
        self._network = network
        self._n_line = len(network.lines)
        self._n_rated = self._n_line + len(network.trafos)
        self._n_branch = model.n_branch
        self._bus_node = np.maximum(model.bus_node, 0)
        self._dead = np.flatnonzero(model.bus_node < 0)
        self._from_to = np.concatenate([model.from_node, model.to_node])  # (2 n_branch,)
        self._own, self._other = _end_admittances(model, network.zero)
        self._ka = 1.0 / (_SQRT3 * model.node_vn_kv[self._from_to])  # kA of 1 MVA at 1 pu
        self._rating_ka = self._ratings()
        self._y_shunt = model.y_shunt
        self._slack_node = model.slack_node
        self._slack_ends = [np.flatnonzero(self._from_to == node) for node in model.slack_node]

    def _ratings(self) -> Floats:
        """Rated currents of both ends of lines and transformers, (2, n_rated)."""
        lines, trafos = self._network.lines, self._network.trafos
        rating = np.empty((2, self._n_rated))
        rating[:, : self._n_line] = lines.rating_ka
        rating[0, self._n_line :] = trafos.sn_mva / (_SQRT3 * trafos.vn_hv_kv)
        rating[1, self._n_line :] = trafos.sn_mva / (_SQRT3 * trafos.vn_lv_kv)
        rating[:, ~self._network.grid.admittances.live[: self._n_rated]] = np.inf
        return rating

    def end_currents(self, sequences: Complexes) -> Complexes:
        """Currents into all branch ends, (2 n_branch, 3) in zero, positive, negative sequence, pu of 1 MVA.

        Args:
            sequences: (n_node, 3) sequence voltages.
        """
        ends = sequences[self._from_to]
        swapped = np.concatenate([ends[self._n_branch :], ends[: self._n_branch]])
        currents: Complexes = self._own * ends + self._other * swapped
        return currents

    def slack_currents(self, sequences: Complexes, currents: Complexes) -> Complexes:
        """Currents from the slack nodes into branches and shunts, (n_slack, 3), sequences, pu of 1 MVA."""
        total = np.array([currents[ends].sum(axis=0) for ends in self._slack_ends])
        y = self._y_shunt[self._slack_node]
        shunt = np.stack([np.zeros_like(y), y, y], axis=1)
        result: Complexes = total + shunt * sequences[self._slack_node]
        return result

    def state(
        self, vm_pu: Floats, va_rad: Floats, node_injection: Complexes, p_mw: Floats, q_mvar: Floats
    ) -> ThreePhaseState:
        """The state that belongs to a solution.

        Args:
            vm_pu: (n_node, 3) voltage magnitudes.
            va_rad: (n_node, 3) voltage angles, radian.
            node_injection: (n_node, 3) net injections of the nodes, MVA.
            p_mw: (n_bus, 3) net injections as they were given.
            q_mvar: (n_bus, 3) net reactive injections as they were given.
        """
        n, n_rated = self._n_branch, self._n_rated
        voltage = vm_pu * np.exp(1j * va_rad)
        sequences = to_sequences(voltage)
        currents = self.end_currents(sequences)
        phase_currents = to_phases(currents)
        power = voltage[self._from_to] * phase_currents.conj() / 3.0
        i_ka = (np.abs(phase_currents) * self._ka[:, None]).reshape(2, n, 3)
        loading = (100.0 * i_ka[:, :n_rated] / self._rating_ka[:, :, None]).max(axis=0)
        amount = i_ka.max(axis=0)
        pl = (power[:n] + power[n:]).real.sum(axis=1)
        g_shunt = self._y_shunt.real
        total = float(pl.sum() + g_shunt @ (np.abs(sequences[:, 1:]) ** 2).sum(axis=1))
        slack = to_phases(self.slack_currents(sequences, currents))
        slack_mva = (voltage[self._slack_node] * slack.conj() / 3.0 - node_injection[self._slack_node]).sum(axis=0)
        vm_bus, va_bus = vm_pu[self._bus_node], np.degrees(va_rad[self._bus_node])
        vm_bus[self._dead] = va_bus[self._dead] = np.nan

        def branches(part: slice) -> PhaseBranchState:
            start = power[:n][part]
            return PhaseBranchState(start.real, start.imag, amount[part], loading[part], pl[part])

        return ThreePhaseState(
            True,  # noqa: FBT003 - converged
            "",
            vm_bus,
            va_bus,
            p_mw,
            q_mvar,
            branches(slice(0, self._n_line)),
            branches(slice(self._n_line, n_rated)),
            slack_mva.real,
            slack_mva.imag,
            total,
        )


def _end_admittances(model: Admittances, zero: ZeroSequence) -> tuple[Complexes, Complexes]:
    """Admittances of each branch end to its own voltage and to the other end's, both (2 n_branch, 3)."""
    turn = model.ratio.conj() / model.ratio  # the negative sequence is shifted the other way
    own = np.concatenate([model.yff, model.ytt])
    other = np.concatenate([model.yft, model.ytf])
    other2 = np.concatenate([model.yft * turn, model.ytf * turn.conj()])
    own0, other0 = np.concatenate([zero.yff, zero.ytt]), np.concatenate([zero.yft, zero.ytf])
    return np.stack([own0, own, own], axis=1), np.stack([other0, other, other2], axis=1)
