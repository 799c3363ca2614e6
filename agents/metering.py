"""What the DSO measures: power as it depends on the voltage, and the state at connection points, with errors."""

from __future__ import annotations

import numpy as np

from peerwatt.agents.context import Context
from peerwatt.agents.messages import FloatArray
from peerwatt.grid.paths import SlackPaths
from peerwatt.grid.state import GridState

__all__ = ["Meters", "at_voltage"]


def at_voltage(context: Context, state: GridState) -> tuple[FloatArray, FloatArray]:
    """Delivered power of every peer, as what loads draw depends on the voltage where the network says so (ZIP).

    Args:
        context: the run, with what is delivered at 1 pu.
        state: the grid at delivery.

    Returns:
        MW and Mvar, (n_peers,) each.
    """
    now, dependence = context.now, context.network.voltage_dependence
    if dependence is None:
        return now.p_delivered_mw, now.q_delivered_mvar
    p_factor, q_factor = (factor[context.population.bus] for factor in dependence.factors(state.vm_pu))
    return now.p_delivered_mw * p_factor, now.q_delivered_mvar * q_factor


class Meters:
    """Measures at the peers' connection points.

    Args:
        context: the run.
    """

    def __init__(self, context: Context) -> None:
        self._context = context
        self._paths: dict[int, SlackPaths] = {}

    def at_connections(self, state: GridState) -> tuple[FloatArray, FloatArray]:
        """Voltage at each peer's connection point and highest loading on its way, as measured, (n_peers,)."""
        context, bus = self._context, self._context.population.bus
        network = context.network
        if id(network) not in self._paths:
            self._paths[id(network)] = SlackPaths(network)
        vm_pu, loading = state.vm_pu[bus], self._paths[id(network)].highest_loading_percent(state)[bus]
        if context.noise.vm_pu or context.noise.loading_percent:
            error = context.random("measurement noise").standard_normal((2, len(bus)))
            vm_pu = vm_pu + context.noise.vm_pu * error[0]
            loading = np.maximum(loading + context.noise.loading_percent * error[1], 0.0)
        return vm_pu, loading
