"""Which grid, measurements and messages a run has in which period, as its events have it.

Every network that a run will need is built before it starts, none inside the period loop.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import numpy as np

from peerwatt.agents.context import Noise
from peerwatt.agents.messages import BoolArray
from peerwatt.errors import Fault, GridDataError
from peerwatt.grid.disturbance import without_lines
from peerwatt.grid.engine import Engine, make_engine
from peerwatt.grid.network import Network
from peerwatt.grid.tap import with_tap_position
from peerwatt.sim.events import Event, LineOutage, MeasurementNoise, MessageLoss, TapStuck

__all__ = ["Condition", "Timeline"]


@dataclass(frozen=True, slots=True)
class Condition:
    """The grid as it is in a period.

    Attributes:
        network, engine: the network and what solves it.
        supplied: (n_bus,) which buses have a way to an external grid.
        noise: errors of measurements.
        loss: least share of messages to and from peers that are lost.
    """

    network: Network
    engine: Engine
    supplied: BoolArray
    noise: Noise
    loss: float


class Timeline:
    """Which condition holds in which period; built before the run.

    Args:
        events: what happens.
        network: the undisturbed network.
        engine: name of the engine.
        start: begin of the first period.
        periods: their number.
        period_s: their length.

    Raises:
        GridDataError: an event names what the network does not have; all faults at once.
    """

    def __init__(
        self,
        events: Sequence[Event],
        network: Network,
        engine: str,
        start: datetime,
        periods: int,
        period_s: int,
    ) -> None:
        self._engine = engine
        self._network = network
        self._built: dict[tuple[int, ...], Condition] = {(): self._build([])}
        step = timedelta(seconds=period_s)
        self._of_period = [
            tuple(i for i, event in enumerate(events) if event.acts(start + period * step))
            for period in range(periods if events else 0)
        ]
        faults: list[Fault] = []
        for number, event in enumerate(events):  # each alone, so that every fault is found
            try:
                self._changed([event])
            except GridDataError as error:
                faults += [replace(fault, where=f"events.{number}: {fault.where}") for fault in error.faults]
        if faults:
            raise GridDataError(faults)
        for chosen in dict.fromkeys(self._of_period):
            self._built[chosen] = self._build([events[i] for i in chosen])

    def at(self, period: int) -> Condition:
        """The condition of a period."""
        return self._built[self._of_period[period] if self._of_period else ()]

    def _build(self, events: Sequence[Event]) -> Condition:
        network = self._changed(events)
        noise = Noise()
        for event in events:
            if isinstance(event, MeasurementNoise):
                noise = Noise(event.vm_pu, event.loading_percent)
        supplied = np.asarray(network.admittances.bus_node >= 0)
        loss = max((event.loss for event in events if isinstance(event, MessageLoss)), default=0.0)
        return Condition(network, make_engine(self._engine, network, "grid.engine"), supplied, noise, loss)

    def _changed(self, events: Sequence[Event]) -> Network:
        """The network with everything that has happened to it."""
        network = self._network
        for event in events:
            if isinstance(event, TapStuck):
                network = with_tap_position(network, event.trafo, event.tap_pos, event.changer)
        out = [event.line for event in events if isinstance(event, LineOutage)]
        return without_lines(network, out) if out else network
