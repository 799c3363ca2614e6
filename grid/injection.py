"""Checks and sums injections on their way from buses to nodes, and divides them where they depend on the voltage."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from peerwatt.errors import Fault, GridDataError
from peerwatt.grid.admittance import Complexes, Floats, Ints
from peerwatt.grid.network import Network

__all__ = ["NodeInjections", "NodeShares"]


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
        self._alike = np.array_equal(bus_node, np.arange(self._n_node))

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
            raise _wrong_shape(p, q, str(shape))
        self._check_values(p, q)
        return p, q

    def check_batch(self, p_mw: npt.ArrayLike, q_mvar: npt.ArrayLike) -> tuple[Floats, Floats]:
        """Do what `check` does for many rows.

        Args:
            p_mw: (k, n_bus) net injection.
            q_mvar: (k, n_bus) net reactive injection.

        Raises:
            GridDataError: wrong shape, nan, infinite, or at a bus that is out of service.
        """
        p, q = np.array(p_mw, dtype=np.float64, order="C"), np.array(q_mvar, dtype=np.float64, order="C")
        if p.ndim != 2 or p.shape != q.shape or p.shape[1] != self._network.n_bus:
            raise _wrong_shape(p, q, f"(k, {self._network.n_bus}) for both")
        self._check_values(p, q)
        return p, q

    def _check_values(self, p: Floats, q: Floats) -> None:
        """Refuse values that no grid can take, and make the rest read-only."""
        if not np.isfinite(p.sum() + q.sum()):
            wrong = ~(np.isfinite(p) & np.isfinite(q))
            if wrong.any():  # else the sum of finite numbers is too large for a float
                raise GridDataError(self._faults(wrong, p, q, "not a number"))
        if len(self._dead) and (p[..., self._dead].any() or q[..., self._dead].any()):
            dead = np.zeros(p.shape, dtype=np.bool_)
            dead[..., self._dead] = True
            dead &= (p != 0.0) | (q != 0.0)
            raise GridDataError(self._faults(dead, p, q, "injection at a bus that is out of service"))
        p.setflags(write=False)
        q.setflags(write=False)

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

    def to_nodes_batch(self, power: Floats) -> Floats:
        """Sum checked injections by node.

        Args:
            power: (k, n_bus) net active, or reactive, injections; not changed.

        Returns:
            (k, n_node), contiguous.
        """
        if self._alike:
            return power.copy()
        nodes = np.zeros((len(power), self._n_node))
        if self._fused:
            np.add.at(nodes.T, self._node, power.T[self._live])
        else:
            nodes[:, self._node] = power[:, self._live]
        return nodes

    def _faults(self, mask: npt.NDArray[np.bool_], p: Floats, q: Floats, problem: str) -> list[Fault]:
        """One fault per bus; of many rows the first in which it is wrong is shown."""
        buses = self._network.buses
        rows = np.atleast_2d(mask)
        faults = []
        for k in np.flatnonzero(rows.any(axis=0)):
            row = int(rows[:, k].argmax())
            where = f"bus '{buses.name[k]}' (index {buses.index[k]})" + (f", row {row}" if mask.ndim == 2 else "")
            p_mw, q_mvar = np.atleast_2d(p)[row, k], np.atleast_2d(q)[row, k]
            faults.append(Fault(where, f"{problem}: {p_mw} MW, {q_mvar} Mvar"))
        return faults


class NodeShares:
    """Divides the injections of nodes into parts of constant power, impedance and current.

    Attributes:
        node: (n_dependent,) nodes that have more than a part of constant power.

    Args:
        network: one whose power depends on the voltage somewhere.
    """

    def __init__(self, network: Network) -> None:
        dependence, model = network.voltage_dependence, network.admittances
        if dependence is None:
            raise ValueError("all power of this network is constant")
        live = np.flatnonzero(model.bus_node >= 0)
        columns = (dependence.const_z_p, dependence.const_i_p, dependence.const_z_q, dependence.const_i_q)
        of_node = np.zeros((len(columns), model.n_node))
        of_node[:, model.bus_node[live]] = np.stack(columns)[:, live]
        self.node: Ints = np.flatnonzero(of_node.any(axis=0)).astype(np.int64)
        self._of_node = replace(
            dependence,
            **dict(
                zip(("const_z_p", "const_i_p", "const_z_q", "const_i_q"), np.ascontiguousarray(of_node), strict=True)
            ),
        )

    def split(self, p: Floats, q: Floats) -> tuple[Floats, Floats]:
        """Parts of constant power of all nodes, then of impedance and of current of the dependent ones.

        Args:
            p: (..., n_node) active injections at 1 pu.
            q: (..., n_node) reactive injections at 1 pu.

        Returns:
            Both (..., n_node + 2 n_dependent), contiguous.
        """
        share = self._of_node
        return (
            self._parts(p, share.const_z_p[self.node], share.const_i_p[self.node]),
            self._parts(q, share.const_z_q[self.node], share.const_i_q[self.node]),
        )

    def _parts(self, power: Floats, z: Floats, i: Floats) -> Floats:
        at = power[..., self.node]
        parts = np.concatenate([power, z * at, i * at], axis=-1)
        parts[..., self.node] = (1.0 - z - i) * at
        return parts

    def injected(self, power: Complexes, vm_pu: Floats, nodes: Ints | slice = slice(None)) -> Complexes:
        """What injections at 1 pu are at these voltages.

        Args:
            power: (..., n_chosen) injections of the chosen nodes, MVA.
            vm_pu: (..., n_node) voltages of all nodes.
            nodes: which nodes are chosen.
        """
        p, q = self._of_node.factors(vm_pu)
        changed: Complexes = power.real * p[..., nodes] + 1j * (power.imag * q[..., nodes])
        return changed


def _wrong_shape(p: Floats, q: Floats, expected: str) -> GridDataError:
    return GridDataError(Fault("injections", f"p_mw has shape {p.shape}, q_mvar {q.shape}", f"expected {expected}"))
