"""What the grid does at one moment: voltages, flows, losses, violated limits.

Signs: power is positive when fed into the grid. A branch's `p_from_mw` is the power that enters it at its
from (high-voltage) end; `slack_p_mw` is positive when the grid draws from the external grid.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from peerwatt.grid.admittance import Bools, Floats
from peerwatt.grid.network import Network

if TYPE_CHECKING:
    from pandapower import pandapowerNet

__all__ = ["BranchState", "GridState", "Violations", "exceeded"]


@dataclass(frozen=True, slots=True)
class BranchState:
    """Flows of the lines, or of the transformers.

    Attributes:
        p_from_mw: (n,) active power that enters at the from (high-voltage) end.
        q_from_mvar: (n,) reactive power that enters there.
        i_ka: (n,) the larger current of both ends, at the voltage of that end.
        loading_percent: (n,) current as a share of the rating; of a transformer the larger share of its
            two windings.
        pl_mw: (n,) active losses.
    """

    p_from_mw: Floats
    q_from_mvar: Floats
    i_ka: Floats
    loading_percent: Floats
    pl_mw: Floats

    @classmethod
    def unknown(cls, n: int) -> BranchState:
        """Flows of `n` branches when the power flow has no solution: all nan."""
        nan = np.full(n, np.nan)
        return cls(nan, nan, nan, nan, nan)


@dataclass(frozen=True, slots=True)
class Violations:
    """Which limits are exceeded.

    Attributes:
        line_mask: (n_line,) loading above the line's limit.
        trafo_mask: (n_trafo,) loading above the transformer's limit.
        low_voltage: (n_bus,) voltage below the bus's band.
        high_voltage: (n_bus,) voltage above the bus's band.
    """

    line_mask: Bools
    trafo_mask: Bools
    low_voltage: Bools
    high_voltage: Bools

    @property
    def n_congested(self) -> int:
        """Number of lines and transformers above their limit."""
        return int(np.count_nonzero(self.line_mask)) + int(np.count_nonzero(self.trafo_mask))

    @property
    def n_voltage(self) -> int:
        """Number of buses outside their voltage band."""
        return int(np.count_nonzero(self.low_voltage)) + int(np.count_nonzero(self.high_voltage))


@dataclass(frozen=True, slots=True)
class GridState:
    """The solution of one power flow.

    When `converged` is False every number but the injections is nan. A bus that is out of service has a
    voltage of nan.

    The injections are those that were given, at 1 pu where they depend on the voltage, so that the power flow can be
    repeated from them; `injected` is what they are at the voltage that they have. Where a generator holds the voltage
    `q_mvar` has its reactive power as solved besides what was given.

    Attributes:
        converged: whether the power flow has a solution.
        reason: why it has none, in the engine's words; empty when converged.
        vm_pu: (n_bus,) voltage magnitude.
        va_degree: (n_bus,) voltage angle.
        p_mw: (n_bus,) net injection that was given, at 1 pu.
        q_mvar: (n_bus,) net reactive injection at 1 pu, with that of generators which hold a voltage.
        line: flows of the lines.
        trafo: flows of the transformers.
        slack_p_mw: power drawn from all external grids.
        slack_q_mvar: reactive power drawn from all external grids.
        losses_mw: active losses of all branches and of bus shunts; sum of what is injected + slack = losses.
    """

    converged: bool
    reason: str
    vm_pu: Floats
    va_degree: Floats
    p_mw: Floats
    q_mvar: Floats
    line: BranchState
    trafo: BranchState
    slack_p_mw: float
    slack_q_mvar: float
    losses_mw: float

    @classmethod
    def failed(cls, network: Network, p_mw: Floats, q_mvar: Floats, reason: str) -> GridState:
        """The state of a grid whose power flow has no solution.

        Args:
            network: the network.
            p_mw: (n_bus,) net injection.
            q_mvar: (n_bus,) net reactive injection.
            reason: why, in the engine's words.
        """
        nan = np.full(network.n_bus, np.nan)
        line, trafo = BranchState.unknown(network.n_line), BranchState.unknown(network.n_trafo)
        numbers = (nan, nan, p_mw, q_mvar, line, trafo, np.nan, np.nan, np.nan)
        return cls(False, reason, *numbers)  # noqa: FBT003

    def injected(self, network: Network) -> tuple[Floats, Floats]:
        """Net injections at the voltages of this state, (n_bus,) MW and Mvar; see `VoltageDependence`."""
        return network.injected(self.p_mw, self.q_mvar, self.vm_pu)

    def violations(self, network: Network) -> Violations:
        """Which limits of `network` this state exceeds; none when the power flow has no solution."""
        return Violations(*exceeded(network, self.line, self.trafo, self.vm_pu))

    def occupancy(self, network: Network) -> tuple[Floats, Floats]:
        """Loading of each line and each transformer as a share of its limit, (n_line,) and (n_trafo,)."""
        return (
            self.line.loading_percent / network.lines.max_loading_percent,
            self.trafo.loading_percent / network.trafos.max_loading_percent,
        )

    def overflow_mw(self, network: Network) -> tuple[Floats, Floats]:
        """Flow above the limit of each branch.

        The share of the active power at the from end that would have to go for the loading to fall to its
        limit at an unchanged voltage and power factor: |p| (loading - limit) / loading.

        Returns:
            (n_line,) and (n_trafo,), MW; 0 where a branch is within its limit or nothing is known.
        """
        return (
            _overflow_mw(self.line, network.lines.max_loading_percent),
            _overflow_mw(self.trafo, network.trafos.max_loading_percent),
        )

    def overflow_sum_mw(self, network: Network) -> float:
        """Flow above the limit, summed over congested lines and transformers, MW."""
        line, trafo = self.overflow_mw(network)
        return float(line.sum() + trafo.sum())

    def overflow_weighted_mean(self, network: Network) -> float:
        """Mean of (loading - limit) over congested branches, weighted by their capacity, percent.

        The capacity of a branch is its apparent power at its limit. 0 when nothing is congested.
        """
        lines, trafos = network.lines, network.trafos
        excess = (
            np.nan_to_num(np.maximum(branch.loading_percent - limit, 0.0))
            for branch, limit in ((self.line, lines.max_loading_percent), (self.trafo, trafos.max_loading_percent))
        )
        return _weighted_mean(network, *excess)

    def overflow_weighted_mw(self, network: Network) -> float:
        """Mean of `overflow_mw` over congested branches, weighted by their capacity, MW (D5.3, Tables 7 and 8).

        The capacity of a branch is its apparent power at its limit. 0 when nothing is congested.
        """
        return _weighted_mean(network, *self.overflow_mw(network))

    def to_pandapower(self, network: Network) -> pandapowerNet:
        """The network that this state is of, with pandapower's result tables filled from it.

        Raises:
            PowerFlowError: the power flow has no solution.
        """
        from peerwatt.grid.pandapower_result import to_pandapower

        return to_pandapower(self, network)


def exceeded(
    network: Network, line: BranchState, trafo: BranchState, vm_pu: Floats
) -> tuple[Bools, Bools, Bools, Bools]:
    """Where limits are exceeded, as `Violations` has it, of one state or of many rows; nowhere where values are nan.

    Args:
        network: whose limits.
        line: flows of the lines, arrays of (..., n_line).
        trafo: flows of the transformers, arrays of (..., n_trafo).
        vm_pu: (..., n_bus) voltage magnitudes.

    Returns:
        (..., n_line), (..., n_trafo), and low and high voltage, (..., n_bus).
    """
    return (
        line.loading_percent > network.lines.max_loading_percent,
        trafo.loading_percent > network.trafos.max_loading_percent,
        vm_pu < network.buses.min_vm_pu,
        vm_pu > network.buses.max_vm_pu,
    )


def _weighted_mean(network: Network, line: Floats, trafo: Floats) -> float:
    """Mean of what is above 0, (n_line,) and (n_trafo,), weighted by the branches' capacity; 0 where nothing is."""
    weight = total = 0.0
    for excess, capacity in ((line, network.line_capacity_mva), (trafo, network.trafo_capacity_mva)):
        mask = excess > 0.0
        if mask.any():
            share = capacity()[mask]
            weight += float(share.sum())
            total += float(share @ excess[mask])
    return total / weight if weight > 0.0 else 0.0


def _overflow_mw(branch: BranchState, limit: Floats) -> Floats:
    loading = branch.loading_percent
    overflow = np.zeros(len(loading))
    mask = loading > limit
    if mask.any():
        share = 1.0 - limit[mask] / loading[mask]
        overflow[mask] = np.abs(branch.p_from_mw[mask]) * share
    return overflow
