"""The power flow equations linearised at a grid state.

With S = V conj(Y V) and the unknowns theta (angle) and u = ln |V| of every node without an external grid,

    W_rc = V_r conj(Y_rc V_c),   dS/dtheta = j (diag(S) - W),   dS/du = diag(S) + W,

so that d[P, Q] = J d[theta, u] (MATPOWER technical note 2, in the logarithm of the magnitude). J is factorised
once, by sparse LU; every sensitivity is then one or a few pairs of triangular solves. Where a generator holds the
voltage, the row of Q is du = 0.
"""

from __future__ import annotations

import numpy as np
from scipy.sparse import coo_array, csc_array
from scipy.sparse.linalg import SuperLU, splu

from peerwatt.errors import GridDataError, PowerFlowError
from peerwatt.grid.admittance import Admittances, Complexes, Floats, Ints
from peerwatt.grid.network import Network
from peerwatt.grid.state import GridState
from peerwatt.grid.tree import SlackTree

__all__ = ["Jacobian", "node_voltages"]


class Jacobian:
    """Factorised Jacobian of a network at a state.

    Row and column 2 k stand for P and theta, 2 k + 1 for Q and u of the k-th node without an external grid.

    Attributes:
        voltage: (n_node,) complex voltage, pu.
        node: (n_node,) k of each node, -1 at external grids.
        regulated: (n_gen,) k of the nodes whose voltage a generator holds; u is 0 there, and Q has no effect.
        size: number of unknowns.
        total_p: (size,) gradient of the power fed in at all nodes, external grids included: that of the losses.

    Args:
        network: the network.
        state: a solution of it.

    Raises:
        PowerFlowError: the state has no solution, or J is singular there (the nose of the voltage curve).
        GridDataError: a node has no way to an external grid, or a load depends on the voltage.
    """

    def __init__(self, network: Network, state: GridState) -> None:
        SlackTree(network)  # refuses islands
        if network.voltage_dependence is not None:
            problem = "it depends on the voltage; sensitivities are those of constant power"
            raise GridDataError(network.voltage_dependence.faults(network.name, problem, "solve twice and compare"))
        model = network.admittances
        self._network = network
        self.voltage = node_voltages(network, state)
        held = np.zeros(model.n_node, dtype=np.bool_)
        held[model.slack_node] = True
        self.node: Ints = np.where(held, -1, np.cumsum(~held) - 1).astype(np.int64)
        self.regulated: Ints = np.unique(self.node[model.bus_node[network.generators.bus]])
        self.size = 2 * int(np.count_nonzero(~held))
        row, column, w = _weights(model, self.voltage)
        self.total_p = self._total_p(model, row, column, w)
        if self.size:
            self._lu = self._factorise(row, column, w)

    def solve(self, injections: Floats) -> Floats:
        """Change of the unknowns with injections at nodes, (size, n) from (size, n)."""
        if not self.size:
            return np.zeros_like(injections)
        solution: Floats = self._lu.solve(injections)
        return solution

    def solve_adjoint(self, gradients: csc_array) -> Floats:
        """Gradients with respect to injections from those with respect to unknowns, (n, size) from (n, size)."""
        if not self.size or not gradients.shape[0]:
            return np.zeros(gradients.shape)
        solution: Floats = self._lu.solve(np.ascontiguousarray(gradients.toarray().T), "T")  # type: ignore[call-overload]
        return solution.T

    def _total_p(self, model: Admittances, row: Ints, column: Ints, w: Complexes) -> Floats:
        sent = np.bincount(row, w.real, model.n_node)  # P of each node
        by_theta = np.bincount(column, w.imag, model.n_node) - np.bincount(row, w.imag, model.n_node)
        by_u = np.bincount(column, w.real, model.n_node) + sent
        free = self.node >= 0
        return np.stack([by_theta[free], by_u[free]], axis=1).ravel()

    def _factorise(self, row: Ints, column: Ints, w: Complexes) -> SuperLU:
        n = len(self.node)
        s = np.bincount(row, w.real, n) + 1j * np.bincount(row, w.imag, n)
        r, c = self.node[row], self.node[column]
        kept = (r >= 0) & (c >= 0)
        r, c, w = 2 * r[kept], 2 * c[kept], w[kept]
        free = np.flatnonzero(self.node >= 0)
        d, s = 2 * self.node[free], s[free]
        at = np.concatenate([r, r, r + 1, r + 1, d, d, d + 1, d + 1])
        by = np.concatenate([c, c + 1, c, c + 1, d, d + 1, d, d + 1])
        value = np.concatenate([w.imag, w.real, -w.real, w.imag, -s.imag, s.real, s.real, s.imag])
        if len(self.regulated):
            fixed = 2 * self.regulated + 1
            kept = ~np.isin(at, fixed)
            at, by = np.concatenate([at[kept], fixed]), np.concatenate([by[kept], fixed])
            value = np.concatenate([value[kept], np.ones(len(fixed))])
        matrix = coo_array((value, (at, by)), shape=(self.size, self.size)).tocsc()
        try:
            return splu(matrix, permc_spec="MMD_AT_PLUS_A")
        except RuntimeError as error:
            raise PowerFlowError(
                f"network {self._network.name}: no sensitivities, the Jacobian is singular at this state: {error}"
            ) from error


def node_voltages(network: Network, state: GridState) -> Complexes:
    """Complex voltage of every node, (n_node,), pu.

    A node that is no bus, the far end of a line behind an open switch, takes the voltage at which nothing is
    fed in there.

    Args:
        network: the network.
        state: a solution of it.

    Raises:
        PowerFlowError: the state has no solution.
    """
    if not state.converged:
        raise PowerFlowError(
            f"network {network.name}: no sensitivities at a state without a solution ({state.reason}); "
            "ask state.converged first"
        )
    model = network.admittances
    voltage = np.zeros(model.n_node, dtype=np.complex128)
    live = np.flatnonzero(model.bus_node >= 0)
    voltage[model.bus_node[live]] = state.vm_pu[live] * np.exp(1j * np.radians(state.va_degree[live]))
    known = np.zeros(model.n_node, dtype=np.bool_)
    known[model.bus_node[live]] = True
    if not known.all():
        row, column, y = _entries(model)
        admittance = coo_array((y, (row, column)), shape=(model.n_node,) * 2).tocsr()[~known].tocsc()
        driven: Complexes = np.asarray(-(admittance @ voltage))
        voltage[~known] = splu(admittance[:, ~known]).solve(driven)
    return voltage


def _entries(model: Admittances) -> tuple[Ints, Ints, Complexes]:
    """Row, column and value of the nodal admittance matrix; entries of one place add up."""
    i, j, k = model.from_node, model.to_node, np.arange(model.n_node)
    row, column = np.concatenate([i, j, i, j, k]), np.concatenate([i, j, j, i, k])
    return row, column, np.concatenate([model.yff, model.ytt, model.yft, model.ytf, model.y_shunt])


def _weights(model: Admittances, voltage: Complexes) -> tuple[Ints, Ints, Complexes]:
    """Row, column and value of W."""
    row, column, y = _entries(model)
    return row, column, voltage[row] * (y * voltage[column]).conj()
