from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from peerwatt.errors import BookError
from peerwatt.market.book import StepBook
from peerwatt.market.clearing import Trades
from peerwatt.market.community import Sharing, community_market
from peerwatt.market.mechanism import make_mechanism
from peerwatt.market.settlement import (
    REASONS,
    Entries,
    Ledger,
    Reason,
    settle_flexibility,
    settle_imbalance,
    settle_incentives,
    settle_residual,
    settle_surplus,
    settle_trades,
)
from tests.strategies import step_books

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


EVERYONE = ["a", "b", "c", "supplier", "dso", "mediator", "tso"]
SUPPLIER, DSO, MEDIATOR, TSO = 3, 4, 5, 6
ACTORS = st.integers(0, 2)
ROWS = st.lists(st.tuples(ACTORS, AMOUNTS), max_size=5)


def columns(rows: list[tuple[int, float]]) -> tuple[list[int], list[float]]:
    return [row[0] for row in rows], [row[1] for row in rows]


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.tuples(ACTORS, st.integers(1, 2), st.floats(0, 1e3), AMOUNTS, AMOUNTS, AMOUNTS, AMOUNTS), max_size=6),
    st.lists(AMOUNTS, min_size=3, max_size=3),
    ROWS,
    ROWS,
    ROWS,
    ROWS,
    AMOUNTS,
)
def test_the_books_of_everybody_close(
    traded: list[tuple[int, int, float, float, float, float, float]],
    residual: list[float],
    steered: list[tuple[int, float]],
    flexible: list[tuple[int, float]],
    called: list[tuple[int, float]],
    held: list[tuple[int, float]],
    price: float,
) -> None:
    """Peers, supplier, mediator, DSO and TSO, whatever the amounts and their signs."""
    seller, step, p_mw, price_mwh, spread, fee, seller_fee = np.array(traded or np.empty((0, 7)), dtype=float).T
    buyer = (seller + step) % 3
    trades = Trades(seller.astype(int), buyer.astype(int), p_mw, price_mwh)
    ledger = Ledger(EVERYONE)
    parts = [
        settle_trades(trades, period_h=0.25, fee_eur_per_mwh=fee, seller_fee_eur_per_mwh=seller_fee, dso=DSO),
        settle_surplus(trades, spread, period_h=0.25, mediator=MEDIATOR),
        settle_residual(residual, price, -price, period_h=0.25, supplier=SUPPLIER),
        settle_imbalance(residual, price, price, period_h=0.25, supplier=TSO),
        settle_incentives(*columns(steered), dso=DSO),
        settle_flexibility(*columns(flexible), operator=DSO),
        settle_flexibility(*columns(called), operator=TSO),
        settle_flexibility(*columns(held), operator=DSO, reason=Reason.CAPACITY),
    ]
    for part in parts:
        ledger.append(part)
    entries, balance = ledger.entries(), ledger.balances()
    tolerance = 1e-12 * (1.0 + float(entries.amount_eur.sum()))
    assert (entries.amount_eur > 0.0).all()
    assert (entries.payer != entries.payee).all()
    assert abs(balance.sum()) <= tolerance
    energy = 0.25 * p_mw
    rewards, activated, reserved = (sum(columns(rows)[1]) for rows in (steered, flexible, held))
    assert balance[MEDIATOR] == pytest.approx(float(energy @ spread), abs=tolerance)
    assert balance[DSO] == pytest.approx(
        float(energy @ (fee + seller_fee)) - rewards - activated - reserved, abs=tolerance
    )
    assert balance[TSO] == pytest.approx(-sum(columns(called)[1]) - 0.25 * price * sum(residual), abs=tolerance)


def test_the_seller_pays_its_part_of_the_fee() -> None:
    trades = Trades(np.array([0]), np.array([1]), np.array([0.004]), np.array([150.0]))
    entries = settle_trades(trades, period_h=0.25, fee_eur_per_mwh=20.0, seller_fee_eur_per_mwh=[-5.0], dso=4)
    assert entries.payer.tolist() == [1, 1, 4]  # a fee below 0 is paid by the DSO
    assert entries.payee.tolist() == [0, 4, 0]
    assert entries.amount_eur == pytest.approx([0.15, 0.02, 0.005])


def test_rewards_are_incentives_and_charges_are_penalties() -> None:
    entries = settle_incentives([0, 1, 2], [3.0, -4.0, 0.0], dso=4)
    booked = zip(entries.payer, entries.payee, (REASONS[code] for code in entries.reason), strict=True)
    assert list(booked) == [(4, 0, Reason.INCENTIVE), (1, 4, Reason.PENALTY)]


def test_both_operators_pay_for_flexibility_and_are_paid_for_saved_energy() -> None:
    entries = Entries.concat(
        (settle_flexibility([0, 1], [3.0, -2.0], operator=DSO), settle_flexibility(2, 5.0, operator=TSO))
    )
    assert entries.payer.tolist() == [DSO, 1, TSO]
    assert entries.payee.tolist() == [0, DSO, 2]
    assert {REASONS[code] for code in entries.reason} == {Reason.FLEXIBILITY}


@pytest.mark.parametrize("name", ["double_auction", "average", "mcafee", "pay_as_bid", "community"])
@settings(max_examples=30, deadline=None)
@given(book=step_books())
def test_welfare_is_what_the_books_say(name: str, book: StepBook) -> None:
    """What trade is worth to an agent by its bids, and what it is paid less what it pays, is its welfare."""
    options = {"fee_eur_per_mwh": 4.0, "sharing": "pro_rata"} if name == "community" else {}
    result = make_mechanism(name, **options).clear(book, np.random.default_rng(0))
    n = book.n_agents
    ledger = Ledger([*map(str, range(n)), "mediator"])
    ledger.append(settle_trades(result.trades, period_h=book.period_h))
    ledger.append(settle_surplus(result.trades, result.spread_eur_per_mwh, period_h=book.period_h, mediator=n))
    worth = -np.bincount(book.agent, book.price_eur_per_mwh * result.accepted_mw * book.period_h, n)
    scale = 1e-10 * (1.0 + float(np.abs(book.p_mw).sum()))
    assert worth + ledger.balances()[:n] == pytest.approx(result.welfare_eur, abs=scale)
    assert ledger.balances()[n] == pytest.approx(result.surplus_eur, abs=scale)
    assert ledger.balances()[n] >= -scale


@settings(max_examples=40, deadline=None)
@given(step_books(), st.lists(st.sampled_from("abc"), min_size=6, max_size=6), st.sampled_from(list(Sharing)))
def test_every_manager_gets_its_fees_on_an_account_of_its_own(
    book: StepBook, labels: list[str], sharing: Sharing
) -> None:
    n = book.n_agents
    rng = np.random.default_rng(0)
    result = community_market(book, rng, community=labels[:n], fee_eur_per_mwh=7.0, sharing=sharing)
    ledger = Ledger([*map(str, range(n)), *(f"manager {label}" for label in result.labels)])
    trades, manager = result.clearing.trades, n + result.community
    ledger.append(settle_trades(trades, period_h=book.period_h))
    for spread, side in (
        (result.seller_spread_eur_per_mwh, trades.seller),
        (result.buyer_spread_eur_per_mwh, trades.buyer),
    ):
        ledger.append(settle_surplus(trades, spread, period_h=book.period_h, mediator=manager[side]))
    assert ledger.balances()[n:] == pytest.approx(result.manager_eur, abs=1e-9)


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
