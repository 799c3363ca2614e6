"""From node voltages to everything else: branch flows, loadings, losses, slack power.

`Flows` holds what depends on the network only, so that one evaluation is a handful of array operations.
"""

from __future__ import annotations

import numpy as np

from peerwatt.grid.admittance import Admittances, Complexes, Floats, Ints
from peerwatt.grid.batch import GridStates, rows_per_chunk
from peerwatt.grid.network import Network
from peerwatt.grid.state import BranchState, GridState

__all__ = ["Flows", "branch_name", "total_shunts"]

_SQRT3 = float(np.sqrt(3.0))
_BLOCK_BYTES = 2**19  # what one step works on shall stay in the cache, and its arrays in reused memory


def branch_name(network: Network, row: int) -> str:
    """What to call a branch of the electrical model in a message.

    Args:
        network: the network.
        row: row of the branch in `Admittances`.
    """
    lines, trafos = network.lines, network.trafos
    if row < len(lines):
        return f"line '{lines.name[row]}' (index {lines.index[row]})"
    row -= len(lines)
    if row < len(trafos):
        return f"trafo '{trafos.name[row]}' (index {trafos.index[row]})"
    model, row = network.admittances, row + len(lines)
    ends = (_bus_name(network, int(node)) for node in (model.from_node[row], model.to_node[row]))
    return f"impedance or switch between {' and '.join(ends)}"


def _bus_name(network: Network, node: int) -> str:
    at = np.flatnonzero(network.admittances.bus_node == node)
    return f"bus '{network.buses.name[at[0]]}' (index {network.buses.index[at[0]]})" if len(at) else f"node {node}"


def total_shunts(model: Admittances) -> Complexes:
    """Everything that is not series impedance, summed by node, (n_node,), MVA at 1 pu."""
    loop = model.from_node == model.to_node  # between buses that a switch joins: a shunt as a whole
    series = np.where(loop, 0.0, -model.ytf * model.ratio)
    y_shunt = model.y_shunt.copy()
    np.add.at(y_shunt, model.from_node, model.yff - series / np.abs(model.ratio) ** 2)
    np.add.at(y_shunt, model.to_node, model.ytt - series)
    np.add.at(y_shunt, model.from_node[loop], (model.yft + model.ytf)[loop])
    return y_shunt


class Flows:
    """Evaluates the state of a network from its node voltages.

    Args:
        network: the network.
    """

    def __init__(self, network: Network) -> None:
        model = network.admittances
        self._network = network
        self._n_line, self._n_rated = network.n_line, network.n_line + network.n_trafo
        self._bus_node = np.maximum(model.bus_node, 0)
        self._dead = np.flatnonzero(model.bus_node < 0)
        self._from_to = np.concatenate([model.from_node, model.to_node])  # (2 n_branch,)
        self._own = np.concatenate([model.yff, model.ytt])
        self._other = np.concatenate([model.yft, model.ytf])
        self._n_branch = model.n_branch
        self._ka = 1.0 / (_SQRT3 * model.node_vn_kv[self._from_to])  # kA of 1 MVA at 1 pu
        self._percent = self._percent_of_pu_current()
        self._g_shunt = model.y_shunt.real if model.y_shunt.real.any() else None
        self._slack_node = model.slack_node
        rows = model.slack_rows()
        self._near_slack = np.flatnonzero(rows.any(axis=0))  # a few nodes: a product with all would wake up BLAS
        self._slack_rows = rows[:, self._near_slack]

    def _percent_of_pu_current(self) -> Floats:
        """Loading at a current of 1 MVA at 1 pu, both ends of lines and transformers, (2, n_rated)."""
        lines, trafos = self._network.lines, self._network.trafos
        ka = self._ka.reshape(2, self._n_branch)[:, : self._n_rated]
        rating_ka = np.empty_like(ka)
        rating_ka[:, : self._n_line] = lines.rating_ka
        with np.errstate(divide="ignore", invalid="ignore"):
            rating_ka[0, self._n_line :] = trafos.sn_mva / (_SQRT3 * trafos.vn_hv_kv)
            rating_ka[1, self._n_line :] = trafos.sn_mva / (_SQRT3 * trafos.vn_lv_kv)
        live = self._network.admittances.live[: self._n_rated]  # others may have no rating
        percent: Floats = np.divide(100.0 * ka, rating_ka, out=np.zeros_like(ka), where=np.broadcast_to(live, ka.shape))
        return percent

    def state(
        self, vm_pu: Floats, va_rad: Floats, node_injection: Complexes, p_mw: Floats, q_mvar: Floats
    ) -> GridState:
        """The state that belongs to a solution.

        Args:
            vm_pu: (n_node,) voltage magnitudes.
            va_rad: (n_node,) voltage angles, radian.
            node_injection: (n_node,) net injections of the nodes, MVA.
            p_mw: (n_bus,) net injections as they were given.
            q_mvar: (n_bus,) net reactive injections as they were given.
        """
        voltage = vm_pu * np.exp(1j * va_rad)
        n = self._n_branch
        ends = voltage[self._from_to]  # (2 n_branch,)
        swapped = np.concatenate([ends[n:], ends[:n]])
        current = self._own * ends + self._other * swapped
        power = ends * current.conj()
        amount = np.abs(current)
        losses = power.real[:n] + power.real[n:]
        loading = (amount.reshape(2, n)[:, : self._n_rated] * self._percent).max(axis=0)
        i_ka = (amount * self._ka).reshape(2, n).max(axis=0)
        p_from, q_from = power.real[:n], power.imag[:n]
        slack = voltage[self._slack_node] * (self._slack_rows @ voltage[self._near_slack]).conj()
        slack_mva = complex((slack - node_injection[self._slack_node]).sum())
        vm_bus, va_bus = vm_pu[self._bus_node], np.degrees(va_rad[self._bus_node])
        if len(self._dead):
            vm_bus[self._dead] = va_bus[self._dead] = np.nan
        total = float(losses.sum())
        if self._g_shunt is not None:
            total += float(self._g_shunt @ vm_pu**2)
        line, trafo = slice(0, self._n_line), slice(self._n_line, self._n_rated)
        return GridState(
            True,  # noqa: FBT003 - converged
            "",
            vm_bus,
            va_bus,
            p_mw,
            q_mvar,
            BranchState(p_from[line], q_from[line], i_ka[line], loading[line], losses[line]),
            BranchState(p_from[trafo], q_from[trafo], i_ka[trafo], loading[trafo], losses[trafo]),
            slack_mva.real,
            slack_mva.imag,
            total,
        )

    def fill(self, states: GridStates, first: int, vm_pu: Floats, va_rad: Floats, slack_mva: Complexes) -> None:
        """Fill in rows of a batch; rows whose voltages are nan become nan.

        Args:
            states: the batch.
            first: its first row to be filled in.
            vm_pu: (m, n_node) voltage magnitudes.
            va_rad: (m, n_node) voltage angles, radian.
            slack_mva: (m, n_slack) net injections of the nodes that are held by an external grid.
        """
        step = rows_per_chunk(8 * (16 * self._n_branch + 4 * vm_pu.shape[1]), _BLOCK_BYTES)
        for start in range(0, len(vm_pu), step):
            block = slice(start, start + step)
            self._fill_block(
                states,
                slice(first + start, first + min(start + step, len(vm_pu))),
                vm_pu[block],
                va_rad[block],
                slack_mva[block],
            )

    def _fill_block(self, states: GridStates, rows: slice, vm: Floats, va: Floats, slack_mva: Complexes) -> None:
        voltage = np.empty(vm.shape, dtype=np.complex128)
        np.multiply(vm, np.cos(va), out=voltage.real)
        np.multiply(vm, np.sin(va), out=voltage.imag)
        n = self._n_branch
        start, end = voltage.take(self._from_to[:n], axis=1), voltage.take(self._from_to[n:], axis=1)
        power, ka, percent = self._end(0, start, end)
        power_to, ka_to, percent_to = self._end(1, end, start)
        pl_mw = power.real + power_to.real
        np.maximum(ka, ka_to, out=ka)
        np.maximum(percent, percent_to, out=percent)
        line, trafo = slice(0, self._n_line), slice(self._n_line, self._n_rated)
        for branch, part in ((states.line, line), (states.trafo, trafo)):
            branch.p_from_mw[rows], branch.q_from_mvar[rows] = power.real[:, part], power.imag[:, part]
            branch.i_ka[rows], branch.loading_percent[rows] = ka[:, part], percent[:, part]
            branch.pl_mw[rows] = pl_mw[:, part]
        self._fill_buses(states, rows, vm, va)
        near = voltage.take(self._near_slack, axis=1)
        current = np.einsum("mn,sn->ms", near, self._slack_rows)
        drawn = voltage.take(self._slack_node, axis=1) * current.conj() - slack_mva
        states.slack_p_mw[rows], states.slack_q_mvar[rows] = drawn.real.sum(axis=1), drawn.imag.sum(axis=1)
        total = pl_mw.sum(axis=1)
        states.losses_mw[rows] = total if self._g_shunt is None else total + (vm**2 * self._g_shunt).sum(axis=1)

    def _end(self, side: int, near: Complexes, far: Complexes) -> tuple[Complexes, Floats, Floats]:
        """Power into one end of each branch, its current in kA, (m, n_branch), and its loading, (m, n_rated)."""
        part = slice(side * self._n_branch, (side + 1) * self._n_branch)
        current = self._own[part] * near
        current += self._other[part] * far
        amount = np.sqrt(current.real**2 + current.imag**2)
        power = near * np.conj(current, out=current)
        return power, amount * self._ka[part], amount[:, : self._n_rated] * self._percent[side]

    def fill_linear(
        self, states: GridStates, rows: Ints, vm_pu: Floats, va_rad: Floats, p: Floats, q: Floats, losses: Floats
    ) -> None:
        """Fill in a batch from the flows of a linear model; currents are those of the apparent power at 1 pu.

        Args:
            states: the batch, of k rows.
            rows: (m,) branches that have a flow; all others have 0.
            vm_pu: (k, n_node) voltage magnitudes.
            va_rad: (k, n_node) voltage angles, radian.
            p: (k, m) active power that enters at the from end, MW.
            q: (k, m) reactive power that enters there, Mvar.
            losses: (k, m) active losses, MW.
        """
        apparent = np.hypot(p, q)
        ka = self._ka.reshape(2, self._n_branch).max(axis=0)
        percent = self._percent.max(axis=0)
        for branch, first, last in (
            (states.line, 0, self._n_line),
            (states.trafo, self._n_line, self._n_rated),
        ):
            at = np.flatnonzero((rows >= first) & (rows < last))
            row, column = rows[at], rows[at] - first
            for values in (branch.p_from_mw, branch.q_from_mvar, branch.i_ka, branch.loading_percent, branch.pl_mw):
                values[:] = 0.0 * vm_pu[:, :1]  # nan where there is no solution
            branch.p_from_mw[:, column], branch.q_from_mvar[:, column] = p[:, at], q[:, at]
            branch.i_ka[:, column] = apparent[:, at] * ka[row]
            branch.loading_percent[:, column] = apparent[:, at] * percent[row]
            branch.pl_mw[:, column] = losses[:, at]
        self._fill_buses(states, slice(0, len(vm_pu)), vm_pu, va_rad)

    def _fill_buses(self, states: GridStates, rows: slice, vm: Floats, va: Floats) -> None:
        """Voltages of the buses, (m, n_bus), from those of the nodes."""
        states.vm_pu[rows] = vm.take(self._bus_node, axis=1)
        states.va_degree[rows] = np.degrees(va).take(self._bus_node, axis=1)
        if len(self._dead):
            states.vm_pu[rows, self._dead] = states.va_degree[rows, self._dead] = np.nan
