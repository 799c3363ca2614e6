"""From a period's result to the rows of each table.

One method per table: arrays in, columns out, names as codes into one vocabulary. Nothing here loops over peers.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from peerwatt.agents.messages import FloatArray, IntArray
from peerwatt.agents.offers import PRODUCTS
from peerwatt.agents.records import Activated, CapacityRound, RoundRecord
from peerwatt.grid.network import Network
from peerwatt.grid.state import BranchState, GridState
from peerwatt.market.clearing import Clearing
from peerwatt.market.product import Product
from peerwatt.market.settlement import REASONS, Reason
from peerwatt.sim.period import PeriodResult
from peerwatt.sim.tables import STAGES

__all__ = ["PRODUCT_WORDS", "Columns", "Rows", "Vocabulary"]

Columns = dict[str, Any]

PRODUCT_WORDS = (str(Product.ENERGY), *PRODUCTS, str(Product.CAPACITY))
"""Products by their code in the tables: energy, what devices can do for the DSO, capacity among peers."""

_UNKNOWN = (
    "slack_p_mw",
    "losses_mw",
    "n_congested_lines",
    "overflow_sum_mw",
    "overflow_weighted_mean",
    "overflow_weighted_mw",
    "n_voltage_violations",
    "min_vm_pu",
    "max_vm_pu",
    "max_loading_percent",
    "max_occupancy_percent",
)
"""What nobody knows where the power flow has no solution."""


class Vocabulary:
    """Names by code: peers first, then supplier, DSO and market, then everyone else on the bus.

    Args:
        peers: names of the peers.
        market: name of who runs the market.
        others: further names.
    """

    def __init__(self, peers: tuple[str, ...], market: str, others: tuple[str, ...]) -> None:
        self.names = [*peers, *others]
        self.market = market
        self.code = {name: i for i, name in enumerate(self.names)}


class Rows:
    """Makes the rows of every table.

    Args:
        network: the grid.
        vocabulary: names of everyone who can occur.
    """

    def __init__(self, network: Network, vocabulary: Vocabulary) -> None:
        self._network = network
        self._vocabulary = vocabulary
        self.branches = [f"line {name}" for name in network.lines.name] + [f"trafo {n}" for n in network.trafos.name]
        self.by_table: dict[str, Callable[[PeriodResult], Columns]] = {
            "bus": self._bus,
            "line": self._line,
            "trafo": self._trafo,
            "bid": self._bid,
            "trade": _trade,
            "round": self._round,
            "signal": _signal,
            "regulation": self._regulation,
            "flexibility": self._flexibility,
            "message": self._message,
            "settlement": _settlement,
            "agent": _agent,
            "period": self._period,  # last: a period whose row is there is complete in all tables
        }

    def _period(self, result: PeriodResult) -> Columns:
        reached = _stages(result)
        n = len(reached)
        columns: Columns = {"period": np.full(n, result.period), "stage": np.array([code for code, _ in reached])}
        rows = [_grid_totals(state, self._network) for _, state in reached]
        for name in rows[0] if rows else ():
            columns[name] = [row[name] for row in rows]
        for stage, totals in (
            ("p2p", _market_totals(result)),
            ("final", _flexibility_totals(result) | _capacity_totals(result)),
        ):
            for name, value in totals.items():
                columns[name] = [value if STAGES[code] == stage else None for code, _ in reached]
        # All messages of a period stand at its last stage.
        total = sum(delivery.n for delivery in result.messages)
        columns["messages"] = [total if i == n - 1 else 0 for i in range(n)]
        return columns

    def _round(self, result: PeriodResult) -> Columns:
        rounds, index = result.rounds, self._network.buses.index
        signals, tried = [each.signals for each in rounds], [each.measures for each in rounds]
        extremes = [each.extremes for each in rounds]
        return {
            "period": np.full(len(rounds), result.period),
            "cycle": [each.cycle for each in rounds],
            "round": [each.number for each in rounds],
            "converged": [each.converged for each in rounds],
            "n_congested_lines": [each.n_congested if each.converged else None for each in rounds],
            "overflow_sum_mw": [each.overflow_sum_mw if each.converged else None for each in rounds],
            "n_voltage_violations": [each.n_voltage if each.converged else None for each in rounds],
            "n_at_risk": [0 if each is None else len(each.at_risk) for each in signals],
            "n_blocked": [0 if each is None else int(np.count_nonzero(each.blocked)) for each in signals],
            "p2p_volume_mw": [each.p2p_volume_mw for each in rounds],
            "residual_mw": [_known(each.residual_mw) for each in rounds],
            "penalty_eur_per_mwh": [None if each is None else each.penalty_eur_per_mwh for each in tried],
            "load_flexibility": [None if each is None else _largest(each.load_share) for each in tried],
            "generation_flexibility": [None if each is None else _largest(each.generation_share) for each in tried],
            "n_reactive": [None if each is None else each.n_reactive for each in tried],
            "worst_branch": [None if each is None or each.branch < 0 else each.branch for each in extremes],
            "worst_loading_percent": [None if each is None else _known(each.loading_percent) for each in extremes],
            "worst_bus": [None if each is None or each.bus < 0 else int(index[each.bus]) for each in extremes],
            "worst_vm_pu": [None if each is None else _known(each.vm_pu) for each in extremes],
        }

    def _regulation(self, result: PeriodResult) -> Columns:
        found = result.regulation
        if found is None:
            return {}
        frequency, bus = found.frequency, int(self._network.buses.index[found.bus]) if found.bus >= 0 else None
        return {
            "period": [result.period],
            "requested_mw": [found.requested_mw],
            "accepted_mw": [found.accepted_mw],
            "provided_mw": [found.provided_mw],
            "price_eur_per_mwh": [_known(found.price_eur_per_mwh)],
            "refused_branch": [found.branch if found.branch >= 0 else None],
            "refused_bus": [bus],
            "imbalance_mw": [_known(frequency.imbalance_mw)],
            "deviation_hz": [_known(frequency.deviation_hz)],
            "deviation_without_hz": [_known(frequency.deviation_without_hz)],
            "nadir_hz": [_known(frequency.nadir_hz)],
        }

    def _bus(self, result: PeriodResult) -> Columns:
        reached = _stages(result)
        return {
            **_keys(result, reached, self._network.n_bus),
            "bus": np.tile(self._network.buses.index, len(reached)),
            **{
                name: np.concatenate([getattr(state, name) for _, state in reached])
                for name in ("vm_pu", "va_degree", "p_mw", "q_mvar")
            },
        }

    def _line(self, result: PeriodResult) -> Columns:
        reached = _stages(result)
        flows = [state.line for _, state in reached]
        return {**_keys(result, reached, self._network.n_line), **_branch("line", self._network.lines.index, flows)}

    def _trafo(self, result: PeriodResult) -> Columns:
        reached = _stages(result)
        flows = [state.trafo for _, state in reached]
        return {**_keys(result, reached, self._network.n_trafo), **_branch("trafo", self._network.trafos.index, flows)}

    def _bid(self, result: PeriodResult) -> Columns:
        bids, code = result.bids, self._vocabulary.code
        if bids is None:
            return {}
        n = len(bids.peer)
        return {
            "period": np.full(n, result.period),
            "market": np.full(n, code[self._vocabulary.market]),
            "agent": np.where(bids.peer < 0, code["supplier"], bids.peer),
            "step": bids.step,
            "p_min_mw": bids.p_min_mw,
            "p_max_mw": bids.p_max_mw,
            "cost_a_eur_per_mw2h": bids.cost_a,
            "cost_b_eur_per_mwh": bids.cost_b,
        }

    def _flexibility(self, result: PeriodResult) -> Columns:
        parts: list[Activated | CapacityRound] = [*result.flexibility, *result.capacity]
        if not parts:
            return {}
        return {
            "period": np.full(sum(len(part.account) for part in parts), result.period),
            "cycle": np.concatenate([np.full(len(part.account), part.cycle) for part in parts]),
            "agent": np.concatenate([part.account for part in parts]),
            "bus": self._network.buses.index[np.concatenate([part.bus for part in parts])],
            "product": 1 + np.concatenate([part.product for part in parts]),  # 0 is energy
            **{
                name: np.concatenate([getattr(part, name) for part in parts])
                for name in ("offered_mw", "activated_mw", "bid_eur_per_mwh", "paid_eur")
            },
        }

    def _message(self, result: PeriodResult) -> Columns:
        code, rows = self._vocabulary.code, result.messages
        return {
            "time_s": [row.time_s for row in rows],
            "period": [row.period for row in rows],
            "kind": [row.kind for row in rows],
            "sender": [code[row.sender] for row in rows],
            "receiver": [code[row.receiver] for row in rows],
            "delivered_s": [row.delivered_s if row.delivered_s >= 0 else None for row in rows],
            "n": [row.n for row in rows],
        }


def _stages(result: PeriodResult) -> list[tuple[int, GridState]]:
    """Stages that were reached, in order, with their codes."""
    return [(code, result.states[stage]) for code, stage in enumerate(STAGES) if stage in result.states]


def _keys(result: PeriodResult, reached: list[tuple[int, GridState]], n: int) -> Columns:
    return {
        "period": np.full(n * len(reached), result.period),
        "stage": np.repeat(np.array([code for code, _ in reached]), n),
    }


def _branch(kind: str, index: IntArray, flows: list[BranchState]) -> Columns:
    names = ("p_from_mw", "q_from_mvar", "i_ka", "loading_percent", "pl_mw")
    columns: Columns = {kind: np.tile(index, len(flows))}
    return columns | {name: np.concatenate([getattr(flow, name) for flow in flows]) for name in names}


def _grid_totals(state: GridState, network: Network) -> Columns:
    if not state.converged:
        return {"converged": False, "reason": state.reason, **dict.fromkeys(_UNKNOWN)}
    violations = state.violations(network)
    congested = violations.n_congested
    loading = np.concatenate([state.line.loading_percent, state.trafo.loading_percent])
    occupancy = np.concatenate(state.occupancy(network))
    return {
        "converged": True,
        "reason": "",
        "slack_p_mw": state.slack_p_mw,
        "losses_mw": state.losses_mw,
        "n_congested_lines": congested,
        "overflow_sum_mw": state.overflow_sum_mw(network) if congested else 0.0,
        "overflow_weighted_mean": state.overflow_weighted_mean(network) if congested else 0.0,
        "overflow_weighted_mw": state.overflow_weighted_mw(network) if congested else 0.0,
        "n_voltage_violations": violations.n_voltage,
        "min_vm_pu": float(np.nanmin(state.vm_pu)),
        "max_vm_pu": float(np.nanmax(state.vm_pu)),
        "max_loading_percent": float(np.nanmax(loading)) if len(loading) else None,
        "max_occupancy_percent": 100.0 * float(np.nanmax(occupancy)) if len(loading) else None,
    }


def _market_totals(result: PeriodResult) -> Columns:
    clearing, trades = result.clearing, result.trades
    price, kept = trades.mean_price_eur_per_mwh, float(_spread(result) @ trades.p_mw)
    traded = trades.volume_mw > 0.0
    return {
        "p2p_volume_mwh": trades.volume_mw * result.period_h,
        "p2p_price_eur_per_mwh": price if traded else None,
        "p2p_buyer_price_eur_per_mwh": price + kept / trades.volume_mw if traded else None,
        "p2p_surplus_eur": kept * result.period_h,
        "social_welfare_eur": _welfare(result, clearing) if clearing is not None and clearing.status.solved else None,
        "market_status": clearing.status.value if clearing is not None else None,
        "iterations": clearing.iterations if clearing is not None else None,
        "rounds": len(result.rounds),
        "limits_met": result.limits_met,
        "incentives_eur": _paid_for(result, Reason.INCENTIVE) - _paid_for(result, Reason.PENALTY),
    }


def _spread(result: PeriodResult) -> FloatArray:
    """What the market keeps of each trade of energy, EUR/MWh; (n_trades,)."""
    spread = np.empty(0) if result.clearing is None else result.clearing.spread_eur_per_mwh
    return spread if spread.size else np.zeros(len(result.trades))


def _welfare(result: PeriodResult, clearing: Clearing) -> float:
    """Welfare by the bids: what signals made trades cost or earn is a transfer or a mere weight, and not in it."""
    signals, trades = result.rounds[-1].signals if result.rounds else None, result.trades
    if signals is None:
        return clearing.social_welfare_eur
    cost = signals.seller_cost[trades.seller, trades.buyer] + signals.buyer_cost[trades.seller, trades.buyer]
    return clearing.social_welfare_eur + float(cost @ trades.p_mw) * result.period_h


def _paid_for(result: PeriodResult, reason: Reason) -> float:
    entries = result.entries
    return float(entries.amount_eur[entries.reason == REASONS.index(reason)].sum())


def _flexibility_totals(result: PeriodResult) -> Columns:
    parts = result.flexibility
    if not parts:
        names = ("lfm_status", "lfm_volume_mwh", "lfm_cost_eur", "lfm_missing_mw", "lfm_missing_pu")
        return dict.fromkeys(names)
    return {
        "lfm_status": parts[-1].clearing.status.value,
        "lfm_volume_mwh": float(sum(part.activated_mw.sum() for part in parts)) * result.period_h,
        "lfm_cost_eur": float(sum(part.paid_eur.sum() for part in parts)),
        "lfm_missing_mw": _known(parts[-1].missing_mw),
        "lfm_missing_pu": _known(parts[-1].missing_pu),
    }


def _capacity_totals(result: PeriodResult) -> Columns:
    parts = result.capacity
    if not parts:
        return dict.fromkeys(("capacity_status", "capacity_mw", "capacity_missing_mw"))
    return {
        "capacity_status": parts[-1].clearing.status.value,
        "capacity_mw": float(sum(part.activated_mw.sum() for part in parts)),
        "capacity_missing_mw": parts[-1].missing_mw,
    }


def _known(value: float) -> float | None:
    return None if np.isnan(value) else value


def _largest(share: FloatArray | None) -> float:
    return 0.0 if share is None else float(np.abs(share).max(initial=0.0))


def _signal(result: PeriodResult) -> Columns:
    """Pairs that are blocked or have costs, one row each per round."""
    parts = [_signal_rows(result.period, each) for each in result.rounds if each.signals is not None]
    if not parts:
        return {}
    return {name: [value for part in parts for value in part[name]] for name in parts[0]}


def _signal_rows(period: int, record: RoundRecord) -> dict[str, list[Any]]:
    signals = record.signals
    if signals is None:
        raise ValueError("a round without signals has no rows")
    seller, buyer = np.nonzero(signals.blocked | (signals.seller_cost != 0.0) | (signals.buyer_cost != 0.0))
    n, cause = len(seller), signals.cause[seller, buyer].tolist()
    return {
        "period": [period] * n,
        "cycle": [record.cycle] * n,
        "round": [record.number] * n,
        "kind": [str(signals.kind)] * n,
        "seller": seller.tolist(),
        "buyer": buyer.tolist(),
        "branch": [None if each < 0 else each for each in cause],
        "seller_cost_eur_per_mwh": signals.seller_cost[seller, buyer].tolist(),
        "buyer_cost_eur_per_mwh": signals.buyer_cost[seller, buyer].tolist(),
    }


def _trade(result: PeriodResult) -> Columns:
    energy = (PRODUCT_WORDS.index(Product.ENERGY), max(len(result.rounds) - 1, 0), result.trades)
    capacity = [(PRODUCT_WORDS.index(Product.CAPACITY), each.cycle, each.trades) for each in result.capacity]
    parts = [energy, *capacity]
    n = [len(trades) for _, _, trades in parts]
    return {
        "period": np.full(sum(n), result.period),
        "product": np.repeat([product for product, _, _ in parts], n),
        **{
            name: np.concatenate([getattr(trades, name) for _, _, trades in parts])
            for name in ("seller", "buyer", "p_mw", "price_eur_per_mwh")
        },
        "buyer_price_eur_per_mwh": np.concatenate(
            (
                result.trades.price_eur_per_mwh + _spread(result),
                *(each.trades.price_eur_per_mwh for each in result.capacity),
            )
        ),
        "fee_eur_per_mwh": np.concatenate((result.fee_eur_per_mwh, np.zeros(sum(n[1:])))),
        "round": np.repeat([round_ for _, round_, _ in parts], n),
    }


def _settlement(result: PeriodResult) -> Columns:
    entries = result.entries
    return {
        "period": np.full(len(entries), result.period),
        "payer": entries.payer,
        "payee": entries.payee,
        "reason": entries.reason,
        "amount_eur": entries.amount_eur,
    }


def _agent(result: PeriodResult) -> Columns:
    n = len(result.p_traded_mw)
    return {
        "period": np.full(n, result.period),
        "agent": np.arange(n),
        "p_forecast_mw": result.p_forecast_mw,
        "p_p2p_mw": result.p_p2p_mw,
        "p_mw": result.p_delivered_mw,
        "q_mvar": result.q_delivered_mvar,
        "p_load_mw": result.p_load_mw,
        "p_generation_mw": result.p_generation_mw,
        "p_curtailed_mw": result.p_curtailed_mw,
        "p_storage_mw": result.p_storage_mw,
        "p_traded_mw": result.p_traded_mw,
        "soc_mwh": result.soc_mwh,
        "utility_eur": result.utility_eur,
        "payment_eur": result.payment_eur,
        "reference_payment_eur": result.reference_payment_eur,
    }
