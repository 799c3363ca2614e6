"""One peer in a negotiation at `message` fidelity: what it hears, what it proposes, what it reports."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

import numpy as np

from peerwatt.agents.context import Context, Process
from peerwatt.agents.matching import spread_of
from peerwatt.agents.messages import FloatArray, IntArray, Message
from peerwatt.agents.proposals import Closing, Introduction, TradeProposal, TradeReport
from peerwatt.market.negotiation import Negotiating
from peerwatt.market.negotiator import Negotiator, Proposals

__all__ = ["MEMORY", "Bargaining"]

MEMORY = 32
"""Rounds of which a peer remembers the prices."""


class Bargaining:
    """A peer that negotiates with its partners, one `Negotiator` for each of its segments.

    Args:
        context: what the peer can reach.
        row: its row in the population.
        bounds: (2, n_segments) bounds of its segments, MW.
        told: the organiser's introduction.
    """

    def __init__(self, context: Context, row: int, bounds: tuple[FloatArray, FloatArray], told: Introduction) -> None:
        self._context, self._row, self._told = context, row, told
        self._name, self._organiser = told.receiver, told.sender
        self._counts: int | None = None  # which report counts, when all is agreed
        self._settled: deque[tuple[int, FloatArray, list[float]]] = deque(maxlen=MEMORY)
        self._heard: list[TradeProposal] = []
        key = told.segment * 2 + told.sells
        self._rows = [np.flatnonzero(key == each) for each in np.unique(key).tolist()]
        self._negotiators = [self._negotiator(rows, bounds) for rows in self._rows]
        self._mailing = {
            context.population.name[each]: _by_pair(told, each) for each in np.unique(told.partner).tolist()
        }
        self._p_mw, self._price = np.zeros(len(told.pair)), np.zeros(len(told.pair))

    def _negotiator(self, rows: IntArray, bounds: tuple[FloatArray, FloatArray]) -> Negotiator:
        told, private, tariff = self._told, self._context.private, self._context.tariff
        mechanism = self._context.mechanism
        assert isinstance(mechanism, Negotiating)
        segment, sells = int(told.segment[rows[0]]), bool(told.sells[rows[0]])
        cost = private.pair_cost(self._row, told.partner[rows], told.sells[rows])
        return Negotiator(
            0.0 if sells else float(bounds[0][segment]),
            float(bounds[1][segment]) if sells else 0.0,
            float(private.cost_a[self._row, segment]),
            float(private.cost_b[self._row, segment]),
            told.sells[rows],
            cost if sells else cost + tariff.network_fee_eur_per_mwh,
            told.penalty[rows],
            opening_price=told.opening_price_eur_per_mwh,
            consensus=mechanism.negotiation.consensus,
            innovation=mechanism.negotiation.innovation,
            skips_silent=True,
        )

    def hear(self, message: Message) -> None:
        """Take a proposal, or the end of the negotiation; what is of another round is ignored."""
        if isinstance(message, TradeProposal) and message.round == self._told.round:
            self._heard.append(message)
        elif isinstance(message, Closing) and message.round == self._told.round:
            self._counts = message.number

    def run(self, read_mail: Callable[[], None]) -> Process:
        """Propose round after round, until the organiser closes or time is up.

        Args:
            read_mail: hands what has arrived to `hear`.
        """
        context, told = self._context, self._told
        for number in range(told.n_rounds + 1):
            yield context.clock.until(told.begin_s + number * told.round_s)
            read_mail()
            self._take_in()
            if number:
                self._remember(number - 1)
            if self._counts is not None:
                break
            if number:
                context.bus.send((self._report(number - 1),))
            if number < told.n_rounds:
                context.bus.send(self._proposals(number))
        self._settle()

    def _take_in(self) -> None:
        """Pass on to each segment what partners have sent it."""
        if not self._heard:
            return
        n = len(self._told.pair)
        heard = Proposals(np.full(n, -1, dtype=np.intp), np.zeros(n), np.zeros(n))
        for message in self._heard:
            at = self._mailing.get(message.sender)
            if at is not None and message.p_mw.shape == message.price_eur_per_mwh.shape == at.shape:
                heard.number[at], heard.p_mw[at] = message.number, message.p_mw
                heard.price_eur_per_mwh[at] = message.price_eur_per_mwh
        self._heard.clear()
        for rows, negotiator in zip(self._rows, self._negotiators, strict=True):
            own = Proposals(heard.number[rows], heard.p_mw[rows], heard.price_eur_per_mwh[rows])
            negotiator.hear(np.arange(len(rows)), own)

    def _proposals(self, number: int) -> list[TradeProposal]:
        """What it proposes to its partners now, one message for each."""
        for rows, negotiator in zip(self._rows, self._negotiators, strict=True):
            answer = negotiator.answer()
            self._p_mw[rows], self._price[rows] = answer.p_mw, answer.price_eur_per_mwh
        period, round_ = self._told.period, self._told.round
        return [
            TradeProposal(self._name, partner, period, round_, number, self._p_mw[at], self._price[at])
            for partner, at in self._mailing.items()
        ]

    def _report(self, number: int) -> TradeReport:
        told, spread = self._told, spread_of(self._context.tariff)
        apart = [negotiator.disagreement(spread) for negotiator in self._negotiators]
        disagreement = float(np.sqrt(sum(squares for squares, _ in apart)))
        return TradeReport(
            sender=self._name,
            receiver=self._organiser,
            period=told.period,
            round=told.round,
            number=number,
            p_mw=self._p_mw.copy(),
            disagreement_eur_per_mwh=disagreement,
            worst_disagreement=max(worst for _, worst in apart),
        )

    def _remember(self, number: int) -> None:
        """Keep the price of each trade, the mean of both sides' proposals of a number."""
        price = self._price.copy()
        for rows, negotiator in zip(self._rows, self._negotiators, strict=True):
            price[rows] -= 0.5 * negotiator.mismatch()[1]
        self._settled.append((number, price, [negotiator.price_eur_per_mwh for negotiator in self._negotiators]))

    def _settle(self) -> None:
        """Take the prices that belong to the powers that count; the last ones where it was not told which."""
        told, private = self._told, self._context.private
        counting = [each for each in self._settled if each[0] == self._counts]
        _, price, values = counting[0] if counting else self._settled[-1]
        for rows, value in zip(self._rows, values, strict=True):
            sells, pair = bool(told.sells[rows[0]]), told.pair[rows]
            (private.seller_price if sells else private.buyer_price)[pair] = price[rows]
            private.value[self._row, told.segment[rows[0]], int(sells)] = value


def _by_pair(told: Introduction, partner: int) -> IntArray:
    """Rows about a partner, in the order of the pairs' numbers."""
    rows = np.flatnonzero(told.partner == partner)
    ordered: IntArray = rows[np.argsort(told.pair[rows])]
    return ordered
