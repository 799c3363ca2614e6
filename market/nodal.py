"""Linear program of a network: who is where, which flows follow, and what power is worth at every node.

All powers are changes against the operating point at which the flows are known. With x the changes of the
participants, f those of flows and v those of voltages, both as variables, the equalities A [x, f, v, s] = b are

    radial grid     the flow on the branch above a node is what comes from behind it and is added at it
    any other       one injection per node from its participants, and f = S p, S the PTDF
    both            v = dV/dP p, scaled such that its largest number per row is 1
    both            s = sum over nodes k of (1 - dL/dP_k) p_k, which is 0 where the market is balanced

so that every limit is a bound of a variable. The radial form has two numbers per branch, where S has one for every
node behind every branch: D5.3, section 5.2.1, uses S. From the duals y of the equalities follows the price of a
node, what one more MW of load there costs:

    price_k = y_s                    energy, at the external grid
              - y_s dL/dP_k          losses
              + sum_l S_lk phi_l     congestion, phi_l the change of the cost per MW that limit l is raised
              + sum_j dV_j/dP_k nu_j voltage, nu_j the same per pu

This is the usual split of locational marginal prices (DLMP); D5.3 names no formula.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import sparse

from peerwatt.market.book import FloatArray, IntArray
from peerwatt.market.limits import NetworkLimits, Tree

__all__ = ["NodalPrices", "NodalProgram", "nodal_program"]


@dataclass(frozen=True, slots=True)
class NodalPrices:
    """What one more MWh of load costs at every node, by cause. Each (n_nodes,), EUR/MWh.

    Attributes:
        energy: at the external grid.
        losses: what losses add.
        congestion: what limited flows add.
        voltage: what limited voltages add.
    """

    energy: FloatArray
    losses: FloatArray
    congestion: FloatArray
    voltage: FloatArray

    @property
    def total(self) -> FloatArray:
        """The locational marginal price (DLMP)."""
        return self.energy + self.losses + self.congestion + self.voltage

    @classmethod
    def unknown(cls, n_nodes: int) -> NodalPrices:
        """Prices where there is no result."""
        return cls(*(np.full(n_nodes, np.nan) for _ in range(4)))


@dataclass(frozen=True, slots=True)
class NodalProgram:
    """The equalities, and what their columns mean: participants, flows with limits, others, voltages, s.

    Attributes:
        A: equalities. (n_rows, n_variables)
        inject: right-hand side per MW of load at each of `nodes`. (n_rows, n_inject)
        nodes: nodes of the columns of `inject`. (n_inject,)
        constraint: constraint of each limited flow. (n_flows,)
        direction: 1 if the variable counts like the constraint, else -1. (n_flows,)
        loss: dL/dP of every node. (n_nodes,)
        volt: dV/dP by which each voltage variable is divided, pu per MW. (n_voltages,)
        n: number of participants.
    """

    A: sparse.csc_array
    inject: sparse.csc_array
    nodes: IntArray
    constraint: IntArray
    direction: IntArray
    loss: FloatArray
    volt: FloatArray
    n: int

    @property
    def n_variables(self) -> int:
        """Number of columns of A."""
        return int(self.A.shape[1])

    @property
    def network(self) -> IntArray:
        """Columns that are no participant's; as many as rows, a basis: they follow from the participants'."""
        return np.arange(self.n, self.n_variables)

    @property
    def flows(self) -> slice:
        """Columns of limited flows."""
        return slice(self.n, self.n + self.constraint.size)

    @property
    def voltages(self) -> slice:
        """Columns of voltages."""
        return slice(self.n_variables - 1 - self.volt.size, self.n_variables - 1)

    @property
    def limited(self) -> IntArray:
        """Columns of limited flows, then of voltages."""
        at = np.arange(self.n_variables)
        return np.concatenate((at[self.flows], at[self.voltages]))

    def room(self, limits: NetworkLimits) -> tuple[FloatArray, FloatArray]:
        """How far limited flows, then voltages, may change, as variables; two of (n_flows + n_voltages,), MW."""
        below = (limits.lower_mw - limits.flow_mw)[self.constraint]
        above = (limits.upper_mw - limits.flow_mw)[self.constraint]
        along = self.direction > 0
        lower, upper = np.where(along, below, -above), np.where(along, above, -below)
        if limits.voltage is None:
            return lower, upper
        voltage = limits.voltage
        return (
            np.concatenate((lower, (voltage.lower_pu - voltage.vm_pu) / self.volt)),
            np.concatenate((upper, (voltage.upper_pu - voltage.vm_pu) / self.volt)),
        )

    def relief(self, y: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Change of the cost per MW, or pu, by which the limit of a flow or voltage is raised.

        Args:
            y: duals of the equalities. (n_rows,)

        Returns:
            Of every constraint that is a column here and of every voltage; (n_flows,), (n_voltages,).
        """
        reduced = -(self.A.T @ y)
        return self.direction * reduced[self.flows], reduced[self.voltages] / self.volt

    def prices(self, limits: NetworkLimits, energy: float, flow: FloatArray, volt: FloatArray) -> NodalPrices:
        """Prices of all nodes.

        Args:
            limits: the network.
            energy: the last dual.
            flow: change of the cost per MW of every limited flow, see `relief`. (n_flows,)
            volt: the same per pu of every voltage. (n_voltages,)
        """
        on_flow = np.zeros(limits.n_constraints)
        on_flow[self.constraint] = flow
        at_slack = np.full(limits.n_nodes, energy)
        return NodalPrices(
            energy=at_slack,
            losses=-at_slack * self.loss,
            congestion=limits.at_nodes(on_flow),
            voltage=np.zeros(limits.n_nodes) if limits.voltage is None else limits.voltage.response.T @ volt,
        )


def nodal_program(
    node: IntArray,
    limits: NetworkLimits,
    *,
    direction: IntArray | None = None,
    loss: FloatArray | None = None,
    everywhere: bool = False,
) -> NodalProgram:
    """Build the equalities for participants at nodes.

    Args:
        node: node of every participant. (n,)
        direction: 1 where a participant's variable is power fed in, -1 where it is power drawn; 1 if None. (n,)
        limits: the network; only its response, and that of its voltages, is used.
        loss: change of the losses per MW fed in at each node, dL/dP; none if None. (n_nodes,)
        everywhere: whether powers may be put at every node, not only at those of participants.
    """
    n_nodes, voltage = limits.n_nodes, limits.voltage
    loss = np.zeros(n_nodes) if loss is None else loss
    by_p = np.zeros((0, n_nodes)) if voltage is None else voltage.response
    volt = np.abs(by_p).max(axis=1, initial=0.0)
    volt[volt == 0.0] = 1.0
    values = np.vstack((by_p / volt[:, None], 1.0 - loss))  # what is summed over all nodes, s last
    if isinstance(limits.response, Tree):
        nodes = np.arange(n_nodes)
        inject, network, constraint, along = _radial(limits.response, values, limits.n_constraints)
    else:
        nodes = np.arange(n_nodes) if everywhere else np.unique(node)
        inject, network, constraint, along = _meshed(limits.response, values, nodes)
    n_rows, n_sums = inject.shape[0], len(values)
    last = np.arange(n_sums)
    sums = _csc((-np.ones(n_sums),), (n_rows - n_sums + last,), (last,), (n_rows, n_sums))
    at = inject[:, np.searchsorted(nodes, node)]
    if direction is not None:
        at.data *= np.repeat(direction, np.diff(at.indptr))
    A = sparse.hstack((at, network, sums), format="csc")
    return NodalProgram(A, inject, nodes, constraint, along, loss, volt, node.size)


def _radial(
    tree: Tree, values: FloatArray, n_constraints: int
) -> tuple[sparse.csc_array, sparse.csc_array, IntArray, IntArray]:
    """Where injections come in and where flows go, limited ones first; a row per flow, then one per sum.

    The injection at a node is its flow less those right behind it, so that a sum over nodes needs a flow only
    where its weights differ between the ends of the branch. Constraints of no branch have a flow that is 0.
    """
    inner, n_sums = tree.parent >= 0, len(values)
    alone = np.setdiff1d(np.arange(n_constraints), tree.constraint)
    at = np.concatenate((tree.limited, np.flatnonzero(inner & (tree.constraint < 0))))  # node above which flow is
    flow = alone.size + np.arange(at.size)
    n_flows = alone.size + at.size
    of_node = np.full(tree.n_nodes, -1, dtype=np.intp)
    of_node[at] = flow
    above = tree.parent[at]
    joined = inner[above]
    step = values[:, at] - np.where(joined, values[:, above], 0.0)
    in_sum, k = np.nonzero(step)
    every = np.arange(n_flows)
    network = _csc(
        (-np.ones(n_flows), np.ones(np.count_nonzero(joined)), step[in_sum, k]),
        (every, of_node[above[joined]], n_flows + in_sum),
        (every, flow[joined], flow[k]),
        (n_flows + n_sums, n_flows),
    )
    root = np.flatnonzero(~inner)
    inject = _csc(
        (np.ones(at.size), values[:, root].ravel()),
        (flow, np.repeat(n_flows + np.arange(n_sums), root.size)),
        (at, np.tile(root, n_sums)),
        (n_flows + n_sums, tree.n_nodes),
    )
    constraint = np.concatenate((alone, tree.constraint[tree.limited]))
    direction = np.concatenate((np.ones(alone.size, dtype=np.intp), tree.direction[tree.limited]))
    return inject, network, constraint, direction


def _csc(
    values: tuple[FloatArray, ...], rows: tuple[IntArray, ...], columns: tuple[IntArray, ...], shape: tuple[int, int]
) -> sparse.csc_array:
    at = np.concatenate(rows), np.concatenate(columns)
    return sparse.csc_array((np.concatenate(values), at), shape=shape)


def _meshed(
    response: FloatArray | sparse.csr_array, values: FloatArray, nodes: IntArray
) -> tuple[sparse.csc_array, sparse.csc_array, IntArray, IntArray]:
    """The same with a matrix; flows first, then injections. A row per node, per constraint and per sum."""
    n_flows, count = response.shape[0], nodes.size
    to_flows = sparse.csc_array(response[:, nodes])
    to_values = sparse.csc_array(values[:, nodes])
    one_flow, one_node = sparse.eye_array(n_flows, format="csc"), sparse.eye_array(count, format="csc")
    network = sparse.block_array(
        [[None, -one_node], [-one_flow, to_flows], [sparse.csc_array((len(values), n_flows)), to_values]], format="csc"
    )
    inject = sparse.vstack((one_node, sparse.csc_array((n_flows + len(values), count))), format="csc")
    return inject, network, np.arange(n_flows), np.ones(n_flows, dtype=np.intp)
