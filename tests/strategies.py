"""Random markets: hypothesis strategies for small ones that shrink, generators for large ones."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from peerwatt.market.book import QuadraticBook, StepBook, all_pairs

__all__ = ["quadratic_books", "random_quadratic_book", "random_step_book", "step_books"]

KW = 1e-3


@st.composite
def step_books(draw: st.DrawFn, max_steps: int = 12) -> StepBook:
    """Steps of a few agents with many ties; an agent's asks lie above its bids."""
    n_agents = draw(st.integers(1, 6))
    steps = draw(
        st.lists(st.tuples(st.integers(0, n_agents - 1), st.integers(-6, 6), st.integers(0, 4)), max_size=max_steps)
    )
    split = draw(st.lists(st.sampled_from([-1, 0, 8]), min_size=n_agents, max_size=n_agents))
    unit = draw(st.sampled_from([0.1 * KW, 1 * KW, 0.7]))
    agent = np.array([s[0] for s in steps], dtype=np.intp)
    p_mw = np.array([s[1] * unit for s in steps])
    price = np.array([10.0 * s[2] for s in steps])
    # who does both: buys up to 20, sells from 30; others sell only (-1) or buy only (8)
    mode = np.array(split)[agent] if agent.size else agent
    p_mw = np.where(mode == -1, np.abs(p_mw), np.where(mode == 8, -np.abs(p_mw), p_mw))
    price = np.where(mode == 0, np.where(p_mw > 0, 30.0 + price, np.minimum(price, 20.0)), price)
    return StepBook(agent, p_mw, price, n_agents, draw(st.sampled_from([0.25, 1.0])))


@st.composite
def quadratic_books(draw: st.DrawFn, max_agents: int = 7) -> QuadraticBook:
    """Producers, consumers, prosumers and idle agents; linear costs, ties, fixed powers, few partners.

    Some are infeasible.
    """
    n = draw(st.integers(1, max_agents))
    kw = st.sampled_from([0.0, 0.5, 1.0, 2.0, 2.0, 5.0])

    def column(values: st.SearchStrategy[float]) -> np.ndarray:
        return np.array(draw(st.lists(values, min_size=n, max_size=n)))

    p_max = column(kw) * KW
    p_min = -column(kw) * KW
    kind = column(st.sampled_from([1.0, -1.0, 1.0, -1.0, 0.0]))
    p_max, p_min = np.where(kind < 0, 0.0, p_max), np.where(kind > 0, 0.0, p_min)
    must = column(st.sampled_from([0.0, 0.0, 0.0, 0.5, 1.0]))
    p_min = np.where(kind > 0, must * p_max, p_min)
    p_max = np.where(kind < 0, must * p_min, p_max)
    cost_a = column(st.sampled_from([0.0, 0.0, 2e3, 1e4, 1e6]))
    cost_b = column(st.sampled_from([0.0, 80.0, 100.0, 100.0, 150.0, 300.0]))
    seller, buyer = all_pairs(p_min, p_max)
    e = seller.size
    kept = np.array(draw(st.lists(st.sampled_from([True, True, False]), min_size=e, max_size=e)), dtype=bool)
    seller, buyer = seller[kept], buyer[kept]
    pair_cost = st.sampled_from([0.0, 0.0, 5.0, 20.0])

    def per_pair() -> np.ndarray:
        return np.array(draw(st.lists(pair_cost, min_size=seller.size, max_size=seller.size)))

    period_h = draw(st.sampled_from([0.25, 1.0]))
    return QuadraticBook(p_min, p_max, cost_a, cost_b, seller, buyer, per_pair(), per_pair(), period_h)


def random_step_book(rng: np.random.Generator, n: int) -> StepBook:
    """One step per agent, about half of them to sell."""
    side = np.where(rng.random(n) < 0.5, 1.0, -1.0)
    price = np.where(side > 0, rng.uniform(50, 250, n), rng.uniform(100, 300, n)).round(0)
    return StepBook(np.arange(n), side * rng.uniform(0.0, 0.01, n), price, n, 0.25)


def random_quadratic_book(
    rng: np.random.Generator,
    n: int,
    *,
    partners: int | None = None,
    linear: float = 0.2,
    fixed: float = 0.1,
    prosumers: float = 0.1,
    supplier: float = 0.3,
    pair_cost: float = 0.7,
) -> QuadraticBook:
    """A feasible household market.

    Args:
        rng: random numbers.
        n: number of peers.
        partners: partners per seller; all if None.
        linear: share of agents without curvature.
        fixed: share of consumers that must be served (a supplier is then added).
        prosumers: share of agents on both sides.
        supplier: probability of a supplier (two agents) in the book.
        pair_cost: probability that pairs have costs.
    """
    kind = rng.random(n)
    sells, buys = kind < 0.5 + prosumers / 2, kind > 0.5 - prosumers / 2
    p_max = np.where(sells, rng.uniform(0.0002, 0.006, n), 0.0)
    p_min = np.where(buys, -rng.uniform(0.0002, 0.006, n), 0.0)
    cost_a = np.where(rng.random(n) < linear, 0.0, 10 ** rng.uniform(3, 6, n))
    cost_b = np.where(sells, rng.uniform(50, 200, n), rng.uniform(100, 320, n)).round(rng.integers(-2, 3))
    if rng.random() < supplier:
        must = buys & ~sells & (rng.random(n) < fixed)
        p_max = np.r_[np.where(must, p_min, p_max), 0.4, 0.0]
        p_min = np.r_[p_min, 0.0, -0.4]
        cost_a, cost_b = np.r_[cost_a, 0.0, 0.0], np.r_[cost_b, 320.0, 80.0]
    seller, buyer = all_pairs(p_min, p_max)
    if partners is not None:
        kept = rng.random(seller.size) < partners / max(1, int((p_min < 0).sum()))
        kept |= np.maximum(p_max[seller], -p_min[buyer]) > 0.1
        seller, buyer = seller[kept], buyer[kept]
    scale = 20.0 * (rng.random() < pair_cost)
    seller_cost, buyer_cost = scale * rng.random(seller.size), scale * rng.random(seller.size)
    return QuadraticBook(p_min, p_max, cost_a, cost_b, seller, buyer, seller_cost, buyer_cost, 0.25)
