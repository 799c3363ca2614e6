"""Who trades with whom: accepted steps of both sides paired, and the clearing that follows from the pairs.

A match joins part of a sell step with part of a buy step. Its seller is paid one price and its buyer pays
another, not lower, one; the difference is the market's:

    welfare of the seller  = (seller's price - ask) P dt
    welfare of the buyer   = (bid - buyer's price) P dt
    surplus of the market  = (buyer's price - seller's price) P dt

which add up to the social welfare (bid - ask) P dt.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from peerwatt.market.book import FloatArray, IntArray, StepBook, sum_by_agent
from peerwatt.market.clearing import Clearing, Status, Trades

__all__ = ["Matches", "clear_matches", "match"]


@dataclass(frozen=True, slots=True)
class Matches:
    """Parts of steps that trade with each other.

    Attributes:
        sell: sell step of each match. (n_matches,)
        buy: buy step of each match. (n_matches,)
        p_mw: power, positive. (n_matches,)
    """

    sell: IntArray
    buy: IntArray
    p_mw: FloatArray

    @classmethod
    def none(cls) -> Matches:
        """No match."""
        return cls(np.empty(0, dtype=np.intp), np.empty(0, dtype=np.intp), np.empty(0))


def match(sell: IntArray, sold: FloatArray, buy: IntArray, bought: FloatArray, rounding: float) -> Matches:
    """Pair accepted sells and buys along their cumulative quantities, in the order given.

    Args:
        sell: sell steps. (n_sells,)
        sold: their accepted quantities; zeros are skipped. (n_sells,)
        buy: buy steps. (n_buys,)
        bought: their accepted quantities, with the same sum. (n_buys,)
        rounding: quantity below which a match is rounding error, MW.

    Returns:
        At most one match less than there are steps.
    """
    sell, sold = sell[sold > 0.0], sold[sold > 0.0]
    buy, bought = buy[bought > 0.0], bought[bought > 0.0]
    if not (sell.size and buy.size):
        return Matches.none()
    sold_upto, bought_upto = sold.cumsum(), bought.cumsum()
    ends = np.concatenate((sold_upto, bought_upto))
    ends.sort()
    length = ends.copy()
    length[1:] -= ends[:-1]
    real = length > rounding
    length = length[real]
    middle = ends[real] - 0.5 * length
    return Matches(
        sell[np.minimum(sold_upto.searchsorted(middle), sell.size - 1)],
        buy[np.minimum(bought_upto.searchsorted(middle), buy.size - 1)],
        length,
    )


def clear_matches(
    steps: StepBook,
    order: IntArray,
    accepted_mw: FloatArray,
    matches: Matches,
    seller_price: ArrayLike,
    buyer_price: ArrayLike,
) -> Clearing:
    """The clearing of matched steps, with a uniform price if all pay the same.

    Args:
        steps: the book in a shuffled order.
        order: step of the book at each place of the shuffled one. (n_steps,)
        accepted_mw: accepted part of every shuffled step, signed like the step. (n_steps,)
        matches: who trades with whom, by shuffled steps.
        seller_price: what the sellers are paid, EUR/MWh; one, or one per match.
        buyer_price: what the buyers pay, EUR/MWh; one, or one per match.
    """
    seller, buyer = steps.agent[matches.sell], steps.agent[matches.buy]
    paid_out = np.asarray(seller_price, dtype=np.float64)  # of no dimension where it is the same for all
    spread = np.asarray(buyer_price, dtype=np.float64) - paid_out
    energy = matches.p_mw * steps.period_h
    ask, bid = steps.price_eur_per_mwh[matches.sell], steps.price_eur_per_mwh[matches.buy]
    welfare = sum_by_agent(seller, energy * (paid_out - ask), steps.n_agents)
    welfare += sum_by_agent(buyer, energy * (bid - paid_out - spread), steps.n_agents)
    one_price = energy.size and not spread.any() and (paid_out == paid_out.flat[0]).all()
    trades, kept = _by_pair(seller, buyer, matches.p_mw, paid_out, spread, steps.n_agents)
    accepted = np.empty_like(accepted_mw)
    accepted[order] = accepted_mw
    return Clearing(
        status=Status.OPTIMAL,
        p_mw=sum_by_agent(steps.agent, accepted_mw, steps.n_agents),
        trades=trades,
        social_welfare_eur=float(-(steps.price_eur_per_mwh @ accepted_mw) * steps.period_h),
        welfare_eur=welfare,
        surplus_eur=float((energy * spread).sum()),
        price_eur_per_mwh=float(paid_out.flat[0]) if one_price else np.nan,
        accepted_mw=accepted,
        spread_eur_per_mwh=kept if kept.any() else np.empty(0),
    )


def _by_pair(
    seller: IntArray, buyer: IntArray, p_mw: FloatArray, price: FloatArray, spread: FloatArray, n_agents: int
) -> tuple[Trades, FloatArray]:
    """One trade per pair of agents, which may meet with several steps, and the market's spread on each."""
    if not p_mw.size:
        return Trades.none(), np.empty(0)
    pair = seller * n_agents + buyer
    order = pair.argsort(kind="stable")
    pair, p_mw = pair[order], p_mw[order]
    new = np.ones(pair.size, dtype=bool)
    new[1:] = pair[1:] != pair[:-1]
    first = np.flatnonzero(new)
    total = np.add.reduceat(p_mw, first)

    def mean(value: FloatArray) -> FloatArray:
        if value.ndim == 0:
            return np.full(first.size, value)
        value = value[order]
        base = value[first]  # the mean of equal values is this value, to the last digit
        over: FloatArray = base + np.add.reduceat(p_mw * (value - base[new.cumsum() - 1]), first) / total
        return over

    pair = pair[first]
    return Trades(pair // n_agents, pair % n_agents, total, mean(price)), mean(spread)
