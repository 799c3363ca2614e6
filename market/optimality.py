"""How far a bilateral clearing is from the optimum: the conditions of every peer and pair, from its prices.

At its price mu_n a peer chooses its power for the highest gain mu_n P - C_n(P) within its bounds, and a pair trades
only where mu_s + c_sb = mu_b - c_bs, and wherever it would gain. What all peers and pairs forgo is the duality gap of
program (1) of Marques et al.: where no pair's trade would gain, the welfare is that close to the highest.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from peerwatt.market.bilateral_program import able_pairs
from peerwatt.market.book import FloatArray, QuadraticBook
from peerwatt.market.clearing import Clearing

__all__ = ["OptimalityGap", "optimality_gap"]


@dataclass(frozen=True, slots=True)
class OptimalityGap:
    """Residuals of the optimality conditions; all are zero at the optimum.

    Attributes:
        balance_mw: power less net trades of each agent, (1b). (n_agents,)
        bounds_mw: power beyond the bounds of each agent, (1c). (n_agents,)
        forgone_eur: what each agent would gain by the best power within its bounds at its price. (n_agents,)
        bound_dual_eur_per_mwh: price less marginal cost of each agent: the dual of its upper bound where positive,
            less that of its lower bound where negative. Zero between the bounds. (n_agents,)
        pair_gain_eur_per_mwh: what trading more would gain, per pair of the book; 0 where it would gain nothing or
            the pair cannot trade. (n_pairs,)
        trade_eur: traded energy times what the prices of its parties lack to its costs, per trade. (n_trades,)
        price_eur_per_mwh: largest difference of each trade's price from what its parties make of it. (n_trades,)
    """

    balance_mw: FloatArray
    bounds_mw: FloatArray
    forgone_eur: FloatArray
    bound_dual_eur_per_mwh: FloatArray
    pair_gain_eur_per_mwh: FloatArray
    trade_eur: FloatArray
    price_eur_per_mwh: FloatArray

    @property
    def gap_eur(self) -> float:
        """Duality gap: how much welfare may be missing where no pair would gain."""
        return float(self.forgone_eur.sum() + np.abs(self.trade_eur).sum())


def optimality_gap(book: QuadraticBook, clearing: Clearing) -> OptimalityGap:
    """Check the optimality conditions of every peer and every pair.

    Args:
        book: the book that was cleared.
        clearing: its clearing with prices of all agents, as `bilateral` and the negotiations return it.

    Raises:
        ValueError: the clearing has no result, or no prices of agents, or trades of pairs not in the book.
    """
    mu, p, trades, h = clearing.agent_price_eur_per_mwh, clearing.p_mw, clearing.trades, book.period_h
    if mu.size != book.n_agents or np.isnan(p).any():
        raise ValueError(f"no prices of agents to check: the clearing is {clearing.status}")
    seller_cost, buyer_cost = _costs_of_trades(book, clearing)
    at_seller, at_buyer = mu[trades.seller] + seller_cost, mu[trades.buyer] - buyer_cost
    pairs = able_pairs(book)
    can = (book.p_max_mw > 0.0)[book.seller] & (book.p_min_mw < 0.0)[book.buyer]
    gain = np.zeros(book.n_pairs)
    gain[can] = np.maximum(mu[pairs.buyer] - mu[pairs.seller] - pairs.cost, 0.0)
    return OptimalityGap(
        balance_mw=p - trades.net_mw(book.n_agents),
        bounds_mw=np.maximum(book.p_min_mw - p, 0.0) + np.maximum(p - book.p_max_mw, 0.0),
        forgone_eur=(_gain(book, mu, _best_power(book, mu)) - _gain(book, mu, p)) * h,
        bound_dual_eur_per_mwh=mu - (book.cost_a * p + book.cost_b),
        pair_gain_eur_per_mwh=gain,
        trade_eur=trades.p_mw * (at_seller - at_buyer) * h,
        price_eur_per_mwh=np.maximum(
            np.abs(trades.price_eur_per_mwh - at_seller), np.abs(trades.price_eur_per_mwh - at_buyer)
        ),
    )


def _gain(book: QuadraticBook, mu: FloatArray, p_mw: FloatArray) -> FloatArray:
    """Gain of every agent per hour at its price; (n_agents,)."""
    gain: FloatArray = mu * p_mw - (0.5 * book.cost_a * p_mw + book.cost_b) * p_mw
    return gain


def _best_power(book: QuadraticBook, mu: FloatArray) -> FloatArray:
    margin, curved = mu - book.cost_b, book.cost_a > 0.0
    end = np.where(margin > 0.0, book.p_max_mw, book.p_min_mw)
    best: FloatArray = np.divide(margin, book.cost_a, out=end, where=curved)
    return np.clip(best, book.p_min_mw, book.p_max_mw)


def _costs_of_trades(book: QuadraticBook, clearing: Clearing) -> tuple[FloatArray, FloatArray]:
    code = book.seller * book.n_agents + book.buyer
    order = np.argsort(code)
    wanted = clearing.trades.seller * book.n_agents + clearing.trades.buyer
    place = np.searchsorted(code[order], wanted)
    if (place == code.size).any() or (code[order[place]] != wanted).any():
        raise ValueError("a trade is not between a pair of the book")
    row = order[place]
    return book.seller_cost[row], book.buyer_cost[row]
