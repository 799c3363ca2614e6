"""Decentralised bilateral market: peers agree on trades by exchanging proposals, round by round.

No one sees the whole book. In each round a peer solves its own problem from its own bounds and costs and its
partners' last proposals, and proposes to each partner a power and a price (`peerwatt.market.consensus` has the
equations). `peerwatt.market.admm` and `peerwatt.market.innovation` are the mechanisms; they differ in how far a
peer moves towards its partner's price and power.

Here a round is one compiled step over all peers (round fidelity, `peerwatt.market.rounds`); a `Negotiator` of
`peerwatt.market.negotiator` is one peer by itself (message fidelity), with the same numbers.

**Stopping.** When both residuals, the differences of powers and of prices between the two sides of all pairs, are
at the tolerance or below. Every peer's optimality conditions hold for its own proposals, so that these two are all
that is missing to the equilibrium. A residual is the root mean square over all pairs, or a tenth of the worst agent's
by its own trades and prices if that is more: with the tolerance of 1e-4 nobody's power and no agent's prices are off
by more than 1e-3, whatever others trade or would pay.

**Nearly balanced.** Where supply and demand differ by next to nothing and costs are flat, prices that all agree on
move to the costs of the side that falls short as slowly as that difference is small. When time is up, prices agree and
powers are less than one percent apart, what has been agreed is traded, and the message says how far powers are apart.

**Penalty.** A pair's rho is a third of the spread of prices per power that the pair can trade; all penalties are
multiplied when one residual lags behind the other, after 64 rounds, 128, 256 and so on.

**Result.** Trades are the mean of both sides' proposals, moved by `peerwatt.market.reciprocity` to where all bounds
hold; their price is the mean of both sides' prices.

**Warm start.** A negotiation may start from where the last one ended. It saves rounds where little has changed,
such as a fee for all or one percent of every preference cost; which pairs trade is soon decided anew otherwise.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

import numpy as np

from peerwatt.market.book import FloatArray, QuadraticBook, sum_by_agent, validate
from peerwatt.market.clearing import Clearing, Status, Trades, empty_clearing, failed_clearing
from peerwatt.market.rounds import NegotiationState, Settings, Table
from peerwatt.market.sides import Sides

__all__ = ["Negotiated", "Negotiating", "agreed_clearing", "negotiate"]

_DOUBT = 1000  # rounds after which bounds are suspected that cannot be met
_APART = 2e-3  # share of its price that a trade may be off without a word: the agents' mean is within half of it
_CHEAP = 1e-2  # share of the highest price by which a price is measured at least
_MISSED = 1e-6  # share of an agent's size by which the result may miss its bounds
_SMALL = 1e-6  # share of an agent's size that trades too small to be any may add up to


@runtime_checkable
class Negotiating(Protocol):
    """A mechanism whose agents may as well negotiate by themselves, message by message."""

    @property
    def negotiation(self) -> Settings:
        """How they negotiate."""


@dataclass(frozen=True, slots=True)
class Negotiated:
    """A clearing, and the state to continue from; None where nobody could negotiate."""

    clearing: Clearing
    state: NegotiationState | None


def negotiate(
    book: QuadraticBook,
    rng: np.random.Generator | None = None,
    *,
    settings: Settings | None = None,
    start: NegotiationState | None = None,
) -> Negotiated:
    """Let all peers of a book negotiate.

    Args:
        book: costs, bounds, pairs and their costs. A pair whose seller cannot feed in or whose buyer cannot draw
            carries no trade, (1e) and (1f).
        rng: stream of loss, delay and activity; a fixed one if None.
        settings: how they negotiate.
        start: where to start from, a negotiation of the same pairs; no trade at one price for all if None.

    Raises:
        BookError: the book contradicts itself, or has other pairs than `start`.
    """
    validate(book)
    sides, settings = Sides.of(book, None if start is None else start.sides), settings or Settings()
    at_rest = bool((book.p_min_mw <= 0.0).all() and (book.p_max_mw >= 0.0).all())
    stranded = (np.diff(sides.start) == 0) & ((book.p_min_mw > 0.0) | (book.p_max_mw < 0.0))
    failed = _infeasible(book) if stranded.any() else None
    if failed or not sides.n_sides:
        return Negotiated(failed or empty_clearing(book.n_agents, message="nobody may trade with anybody"), None)
    table = Table(book, sides, settings, start, rng or np.random.default_rng(0))
    agreed = table.play(settings.max_rounds if at_rest else min(_DOUBT, settings.max_rounds))
    if not (agreed or at_rest):
        failed = _infeasible(book)
        agreed = failed is None and table.play(settings.max_rounds)
    if not (agreed or failed or table.nearly_agreed()):
        failed = failed_clearing(Status.NOT_CONVERGED, book.n_agents, message=table.progress())
    proposed = (table.p_mw, table.price_eur_per_mwh, table.agent_price_eur_per_mwh.copy())
    clearing = failed or agreed_clearing(book, sides, *proposed)
    if clearing.status is Status.OPTIMAL:
        clearing = replace(clearing, message=_disagreement(book, clearing) if agreed else table.progress())
    clearing = replace(clearing, iterations=table.rounds, convergence=table.convergence())
    return Negotiated(clearing, table.state())


def _disagreement(book: QuadraticBook, clearing: Clearing) -> str:
    """How far prices at the margin are apart; empty where that is little of the price."""
    from peerwatt.market.optimality import optimality_gap

    price = np.abs(clearing.trades.price_eur_per_mwh)
    apart = optimality_gap(book, clearing).price_eur_per_mwh
    off = apart > _APART * np.maximum(price, _CHEAP * price.max(initial=0.0))
    if not off.any():
        return ""
    worst = int(np.argmax(np.where(off, apart, 0.0)))
    return (
        f"prices are up to {apart[worst]:.3g} EUR/MWh off what trades are worth to their parties, "
        f"{price[worst]:.3g} EUR/MWh; a smaller tolerance helps"
    )


def _infeasible(book: QuadraticBook) -> Clearing | None:
    from peerwatt.market.bilateral_conflict import find_conflict
    from peerwatt.market.bilateral_program import able_pairs

    conflict = find_conflict(book, able_pairs(book))
    if conflict is None:
        return None
    failed = failed_clearing(Status.INFEASIBLE, book.n_agents, message=conflict.message)
    return replace(failed, shortfall_mw=conflict.missing_mw)


# --- the result ---


def agreed_clearing(
    book: QuadraticBook, sides: Sides, p_mw: FloatArray, price_eur_per_mwh: FloatArray, agent_price: FloatArray
) -> Clearing:
    """What a negotiation ends in.

    Args:
        book: a valid book.
        sides: its sides.
        p_mw: mean of the powers that both sides of every pair propose. (n_pairs,)
        price_eur_per_mwh: mean of their prices. (n_pairs,)
        agent_price: marginal value of power of every agent, EUR/MWh. (n_agents,)
    """
    from peerwatt.market.reciprocity import within_bounds

    pair = np.empty(sides.n_sides, dtype=np.intp)
    pair[sides.seller_side] = pair[sides.buyer_side] = np.arange(sides.seller.size)
    size = np.maximum(np.abs(book.p_min_mw), np.abs(book.p_max_mw))
    smaller = np.minimum(size[sides.seller], size[sides.buyer])
    bounds = (book.p_min_mw, book.p_max_mw)
    trade, missed = within_bounds(*bounds, sides.start, pair, sides.sign, p_mw, smaller)
    if missed > _MISSED:
        message = f"bounds are missed by {missed:.1e} of an agent's size; a smaller tolerance may help"
        return failed_clearing(Status.NOT_CONVERGED, book.n_agents, message=message)
    traded = np.flatnonzero(trade > _SMALL * _share(book, sides))
    traded = traded[np.argsort(sides.seller[traded] * book.n_agents + sides.buyer[traded])]
    trades = Trades(sides.seller[traded], sides.buyer[traded], trade[traded], price_eur_per_mwh[traded])
    n, h, rows = book.n_agents, book.period_h, sides.pair[traded]
    net = trades.net_mw(n)
    production = (0.5 * book.cost_a * net + book.cost_b) * net
    sales = trades.p_mw * (trades.price_eur_per_mwh - book.seller_cost[rows])
    purchases = trades.p_mw * (trades.price_eur_per_mwh + book.buyer_cost[rows])
    gain = sum_by_agent(trades.seller, sales, n) - sum_by_agent(trades.buyer, purchases, n)
    trading = float((trades.p_mw * (book.seller_cost + book.buyer_cost)[rows]).sum())
    return Clearing(
        status=Status.OPTIMAL,
        p_mw=net,
        trades=trades,
        social_welfare_eur=-(float(production.sum()) + trading) * h,
        welfare_eur=(gain - production) * h,
        agent_price_eur_per_mwh=agent_price,
    )


def _share(book: QuadraticBook, sides: Sides) -> FloatArray:
    """Smaller one of both agents' size per partner, MW; (n_pairs,)."""
    size = np.maximum(np.abs(book.p_min_mw), np.abs(book.p_max_mw))
    share = size / np.maximum(np.diff(sides.start), 1)
    smaller: FloatArray = np.minimum(share[sides.seller], share[sides.buyer])
    return smaller
