"""What a state of the grid leaves beyond its limits, of those that a DSO cares for, and which of two leaves less."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np

from peerwatt.grid.network import Network
from peerwatt.grid.state import GridState

__all__ = ["Shortfall"]


@dataclass(frozen=True, slots=True)
class Shortfall:
    """How far a state is beyond its limits; all NaN where the power flow has no solution.

    Attributes:
        mw: overflow, summed over lines and transformers.
        worst_pu: of the voltage that is farthest outside its band.
        sum_pu: of all voltages together.
    """

    mw: float
    worst_pu: float
    sum_pu: float

    @classmethod
    def of(cls, network: Network, state: GridState, *, congestion: bool, voltage: bool) -> Self:
        """Measure it.

        Args:
            network: the network.
            state: what it does.
            congestion: whether overloads count.
            voltage: whether voltages count.
        """
        if not state.converged:
            return cls(np.nan, np.nan, np.nan)
        buses = network.buses
        outside = np.maximum(state.vm_pu - buses.max_vm_pu, buses.min_vm_pu - state.vm_pu)
        outside = np.maximum(np.nan_to_num(outside), 0.0) if voltage else np.zeros(1)
        overflow = state.overflow_sum_mw(network) if congestion else 0.0
        return cls(overflow, float(outside.max(initial=0.0)), float(outside.sum()))

    def less_than(self, other: Shortfall) -> bool:
        """Whether less is left in some respect and more in none; what is not known is never less."""
        mine, others = ((each.mw, each.worst_pu, each.sum_pu) for each in (self, other))
        if np.isnan(mine).any():
            return False
        return bool(np.isnan(others).any() or (np.less_equal(mine, others).all() and np.less(mine, others).any()))
