"""Every clearing is held against its own book before anybody acts on it, whoever wrote the mechanism.

What is checked: each agent, and each step of an auction, stays within what it has offered; nobody trades with itself;
trades are of positive power and add up to the net power of both sides, so that all powers add up to zero.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from peerwatt.market.book import FloatArray, QuadraticBook, StepBook, sum_by_agent
from peerwatt.market.clearing import Clearing, Status, failed_clearing

__all__ = ["feasible"]

TOLERANCE = 1e-6
"""Share of the traded volume that a central mechanism may be off by."""

NEGOTIATED = 2e-3
"""The same where agents negotiate, which end at a tolerance of 1e-3 on either side."""


def feasible(book: StepBook | QuadraticBook, clearing: Clearing) -> Clearing:
    """The clearing, or one that says in which way it breaks its book.

    Args:
        book: what was cleared.
        clearing: what the mechanism made of it.

    Returns:
        The same clearing where it has no result to check, or one that the book allows; else one without a result,
        `Status.NOT_CONVERGED`, whose message names the rule, the agent and by how much.
    """
    if clearing.status is not Status.OPTIMAL:
        return clearing
    trades, n = clearing.trades, clearing.p_mw.size
    share = TOLERANCE if clearing.convergence is None else NEGOTIATED
    slack = share * max(float(np.abs(trades.p_mw).sum()), np.finfo(float).tiny)
    low, high = _bounds(book, n)
    rules = [
        ("power beyond what it offered", np.maximum(clearing.p_mw - high, low - clearing.p_mw)),
        ("trades that are not its power", np.abs(trades.net_mw(n) - clearing.p_mw)),
        ("a trade with itself", sum_by_agent(trades.seller, np.where(trades.seller == trades.buyer, np.inf, 0.0), n)),
        ("a trade below zero", sum_by_agent(trades.seller, np.maximum(-trades.p_mw, 0.0), n)),
    ]
    if isinstance(book, StepBook) and clearing.accepted_mw.size == book.p_mw.size:
        taken = clearing.accepted_mw
        beyond = np.maximum(taken - np.maximum(book.p_mw, 0.0), np.minimum(book.p_mw, 0.0) - taken)
        rules.append(("more of a step than it offered", sum_by_agent(book.agent, np.maximum(beyond, 0.0), n)))
        rules.append(("steps that are not its power", np.abs(sum_by_agent(book.agent, taken, n) - clearing.p_mw)))
    for rule, off in rules:
        worst = int(np.argmax(np.where(np.isnan(off), np.inf, off))) if n else -1
        if n and not off[worst] <= slack:
            who = str(book.names[worst]) if isinstance(book, QuadraticBook) and book.names else str(worst)
            message = f"the clearing breaks its book: agent {who} has {rule}, by {off[worst]:.3g} MW"
            failed = failed_clearing(Status.NOT_CONVERGED, n, iterations=clearing.iterations, message=message)
            return replace(failed, accepted_mw=np.zeros(clearing.accepted_mw.size), convergence=clearing.convergence)
    return clearing


def _bounds(book: StepBook | QuadraticBook, n: int) -> tuple[FloatArray, FloatArray]:
    """Least and most net power of every agent, (n_agents,) each."""
    if isinstance(book, QuadraticBook):
        return book.p_min_mw, book.p_max_mw
    least = sum_by_agent(book.agent, np.minimum(book.p_mw, 0.0), n)
    return least, sum_by_agent(book.agent, np.maximum(book.p_mw, 0.0), n)
