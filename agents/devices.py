"""What peers own: loads, generators and batteries, as arrays over all peers.

The net power of peer n at period k, before it trades, is

    P_n = generation_n - load_n + battery_n

with the sign of the whole framework: positive when fed into the grid, so loads are negative numbers here.
Loads of kinds that respond to prices may *rise* by a share of their consumption (see `Flexibility`).
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Self

import numpy as np
from scipy.sparse import csr_array

from peerwatt.agents.messages import BoolArray, FloatArray, IntArray
from peerwatt.grid.series import TimeSeries

__all__ = ["CURTAIL", "N_PRODUCTS", "RAISE", "REDUCE", "Batteries", "Corridor", "MovedProfiles", "Outlook", "Units"]

N_BLOCKS = 6

REDUCE, CURTAIL, RAISE = range(3)
"""What devices can do for the DSO, by column: consume less, generate less, consume more."""

N_PRODUCTS = 3


@dataclass(frozen=True, slots=True)
class Outlook:
    """Injections of all peers in one period, before trading; each (n_peers,).

    Attributes:
        load_mw: loads, negative or zero.
        load_mvar: their reactive power.
        generation_mw: generators, positive or zero.
        generation_mvar: their reactive power.
        responsive_mw: the extra consumption that flexible loads could take on, negative or zero.
        responsive_mvar: the reactive power that would come with it.
    """

    load_mw: FloatArray
    load_mvar: FloatArray
    generation_mw: FloatArray
    generation_mvar: FloatArray
    responsive_mw: FloatArray
    responsive_mvar: FloatArray

    @property
    def band_mw(self) -> FloatArray:
        """By how much consumption could rise, positive."""
        return -self.responsive_mw

    def net(
        self, battery_mw: FloatArray, extra_mw: FloatArray, activated_mw: FloatArray | None = None
    ) -> tuple[FloatArray, FloatArray]:
        """Net active and reactive power with batteries, extra consumption and activations, each (n_peers,).

        Args:
            battery_mw: (n_peers,) positive when discharging.
            extra_mw: (n_peers,) consumption beyond the usual, positive; it has the power factor of the
                loads that respond, else that of all loads.
            activated_mw: (n_peers, n_products) what is done for the DSO, if anything; `possible` bounds it.
        """
        if activated_mw is None:
            activated_mw = np.zeros((len(extra_mw), N_PRODUCTS))
        less, curtailed, more = self.possible(activated_mw).T
        extra = extra_mw + more
        p_mw = self.load_mw + self.generation_mw + battery_mw - extra + less - curtailed
        by_less, by_curtailed, by_more = self.reactive_per_mw.T
        return p_mw, self.load_mvar + self.generation_mvar + less * by_less + curtailed * by_curtailed + extra * by_more

    @property
    def reactive_per_mw(self) -> FloatArray:
        """Reactive power that comes with each MW of each product, Mvar, (n_peers, n_products); as in `net`."""
        load, generation = _share(self.load_mvar, -self.load_mw), _share(self.generation_mvar, self.generation_mw)
        more = np.where(self.band_mw > 0.0, _share(self.responsive_mvar, self.band_mw), load)
        return np.stack((-load, -generation, more), axis=1)

    def at_buses(self, bus: IntArray, n_bus: int) -> Outlook:
        """The sums at each bus of what some peers have; their buses are (n_peers,)."""
        sums = (np.bincount(bus, getattr(self, each.name), n_bus) for each in fields(self))
        return Outlook(*(each.astype(np.float64, copy=False) for each in sums))

    def possible(self, activated_mw: FloatArray) -> FloatArray:
        """Activations within what is there: no more is given up than is consumed or generated."""
        done = activated_mw.copy()
        done[:, REDUCE] = np.minimum(done[:, REDUCE], -self.load_mw)
        done[:, CURTAIL] = np.minimum(done[:, CURTAIL], self.generation_mw)
        return done

    def with_reactive(self, share: FloatArray) -> Outlook:
        """Return it with reactive power, and so tan phi, multiplied; (n_peers,) or one for all."""
        return replace(
            self,
            load_mvar=self.load_mvar * share,
            generation_mvar=self.generation_mvar * share,
            responsive_mvar=self.responsive_mvar * share,
        )

    def of_rows(self, rows: IntArray) -> Outlook:
        """The outlook of some peers."""
        return Outlook(
            self.load_mw[rows],
            self.load_mvar[rows],
            self.generation_mw[rows],
            self.generation_mvar[rows],
            self.responsive_mw[rows],
            self.responsive_mvar[rows],
        )

    def scaled(self, load: FloatArray | BoolArray, generation: FloatArray | BoolArray) -> Outlook:
        """Return it with loads and generation multiplied, each (n_peers,)."""
        return Outlook(
            self.load_mw * load,
            self.load_mvar * load,
            self.generation_mw * generation,
            self.generation_mvar * generation,
            self.responsive_mw * load,
            self.responsive_mvar * load,
        )


def _share(part: FloatArray, whole: FloatArray) -> FloatArray:
    share: FloatArray = np.divide(part, whole, out=np.zeros_like(part), where=whole > 0.0)
    return share


@dataclass(frozen=True, slots=True)
class MovedProfiles:
    """Profiles that are others of the grid's series at another time; each (n,).

    Attributes:
        column: which profile.
        steps: by how many steps of the series it is moved.
    """

    column: IntArray
    steps: IntArray

    def beside(self, profiles: FloatArray, series: TimeSeries, start: np.datetime64, period_s: int) -> FloatArray:
        """The profiles of all periods with these after them.

        Args:
            profiles: (n_periods, n_columns) those of the grid.
            series: where they are from.
            start: begin of the first period.
            period_s: length of a period.
        """
        if not len(self.column):
            return profiles
        own = series.moved(self.column, self.steps, start, len(profiles), period_s)
        return np.hstack([profiles, own])


@dataclass(slots=True)
class Units:
    """Loads and generators, one row per unit; the value at a time is scale times profile.

    Attributes:
        peer: (n_units,) row of the peer that owns it.
        p_column, q_column: (n_units,) column of the profile, -1 for a constant 1.
        p_scale_mw, q_scale_mvar: (n_units,) signed scale, positive feeds in.
        p_rated_mw: (n_units,) rated power, positive.
        generates: (n_units,) whether it is a generator.
        is_pv: (n_units,) whether it is a PV plant.
        is_ev: (n_units,) whether it is a charging point of electric vehicles.
        response: (n_units,) share by which its consumption may rise.
        moved: (n_units,) by how many steps of the series its profile is moved: it is that of so much later.
        added: (n_units,) whether the scenario has added it to what the grid has.
    """

    peer: IntArray
    p_column: IntArray
    q_column: IntArray
    p_scale_mw: FloatArray
    q_scale_mvar: FloatArray
    p_rated_mw: FloatArray
    generates: BoolArray
    is_pv: BoolArray
    is_ev: BoolArray
    response: FloatArray
    moved: IntArray
    added: BoolArray

    def take(self, rows: IntArray, peer: IntArray, factor: float | FloatArray = 1.0) -> Units:
        """Copy rows for other owners, with their power multiplied by a factor, one for all or (n_rows,)."""
        own = {field.name: getattr(self, field.name)[rows] for field in fields(self)} | {"peer": peer}
        for name in ("p_scale_mw", "q_scale_mvar", "p_rated_mw"):
            own[name] = own[name] * factor
        return Units(**own)

    def dispatch(self, rows: IntArray) -> None:
        """Make some units available with their rated power at any time, at their usual power factor."""
        per_mw = np.divide(self.q_scale_mvar, self.p_scale_mw, out=np.zeros(len(self.peer)), where=self.p_scale_mw != 0)
        self.p_scale_mw[rows] = np.copysign(self.p_rated_mw[rows], self.p_scale_mw[rows])
        self.q_scale_mvar[rows] = per_mw[rows] * self.p_scale_mw[rows]
        self.p_column[rows] = self.q_column[rows] = -1

    def without_pv_of(self, peers: IntArray) -> Units:
        """Return the units less the PV plants of some peers."""
        rows = np.flatnonzero(~(self.is_pv & np.isin(self.peer, peers)))
        return self.take(rows, self.peer[rows])

    def with_pv(self, peers: IntArray, p_mw: float, scale_per_mw: float, column: int) -> Units:
        """Return the units and a PV plant of unity power factor for each of some peers.

        Args:
            peers: rows of the peers.
            p_mw: rated power of each plant.
            scale_per_mw: scale of the profile per rated MW.
            column: the profile.
        """
        n = len(peers)
        zero, yes, no = np.zeros(n), np.ones(n, dtype=bool), np.zeros(n, dtype=bool)
        plants = Units(
            peer=peers,
            p_column=np.full(n, column),
            q_column=np.full(n, -1),
            p_scale_mw=np.full(n, p_mw * scale_per_mw),
            q_scale_mvar=zero,
            p_rated_mw=np.full(n, p_mw),
            generates=yes,
            is_pv=yes,
            is_ev=no,
            response=zero,
            moved=np.zeros(n, dtype=np.int64),
            added=yes,
        )
        return self.and_these(plants)

    def scale_to(self, rows: IntArray, p_mw: float) -> None:
        """Make the rated power of some units p_mw in sum; profiles, power factors and response stay."""
        factor = p_mw / self.p_rated_mw[rows].sum()
        for column in (self.p_scale_mw, self.q_scale_mvar, self.p_rated_mw):
            column[rows] *= factor

    def without_ev_of(self, peers: IntArray) -> Units:
        """Return the units less the charging points of some peers."""
        rows = np.flatnonzero(~(self.is_ev & np.isin(self.peer, peers)))
        return self.take(rows, self.peer[rows])

    def and_these(self, others: Units) -> Units:
        """Return the units and others, whose peers are rows of the same population."""
        columns = (field.name for field in fields(self))
        return Units(*(np.concatenate([getattr(self, name), getattr(others, name)]) for name in columns))

    def with_own_columns(self, n_columns: int) -> tuple[Units, MovedProfiles]:
        """Give profiles that are moved columns of their own, after the others.

        Args:
            n_columns: number of profiles that there are.

        Returns:
            Units whose profiles are not moved any more, and what the added columns are.
        """
        units = replace(self, moved=np.zeros(len(self.peer), dtype=np.int64))
        p_rows, q_rows = (np.flatnonzero((self.moved != 0) & (each >= 0)) for each in (self.p_column, self.q_column))
        wanted = np.column_stack(
            [
                np.concatenate([self.p_column[p_rows], self.q_column[q_rows]]),
                np.concatenate([self.moved[p_rows], self.moved[q_rows]]),
            ]
        )
        found, number = np.unique(wanted, axis=0, return_inverse=True)
        number = number.reshape(-1)
        units.p_column, units.q_column = self.p_column.copy(), self.q_column.copy()
        units.p_column[p_rows] = n_columns + number[: len(p_rows)]
        units.q_column[q_rows] = n_columns + number[len(p_rows) :]
        return units, MovedProfiles(found[:, 0], found[:, 1])

    def rated_mw(self, n_peers: int) -> tuple[FloatArray, FloatArray]:
        """Rated power of the loads and of the generators of each peer, both positive."""
        size = self.p_rated_mw
        load = np.bincount(self.peer, np.where(self.generates, 0.0, size), n_peers)
        generation = np.bincount(self.peer, np.where(self.generates, size, 0.0), n_peers)
        return load.astype(np.float64), generation.astype(np.float64)

    def aggregation(self, n_peers: int, n_columns: int) -> csr_array:
        """Matrix that turns a row of profiles, with a 1 appended, into the blocks of an `Outlook`.

        Args:
            n_peers: number of peers.
            n_columns: number of profiles.

        Returns:
            Sparse matrix of shape (6 n_peers, n_columns + 1).
        """
        blocks = np.where(self.generates, 2, 0)
        responsive = np.flatnonzero(self.response > 0.0)
        share = self.response[responsive]
        block = np.concatenate([blocks, blocks + 1, np.full(len(responsive), 4), np.full(len(responsive), 5)])
        owner = np.concatenate([self.peer, self.peer, self.peer[responsive], self.peer[responsive]])
        column = np.concatenate([self.p_column, self.q_column, self.p_column[responsive], self.q_column[responsive]])
        value = np.concatenate(
            [
                self.p_scale_mw,
                self.q_scale_mvar,
                self.p_scale_mw[responsive] * share,
                self.q_scale_mvar[responsive] * share,
            ]
        )
        column = np.where(column < 0, n_columns, column)
        return csr_array((value, (block * n_peers + owner, column)), shape=(N_BLOCKS * n_peers, n_columns + 1))


@dataclass(frozen=True, slots=True)
class Corridor:
    """Bounds of the energy in batteries at the end of a period, each (n_peers,)."""

    low_mwh: FloatArray
    high_mwh: FloatArray


@dataclass(slots=True)
class Batteries:
    """One battery per peer (several are joined), dispatched for self-consumption first.

    Attributes:
        e_mwh: (n_peers,) capacity, 0 without a battery.
        p_mw: (n_peers,) largest power of charging and of discharging.
        efficiency: (n_peers,) round trip, 0 to 1; half of the losses on each way.
        self_discharge_per_day: (n_peers,) share of the energy lost per day.
        soc_mwh: (n_peers,) energy that is in it now.
    """

    e_mwh: FloatArray
    p_mw: FloatArray
    efficiency: FloatArray
    self_discharge_per_day: FloatArray
    soc_mwh: FloatArray

    @classmethod
    def none(cls, n_peers: int) -> Self:
        """Peers without batteries."""
        return cls(np.zeros(n_peers), np.zeros(n_peers), np.ones(n_peers), np.zeros(n_peers), np.zeros(n_peers))

    def dispatch(self, surplus_mw: FloatArray, period_h: float, corridor: Corridor | None = None) -> FloatArray:
        """Self-consumption first: take what the peer has left over, give what it lacks.

        Args:
            surplus_mw: (n_peers,) generation less load.
            period_h: length of the period, h.
            corridor: within which the energy has to be when the period ends, as far as the power goes; then a battery
                charges from the grid or feeds into it where the surplus does not do it.

        Returns:
            (n_peers,) power, positive when discharging, within power and energy limits.
        """
        way = np.sqrt(self.efficiency)
        most_in = np.minimum(self.p_mw, np.maximum(self.e_mwh - self.soc_mwh, 0.0) / (way * period_h))
        most_out = np.minimum(self.p_mw, self.soc_mwh * way / period_h)
        charge = np.minimum(np.maximum(surplus_mw, 0.0), most_in)
        discharge = np.minimum(np.maximum(-surplus_mw, 0.0), most_out)
        if corridor is None:
            return discharge - charge
        keep = self._kept(period_h)
        least, most = (
            self._power(self.soc_mwh - np.divide(edge, keep, out=np.zeros_like(edge), where=keep > 0.0), period_h)
            for edge in (corridor.high_mwh, corridor.low_mwh)
        )
        power: FloatArray = np.clip(np.clip(discharge - charge, least, most), -most_in, most_out)
        return power

    def apply(self, power_mw: FloatArray, period_h: float) -> None:
        """Charge and discharge for one period.

        Args:
            power_mw: (n_peers,) positive when discharging.
            period_h: length of the period, h.
        """
        way = np.sqrt(self.efficiency)
        flow = np.where(power_mw > 0.0, power_mw / way, power_mw * way) * period_h
        # Limits are exact in `dispatch`; the clip takes off rounding of the last digit only.
        self.soc_mwh[:] = np.clip(self.soc_mwh - flow, 0.0, self.e_mwh) * self._kept(period_h)

    def corridor(self, goal_mwh: FloatArray, left_h: float, return_h: float | None) -> Corridor | None:
        """Within which the energy has to be so that it can come to a goal in even steps.

        In the last `return_h` hours the distance from the goal may be at most the capacity times the share of these
        hours that is left, and at most what the power can make up for in the time that is left.

        Args:
            goal_mwh: (n_peers,) energy at the end of the run.
            left_h: time from the end of the period to the end of the run, h.
            return_h: the hours in which batteries come back to the goal; None where they need not.
        """
        if return_h is None or left_h >= return_h:
            return None
        wide, way = self.e_mwh * (left_h / return_h), np.sqrt(self.efficiency)
        below = np.minimum(wide, self.p_mw * way * left_h)
        above = np.minimum(wide, self.p_mw / way * left_h)
        return Corridor(np.maximum(goal_mwh - below, 0.0), np.minimum(goal_mwh + above, self.e_mwh))

    def _kept(self, period_h: float) -> FloatArray:
        """Share of the energy that self-discharge leaves in a period."""
        return np.asarray((1.0 - self.self_discharge_per_day) ** (period_h / 24.0), dtype=np.float64)

    def _power(self, taken_mwh: FloatArray, period_h: float) -> FloatArray:
        """Power, positive when discharging, that takes some energy out in a period."""
        way = np.sqrt(self.efficiency)
        return np.where(taken_mwh > 0.0, taken_mwh * way, taken_mwh / way) / period_h
