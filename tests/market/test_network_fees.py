from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from peerwatt.errors import BookError
from peerwatt.market.bilateral import bilateral
from peerwatt.market.book import QuadraticBook, all_pairs
from peerwatt.market.clearing import Trades
from peerwatt.market.network_fees import (
    NETWORK_FEES,
    PairFees,
    distance_fee,
    dlmp_fee,
    ptdf_fee,
    unit_fee,
    zonal_fee,
)
from peerwatt.market.settlement import Ledger, Reason, settle_trades
from tests.strategies import random_quadratic_book

# A feeder: agents 0, 1, 2, 3 behind lines 0, 0-1, 0-1-2 and 0-1-2.
PTDF = -np.array([[1.0, 1.0, 1.0, 1.0], [0.0, 1.0, 1.0, 1.0], [0.0, 0.0, 1.0, 1.0]])
SELLER, BUYER = np.array([0, 0, 2, 2]), np.array([1, 2, 0, 3])


def total(fees: PairFees) -> list[float]:
    return (fees.seller_cost + fees.buyer_cost).tolist()


def test_a_unit_fee_is_the_same_for_all_and_halved() -> None:
    fees = unit_fee(SELLER, BUYER, fee_eur_per_mwh=12.0)
    assert fees.seller_cost.tolist() == fees.buyer_cost.tolist() == [6.0] * 4


def test_a_distance_fee_follows_the_distance_of_the_parties() -> None:
    hops = np.abs(np.subtract.outer([0.0, 1.0, 2.0, 2.0], [0.0, 1.0, 2.0, 2.0]))
    by_table = distance_fee(SELLER, BUYER, distance=hops, fee_eur_per_mwh=3.0, seller_share=0.0)
    assert by_table.buyer_cost.tolist() == [3.0, 6.0, 6.0, 0.0]
    assert not by_table.seller_cost.any()
    by_pair = distance_fee(SELLER, BUYER, distance=hops[SELLER, BUYER], fee_eur_per_mwh=3.0, seller_share=0.0)
    assert by_pair.buyer_cost.tolist() == by_table.buyer_cost.tolist()


def test_a_zonal_fee_looks_at_the_zones_alone_and_at_the_direction() -> None:
    fees = zonal_fee(SELLER, BUYER, zone=[0, 0, 1, 1], fee_eur_per_mwh=[[1.0, 7.0], [9.0, 2.0]], seller_share=1.0)
    assert fees.seller_cost.tolist() == [1.0, 7.0, 9.0, 2.0]


def test_a_usage_charge_counts_the_lines_between_the_parties() -> None:
    fees = ptdf_fee(SELLER, BUYER, ptdf=PTDF, fee_eur_per_mwh=[100.0, 10.0, 1.0])
    assert total(fees) == [10.0, 11.0, 11.0, 0.0]


def test_a_usage_charge_pays_who_trades_against_the_flow() -> None:
    fees = ptdf_fee(SELLER, BUYER, ptdf=PTDF, fee_eur_per_mwh=[100.0, 10.0, 1.0], flow_mw=[0.2, 0.1, -0.1])
    assert total(fees) == [10.0, 9.0, -9.0, 0.0]  # line 2 carries power out of the feeder's end


def test_a_network_usage_price_is_the_difference_of_nodal_prices() -> None:
    fees = dlmp_fee(SELLER, BUYER, price_eur_per_mwh=[100.0, 120.0, 90.0, 90.0], seller_share=0.25)
    assert total(fees) == [20.0, -10.0, 10.0, 0.0]
    assert fees.seller_cost.tolist() == [5.0, -2.5, 2.5, 0.0]


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 40), st.integers(1, 9), st.booleans())
def test_a_usage_charge_equals_a_sum_over_lines_and_pairs(seed: int, lines: int, n: int, directed: bool) -> None:
    rng = np.random.default_rng(seed)
    ptdf, price, flow = rng.normal(size=(lines, n)), rng.uniform(0, 9, lines), rng.normal(size=lines)
    seller, buyer = rng.integers(n, size=30), rng.integers(n, size=30)
    fees = ptdf_fee(seller, buyer, ptdf=ptdf, fee_eur_per_mwh=price, flow_mw=flow if directed else None)
    for row, (s, b) in enumerate(zip(seller, buyer, strict=True)):
        parts = [ptdf[line, s] - ptdf[line, b] for line in range(lines)]
        signs = np.sign(flow) if directed else np.sign(parts)
        assert total(fees)[row] == pytest.approx(sum(signs * price * parts), abs=1e-9)


def test_many_pairs_are_charged_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    at_once = ptdf_fee(SELLER, BUYER, ptdf=PTDF, fee_eur_per_mwh=[100.0, 10.0, 1.0])
    monkeypatch.setattr("peerwatt.market.network_fees._BLOCK", 5)
    assert total(ptdf_fee(SELLER, BUYER, ptdf=PTDF, fee_eur_per_mwh=[100.0, 10.0, 1.0])) == total(at_once)


# --- what they do to a market ---


def charged(book: QuadraticBook, rng: np.random.Generator, name: str, **changes: Any) -> PairFees:
    """One of the policies on random signals, small enough that trade goes on."""
    n = book.n_agents
    signals: dict[str, dict[str, Any]] = {
        "unit": {"fee_eur_per_mwh": 8.0},
        "distance": {"distance": rng.uniform(0, 2, (n, n)), "fee_eur_per_mwh": 5.0},
        "zonal": {"zone": rng.integers(3, size=n), "fee_eur_per_mwh": rng.uniform(0, 9, (3, 3))},
        "ptdf": {"ptdf": rng.uniform(-1, 1, (7, n)), "fee_eur_per_mwh": rng.uniform(0, 2, 7)},
        "dlmp": {"price_eur_per_mwh": rng.uniform(90, 110, n)},
    }
    return NETWORK_FEES.get(name)(book.seller, book.buyer, **signals[name], **changes)


@pytest.mark.parametrize("name", ["unit", "distance", "zonal", "ptdf", "dlmp"])
@pytest.mark.parametrize("seed", range(3))
def test_the_fee_that_peers_reckon_with_is_what_the_dso_is_paid(name: str, seed: int) -> None:
    """With prices that contain the fees, what sellers keep and buyers pay differs by the DSO's revenue."""
    rng = np.random.default_rng(seed)
    book = random_quadratic_book(rng, 30, pair_cost=0.0, supplier=0.0)
    fees = charged(book, rng, name)
    result = bilateral(fees.added_to(book))
    trades = result.trades
    of_seller, of_buyer = fees.of(trades)
    n = book.n_agents
    ledger = Ledger([*map(str, range(n)), "dso"])
    ledger.append(
        settle_trades(trades, period_h=book.period_h, fee_eur_per_mwh=of_buyer, seller_fee_eur_per_mwh=of_seller, dso=n)
    )
    balance = ledger.balances()
    assert len(trades)
    assert balance[n] == pytest.approx(float(trades.p_mw @ (of_seller + of_buyer)) * book.period_h)
    own = -(0.5 * book.cost_a * result.p_mw + book.cost_b) * result.p_mw * book.period_h
    assert own + balance[:n] == pytest.approx(result.welfare_eur, abs=1e-9)
    assert abs(balance.sum()) < 1e-12
    assert ledger.total(Reason.NETWORK_FEE) > 0.0


@pytest.mark.parametrize("name", ["unit", "distance", "zonal", "ptdf", "dlmp"])
def test_who_pays_the_fee_changes_prices_but_not_trades(name: str) -> None:
    book = random_quadratic_book(np.random.default_rng(5), 30, linear=0.0, pair_cost=0.0, supplier=0.0)
    halved, sellers = (
        bilateral(charged(book, np.random.default_rng(1), name, seller_share=share).added_to(book))
        for share in (0.5, 1.0)
    )
    assert sellers.p_mw == pytest.approx(halved.p_mw, abs=1e-7)
    assert sellers.social_welfare_eur == pytest.approx(halved.social_welfare_eur)
    assert sellers.trades.price_eur_per_mwh.mean() != pytest.approx(halved.trades.price_eur_per_mwh.mean(), abs=1e-3)


def test_a_dear_zone_border_keeps_trade_at_home() -> None:
    p_min, p_max = np.array([0.0, 0.0, -1.0, -1.0]), np.array([1.0, 1.0, 0.0, 0.0])
    seller, buyer = all_pairs(p_min, p_max)
    nothing = np.zeros(seller.size)
    book = QuadraticBook(p_min, p_max, np.zeros(4), [10, 50, 90, 70], seller, buyer, nothing, nothing, 1.0)
    zone = [0, 1, 0, 1]
    for across, pairs in ((100.0, {(0, 2), (1, 3)}), (-5.0, {(0, 3), (1, 2)})):
        fees = zonal_fee(seller, buyer, zone=zone, fee_eur_per_mwh=[[0.0, across], [across, 0.0]])
        trades = bilateral(fees.added_to(book)).trades
        assert set(zip(trades.seller.tolist(), trades.buyer.tolist(), strict=True)) == pairs


# --- looking fees up ---


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000))
def test_fees_are_found_by_pair_whatever_the_order(seed: int) -> None:
    rng = np.random.default_rng(seed)
    pairs = np.array([(s, b) for s in range(5) for b in range(5) if s != b])
    pairs = pairs[rng.permutation(len(pairs))[:12]]
    fees = PairFees(pairs[:, 0], pairs[:, 1], rng.random(12), rng.random(12))
    rows = rng.permutation(12)[:6]
    trades = Trades(pairs[rows, 0], pairs[rows, 1], np.ones(6), np.ones(6))
    of_seller, of_buyer = fees.of(trades)
    assert of_seller.tolist() == fees.seller_cost[rows].tolist()
    assert of_buyer.tolist() == fees.buyer_cost[rows].tolist()


def test_no_trades_have_no_fees_and_unknown_pairs_are_refused() -> None:
    fees = unit_fee(SELLER, BUYER, fee_eur_per_mwh=12.0)
    assert [part.size for part in fees.of(Trades.none())] == [0, 0]
    with pytest.raises(BookError, match="trade 0: no fee for 3 selling to 9"):
        fees.of(Trades(np.array([3]), np.array([9]), np.ones(1), np.ones(1)))
    nothing = np.array([], dtype=np.intp)
    with pytest.raises(BookError, match="no fee for 0 selling to 1"):
        unit_fee(nothing, nothing, fee_eur_per_mwh=1.0).of(Trades(SELLER[:1], BUYER[:1], np.ones(1), np.ones(1)))


def test_fees_of_other_pairs_do_not_go_with_a_book() -> None:
    book = random_quadratic_book(np.random.default_rng(0), 8)
    with pytest.raises(BookError, match="other pairs than the book's"):
        unit_fee(SELLER, BUYER, fee_eur_per_mwh=1.0).added_to(book)


# --- what is refused ---


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda: unit_fee(SELLER, BUYER, fee_eur_per_mwh=np.nan), "pair 0, pair 1, pair 2 and 1 more: fee nan"),
        (lambda: unit_fee(SELLER, BUYER, fee_eur_per_mwh=1.0, seller_share=1.5), "seller_share: is 1.5"),
        (lambda: distance_fee(SELLER, BUYER, distance=[1.0, -2.0, 0.0, 0.0], fee_eur_per_mwh=1.0), "pair 1: distance"),
        (lambda: distance_fee(SELLER, BUYER, distance=[1.0], fee_eur_per_mwh=1.0), "have shapes"),
        (lambda: distance_fee(SELLER, BUYER, distance=np.ones((2, 2)), fee_eur_per_mwh=1.0), "has no row 2"),
        (lambda: zonal_fee(SELLER, BUYER, zone=[0.5] * 4, fee_eur_per_mwh=[[1.0]]), "zone: holds float64"),
        (lambda: zonal_fee(SELLER, BUYER, zone=[0, 1, 2, 2], fee_eur_per_mwh=np.ones((2, 2))), "has no row 2"),
        (lambda: zonal_fee(SELLER, BUYER, zone=[0] * 4, fee_eur_per_mwh=[1.0]), "a square table"),
        (lambda: ptdf_fee(SELLER, BUYER, ptdf=PTDF[:, :2], fee_eur_per_mwh=[1.0] * 3), "unknown seller 2"),
        (lambda: ptdf_fee(SELLER, BUYER, ptdf=PTDF, fee_eur_per_mwh=[1.0]), "one number for each of 3 lines"),
        (lambda: ptdf_fee(SELLER, BUYER, ptdf=PTDF[0], fee_eur_per_mwh=[1.0]), "a row per line"),
        (lambda: dlmp_fee(SELLER, BUYER, price_eur_per_mwh=[1.0, np.inf, 2.0, 3.0]), "pair 0: fee inf"),
        (lambda: dlmp_fee(SELLER, BUYER, price_eur_per_mwh="dear"), "is not an array of numbers"),
    ],
)
def test_signals_that_do_not_fit_are_refused(make: Callable[[], PairFees], told: str) -> None:
    with pytest.raises(BookError, match=told):
        make()
