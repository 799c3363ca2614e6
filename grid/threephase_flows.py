"""From phase voltages to everything else: branch currents, loadings, losses, slack power."""

from __future__ import annotations

import numpy as np

from peerwatt.grid.admittance import Complexes, Floats
from peerwatt.grid.batch import rows_per_chunk
from peerwatt.grid.threephase_batch import ThreePhaseStates
from peerwatt.grid.threephase_currents import EndCurrents, phase_power
from peerwatt.grid.threephase_network import ThreePhaseNetwork, to_phases, to_sequences

__all__ = ["PhaseFlows"]

_SQRT3 = float(np.sqrt(3.0))
_BLOCK_BYTES = 2**20  # what one step works on shall stay in the cache, and its arrays in reused memory


class PhaseFlows:
    """Evaluates the states of a network from its node voltages.

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
        self._ends = EndCurrents(network)
        self._rating_ka = self._ratings()
        self._g_shunt = model.y_shunt.real
        self._slack_node = model.slack_node

    def _ratings(self) -> Floats:
        """Rated currents of both ends of lines and transformers, (2, n_rated)."""
        lines, trafos = self._network.lines, self._network.trafos
        rating = np.empty((2, self._n_rated))
        rating[:, : self._n_line] = lines.rating_ka
        rating[0, self._n_line :] = trafos.sn_mva / (_SQRT3 * trafos.vn_hv_kv)
        rating[1, self._n_line :] = trafos.sn_mva / (_SQRT3 * trafos.vn_lv_kv)
        rating[:, ~self._network.grid.admittances.live[: self._n_rated]] = np.inf
        return rating

    def fill(self, states: ThreePhaseStates, first: int, vm_pu: Floats, va_rad: Floats, slack_mva: Complexes) -> None:
        """Fill in rows of a batch; rows whose voltages are nan become nan.

        Args:
            states: the batch.
            first: its first row to be filled in.
            vm_pu: (m, n_node, 3) voltage magnitudes.
            va_rad: (m, n_node, 3) voltage angles, radian.
            slack_mva: (m, n_slack, 3) net injections of the nodes that are held by an external grid.
        """
        step = rows_per_chunk(8 * 3 * (20 * self._n_branch + 6 * vm_pu.shape[1]), _BLOCK_BYTES)
        for start in range(0, len(vm_pu), step):
            block = slice(start, start + step)
            rows = slice(first + start, first + min(start + step, len(vm_pu)))
            self._fill_block(states, rows, vm_pu[block], va_rad[block], slack_mva[block])

    def _fill_block(self, states: ThreePhaseStates, rows: slice, vm: Floats, va: Floats, slack_mva: Complexes) -> None:
        voltage = np.empty(vm.shape, dtype=np.complex128)
        np.multiply(vm, np.cos(va), out=voltage.real)
        np.multiply(vm, np.sin(va), out=voltage.imag)
        sequences = to_sequences(voltage)
        ends, currents = self._ends.at_ends(sequences)
        pl_mw = self._fill_branches(states, rows, ends, currents)
        states.vm_pu[rows] = vm.take(self._bus_node, axis=1)
        states.va_degree[rows] = np.degrees(va).take(self._bus_node, axis=1)
        states.vm_pu[rows, self._dead] = states.va_degree[rows, self._dead] = np.nan
        slack = phase_power(sequences[:, self._slack_node], self._ends.of_slack(sequences, currents)) - slack_mva
        states.slack_p_mw[rows], states.slack_q_mvar[rows] = slack.real.sum(axis=1), slack.imag.sum(axis=1)
        shunts = (np.abs(sequences[:, :, 1:]) ** 2).sum(axis=2) @ self._g_shunt  # open in the zero sequence
        states.losses_mw[rows] = pl_mw.sum(axis=1) + shunts

    def _fill_branches(self, states: ThreePhaseStates, rows: slice, ends: Complexes, currents: Complexes) -> Floats:
        """Fill in flows; returns the losses of all branches, (m, n_branch)."""
        n, n_rated = self._n_branch, self._n_rated
        phase_currents = to_phases(currents)
        power = to_phases(ends) * phase_currents.conj() / 3.0
        i_ka = (np.abs(phase_currents) * self._ends.ka[:, None]).reshape(-1, 2, n, 3)
        loading = (100.0 * i_ka[:, :, :n_rated] / self._rating_ka[:, :, None]).max(axis=1)
        amount = i_ka.max(axis=1)
        pl_mw: Floats = (power[:, :n].real + power[:, n:].real).sum(axis=2)
        for branch, part in (
            (states.line, slice(0, self._n_line)),
            (states.trafo, slice(self._n_line, n_rated)),
        ):
            branch.p_from_mw[rows], branch.q_from_mvar[rows] = power[:, part].real, power[:, part].imag
            branch.i_ka[rows], branch.loading_percent[rows] = amount[:, part], loading[:, part]
            branch.pl_mw[rows] = pl_mw[:, part]
        return pl_mw
