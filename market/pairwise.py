"""An auction in which it matters who trades with whom: steps matched pair by pair, with costs of pairs.

    max   sum over pairs of steps (s, b) of  (bid_b - ask_s - c_sb) x_sb
    s.t.  sum_b x_sb <= quantity of s,   sum_s x_sb <= quantity of b,   x_sb >= 0

with c_sb what the pair of their agents costs besides the price, and no x_sb where the pair is blocked. This is the
bilateral market (`peerwatt.market.bilateral`) with every step as an agent of constant marginal cost; its duals give
each pair a price at which neither side loses, and the budget balances. With no costs and nothing blocked it accepts
what the uniform-price auction accepts. It is how a mediator makes its matching network-aware (CM3 of D5.3).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from peerwatt.errors import BookError, Fault
from peerwatt.market.bilateral import bilateral
from peerwatt.market.book import FloatArray, QuadraticBook, StepBook, sum_by_agent, validate
from peerwatt.market.clearing import Clearing
from peerwatt.market.mechanism import BookKind

__all__ = ["Pairwise", "pairwise_auction"]


@dataclass(frozen=True, slots=True)
class Pairwise:
    """The pairwise auction as a mechanism; it has no options."""

    name: ClassVar[str] = "pairwise"
    book: ClassVar[BookKind] = BookKind.STEPS

    def clear(self, book: StepBook, rng: np.random.Generator) -> Clearing:  # noqa: ARG002
        """Clear one book in which it costs nothing who trades with whom; nothing is drawn from `rng`."""
        free = np.zeros((book.n_agents, book.n_agents))
        return pairwise_auction(book, free, free)

    def clear_pairs(self, book: StepBook, seller_cost: FloatArray, buyer_cost: FloatArray) -> Clearing:
        """Clear one book with costs of pairs, see `pairwise_auction`."""
        return pairwise_auction(book, seller_cost, buyer_cost)


def pairwise_auction(book: StepBook, seller_cost: FloatArray, buyer_cost: FloatArray) -> Clearing:
    """Clear a book of steps with costs of pairs.

    Args:
        book: price-quantity steps.
        seller_cost: (n_agents, n_agents), [i, j] is i's cost of selling to j, EUR per MWh traded; inf if blocked.
        buyer_cost: (n_agents, n_agents), [i, j] is j's cost of buying from i; inf if blocked.

    Raises:
        BookError: the book contradicts itself, or the costs are not of its agents.
    """
    validate(book)
    shape = (book.n_agents, book.n_agents)
    faults = [
        Fault(name, f"has shape {cost.shape}", f"{shape}, one row and column per agent")
        for name, cost in (("seller_cost", seller_cost), ("buyer_cost", buyer_cost))
        if cost.shape != shape
    ]
    if faults:
        raise BookError(faults)
    sells, buys = np.flatnonzero(book.p_mw > 0.0), np.flatnonzero(book.p_mw < 0.0)
    sell, buy = np.repeat(sells, buys.size), np.tile(buys, sells.size)
    i, j = book.agent[sell], book.agent[buy]
    open_ = (i != j) & np.isfinite(seller_cost[i, j]) & np.isfinite(buyer_cost[i, j])
    sell, buy, i, j = sell[open_], buy[open_], i[open_], j[open_]
    steps = QuadraticBook(
        p_min_mw=np.minimum(book.p_mw, 0.0),
        p_max_mw=np.maximum(book.p_mw, 0.0),
        cost_a=np.zeros(book.p_mw.size),
        cost_b=book.price_eur_per_mwh,
        seller=sell,
        buyer=buy,
        seller_cost=seller_cost[i, j],
        buyer_cost=buyer_cost[i, j],
        period_h=book.period_h,
    )
    found = bilateral(steps)
    n, accepted = book.n_agents, found.p_mw
    if not found.status.solved:
        return replace(found, p_mw=np.full(n, np.nan), welfare_eur=np.full(n, np.nan))
    return replace(
        found,
        p_mw=sum_by_agent(book.agent, accepted, n),
        trades=found.trades.between(book.agent, n),
        welfare_eur=sum_by_agent(book.agent, found.welfare_eur, n),
        accepted_mw=accepted,
        agent_price_eur_per_mwh=np.empty(0),
    )
