"""From quadratic costs to price-quantity steps, so that an auction can clear the same agents as a bilateral market."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from peerwatt.errors import BookError, Fault
from peerwatt.market.book import FloatArray, IntArray, QuadraticBook, StepBook

__all__ = ["as_steps"]


def as_steps(book: QuadraticBook, steps: int = 10) -> StepBook:
    """Offer each agent's power in equal steps, each at its marginal cost a P + b in the middle of the step.

    A straight marginal cost needs one step only. Pairs and their costs are not carried over: an auction has none.

    Args:
        book: quadratic costs.
        steps: steps on each side of zero.

    Raises:
        BookError: an agent must feed in or must draw, which no auction can promise; or it sells and buys at one
            and the same price.
    """
    faults = list(_faults(book))
    if faults:
        raise BookError(faults)
    sides = [_side(book, book.p_max_mw, steps), _side(book, book.p_min_mw, steps)]
    agent, p_mw, price = (np.concatenate(parts) for parts in zip(*sides, strict=True))
    return StepBook(agent, p_mw, price, book.n_agents, book.period_h)


def _side(book: QuadraticBook, limit: FloatArray, steps: int) -> tuple[IntArray, FloatArray, FloatArray]:
    able = np.flatnonzero(limit)
    count = np.where(book.cost_a[able] > 0.0, steps, 1)
    agent = np.repeat(able, count)
    rank = np.arange(agent.size) - np.repeat(count.cumsum() - count, count)
    p_mw = limit[agent] / np.repeat(count, count)
    return agent, p_mw, book.cost_a[agent] * p_mw * (rank + 0.5) + book.cost_b[agent]


def _faults(book: QuadraticBook) -> Iterator[Fault]:
    for agent in np.flatnonzero((book.p_min_mw > 0.0) | (book.p_max_mw < 0.0)).tolist():
        bounds = f"{book.p_min_mw[agent]:g} to {book.p_max_mw[agent]:g} MW"
        yield Fault(
            f"agent {book.name(agent)}",
            f"its bounds, {bounds}, leave out 0: an auction cannot promise that it trades",
            "let its bounds contain 0, or clear the book bilaterally",
        )
    both = (book.p_min_mw < 0.0) & (book.p_max_mw > 0.0) & (book.cost_a == 0.0)
    for agent in np.flatnonzero(both).tolist():
        yield Fault(
            f"agent {book.name(agent)}",
            f"sells and buys at one price, {book.cost_b[agent]:g} EUR/MWh",
            "give it a cost_a above 0, or one side only",
        )
