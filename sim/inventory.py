"""What a run understood of its grid and profiles: energy by kind and peer, peaks against ratings, what is constant.

It is taken before anything is simulated, so `peerwatt validate` and the report of a run say the same.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np

from peerwatt.agents.population import Population
from peerwatt.grid.admittance import Floats
from peerwatt.grid.cases import GridCase
from peerwatt.grid.units import CONSTANT

__all__ = ["Element", "Inventory", "KindSum", "PeerSum"]


@dataclass(frozen=True, slots=True)
class KindSum:
    """Elements of one kind.

    Attributes:
        kind: of their units, e.g. `household`.
        table: their table in the network.
        count: how many.
        constant: how many of them have no profile.
        energy_mwh: consumed (`load`) or generated in the time of the run.
    """

    kind: str
    table: str
    count: int
    constant: int
    energy_mwh: float


@dataclass(frozen=True, slots=True)
class PeerSum:
    """A peer's usual energy in the time of the run, without battery and trading."""

    agent: str
    consumption_mwh: float
    generation_mwh: float


@dataclass(frozen=True, slots=True)
class Element:
    """An element's peak in the time of the run, MW, and its rating, MVA; 0 where the network gives none."""

    table: str
    name: str
    peak_mw: float
    rating_mva: float


@dataclass(frozen=True, slots=True)
class Inventory:
    """What was understood.

    Attributes:
        hours: length of the run.
        kinds: loads and generators by kind, as the grid has them.
        peers: as they take part, with what the scenario changes of the grid's.
        elements: loads and generators, the largest share of its rating first.
        constant: what keeps its power all the time, in a sentence; empty where nothing does.
    """

    hours: float
    kinds: tuple[KindSum, ...]
    peers: tuple[PeerSum, ...]
    elements: tuple[Element, ...]
    constant: str

    @classmethod
    def take(cls, case: GridCase, population: Population, profiles: Floats, period_h: float) -> Self:
        """Sum up a run's inputs.

        Args:
            case: the grid.
            population: its peers.
            profiles: (n_periods, n_columns) values of the profiles in the time of the run.
            period_h: length of a period.
        """
        units, hours = case.units, len(profiles) * period_h
        mean, highest = profiles.mean(axis=0), profiles.max(axis=0)
        mean_mw = np.abs(units.power(mean[None, :])[0][0])
        peak_mw = np.abs(units.power(highest[None, :])[0][0])
        rows = [k for k, table in enumerate(units.table) if table != "storage"]
        groups = Counter((units.kind[k], units.table[k]) for k in rows)
        kinds = []
        for (kind, table), count in groups.items():
            own = [k for k in rows if (units.kind[k], units.table[k]) == (kind, table)]
            constant = int(np.count_nonzero(units.p_column[own] == CONSTANT))
            kinds.append(KindSum(kind, table, count, constant, float(mean_mw[own].sum()) * hours))
        outlook = population.outlook(mean)
        peers = [
            PeerSum(name, -float(load) * hours, float(generation) * hours)
            for name, load, generation in zip(population.name, outlook.load_mw, outlook.generation_mw, strict=True)
        ]
        elements = [Element(units.table[k], units.name[k], float(peak_mw[k]), float(units.sn_mva[k])) for k in rows]
        elements.sort(key=lambda each: -each.peak_mw / each.rating_mva if each.rating_mva > 0.0 else 0.0)
        return cls(hours, tuple(kinds), tuple(peers), tuple(elements), _constant(kinds))

    def as_dict(self) -> dict[str, Any]:
        """The same as JSON has it."""
        return asdict(self)

    @classmethod
    def of_dict(cls, read: dict[str, Any]) -> Self:
        """Put together what `as_dict` gave."""
        return cls(
            float(read["hours"]),
            tuple(KindSum(**each) for each in read["kinds"]),
            tuple(PeerSum(**each) for each in read["peers"]),
            tuple(Element(**each) for each in read["elements"]),
            str(read["constant"]),
        )


def _constant(kinds: list[KindSum]) -> str:
    """What has no profile, in words."""
    tables: Counter[str] = Counter()
    for each in kinds:
        tables[each.table] += each.constant
    fixed = [f"{count} {_named(table, count)}" for table, count in sorted(tables.items(), reverse=True) if count]
    if not fixed:
        return ""
    night = ", PV at night too" if any(each.kind == "pv" and each.constant for each in kinds) else ""
    return f"{' and '.join(fixed)} without a profile: constant all the time{night}"


def _named(table: str, count: int) -> str:
    return "loads" if table == "load" and count > 1 else table
