"""What the organiser of a negotiation knows: who may trade with whom, and what peers report.

It is told quantities and how far apart prices are, but no price and no cost. From the bounds of what peers want to
trade it makes the pairs, and for each a penalty that both sides use; the price to begin with and the spread of prices
are those of the tariff, which everybody knows.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from peerwatt.agents.bilateral import one_way
from peerwatt.agents.flexibility import N_SEGMENTS
from peerwatt.agents.messages import FloatArray, IntArray
from peerwatt.agents.proposals import Introduction
from peerwatt.agents.settings import TariffSettings
from peerwatt.market.book import QuadraticBook, all_pairs
from peerwatt.market.sides import MarketScale, Sides

__all__ = ["Match", "Pace", "Reported", "spread_of"]


@dataclass(frozen=True, slots=True)
class Pace:
    """When proposals are sent.

    Attributes:
        begin_s: the first ones.
        round_s: time between them.
        n_rounds: most of them.
    """

    begin_s: int
    round_s: int
    n_rounds: int

    def tick_s(self, number: int) -> int:
        """When proposals of a number are sent."""
        return self.begin_s + number * self.round_s


@dataclass(frozen=True, slots=True)
class Match:
    """Who may trade with whom. Each segment of a peer that offers something is an agent, sellers and buyers apart.

    Attributes:
        owner: peer of each agent, ascending. (n_agents,)
        segment: which of its segments. (n_agents,)
        p_min_mw, p_max_mw: bounds. (n_agents,)
        sides: both sides of all pairs, agent by agent; without costs.
        pair: pair of each side. (n_sides,)
        scale: by what penalties and residuals are measured; None without pairs.
    """

    owner: IntArray
    segment: IntArray
    p_min_mw: FloatArray
    p_max_mw: FloatArray
    sides: Sides
    pair: IntArray
    scale: MarketScale | None

    @classmethod
    def of(cls, peer: IntArray, fields: tuple[np.ndarray, ...], tariff: TariffSettings) -> Match:
        """Match those who have enrolled.

        Args:
            peer: (n,) their rows, ascending.
            fields: of their enrolments, without the round; none when nobody enrolled.
            tariff: the outside option.
        """
        p_min, p_max = (each.ravel() for each in fields[:2] or (np.empty(0),) * 2)
        offered, low, high = one_way(p_min, p_max)
        order = np.argsort(offered, kind="stable")  # by peer, then segment; as a buyer before as a seller
        offered, low, high = offered[order], low[order], high[order]
        row, segment = offered // N_SEGMENTS, offered % N_SEGMENTS
        owner = peer[row]
        seller, buyer = all_pairs(low, high)
        willing = owner[seller] != owner[buyer]
        if fields and fields[2].shape[1]:
            sells_to, buys_from = fields[2:]
            willing &= sells_to[row[seller], owner[buyer]] & buys_from[row[buyer], owner[seller]]
        seller, buyer = seller[willing], buyer[willing]
        zeros, free = np.zeros(len(owner)), np.zeros(len(seller))
        book = QuadraticBook(low, high, zeros, zeros, seller, buyer, free, free, period_h=1.0)
        sides = Sides.of(book)
        pair = np.empty(sides.n_sides, dtype=np.intp)
        pair[sides.seller_side] = pair[sides.buyer_side] = np.arange(len(seller))
        return cls(owner, segment, low, high, sides, pair, _scale(book, sides, tariff) if len(seller) else None)

    @property
    def n_pairs(self) -> int:
        """Number of pairs."""
        return self.sides.seller.size

    @property
    def side_owner(self) -> IntArray:
        """Peer of each side; (n_sides,)."""
        return self.owner[self.sides.agent()]

    @property
    def peers(self) -> IntArray:
        """Rows of the peers with partners, ascending."""
        return np.unique(self.side_owner)

    def own(self, row: int) -> slice:
        """Sides of a peer."""
        first, last = np.searchsorted(self.owner, (row, row + 1))
        return slice(int(self.sides.start[first]), int(self.sides.start[last]))

    def introduction(self, sender: str, receiver: str, period: int, round_: int, pace: Pace, row: int) -> Introduction:
        """Tell a peer of its partners."""
        assert self.scale is not None
        own, sides = self.own(row), self.sides
        pair, sells = self.pair[own], sides.sign[own] > 0.0
        partner = self.owner[np.where(sells, sides.buyer[pair], sides.seller[pair])]
        return Introduction(
            sender=sender,
            receiver=receiver,
            period=period,
            round=round_,
            begin_s=pace.begin_s,
            round_s=pace.round_s,
            n_rounds=pace.n_rounds,
            opening_price_eur_per_mwh=self.scale.opening,
            pair=pair,
            segment=self.segment[sides.agent()[own]],
            partner=partner,
            sells=sells,
            penalty=self.scale.penalty[pair],
        )


def _scale(book: QuadraticBook, sides: Sides, tariff: TariffSettings) -> MarketScale:
    """Prices of the tariff, in place of those of the agents, which nobody knows."""
    opening = 0.5 * (tariff.supply_eur_per_mwh + tariff.feed_in_eur_per_mwh)
    return MarketScale(spread_of(tariff), opening, MarketScale.of(book, sides).power)


def spread_of(tariff: TariffSettings) -> float:
    """Spread of prices by which everybody measures, EUR/MWh."""
    supply, feed_in = tariff.supply_eur_per_mwh, tariff.feed_in_eur_per_mwh
    return supply - feed_in if supply > feed_in else max(abs(supply), 1.0)


@dataclass(slots=True)
class Reported:
    """The last report of every peer.

    Args:
        match: who may trade with whom; at least one pair.

    Attributes:
        p_mw: power proposed for each side. (n_sides,)
        disagreement: of prices, EUR/MWh; by peer, in the order of `Match.peers`. (n_peers,)
        worst: the largest one of any trade, as a share of its price. (n_peers,)
        number: of the proposals that each peer has reported last, -1 before. (n_peers,)
    """

    match: Match
    p_mw: FloatArray = field(init=False)
    disagreement: FloatArray = field(init=False)
    worst: FloatArray = field(init=False)
    number: IntArray = field(init=False)
    _peers: IntArray = field(init=False)
    _n_sides: IntArray = field(init=False)

    def __post_init__(self) -> None:
        self._peers, self._n_sides = np.unique(self.match.side_owner, return_counts=True)
        n = len(self._peers)
        self.p_mw = np.zeros(self.match.sides.n_sides)
        self.disagreement, self.worst, self.number = np.zeros(n), np.zeros(n), np.full(n, -1)

    def note(self, row: int, number: int, p_mw: FloatArray, disagreement: tuple[float, float]) -> None:
        """Note the report of a peer; what is older than what is known is ignored."""
        at = int(np.searchsorted(self._peers, row))
        own = self.match.own(row)
        if number > self.number[at] and p_mw.shape == (own.stop - own.start,):
            self.p_mw[own], self.number[at] = p_mw, number
            self.disagreement[at], self.worst[at] = disagreement

    def residuals(self) -> tuple[float, float]:
        """Primal and dual residual of what is known, see `peerwatt.market.consensus`; infinite without a report."""
        from peerwatt.market.consensus import MARGIN, Costs, Layout, powers_apart

        match, sides, scale, told = self.match, self.match.sides, self.match.scale, self.number >= 0
        if scale is None or not told.any():
            return np.inf, np.inf
        costs = Costs(match.p_min_mw, match.p_max_mw, match.p_min_mw, match.p_min_mw)  # only bounds are known
        layout = Layout(sides.start, sides.sign, sides.cost, sides.mate)
        primal = float(powers_apart(costs, layout, self.p_mw, self.p_mw[sides.mate], scale.least))
        dual = float(np.sqrt(np.square(self.disagreement[told]).sum() / self._n_sides[told].sum())) / scale.price
        return primal, max(dual, float(self.worst[told].max()) / MARGIN)
