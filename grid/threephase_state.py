"""What a grid does at one moment, phase by phase: voltages, currents, losses, unbalance.

Signs are those of `GridState`. Columns of arrays of shape (n, 3) are the phases a, b, c.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from peerwatt.grid.admittance import Bools, Floats
from peerwatt.grid.threephase_network import ThreePhaseNetwork, to_sequences

if TYPE_CHECKING:
    from pandapower import pandapowerNet

__all__ = ["PhaseBranchState", "PhaseViolations", "ThreePhaseState", "pvur_percent", "vuf_percent"]


def vuf_percent(vm_pu: Floats, va_degree: Floats) -> Floats:
    """Voltage unbalance factor: negative over positive sequence voltage (IEC 61000-4-30, IEC 61000-2-2).

    Args:
        vm_pu: (..., 3) phase-to-neutral voltage magnitudes.
        va_degree: (..., 3) their angles.

    Returns:
        (...,) percent.
    """
    voltage = np.asarray(vm_pu * np.exp(1j * np.radians(va_degree)), dtype=np.complex128)
    sequences = np.abs(to_sequences(voltage))
    result: Floats = 100.0 * sequences[..., 2] / sequences[..., 1]
    return result


def pvur_percent(vm_pu: Floats) -> Floats:
    """Phase voltage unbalance rate: largest deviation from the mean magnitude, over the mean (IEEE 141).

    Args:
        vm_pu: (..., 3) phase-to-neutral voltage magnitudes.

    Returns:
        (...,) percent.
    """
    mean = vm_pu.mean(axis=-1, keepdims=True)
    result: Floats = 100.0 * np.abs(vm_pu - mean).max(axis=-1) / mean[..., 0]
    return result


@dataclass(frozen=True, slots=True)
class PhaseBranchState:
    """Flows of the lines, or of the transformers; those of a batch have its rows as the first axis.

    Attributes:
        p_from_mw: (n, 3) active power that enters at the from (high-voltage) end.
        q_from_mvar: (n, 3) reactive power that enters there.
        i_ka: (n, 3) the larger current of both ends.
        loading_percent: (n, 3) current as a share of the rating; of a transformer the larger share of its
            two windings.
        pl_mw: (n,) active losses of the three phases together.
    """

    p_from_mw: Floats
    q_from_mvar: Floats
    i_ka: Floats
    loading_percent: Floats
    pl_mw: Floats

    @classmethod
    def unknown(cls, n: int) -> PhaseBranchState:
        """Flows of `n` branches when the power flow has no solution: all nan."""
        nan = np.full((n, 3), np.nan)
        return cls(nan, nan, nan, nan, nan[:, 0])

    @property
    def worst_loading_percent(self) -> Floats:
        """Loading of the phase that has the largest, (n,)."""
        worst: Floats = self.loading_percent.max(axis=-1)
        return worst


@dataclass(frozen=True, slots=True)
class PhaseViolations:
    """Which limits are exceeded.

    Attributes:
        line_mask: (n_line,) loading of the worst phase above the line's limit.
        trafo_mask: (n_trafo,) loading of the worst phase above the transformer's limit.
        low_voltage: (n_bus, 3) phase-to-neutral voltage below the bus's band.
        high_voltage: (n_bus, 3) phase-to-neutral voltage above the bus's band.
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
        """Number of buses with a phase outside their voltage band."""
        return int(np.count_nonzero((self.low_voltage | self.high_voltage).any(axis=1)))


@dataclass(frozen=True, slots=True)
class ThreePhaseState:
    """The solution of one three-phase power flow.

    When `converged` is False every number but the injections is nan. A bus that is out of service has a
    voltage of nan.

    Attributes:
        converged: whether the power flow has a solution.
        reason: why it has none, in the engine's words; empty when converged.
        vm_pu: (n_bus, 3) phase-to-neutral voltage, pu of the rated voltage over sqrt(3).
        va_degree: (n_bus, 3) its angle.
        p_mw: (n_bus, 3) net injection that was given.
        q_mvar: (n_bus, 3) net reactive injection that was given.
        line: flows of the lines.
        trafo: flows of the transformers.
        slack_p_mw: (3,) power drawn from the external grid.
        slack_q_mvar: (3,) reactive power drawn from the external grid.
        losses_mw: active losses of all branches and of bus shunts; sum of injections + slack = losses.
    """

    converged: bool
    reason: str
    vm_pu: Floats
    va_degree: Floats
    p_mw: Floats
    q_mvar: Floats
    line: PhaseBranchState
    trafo: PhaseBranchState
    slack_p_mw: Floats
    slack_q_mvar: Floats
    losses_mw: float

    @classmethod
    def failed(cls, network: ThreePhaseNetwork, p_mw: Floats, q_mvar: Floats, reason: str) -> ThreePhaseState:
        """The state of a grid whose power flow has no solution.

        Args:
            network: the network.
            p_mw: (n_bus, 3) net injection.
            q_mvar: (n_bus, 3) net reactive injection.
            reason: why, in the engine's words.
        """
        nan = np.full((network.n_bus, 3), np.nan)
        line = PhaseBranchState.unknown(len(network.lines))
        trafo = PhaseBranchState.unknown(len(network.trafos))
        numbers = (nan, nan, p_mw, q_mvar, line, trafo, np.full(3, np.nan), np.full(3, np.nan), np.nan)
        return cls(False, reason, *numbers)  # noqa: FBT003

    @property
    def vuf_percent(self) -> Floats:
        """Voltage unbalance factor of every bus, (n_bus,)."""
        return vuf_percent(self.vm_pu, self.va_degree)

    @property
    def pvur_percent(self) -> Floats:
        """Phase voltage unbalance rate of every bus, (n_bus,)."""
        return pvur_percent(self.vm_pu)

    def violations(self, network: ThreePhaseNetwork) -> PhaseViolations:
        """Which limits of `network` this state exceeds; none when the power flow has no solution."""
        buses = network.buses
        return PhaseViolations(
            line_mask=self.line.worst_loading_percent > network.lines.max_loading_percent,
            trafo_mask=self.trafo.worst_loading_percent > network.trafos.max_loading_percent,
            low_voltage=self.vm_pu < buses.min_vm_pu[:, None],
            high_voltage=self.vm_pu > buses.max_vm_pu[:, None],
        )

    def to_pandapower(self, network: ThreePhaseNetwork) -> pandapowerNet:
        """The network that this state is of, with pandapower's `res_*_3ph` tables filled from it.

        Raises:
            PowerFlowError: the power flow has no solution.
        """
        from peerwatt.grid.threephase_result import to_pandapower

        return to_pandapower(self, network)
