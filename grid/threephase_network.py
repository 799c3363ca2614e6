"""A network in symmetrical components: what an unbalanced power flow needs beyond a `Network`.

Lines are transposed and transformers symmetrical, so that the three sequences decouple (Fortescue, 1918):

    [v_a]   [1  1   1 ] [v_0]
    [v_b] = [1  a^2 a ] [v_1]        a = exp(j 120 degree)
    [v_c]   [1  a  a^2] [v_2]

Each sequence is a network of two-ports like `Admittances`. Positive and negative differ in the sign of the
transformers' phase shift only; zero has data of its own.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from peerwatt.errors import Fault, GridDataError
from peerwatt.grid.admittance import Admittances, Bools, Complexes, Floats, freeze
from peerwatt.grid.network import Buses, Lines, Network, Trafos

__all__ = ["PHASES", "ThreePhaseNetwork", "ZeroSequence", "to_phases", "to_sequences"]

PHASES = ("a", "b", "c")
"""Columns of every array of shape (n, 3)."""

_A = np.exp(2j * np.pi / 3.0)
_TO_PHASES = np.array([[1, 1, 1], [1, _A**2, _A], [1, _A, _A**2]])
_TO_SEQUENCES = np.linalg.inv(_TO_PHASES)


def to_phases(sequences: Complexes) -> Complexes:
    """Phase values of zero, positive and negative sequence, both (..., 3)."""
    result: Complexes = sequences @ _TO_PHASES.T
    return result


def to_sequences(phases: Complexes) -> Complexes:
    """Zero, positive and negative sequence of phase values, both (..., 3)."""
    result: Complexes = phases @ _TO_SEQUENCES.T
    return result


@dataclass(frozen=True, slots=True)
class ZeroSequence:
    """The zero sequence network; admittances in MVA (of three phases) at 1 pu.

    Branch rows are those of the network's `Admittances`.

    Attributes:
        yff: (n_branch,) at the from or high-voltage end.
        yft: (n_branch,) from the to end to the from end; 0 where no zero sequence current passes.
        ytf: (n_branch,) the same the other way.
        ytt: (n_branch,) at the to or low-voltage end.
        ratio: (n_branch,) off-nominal ratio at the from end; negative for a vector group with clock 6.
        slack_y0: (n_slack,) internal admittance of the external grids, zero sequence.
        slack_y2: (n_slack,) internal admittance of the external grids, negative sequence.
    """

    yff: Complexes
    yft: Complexes
    ytf: Complexes
    ytt: Complexes
    ratio: Floats
    slack_y0: Complexes
    slack_y2: Complexes

    def __post_init__(self) -> None:
        freeze(self)

    def series(self) -> Complexes:
        """Series admittance of the branches on their to side, (n_branch,)."""
        result: Complexes = -self.ytf * self.ratio
        return result

    def shunts(self, model: Admittances) -> Complexes:
        """Everything that is not series admittance, summed by node, (n_node,).

        Args:
            model: the positive sequence, for its nodes.
        """
        y_shunt, series = np.zeros(model.n_node, dtype=np.complex128), self.series()
        np.add.at(y_shunt, model.from_node, self.yff - series / self.ratio**2)
        np.add.at(y_shunt, model.to_node, self.ytt - series)
        return y_shunt


@dataclass(frozen=True, slots=True)
class ThreePhaseNetwork:
    """A network that a three-phase engine can solve.

    Attributes:
        grid: buses, lines, transformers and the positive sequence admittances (transformers as T circuits).
            Its `pandapower_json` holds the network with all its loads.
        zero: the zero sequence.
        p_mw: (n_bus, 3) net active injection of the network's own loads and generators, by phase.
        q_mvar: (n_bus, 3) their net reactive injection.
    """

    grid: Network
    zero: ZeroSequence
    p_mw: Floats
    q_mvar: Floats

    def __post_init__(self) -> None:
        freeze(self)

    @property
    def name(self) -> str:
        """What to call it in messages."""
        return self.grid.name

    @property
    def n_bus(self) -> int:
        """Number of buses."""
        return self.grid.n_bus

    @property
    def buses(self) -> Buses:
        """The buses."""
        return self.grid.buses

    @property
    def lines(self) -> Lines:
        """The lines."""
        return self.grid.lines

    @property
    def trafos(self) -> Trafos:
        """The two-winding transformers."""
        return self.grid.trafos

    def check_injections(self, p_mw: Floats, q_mvar: Floats) -> tuple[Floats, Floats]:
        """Copy injections, and refuse what no grid can take.

        Args:
            p_mw: (n_bus, 3) net injection.
            q_mvar: (n_bus, 3) net reactive injection.

        Raises:
            GridDataError: wrong shape, nan, infinite, or at a bus that is out of service.
        """
        p, q = np.array(p_mw, dtype=np.float64), np.array(q_mvar, dtype=np.float64)
        shape = (self.n_bus, 3)
        if p.shape != shape or q.shape != shape:
            raise _wrong_shape(p, q, str(shape))
        self._check_values(p[None], q[None])
        return p, q

    def check_batch(self, p_mw: Floats, q_mvar: Floats) -> tuple[Floats, Floats]:
        """Do what `check_injections` does for many rows.

        Args:
            p_mw: (k, n_bus, 3) net injection.
            q_mvar: (k, n_bus, 3) net reactive injection.

        Raises:
            GridDataError: wrong shape, nan, infinite, or at a bus that is out of service.
        """
        p, q = np.array(p_mw, dtype=np.float64, order="C"), np.array(q_mvar, dtype=np.float64, order="C")
        shape = (self.n_bus, 3)
        if p.ndim != 3 or p.shape != q.shape or p.shape[1:] != shape:
            raise _wrong_shape(p, q, f"(k, {self.n_bus}, 3) for both")
        self._check_values(p, q)
        return p, q

    def to_nodes(self, power: Floats) -> Floats:
        """Sum injections by node: (k, n_bus, 3) to (k, n_node, 3), contiguous."""
        model = self.grid.admittances
        live = np.flatnonzero(model.bus_node >= 0)
        nodes = np.zeros((model.n_node, len(power), 3))
        np.add.at(nodes, model.bus_node[live], power.transpose(1, 0, 2)[live])
        return np.ascontiguousarray(nodes.transpose(1, 0, 2))

    def _check_values(self, p: Floats, q: Floats) -> None:
        """Refuse values that no grid can take, all (k, n_bus, 3), and make the rest read-only."""
        wrong = ~(np.isfinite(p) & np.isfinite(q))
        dead = (self.grid.admittances.bus_node < 0)[:, None] & ((p != 0.0) | (q != 0.0))
        faults = self._faults(wrong, "not a number", p, q)
        faults += self._faults(dead & ~wrong, "injection at a bus that is out of service", p, q)
        if faults:
            raise GridDataError(faults)
        p.setflags(write=False)
        q.setflags(write=False)

    def _faults(self, mask: Bools, problem: str, p: Floats, q: Floats) -> list[Fault]:
        """One fault per bus and phase; of many rows the first in which it is wrong is shown."""
        buses, faults = self.buses, []
        for k, phase in np.argwhere(mask.any(axis=0)):
            row = int(mask[:, k, phase].argmax())
            where = f"bus '{buses.name[k]}' (index {buses.index[k]}), phase {PHASES[phase]}"
            shown = f"{problem}: {p[row, k, phase]} MW, {q[row, k, phase]} Mvar"
            faults.append(Fault(where + (f", row {row}" if len(mask) > 1 else ""), shown))
        return faults


def _wrong_shape(p: Floats, q: Floats, expected: str) -> GridDataError:
    return GridDataError(Fault("injections", f"p_mw has shape {p.shape}, q_mvar {q.shape}", f"expected {expected}"))
