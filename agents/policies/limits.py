"""What the DSO asks of a flexibility market: flows and voltages with their limits, as plain arrays."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from peerwatt.agents.messages import FloatArray
from peerwatt.agents.policies.view import GridView
from peerwatt.market.limits import NetworkLimits, VoltageLimits

__all__ = ["Margins", "network_limits"]

_NOTHING = 1e-6  # MW per MW: less is rounding, and no bid could act through it
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
        over = np.maximum(np.abs(view.flow_mw) - view.limit_mw, 0.0)
        outside = np.maximum(np.maximum(state.vm_pu - buses.max_vm_pu, buses.min_vm_pu - state.vm_pu), 0.0)
        return Margins(self.flow_mw + 1.05 * over, self.vm_pu + 1.05 * np.nan_to_num(outside))


def network_limits(view: GridView, margins: Margins, *, congestion: bool = True, voltage: bool = True) -> NetworkLimits:
    """Limits of all flows, and of the voltages that are near the edge of their band.

    Nodes are the buses of the view's connection points, `view.bus`, in its order.

    Args:
        view: the grid before the market, with AC sensitivities.
        margins: by how much limits are tightened.
        congestion: whether flows count.
        voltage: whether voltages count.
    """
    network = view.network
    every = np.arange(network.n_line + network.n_trafo)
    branches = every[network.admittances.live[every]] if congestion else every[:0]
    limit = np.maximum(view.limit_mw - margins.flow_mw, 0.0)[branches]
    names = [*network.lines.name, *network.trafos.name]
    response = view.flow_by_mw(branches)
    return NetworkLimits(
        flow_mw=view.flow_mw[branches],
        lower_mw=-limit,
        upper_mw=limit,
        response=np.where(np.abs(response) > _NOTHING, response, 0.0),
        voltage=_voltage(view, margins) if voltage else None,
        names=[names[branch] for branch in branches.tolist()],
        node_names=[network.buses.name[bus] for bus in view.bus.tolist()],
    )


def _voltage(view: GridView, margins: Margins) -> VoltageLimits | None:
    buses, vm_pu = view.network.buses, view.state.vm_pu
    lower, upper = buses.min_vm_pu + margins.vm_pu, buses.max_vm_pu - margins.vm_pu
    near = np.flatnonzero((vm_pu > upper - _NEAR_PU) | (vm_pu < lower + _NEAR_PU))
    if not near.size:
        return None
    names = [buses.name[bus] for bus in near.tolist()]
    return VoltageLimits(vm_pu[near], lower[near], upper[near], view.vm_by_mw(near), names)
