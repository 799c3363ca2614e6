"""The bilateral market as a negotiation: peers propose trades to each other, the organiser learns quantities only.

With a mechanism whose agents negotiate (`peerwatt.market.negotiation.Negotiating`) the course of a round of trading is

1. the organiser calls (`CallForBids`), peers enrol with the bounds of what they want to trade (`Enrolment`);
2. the organiser tells each of its partners, and when proposals are sent (`Introduction`);
3. in every round each peer proposes a power and a price to each partner (`TradeProposal`), and tells the organiser
   what power it proposed last, and how far its prices are from its partners' (`TradeReport`);
4. when both residuals of what is reported are at the tolerance or below, the organiser ends it (`Closing`);
5. at the gate the powers of those reports are traded, the mean of both parties', moved to where all bounds hold, at
   the prices that went with them. Without an end that is done only where prices are agreed on and powers all but that,
   as in a market that is almost balanced (`peerwatt.market.negotiation`); the message says how far off. Otherwise the
   status is ``not_converged``, and nothing is traded: the powers of those pairs that agree so far are what their
   parties want only together with those of the pairs that do not.

A round lasts as long as a message at most is under way, so latency and the gate limit their number. The penalty is
never changed on the way, as a change that does not reach everybody would be none; it starts from the tariff, not from
anybody's costs. Who has not heard of its partner, as messages got lost, proposes nothing to it.

At `message` fidelity each peer is a `peerwatt.agents.bargaining.Bargaining`, at `round` fidelity all of them are one
`peerwatt.agents.together.Together`.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from mesa import Model

from peerwatt.agents.context import Context, Process
from peerwatt.agents.correspondence import write_peers
from peerwatt.agents.market import Market, Streams, mean_prices
from peerwatt.agents.matching import Match, Pace, Reported
from peerwatt.agents.messages import FloatArray, IntArray
from peerwatt.agents.proposals import Closing, Enrolment, TradeReport
from peerwatt.agents.records import Bids
from peerwatt.errors import Fault, ScenarioError
from peerwatt.market.book import QuadraticBook
from peerwatt.market.clearing import Clearing, Convergence, Status, Trades, empty_clearing, failed_clearing
from peerwatt.market.feasibility import feasible
from peerwatt.market.negotiation import Negotiating, agreed_clearing
from peerwatt.market.rounds import nearly_agreed, progress

if TYPE_CHECKING:
    from peerwatt.agents.together import Together

__all__ = ["NegotiatedMarket"]

_LEAST = 10  # rounds before the end, by when everybody has heard of its partners though messages get lost


class NegotiatedMarket(Market):
    """The organiser: introduces peers to each other, ends their negotiation, and notes what they trade.

    Raises:
        ScenarioError: the mechanism has ideas of its own of how messages travel.
    """

    answer = Enrolment

    def __init__(self, model: Model, context: Context, name: str) -> None:
        super().__init__(model, context, name)
        assert isinstance(context.mechanism, Negotiating)
        self._settings = context.mechanism.negotiation
        if not self._settings.communication.is_perfect:
            raise ScenarioError(
                Fault(
                    "market.options",
                    f"{self._settings.communication}: in a run messages travel as the scenario's communication says",
                    "set communication.loss and communication.jitter_s instead",
                )
            )
        self._match: Match | None = None
        self._known: Reported | None = None
        self._residuals: list[tuple[float, float]] = []
        self._agreed = False

    def until_gate(self, gate_s: int, number: int) -> Process:
        """Let the peers negotiate until the gate closes."""
        context = self.context
        self._match = self._known = None
        self._residuals, self._agreed = [], False
        # a message that is sent now is read at `round_s` or, where all events of that second count, one second later
        introduced_s = context.clock.now_s + 2 * context.round_s + 1
        begin_s = introduced_s + context.round_s + 1
        n_rounds = min((gate_s - 1 - begin_s) // context.round_s - 1, self._settings.max_rounds)
        if introduced_s < gate_s:
            yield context.clock.until(introduced_s)
            self._match = match = Match.of(*self.answers(number), context.tariff)
            context.private.begin(match.n_pairs)
            if n_rounds > 0 and match.n_pairs:
                self._known = Reported(match)
                yield from self._negotiate(match, self._known, Pace(begin_s, context.round_s, n_rounds), number)
        yield context.clock.until(gate_s)

    def _negotiate(self, match: Match, known: Reported, pace: Pace, number: int) -> Process:
        """Introduce the peers and watch them, until they agree or time is up."""
        from peerwatt.agents.together import Together

        context = self.context
        together = None if context.by_message else Together(context, match, self.name, pace)
        if together is None:
            self._introduce(match, pace, number)
        for tick in range(pace.n_rounds + 2):
            yield context.clock.until(pace.tick_s(tick))
            with context.spend("market"):
                if not self._agreed:
                    self._read_reports(known, together, number)
                    residuals = known.residuals()
                    if np.isfinite(residuals[0]):
                        self._residuals.append(residuals)
                    self._agreed = tick >= _LEAST and max(residuals) <= self._settings.tolerance
                    if self._agreed:
                        self._end(known, together, number)
                if together is not None and tick <= pace.n_rounds:
                    together.step(tick)

    def _end(self, known: Reported, together: Together | None, number: int) -> None:
        """Tell the peers that they have come to terms, and which of their proposals count."""
        counts = np.full(len(self.context.population), -1)
        counts[known.match.peers] = known.number
        if together is None:
            write_peers(self.context, Closing, self.name, (number, counts), only=known.match.peers)
        else:
            together.close(counts)

    def _introduce(self, match: Match, pace: Pace, number: int) -> None:
        context, period = self.context, self.context.now.period
        matched, name = set(match.peers.tolist()), context.population.name
        context.bus.send(
            match.introduction(self.name, name[row], period, number, pace, row)
            for _, rows in context.roster
            for row in rows.tolist()
            if row in matched
        )

    def _read_reports(self, known: Reported, together: Together | None, number: int) -> None:
        if together is not None:
            together.tell(known)
            return
        context = self.context
        for report in self.inbox.take():
            if type(report) is TradeReport and (report.period, report.round) == (context.now.period, number):
                row = context.row_of[report.sender]
                disagreement = (report.disagreement_eur_per_mwh, report.worst_disagreement)
                known.note(row, report.number, report.p_mw, disagreement)

    def clear(
        self,
        peer: IntArray,  # noqa: ARG002 - who enrols when the gate closes is too late
        fields: tuple[FloatArray, ...],  # noqa: ARG002
    ) -> tuple[Bids, Clearing, Trades, FloatArray]:
        """Note what has been agreed on; prices and costs are in the record of the period only."""
        context, n = self.context, len(self.context.population)
        match = self._match or Match.of(np.empty(0, dtype=np.int64), (), context.tariff)
        owner, segment, private = match.owner, match.segment, context.private
        bids = self._bids(match)
        change, trades = np.zeros(n), Trades.none()
        with context.spend("market"):
            clearing = replace(self._clearing(match, bids), convergence=self._convergence())
        if clearing.status is Status.OPTIMAL:
            flexible = segment > 0
            np.add.at(change, owner[flexible], clearing.p_mw[flexible])
            trades = clearing.trades.between(owner, n)
        private.mean_price[:] = mean_prices(trades, n, clearing.spread_eur_per_mwh)
        return bids, clearing, trades, change

    def without(
        self,
        peer: IntArray,  # noqa: ARG002 - it is the match that counts
        fields: tuple[FloatArray, ...],  # noqa: ARG002
        random: Streams,
    ) -> FloatArray:
        """What the equilibrium would be among these alone, (n_peers,): nobody has negotiated it.

        Of those who are matched all but the TSO's virtual load negotiate; without an agreement nothing is traded.
        """
        context, match, n = self.context, self._match, len(self.context.population)
        change = np.zeros(n)
        if self._known is None or match is None:
            return change
        asked = context.population.requested_mw != 0.0
        owner, segment = match.owner, match.segment
        bids = self._bids(match)
        seller, buyer = match.sides.seller, match.sides.buyer
        rest = np.flatnonzero(~asked[owner[seller]] & ~asked[owner[buyer]])
        book = self._book(bids, seller[rest], buyer[rest])
        clearing = feasible(book, context.mechanism.clear(book, random("tie-breaking")))
        if clearing.status is Status.OPTIMAL:
            flexible = segment > 0
            np.add.at(change, owner[flexible], clearing.p_mw[flexible])
        return change

    def _bids(self, match: Match) -> Bids:
        """Bounds of those who are matched, with the costs that only the record of the period has."""
        owner, segment, private = match.owner, match.segment, self.context.private
        a, b = private.cost_a[owner, segment], private.cost_b[owner, segment]
        return Bids(owner, segment, match.p_min_mw, match.p_max_mw, a, b)

    def _book(self, bids: Bids, seller: IntArray, buyer: IntArray) -> QuadraticBook:
        """The book of the negotiation between pairs of bids."""
        context, private = self.context, self.context.private
        sells, buys = bids.peer[seller], bids.peer[buyer]
        yes = np.ones(len(seller), dtype=np.bool_)
        return QuadraticBook(
            p_min_mw=bids.p_min_mw,
            p_max_mw=bids.p_max_mw,
            cost_a=bids.cost_a,
            cost_b=bids.cost_b,
            seller=seller,
            buyer=buyer,
            seller_cost=private.pair_cost(sells, buys, yes),
            buyer_cost=private.pair_cost(buys, sells, ~yes) + context.tariff.network_fee_eur_per_mwh,
            period_h=context.period_h,
        )

    def _clearing(self, match: Match, bids: Bids) -> Clearing:
        known, sides, n = self._known, match.sides, len(bids.peer)
        if self._match is not None and not match.n_pairs:
            return empty_clearing(n, message="nobody may trade with anybody")
        if known is None:
            return failed_clearing(Status.NOT_CONVERGED, n, message="the gate closed before anybody could propose")
        rounds, tolerance, apart = int(known.number.max()) + 1, self._settings.tolerance, known.residuals()
        message = "" if self._agreed else progress(sides, known.p_mw, apart, rounds, tolerance)
        if not (self._agreed or (rounds > _LEAST and nearly_agreed(sides, known.p_mw, apart[1], tolerance))):
            message = message if rounds else "nobody has reported a proposal"
            return failed_clearing(Status.NOT_CONVERGED, n, iterations=rounds, message=message)
        private, book = self.context.private, self._book(bids, sides.seller, sides.buyer)
        power = 0.5 * (known.p_mw[sides.seller_side] + known.p_mw[sides.buyer_side])
        price = 0.5 * (private.seller_price + private.buyer_price)
        value = private.value[bids.peer, bids.step, (bids.p_max_mw > 0.0).astype(np.intp)]
        clearing = agreed_clearing(book, sides, power, price, value)
        return replace(clearing, iterations=rounds, message=clearing.message or message)

    def _convergence(self) -> Convergence | None:
        """Residuals of what had been reported, round by round; None where nothing was. Costs it does not know."""
        if not self._residuals:
            return None
        primal, dual = np.array(self._residuals).T
        unknown = np.empty(0, dtype=np.int64)
        return Convergence(primal, dual, np.empty(0), unknown, unknown)

    def told_prices(self, trades: Trades, spread_eur_per_mwh: FloatArray) -> FloatArray:  # noqa: ARG002
        """It knows no price; its peers do."""
        return np.full(len(self.context.population), np.nan)
