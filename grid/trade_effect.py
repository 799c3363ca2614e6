"""What a trade does to the grid: the effect of 1 MW sold from bus i to bus j.

Bus i feeds in 1 MW more and bus j takes 1 MW more, the external grid takes up what losses change:

    effect on y = dy/dP_i - dy/dP_j

Blocking and incentives need its direction: a trade that raises the flow of a line in the direction in which
the line flows now harms, one that lowers it helps.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

import numpy as np
import numpy.typing as npt

from peerwatt.errors import Fault, GridDataError
from peerwatt.grid.admittance import Bools, Floats, Ints, freeze
from peerwatt.grid.distance import nodal_impedance
from peerwatt.grid.network import Network
from peerwatt.grid.ptdf import ptdf
from peerwatt.grid.selection import select_branches, select_buses
from peerwatt.grid.sensitivity import Sensitivities
from peerwatt.grid.state import GridState

__all__ = ["FlowModel", "TradeEffect", "trade_effect"]


_IDLE_MW = 1e-9  # below this a flow is noise of the solver


class FlowModel(Enum):
    """Where the derivatives come from.

    Attributes:
        AC: from the Jacobian at the state.
        PTDF: no losses, 1 pu, reactive power unchanged; from the topology and the impedances.
    """

    AC = "ac"
    PTDF = "ptdf"


@dataclass(frozen=True, slots=True)
class TradeEffect:
    """Effects of trades, per MW.

    Attributes:
        flow_mw: (n_branches, n_pairs) change of `p_from_mw`.
        along_mw: (n_branches, n_pairs) the same in the direction in which the branch flows now: above 0 the
            trade raises the flow. Where nothing flows any trade does.
        loading_percent: (n_branches, n_pairs) change of the loading.
        vm_pu: (n_buses, n_pairs) change of the voltage.
    """

    flow_mw: Floats
    along_mw: Floats
    loading_percent: Floats
    vm_pu: Floats

    def __post_init__(self) -> None:
        freeze(self)

    def harms(self, threshold_mw: float = 1e-6) -> Bools:
        """Which trades raise which flows by more than `threshold_mw` per MW, (n_branches, n_pairs)."""
        return self.along_mw > threshold_mw

    def helps(self, threshold_mw: float = 1e-6) -> Bools:
        """Which trades lower which flows by more than `threshold_mw` per MW, (n_branches, n_pairs)."""
        return self.along_mw < -threshold_mw


def trade_effect(
    network: Network,
    state: GridState,
    seller: npt.ArrayLike,
    buyer: npt.ArrayLike,
    *,
    branches: npt.ArrayLike | None = None,
    buses: npt.ArrayLike | None = None,
    model: FlowModel = FlowModel.AC,
) -> TradeEffect:
    """Effect of 1 MW sold from one bus to another, for many pairs at once.

    Args:
        network: the network.
        state: what it does now.
        seller: (n_pairs,) positions of the buses that sell.
        buyer: (n_pairs,) positions of the buses that buy.
        branches: whose flows count: positions (lines, then transformers from `n_line`) or a mask; all by default.
        buses: whose voltages count; all by default.
        model: where the derivatives come from.

    Raises:
        PowerFlowError: the state has no solution.
        GridDataError: a position does not exist, or sellers and buyers are not as many.
    """
    sells, buys = select_buses(network, seller), select_buses(network, buyer)
    if len(sells) != len(buys):
        where = f"network {network.name}: trades"
        raise GridDataError(Fault(where, f"{len(sells)} sellers and {len(buys)} buyers", "give one of each per pair"))
    rows, at_bus = select_branches(network, branches), select_buses(network, buses)
    parties, place = np.unique(np.concatenate([sells, buys]), return_inverse=True)
    i, j = place[: len(sells)], place[len(sells) :]
    derivatives = _by_jacobian if model is FlowModel.AC else _by_ptdf
    flow, loading, vm = (d[:, i] - d[:, j] for d in derivatives(network, state, rows, at_bus, parties))
    now = _rated(state.line.p_from_mw, state.trafo.p_from_mw)[rows][:, None]
    along = np.where(np.abs(now) > _IDLE_MW, np.sign(now) * flow, np.abs(flow))
    return TradeEffect(flow, along, loading, vm)


def _by_jacobian(
    network: Network, state: GridState, rows: Ints, at_bus: Ints, parties: Ints
) -> tuple[Floats, Floats, Floats]:
    found = Sensitivities(network, state)
    return (
        found.p_from_mw(rows, parties).by_p_mw,
        found.loading_percent(rows, parties).by_p_mw,
        found.vm_pu(at_bus, parties).by_p_mw,
    )


def _by_ptdf(
    network: Network, state: GridState, rows: Ints, at_bus: Ints, parties: Ints
) -> tuple[Floats, Floats, Floats]:
    """Loading follows |S| at the present voltage and reactive power; voltage is the real part of Z at 1 pu."""
    flow = ptdf(network, rows, parties)
    p = _rated(state.line.p_from_mw, state.trafo.p_from_mw)[rows]
    q = _rated(state.line.q_from_mvar, state.trafo.q_from_mvar)[rows]
    loading = _rated(state.line.loading_percent, state.trafo.loading_percent)[rows]
    square = p**2 + q**2
    slope = np.divide(loading * p, square, out=np.zeros(len(rows)), where=square > 0.0)
    return flow, slope[:, None] * flow, np.nan_to_num(nodal_impedance(network, at_bus, parties).real)


def _rated(line: Floats, trafo: Floats) -> Floats:
    return np.concatenate([line, trafo])
