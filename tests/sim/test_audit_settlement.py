"""Every euro of a run, worked out again from its other tables: trades, meters, losses, signals and activations.

The formulas are written by cases, not as `market.settlement` and `agents.supplier` have them.
"""

from __future__ import annotations

from collections import defaultdict

import pandas as pd
import pytest

from peerwatt.sim.results import Results
from tests.audit import DESIGNS, audited

Bills = dict[tuple[int, str, str, str], float]
"""Amounts by period, payer, payee and reason."""

EUR = 1e-9


def owe(bills: Bills, period: int, payer: str, payee: str, reason: str, amount: float) -> None:
    """Book an amount; one below 0 is owed the other way."""
    if amount < 0.0:
        payer, payee, amount = payee, payer, -amount
    bills[period, payer, payee, reason] += amount


def booked(results: Results, reasons: list[str]) -> Bills:
    """What the run has booked for these reasons, with both directions of a pair set off against each other."""
    rows = results.settlement.astype({"payer": str, "payee": str, "reason": str})
    assert (rows.amount_eur >= 0.0).all()
    bills: Bills = defaultdict(float)
    for row in rows[rows.reason.isin(reasons)].itertuples():
        bills[row.period, row.payer, row.payee, row.reason] += row.amount_eur
    return bills


def assert_same(found: Bills, expected: Bills) -> None:
    for key in {*found, *expected}:
        assert found.get(key, 0.0) == pytest.approx(expected.get(key, 0.0), abs=EUR, rel=1e-7), key


def trades_of(results: Results, product: str) -> pd.DataFrame:
    rows = results.trade.astype({"seller": str, "buyer": str, "product": str})
    return rows[rows["product"] == product]


def hours(results: Results) -> float:
    return results.manifest["period_s"] / 3600.0


@pytest.mark.parametrize("step_s", [3600, pytest.param(900, marks=pytest.mark.slow)])
@pytest.mark.parametrize("design", DESIGNS)
def test_trades_are_paid_at_their_price_by_who_bought_to_who_sold(design: str, step_s: int) -> None:
    results, bills = audited(design, step_s), defaultdict(float)
    for row in trades_of(results, "energy").itertuples():
        owe(bills, row.period, row.buyer, row.seller, "p2p", row.p_mw * row.price_eur_per_mwh * hours(results))
    assert_same(booked(results, ["p2p"]), bills)


@pytest.mark.parametrize("step_s", [3600, pytest.param(900, marks=pytest.mark.slow)])
@pytest.mark.parametrize("design", DESIGNS)
def test_what_the_meter_has_beside_the_trades_is_the_suppliers(design: str, step_s: int) -> None:
    results, bills = audited(design, step_s), defaultdict(float)
    tariff, trades = results.scenario["tariff"], trades_of(results, "energy")
    sold = trades.groupby(["period", "seller"]).p_mw.sum().to_dict()
    bought = trades.groupby(["period", "buyer"]).p_mw.sum().to_dict()
    for row in results.agent.itertuples():
        key, metered = (row.period, str(row.agent)), row.p_mw * hours(results)
        traded = (sold.get(key, 0.0) - bought.get(key, 0.0)) * hours(results)
        if traded >= 0.0:
            covered = min(max(metered, 0.0), traded)
            missing = (traded - covered) * tariff["imbalance_short_eur_per_mwh"]
            owe(bills, row.period, str(row.agent), "supplier", "imbalance", missing)
        else:
            covered = -min(max(-metered, 0.0), -traded)
            unused = (covered - traded) * tariff["imbalance_long_eur_per_mwh"]
            owe(bills, row.period, "supplier", str(row.agent), "imbalance", unused)
        rest = metered - covered
        if rest > 0.0:
            owe(bills, row.period, "supplier", str(row.agent), "feed_in", rest * tariff["feed_in_eur_per_mwh"])
        else:
            owe(bills, row.period, str(row.agent), "supplier", "supply", -rest * tariff["supply_eur_per_mwh"])
    assert_same(booked(results, ["supply", "feed_in", "imbalance"]), bills)


@pytest.mark.parametrize("design", DESIGNS)
def test_losses_are_the_dsos_at_their_price(design: str) -> None:
    results, bills = audited(design, 900 if design == "cm5" else 3600), defaultdict(float)
    rows = results.period[results.period.stage == "delivery"]
    assert rows.converged.all()
    for row in rows.itertuples():
        owe(bills, row.period, "dso", "supplier", "losses", row.losses_mw * hours(results) * 130.0)
    assert_same(booked(results, ["losses"]), bills)


@pytest.mark.parametrize("design", DESIGNS)
def test_fees_and_incentives_are_those_that_were_told_for_the_round_of_the_trade(design: str) -> None:
    results, bills = audited(design), defaultdict(float)
    signals: dict[tuple[int, int, str, str], tuple[str, float, float]] = {}
    told = results.signal.astype({"seller": str, "buyer": str, "kind": str})
    last = told.groupby("period").cycle.transform("max") == told.cycle
    for row in told[last].itertuples():
        costs = (row.kind, row.seller_cost_eur_per_mwh, row.buyer_cost_eur_per_mwh)
        signals[row.period, row.round, row.seller, row.buyer] = costs
    reason = {"fee": "network_fee", "incentive": "incentive"}
    for row in trades_of(results, "energy").itertuples():
        energy = row.p_mw * hours(results)
        owe(bills, row.period, row.buyer, "dso", "network_fee", 12.0 * energy)
        kind, *costs = signals.get((row.period, row.round, row.seller, row.buyer), ("", 0.0, 0.0))
        if kind in reason:
            for party, cost in zip((row.seller, row.buyer), costs, strict=True):
                owe(bills, row.period, party, "dso", reason[kind], cost * energy)
    assert_same(booked(results, ["network_fee", "incentive"]), bills)


@pytest.mark.parametrize("design", [name for name in DESIGNS if name.startswith("cm")])
def test_with_right_forecasts_what_was_sold_to_the_dso_is_delivered_and_paid(design: str) -> None:
    results, due = audited(design, right=True), defaultdict(float)
    if "cm5" in design:
        for row in trades_of(results, "capacity").itertuples():
            owe(due, row.period, row.buyer, row.seller, "capacity", row.p_mw * row.price_eur_per_mwh * hours(results))
    elif "flexibility" in results.tables:
        for row in results.flexibility.astype({"agent": str}).itertuples():
            owe(due, row.period, "dso", row.agent, "flexibility", row.paid_eur)
    reasons = ["capacity"] if "cm5" in design else ["flexibility"]
    found = {key: amount for key, amount in booked(results, reasons).items() if key[1] != "mediator"}
    assert found or design == "cm3-v1"
    assert_same(found, due)


@pytest.mark.parametrize("design", DESIGNS)
def test_what_each_peer_paid_is_the_sum_of_its_bills(design: str) -> None:
    results = audited(design)
    rows = results.settlement.astype({"payer": str, "payee": str})
    paid = rows.groupby(["period", "payer"]).amount_eur.sum()
    received = rows.groupby(["period", "payee"]).amount_eur.sum()
    for row in results.agent.itertuples():
        key = (row.period, str(row.agent))
        assert row.payment_eur == pytest.approx(paid.get(key, 0.0) - received.get(key, 0.0), abs=EUR), key
        price = 300.0 if row.p_mw < 0.0 else 80.0
        if design in ("auction", "bilateral") and row.p_traded_mw == 0.0:
            assert row.payment_eur == pytest.approx(-row.p_mw * price * hours(results), abs=EUR)
