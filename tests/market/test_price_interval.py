"""The price where a bilateral book leaves an interval: one rule, whatever the solver, the order and the bystanders."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from peerwatt.errors import ScenarioError
from peerwatt.market.bilateral import Bilateral
from peerwatt.market.book import QuadraticBook, all_pairs
from peerwatt.market.clearing import Clearing, Status

SOLVERS = ("piqp", "clarabel")


def book(agents: list[tuple[float, float, float]]) -> QuadraticBook:
    """Agents with bounds and a constant marginal cost."""
    low, high, price = (np.array(each) for each in zip(*agents, strict=True))
    seller, buyer = all_pairs(low, high)
    none = np.zeros(seller.size)
    return QuadraticBook(low, high, np.zeros(low.size), price, seller, buyer, none, none, 1.0)


def cleared(agents: list[tuple[float, float, float]], **options: object) -> Clearing:
    found = Bilateral(**options).clear(book(agents), np.random.default_rng(0))  # type: ignore[arg-type]
    assert found.status is Status.OPTIMAL, found.message
    return found


EXACT = [(0.0, 5.0, 40.0), (0.0, 5.0, 90.0), (-5.0, 0.0, 100.0)]
"""A seller and a buyer of the same 5 MW, and another seller who bounds the price to 90."""


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize(("k", "price"), [(0.0, 40.0), (0.5, 65.0), (0.8, 80.0), (1.0, 90.0)])
def test_it_is_k_between_the_ends(solver: str, k: float, price: float) -> None:
    found = cleared(EXACT, solver=solver, k=k)
    np.testing.assert_allclose(found.trades.price_eur_per_mwh, price, atol=1e-4)
    assert found.trades.p_mw.sum() == pytest.approx(5.0, abs=1e-6)


@pytest.mark.parametrize("solver", SOLVERS)
def test_who_cannot_bind_does_not_move_it(solver: str) -> None:
    joined = [*EXACT, (0.0, 3.0, 200.0), (-3.0, 0.0, 10.0)]
    np.testing.assert_allclose(cleared(joined, solver=solver).trades.price_eur_per_mwh, 65.0, atol=1e-4)


def test_who_binds_narrows_it() -> None:
    joined = [*EXACT, (-3.0, 0.0, 50.0)]  # would buy below 50
    np.testing.assert_allclose(cleared(joined).trades.price_eur_per_mwh, 70.0, atol=1e-4)


def test_costs_of_a_pair_are_between_the_prices_of_both_sides() -> None:
    one = book(EXACT)
    fee = QuadraticBook(
        one.p_min_mw, one.p_max_mw, one.cost_a, one.cost_b, one.seller, one.buyer,
        np.full(one.n_pairs, 2.0), np.full(one.n_pairs, 4.0), 1.0,
    )  # fmt: skip
    found = Bilateral().clear(fee, np.random.default_rng(0))
    # the buyer pays at most 100 - 4, less what the other seller would ask, 90 + 2; the seller wants 40 + 2
    np.testing.assert_allclose(found.trades.price_eur_per_mwh, (42.0 + 92.0) / 2.0, atol=1e-4)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000))
def test_neither_solver_nor_order_matters_and_nobody_loses(seed: int) -> None:
    rng = np.random.default_rng(seed)
    n = int(rng.integers(3, 9))
    sells = rng.random(n) < 0.5
    size = rng.integers(1, 4, n).astype(float)  # equal sums are frequent, so intervals are
    price = rng.integers(1, 40, n) * 5.0
    agents = [(0.0, s, p) if sell else (-s, 0.0, p) for sell, s, p in zip(sells, size, price, strict=True)]
    if sells.all() or not sells.any():
        return
    one, other = cleared_or_none(agents, "piqp"), cleared_or_none(agents, "clarabel")
    order = rng.permutation(n)
    moved = cleared_or_none([agents[i] for i in order], "clarabel")
    if one is None or other is None or moved is None:
        return
    spread = np.ptp(price) + 1.0
    traders = np.unique(np.concatenate([one.trades.seller, one.trades.buyer]))
    for found, mapped in ((other, traders), (moved, np.argsort(order)[traders])):
        np.testing.assert_allclose(
            found.agent_price_eur_per_mwh[mapped], one.agent_price_eur_per_mwh[traders], atol=1e-4 * spread
        )
    assert (one.welfare_eur >= -1e-4 * spread).all()


def cleared_or_none(agents: list[tuple[float, float, float]], solver: str) -> Clearing | None:
    """The clearing where the solver arrives and anything is traded."""
    found = Bilateral(solver=solver).clear(book(agents), np.random.default_rng(0))
    return found if found.status is Status.OPTIMAL and len(found.trades) else None


@pytest.mark.parametrize("k", [-0.1, 1.1, True, "half"])
def test_another_k_is_refused(k: object) -> None:
    with pytest.raises(ScenarioError, match="option 'k'"):
        Bilateral(k=k)  # type: ignore[arg-type]
