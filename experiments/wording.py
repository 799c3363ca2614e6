"""The outcome of a run in words and figures, for the terminal and for the report alike."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from math import floor, log10
from typing import Any

from peerwatt.sim.kpi import GROUPS
from peerwatt.sim.results import Results
from peerwatt.sim.status import unsolved

__all__ = [
    "READING",
    "Fact",
    "GroupCost",
    "costs",
    "duration",
    "element_name",
    "energy",
    "facts",
    "length",
    "money",
    "number",
    "state",
    "tariff",
    "when",
    "where_time_went",
]


_LEAST_MWH = 1e-6  # of stored energy that is told, 1 Wh
_LEAST_EUR = 0.005  # that the market keeps and that is told, half a cent


READING = (
    "Loading is a share of the limit of the line or transformer, not of its rating, unless it is said.",
    (
        "Realised power is that of the profiles; what is drawn is the error of the forecast, so trading is judged with "
        "errors and delivery without."
    ),
    "PV that a scenario adds has unity power factor: it moves voltages by its active power alone.",
    (
        "What flexible consumption is worth is anchored at the tariff: at usual consumption a MWh is worth the "
        "supplier's price. Welfare and savings move with the tariff that is chosen."
    ),
)
"""What has to be known to read the figures of a run."""


@dataclass(frozen=True, slots=True)
class Fact:
    """One line of the outcome.

    Attributes:
        label: what it is.
        value: the figure with its unit.
        remark: where, when, or as a share of what; may be empty.
        alarm: whether something is out of its limits.
    """

    label: str
    value: str
    remark: str = ""
    alarm: bool = False


@dataclass(frozen=True, slots=True)
class GroupCost:
    """What a group of peers paid, with and without trading; negative is income."""

    group: str
    count: int
    cost_eur: float
    reference_eur: float
    saving_eur: float
    saving_percent: float | None


def number(value: float, digits: int = 3) -> str:
    """A number with at least the given significant digits and thousands separators."""
    if value == 0.0:
        return "0"
    whole = floor(log10(abs(value))) + 1  # digits before the point; below 1 less the zeros after it
    decimals = max(0, digits - whole) if whole > 0 else min(9, digits - whole)
    return f"{value:,.{decimals}f}"


def energy(mwh: float) -> str:
    """An amount of energy in kWh, MWh or GWh, whichever reads best."""
    for unit, size in (("GWh", 1e3), ("MWh", 1.0)):
        if abs(mwh) >= size:
            return f"{number(mwh / size)} {unit}"
    return f"{number(mwh * 1e3)} kWh"


def money(eur: float) -> str:
    """An amount of money with cents; whole euros from 100,000."""
    text = f"{eur:,.2f}" if abs(eur) < 1e5 else f"{eur:,.0f}"
    return text.removeprefix("-") if not text.strip("-0.,") else text


def duration(seconds: float) -> str:
    """A computing time."""
    if seconds < 60.0:
        return f"{seconds:.1f} s" if seconds >= 0.095 else f"{1e3 * seconds:.0f} ms"
    return f"{int(seconds // 60)} min {seconds % 60:02.0f} s"


def length(period_s: float) -> str:
    """The length of a period."""
    return f"{period_s / 60:g} min" if period_s < 3600 or period_s % 3600 else f"{period_s / 3600:g} h"


def when(manifest: Mapping[str, Any], period: int) -> str:
    """Start of a period; with the date where the run is longer than a day."""
    step = float(manifest["period_s"])
    start = datetime.fromisoformat(str(manifest["start"]))
    one_day = step * int(manifest.get("periods", 0)) <= 86400.0
    return (start + timedelta(seconds=step * period)).strftime("%H:%M" if one_day else "%Y-%m-%d %H:%M")


def state(manifest: Mapping[str, Any]) -> Fact:
    """How the run ended."""
    exit_state = str(manifest.get("exit_state", "unknown"))
    done, planned = manifest.get("periods_done", 0), manifest.get("periods", 0)
    remark = str(manifest.get("reason") or "")
    if exit_state != "finished" or done != planned:
        remark = ": ".join(part for part in (f"{done:,} of {planned:,} periods done", remark) if part)
    took = f" in {duration(float(manifest['wall_s']))}" if manifest.get("wall_s") is not None else ""
    return Fact("state", f"{exit_state}{took}", remark, exit_state != "finished")


def tariff(results: Results, key: str) -> Any:
    """A tariff of the scenario, ``supply_eur_per_mwh`` or ``feed_in_eur_per_mwh``; None without it."""
    tariffs = results.scenario.get("tariff")
    return tariffs.get(key) if isinstance(tariffs, dict) else None


def element_name(results: Results, kind: str, index: int) -> str:
    """Name of a bus, line or transformer; its kind and index where it has none."""
    group = {"bus": "buses", "line": "lines", "trafo": "trafos"}[kind]
    names = (e.get("name") for e in results.topology.get(group, ()) if e.get(kind) == index)
    return str(next(names, None) or f"{kind} {index}")


def facts(results: Results) -> list[Fact]:
    """The outcome, line by line; what was not recorded is left out."""
    kpi = results.kpi
    lines = [*_market_facts(results), *_status_facts(results), *_coordination_facts(results)]
    if "self_consumption_percent" in kpi:
        lines.append(Fact("Self-consumption", f"{kpi['self_consumption_percent']:.1f} %", "of available generation"))
    if float(kpi.get("curtailed_mwh", 0.0)) > 0.0:
        lines.append(Fact("Curtailed", energy(float(kpi["curtailed_mwh"])), "generation not used for the grid's sake"))
    lines += _storage_facts(results)
    if "self_sufficiency_percent" in kpi:
        lines.append(Fact("Self-sufficiency", f"{kpi['self_sufficiency_percent']:.1f} %", "of consumption"))
    if "losses_mwh" in kpi:
        share = f"{kpi['losses_percent']:.2f} % of consumption" if "losses_percent" in kpi else ""
        lines.append(Fact("Grid losses", energy(float(kpi["losses_mwh"])), share))
    return lines + _grid_facts(results) + _message_facts(results)


def _storage_facts(results: Results) -> list[Fact]:
    """What batteries hold more or less at the end than at the start; nothing where nothing was ever stored."""
    kpi, population = results.kpi, results.scenario.get("population")
    change, losses = float(kpi.get("stored_change_mwh", 0.0)), float(kpi.get("battery_losses_mwh", 0.0))
    if max(abs(change), abs(losses)) < _LEAST_MWH:
        return []
    worth = abs(float(kpi.get("stored_change_eur", 0.0)))
    remarks = [f"lost in batteries: {energy(losses)}"]
    if abs(change) >= _LEAST_MWH:
        remarks.insert(0, f"worth {money(worth)} EUR at feed-in, in no cost")
    value = f"{energy(abs(change))} {'less' if change < 0.0 else 'more'}"
    returns = isinstance(population, dict) and population.get("storage_return_h") is not None
    missed = returns and abs(change) >= _LEAST_MWH
    if missed:
        remarks.append("their power was too small to return to the initial charge")
    return [Fact("Stored at the end", value, "; ".join(remarks), alarm=missed)]


def _market_facts(results: Results) -> list[Fact]:
    kpi, lines = results.kpi, []
    if "p2p_volume_mwh" in kpi:
        share = kpi.get("p2p_share_of_demand_percent")
        remark = f"{share:.1f} % of demand" if isinstance(share, float) else ""
        lines.append(Fact("Traded between peers", energy(float(kpi["p2p_volume_mwh"])), remark))
        price, paid = kpi.get("p2p_mean_price_eur_per_mwh"), kpi.get("p2p_buyer_mean_price_eur_per_mwh")
        supply, feed_in = (tariff(results, key) for key in ("supply_eur_per_mwh", "feed_in_eur_per_mwh"))
        fixed = isinstance(supply, int | float) and isinstance(feed_in, int | float)
        remark = f"supply {supply:g}, feed-in {feed_in:g}" if fixed else ""
        value = "no trades" if price is None else f"{float(price):.1f} EUR/MWh"
        kept = float(kpi.get("p2p_surplus_eur", 0.0))
        if price is not None and paid is not None and kept >= _LEAST_EUR:
            lines.append(Fact("Sellers get", value, remark))
            lines.append(Fact("Buyers pay", f"{float(paid):.1f} EUR/MWh", f"{money(kept)} EUR of it the market keeps"))
        else:
            lines.append(Fact("Mean price", value, remark))
    return lines


def _status_facts(results: Results) -> list[Fact]:
    """What has no result in some periods, markets first; and capacity that was missing."""
    kpi = results.kpi
    lines = [
        Fact(each.words[:1].upper() + each.words[1:], each.share, each.remark, alarm=True) for each in unsolved([kpi])
    ]
    if short := int(kpi.get("capacity_infeasible_periods", 0)):
        missing = number(1e3 * float(kpi.get("capacity_missing_max_mw", 0.0)))
        lines.append(
            Fact("Not enough capacity", f"{short:,} of {kpi['periods']:,} periods", f"up to {missing} kW", alarm=True)
        )
    return lines


def _coordination_facts(results: Results) -> list[Fact]:
    """What the DSO did; nothing where it had no means."""
    kpi, lines = results.kpi, []
    rounds = float(kpi.get("rounds_mean", 1.0))
    if rounds > 1.0:
        lines.append(Fact("Rounds of negotiation", f"{rounds:.2f}", "per period"))
    if unmet := int(kpi.get("limits_unmet_periods", 0)):
        value = f"{unmet:,} of {int(results.manifest.get('periods_done', 0)):,} periods"
        lines.append(Fact("Limits not met", value, "left with the best state found", alarm=True))
    if asked := float(kpi.get("regulation_requested_mwh", 0.0)):
        accepted = energy(float(kpi["regulation_accepted_mwh"]))
        lines.append(Fact("Regulation for the TSO", accepted, f"of {energy(asked)} asked for"))
    if incentives := float(kpi.get("incentives_eur", 0.0)):
        lines.append(Fact("Incentives", f"{money(incentives)} EUR", "paid by the DSO, less what it collected"))
    if "lfm_runs" in kpi:
        runs, failed = int(kpi["lfm_runs"]), float(kpi["lfm_infeasible_percent"])
        remark = f"{energy(float(kpi['lfm_volume_mwh']))} activated, {money(float(kpi['lfm_cost_eur']))} EUR"
        value = f"{runs:,} of {int(results.manifest.get('periods_done', 0)):,} periods"
        lines.append(Fact("Flexibility market", value, remark if runs else "never needed"))
        if failed:
            mw, pu = float(kpi["lfm_missing_max_mw"]), float(kpi.get("lfm_missing_max_pu", 0.0))
            missing = [f"{number(1e3 * mw)} kW"] * (mw > 0.0) + [f"{pu:.4f} pu"] * (pu > 0.0)
            remark = f"of periods; up to {', '.join(missing)} missing"
            lines.append(Fact("Not enough flexibility", f"{failed:.1f} %", remark, alarm=True))
    return lines


def _grid_facts(results: Results) -> list[Fact]:
    kpi, lines = results.kpi, []
    for label, side in (("Lowest voltage", "min"), ("Highest voltage", "max")):
        if f"{side}_vm_pu" in kpi:
            bus = kpi.get(f"{side}_vm_bus")
            place = element_name(results, "bus", int(bus)) if bus is not None else ""
            remark = _place(results, place, kpi[f"{side}_vm_period"])
            lines.append(Fact(label, f"{kpi[f'{side}_vm_pu']:.4f} pu", remark))
    if "max_loading_percent" in kpi:
        lines.append(_loading_fact(results))
    return lines + _violation_facts(results)


def _loading_fact(results: Results) -> Fact:
    """Highest loading as a share of the limit, in words of the rating too where that is not the same."""
    kpi = results.kpi
    rating = float(kpi["max_loading_percent"])
    share = float(kpi.get("max_occupancy_percent", rating))  # results of older versions have no limits in it
    kind, _, index = str(kpi.get("max_loading_element", "")).partition(" ")
    same = kpi.get("max_occupancy_period", kpi["max_loading_period"]) == kpi["max_loading_period"]
    place = element_name(results, kind, int(index)) if index and same else ""
    remark = _place(results, place, kpi.get("max_occupancy_period", kpi["max_loading_period"]))
    if abs(share - rating) >= 0.05:
        remark += f"; up to {rating:.1f} % of the rating"
    return Fact("Highest loading", f"{share:.1f} % of its limit", remark)


def _violation_facts(results: Results) -> list[Fact]:
    kpi, lines = results.kpi, []
    if "voltage_violations" in kpi:
        for label, key, what in (
            ("Voltage out of band", "voltage_violations", "periods × buses"),
            ("Overloads", "congestion_violations", "periods × branches"),
        ):
            count = int(kpi[key])
            what = what if count else "in the periods with a solution" if kpi.get("not_converged_delivery") else ""
            lines.append(Fact(label, f"{count:,}" if count else "none", what, count > 0))
    if dead := int(kpi.get("unsupplied_peer_periods", 0)):
        lines.append(Fact("Without supply", f"{dead:,}", "periods × peers", alarm=True))
    return lines


def _message_facts(results: Results) -> list[Fact]:
    kpi = results.kpi
    if "messages" not in kpi:
        return []
    lost = int(kpi.get("messages_lost", 0))
    return [Fact("Messages", f"{int(kpi['messages']):,}", f"{lost:,} lost" if "messages_lost" in kpi else "")]


def _place(results: Results, place: str, period: Any) -> str:
    return ", ".join(part for part in (place, when(results.manifest, int(period))) if part)


def costs(results: Results) -> list[GroupCost]:
    """Cost of every group that has peers, and of all; empty where it was not recorded."""
    kpi, rows = results.kpi, []
    for group in (*GROUPS.values(), "peers"):
        if f"cost_{group}_eur" in kpi:
            percent = kpi.get(f"saving_{group}_percent")
            rows.append(
                GroupCost(
                    "all peers" if group == "peers" else group,
                    int(kpi.get(f"n_{group}", 0)),
                    float(kpi[f"cost_{group}_eur"]),
                    float(kpi[f"reference_cost_{group}_eur"]),
                    float(kpi[f"saving_{group}_eur"]),
                    None if percent is None else float(percent),
                )
            )
    return rows


def where_time_went(manifest: Mapping[str, Any]) -> list[tuple[str, float]]:
    """Parts of the run and the seconds they took; what they leave of the total is called other."""
    parts = [(str(name), float(seconds)) for name, seconds in (manifest.get("time_s") or {}).items()]
    rest = float(manifest.get("wall_s") or 0.0) - sum(seconds for _, seconds in parts)
    return [*parts, ("other", rest)] if parts and rest > 0.05 else parts
