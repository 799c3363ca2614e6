"""What changes in the grid when a bus feeds in more: sensitivities of the AC power flow at a state.

The factors of Guerrero et al. that 004 reviews in section 4, by their names there:

    VSC          voltage sensitivity coefficient         d|V_i| / dP_k, d|V_i| / dQ_k       `vm_pu`
    PTSF, GSF    power transfer sensitivity factor       dP_l / dP_k, dP_l / dQ_k           `p_from_mw`
    PLSF, LSF    power loss sensitivity factor           dP_loss / dP_k, dP_loss / dQ_k     `losses_mw`

The review gives no equation for them, and its branch flow equation (3) is garbled ((r^2 x^2) l stands for
(r^2 + x^2) l), so they are built from physics: with the power flow J dx = d[P, Q] (`peerwatt.grid.jacobian`)
and an output y(x) of gradient g,

    dy/d[P, Q] = g J^-1,   as (J^-T g)^T for few outputs (adjoint), as g (J^-1 e_k) for few buses (direct).

The external grid takes up the difference, so its own buses have the sensitivity 0. A generator that holds the
voltage of a bus keeps it and its active power: reactive power fed in there only takes the place of its own. Powers
are positive when fed into the grid: the sale of a producer is dP > 0, the load of a consumer dP < 0.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.sparse import coo_array, csc_array

from peerwatt.grid.admittance import Complexes, Floats, Ints, freeze
from peerwatt.grid.jacobian import Jacobian
from peerwatt.grid.network import Network
from peerwatt.grid.selection import select_branches, select_buses
from peerwatt.grid.state import GridState

__all__ = ["Sensitivities", "Sensitivity"]

_SQRT3 = float(np.sqrt(3.0))


@dataclass(frozen=True, slots=True)
class Sensitivity:
    """Derivatives of one kind of output.

    Attributes:
        by_p_mw: (n_outputs, n_buses) change of the output per MW fed in at the bus.
        by_q_mvar: (n_outputs, n_buses) change of the output per Mvar fed in at the bus.
    """

    by_p_mw: Floats
    by_q_mvar: Floats

    def __post_init__(self) -> None:
        freeze(self)


class Sensitivities:
    """Sensitivities of a network at a state; one sparse LU serves all questions.

    Outputs are chosen by `buses` or `branches`, the buses that feed in by `at`; each is positions or a mask,
    and everything by default. Branches are the lines, then from position `n_line` the transformers. What is
    out of service, and the voltage of external grids, has the sensitivity 0.

    Args:
        network: the network.
        state: a solution of it.

    Raises:
        PowerFlowError: the state has no solution.
        GridDataError: a node has no way to an external grid, or a load depends on the voltage.
    """

    def __init__(self, network: Network, state: GridState) -> None:
        self._network = network
        self._jacobian = Jacobian(network, state)
        model = network.admittances
        self._free = np.where(model.bus_node >= 0, self._jacobian.node[model.bus_node], -1)  # (n_bus,)
        self._everywhere: Floats | None = None  # J^-1, once somebody has asked for so much of it

    def vm_pu(self, buses: npt.ArrayLike | None = None, at: npt.ArrayLike | None = None) -> Sensitivity:
        """Voltage magnitudes (VSC), (n_buses, n_at), pu per MW and per Mvar."""
        chosen = select_buses(self._network, buses)
        vm_pu = np.abs(self._jacobian.voltage)[self._network.admittances.bus_node[chosen]]
        return self._of_unknown(chosen, 1, vm_pu, at)

    def va_degree(self, buses: npt.ArrayLike | None = None, at: npt.ArrayLike | None = None) -> Sensitivity:
        """Voltage angles, (n_buses, n_at), degree per MW and per Mvar."""
        chosen = select_buses(self._network, buses)
        return self._of_unknown(chosen, 0, np.full(len(chosen), np.degrees(1.0)), at)

    def p_from_mw(self, branches: npt.ArrayLike | None = None, at: npt.ArrayLike | None = None) -> Sensitivity:
        """Active power into branches at their from ends (PTSF), (n_branches, n_at), MW per MW and per Mvar."""
        chosen = select_branches(self._network, branches)
        return self._of(self._gradient(chosen, *(part.real for part in self._power(chosen))), at)

    def q_from_mvar(self, branches: npt.ArrayLike | None = None, at: npt.ArrayLike | None = None) -> Sensitivity:
        """Reactive power into branches at their from ends, (n_branches, n_at), Mvar per MW and per Mvar."""
        chosen = select_branches(self._network, branches)
        return self._of(self._gradient(chosen, *(part.imag for part in self._power(chosen))), at)

    def i_ka(self, branches: npt.ArrayLike | None = None, at: npt.ArrayLike | None = None) -> Sensitivity:
        """Currents of branches, at the end with the larger one, (n_branches, n_at), kA per MW and per Mvar.

        0 where no current flows, where it has no derivative.
        """
        chosen = select_branches(self._network, branches)
        return self._of(self._gradient(chosen, *self._current(chosen, self._ka(chosen))), at)

    def loading_percent(self, branches: npt.ArrayLike | None = None, at: npt.ArrayLike | None = None) -> Sensitivity:
        """Loadings of branches, of transformers at the winding with the larger one, (n_branches, n_at), percent.

        Per MW and per Mvar; 0 where no current flows, where it has no derivative.
        """
        chosen = select_branches(self._network, branches)
        with np.errstate(divide="ignore", invalid="ignore"):
            percent = 100.0 * self._ka(chosen) / self._rating_ka(chosen)
        percent[:, ~self._network.admittances.live[chosen]] = 0.0  # others may have no rating
        return self._of(self._gradient(chosen, *self._current(chosen, percent)), at)

    def losses_mw(self, at: npt.ArrayLike | None = None) -> Sensitivity:
        """Active losses of the whole grid (LSF), (1, n_at), MW per MW and per Mvar.

        The external grid gives what losses take: d slack_p_mw = d losses - 1 for 1 MW at another bus.
        """
        return self._of(csc_array(self._jacobian.total_p[None, :]), at)

    def _of_unknown(self, buses: Ints, which: int, scale: Floats, at: npt.ArrayLike | None) -> Sensitivity:
        known = np.flatnonzero(self._free[buses] >= 0)
        entries = (scale[known], (known, 2 * self._free[buses[known]] + which))
        return self._of(coo_array(entries, shape=(len(buses), self._jacobian.size)).tocsc(), at)

    def _of(self, gradient: csc_array, at: npt.ArrayLike | None) -> Sensitivity:
        """Gradients with respect to injections at buses from those with respect to the unknowns."""
        columns = self._free[select_buses(self._network, at)]
        live = np.flatnonzero(columns >= 0)
        columns = columns[live]
        size = self._jacobian.size
        if self._everywhere is None and 2 * len(columns) >= size and gradient.shape[0] >= size:
            self._everywhere = self._jacobian.solve(np.eye(size))
        if self._everywhere is not None:
            found = gradient @ self._everywhere
            p, q = found[:, 2 * columns], found[:, 2 * columns + 1]
        elif gradient.shape[0] <= 2 * len(columns):
            found = self._jacobian.solve_adjoint(gradient)
            p, q = found[:, 2 * columns], found[:, 2 * columns + 1]
        else:
            unit = np.zeros((size, 2 * len(columns)))
            unit[np.concatenate([2 * columns, 2 * columns + 1]), np.arange(2 * len(columns))] = 1.0
            found = gradient @ self._jacobian.solve(unit)
            p, q = found[:, : len(columns)], found[:, len(columns) :]
        shape = (gradient.shape[0], len(select_buses(self._network, at)))
        by_p, by_q = np.zeros(shape), np.zeros(shape)
        by_p[:, live], by_q[:, live] = p, np.where(np.isin(columns, self._jacobian.regulated), 0.0, q)
        return Sensitivity(by_p, by_q)

    def _gradient(self, branches: Ints, theta_i: Floats, theta_j: Floats, u_i: Floats, u_j: Floats) -> csc_array:
        """Gradients of branch quantities from the derivatives by the unknowns of both ends."""
        model, node = self._network.admittances, self._jacobian.node
        i, j = node[model.from_node[branches]], node[model.to_node[branches]]
        row = np.tile(np.arange(len(branches)), 4)
        column = np.concatenate([2 * i, 2 * j, 2 * i + 1, 2 * j + 1])
        value = np.concatenate([theta_i, theta_j, u_i, u_j])
        kept = column >= 0
        entries = (value[kept], (row[kept], column[kept]))
        return coo_array(entries, shape=(len(branches), self._jacobian.size)).tocsc()

    def _power(self, branches: Ints) -> tuple[Complexes, Complexes, Complexes, Complexes]:
        """dS_from by theta_i, theta_j, u_i, u_j: S = A + B, A = |V_i|^2 conj(yff), B = V_i conj(yft V_j)."""
        model, v = self._network.admittances, self._jacobian.voltage
        v_i, v_j = v[model.from_node[branches]], v[model.to_node[branches]]
        a = np.abs(v_i) ** 2 * model.yff[branches].conj()
        b = v_i * (model.yft[branches] * v_j).conj()
        return 1j * b, -1j * b, 2.0 * a + b, b

    def _current(self, branches: Ints, weight: Floats) -> tuple[Floats, Floats, Floats, Floats]:
        """d(weight |I|) by theta_i, theta_j, u_i, u_j at the end where weight |I| is larger; weight is (2, n)."""
        model, v = self._network.admittances, self._jacobian.voltage
        v_i, v_j = v[model.from_node[branches]], v[model.to_node[branches]]
        by_i = np.stack([model.yff[branches], model.ytf[branches]]) * v_i  # (2, n) part of I that V_i drives
        by_j = np.stack([model.yft[branches], model.ytt[branches]]) * v_j
        current = by_i + by_j
        amount = np.abs(current)
        end = (amount * weight).argmax(axis=0), np.arange(len(branches))
        flows = amount[end] > 0.0
        unit = np.zeros(len(branches), dtype=np.complex128)
        np.divide(current[end].conj(), amount[end], out=unit, where=flows)
        d_i, d_j = unit * by_i[end] * weight[end], unit * by_j[end] * weight[end]
        return -d_i.imag, -d_j.imag, d_i.real, d_j.real

    def _ka(self, branches: Ints) -> Floats:
        """Current of 1 MVA at 1 pu at both ends, (2, n_branches), kA."""
        model = self._network.admittances
        ends = np.stack([model.from_node[branches], model.to_node[branches]])
        ka: Floats = 1.0 / (_SQRT3 * model.node_vn_kv[ends])
        return ka

    def _rating_ka(self, branches: Ints) -> Floats:
        """Rated currents of both ends, (2, n_branches)."""
        lines, trafos = self._network.lines, self._network.trafos
        hv = np.concatenate([lines.rating_ka, trafos.sn_mva / (_SQRT3 * trafos.vn_hv_kv)])
        lv = np.concatenate([lines.rating_ka, trafos.sn_mva / (_SQRT3 * trafos.vn_lv_kv)])
        return np.stack([hv[branches], lv[branches]])
