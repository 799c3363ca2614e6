"""LinDistFlow: the linear power flow of radial grids (Baran and Wu, 1989, eq. (6), without losses).

With `w` the squared voltage, and P + jQ the power that flows through a branch from its upper node i to its
lower node j,

    P_j = sum of the consumption below j,       w_j = w_i - 2 (r P + x Q)

or in matrix form `w = w_0 + 2 (R p + X q)`, where R and X hold the resistance and reactance of the path that
two nodes share on their way to the external grid. R and X are dense, so they are never formed: with the
reduced incidence matrix A of the tree, R = A^-1 diag(r) A^-T, and each solution is two sparse triangular
solves. An off-nominal ratio scales `w` across a transformer; charging and magnetising currents are those at
1 pu.

What a state means here:

    vm_pu               square root of w
    va_degree           theta_j = theta_i - (x P - r Q), with the phase shift of the transformer
    p_from_mw, q_...    sums below, without losses
    pl_mw, losses_mw    estimated from the flows afterwards: r (P^2 + Q^2) at 1 pu; they do not flow
    i_ka, loading       of the apparent power at 1 pu
    slack_p_mw, ...     what the injections lack, the estimated losses included
    converged           always, unless a squared voltage is not above 0
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.sparse import csc_array, csr_array
from scipy.sparse.csgraph import breadth_first_order
from scipy.sparse.linalg import splu

from peerwatt.errors import Fault, GridDataError
from peerwatt.grid.admittance import Admittances, Floats, Ints
from peerwatt.grid.batch import GridStates
from peerwatt.grid.flows import Flows, branch_name, total_shunts
from peerwatt.grid.injection import NodeInjections
from peerwatt.grid.network import Network
from peerwatt.grid.state import GridState

__all__ = ["LinDistFlowEngine", "factorised"]


def factorised(matrix: csc_array) -> Callable[[Floats], Floats]:
    """What solves `matrix @ x = b` for (n, k) right-hand sides, by sparse LU; n may be 0."""
    if not matrix.shape[0]:
        return lambda right: right
    solve: Callable[[Floats], Floats] = splu(matrix).solve
    return solve


class LinDistFlowEngine:
    """Solves a radial network with LinDistFlow.

    Args:
        network: the network.

    Raises:
        GridDataError: the network is meshed, or voltage and power depend on each other; names the branches that
            close a loop, or the generators and loads.
    """

    name = "lindistflow"

    def __init__(self, network: Network) -> None:
        _refuse_control(network)
        model = network.admittances
        self._network = network
        self._injections = NodeInjections(network)
        self._flows = Flows(network)
        self._tree = _tree(network)
        self._free = np.setdiff1d(np.arange(model.n_node), model.slack_node)
        series = -model.ytf[self._tree] * model.ratio[self._tree]
        self._z = 1.0 / series  # (n_tree,) pu of 1 MVA
        self._drawn = np.conj(total_shunts(model))  # (n_node,) MVA that shunts draw at 1 pu
        self._shift = np.angle(model.ratio[self._tree])
        scale = 1.0 / np.abs(model.ratio[self._tree]) ** 2
        self._w_slack, self._va_slack = model.slack_vm_pu**2, np.radians(model.slack_va_degree)
        incidence, root = self._incidence(np.ones(len(scale)))
        drop, drop_root = self._incidence(scale)
        self._sums = factorised(csc_array(incidence.T))
        self._drops = factorised(csc_array(drop))
        self._angles = factorised(csc_array(incidence))
        self._root, self._drop_root = root, drop_root

    def solve(self, p_mw: Floats, q_mvar: Floats) -> GridState:
        """Solve the grid for net injections, see `Engine.solve`."""
        p_mw, q_mvar = self._injections.check(p_mw, q_mvar)
        return self.solve_batch(p_mw[None], q_mvar[None])[0]

    def solve_batch(self, p_mw: Floats, q_mvar: Floats) -> GridStates:
        """Solve many rows of net injections at once, see `Engine.solve_batch`."""
        p_mw, q_mvar = self._injections.check_batch(p_mw, q_mvar)
        states = GridStates.empty(self._network, p_mw, q_mvar)
        p_node = self._injections.to_nodes_batch(p_mw) - self._drawn.real
        q_node = self._injections.to_nodes_batch(q_mvar) - self._drawn.imag
        p, q = self._through(p_node), self._through(q_node)  # (k, n_tree) from the from to the to end
        r, x = self._z.real, self._z.imag
        w = self._voltages(2.0 * (r * p + x * q))
        va = self._angles_of(x * p - r * q)
        bad = ~(w > 0.0).all(axis=1)
        reasons = self._reasons(w)
        w[bad] = va[bad] = p[bad] = q[bad] = np.nan
        square = p**2 + q**2
        self._flows.fill_linear(states, self._tree, np.sqrt(w), va, p, q, r * square)
        losses = (r * square).sum(axis=1)
        states.losses_mw[:] = losses + self._drawn.real.sum()
        states.slack_p_mw[:] = states.losses_mw - p_mw.sum(axis=1)
        states.slack_q_mvar[:] = (x * square).sum(axis=1) + self._drawn.imag.sum() - q_mvar.sum(axis=1)
        return states.with_reasons(reasons)

    def _incidence(self, scale: Floats) -> tuple[csr_array, csr_array]:
        """`scale` at the from node and -1 at the to node of each branch of the tree.

        Returns:
            (n_tree, n_free), square as each branch hangs one node on the tree; and (n_tree, n_slack).
        """
        model, rows = self._network.admittances, np.arange(len(self._tree))
        entries = (
            np.concatenate([scale, -np.ones(len(rows))]),
            (np.tile(rows, 2), np.concatenate([model.from_node[self._tree], model.to_node[self._tree]])),
        )
        whole = csc_array(entries, shape=(len(rows), model.n_node))
        return csr_array(whole[:, self._free]), csr_array(whole[:, model.slack_node])

    def _through(self, node: Floats) -> Floats:
        """Power through each branch, (k, n_tree), for net injections of the nodes, (k, n_node)."""
        flow: Floats = self._sums(node[:, self._free].T).T
        return flow

    def _voltages(self, drop: Floats) -> Floats:
        """Squared voltages of the nodes, (k, n_node)."""
        w = np.empty((len(drop), self._network.admittances.n_node))
        w[:, self._network.admittances.slack_node] = self._w_slack
        known = self._drop_root @ self._w_slack
        w[:, self._free] = self._drops((drop - known).T).T
        return w

    def _angles_of(self, drop: Floats) -> Floats:
        """Angles of the nodes, (k, n_node), radian."""
        va = np.empty((len(drop), self._network.admittances.n_node))
        va[:, self._network.admittances.slack_node] = self._va_slack
        known = self._root @ self._va_slack
        va[:, self._free] = self._angles((drop + self._shift - known).T).T
        return va

    def _reasons(self, w: Floats) -> list[str]:
        lowest = w.argmin(axis=1) if w.size else np.zeros(len(w), dtype=np.int64)
        return [
            "" if row[node] > 0.0 else f"lindistflow: no solution, the squared voltage of node {node} is {row[node]:g}"
            for row, node in zip(w, lowest, strict=True)
        ]


def _refuse_control(network: Network) -> None:
    faults = network.generators.faults(
        network.name, "it holds a voltage, which lindistflow cannot", "use another engine, or an sgen"
    )
    if network.voltage_dependence is not None:
        faults += network.voltage_dependence.faults(
            network.name, "it depends on the voltage; in lindistflow power is constant", "use another engine"
        )
    if faults:
        raise GridDataError(faults)


def _tree(network: Network) -> Ints:
    """Rows of the branches that join all nodes to the external grids, without a loop.

    Raises:
        GridDataError: other branches close a loop.
    """
    model = network.admittances
    live = np.flatnonzero(model.live & (model.from_node != model.to_node))
    parent = _parents(model, live)
    start, end = model.from_node[live], model.to_node[live]
    down, up = parent[end] == start, parent[start] == end
    lower = np.where(down, end, start)
    _, first = np.unique(np.where(down | up, lower, -1 - np.arange(len(live))), return_index=True)
    chosen = np.zeros(len(live), dtype=np.bool_)
    chosen[first] = True
    chosen &= down | up
    remedy = "open a switch, or use another engine"
    faults = [
        Fault(
            f"{network.name}: {branch_name(network, int(row))}",
            "it closes a loop; lindistflow is for radial grids",
            remedy,
        )
        for row in live[~chosen]
    ]
    if faults:
        raise GridDataError(faults)
    return live


def _parents(model: Admittances, live: Ints) -> Ints:
    """The next node towards the external grid, (n_node + 1,); of those grids themselves a node above all."""
    root = model.n_node
    rows = np.concatenate([model.from_node[live], np.full(len(model.slack_node), root)])
    columns = np.concatenate([model.to_node[live], model.slack_node])
    graph = csr_array((np.ones(len(rows)), (rows, columns)), shape=(root + 1, root + 1))
    return np.asarray(breadth_first_order(graph, root, directed=False)[1], dtype=np.int64)
