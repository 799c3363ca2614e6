"""What a scenario adds to the grid's peers, and does nothing while the run lasts."""

from __future__ import annotations

import numpy as np

from peerwatt.agents.messages import BoolArray, FloatArray
from peerwatt.agents.population import Population
from peerwatt.errors import Fault

__all__ = ["idle_additions"]

_ROWS = 96  # periods at once
_LEAST_MW = 1e-9


def idle_additions(population: Population, profiles: FloatArray) -> tuple[Fault, ...]:
    """Warnings of added plants, charging points and batteries that do nothing in any period.

    Args:
        population: the peers.
        profiles: (n_periods, n_columns) values of the profiles, moved ones too.
    """
    units, _ = population.units.with_own_columns(population.n_columns)
    highest = np.append(np.abs(profiles).max(axis=0, initial=0.0), 1.0)  # a constant is 1
    idle = highest[units.p_column] * np.abs(units.p_scale_mw) < _LEAST_MW
    return (
        *_told(
            "pv_share, peers.*.pv_mw",
            "PV plants generate",
            units.added & units.is_pv,
            idle,
            "take another day or a longer run",
        ),
        *_told(
            "ev_share, peers.*.ev_mw",
            "charging points draw",
            units.added & units.is_ev,
            idle,
            "take another day or a longer run",
        ),
        *_told(
            "storage_share, peers.*.storage_mwh",
            "batteries store",
            population.added_batteries & (population.batteries.e_mwh > 0.0),
            ~_stores(population, profiles),
            "give them to peers that generate more than they use, e.g. with pv_share, or take another day",
        ),
    )


def _stores(population: Population, profiles: FloatArray) -> BoolArray:
    """Whether each battery has something in it, or something left over to take, (n_peers,)."""
    stores = population.soc_initial_mwh > 0.0
    if not population.added_batteries.any():
        return stores
    for first in range(0, len(profiles), _ROWS):
        load, _, generation, *_ = population.outlooks(profiles[first : first + _ROWS])
        stores = stores | (load + generation > _LEAST_MW).any(axis=0)
    return stores


def _told(keys: str, verb: str, added: BoolArray, idle: BoolArray, remedy: str) -> list[Fault]:
    n, n_idle = int(added.sum()), int((added & idle).sum())
    if not n_idle:
        return []
    return [Fault(f"population.{keys}", f"{n_idle} of {n} added {verb} nothing in the periods of this run", remedy)]
