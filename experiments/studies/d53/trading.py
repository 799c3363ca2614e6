"""The P2P market of the study (section 5.2.2): every peer is one bid of the order book.

A seller's cost is its bid price. A buyer has a demand target, the quantity of its bid; its marginal utility falls
from its utility at nothing to its bid price at the target, beyond which it wants no more than that price, as it says
in the flexibility market.

Blocked pairs are not among the candidates. Incentives change what a trade costs a party by its own price times
(1 - F), F being the factors of all lines at risk on its element of the preference matrix: the trading costs of
section 5.3.2 reflect the bid prices, and are equal over a row at the start.

**Bound per pair.** A seller whose cost is linear is as many sellers as it has partners, each with the power that the
pair may trade; the market needs no rule of its own for that. The bounds of a seller's pairs add up to its offer.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from peerwatt.agents.policies.blocking import blocked_pairs
from peerwatt.agents.policies.incentive_matrix import Reading, preference_factors
from peerwatt.agents.policies.risk import along_flow, at_risk
from peerwatt.errors import SimulationError
from peerwatt.experiments.studies.d53.draw import Bids
from peerwatt.experiments.studies.d53.model import PairBound
from peerwatt.market.bilateral import bilateral
from peerwatt.market.book import FloatArray, IntArray, QuadraticBook, all_pairs

__all__ = ["Before", "Signals", "Traded", "blocking", "incentives", "trade"]

BoolArray = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Signals:
    """What the DSO tells the peers; [i, j] is about i selling to j.

    Attributes:
        blocked: pairs that may not trade. (n_peers, n_peers)
        seller_cost, buyer_cost: EUR per MWh on top of the price; negative is an incentive. (n_peers, n_peers)
    """

    blocked: BoolArray
    seller_cost: FloatArray
    buyer_cost: FloatArray

    @classmethod
    def none(cls, n: int) -> Signals:
        """Nothing is said."""
        return cls(np.zeros((n, n), dtype=np.bool_), np.zeros((n, n)), np.zeros((n, n)))


@dataclass(frozen=True, slots=True)
class Traded:
    """What peers have traded.

    Attributes:
        seller, buyer: positions among the peers. (n_trades,)
        p_mw: power of each trade. (n_trades,)
        realised_mw: what is sold or bought of every peer's bid. (n_peers,)
        incentive_eur: what the DSO pays less what it is paid.
    """

    seller: IntArray
    buyer: IntArray
    p_mw: FloatArray
    realised_mw: FloatArray
    incentive_eur: float

    @property
    def volume_mw(self) -> float:
        """Sum of all trades."""
        return float(self.p_mw.sum())


@dataclass(frozen=True, slots=True)
class Before:
    """The grid before trading, as the DSO sees it.

    Attributes:
        flow_mw: flows. (n_lines,)
        limit_mw: limits. (n_lines,)
        flow_by_mw: flow on every line per MW that a peer feeds in. (n_lines, n_peers)
    """

    flow_mw: FloatArray
    limit_mw: FloatArray
    flow_by_mw: FloatArray

    def at_risk(self, threshold: float) -> IntArray:
        """Lines whose occupancy is at or above a threshold."""
        return at_risk(np.abs(self.flow_mw) / self.limit_mw, threshold)


def blocking(before: Before, threshold: float) -> Signals:
    """Block what raises the flow on a line at risk (scenario 2).

    Args:
        before: the grid.
        threshold: occupancy from which a line is at risk.
    """
    risky = before.at_risk(threshold)
    blocked, _ = blocked_pairs(before.flow_mw[risky], before.flow_by_mw[risky], risky)
    zero = np.zeros(blocked.shape)
    return Signals(blocked, zero, zero)


def incentives(
    before: Before, threshold: float, price_eur_per_mwh: FloatArray, *, w: float, reading: Reading, most: float
) -> Signals:
    """Reward what relieves lines at risk and charge what burdens them (scenario 3).

    Args:
        before: the grid.
        threshold: occupancy from which a line is at risk.
        price_eur_per_mwh: the elements of the matrix at the start, a price per row. (n_peers,)
        w: the factor W.
        reading: how it multiplies.
        most: highest reward, EUR/MWh.
    """
    risky = before.at_risk(threshold)
    factors = preference_factors(along_flow(before.flow_mw[risky], before.flow_by_mw[risky]), w, reading)
    seller, buyer = (np.maximum(price * (1.0 - factors), -most) for price in np.ix_(*(price_eur_per_mwh,) * 2))
    return Signals(np.zeros(factors.shape, dtype=np.bool_), seller, buyer)


def trade(bids: Bids, peers: IntArray, signals: Signals, bound: PairBound) -> Traded:
    """Clear the P2P market.

    Args:
        bids: the order book.
        peers: which bids take part.
        signals: what the DSO has said about every pair of them.
        bound: bound per pair.

    Raises:
        SimulationError: the market did not converge.
    """
    sells, most = bids.upward[peers], bids.p_mw[peers]
    p_min, p_max = np.where(sells, 0.0, -most), np.where(sells, most, 0.0)
    seller, buyer = all_pairs(p_min, p_max)
    allowed = ~signals.blocked[seller, buyer]
    seller, buyer = seller[allowed], buyer[allowed]
    price, utility = bids.price_eur_per_mwh[peers], bids.utility_eur_per_mwh[peers]
    cost_b = np.where(sells, price, utility)
    cost_a = np.where(sells, 0.0, (utility - price) / most)
    costs = signals.seller_cost[seller, buyer], signals.buyer_cost[seller, buyer]
    book = QuadraticBook(p_min, p_max, cost_a, cost_b, seller, buyer, *costs, period_h=1.0)
    if bound is PairBound.PRO_RATA:
        book = _bounded(book)
    owner = np.concatenate([np.arange(peers.size), seller])[: book.n_agents]
    return _clear(*_with_partners(book, owner), signals, most)


def _clear(book: QuadraticBook, owner: IntArray, signals: Signals, most: FloatArray) -> Traded:
    """Clear a book whose agents act for peers, `owner`; nobody realises more than its bid, `most`."""
    clearing = bilateral(book)
    if not clearing.status.solved:
        raise SimulationError(f"the P2P market of the study did not converge: {clearing.message}")
    trades = clearing.trades
    seller, buyer, n = owner[trades.seller], owner[trades.buyer], most.size
    paid = signals.seller_cost[seller, buyer] + signals.buyer_cost[seller, buyer]
    realised = np.bincount(seller, trades.p_mw, n) + np.bincount(buyer, trades.p_mw, n)
    realised = np.minimum(realised, most)  # the solver's rounding
    return Traded(seller, buyer, trades.p_mw, realised, -float(paid @ trades.p_mw))


def _with_partners(book: QuadraticBook, owner: IntArray) -> tuple[QuadraticBook, IntArray]:
    """The same book without those who may trade with nobody."""
    there, place = np.unique(np.concatenate([book.seller, book.buyer]), return_inverse=True)
    kept = replace(
        book,
        p_min_mw=book.p_min_mw[there],
        p_max_mw=book.p_max_mw[there],
        cost_a=book.cost_a[there],
        cost_b=book.cost_b[there],
        seller=place[: book.n_pairs],
        buyer=place[book.n_pairs :],
    )
    return kept, owner[there]


def _bounded(book: QuadraticBook) -> QuadraticBook:
    """The same book with a seller for every pair, numbered after the peers."""
    demand = np.maximum(-book.p_min_mw, 0.0)
    share = demand / demand.sum() if demand.any() else demand
    n, e = book.n_agents, book.n_pairs
    return replace(
        book,
        p_min_mw=np.concatenate([book.p_min_mw, np.zeros(e)]),
        p_max_mw=np.concatenate([book.p_max_mw, book.p_max_mw[book.seller] * share[book.buyer]]),
        cost_a=np.concatenate([book.cost_a, np.zeros(e)]),
        cost_b=np.concatenate([book.cost_b, book.cost_b[book.seller]]),
        seller=n + np.arange(e),
    )
