"""What happens in all periods of all replicas, and what their peers expect, before anybody trades.

None of it depends on trades: profiles and forecast errors are given, and a battery follows its own peer's forecast.
What `peerwatt.sim.period.open_period` does for one period of one replica is done here for all of them. Arrays are flat,
of shape (n_replicas * n_periods * n_peers,) in that order.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from operator import attrgetter
from typing import Any, TypeVar

import numpy as np

from peerwatt.agents.context import PeriodDraft
from peerwatt.agents.devices import Batteries, Outlook
from peerwatt.agents.flexibility import Position
from peerwatt.agents.messages import BoolArray, FloatArray
from peerwatt.grid.forecast import ErrorModel, ForecastErrors
from peerwatt.sim.lockstep.members import Member
from peerwatt.sim.scenario import Scenario

__all__ = ["Ahead", "Shape", "look_ahead"]


@dataclass(frozen=True, slots=True)
class Shape:
    """How many there are of what, and where each is in a flat array."""

    n_replicas: int
    n_periods: int
    n_peers: int

    @property
    def size(self) -> int:
        """Length of a flat array."""
        return self.n_replicas * self.n_periods * self.n_peers

    @property
    def n_rows(self) -> int:
        """Periods of all replicas."""
        return self.n_replicas * self.n_periods

    @property
    def cube(self) -> tuple[int, int, int]:
        """The shape of a flat array with its axes apart."""
        return self.n_replicas, self.n_periods, self.n_peers

    def of(self, replica: int, period: int) -> slice:
        """Where a period of a replica is."""
        first = (replica * self.n_periods + period) * self.n_peers
        return slice(first, first + self.n_peers)


@dataclass(frozen=True, slots=True)
class Ahead:
    """What is known before trading.

    Attributes:
        shape: of the arrays.
        realised: what happens.
        forecast: what the peers expect.
        battery_mw: dispatch of the batteries, positive when discharging.
        soc_mwh: energy in the batteries at the begin of the period.
        soc_after_mwh: energy in them at its end.
        position: what the peers bring to the market.
    """

    shape: Shape
    realised: Outlook
    forecast: Outlook
    battery_mw: FloatArray
    soc_mwh: FloatArray
    soc_after_mwh: FloatArray
    position: Position

    def draft(self, replica: int, period: int) -> PeriodDraft:
        """A period of a replica as its agents see it; arrays are views, and nothing is traded yet."""
        own = self.shape.of(replica, period)
        nothing = np.zeros(self.shape.n_peers)
        return PeriodDraft(
            period=period,
            forecast=_part(self.forecast, _OUTLOOK, own),
            realised=_part(self.realised, _OUTLOOK, own),
            battery_mw=self.battery_mw[own],
            position=_part(self.position, _POSITION, own),
            p_traded_mw=nothing,
            p_change_mw=nothing,
            p_followed_mw=nothing,
            p_delivered_mw=nothing,
            q_delivered_mvar=nothing,
        )

    def positions(self, period: int) -> Position:
        """What the peers of all replicas bring to the market of a period, (n_replicas * n_peers,)."""
        cube = self.shape.cube
        columns: tuple[Any, ...] = _POSITION(self.position)
        return Position(*[values.reshape(cube)[:, period].ravel() for values in columns])


_OUTLOOK = attrgetter(*(field.name for field in fields(Outlook)))
_POSITION = attrgetter(*(field.name for field in fields(Position)))
Part = TypeVar("Part", Outlook, Position)


def _part(whole: Part, columns: Callable[[Part], tuple[Any, ...]], own: slice) -> Part:
    return type(whole)(*[values[own] for values in columns(whole)])


def look_ahead(scenario: Scenario, members: list[Member], profiles: list[FloatArray], supplied: BoolArray) -> Ahead:
    """Work out everything that does not depend on trades.

    Args:
        scenario: what is simulated.
        members: the replicas.
        profiles: (n_periods, n_columns) values of the profiles of each.
        supplied: (n_bus,) which buses have a way to an external grid.
    """
    shape = Shape(len(members), len(profiles[0]), len(members[0].population))
    blocks = np.stack([member.population.outlooks(own) for member, own in zip(members, profiles, strict=True)], axis=1)
    there = np.stack([supplied[member.population.bus] for member in members])[:, None]  # (n_replicas, 1, n_peers)
    everywhere = np.broadcast_to(there, shape.cube).ravel()
    realised = Outlook(*blocks.reshape(len(blocks), shape.size)).scaled(everywhere, everywhere)
    forecast = realised.scaled(
        _factors(shape, members, "load forecast", scenario.forecast.load(), scenario.time.period_s),
        _factors(shape, members, "generation forecast", scenario.forecast.generation(), scenario.time.period_s),
    )
    usual = forecast.load_mw + forecast.generation_mw
    period_h = scenario.time.period_s / 3600.0
    batteries, return_h = _joined([member.population.batteries for member in members]), members[0].population.return_h
    battery, soc, after = _dispatched(shape, batteries, usual, there, period_h, return_h)
    position = Position.of(usual + battery, forecast.band_mw, scenario.tariff)
    return Ahead(shape, realised, forecast, battery, soc, after, position)


def _factors(shape: Shape, members: list[Member], stream: str, model: ErrorModel, period_s: int) -> FloatArray:
    """Forecast over truth, flat; draws are those that each replica makes alone."""
    errors = ForecastErrors(model, shape.n_peers, [member.streams[stream] for member in members])
    return np.stack([errors.factors(period_s) for _ in range(shape.n_periods)], axis=1).ravel()


def _joined(batteries: list[Batteries]) -> Batteries:
    """The batteries of all replicas, one after the other."""
    return Batteries(*(np.concatenate([getattr(own, each.name) for own in batteries]) for each in fields(Batteries)))


def _dispatched(
    shape: Shape,
    batteries: Batteries,
    surplus_mw: FloatArray,
    there: BoolArray,
    period_h: float,
    return_h: float | None,
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Run the batteries through all periods: their power, and their energy at the begin and end of each, all flat.

    Args:
        shape: of flat arrays.
        batteries: those of all replicas, at the start.
        surplus_mw: generation less load, flat.
        there: (n_replicas, 1, n_peers) who has a way to an external grid.
        period_h: length of a period, h.
        return_h: see `Batteries.corridor`.
    """
    surplus, supplied, goal = surplus_mw.reshape(shape.cube), there.ravel(), batteries.soc_mwh.copy()
    power, soc, after = np.empty(shape.cube), np.empty(shape.cube), np.empty(shape.cube)
    each = (shape.n_replicas, shape.n_peers)
    for period in range(shape.n_periods):
        soc[:, period] = batteries.soc_mwh.reshape(each)
        corridor = batteries.corridor(goal, (shape.n_periods - period - 1) * period_h, return_h)
        own = np.where(supplied, batteries.dispatch(surplus[:, period].ravel(), period_h, corridor), 0.0)
        power[:, period] = own.reshape(each)
        batteries.apply(own, period_h)
        after[:, period] = batteries.soc_mwh.reshape(each)
    return power.ravel(), soc.ravel(), after.ravel()
