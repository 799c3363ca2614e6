"""What a comparison assumes of a grid that has constant loads only: profiles, PV and flexible consumption.

Without generation nobody has anything to sell, and without profiles every period is the same. The village grid of
SimBench lends the shape of its total load and of its first PV plant; every bus with a load gets a plant in proportion
to it, of which the scenario keeps a share (`population.pv_share`), drawn by seed.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from peerwatt.grid.cases import GridCase, load_case
from peerwatt.grid.series import TimeSeries
from peerwatt.grid.units import CONSTANT, Units

__all__ = ["LENDER", "Assumptions", "assumed_case", "assumptions"]

LENDER = "simbench:1-LV-semiurb4--2-sw"
"""The grid that lends its profiles."""

PV_PER_LOAD = 2.0
PV_SHARE = 0.5
FLEXIBLE = 0.2


@dataclass(frozen=True, slots=True)
class Assumptions:
    """What is assumed.

    Attributes:
        changes: values of the scenario by key path.
        lent: whether the grid gets profiles and PV, by `assumed_case`.
        said: the same in words, a sentence each.
    """

    changes: dict[str, Any]
    lent: bool
    said: tuple[str, ...]


def assumptions(case: GridCase) -> Assumptions:
    """What has to be assumed for peers to have something to trade; nothing where there is generation or a profile.

    Args:
        case: the grid.
    """
    if case.series.columns or any(table != "load" for table in case.units.table):
        return Assumptions({}, lent=False, said=())
    kinds = sorted(set(case.units.kind))
    changes: dict[str, Any] = {"population.pv_share": PV_SHARE}
    changes["population.demand_response"] = dict.fromkeys(kinds, FLEXIBLE)
    owners = f"{PV_SHARE:.0%} of its peers have PV (population.pv_share), drawn by seed, of {PV_PER_LOAD:g} times their"
    said = (
        f"{case.name} has constant loads only: {owners} load",
        f"Loads can rise by {FLEXIBLE:.0%} when electricity is cheap (population.demand_response)",
        f"Loads and PV follow profiles of {LENDER}; the loads of {case.name} are their peak in the year",
    )
    return Assumptions(changes, lent=True, said=said)


def assumed_case(case: GridCase) -> GridCase:
    """The grid with a PV plant beside every load, and with profiles where it has none.

    Args:
        case: a grid with constant loads only.
    """
    lender = load_case(LENDER)
    plant = lender.units.kind.index("pv")
    sun = lender.series.values[:, [lender.units.p_column[plant]]]
    sun = sun * lender.units.p_scale_mw[plant] / lender.units.p_mw[plant]
    is_load = np.array([table == "load" for table in lender.units.table])
    total = -lender.units.power(np.asarray(lender.series.values))[0][:, is_load].sum(axis=1, keepdims=True)
    values = np.hstack([total / total.max(), sun])
    series = TimeSeries(lender.series.start, lender.series.step_s, ("load", "pv"), values)
    follow = np.zeros(len(case.units), dtype=np.int64)
    units = replace(case.units, p_column=follow, q_column=follow)
    return replace(case, units=_with_pv(units, column=1), series=series)


def _with_pv(units: Units, column: int) -> Units:
    """One PV plant of unity power factor beside every load."""
    n, p_mw = len(units), PV_PER_LOAD * units.p_mw
    zero, one = np.zeros(n), np.ones(n)
    added: dict[str, Any] = {
        "name": tuple(f"pv at {name}" for name in units.name),
        "table": ("sgen",) * n,
        "index": np.arange(n),
        "kind": ("pv",) * n,
        "bus": units.bus,
        "p_column": np.full(n, column),
        "q_column": np.full(n, CONSTANT),
        "p_scale_mw": p_mw,
        "q_scale_mvar": zero,
        "p_mw": p_mw,
        "sn_mva": p_mw,
        "e_mwh": zero,
        "p_max_mw": zero,
        "efficiency": one,
        "self_discharge_per_day": zero,
        "soc": zero,
    }
    joined: dict[str, Any] = {}
    for name, values in added.items():
        own = getattr(units, name)
        joined[name] = (*own, *values) if isinstance(own, tuple) else np.concatenate([own, values])
    return Units(**joined)
