"""What tests of auctions share: single-step books, and what an agent gains by naming another price."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import numpy as np
from hypothesis import strategies as st

from peerwatt.market.book import StepBook
from peerwatt.market.clearing import Clearing
from peerwatt.market.mechanism import Mechanism, make_mechanism

__all__ = ["MECHANISMS", "best_gain", "book_of", "clear", "single_step_books", "utility_eur"]

MECHANISMS: list[tuple[str, dict[str, Any]]] = [
    ("double_auction", {"k": 0.5}),
    ("double_auction", {"k": 0.0}),
    ("average", {}),
    ("mcafee", {}),
    ("pay_as_bid", {"share": 1.0}),
    ("pay_as_bid", {"share": 0.0}),
    ("pay_as_bid", {"share": 0.3}),
    ("mid_market_rate", {"supply_eur_per_mwh": 40.0, "feed_in_eur_per_mwh": 10.0}),
    ("continuous_double_auction", {}),
]
"""Every mechanism over steps, with options."""


def clear(name: str, book: StepBook, seed: int = 0, **options: Any) -> Clearing:
    """Clear a book with a mechanism and a stream of its own."""
    return make_mechanism(name, **options).clear(book, np.random.default_rng(seed))


def book_of(*steps: tuple[int, float, float], n_agents: int = 6, period_h: float = 1.0) -> StepBook:
    """A book from (agent, p_mw, price) rows."""
    agent, p_mw, price = zip(*steps, strict=True) if steps else ((), (), ())
    return StepBook(agent, p_mw, price, n_agents, period_h)


@st.composite
def single_step_books(draw: st.DrawFn, quantities: tuple[float, ...] = (1.0,), max_agents: int = 9) -> StepBook:
    """One step per agent, with few prices, so that ties are common."""
    n = draw(st.integers(2, max_agents))
    side = draw(st.lists(st.sampled_from([1.0, -1.0]), min_size=n, max_size=n))
    quantity = draw(st.lists(st.sampled_from(quantities), min_size=n, max_size=n))
    price = draw(st.lists(st.integers(0, 12), min_size=n, max_size=n))
    p_mw = np.array(side) * np.array(quantity)
    return StepBook(np.arange(n), p_mw, np.array(price, dtype=float), n, 1.0)


def utility_eur(clearing: Clearing, agent: int, value: float, period_h: float) -> float:
    """What the trades of an agent with one value per MWh are worth to it, from its payments alone."""
    trades = clearing.trades
    spread = clearing.spread_eur_per_mwh if clearing.spread_eur_per_mwh.size else np.zeros(len(trades))
    sold, bought = trades.seller == agent, trades.buyer == agent
    earned = float(trades.p_mw[sold] @ (trades.price_eur_per_mwh[sold] - value))
    saved = float(trades.p_mw[bought] @ (value - trades.price_eur_per_mwh[bought] - spread[bought]))
    return (earned + saved) * period_h


def best_gain(mechanism: Mechanism, book: StepBook, prices: Iterable[float], seed: int = 0) -> float:
    """The most that any agent of a single-step book gains by naming another price than its own, EUR."""
    truth = mechanism.clear(book, np.random.default_rng(seed))
    gain = -np.inf
    for agent, value in enumerate(book.price_eur_per_mwh):
        honest = utility_eur(truth, agent, value, book.period_h)
        for price in prices:
            named = book.price_eur_per_mwh.copy()
            named[agent] = price
            other = mechanism.clear(replace(book, price_eur_per_mwh=named), np.random.default_rng(seed))
            gain = max(gain, utility_eur(other, agent, value, book.period_h) - honest)
    return gain
