"""Every key figure of every design, worked out again from the tables that say most of it.

Whatever has a table of its own is taken from there (trades, branches, buses, messages, payments) and not from the
totals in `period`; what only `period` knows is taken from it. Formulas are written by peer and period.
"""

from __future__ import annotations

from math import isfinite, sqrt
from typing import Any

import numpy as np
import pandas as pd
import pytest

from peerwatt.sim.kpi_disclosure import GRID_DATA, numbers_negotiating, numbers_per_message
from peerwatt.sim.results import Results
from tests.audit import DESIGNS, OUTSIDE, audited

Figures = dict[str, Any]
QUARTERS = ("cm2 iterative", "cm4 incentives", "cm5", "p2p_full")
"""Designs whose periods are quarters of an hour here; an hour is no hour to a wrong formula."""

COSTS = ("cost_a_eur_per_mw2h", "cost_b_eur_per_mwh")
KINDS = {"consumers": ["consumer"], "producers": ["producer"], "prosumers": ["prosumer"]}
NAMED = {
    "mediator": "mediator",
    "mediator (flexibility)": "mediator",
    "p2p market": "p2p_market",
    "dso": "dso",
    "fmo": "fmo",
    "supplier": "supplier",
    "tso": "tso",
}


class Tables:
    """The tables of a run with texts as texts, and the virtual load apart from the peers."""

    def __init__(self, results: Results) -> None:
        for name in results.tables:
            frame = results.table(name)
            texts = {column: str for column, kind in frame.dtypes.items() if kind == "category"}
            setattr(self, name, frame.astype(texts))
        self.peer: pd.DataFrame
        self.virtual = set(self.peer.agent[~self.peer.kind.isin(("consumer", "producer", "prosumer"))])
        self.peer = self.peer[~self.peer.agent.isin(self.virtual)]
        self.agent: pd.DataFrame = self.agent[~self.agent.agent.isin(self.virtual)]
        self.peers = list(self.peer.agent)
        self.h = results.manifest["period_s"] / 3600.0
        self.periods = range(results.manifest["periods_done"])
        self.topology = results.topology
        self.tariff = results.scenario["tariff"]
        self.energy = self.trade[self.trade["product"] == "energy"]

    def at(self, name: str, stage: str) -> pd.DataFrame:
        frame = getattr(self, name)
        return frame[frame.stage == stage]

    def role(self, name: str) -> str:
        if name in self.virtual:
            return "tso"
        if name in self.peers:
            return "peers"
        return "outside" if name in OUTSIDE else NAMED[name]


def again(results: Results) -> Figures:
    """All figures."""
    tables = Tables(results)
    parts = (trading, energy, storage, exchange, limits_at_delivery, endings, money, savings, disclosure)
    figures: Figures = {}
    for part in parts:
        figures |= part(tables)
    for stage in ("forecast", "p2p", "final"):
        if len(tables.at("period", stage)):
            figures |= limits_at(tables, stage)
    figures |= negotiation(tables) | services(tables)
    return {name: value for name, value in figures.items() if value is not None}


def trading(t: Tables) -> Figures:
    volume = paid = got = 0.0
    for row in t.energy.itertuples():
        volume += row.p_mw * t.h
        got += row.p_mw * t.h * row.price_eur_per_mwh
        paid += row.p_mw * t.h * row.buyer_price_eur_per_mwh
    demand = -sum(p * t.h for p in t.agent.p_mw if p < 0.0)
    return {
        "p2p_volume_mwh": volume,
        "p2p_mean_price_eur_per_mwh": got / volume if volume else None,
        "p2p_buyer_mean_price_eur_per_mwh": paid / volume if volume else None,
        "p2p_surplus_eur": paid - got,
        "p2p_share_of_demand_percent": volume / demand * 100.0,
        "social_welfare_eur": welfare(t) * t.h,
    }


def welfare(t: Tables) -> float:
    """Gain of what is traded, per hour: each peer has traded what is cheapest for it of what it has bid."""
    unheard = t.message[t.message.delivered_s.isna() & (t.message.kind == "TradeTerms")].period
    paid = t.signal[(t.signal.seller_cost_eur_per_mwh != 0.0) | (t.signal.buyer_cost_eur_per_mwh != 0.0)]
    stale = set(unheard) if len(paid) else set()  # some have bid by incentives of before, which are in no table
    gain = t.at("period", "p2p").set_index("period").social_welfare_eur[list(stale)].sum() / t.h
    sold = t.energy.groupby(["period", "seller"]).p_mw.sum().to_dict()
    bought = t.energy.groupby(["period", "buyer"]).p_mw.sum().to_dict()
    for peer, steps in t.bid[~t.bid.period.isin(stale)].groupby(["period", "agent"]):
        net = sold.get(peer, 0.0) - bought.get(peer, 0.0)
        if net:
            gain -= cheapest(steps, net)
        if "p2p market" in set(steps.market):  # a mediator is told limits with the fee already taken off
            gain -= t.tariff["network_fee_eur_per_mwh"] * bought.get(peer, 0.0)
    return gain


def cheapest(steps: pd.DataFrame, total: float) -> float:
    """Least cost of a net sale from steps of cost b p + a p^2/2: all steps at one marginal cost, found by halving."""
    least, most, a, b = (steps[name].to_numpy() for name in ("p_min_mw", "p_max_mw", *COSTS))
    curved = np.where(a > 0.0, a, 1.0)

    def taken(marginal: float) -> np.ndarray:
        flat = np.where(marginal >= b, most, least)
        return np.where(a > 0.0, np.clip((marginal - b) / curved, least, most), flat)

    low, high = -500.0, 1000.0
    for _ in range(45):
        middle = (low + high) / 2.0
        low, high = (middle, high) if taken(middle).sum() < total else (low, middle)
    p = taken(low)
    return float((b * p + a * p * p / 2.0).sum() + (total - p.sum()) * low)


def energy(t: Tables) -> Figures:
    taken = given = drawn = fed_out = used = made = curtailed = 0.0
    for _, rows in t.agent.groupby("period"):
        taken += -rows.p_mw[rows.p_mw < 0.0].sum() * t.h
        given += rows.p_mw[rows.p_mw > 0.0].sum() * t.h
        net = rows.p_mw.sum() * t.h
        drawn, fed_out = drawn + max(-net, 0.0), fed_out + max(net, 0.0)
        used += rows.p_load_mw.sum() * t.h
        made += rows.p_generation_mw.sum() * t.h
        curtailed += rows.p_curtailed_mw.sum() * t.h
    more = storage(t)["stored_change_mwh"]
    if more > 0.0:
        own, met = made - fed_out - more, used - drawn
    else:
        own, met = made - fed_out, used - drawn + more
    return {
        "demand_mwh": taken,
        "feed_in_mwh": given,
        "consumption_mwh": used,
        "generation_mwh": made,
        "curtailed_mwh": curtailed,
        "self_sufficiency_percent": met / used * 100.0,
        "self_consumption_percent": own / (made + curtailed) * 100.0,
    }


def storage(t: Tables) -> Figures:
    first, last = t.peer.soc_initial_mwh.sum(), t.agent[t.agent.period == t.periods[-1]].soc_mwh.sum()
    charged = -t.agent.p_storage_mw[t.agent.p_storage_mw < 0.0].sum() * t.h
    discharged = t.agent.p_storage_mw[t.agent.p_storage_mw > 0.0].sum() * t.h
    return {
        "stored_initial_mwh": first,
        "stored_final_mwh": last,
        "stored_change_mwh": last - first,
        "stored_change_eur": (last - first) * t.tariff["feed_in_eur_per_mwh"],
        "battery_losses_mwh": first + charged - discharged - last,
    }


def exchange(t: Tables) -> Figures:
    rows = t.at("period", "delivery").set_index("period")
    peak = rows.slack_p_mw.idxmax()
    then = t.agent[t.agent.period == peak]
    losses = sum(t.at(name, "delivery").pl_mw.sum() for name in ("line", "trafo")) * t.h
    return {
        "import_mwh": rows.slack_p_mw.clip(lower=0.0).sum() * t.h,
        "export_mwh": -rows.slack_p_mw.clip(upper=0.0).sum() * t.h,
        "peak_import_mw": rows.slack_p_mw[peak],
        "peak_import_period": peak,
        "peak_import_storage_mw": then.p_storage_mw.sum(),
        "losses_mwh": losses,
        "losses_percent": losses / (t.agent.p_load_mw.sum() * t.h) * 100.0,
    }


def branches(t: Tables, stage: str) -> pd.DataFrame:
    """Lines and transformers at a stage with limit, overflow and capacity at the limit."""
    volts = {bus["bus"]: bus["vn_kv"] for bus in t.topology["buses"]}
    made = []
    for kind in ("line", "trafo"):
        known = {each[kind]: each for each in t.topology[f"{kind}s"]}
        for row in t.at(kind, stage).itertuples():
            element = known[getattr(row, kind)]
            limit = element["max_loading_percent"]
            if kind == "trafo":
                rated_mva = element["sn_mva"]
            else:
                rated_mva = sqrt(3.0) * volts[element["from_bus"]] * row.i_ka / row.loading_percent * 100.0
            over = max(row.loading_percent - limit, 0.0)
            made.append(
                {
                    "period": row.period,
                    "element": f"{kind} {getattr(row, kind)}",
                    "loading": row.loading_percent,
                    "occupancy": row.loading_percent / limit * 100.0,
                    "capacity": rated_mva * limit / 100.0,
                    "over_percent": over,
                    "over_mw": abs(row.p_from_mw) * over / row.loading_percent,
                }
            )
    return pd.DataFrame(made)


def outside_band(t: Tables, stage: str) -> pd.DataFrame:
    """Buses at a stage with how far they are outside their band."""
    rows = t.at("bus", stage).copy()
    low = rows.bus.map({bus["bus"]: bus["min_vm_pu"] for bus in t.topology["buses"]})
    high = rows.bus.map({bus["bus"]: bus["max_vm_pu"] for bus in t.topology["buses"]})
    rows["outside"] = [max(a - v, v - b, 0.0) for v, a, b in zip(rows.vm_pu, low, high, strict=True)]
    return rows.reset_index(drop=True)


def limits_at_delivery(t: Tables) -> Figures:
    bus, branch = outside_band(t, "delivery"), branches(t, "delivery")
    low, high = bus.loc[bus.vm_pu.idxmin()], bus.loc[bus.vm_pu.idxmax()]
    full, worst = branch.loc[branch.loading.idxmax()], branch.loc[branch.occupancy.idxmax()]
    at = t.peer.groupby("bus").size()
    return {
        "min_vm_pu": low.vm_pu,
        "min_vm_period": low.period,
        "min_vm_bus": low.bus,
        "max_vm_pu": high.vm_pu,
        "max_vm_period": high.period,
        "max_vm_bus": high.bus,
        "max_loading_percent": full.loading,
        "max_loading_period": full.period,
        "max_loading_element": full.element,
        "max_occupancy_percent": worst.occupancy,
        "max_occupancy_period": worst.period,
        "voltage_violations": (bus.outside > 1e-6).sum(),
        "congestion_violations": (branch.over_percent > 1e-4).sum(),
        "unsupplied_peer_periods": int(bus.bus[bus.vm_pu.isna()].map(at).fillna(0).sum()),
    }


def limits_at(t: Tables, stage: str) -> Figures:
    bus, branch = outside_band(t, stage), branches(t, stage)
    over = branch[branch.over_percent > 1e-4]
    mw = percent = 0.0
    for _, rows in over.groupby("period"):
        mw += (rows.over_mw * rows.capacity).sum() / rows.capacity.sum()
        percent += (rows.over_percent * rows.capacity).sum() / rows.capacity.sum()
    n = len(t.periods)
    return {
        f"congested_lines_{stage}": len(over),
        f"overflow_sum_{stage}_mw": over.over_mw.sum() / n,
        f"overflow_weighted_{stage}_mw": mw / n,
        f"overflow_weighted_{stage}_percent": percent / n,
        f"voltage_violations_{stage}": (bus.outside > 1e-6).sum(),
    }


def endings(t: Tables) -> Figures:
    p2p, final = t.at("period", "p2p"), t.at("period", "final")
    figures: Figures = {"periods": len(t.periods), "not_converged": 0}
    for stage, rows in t.period.groupby("stage"):
        failed = sum(1 for value in rows.converged if not value)
        figures[f"not_converged_{stage}"] = failed
        figures["not_converged"] += failed
    explicit = final.capacity_status.notna().any()
    for part, rows in (("market", p2p), ("capacity" if explicit else "lfm", final)):
        opened = part == "lfm" or rows[f"{part}_status"].notna().any()
        for status in ("infeasible", "not_converged"):
            if len(rows) and opened:
                figures[f"{part}_{status}_periods"] = (rows[f"{part}_status"] == status).sum()
    if p2p.limits_met.notna().any():
        figures["limits_unmet_periods"] = sum(1 for value in p2p.limits_met if value is not None and not value)
    return figures


def money(t: Tables) -> Figures:
    balance = dict.fromkeys(("peers", "supplier", "dso", "outside", "market", "tso"), 0.0)
    flexible = promised = 0.0
    for row in t.settlement.itertuples():
        payer, payee = (
            "market" if (r := t.role(x)) in ("mediator", "p2p_market") else r for x in (row.payer, row.payee)
        )
        balance[payer] -= row.amount_eur
        balance[payee] += row.amount_eur
        sign = (payer == "dso") - (payee == "dso")
        if row.reason == "flexibility":
            flexible += sign * row.amount_eur
        if row.reason in ("incentive", "penalty"):
            promised += sign * row.amount_eur
    if not balance["tso"]:
        del balance["tso"]
    return {f"money_{role}_eur": value for role, value in balance.items()} | {
        "flexibility_paid_eur": flexible,
        "incentives_eur": promised,
    }


def savings(t: Tables) -> Figures:
    cost: dict[str, float] = {}
    alone: dict[str, float] = {}
    for name in t.peers:
        rows = t.agent[t.agent.agent == name]
        bills = t.settlement.amount_eur
        paid = bills[t.settlement.payer == name].sum() - bills[t.settlement.payee == name].sum()
        cost[name], alone[name] = paid - rows.utility_eur.sum(), rows.reference_payment_eur.sum()
    figures: Figures = {}
    for group, kinds in (KINDS | {"peers": [kind for each in KINDS.values() for kind in each]}).items():
        members = list(t.peer.agent[t.peer.kind.isin(kinds)])
        figures[f"n_{group}"] = len(members)
        if members:
            spent, before = sum(cost[name] for name in members), sum(alone[name] for name in members)
            figures[f"cost_{group}_eur"] = spent
            figures[f"reference_cost_{group}_eur"] = before
            figures[f"saving_{group}_eur"] = before - spent
            figures[f"saving_{group}_percent"] = (before - spent) / abs(before) * 100.0
    saved = {name: alone[name] - cost[name] for name in t.peers}
    for strategy, rows in t.peer.groupby("strategy"):
        figures[f"saving_per_peer_{strategy}_eur"] = sum(saved[name] for name in rows.agent) / len(rows)
    adopters = t.peer.agent[t.peer.strategy != "control"]
    figures["saving_per_peer_adopters_eur"] = sum(saved[name] for name in adopters) / len(adopters)
    figures |= {"saving_min_eur": min(saved.values()), "saving_max_eur": max(saved.values())}
    apart = sum(abs(a - b) for a in saved.values() for b in saved.values())
    return figures | {"saving_gini": apart / (2.0 * len(saved) * sum(abs(each) for each in saved.values()))}


def disclosure(t: Tables) -> Figures:
    n = len(t.peers)
    content = numbers_per_message(n, t.peer.bus.nunique()) | numbers_negotiating(n)  # held against messages elsewhere
    assert t.message.n.sum() == t.period.messages.sum()
    figures: Figures = {"messages": t.message.n.sum(), "messages_lost": t.message.n[t.message.delivered_s.isna()].sum()}
    for row in t.message.itertuples():
        way = f"{t.role(row.sender)}_to_{t.role(row.receiver)}"
        arrived = row.n if isfinite(row.delivered_s) else 0
        each = 0 if row.kind in GRID_DATA else content[row.kind]
        if row.kind == "ProposedTrades":
            each += 3 * (t.trade.period == row.period).sum()
        figures[f"messages_{way}"] = figures.get(f"messages_{way}", 0) + arrived
        figures[f"numbers_{way}"] = figures.get(f"numbers_{way}", 0) + arrived * each
    return figures


def negotiation(t: Tables) -> Figures:
    figures: Figures = {"rounds_mean": len(t.round) / len(t.periods)}
    if len(t.round):
        figures["lines_at_risk_mean"] = sum(t.round.n_at_risk) / len(t.round)
        blocked = t.signal[t.signal.kind == "blocking"]
        figures["blocked_pairs_mean"] = len(blocked) / len(t.round)
    return figures


def services(t: Tables) -> Figures:
    figures: Figures = {}
    if len(t.regulation):
        for name in ("requested", "accepted", "provided"):
            figures[f"regulation_{name}_mwh"] = sum(abs(p) * t.h for p in t.regulation[f"{name}_mw"])
        moved = sum(row.p_mw for row in t.energy.itertuples() if {row.seller, row.buyer} & t.virtual)
        assert figures["regulation_accepted_mwh"] == pytest.approx(moved * t.h)
    final = t.at("period", "final")
    if not len(final):
        return figures
    if final.capacity_status.notna().any():
        held = t.flexibility.groupby("period").activated_mw.sum()
        short = final.set_index("period").capacity_missing_mw.fillna(0.0)
        n = len(t.periods)
        return figures | {
            "capacity_traded_mean_mw": sum(held) / n,
            "capacity_periods": len({*held.index[held > 0.0], *short.index[short > 0.0]}),
            "capacity_missing_mean_mw": sum(short) / n,
            "capacity_missing_max_mw": max(short),
        }
    branch, bus = branches(t, "final"), outside_band(t, "final")
    asked = set(final.period[final.lfm_status.notna()])
    left = branch[branch.period.isin(asked)].groupby("period").over_mw.sum()
    beyond = bus[bus.period.isin(asked)].groupby("period").outside.max()
    solved = set(final.period[final.lfm_status.isin(("optimal", "infeasible"))])
    unmet = {*left.index[left > 1e-9], *beyond.index[beyond > 1e-6]} & solved
    return figures | {
        "lfm_cost_eur": t.flexibility.paid_eur.sum(),
        "lfm_volume_mwh": t.flexibility.activated_mw.sum() * t.h,
        "lfm_runs": len(asked),
        "lfm_infeasible_percent": len(unmet) / len(t.periods) * 100.0,
        "lfm_missing_mwh": left.sum() * t.h,
        "lfm_missing_max_mw": left.max(),
        "lfm_missing_max_pu": beyond.max(),
    }


@pytest.mark.parametrize("design", DESIGNS)
def test_every_key_figure_is_what_the_tables_say(design: str) -> None:
    results = audited(design, 900 if design in QUARTERS else 3600)
    expected, found = again(results), results.kpi
    assert not set(found) - set(expected), "key figures that nobody has worked out again"
    assert not set(expected) - set(found), "key figures that are missing"
    wrong = {
        name: (value, expected[name])
        for name, value in found.items()
        if value != expected[name] and value != pytest.approx(expected[name], rel=1e-6, abs=1e-9)
    }
    assert not wrong
