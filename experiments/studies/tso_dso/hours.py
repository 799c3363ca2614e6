"""What the study keeps of an hour, and what makes a day of hours.

Social welfare is the paper's: utility of the consumers less cost of the producers (eq. (2)) less what the external
supplier is paid. Losses are in none of it: the market does not know them, and the paper's energies balance without
them (47.47 + 24.09 + 114.06 + 171.20 = 356.82 MWh).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from peerwatt.agents.records import Extremes

if TYPE_CHECKING:
    import pandas as pd

    from peerwatt.market.book import FloatArray
    from peerwatt.sim.model import Simulation

__all__ = ["LOSSES", "SUMS", "Kinds", "day_of", "hour_of", "kinds_of"]

SUMS = (
    "grid_mwh",
    "chp_mwh",
    "wind_mwh",
    "pv_mwh",
    "consumption_mwh",
    "virtual_mwh",
    "losses_mwh",
    "line_losses_mwh",
    "welfare_eur",
    "extra_mwh",
)
"""Columns that add up over a day."""

_GENERATION = ("chp", "wind", "pv")

Kinds = dict[str, "FloatArray"]
"""Which peers are of a kind: 1 or 0 for each, (n_peers,)."""


def kinds_of(simulation: Simulation) -> Kinds:
    """Peers by kind of their one unit, all loads as one kind."""
    population, units = simulation.context.population, simulation.case.units
    kind = dict(zip(units.name, units.kind, strict=True))
    costs = population.costs
    assert costs is not None
    found = {name: np.array([float(kind.get(each) == name) for each in population.name]) for name in _GENERATION}
    found["load"] = np.where(costs.own & ~costs.generates, 1.0, 0.0)
    return found


def hour_of(simulation: Simulation, kinds: Kinds) -> dict[str, Any]:
    """The hour that has just been simulated, as a row.

    Args:
        simulation: after a step.
        kinds: see `kinds_of`.
    """
    result, context = simulation.last, simulation.context
    assert result is not None
    hour_h, p_mw = result.period_h, result.p_delivered_mw
    energy = {f"{name}_mwh": hour_h * float(kinds[name] @ p_mw) for name in _GENERATION}
    virtual = -hour_h * float(context.population.virtual @ p_mw)
    consumption = virtual - hour_h * float(kinds["load"] @ p_mw)
    grid = consumption - sum(energy.values())
    costs, tariff = context.population.costs, context.tariff
    assert costs is not None
    paid = costs.cost_eur(p_mw, context.now.realised, hour_h).sum()
    moved = context.population.directive.p_mw.sum(axis=1) @ kinds["load"]
    return {
        "hour": result.period + 1,
        "grid_mwh": grid,
        **energy,
        "consumption_mwh": consumption,
        "virtual_mwh": virtual,
        "spill_mwh": hour_h * float((kinds["wind"] + kinds["pv"]) @ (context.now.forecast.generation_mw - p_mw)),
        "welfare_eur": -float(paid) - (tariff.supply_eur_per_mwh if grid > 0.0 else tariff.feed_in_eur_per_mwh) * grid,
        "extra_mwh": hour_h * float(moved),
        **_of_grid(simulation),
        **_of_measures(simulation),
    }


def _of_grid(simulation: Simulation) -> dict[str, Any]:
    """What the power flow of delivery says."""
    result, network = simulation.last, simulation.context.network
    assert result is not None
    state = result.states["delivery"]
    worst = Extremes.of(network, state)
    line = int(np.nanargmax(state.line.loading_percent))
    vm_pu = state.vm_pu[np.isfinite(state.vm_pu)]
    found = state.violations(network)
    return {
        "losses_mwh": result.period_h * state.losses_mw,
        "line_losses_mwh": result.period_h * float(np.nansum(state.line.pl_mw)),
        "trafo_loading_percent": float(np.nanmax(state.trafo.loading_percent)),
        "line_loading_percent": float(state.line.loading_percent[line]),
        "worst_line": network.lines.name[line],
        "min_vm_pu": float(vm_pu.min()),
        "max_vm_pu": float(vm_pu.max()),
        "worst_vm_pu": worst.vm_pu,
        "worst_bus": int(network.buses.index[worst.bus]),
        "n_congested": found.n_congested,
        "n_voltage": found.n_voltage,
    }


def _of_measures(simulation: Simulation) -> dict[str, Any]:
    """What the DSO has come to, and what the TSO got."""
    result = simulation.last
    assert result is not None
    last = result.rounds[-1].measures if result.rounds else None
    regulation = result.regulation
    shares = {
        name: 0.0 if share is None else float(np.abs(share).max())
        for name, share in (
            ("load_flexibility", None if last is None else last.load_share),
            ("res_flexibility", None if last is None else last.generation_share),
        )
    }
    return {
        "rounds": len(result.rounds),
        "limits_met": result.limits_met,
        "penalty_eur_per_mwh": 0.0 if last is None else last.penalty_eur_per_mwh,
        "res_flexibility_percent": 100.0 * shares["res_flexibility"],
        "load_flexibility_percent": 100.0 * shares["load_flexibility"],
        "n_reactive": 0 if last is None else last.n_reactive,
        "requested_mwh": 0.0 if regulation is None else result.period_h * regulation.requested_mw,
        "accepted_mwh": 0.0 if regulation is None else result.period_h * regulation.accepted_mw,
        "provided_mwh": 0.0 if regulation is None else result.period_h * regulation.provided_mw,
        "refused": regulation is not None and max(regulation.branch, regulation.bus) >= 0,
    }


LOSSES = {
    "energy": "losses of the day / consumption of the day",
    "generation": "losses of the day / generation of the day",
    "hourly": "mean of the hours' losses / consumption",
    "hourly lines": "mean of the hours' losses of lines / supply",
}
"""Definitions of "Losses (%)" that were compared; the last is the one that fits the paper best."""


def day_of(hours: pd.DataFrame) -> dict[str, float]:
    """Totals of hours of one run, and their losses by all definitions.

    Args:
        hours: rows of a run.
    """
    totals = {name: float(hours[name].sum()) for name in SUMS}
    generation = totals["chp_mwh"] + totals["wind_mwh"] + totals["pv_mwh"]
    supply = hours["consumption_mwh"] + hours["losses_mwh"]
    return totals | {
        "losses energy": 100.0 * totals["losses_mwh"] / totals["consumption_mwh"],
        "losses generation": 100.0 * totals["losses_mwh"] / generation,
        "losses hourly": 100.0 * float((hours["losses_mwh"] / hours["consumption_mwh"]).mean()),
        "losses hourly lines": 100.0 * float((hours["line_losses_mwh"] / supply).mean()),
    }
