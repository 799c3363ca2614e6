"""From the units of a grid to the peers of a market.

What stands at one bus is one household (or business): its loads, generators and batteries are joined into one
peer. A scenario may then draw another number of peers, change who owns PV or a battery, and set single peers.
Every draw comes from the stream it is given, so the same seed builds the same population.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import numpy as np

from peerwatt.agents.context import ROLES
from peerwatt.agents.costs import Costs, cost_faults
from peerwatt.agents.devices import Batteries, Units
from peerwatt.agents.messages import BoolArray, FloatArray, IntArray
from peerwatt.agents.population import Population
from peerwatt.agents.settings import PeerSettings, PopulationSettings
from peerwatt.errors import Fault, ScenarioError
from peerwatt.grid.cases import GridCase
from peerwatt.grid.series import TimeSeries
from peerwatt.registry import nearest

__all__ = ["build_population"]

_DAY_S = 86_400
_MOST_AWAY_S = 3_600  # by which a car of the same profile comes earlier or later

_SHOWN = 20  # names in a message


@dataclass(slots=True)
class _Draft:
    """A population under construction; arrays (n_peers,), `kind` that of the unit that a peer is, else empty.

    `copy` numbers those that were drawn from one peer of the grid, `added_batteries` says who was given one.
    """

    name: list[str]
    bus: IntArray
    units: Units
    batteries: Batteries
    kind: list[str]
    copy: IntArray
    added_batteries: BoolArray = field(init=False)

    def __post_init__(self) -> None:
        self.added_batteries = np.zeros(len(self.name), dtype=bool)


def build_population(case: GridCase, settings: PopulationSettings, rng: np.random.Generator) -> Population:
    """Make the peers of a case.

    Args:
        case: grid with its units.
        settings: what the scenario changes.
        rng: stream for who is drawn, who owns PV, batteries and electric vehicles, and who follows which strategy.

    Raises:
        ScenarioError: nobody trades, unknown peers are named, or PV or charging has no profile.
    """
    draft = _own_peers(case, settings)
    chargers = _chargers(draft.units)
    if settings.size is not None:
        draft = _resample(draft, settings.size, rng)
    faults = _unknown_peers(draft, settings)
    pv = _pv_pattern(case)
    if pv is None and (settings.pv_share or any(peer.pv_mw for peer in settings.peers.values())):
        faults.append(Fault("population.pv_share", "the grid has no PV profile to scale", "add one PV sgen to it"))
    if not len(chargers.peer) and (settings.ev_share or any(peer.ev_mw for peer in settings.peers.values())):
        remedy = "take a grid with charging points, e.g. a SimBench grid of scenario 2"
        faults.append(Fault("population.ev_share", "the grid has no EV profile to scale", remedy))
    faults += cost_faults(settings.costs, set(case.units.kind), by_unit=settings.peer_of == "unit")
    faults += _mixed_up(settings)
    if faults:
        raise ScenarioError(faults)
    _own_pv(draft, settings, pv or (0, 0.0), rng)
    _own_batteries(draft, settings, rng)
    strategy, code = _strategies(draft, settings, rng)
    _own_evs(draft, settings, chargers, case.series, rng)
    population = Population(
        tuple(draft.name),
        draft.bus,
        draft.units,
        draft.batteries,
        strategy,
        code,
        case.series.values.shape[1],
        _own_costs(draft, settings),
        settings.storage_return_h,
    )
    population.added_batteries |= draft.added_batteries
    return population


def _own_peers(case: GridCase, settings: PopulationSettings) -> _Draft:
    """One peer per bus that has units, or one per unit, in the order of the buses' indices."""
    units = case.units
    if not len(units.name):
        raise ScenarioError(Fault("grid", f"'{case.name}' has no loads, generators or batteries", "nobody could trade"))
    index = case.network.buses.index[units.bus]
    order = np.lexsort((np.array(units.name), np.array(units.table), index))
    alone = settings.peer_of == "unit"
    buses, peer = (index[order], np.arange(len(order))) if alone else np.unique(index[order], return_inverse=True)
    bus = np.empty(len(buses), dtype=np.int64)
    bus[peer] = units.bus[order]
    storage = np.array(units.table)[order] == "storage"
    rows, kinds = order[~storage], np.array(units.kind)
    response = np.array([settings.demand_response.get(kind, 0.0) for kind in kinds[rows]])
    generates = np.array(units.table)[rows] != "load"
    converters = Units(
        peer[~storage],
        units.p_column[rows].astype(np.int64),
        units.q_column[rows].astype(np.int64),
        units.p_scale_mw[rows],
        units.q_scale_mvar[rows],
        units.p_mw[rows],
        generates,
        kinds[rows] == "pv",
        kinds[rows] == "ev",
        np.where(generates, 0.0, response),
        np.zeros(len(rows), dtype=np.int64),
        np.zeros(len(rows), dtype=bool),
    )
    if alone:
        names = _unique([units.name[row] or f"unit {row}" for row in order.tolist()], order.tolist())
    else:
        at = zip(bus, buses, strict=True)
        names = _unique([case.network.buses.name[b] or f"bus {i}" for b, i in at], buses.tolist())
    kind = kinds[order].tolist() if alone else [""] * len(buses)
    batteries = _joined_batteries(case, order[storage], peer[storage], len(buses))
    return _Draft(names, bus, converters, batteries, kind, np.zeros(len(buses), dtype=np.int64))


def _unique(names: list[str], index: list[int]) -> list[str]:
    """Names of buses as names of peers: each once, and none that a role has."""
    count, taken = Counter(names), {*ROLES}
    unique = []
    for name, i in zip(names, index, strict=True):
        own = f"{name} ({i})" if count[name] > 1 or name in ROLES else name
        while own in taken or (own != name and own in count):
            own += "'"
        taken.add(own)
        unique.append(own)
    return unique


def _joined_batteries(case: GridCase, rows: IntArray, peer: IntArray, n_peers: int) -> Batteries:
    """All batteries of a peer as one: capacities and powers add up, the rest is weighted by capacity."""
    units, e_mwh = case.units, case.units.e_mwh[rows]
    batteries = Batteries.none(n_peers)
    np.add.at(batteries.e_mwh, peer, e_mwh)
    np.add.at(batteries.p_mw, peer, units.p_max_mw[rows])
    np.add.at(batteries.soc_mwh, peer, units.soc[rows] * e_mwh)
    owns = batteries.e_mwh > 0.0
    for name in ("efficiency", "self_discharge_per_day"):
        weighted = np.bincount(peer, getattr(units, name)[rows] * e_mwh, n_peers)
        getattr(batteries, name)[owns] = weighted[owns] / batteries.e_mwh[owns]
    return batteries


def _resample(draft: _Draft, size: int, rng: np.random.Generator) -> _Draft:
    """Draw peers with replacement; their power is scaled so that the feeder's expected total stays."""
    n = len(draft.name)
    drawn = np.sort(rng.integers(n, size=size))
    copy = np.arange(size) - np.searchsorted(drawn, drawn)
    factor = n / size
    by_peer = np.argsort(draft.units.peer, kind="stable")
    first = np.searchsorted(draft.units.peer[by_peer], np.arange(n + 1))
    count = (first[1:] - first[:-1])[drawn]
    owner = np.repeat(np.arange(size), count)
    within = np.arange(len(owner)) - np.repeat(np.cumsum(count) - count, count)
    rows = by_peer[first[drawn][owner] + within]
    own = draft.batteries
    batteries = Batteries(
        own.e_mwh[drawn] * factor,
        own.p_mw[drawn] * factor,
        own.efficiency[drawn],
        own.self_discharge_per_day[drawn],
        own.soc_mwh[drawn] * factor,
    )
    names = [f"{draft.name[d]} #{c + 1}" for d, c in zip(drawn.tolist(), copy.tolist(), strict=True)]
    kind = [draft.kind[d] for d in drawn.tolist()]
    return _Draft(names, draft.bus[drawn], draft.units.take(rows, owner, factor), batteries, kind, copy)


def _one_of(names: list[str]) -> str:
    """Names to choose from: peers at buses of the same name carry the index of their bus."""
    return f"name one: {', '.join(names[:_SHOWN])}{', ...' if len(names) > _SHOWN else ''}"


def _unknown_peers(draft: _Draft, settings: PopulationSettings) -> list[Fault]:
    """Peers that the scenario names and the grid does not have."""
    known = set(draft.name)
    shared = {name: [own for own in draft.name if own.startswith(f"{name} (")] for name in settings.peers}
    return [
        Fault(f"population.peers.{name}", f"{len(shared[name])} peers have this name", _one_of(shared[name]))
        if shared[name]
        else Fault(f"population.peers.{name}", "no peer has this name", nearest(name, draft.name))
        for name in settings.peers
        if name not in known
    ]


def _mixed_up(settings: PopulationSettings) -> list[Fault]:
    """Devices that would be added to peers that are one unit with a cost function."""
    added = ("pv_share", "storage_share", "ev_share")
    given = [key for key in added if getattr(settings, key) is not None] if settings.costs else []
    return [
        Fault(f"population.{key}", "devices cannot be added to units with cost functions", "leave population.costs out")
        for key in given
    ]


def _own_costs(draft: _Draft, settings: PopulationSettings) -> Costs | None:
    """Cost functions of the peers; what can be dispatched is always there with its rated power."""
    if not settings.costs:
        return None
    units, n = draft.units, len(draft.name)
    generates = np.bincount(units.peer[units.generates], minlength=n) > 0
    for kind, each in settings.costs.items():
        if each.basis == "rated":
            units.dispatch(np.flatnonzero(np.array(draft.kind)[units.peer] == kind))
    return Costs.of(draft.kind, generates, settings.costs)


def _pv_pattern(case: GridCase) -> tuple[int, float] | None:
    """Profile of the grid's first PV plant and its scale per rated MW; None without one."""
    units = case.units
    for row, kind in enumerate(units.kind):
        if kind == "pv" and units.p_column[row] >= 0 and units.p_mw[row] > 0.0:
            return int(units.p_column[row]), float(units.p_scale_mw[row] / units.p_mw[row])
    return None


def _own_pv(draft: _Draft, settings: PopulationSettings, pattern: tuple[int, float], rng: np.random.Generator) -> None:
    """Give or take PV until its share is right, then as single peers have it."""
    n = len(draft.name)
    column, per_mw = pattern
    owns = np.bincount(draft.units.peer[draft.units.is_pv], minlength=n) > 0
    # The draw is made in any case, so that the population is the same but for the PV.
    order = _owners_first(owns, rng)
    if settings.pv_share is not None:
        wanted = round(settings.pv_share * n)
        draft.units = draft.units.without_pv_of(order[wanted:])
        gains = np.sort(order[:wanted])
        gains = gains[~owns[gains]]
        draft.units = draft.units.with_pv(gains, settings.pv_mw, per_mw, column)
    for name, own in sorted(settings.peers.items()):
        if own.pv_mw is None:
            continue
        row = draft.name.index(name)
        plants = np.flatnonzero(draft.units.is_pv & (draft.units.peer == row))
        if not own.pv_mw:
            draft.units = draft.units.without_pv_of(np.array([row]))
        elif draft.units.p_rated_mw[plants].any():
            draft.units.scale_to(plants, own.pv_mw)
        else:
            draft.units = draft.units.with_pv(np.array([row]), own.pv_mw, per_mw, column)


def _chargers(units: Units) -> Units:
    """Charging points whose profiles others can be given."""
    rows = np.flatnonzero(units.is_ev & (units.p_column >= 0) & (units.p_rated_mw > 0.0))
    return units.take(rows, units.peer[rows])


def _own_evs(
    draft: _Draft, settings: PopulationSettings, chargers: Units, series: TimeSeries, rng: np.random.Generator
) -> None:
    """Give or take charging points until their share is right, then as single peers have it.

    No two of them charge in step: the profile of an added one, and of a copy of a peer, is moved to other weeks and by
    up to an hour. It comes last and draws only where it has something to do, so that all else of a population stays.
    """
    own = {draft.name.index(name): peer.ev_mw for name, peer in settings.peers.items() if peer.ev_mw is not None}
    if settings.ev_share is None and not own and not (draft.units.is_ev & (draft.copy[draft.units.peer] > 0)).any():
        return
    n = len(draft.name)
    owns = np.bincount(draft.units.peer[draft.units.is_ev], minlength=n) > 0
    order, chance, steps = _owners_first(owns, rng), rng.random(n), _moves(series, rng.random((2, n)))
    copied = draft.units.is_ev & (draft.copy[draft.units.peer] > 0)
    draft.units.moved[copied] = steps[draft.units.peer[copied]]
    if settings.ev_share is not None:
        wanted = round(settings.ev_share * n)
        draft.units = draft.units.without_ev_of(order[wanted:])
        gains = np.sort(order[:wanted])
        _charge(draft, gains[~owns[gains]], settings.ev_mw, chargers, chance, steps)
    for row, ev_mw in sorted(own.items()):
        points = np.flatnonzero(draft.units.is_ev & (draft.units.peer == row))
        if not ev_mw:
            draft.units = draft.units.without_ev_of(np.array([row]))
        elif draft.units.p_rated_mw[points].any():
            draft.units.scale_to(points, ev_mw)
        else:
            _charge(draft, np.array([row]), ev_mw, chargers, chance, steps)


def _moves(series: TimeSeries, chance: FloatArray) -> IntArray:
    """By how many steps each peer's charging is moved: to the same weekday of any week, and by up to an hour.

    Where the series is shorter than two weeks, to any of its days.

    Args:
        series: of the grid.
        chance: (2, n_peers) draws from 0 to 1.
    """
    day = max(_DAY_S // series.step_s, 1)
    unit = next((each for each in (7 * day, day) if series.cycle >= 2 * each), max(series.cycle, 1))
    away = _MOST_AWAY_S // series.step_s
    times = series.cycle // unit
    moves: IntArray = (chance[0] * times).astype(np.int64) * unit + (chance[1] * (2 * away + 1)).astype(np.int64)
    return moves - away


def _charge(draft: _Draft, peers: IntArray, p_mw: float, chargers: Units, chance: FloatArray, steps: IntArray) -> None:
    """Give some peers charging points of a rated power.

    Args:
        draft: who gets them.
        peers: rows of the peers.
        p_mw: rated power of each.
        chargers: those that the grid has, for their profiles.
        chance: (n_peers,) draws from 0 to 1, one of which decides on each peer's profile.
        steps: (n_peers,) by how many steps each peer's profile is moved.
    """
    if not len(peers):
        return
    away = np.abs(np.log(chargers.p_rated_mw / p_mw))
    nearest_ones = np.flatnonzero(away <= away.min() + 1e-9)
    rows = nearest_ones[(chance[peers] * len(nearest_ones)).astype(np.int64)]
    points = chargers.take(rows, peers, p_mw / chargers.p_rated_mw[rows])
    points.moved, points.added = steps[peers], np.ones(len(peers), dtype=bool)
    draft.units = draft.units.and_these(points)


def _own_batteries(draft: _Draft, settings: PopulationSettings, rng: np.random.Generator) -> None:
    """Give or take batteries until their share is right, then as single peers have it."""
    batteries = draft.batteries
    order = _owners_first(batteries.e_mwh > 0.0, rng)
    if settings.storage_share is not None:
        wanted = round(settings.storage_share * len(order))
        _set_battery(batteries, order[wanted:], 0.0, 0.0, settings)
        gains = order[:wanted]
        gains = gains[batteries.e_mwh[gains] == 0.0]
        _set_battery(batteries, gains, settings.storage_mwh, settings.storage_mw, settings)
        draft.added_batteries[gains] = True
    for name, own in sorted(settings.peers.items()):
        if own.storage_mwh is not None:
            row = draft.name.index(name)
            draft.added_batteries[row] |= not batteries.e_mwh[row]
            _resize(batteries, row, own.storage_mwh, settings)
    if settings.storage_initial_charge is not None:
        batteries.soc_mwh[:] = settings.storage_initial_charge * batteries.e_mwh
    faults: list[Fault] = []
    for name, own in settings.peers.items():
        row = draft.name.index(name)
        if own.storage_keys and not batteries.e_mwh[row]:
            where = f"population.peers.{name}.{own.storage_keys[0]}"
            faults.append(Fault(where, "this peer has no battery", "give its capacity too, storage_mwh"))
        _tune(batteries, row, own)
    if faults:
        raise ScenarioError(faults)


def _resize(batteries: Batteries, row: int, e_mwh: float, settings: PopulationSettings) -> None:
    """Give one peer another capacity and leave all else as it is, the share that is charged too."""
    before = batteries.e_mwh[row]
    if before and e_mwh:
        batteries.soc_mwh[row] *= e_mwh / before
        batteries.e_mwh[row] = e_mwh
    else:
        power = e_mwh * settings.storage_mw / settings.storage_mwh
        _set_battery(batteries, np.array([row]), e_mwh, power, settings)


def _tune(batteries: Batteries, row: int, own: PeerSettings) -> None:
    """Set what a scenario says of one peer's battery besides its capacity."""
    for values, given in (
        (batteries.p_mw, own.storage_mw),
        (batteries.efficiency, own.storage_efficiency),
        (batteries.self_discharge_per_day, own.storage_self_discharge_per_day),
    ):
        if given is not None:
            values[row] = given
    if own.storage_initial_charge is not None:
        batteries.soc_mwh[row] = own.storage_initial_charge * batteries.e_mwh[row]


def _set_battery(
    batteries: Batteries, peers: IntArray, e_mwh: float, p_mw: float, settings: PopulationSettings
) -> None:
    batteries.e_mwh[peers] = e_mwh
    batteries.p_mw[peers] = p_mw
    batteries.soc_mwh[peers] = 0.0
    batteries.efficiency[peers] = settings.storage_efficiency
    batteries.self_discharge_per_day[peers] = settings.storage_self_discharge_per_day


def _owners_first(owns: np.ndarray[tuple[int], np.dtype[np.bool_]], rng: np.random.Generator) -> IntArray:
    """Peers in a drawn order, owners before the others: a larger share keeps who had it at a smaller one."""
    shuffled = rng.permutation(len(owns))
    return shuffled[np.argsort(~owns[shuffled], kind="stable")]


def _strategies(
    draft: _Draft, settings: PopulationSettings, rng: np.random.Generator
) -> tuple[tuple[str, ...], IntArray]:
    """Which strategy each peer follows: shares by quota in a drawn order, then single peers."""
    names = sorted({*settings.strategies, *(own.strategy for own in settings.peers.values() if own.strategy)})
    code = {name: i for i, name in enumerate(names)}
    n = len(draft.name)
    mix = sorted(settings.strategies)
    share = np.cumsum([settings.strategies[name] for name in mix])
    quota = np.searchsorted(share / share[-1], (np.arange(n) + 0.5) / n)
    drawn = np.empty(n, dtype=np.int64)
    drawn[rng.permutation(n)] = np.array([code[name] for name in mix])[quota]
    for name, own in settings.peers.items():
        if own.strategy:
            drawn[draft.name.index(name)] = code[own.strategy]
    return tuple(names), drawn
