"""What the DSO asks of a flexibility market: flows and voltages with their limits, as plain arrays."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from peerwatt.agents.messages import FloatArray, IntArray
from peerwatt.agents.policies.view import GridView
from peerwatt.market.limits import NetworkLimits, VoltageLimits

__all__ = ["Margins", "network_limits"]

_NOTHING = 1e-6  # MW per MW: less is rounding, and no bid could act through it
_ACTIVE = 0.5  # share of active in apparent power from which a flow's loading is one of active power
_LEAST = 1e-6  # MW, pu: so that what is left does not shrink for ever without being gone
_NEAR_PU = 0.02  # voltages that are further inside their band do not count


@dataclass(frozen=True, slots=True)
class Margins:
    """By how much limits are tightened, because the linear model missed.

    Attributes:
        flow_mw: (n_branch,) not negative.
        vm_pu: (n_bus,) not negative.
    """

    flow_mw: FloatArray
    vm_pu: FloatArray

    @classmethod
    def none(cls, n_branch: int, n_bus: int) -> Margins:
        """No margins."""
        return cls(np.zeros(n_branch), np.zeros(n_bus))

    def tightened(self, view: GridView) -> Margins:
        """Margins with what a state still violates added, and a little more."""
        state, buses = view.state, view.network.buses
        over = np.maximum(np.abs(view.flow_mw) - _limit_mw(view), 0.0)
        outside = np.maximum(np.maximum(state.vm_pu - buses.max_vm_pu, buses.min_vm_pu - state.vm_pu), 0.0)
        outside = np.nan_to_num(outside)
        more_mw, more_pu = (np.where(each > 0.0, 1.05 * each + _LEAST, 0.0) for each in (over, outside))
        return Margins(self.flow_mw + more_mw, self.vm_pu + more_pu)


def network_limits(
    view: GridView,
    margins: Margins,
    *,
    congestion: bool = True,
    voltage: bool = True,
    mvar_per_mw: FloatArray | None = None,
) -> NetworkLimits:
    """Limits of all flows, and of the voltages that are near the edge of their band.

    Nodes are the buses of the view's connection points, `view.bus`, in its order.

    Args:
        view: the grid before the market, with AC sensitivities.
        margins: by how much limits are tightened.
        congestion: whether flows count.
        voltage: whether voltages count.
        mvar_per_mw: reactive power that comes with each MW fed in at each node, (n_nodes,); None for none, and for
            limits of the active flow at the reactive flow that there is.
    """
    network = view.network
    every = np.arange(network.n_line + network.n_trafo)
    branches = every[network.admittances.live[every]] if congestion else every[:0]
    limit = np.maximum(view.limit_mw - margins.flow_mw, 0.0)[branches]
    names = [*network.lines.name, *network.trafos.name]
    response = view.flow_by_mw(branches)
    if mvar_per_mw is not None:
        response = _with_reactive(view, branches, response + view.flow_by_mvar(branches) * mvar_per_mw, mvar_per_mw)
        limit = np.maximum(_limit_mw(view) - margins.flow_mw, 0.0)[branches]
    return NetworkLimits(
        flow_mw=view.flow_mw[branches],
        lower_mw=-limit,
        upper_mw=limit,
        response=np.where(np.abs(response) > _NOTHING, response, 0.0),
        voltage=_voltage(view, margins, mvar_per_mw) if voltage else None,
        names=[names[branch] for branch in branches.tolist()],
        node_names=[network.buses.name[bus] for bus in view.bus.tolist()],
    )


def _active_share(view: GridView) -> FloatArray:
    """Active as a share of apparent power at the from end, (n_branch,); 1 where nothing flows."""
    apparent = np.hypot(view.flow_mw, view.reactive_mvar)
    share: FloatArray = np.divide(np.abs(view.flow_mw), apparent, out=np.ones(len(apparent)), where=apparent > 0.0)
    return share


def _limit_mw(view: GridView) -> FloatArray:
    """Active flow at the limit, at the same power factor, so that what is above it is the overflow, (n_branch,).

    At the same reactive flow where a branch carries mostly that.
    """
    share = _active_share(view)
    flows = (share > _ACTIVE) & (view.occupancy > 0.0)
    limit: FloatArray = np.divide(np.abs(view.flow_mw), view.occupancy, out=view.limit_mw.copy(), where=flows)
    return limit


def _with_reactive(view: GridView, branches: IntArray, by_mw: FloatArray, mvar_per_mw: FloatArray) -> FloatArray:
    """Change of the flows as far as it counts for the loading, in MW at the same power factor, (n_branches, n_nodes).

    That is P / S dS = (P^2 dP + P Q dQ) / S^2; where a branch carries mostly reactive power dP alone.

    Args:
        view: the grid.
        branches: positions of branches.
        by_mw: dP of each.
        mvar_per_mw: reactive power that comes with each MW.
    """
    p_mw, q_mvar = view.flow_mw[branches, None], view.reactive_mvar[branches, None]
    square = p_mw**2 + q_mvar**2
    counted = p_mw**2 * by_mw + p_mw * q_mvar * view.reactive_flow_by(branches, mvar_per_mw)
    mostly = (_active_share(view)[branches, None] > _ACTIVE) & (square > 0.0)
    response: FloatArray = np.divide(counted, square, out=by_mw.copy(), where=mostly)
    return response


def _voltage(view: GridView, margins: Margins, mvar_per_mw: FloatArray | None) -> VoltageLimits | None:
    buses, vm_pu = view.network.buses, view.state.vm_pu
    middle = 0.5 * (buses.min_vm_pu + buses.max_vm_pu)  # what cannot be held is tightened no further
    lower = np.minimum(buses.min_vm_pu + margins.vm_pu, middle)
    upper = np.maximum(buses.max_vm_pu - margins.vm_pu, middle)
    near = np.flatnonzero((vm_pu > upper - _NEAR_PU) | (vm_pu < lower + _NEAR_PU))
    if not near.size:
        return None
    names = [buses.name[bus] for bus in near.tolist()]
    response = view.vm_by_mw(near)
    if mvar_per_mw is not None:
        response = response + view.vm_by_mvar(near) * mvar_per_mw
    return VoltageLimits(vm_pu[near], lower[near], upper[near], response, names)
