"""All peers of a negotiation at `round` fidelity: one vectorised step per round, its messages booked as counts.

The step does for every peer what `peerwatt.agents.bargaining` does for one, in the same order, with the same compiled
turn, and draws loss and delay in the same order; so both fidelities end in the same trades.
"""

from __future__ import annotations

from collections import deque

import numpy as np

from peerwatt.agents.bargaining import MEMORY
from peerwatt.agents.context import Context
from peerwatt.agents.matching import Match, Pace, Reported, spread_of
from peerwatt.agents.messages import BoolArray, FloatArray, IntArray, Message
from peerwatt.agents.proposals import Closing, Introduction, TradeProposal, TradeReport
from peerwatt.market.consensus import Costs, Layout, Rule, Talk, play_round, prices_apart
from peerwatt.market.negotiation import Negotiating
from peerwatt.market.negotiator import SILENT_COST

__all__ = ["Together"]

_OPEN = -2  # no report counts so far


class Together:
    """The peers of a negotiation.

    Args:
        context: what they can reach.
        match: who may trade with whom.
        organiser: name of who runs the market.
        pace: when proposals are sent.
    """

    def __init__(self, context: Context, match: Match, organiser: str, pace: Pace) -> None:
        assert match.scale is not None
        self._context, self._match, self._pace, self._organiser = context, match, pace, organiser
        private, sides, owner = context.private, match.sides, match.side_owner
        fee = np.where(sides.sign < 0.0, context.tariff.network_fee_eur_per_mwh, 0.0)
        self._owner, self._partner = owner, owner[sides.mate]
        self._cost = private.pair_cost(owner, self._partner, sides.sign > 0.0) + fee
        own = (match.owner, match.segment)
        self._costs = Costs(match.p_min_mw, match.p_max_mw, private.cost_a[own], private.cost_b[own])
        self._layout = Layout(sides.start, sides.sign, self._cost.copy(), sides.mate)
        mechanism = context.mechanism
        assert isinstance(mechanism, Negotiating)
        self._rule = Rule(mechanism.negotiation.consensus, mechanism.negotiation.innovation, 0.0, 1.0, 1.0, 0)
        self._talk = _silence(match, self._costs)
        self._ever = np.zeros(sides.n_sides, dtype=np.bool_)  # has heard of its partner
        self._reports: list[tuple[IntArray, int, FloatArray, tuple[FloatArray, FloatArray]]] = []
        self._counts = np.full((2, len(context.population)), _OPEN)  # report that counts: as told, as told soon
        self._settled: deque[tuple[int, FloatArray, FloatArray]] = deque(maxlen=MEMORY)
        self._introduce()

    def _introduce(self) -> None:
        """Tell peers of their partners; who is told joins in, in the order in which it is."""
        context = self._context
        rows, delivered = self._write(Introduction)
        told = np.flatnonzero(delivered >= 0)
        present = rows[told[np.argsort(delivered[told], kind="stable")]]
        n = len(context.population)
        rank = np.full(n, -1)
        rank[present] = np.arange(len(present))
        self._active = rank >= 0
        self._peers = present
        # letters in the order in which they are sent: by peer its report, then its proposals by partner
        side = np.flatnonzero(self._active[self._owner])
        key = rank[self._owner[side]] * (n + 1) + self._partner[side] + 1
        keys = np.unique(np.concatenate([np.arange(len(present)) * (n + 1), key]))
        self._letter = np.full(self._owner.size, -1)  # which carries the side's proposal
        self._letter[side] = np.searchsorted(keys, key)
        self._sender, target = present[keys // (n + 1)], keys % (n + 1) - 1
        self._is_report = target < 0
        self._arrived = np.zeros(len(keys), dtype=np.bool_)
        groups, group = [name for name, _ in context.roster], _group_of(context)
        to = np.where(self._is_report, -1, group[target])
        self._legs: list[tuple[type[Message], str, str]] = [
            (TradeReport, sender, self._organiser) if k < 0 else (TradeProposal, sender, groups[k])
            for sender in groups
            for k in range(-1, len(groups))
        ]
        self._leg = group[self._sender] * (len(groups) + 1) + to + 1

    def _write(self, kind: type[Message]) -> tuple[IntArray, IntArray]:
        """Book a message from the organiser to every matched peer; rows of the peers, and when it arrives."""
        context = self._context
        parts = [np.intersect1d(rows, self._match.peers) for _, rows in context.roster]
        legs = [(kind, self._organiser, name) for name, _ in context.roster]
        leg = np.repeat(np.arange(len(parts)), [len(part) for part in parts])
        return np.concatenate(parts), context.bus.book(context.now.period, legs, leg)

    def tell(self, known: Reported) -> None:
        """Hand the reports that have arrived before now to the organiser."""
        now, waiting = self._context.clock.now_s, []
        for delivered, number, p_mw, (apart, worst) in self._reports:
            here = (delivered >= 0) & (delivered < now)
            for i in np.flatnonzero(here).tolist():
                row = int(self._peers[i])
                known.note(row, number, p_mw[self._match.own(row)], (float(apart[row]), float(worst[row])))
            late = np.where(here, -1, delivered)
            if (late >= 0).any():
                waiting.append((late, number, p_mw, (apart, worst)))
        self._reports = waiting

    def close(self, number: IntArray) -> None:
        """Tell peers that no more proposals are needed; they know at the next step.

        Args:
            number: (n_peers,) of the report of each that counts.
        """
        rows, delivered = self._write(Closing)
        told = rows[delivered >= 0]
        self._counts[1, told] = number[told]

    def step(self, number: int) -> None:
        """Let all peers hear, report and propose."""
        if not self._active.any():
            return
        if number:
            self._hear(self._active)
            price = self._talk.price - 0.5 * (self._talk.price - self._talk.heard_price)
            self._settled.append((number - 1, price, self._talk.value.copy()))
        reporting = self._active & (self._counts[0] == _OPEN)
        reports = self._is_report & reporting[self._sender] & (number > 0)
        active = reporting & (number < self._pace.n_rounds)
        self._settle(self._active & ~active)
        self._active = active
        self._counts[0] = self._counts[1]
        p_mw, disagreement = self._talk.power.copy(), self._disagreement()
        if self._active.any():
            if number:
                self._layout.cost[:] = np.where(self._ever, self._cost, SILENT_COST)
            acting = self._active[self._match.owner]
            play_round(acting, self._costs, self._layout, self._talk, self._rule, np.empty(acting.size))
        sent = np.flatnonzero(reports | (~self._is_report & self._active[self._sender]))
        delivered = np.full(self._sender.size, -1)
        delivered[sent] = self._context.bus.book(self._context.now.period, self._legs, self._leg[sent])
        self._arrived = delivered >= 0
        if number:
            self._reports.append((delivered[self._is_report], number - 1, p_mw, disagreement))

    def _disagreement(self) -> tuple[FloatArray, FloatArray]:
        """What peers report of prices: root of the sum of squares in EUR/MWh and largest share; each (n_peers,)."""
        talk, owner = self._talk, self._match.owner
        spread = spread_of(self._context.tariff)
        squares, worst = prices_apart(self._layout, talk, (talk.heard_power, talk.heard_price), spread)
        largest = np.zeros(len(self._active))
        np.maximum.at(largest, owner, worst)
        return np.sqrt(np.bincount(owner, squares, len(largest))), largest

    def _hear(self, listening: BoolArray) -> None:
        """Take in the proposals that have arrived."""
        talk, mate = self._talk, self._match.sides.mate
        letter = self._letter[mate]
        to = np.flatnonzero((letter >= 0) & self._arrived[letter] & listening[self._owner])
        talk.heard_power[to], talk.heard_price[to] = talk.power[mate[to]], talk.price[mate[to]]
        talk.news[to] = self._ever[to] = True

    def _settle(self, peers: BoolArray) -> None:
        """Let peers that stop take the prices that belong to the powers that count, the last ones if not told which."""
        private, match, sides = self._context.private, self._match, self._match.sides
        prices = {number: (price, value) for number, price, value in self._settled}
        for number in np.unique(self._counts[0, peers]).tolist():
            price, value = prices.get(number, self._settled[-1][1:])
            stops = peers & (self._counts[0] == number)
            sold, bought = (np.flatnonzero(stops[self._owner] & (sides.sign == sign)) for sign in (1.0, -1.0))
            private.seller_price[match.pair[sold]] = price[sold]
            private.buyer_price[match.pair[bought]] = price[bought]
            own = np.flatnonzero(stops[match.owner])
            sells = (match.p_max_mw[own] > 0.0).astype(np.intp)
            private.value[match.owner[own], match.segment[own], sells] = value[own]


def _silence(match: Match, costs: Costs) -> Talk:
    """Nobody has said anything."""
    assert match.scale is not None
    n, most = match.sides.n_sides, int(np.diff(match.sides.start).max())
    opening = match.scale.opening
    return Talk(
        power=np.zeros(n),
        price=np.full(n, opening),
        heard_power=np.zeros(n),
        heard_price=np.full(n, opening),
        news=np.zeros(n, dtype=np.bool_),
        penalty=match.sides.to_sides(match.scale.penalty),
        value=costs.b.copy(),
        pull=np.empty(most),
        give=np.empty(most),
    )


def _group_of(context: Context) -> IntArray:
    """Number of each peer's group."""
    group = np.zeros(len(context.population), dtype=np.intp)
    for k, (_, rows) in enumerate(context.roster):
        group[rows] = k
    return group
