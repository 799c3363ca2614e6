"""From node voltages to everything else: branch flows, loadings, losses, slack power.

`Flows` holds what depends on the network only, so that one evaluation is a handful of array operations.
"""

from __future__ import annotations

import numpy as np

from peerwatt.grid.admittance import Complexes, Floats
from peerwatt.grid.network import Network
from peerwatt.grid.state import BranchState, GridState

__all__ = ["Flows"]

_SQRT3 = float(np.sqrt(3.0))


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
        self._slack_rows = model.slack_rows()

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
        slack = voltage[self._slack_node] * (self._slack_rows @ voltage).conj()
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
