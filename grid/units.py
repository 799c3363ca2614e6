"""What is connected to the grid: loads, generators, batteries.

A unit's power at a moment is its scale times the value of its column of the case's `TimeSeries`. Scales are
signed: positive feeds into the grid, so a load's scale is negative. Batteries have scale 0, because what they
do is an agent's decision.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from peerwatt.grid.admittance import Floats, Ints, freeze

__all__ = ["CONSTANT", "Units"]

CONSTANT = -1
"""Column number of a unit whose power does not change: its series is 1 at all times."""


@dataclass(frozen=True, slots=True)
class Units:
    """Units as a structure of arrays, all of length n_unit.

    Attributes:
        name: unique names.
        table: pandapower's table: `load`, `sgen`, `storage` or `gen`.
        index: (n_unit,) pandapower index within the table.
        kind: `household`, `commercial`, `agriculture`, `industry`, `aggregate`, `heat_pump`, `ev`, `pv`,
            `wind`, `generator` or `battery`.
        bus: (n_unit,) position of the unit's bus in the network.
        p_column: (n_unit,) column of the time series that scales the active power, or `CONSTANT`.
        q_column: (n_unit,) column that scales the reactive power, or `CONSTANT`.
        p_scale_mw: (n_unit,) active power where the series is 1, positive into the grid.
        q_scale_mvar: (n_unit,) reactive power where the series is 1, positive into the grid; 0 of a `gen`, whose
            reactive power is what its voltage takes.
        p_mw: (n_unit,) rated active power, never negative.
        sn_mva: (n_unit,) rated apparent power; the rated active power where the network gives none.
        e_mwh: (n_unit,) usable energy of a battery, 0 for others.
        p_max_mw: (n_unit,) power limit of a battery in both directions, 0 for others.
        efficiency: (n_unit,) round-trip efficiency of a battery, 0 to 1; 1 for others.
        self_discharge_per_day: (n_unit,) share of its energy that a battery loses in a day.
        soc: (n_unit,) share of its usable energy that a battery holds at the start.
    """

    name: tuple[str, ...]
    table: tuple[str, ...]
    index: Ints
    kind: tuple[str, ...]
    bus: Ints
    p_column: Ints
    q_column: Ints
    p_scale_mw: Floats
    q_scale_mvar: Floats
    p_mw: Floats
    sn_mva: Floats
    e_mwh: Floats
    p_max_mw: Floats
    efficiency: Floats
    self_discharge_per_day: Floats
    soc: Floats

    def __post_init__(self) -> None:
        freeze(self)

    def __len__(self) -> int:
        return len(self.name)

    def power(self, values: Floats) -> tuple[Floats, Floats]:
        """Power of every unit.

        Args:
            values: (n_periods, n_columns) window of the case's time series.

        Returns:
            p_mw and q_mvar, (n_periods, n_unit), positive into the grid.
        """
        return (
            _scaled(values, self.p_column, self.p_scale_mw),
            _scaled(values, self.q_column, self.q_scale_mvar),
        )

    def injection(self, values: Floats, n_bus: int) -> tuple[Floats, Floats]:
        """Net injection of the units at every bus.

        Args:
            values: (n_periods, n_columns) window of the case's time series.
            n_bus: number of buses of the network.

        Returns:
            p_mw and q_mvar, (n_periods, n_bus), positive into the grid.
        """
        p_mw, q_mvar = self.power(values)
        return _by_bus(p_mw, self.bus, n_bus), _by_bus(q_mvar, self.bus, n_bus)


def _scaled(values: Floats, columns: Ints, scale: Floats) -> Floats:
    power = np.broadcast_to(scale, (len(values), len(scale))).copy()
    varying = columns != CONSTANT
    power[:, varying] *= values[:, columns[varying]]
    return power


def _by_bus(power: Floats, bus: Ints, n_bus: int) -> Floats:
    injection = np.zeros((len(power), n_bus))
    np.add.at(injection.T, bus, power.T)
    return injection
