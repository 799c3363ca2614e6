"""Whether the values of profiles can be in the unit that they are said to be in.

A unit that is wrong is wrong by a factor of a thousand, or makes every plant one of 1 MW. So the peak of each element
is held against its own rating, the sum against what supplies the grid, and a load that never falls is told from power.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from peerwatt.errors import Fault
from peerwatt.grid.admittance import Bools, Floats, Ints
from peerwatt.grid.network import Network
from peerwatt.grid.profile_format import ProfileFormat

__all__ = ["Judged", "judge"]

_TOO_MUCH = 20.0  # times the rating of the grid's supply: refused
_MUCH = 3.0  # warned of
_FAR_ABOVE = 50.0  # times an element's own rating: refused
_ABOVE = {"load": 10.0, "sgen": 2.0, "gen": 2.0}  # warned of; the power of a load in a net is often a mean
_FAR_BELOW = 1.0 / 200.0  # of the rating, in all elements: warned of
_HIGHEST_SHARE = 1.2  # what a per-unit value may be
_LEAST_ROWS = 6  # fewer may rise by chance
_NO_RATING_KA = 9_999.0


@dataclass(frozen=True, slots=True)
class Judged:
    """A column of profiles and the element that it is of.

    Attributes:
        column: its header.
        table: `load`, `sgen` or `gen`.
        quantity: `p_mw` or `q_mvar`.
        raw: (n_rows,) as they stand in the file.
        power: (n_steps,) MW or Mvar, multiplied by the element's `scaling`.
        rating: of the element, MVA, multiplied by `scaling`; 0 where the net gives none.
    """

    column: str
    table: str
    quantity: str
    raw: Floats
    power: Floats
    rating: float

    @property
    def peak(self) -> float:
        """Largest power."""
        return float(np.abs(self.power).max())

    @property
    def ratio(self) -> float:
        """Peak as a multiple of the rating, NaN without one."""
        return self.peak / self.rating if self.rating > 0.0 else float("nan")


def judge(columns: list[Judged], where: str, form: ProfileFormat, network: Network) -> tuple[list[Fault], list[Fault]]:
    """Hold profiles against ratings.

    Args:
        columns: what was read.
        where: name of the file or table.
        form: how they are written; where it gives the unit, everything is a warning.
        network: the grid.

    Returns:
        Faults and warnings, one for each kind.
    """
    faults, warnings = _sums(columns, where, form, network)
    if not faults:
        more, less_grave = _elements(columns, where, form)
        faults, warnings = more, less_grave or warnings
    warnings += [fault for fault in (_meters(columns, where, form), _ones(columns, where, form)) if fault]
    return ([], faults + warnings) if form.unit else (faults, warnings)


def _sums(columns: list[Judged], where: str, form: ProfileFormat, network: Network) -> tuple[list[Fault], list[Fault]]:
    capacity = _supply_mva(network)
    faults: list[Fault] = []
    warnings: list[Fault] = []
    for table, quantity in sorted({(each.table, each.quantity) for each in columns}):
        chosen = [each for each in columns if (each.table, each.quantity) == (table, quantity)]
        total = np.abs(np.sum([each.power for each in chosen], axis=0))
        times = float(total.max()) / capacity if capacity > 0.0 else 0.0
        if times <= _MUCH:
            continue
        unit = "MW" if quantity == "p_mw" else "Mvar"
        problem = (
            f"the sum of {len(chosen)} columns reaches {total.max():.6g} {unit}, {times:.4g} times the "
            f"{capacity:.6g} MVA that supply the grid{_looks_like(chosen, _factor(chosen, times), form)}"
        )
        fault = Fault(f"{where}: {table} columns, {quantity}", problem, _remedy(form))
        (faults if times > _TOO_MUCH else warnings).append(fault)
    return faults, warnings


def _factor(columns: list[Judged], times: float) -> float:
    """By how much values are too large, as multiples of ratings; by the grid's supply where the net gives none."""
    known = [each.ratio for each in columns if each.rating > 0.0]
    return max(known) if known else 2.5 * times


def _elements(columns: list[Judged], where: str, form: ProfileFormat) -> tuple[list[Fault], list[Fault]]:
    """Peaks against the elements' own ratings: those far above, those above, and all far below."""
    power = [each for each in columns if each.quantity == "p_mw" and each.rating > 0.0]
    above = [each for each in power if each.ratio > _ABOVE[each.table]]
    faults: list[Fault] = []
    warnings: list[Fault] = []
    if above:
        worst = max(above, key=lambda each: each.ratio)
        problem = (
            f"the peak of {worst.peak:.6g} MW is {worst.ratio:.4g} times the rating of {worst.rating:.6g} MVA"
            f"{_looks_like(above, worst.ratio, form)}"
        )
        fault = Fault(_places(above, worst, where), problem, _remedy(form))
        (faults if worst.ratio > _FAR_ABOVE else warnings).append(fault)
    moving = [each for each in power if each.peak > 0.0]
    if moving and all(each.ratio < _FAR_BELOW for each in moving):
        most = max(moving, key=lambda each: each.ratio)
        problem = f"the peak is {100.0 * most.ratio:.2g} % of the rating of {most.rating:.6g} MVA at most: too small"
        warnings.append(Fault(_places(moving, most, where), problem, _remedy(form)))
    return faults, warnings


def _meters(columns: list[Judged], where: str, form: ProfileFormat) -> Fault | None:
    """Loads that never fall and keep rising, as a meter does."""
    rising = [each for each in columns if each.quantity == "p_mw" and each.table == "load" and _never_falls(each.raw)]
    if form.counts or not rising:
        return None
    first = rising[0]
    problem = f"never falls, from {first.raw[0]:.6g} to {first.raw[-1]:.6g}: looks like the readings of a meter"
    return Fault(_places(rising, first, where), problem, "for a meter give grid.profiles.unit: kWh meter reading")


def _never_falls(raw: Floats) -> bool:
    gap = np.diff(raw)
    return len(raw) >= _LEAST_ROWS and bool((gap >= 0.0).all()) and int(np.count_nonzero(gap)) > len(gap) / 2


def _ones(columns: list[Judged], where: str, form: ProfileFormat) -> Fault | None:
    """Profiles that are scaled to a largest value of 1, of elements that are not of 1 MW."""
    power = [each for each in columns if each.quantity == "p_mw" and abs(float(each.raw.max()) - 1.0) < 1e-9]
    scaled = [each for each in power if each.rating > 0.0 and not 0.8 <= each.ratio <= 1.25]
    if form.unit_or_mw != "MW" or not scaled or any(each.ratio > _ABOVE[each.table] for each in scaled):
        return None  # of those far above it has been said
    problem = f"the largest value is 1, of a rating of {scaled[0].rating:.6g} MVA: looks like pu"
    return Fault(_places(scaled, scaled[0], where), problem, _remedy(form))


def _places(found: list[Judged], shown: Judged, where: str) -> str:
    more = f" and {len(found) - 1} more" if len(found) > 1 else ""
    return f"{where}: column '{shown.column}'{more}"


def _looks_like(columns: list[Judged], ratio: float, form: ProfileFormat) -> str:
    """What the unit may be instead, where values are too large by a factor."""
    if form.unit_or_mw != "MW":
        return ""
    if all(_never_falls(each.raw) for each in columns):
        return ": looks like the readings of a meter"
    if max(float(np.abs(each.raw).max()) for each in columns) <= _HIGHEST_SHARE:
        return ": looks like pu (or kW)"
    return f": looks like {'W' if ratio > 5e4 else 'kW'}"


def _remedy(form: ProfileFormat) -> str:
    if form.unit is None:
        return "give grid.profiles.unit; MW takes them as they are"
    return f"grid.profiles.unit says {form.unit}; is it?"


def _supply_mva(network: Network) -> float:
    """Rating of the transformers at external grids; else of the lines there; else of all transformers."""
    trafos, lines = network.trafos, network.lines
    node = network.admittances.bus_node
    slack = node[network.slack_bus]

    def at_slack(*ends: Ints) -> Bools:
        found: Bools = np.any([np.isin(node[end], slack) for end in ends], axis=0)
        return found

    near = at_slack(trafos.hv_bus, trafos.lv_bus) if len(trafos.sn_mva) else np.zeros(0, dtype=np.bool_)
    if near.any():
        return float(trafos.sn_mva[near].sum())
    rated = at_slack(lines.from_bus, lines.to_bus) & lines.in_service & (lines.rating_ka < _NO_RATING_KA)
    if rated.any():
        return float((np.sqrt(3.0) * network.buses.vn_kv[lines.from_bus] * lines.rating_ka)[rated].sum())
    return float(trafos.sn_mva.sum())
