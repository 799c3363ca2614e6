"""Checks and sums injections on their way from buses to nodes."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from peerwatt.errors import Fault, GridDataError
from peerwatt.grid.admittance import Complexes, Floats
from peerwatt.grid.network import Network

__all__ = ["NodeInjections"]


class NodeInjections:
    """Sums the injections of buses that are one node.

    Args:
        network: the network.
    """

    def __init__(self, network: Network) -> None:
        self._network = network
        bus_node = network.admittances.bus_node
        self._live = np.flatnonzero(bus_node >= 0)
        self._dead = np.flatnonzero(bus_node < 0)
        self._node = bus_node[self._live]
        self._n_node = network.admittances.n_node
        self._fused = len(np.unique(self._node)) < len(self._node)

    def check(self, p_mw: npt.ArrayLike, q_mvar: npt.ArrayLike) -> tuple[Floats, Floats]:
        """Copy the injections, so that a caller may reuse its arrays, and refuse what no grid can take.

        Args:
            p_mw: (n_bus,) net injection.
            q_mvar: (n_bus,) net reactive injection.

        Raises:
            GridDataError: wrong shape, nan, infinite, or at a bus that is out of service.
        """
        p, q = np.array(p_mw, dtype=np.float64), np.array(q_mvar, dtype=np.float64)
        shape = (self._network.n_bus,)
        if p.shape != shape or q.shape != shape:
            raise GridDataError(Fault("injections", f"p_mw has shape {p.shape}, q_mvar {q.shape}", f"expected {shape}"))
        if not np.isfinite(p.sum() + q.sum()):
            raise GridDataError(self._faults(~(np.isfinite(p) & np.isfinite(q)), p, q, "not a number"))
        if len(self._dead) and (p[self._dead].any() or q[self._dead].any()):
            dead = np.zeros(shape, dtype=np.bool_)
            dead[self._dead] = True
            dead &= (p != 0.0) | (q != 0.0)
            raise GridDataError(self._faults(dead, p, q, "injection at a bus that is out of service"))
        p.setflags(write=False)
        q.setflags(write=False)
        return p, q

    def to_nodes(self, p_mw: Floats, q_mvar: Floats) -> Complexes:
        """Sum checked injections by node.

        Args:
            p_mw: (n_bus,) net injection.
            q_mvar: (n_bus,) net reactive injection.

        Returns:
            (n_node,) MVA.
        """
        nodes = np.zeros(self._n_node, dtype=np.complex128)
        if self._fused:
            np.add.at(nodes.real, self._node, p_mw[self._live])
            np.add.at(nodes.imag, self._node, q_mvar[self._live])
        else:
            nodes.real[self._node] = p_mw[self._live]
            nodes.imag[self._node] = q_mvar[self._live]
        return nodes

    def _faults(self, mask: npt.NDArray[np.bool_], p: Floats, q: Floats, problem: str) -> list[Fault]:
        buses = self._network.buses
        return [
            Fault(f"bus '{buses.name[k]}' (index {buses.index[k]})", f"{problem}: {p[k]} MW, {q[k]} Mvar")
            for k in np.flatnonzero(mask)
        ]
