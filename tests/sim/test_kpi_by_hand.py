"""Key figures of four half hours in which nothing stays the same, each worked out by hand.

The power flow fails at another stage in each of three periods, the market in one; the flexibility market is not needed
in period 2, fails in period 3, and in period 0 who is moved pays for it. A consumer, a producer, a prosumer with a
battery that is cut off at the end, a resource outside, and a virtual load that is no peer.
"""

from __future__ import annotations

from typing import Any

import pytest

from peerwatt.sim.kpi import Kpi, compute_kpis
from tests.fabricate import Rows, as_tables

MANIFEST = {"period_s": 1800, "feed_in_eur_per_mwh": 50.0}
PERIODS = range(4)
ELSEWHERE = {"forecast", "p2p", "final"}

PERIOD: dict[str, dict[str, list[Any]]] = {
    "forecast": {
        "converged": [True, False, True, True],
        "n_congested_lines": [1, None, 2, 0],
        "overflow_sum_mw": [0.5, None, 1.0, 0.0],
        "overflow_weighted_mw": [0.2, None, 0.4, 0.0],
        "overflow_weighted_mean": [10.0, None, 5.0, 0.0],
        "n_voltage_violations": [0, None, 3, 1],
    },
    "p2p": {
        "converged": [True, True, True, True],
        "n_congested_lines": [2, 0, 1, 1],
        "overflow_sum_mw": [1.0, 0.0, 0.2, 0.4],
        "overflow_weighted_mw": [0.8, 0.0, 0.2, 0.2],
        "overflow_weighted_mean": [20.0, 0.0, 4.0, 8.0],
        "n_voltage_violations": [1, 0, 0, 2],
        "p2p_volume_mwh": [0.5, 1.0, 0.0, 0.25],
        "p2p_price_eur_per_mwh": [100.0, 200.0, None, 160.0],
        "p2p_buyer_price_eur_per_mwh": [110.0, 206.0, None, 160.0],
        "p2p_surplus_eur": [5.0, 6.0, 0.0, 0.0],
        "social_welfare_eur": [20.0, 30.0, None, 5.0],
        "market_status": ["optimal", "optimal", "not_converged", "empty"],
        "rounds": [2, 3, 1, 4],
        "limits_met": [True, False, None, True],
        "incentives_eur": [3.0, -1.0, 0.5, 0.0],
    },
    "final": {
        "converged": [True, True, True, False],
        "n_congested_lines": [0, 1, 0, None],
        "overflow_sum_mw": [0.0, 0.6, 0.0, None],
        "overflow_weighted_mw": [0.0, 0.3, 0.0, None],
        "overflow_weighted_mean": [0.0, 9.0, 0.0, None],
        "n_voltage_violations": [0, 2, 0, None],
        "lfm_status": ["optimal", "infeasible", None, "not_converged"],
        "lfm_volume_mwh": [1.5, 2.0, None, 0.0],
        "lfm_cost_eur": [-12.0, 40.0, None, 0.0],
        "lfm_missing_mw": [0.0, 0.6, None, 0.3],
        "lfm_missing_pu": [0.0, 0.02, None, 0.01],
    },
    "delivery": {
        "converged": [True, True, False, True],
        "slack_p_mw": [-2.8, 6.4, None, 1.1],
        "losses_mw": [0.2, 0.4, None, 0.1],
        "n_congested_lines": [1, 2, None, 0],
        "n_voltage_violations": [0, 1, None, 2],
        "min_vm_pu": [0.98, 0.94, None, 0.96],
        "max_vm_pu": [1.0, 1.01, None, 1.06],
        "max_loading_percent": [80.0, 120.0, None, 30.0],
        "max_occupancy_percent": [160.0, 150.0, None, 60.0],
    },
}
EXTREME = {"slack_p_mw": 99.0, "losses_mw": 9.0, "min_vm_pu": 0.5, "max_vm_pu": 1.5, "max_loading_percent": 500.0}
"""What is at every stage but delivery, and in no figure."""

AGENT: dict[str, dict[str, list[float]]] = {
    "a": {
        "p_mw": [-4.0, -5.0, -6.0, -2.0],
        "p_load_mw": [4.0, 5.0, 6.0, 2.0],
        "payment_eur": [40.0, 20.0, 20.0, 6.0],
        "utility_eur": [2.0, 1.0, 0.0, 0.0],
        "reference_payment_eur": [40.0, 30.0, 20.0, 10.0],
    },
    "b": {
        "p_mw": [6.0, 0.0, 2.0, 1.0],
        "p_generation_mw": [6.0, 0.0, 2.0, 1.0],
        "p_curtailed_mw": [1.0, 0.0, 1.0, 0.0],
        "payment_eur": [-30.0, -10.0, -10.0, -6.0],
        "reference_payment_eur": [-20.0, -10.0, -10.0, -10.0],
    },
    "c": {
        "p_mw": [1.0, -1.0, -1.0, 0.0],
        "p_load_mw": [2.0, 3.0, 1.0, 0.0],
        "p_generation_mw": [4.0, 1.0, 1.0, 0.0],
        "p_storage_mw": [-1.0, 1.0, -1.0, 0.0],
        "soc_mwh": [1.4, 0.8, 1.2, 1.2],
        "payment_eur": [0.0, -5.0, 0.0, 0.0],
        "utility_eur": [0.0, -1.0, 0.0, 0.0],
        "reference_payment_eur": [1.0, 1.0, 1.0, 1.0],
    },
    "virtual load": {
        "p_mw": [-3.0, 3.0, 0.0, 0.0],
        "p_load_mw": [3.0, -3.0, 0.0, 0.0],
        "payment_eur": [9.0, 0.0, 0.0, 0.0],
        "reference_payment_eur": [-7.0, 0.0, 0.0, 0.0],
    },
}
VOLTAGE = {
    10: [1.0, 1.01, None, 1.0],
    20: [0.98, 0.94, None, 0.96],
    30: [0.99, 0.95, None, 1.06],
    40: [0.985, 0.96, None, None],
}
SETTLEMENT = [
    ("a", "b", "p2p", 30.0),
    ("a", "mediator", "p2p", 2.0),
    ("a", "supplier", "supply", 50.0),
    ("supplier", "b", "feed_in", 20.0),
    ("b", "supplier", "imbalance", 1.0),
    ("a", "dso", "network_fee", 4.0),
    ("dso", "supplier", "losses", 6.0),
    ("dso", "c", "flexibility", 8.0),
    ("c", "dso", "flexibility", 3.0),
    ("dso", "genset", "flexibility", 5.0),
    ("dso", "mediator (flexibility)", "flexibility", 7.0),
    ("mediator (flexibility)", "b", "flexibility", 7.0),
    ("virtual load", "b", "p2p", 9.0),
]
MESSAGE = [
    (0, "Bid", "a", "mediator", 5, 3),
    (0, "Bid", "b", "mediator", None, 2),
    (1, "Bid", "peers", "mediator", 5, 1),
    (0, "ProposedTrades", "mediator", "dso", 5, 1),
    (1, "ProposedTrades", "mediator", "dso", 5, 2),
    (1, "FlexibilityNeed", "dso", "fmo", 5, 1),
]

EXPECTED: dict[str, Kpi] = {
    # Market: 290 EUR for 1.75 MWh to sellers, 301 from buyers.
    "p2p_volume_mwh": 1.75,
    "p2p_mean_price_eur_per_mwh": 290.0 / 1.75,
    "p2p_buyer_mean_price_eur_per_mwh": 172.0,
    "p2p_surplus_eur": 11.0,
    "p2p_share_of_demand_percent": 100.0 * 1.75 / 9.5,
    "social_welfare_eur": 55.0,
    # Energy: net -3 (out), 6, 5, 1 MW; half hours.
    "demand_mwh": 9.5,
    "feed_in_mwh": 5.0,
    "consumption_mwh": 11.5,
    "generation_mwh": 7.5,
    "curtailed_mwh": 1.0,
    "self_sufficiency_percent": 100.0 * (11.5 - 6.0) / 11.5,
    "self_consumption_percent": 100.0 * (7.5 - 1.5 - 0.2) / (7.5 + 1.0),
    "stored_initial_mwh": 1.0,
    "stored_final_mwh": 1.2,
    "stored_change_mwh": 0.2,
    "stored_change_eur": 10.0,
    "battery_losses_mwh": 0.3,
    # Exchange: without period 2, whose 7 MW of consumption is not in the share either.
    "import_mwh": 3.75,
    "export_mwh": 1.4,
    "peak_import_mw": 6.4,
    "peak_import_period": 1,
    "peak_import_storage_mw": 1.0,
    "losses_mwh": 0.35,
    "losses_percent": 100.0 * 0.35 / 8.0,
    # The grid at delivery.
    "min_vm_pu": 0.94,
    "min_vm_period": 1,
    "min_vm_bus": 20,
    "max_vm_pu": 1.06,
    "max_vm_period": 3,
    "max_vm_bus": 30,
    "max_loading_percent": 120.0,
    "max_loading_period": 1,
    "max_loading_element": "trafo 3",
    "max_occupancy_percent": 160.0,
    "max_occupancy_period": 0,
    "congestion_violations": 3,
    "voltage_violations": 3,
    "unsupplied_peer_periods": 1,
    # And before: means over the periods that have a solution.
    "congested_lines_forecast": 3,
    "overflow_sum_forecast_mw": 0.5,
    "overflow_weighted_forecast_mw": 0.2,
    "overflow_weighted_forecast_percent": 5.0,
    "voltage_violations_forecast": 4,
    "congested_lines_p2p": 4,
    "overflow_sum_p2p_mw": 0.4,
    "overflow_weighted_p2p_mw": 0.3,
    "overflow_weighted_p2p_percent": 8.0,
    "voltage_violations_p2p": 3,
    "congested_lines_final": 1,
    "overflow_sum_final_mw": 0.2,
    "overflow_weighted_final_mw": 0.1,
    "overflow_weighted_final_percent": 3.0,
    "voltage_violations_final": 2,
    # How periods ended.
    "periods": 4,
    "not_converged": 3,
    "not_converged_forecast": 1,
    "not_converged_p2p": 0,
    "not_converged_final": 1,
    "not_converged_delivery": 1,
    "market_infeasible_periods": 0,
    "market_not_converged_periods": 1,
    "lfm_infeasible_periods": 1,
    "lfm_not_converged_periods": 1,
    "limits_unmet_periods": 1,
    # Coordination: of period 3 it is not known what the market left, as it has no result.
    "rounds_mean": 2.5,
    "incentives_eur": 2.5,
    "lines_at_risk_mean": 2.0,
    "blocked_pairs_mean": 3.0,
    "lfm_cost_eur": 28.0,
    "lfm_volume_mwh": 3.5,
    "lfm_runs": 3,
    "lfm_infeasible_percent": 25.0,
    "lfm_missing_mwh": 0.45,
    "lfm_missing_max_mw": 0.6,
    "lfm_missing_max_pu": 0.02,
    "regulation_requested_mwh": 1.5,
    "regulation_accepted_mwh": 1.0,
    "regulation_provided_mwh": 0.6,
    # Money: peers get 30 + 20 + 8 + 7 + 9 and pay 86 + 1 + 3.
    "money_peers_eur": -16.0,
    "money_supplier_eur": 37.0,
    "money_dso_eur": -19.0,
    "money_outside_eur": 5.0,
    "money_market_eur": 2.0,
    "money_tso_eur": -9.0,
    "flexibility_paid_eur": 17.0,
    "n_consumers": 1,
    "cost_consumers_eur": 83.0,
    "reference_cost_consumers_eur": 100.0,
    "saving_consumers_eur": 17.0,
    "saving_consumers_percent": 17.0,
    "n_producers": 1,
    "cost_producers_eur": -56.0,
    "reference_cost_producers_eur": -50.0,
    "saving_producers_eur": 6.0,
    "saving_producers_percent": 12.0,
    "n_prosumers": 1,
    "cost_prosumers_eur": -4.0,
    "reference_cost_prosumers_eur": 4.0,
    "saving_prosumers_eur": 8.0,
    "saving_prosumers_percent": 200.0,
    "n_peers": 3,
    "cost_peers_eur": 23.0,
    "reference_cost_peers_eur": 54.0,
    "saving_peers_eur": 31.0,
    "saving_peers_percent": 100.0 * 31.0 / 54.0,
    "saving_per_peer_control_eur": 17.0,
    "saving_per_peer_truthful_eur": 7.0,
    "saving_per_peer_adopters_eur": 7.0,
    "saving_min_eur": 6.0,
    "saving_max_eur": 17.0,
    "saving_gini": 2.0 * (11.0 + 9.0 + 2.0) / (2.0 * 3.0 * 31.0),
    # Messages: a bid has 9 numbers, proposed trades 3 and 3 for each trade, of which period 0 has two and period 1 one.
    "messages": 10,
    "messages_lost": 2,
    "messages_peers_to_mediator": 4,
    "numbers_peers_to_mediator": 36,
    "messages_mediator_to_dso": 3,
    "numbers_mediator_to_dso": 9 + 2 * 6,
    "messages_dso_to_fmo": 1,
    "numbers_dso_to_fmo": 0,
}


def by_stage() -> Rows:
    """Table `period`."""
    names = {name for columns in PERIOD.values() for name in columns}
    rows: Rows = {name: [] for name in ("period", "stage", *names)}
    for period in PERIODS:
        for stage, columns in PERIOD.items():
            own = {name: values[period] for name, values in columns.items()}
            own |= EXTREME if stage in ELSEWHERE and own["converged"] else {}
            for name in names:
                rows[name].append(own.get(name))
            rows["period"].append(period)
            rows["stage"].append(stage)
    return rows


def elements(name: str, column: str, at_delivery: dict[int, list[Any]], elsewhere: float) -> Rows:
    """A table of buses or branches, with another value at stage p2p."""
    places = [(k, stage, each) for k in PERIODS for stage in ("p2p", "delivery") for each in at_delivery]
    return {
        "period": [k for k, _, _ in places],
        "stage": [stage for _, stage, _ in places],
        name: [each for _, _, each in places],
        column: [at_delivery[each][k] if stage == "delivery" else elsewhere for k, stage, each in places],
    }


def records(names: tuple[str, ...], rows: list[tuple[Any, ...]]) -> Rows:
    return {name: [row[i] for row in rows] for i, name in enumerate(names)}


def half_hours(period: Rows) -> dict[str, Rows]:
    """All tables, with this table `period`."""
    columns = {name for each in AGENT.values() for name in each}
    return {
        "period": period,
        "bus": elements("bus", "vm_pu", VOLTAGE, 0.5),
        "line": elements("line", "loading_percent", {7: [80.0, 100.0, None, 30.0]}, 700.0),
        "trafo": elements("trafo", "loading_percent", {3: [50.0, 120.0, None, 10.0]}, 600.0),
        "peer": {
            "agent": list(AGENT),
            "bus": [20, 30, 40, 10],
            "kind": ["consumer", "producer", "prosumer", "virtual load"],
            "strategy": ["control", "truthful", "truthful", ""],
            "soc_initial_mwh": [0.0, 0.0, 1.0, 0.0],
        },
        "agent": {
            "period": [k for k in PERIODS for _ in AGENT],
            "agent": [name for _ in PERIODS for name in AGENT],
            **{name: [each.get(name, [0.0] * 4)[k] for k in PERIODS for each in AGENT.values()] for name in columns},
        },
        "trade": {"period": [0, 0, 1], "product": ["energy"] * 3, "seller": ["b"] * 3, "buyer": ["a"] * 3},
        "round": {"period": [0, 1, 3], "n_at_risk": [1, 3, 2], "n_blocked": [0, 6, 3]},
        "regulation": {
            "period": [0, 1],
            "requested_mw": [2.0, -1.0],
            "accepted_mw": [1.5, -0.5],
            "provided_mw": [1.2, None],
        },
        "settlement": records(("period", "payer", "payee", "reason", "amount_eur"), [(0, *row) for row in SETTLEMENT]),
        "message": records(("period", "kind", "sender", "receiver", "delivered_s", "n"), MESSAGE),
    }


def figures(period: Rows) -> dict[str, Kpi]:
    return compute_kpis(as_tables(half_hours(period)), MANIFEST)


def test_every_figure_is_the_one_worked_out_by_hand() -> None:
    found = figures(by_stage())
    assert found == pytest.approx(EXPECTED)


def test_capacity_is_a_mean_over_all_periods_and_counts_where_it_was_asked_for() -> None:
    period = by_stage()
    held = {"capacity_mw": [1.0, 0.0, 2.0, None], "capacity_missing_mw": [0.0, 0.5, 0.0, None]}
    held["capacity_status"] = ["optimal", "infeasible", "optimal", None]  # type: ignore[list-item]
    for name, values in held.items():
        period[name] = [
            values[k] if s == "final" else None for k, s in zip(period["period"], period["stage"], strict=True)
        ]
    found = figures(period)
    expected = {
        "capacity_traded_mean_mw": 0.75,
        "capacity_periods": 3,
        "capacity_missing_mean_mw": 0.125,
        "capacity_missing_max_mw": 0.5,
        "capacity_infeasible_periods": 1,
        "capacity_not_converged_periods": 0,
    }
    assert {name: found.get(name) for name in expected} == pytest.approx(expected)
    assert not [name for name in found if name.startswith("lfm_cost")]
