"""The grid as a DSO sees it when it makes signals: flows, limits, and how trades between peers would move them.

Branches are the lines, then the transformers. What costs work is worked out when first asked for.
"""

from __future__ import annotations

from functools import cached_property

import numpy as np

from peerwatt.agents.messages import FloatArray, IntArray
from peerwatt.grid.distance import nodal_impedance, thevenin_distance
from peerwatt.grid.network import Network
from peerwatt.grid.ptdf import ptdf
from peerwatt.grid.sensitivity import Sensitivities
from peerwatt.grid.state import GridState
from peerwatt.grid.trade_effect import FlowModel

__all__ = ["GridView"]


class GridView:
    """One state of the grid and its sensitivities to what peers feed in.

    Args:
        network: the network.
        state: a solution of it.
        bus: (n_peers,) positions of the peers' buses.
        model: whether sensitivities of flows and voltages are those of AC at the state, or lossless (PTDF).
    """

    def __init__(self, network: Network, state: GridState, bus: IntArray, model: FlowModel = FlowModel.PTDF) -> None:
        self.network = network
        self.state = state
        self.bus = bus
        self.model = model

    @property
    def n_peers(self) -> int:
        """Number of peers."""
        return len(self.bus)

    @cached_property
    def occupancy(self) -> FloatArray:
        """Loading as a share of the limit, (n_branch,)."""
        lines, trafos = self.network.lines, self.network.trafos
        loading = np.concatenate([self.state.line.loading_percent, self.state.trafo.loading_percent])
        share: FloatArray = loading / np.concatenate([lines.max_loading_percent, trafos.max_loading_percent])
        return share

    @cached_property
    def flow_mw(self) -> FloatArray:
        """Active power into the from end, (n_branch,)."""
        return np.concatenate([self.state.line.p_from_mw, self.state.trafo.p_from_mw])

    @cached_property
    def reactive_mvar(self) -> FloatArray:
        """Reactive power into the from end, (n_branch,)."""
        return np.concatenate([self.state.line.q_from_mvar, self.state.trafo.q_from_mvar])

    @cached_property
    def limit_mw(self) -> FloatArray:
        """Active flow at the limit, at the present voltage and reactive flow, (n_branch,)."""
        network = self.network
        q_mvar = self.reactive_mvar
        apparent = np.hypot(self.flow_mw, q_mvar)
        nominal = np.concatenate([network.line_capacity_mva(), network.trafo_capacity_mva()])
        flows = self.occupancy > 0.0
        capacity = np.divide(apparent, self.occupancy, out=nominal.copy(), where=flows)
        limit: FloatArray = np.sqrt(np.maximum(capacity**2 - q_mvar**2, 0.0))
        return limit

    @cached_property
    def _sensitivities(self) -> Sensitivities:
        return Sensitivities(self.network, self.state)

    def flow_by_mw(self, branches: IntArray) -> FloatArray:
        """Change of `flow_mw` per MW that a peer feeds in, (n_branches, n_peers)."""
        buses, place = np.unique(self.bus, return_inverse=True)
        if self.model is FlowModel.AC:
            found = self._sensitivities.p_from_mw(branches, buses).by_p_mw
        else:
            found = ptdf(self.network, branches, buses)
        flow: FloatArray = found[:, place]
        return flow

    def flow_by_mvar(self, branches: IntArray) -> FloatArray:
        """Change of `flow_mw` per Mvar that a peer feeds in, (n_branches, n_peers); AC."""
        buses, place = np.unique(self.bus, return_inverse=True)
        flow: FloatArray = self._sensitivities.p_from_mw(branches, buses).by_q_mvar[:, place]
        return flow

    def reactive_flow_by(self, branches: IntArray, mvar_per_mw: FloatArray) -> FloatArray:
        """Change of the reactive flow per MW that a peer feeds in with (n_peers,) Mvar, (n_branches, n_peers); AC."""
        buses, place = np.unique(self.bus, return_inverse=True)
        found = self._sensitivities.q_from_mvar(branches, buses)
        flow: FloatArray = found.by_p_mw[:, place] + found.by_q_mvar[:, place] * mvar_per_mw
        return flow

    def vm_by_mvar(self, buses: IntArray) -> FloatArray:
        """Change of voltages per Mvar that a peer feeds in, (n_buses, n_peers), pu; AC."""
        at, place = np.unique(self.bus, return_inverse=True)
        voltage: FloatArray = self._sensitivities.vm_pu(buses, at).by_q_mvar[:, place]
        return voltage

    def vm_by_mw(self, buses: IntArray) -> FloatArray:
        """Change of voltages per MW that a peer feeds in, (n_buses, n_peers), pu."""
        at, place = np.unique(self.bus, return_inverse=True)
        if self.model is FlowModel.AC:
            found = self._sensitivities.vm_pu(buses, at).by_p_mw
        else:
            found = np.nan_to_num(nodal_impedance(self.network, buses, at).real)
        voltage: FloatArray = found[:, place]
        return voltage

    @cached_property
    def losses_by_mw(self) -> FloatArray:
        """Change of the losses per MW that a peer feeds in, at the state, (n_peers,)."""
        buses, place = np.unique(self.bus, return_inverse=True)
        losses: FloatArray = self._sensitivities.losses_mw(buses).by_p_mw[0, place]
        return losses

    @cached_property
    def distance_pu(self) -> FloatArray:
        """Electrical (Thevenin) distance between peers, (n_peers, n_peers), pu of 1 MVA."""
        buses, place = np.unique(self.bus, return_inverse=True)
        distance: FloatArray = np.abs(thevenin_distance(self.network, buses, buses))[np.ix_(place, place)]
        return distance
