"""Key figures of the coordination of trading with the grid: those of D5.3, Table 7, and who gains and pays.

Their names and meanings are in the list of `peerwatt.sim.kpi`.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from peerwatt.market.clearing import Status
from peerwatt.sim.columns import at_stage, codes, numbers, strings
from peerwatt.sim.roles import Role, role_of
from peerwatt.sim.tables import Stage

__all__ = ["coordination_figures", "money_figures"]

Figures = dict[str, float | int | str]
Floats = NDArray[np.float64]

_BEFORE_DELIVERY = (Stage.FORECAST, Stage.P2P, Stage.FINAL)
_MARKETS = (Role.MEDIATOR, Role.P2P_MARKET)

_SOLVED = (Status.OPTIMAL, Status.INFEASIBLE)  # of a flexibility market that has a result, for all it is worth


def coordination_figures(tables: Mapping[str, pa.Table], hours: float) -> Figures:
    """Limits at each stage, negotiation, incentives, and the flexibility or capacity market where there is one.

    Args:
        tables: `period`, and `round` if it was recorded.
        hours: length of a period.
    """
    explicit = bool(np.isfinite(numbers(tables["period"], "capacity_mw")).any())
    period = tables["period"]
    figures: Figures = {}
    for stage in _BEFORE_DELIVERY:
        rows = at_stage(period, stage)
        if rows.num_rows:
            figures |= _limits(rows, stage)
    p2p, final = at_stage(period, Stage.P2P), at_stage(period, Stage.FINAL)
    if p2p.num_rows:
        rounds = numbers(p2p, "rounds")
        if np.isfinite(rounds).any():
            figures["rounds_mean"] = float(np.nanmean(rounds))
        figures["incentives_eur"] = float(np.nansum(numbers(p2p, "incentives_eur")))
    if "round" in tables and tables["round"].num_rows:
        figures["lines_at_risk_mean"] = float(numbers(tables["round"], "n_at_risk").mean())
        figures["blocked_pairs_mean"] = float(numbers(tables["round"], "n_blocked").mean())
    if "regulation" in tables and tables["regulation"].num_rows:
        figures |= _regulation(tables["regulation"], hours)
    if final.num_rows:
        figures |= _capacity(final) if explicit else _flexibility_market(final, hours)
    return figures


def _regulation(regulation: pa.Table, hours: float) -> Figures:
    names = ("requested", "accepted", "provided")
    asked, accepted, provided = (np.abs(numbers(regulation, f"{name}_mw")) for name in names)
    return {
        "regulation_requested_mwh": float(asked.sum()) * hours,
        "regulation_accepted_mwh": float(accepted.sum()) * hours,
        "regulation_provided_mwh": float(np.nansum(provided)) * hours,
    }


def _limits(rows: pa.Table, stage: Stage) -> Figures:
    """Violations at a stage; periods without a solution do not count."""
    known = numbers(rows, "converged") > 0.0
    if not known.any():
        return {}

    def mean(column: str) -> float:
        return float(np.nan_to_num(numbers(rows, column)[known]).mean())

    return {
        f"congested_lines_{stage}": int(np.nansum(numbers(rows, "n_congested_lines"))),
        f"overflow_sum_{stage}_mw": mean("overflow_sum_mw"),
        f"overflow_weighted_{stage}_mw": mean("overflow_weighted_mw"),
        f"overflow_weighted_{stage}_percent": mean("overflow_weighted_mean"),
        f"voltage_violations_{stage}": int(np.nansum(numbers(rows, "n_voltage_violations"))),
    }


def _flexibility_market(final: pa.Table, hours: float) -> Figures:
    status = [text for text in strings(final, "lfm_status") if text]
    missing, outside = (np.nan_to_num(numbers(final, f"lfm_missing_{unit}")) for unit in ("mw", "pu"))
    solved = np.isin(np.array(strings(final, "lfm_status"), dtype=object), _SOLVED)
    return {
        "lfm_cost_eur": float(np.nansum(numbers(final, "lfm_cost_eur"))),
        "lfm_volume_mwh": float(np.nansum(numbers(final, "lfm_volume_mwh"))),
        "lfm_runs": len(status),
        "lfm_infeasible_percent": 100.0 * float((solved & (missing + outside > 0.0)).mean()),
        "lfm_missing_mwh": float(missing.sum()) * hours,
        "lfm_missing_max_mw": float(missing.max()),
        "lfm_missing_max_pu": float(outside.max()),
    }


def _capacity(final: pa.Table) -> Figures:
    missing = np.nan_to_num(numbers(final, "capacity_missing_mw"))
    traded = np.nan_to_num(numbers(final, "capacity_mw"))
    return {
        "capacity_traded_mean_mw": float(traded.mean()),
        "capacity_periods": int(np.count_nonzero(traded + missing)),
        "capacity_missing_mean_mw": float(missing.mean()),
        "capacity_missing_max_mw": float(missing.max()),
    }


def money_figures(settlement: pa.Table, peer: pa.Table) -> Figures:
    """What each role received less what it paid; the figures add up to zero.

    Args:
        settlement: every payment.
        peer: who the peers are.
    """
    names = frozenset(strings(peer, "agent"))
    amount = numbers(settlement, "amount_eur")
    payer, payee = (_roles(settlement, side, names) for side in ("payer", "payee"))
    roles = list(Role)
    balance = np.bincount(payee, amount, len(roles)) - np.bincount(payer, amount, len(roles))
    market = float(sum(balance[roles.index(each)] for each in _MARKETS))
    figures: Figures = {
        f"money_{each}_eur": float(balance[roles.index(each)])
        for each in (Role.PEERS, Role.SUPPLIER, Role.DSO, Role.OUTSIDE)
    }
    reason, words = codes(settlement, "reason")
    flexible = np.array([word == "flexibility" for word in words], dtype=bool)[reason]
    dso = roles.index(Role.DSO)
    paid = amount[flexible & (payer == dso)].sum() - amount[flexible & (payee == dso)].sum()
    if balance[roles.index(Role.TSO)]:
        figures["money_tso_eur"] = float(balance[roles.index(Role.TSO)])
    return figures | {"money_market_eur": market, "flexibility_paid_eur": float(paid)}


def _roles(table: pa.Table, column: str, peers: frozenset[str]) -> NDArray[np.intp]:
    """Role of each row's account, as a position among the roles, (n_rows,)."""
    code, names = codes(table, column)
    order = {role: place for place, role in enumerate(Role)}
    return np.array([order[role_of(name, peers)] for name in names], dtype=np.intp)[code]
