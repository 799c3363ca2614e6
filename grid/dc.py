"""DC power flow: active power only, all voltages 1 pu (MATPOWER manual, section 3.7).

    P_branch = (theta_from - theta_to - shift) / (x tau),      B theta = P

with tau the magnitude of the off-nominal ratio. B is factorised once (sparse LU); each row is one solve.

What a state means here:

    vm_pu               1
    va_degree           of the linear model
    p_from_mw           flows without losses
    q_from_mvar         nan: not known; the same is true of slack_q_mvar
    pl_mw               0; losses_mw is the active power of shunts at 1 pu
    i_ka, loading       of the active power at 1 pu
    converged           always: whether AC has a solution is not known

Generators that hold a voltage take part with their active power.
"""

from __future__ import annotations

import numpy as np
from scipy.sparse import csc_array, csr_array

from peerwatt.errors import Fault, GridDataError
from peerwatt.grid.admittance import Floats, Ints
from peerwatt.grid.batch import GridStates
from peerwatt.grid.flows import Flows, branch_name
from peerwatt.grid.injection import NodeInjections
from peerwatt.grid.lindistflow import factorised
from peerwatt.grid.network import Network
from peerwatt.grid.state import GridState

__all__ = ["DcEngine"]


class DcEngine:
    """Solves a network with DC power flow.

    Args:
        network: the network; radial or meshed.

    Raises:
        GridDataError: a branch has no reactance, or a load depends on the voltage.
    """

    name = "dc"

    def __init__(self, network: Network) -> None:
        model = network.admittances
        self._network = network
        self._injections = NodeInjections(network)
        self._flows = Flows(network)
        self._rows = np.flatnonzero(model.live & (model.from_node != model.to_node))
        x = (-1.0 / (model.ytf * model.ratio)[self._rows]).imag
        _refuse(network, self._rows[np.abs(x) < 1e-12])
        b = 1.0 / (x * np.abs(model.ratio[self._rows]))  # MW per radian
        n = len(self._rows)
        ends = np.concatenate([model.from_node[self._rows], model.to_node[self._rows]])
        where, shape = (np.tile(np.arange(n), 2), ends), (n, model.n_node)
        incidence = csr_array((np.repeat([1.0, -1.0], n), where), shape=shape)
        self._flow_of_angle = csr_array((np.concatenate([b, -b]), where), shape=shape)
        self._shift_mw = b * np.angle(model.ratio[self._rows])
        matrix = csc_array(incidence.T @ self._flow_of_angle)
        self._slack, self._va_slack = model.slack_node, np.radians(model.slack_va_degree)
        self._free = np.setdiff1d(np.arange(model.n_node), self._slack)
        self._given = incidence.T @ self._shift_mw - model.y_shunt.real  # (n_node,) beside the injections
        self._given -= matrix[:, self._slack] @ self._va_slack
        self._shunts_mw = float(model.y_shunt.real.sum())
        self._solve = factorised(csc_array(matrix[self._free][:, self._free]))

    def solve(self, p_mw: Floats, q_mvar: Floats) -> GridState:
        """Solve the grid for net injections, see `Engine.solve`; reactive ones have no influence."""
        p_mw, q_mvar = self._injections.check(p_mw, q_mvar)
        return self.solve_batch(p_mw[None], q_mvar[None])[0]

    def solve_batch(self, p_mw: Floats, q_mvar: Floats) -> GridStates:
        """Solve many rows of net injections at once, see `Engine.solve_batch`."""
        p_mw, q_mvar = self._injections.check_batch(p_mw, q_mvar)
        states = GridStates.empty(self._network, p_mw, q_mvar)
        va = np.empty((len(p_mw), self._network.admittances.n_node))
        va[:, self._slack] = self._va_slack
        node = self._injections.to_nodes_batch(p_mw) + self._given
        va[:, self._free] = self._solve(node[:, self._free].T).T
        flow = (self._flow_of_angle @ va.T).T - self._shift_mw
        none = np.zeros_like(flow)
        self._flows.fill_linear(states, self._rows, np.ones_like(va), va, flow, none, none)
        for branch in (states.line, states.trafo):
            branch.q_from_mvar[:] = np.nan
        states.slack_q_mvar[:] = np.nan
        states.losses_mw[:] = self._shunts_mw
        states.slack_p_mw[:] = self._shunts_mw - p_mw.sum(axis=1)
        return states


def _refuse(network: Network, rows: Ints) -> None:
    """Branches without reactance, and loads whose power follows the voltage, which is 1 pu here."""
    faults = [
        Fault(f"{network.name}: {branch_name(network, int(row))}", "no reactance, which DC needs", "use another engine")
        for row in rows
    ]
    if network.voltage_dependence is not None:
        faults += network.voltage_dependence.faults(
            network.name, "it depends on the voltage, which DC does not know", "use another engine"
        )
    if faults:
        raise GridDataError(faults)
