from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from peerwatt.errors import BookError
from peerwatt.market.book import QuadraticBook, StepBook, all_pairs, validate


def _steps() -> StepBook:
    return StepBook([0, 1, 2], [0.004, -0.003, 0.0], [90, 250, 10], n_agents=4, period_h=0.25)


def _quadratic() -> QuadraticBook:
    p_min, p_max = np.array([0.0, -0.002, -0.001]), np.array([0.003, 0.0, 0.002])
    seller, buyer = all_pairs(p_min, p_max)
    zero = np.zeros(seller.size)
    return QuadraticBook(
        p_min, p_max, np.full(3, 1e4), np.full(3, 100.0), seller, buyer, zero, zero, 0.25, ("a", "b", "c")
    )


def test_sound_books_pass() -> None:
    validate(_steps())
    validate(_quadratic())
    validate(StepBook([], [], [], n_agents=0, period_h=1.0))
    validate(QuadraticBook([], [], [], [], [], [], [], [], 1.0))


def test_all_pairs_joins_who_can_sell_with_every_other_who_can_buy() -> None:
    seller, buyer = all_pairs([0.0, -2.0, -1.0, 0.0], [3.0, 0.0, 2.0, 0.0])
    assert list(zip(seller.tolist(), buyer.tolist(), strict=True)) == [(0, 1), (0, 2), (2, 1)]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"agent": [0, 1, 4]}, ["step 2", "unknown agent 4", "0 to 3"]),
        ({"agent": [0, -1, 2]}, ["step 1", "unknown agent -1"]),
        ({"p_mw": [np.nan, -1.0, 0.0]}, ["step 0", "p_mw nan"]),
        ({"price_eur_per_mwh": [1.0, np.inf, 0.0]}, ["step 1", "price_eur_per_mwh inf"]),
        ({"p_mw": [1.0, 2.0]}, ["shapes"]),
        ({"period_h": 0.0}, ["period_h", "positive"]),
        ({"period_h": float("nan")}, ["period_h"]),
        ({"agent": [0, 0, 0]}, ["agent 0", "sells at a price at or below"]),
    ],
)
def test_a_faulty_step_book_is_refused_with_the_place(change: dict[str, object], words: list[str]) -> None:
    with pytest.raises(BookError) as caught:
        validate(replace(_steps(), **change))  # type: ignore[arg-type]
    assert all(word in str(caught.value) for word in words), str(caught.value)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"p_min_mw": [0.004, -0.002, -0.001]}, ["agent 0", "p_min_mw above p_max_mw by 0.001"]),
        ({"cost_a": [1.0, -2.0, 0.0]}, ["agent 1", "negative curvature cost_a -2"]),
        ({"cost_b": [1.0, np.nan, 0.0]}, ["agent 1", "cost_b nan"]),
        ({"p_max_mw": [np.inf, 0.0, 0.002]}, ["agent 0", "p_max_mw inf"]),
        ({"buyer": [1, 2, 7]}, ["pair 2", "unknown buyer 7"]),
        ({"seller": [0, 0, -1]}, ["pair 2", "unknown seller -1"]),
        ({"buyer": [1, 2, 2]}, ["pair 2", "trades with itself"]),
        ({"buyer": [1, 1, 1]}, ["pair 1", "duplicate pair"]),
        ({"seller_cost": [0.0, np.nan, 0.0]}, ["pair 1", "seller_cost nan"]),
        ({"buyer_cost": [0.0, 0.0]}, ["pairs", "shapes differ"]),
        ({"cost_a": [0.0, 0.0]}, ["agents", "shapes differ"]),
        ({"period_h": -1.0}, ["period_h"]),
        ({"names": ("a", "b")}, ["2 names for 3 agents"]),
    ],
)
def test_a_faulty_quadratic_book_is_refused_with_the_place(change: dict[str, object], words: list[str]) -> None:
    with pytest.raises(BookError) as caught:
        validate(replace(_quadratic(), **change))  # type: ignore[arg-type]
    assert all(word in str(caught.value) for word in words), str(caught.value)


def test_every_fault_is_listed_at_once() -> None:
    book = replace(_quadratic(), period_h=0.0, cost_a=[-1.0, -1.0, np.inf], buyer=[1, 1, 9])
    with pytest.raises(BookError) as caught:
        validate(book)
    assert len(caught.value.faults) == 6


def test_many_faults_of_one_kind_are_counted() -> None:
    book = StepBook(np.arange(50) + 100, np.ones(50), np.ones(50), n_agents=3, period_h=1.0)
    with pytest.raises(BookError, match="45 more") as caught:
        validate(book)
    assert len(caught.value.faults) == 6


def test_indices_that_are_not_integers_are_refused() -> None:
    with pytest.raises(BookError, match="integer indices"):
        StepBook([0.5], [1.0], [1.0], n_agents=1, period_h=1.0)
    with pytest.raises(BookError, match="not an array of numbers"):
        StepBook([0], ["much"], [1.0], n_agents=1, period_h=1.0)


def test_duplicates_are_found_in_books_too_large_for_a_table() -> None:
    n = 3000
    zero = np.zeros(3)
    book = QuadraticBook(np.full(n, -1.0), np.ones(n), np.ones(n), np.ones(n), [0, 2999, 0], [1, 5, 1], zero, zero, 1.0)
    with pytest.raises(BookError, match="pair 2: duplicate"):
        validate(book)


def test_a_price_outside_the_limits_of_the_market_is_refused() -> None:
    book = replace(_steps(), price_limits=(80.0, 240.0))
    with pytest.raises(BookError) as caught:
        validate(book)
    assert [fault.where for fault in caught.value.faults] == ["step 1", "step 2"]
    assert "price_eur_per_mwh 250 (the market admits 80 to 240 EUR/MWh)" in str(caught.value)
    validate(replace(book, price_limits=(10.0, 250.0)))
    validate(replace(book, price_limits=(-np.inf, 250.0)))


def test_marginal_costs_outside_the_limits_of_the_market_are_refused() -> None:
    # marginal costs: 100 to 130, 80 to 100 and 90 to 120
    book = replace(_quadratic(), price_limits=(85.0, 125.0))
    with pytest.raises(BookError) as caught:
        validate(book)
    assert [fault.where for fault in caught.value.faults] == ["agent 1", "agent 0"]
    assert "marginal cost at p_max_mw of 130" in str(caught.value)
    validate(replace(book, price_limits=(80.0, 130.0)))


@pytest.mark.parametrize("limits", [(2.0, 1.0), (np.nan, 1.0), (0.0, np.nan)])
def test_limits_that_leave_no_price_are_refused(limits: tuple[float, float]) -> None:
    nobody = StepBook([], [], [], n_agents=0, period_h=1.0)
    for book in (_steps(), _quadratic(), nobody):
        with pytest.raises(BookError, match="price_limits"):
            validate(replace(book, price_limits=limits))


def test_limits_do_not_hide_other_faults() -> None:
    with pytest.raises(BookError) as caught:
        validate(
            replace(_quadratic(), p_max_mw=[np.inf, 0.0, np.nan], cost_a=0.0 * np.ones(3), price_limits=(0.0, 50.0))
        )
    assert {fault.where for fault in caught.value.faults} >= {"agent 0", "agent 2"}
    with pytest.raises(BookError, match="price_eur_per_mwh nan"):
        validate(replace(_steps(), price_eur_per_mwh=[np.nan, 250.0, 90.0], price_limits=(0.0, 300.0)))
