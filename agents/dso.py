"""The distribution system operator: sees the grid, and tells each peer of its own connection point.

It evaluates the grid three times per period: before any trade (`forecast`), with the traded schedule (`p2p`) and
with what the meters say (`delivery`). It knows of trades their quantities only.
"""

from __future__ import annotations

from itertools import count

import numpy as np
from mesa import Model

from peerwatt.agents.context import DSO, SUPPLIER, Context, Process, Role
from peerwatt.agents.correspondence import write_peers
from peerwatt.agents.messages import ConnectionState, FloatArray, MeterReadings, ProposedTrades
from peerwatt.grid.paths import SlackPaths
from peerwatt.grid.state import GridState

__all__ = ["Dso"]


class Dso(Role):
    """Runs the power flow at each stage and hands the state back to who is concerned.

    Args:
        model: the Mesa model.
        context: what it can reach.
    """

    def __init__(self, model: Model, context: Context) -> None:
        super().__init__(model, context, DSO)
        self._paths: dict[int, SlackPaths] = {}

    def run(self) -> Process:
        """Three looks at the grid per period."""
        context = self.context
        for period in count():
            start_s = period * context.period_s
            yield context.clock.until(start_s)
            now = context.now
            firm_extra = now.position.usual_mw - now.position.firm_mw
            self._evaluate("forecast", *now.forecast.net(now.battery_mw, firm_extra))
            yield context.clock.until(start_s + context.gates.check_s)
            change = self._proposed_change()
            self._evaluate("p2p", *now.forecast.net(now.battery_mw, firm_extra - change))
            yield context.clock.until(start_s + context.gates.delivery_s)
            self._deliver(firm_extra)

    def _deliver(self, firm_extra: FloatArray) -> None:
        context, now = self.context, self.context.now
        now.p_followed_mw = context.population.p_change_mw.copy()
        now.p_delivered_mw, now.q_delivered_mvar = now.realised.net(now.battery_mw, firm_extra - now.p_followed_mw)
        state = self._evaluate("delivery", now.p_delivered_mw, now.q_delivered_mvar)
        if state.converged:
            write_peers(context, ConnectionState, self.name, self._measured(state))
        context.bus.send((MeterReadings(self.name, SUPPLIER, now.period, now.p_delivered_mw, state.losses_mw),))

    def _measured(self, state: GridState) -> tuple[FloatArray, FloatArray]:
        """Voltage at each peer's connection point and highest loading on its way, as measured, (n_peers,)."""
        context, bus = self.context, self.context.population.bus
        network = context.network
        if id(network) not in self._paths:
            self._paths[id(network)] = SlackPaths(network)
        paths = self._paths[id(network)]
        vm_pu, loading = state.vm_pu[bus], paths.highest_loading_percent(state)[bus]
        if context.noise.vm_pu or context.noise.loading_percent:
            error = context.random("measurement noise").standard_normal((2, len(bus)))
            vm_pu = vm_pu + context.noise.vm_pu * error[0]
            loading = np.maximum(loading + context.noise.loading_percent * error[1], 0.0)
        return vm_pu, loading

    def _proposed_change(self) -> FloatArray:
        """What the market has told; nothing changes where it has not."""
        now = self.context.now
        for message in self.inbox.take():
            if type(message) is ProposedTrades and message.period == now.period:
                return message.p_change_mw
        return np.zeros(len(self.context.population))

    def _evaluate(self, stage: str, p_mw: FloatArray, q_mvar: FloatArray) -> GridState:
        context = self.context
        n_bus, population = context.network.n_bus, context.population
        at_p, at_q = population.at_buses(p_mw, n_bus), population.at_buses(q_mvar, n_bus)
        with context.spend("power flow"):
            state = context.engine.solve(at_p, at_q)
        context.now.states[stage] = state
        context.on_state(stage, state)
        return state
