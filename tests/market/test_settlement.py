from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from peerwatt.errors import BookError
from peerwatt.market.clearing import Trades
from peerwatt.market.settlement import (
    REASONS,
    Entries,
    Ledger,
    Reason,
    settle_imbalance,
    settle_residual,
    settle_trades,
)

ACCOUNTS = ["a", "b", "c", "supplier", "dso"]
AMOUNTS = st.floats(-1e6, 1e6, allow_nan=False)


def test_a_buyer_pays_the_seller_and_the_fee() -> None:
    ledger = Ledger(ACCOUNTS)
    trades = Trades(np.array([0]), np.array([1]), np.array([0.004]), np.array([150.0]))
    ledger.append(settle_trades(trades, period_h=0.25, fee_eur_per_mwh=20.0, dso=ledger.code("dso")))
    assert ledger.balances() == pytest.approx([0.15, -0.17, 0.0, 0.0, 0.02])
    assert ledger.total(Reason.P2P) == pytest.approx(0.15)
    assert ledger.total(Reason.NETWORK_FEE) == pytest.approx(0.02)
    assert ledger.total(Reason.SUPPLY) == 0.0


def test_the_supplier_takes_what_is_left() -> None:
    entries = settle_residual([0.002, -0.001, 0.0], 320.0, 80.0, period_h=1.0, supplier=3)
    assert [REASONS[code] for code in entries.reason] == [Reason.SUPPLY, Reason.FEED_IN]
    ledger = Ledger(ACCOUNTS)
    ledger.append(entries)
    assert ledger.balances() == pytest.approx([0.16, -0.32, 0.0, 0.16, 0.0])


def test_a_deviation_is_paid_at_the_imbalance_prices() -> None:
    entries = settle_imbalance([0.001, -0.001], 400.0, -50.0, period_h=1.0, supplier=3)
    assert entries.payer.tolist() == [1, 0]  # a negative price turns the payment round
    assert entries.payee.tolist() == [3, 3]
    assert entries.amount_eur == pytest.approx([0.4, 0.05])


def test_agents_may_be_booked_on_other_accounts_and_for_other_reasons() -> None:
    trades = Trades(np.array([0, 2]), np.array([1, 1]), np.ones(2), np.full(2, 10.0))
    entries = settle_trades(trades, period_h=1.0, account=np.array([0, 1, 3]), reason=[Reason.P2P, Reason.SUPPLY])
    assert entries.payee.tolist() == [0, 3]
    assert [REASONS[code] for code in entries.reason] == [Reason.P2P, Reason.SUPPLY]


def test_zero_amounts_are_dropped_and_negative_ones_turned_round() -> None:
    entries = Entries.of([0, 1, 2], 3, Reason.LOSSES, [1.0, 0.0, -2.0])
    assert entries.payer.tolist() == [0, 3]
    assert entries.payee.tolist() == [3, 2]
    assert entries.amount_eur.tolist() == [1.0, 2.0]


@settings(max_examples=100, deadline=None)
@given(
    st.lists(AMOUNTS, min_size=3, max_size=3),
    st.lists(AMOUNTS, max_size=6),
    st.floats(-500, 500),
    st.floats(-500, 500),
)
def test_all_accounts_add_up_to_zero(residual: list[float], powers: list[float], buy: float, sell: float) -> None:
    ledger = Ledger(ACCOUNTS)
    n = len(powers)
    trades = Trades(np.arange(n) % 3, (np.arange(n) + 1) % 3, np.abs(powers), np.linspace(-30.0, 300.0, n))
    ledger.append(settle_trades(trades, period_h=0.25, fee_eur_per_mwh=np.linspace(0, 9, n), dso=4))
    ledger.append(settle_residual(residual, buy, sell, period_h=0.25, supplier=3))
    ledger.append(settle_imbalance(residual, buy, sell, period_h=0.25, supplier=3))
    entries = ledger.entries()
    assert (entries.amount_eur > 0.0).all()
    assert (entries.payer != entries.payee).all()
    assert abs(ledger.balances().sum()) <= 1e-12 * (1.0 + entries.amount_eur.sum())
    assert sum(ledger.total(reason) for reason in Reason) == pytest.approx(entries.amount_eur.sum())


def test_an_empty_ledger_balances() -> None:
    ledger = Ledger(ACCOUNTS)
    ledger.append(settle_trades(Trades.none(), period_h=1.0))
    assert not len(ledger.entries())
    assert ledger.balances().tolist() == [0.0] * 5


@pytest.mark.parametrize("amount", [np.nan, np.inf])
def test_an_amount_that_is_no_number_is_refused(amount: float) -> None:
    with pytest.raises(BookError, match="entry 1: amount is"):
        Entries.of(0, 1, Reason.P2P, [1.0, amount])


def test_unknown_accounts_are_refused() -> None:
    ledger = Ledger(ACCOUNTS)
    with pytest.raises(BookError, match="unknown account 9"):
        ledger.append(Entries.of(0, 9, Reason.P2P, 1.0))
    with pytest.raises(BookError, match="no account is named 'tso'"):
        ledger.code("tso")
    with pytest.raises(BookError, match="'a' exists twice"):
        Ledger(["a", "b", "a"])
