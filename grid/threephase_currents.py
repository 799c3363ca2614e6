"""From sequence voltages of the nodes to the currents of branches and of the external grid.

Currents are in pu of 1 MVA of three phases; the last axis is zero, positive, negative sequence.
"""

from __future__ import annotations

import numpy as np

from peerwatt.grid.admittance import Admittances, Complexes
from peerwatt.grid.threephase_network import ThreePhaseNetwork, ZeroSequence, to_phases

__all__ = ["EndCurrents", "phase_power"]

_SQRT3 = float(np.sqrt(3.0))


def phase_power(sequences: Complexes, currents: Complexes) -> Complexes:
    """Power of each phase, MVA, of voltages and currents in sequences, all (..., 3)."""
    power: Complexes = to_phases(sequences) * to_phases(currents).conj() / 3.0
    return power


class EndCurrents:
    """The admittances of a network at the ends of its branches.

    Args:
        network: the network.

    Attributes:
        ka: (2 n_branch,) kA of 1 MVA at 1 pu; from ends, then to ends.
    """

    def __init__(self, network: ThreePhaseNetwork) -> None:
        model = network.grid.admittances
        self._from_to = np.concatenate([model.from_node, model.to_node])  # (2 n_branch,)
        self._n_branch = model.n_branch
        self._own, self._other = _end_admittances(model, network.zero)
        self.ka = 1.0 / (_SQRT3 * model.node_vn_kv[self._from_to])
        y, slack = model.y_shunt[model.slack_node], model.slack_node
        self._slack_shunt = np.stack([np.zeros_like(y), y, y], axis=1)
        self._slack_node = slack
        self._slack_ends = [np.flatnonzero(self._from_to == node) for node in slack]

    def at_ends(self, sequences: Complexes) -> tuple[Complexes, Complexes]:
        """Voltages at all branch ends and the currents into them, (..., 2 n_branch, 3).

        Args:
            sequences: (..., n_node, 3) sequence voltages.
        """
        ends = sequences.take(self._from_to, axis=-2)
        n = self._n_branch
        currents = self._own * ends
        currents[..., :n, :] += self._other[:n] * ends[..., n:, :]
        currents[..., n:, :] += self._other[n:] * ends[..., :n, :]
        return ends, currents

    def of_slack(self, sequences: Complexes, currents: Complexes) -> Complexes:
        """Currents from the slack nodes into branches and shunts, (..., n_slack, 3).

        Args:
            sequences: (..., n_node, 3) sequence voltages.
            currents: (..., 2 n_branch, 3) currents into the branch ends.
        """
        total = np.stack([currents[..., ends, :].sum(axis=-2) for ends in self._slack_ends], axis=-2)
        result: Complexes = total + self._slack_shunt * sequences[..., self._slack_node, :]
        return result


def _end_admittances(model: Admittances, zero: ZeroSequence) -> tuple[Complexes, Complexes]:
    """Admittances of each branch end to its own voltage and to the other end's, both (2 n_branch, 3)."""
    turn = model.ratio.conj() / model.ratio  # the negative sequence is shifted the other way
    own = np.concatenate([model.yff, model.ytt])
    other = np.concatenate([model.yft, model.ytf])
    other2 = np.concatenate([model.yft * turn, model.ytf * turn.conj()])
    own0, other0 = np.concatenate([zero.yff, zero.ytt]), np.concatenate([zero.yft, zero.ytf])
    return np.stack([own0, own, own], axis=1), np.stack([other0, other, other2], axis=1)
