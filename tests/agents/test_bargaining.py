"""One peer that negotiates: proposals, reports and prices of two rounds by hand."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from peerwatt.agents.bargaining import Bargaining
from peerwatt.agents.private import Private
from peerwatt.agents.proposals import Closing, Introduction, TradeProposal, TradeReport
from peerwatt.agents.settings import TariffSettings
from peerwatt.market.mechanism import MECHANISMS
from peerwatt.market.negotiation import Negotiating

PERIOD, ROUND = 7, 3


class Table:
    """A peer, `me`, that buys for its first segment from `one` and sells its second to `one` and `two`."""

    def __init__(self) -> None:
        mechanism = MECHANISMS.get("consensus_innovation")()
        assert isinstance(mechanism, Negotiating)
        self.sent: list[Any] = []
        self.private = Private(3)
        self.private.begin(6)
        self.private.put(np.array([0]), np.array([[10.0, 10.0]]), np.array([[120.0, 20.0]]), *self.costs())
        context: Any = SimpleNamespace(
            private=self.private,
            tariff=TariffSettings(network_fee_eur_per_mwh=10.0),
            mechanism=mechanism,
            population=SimpleNamespace(name=("me", "one", "two")),
            clock=SimpleNamespace(until=lambda time: time),
            bus=SimpleNamespace(send=self.sent.extend),
        )
        told = Introduction(
            "market",
            "me",
            PERIOD,
            round=ROUND,
            begin_s=100,
            round_s=5,
            n_rounds=3,
            opening_price_eur_per_mwh=60.0,
            pair=np.array([4, 2, 5]),
            segment=np.array([0, 1, 1]),
            partner=np.array([1, 1, 2]),
            sells=np.array([False, True, True]),
            penalty=np.full(3, 20.0),
        )
        self.peer = Bargaining(context, 0, (np.array([-2.0, -9.0]), np.array([9.0, 3.0])), told)
        self.mail: list[Any] = []
        self.process = self.peer.run(self.read)

    @staticmethod
    def costs() -> tuple[np.ndarray, np.ndarray]:
        return np.array([[0.0, 7.0, 7.0]]), np.array([[0.0, 5.0, 99.0]])

    def read(self) -> None:
        for message in self.mail:
            self.peer.hear(message)
        self.mail.clear()

    def turn(self, *mail: Any) -> list[Any]:
        """Let it act at its next time, having received these; what it sends."""
        self.mail += mail
        self.sent.clear()
        next(self.process, None)
        return list(self.sent)


def proposal(sender: str, number: int, p_mw: list[float], price: list[float], round_: int = ROUND) -> TradeProposal:
    return TradeProposal(sender, "me", PERIOD, round_, number, np.array(p_mw), np.array(price))


# First proposals, with price 60 and nothing heard. It buys p where 120 - 10 p = 60 + 10 + 5 + 20 p, so 1.5 at 90;
# it sells q to each of two where 20 + 10 (2 q) = 60 - 7 - 20 q, so 0.825 at 60 - 20 q.
BUYS, SELLS = (1.5, 90.0), (0.825, 43.5)


def opened() -> Table:
    table = Table()
    assert next(table.process) == 100
    sent = table.turn()
    assert [(each.receiver, each.number) for each in sent] == [("one", 0), ("two", 0)]
    np.testing.assert_allclose(sent[0].p_mw, [SELLS[0], BUYS[0]])  # in the order of the pairs, 2 then 4
    np.testing.assert_allclose(sent[0].price_eur_per_mwh, [SELLS[1], BUYS[1]])
    np.testing.assert_allclose((sent[1].p_mw, sent[1].price_eur_per_mwh), [[SELLS[0]], [SELLS[1]]])
    return table


def test_first_proposals_are_the_best_at_the_opening_price_with_fee_and_signals_of_each_side() -> None:
    table = opened()
    assert all(isinstance(each, TradeProposal) and each.round == ROUND for each in table.sent)


def test_it_reports_what_it_has_proposed_and_how_far_prices_are_off() -> None:
    table = opened()
    report, *rest = table.turn(proposal("one", 0, [0.5, 1.0], [50.0, 70.0]), proposal("two", 0, [0.25], [40.0]))
    assert isinstance(report, TradeReport)
    assert (report.receiver, report.number, report.period, report.round) == ("market", 0, PERIOD, ROUND)
    np.testing.assert_allclose(report.p_mw, [BUYS[0], SELLS[0], SELLS[0]])
    off = (90.0 - 70.0, 43.5 - 50.0, 43.5 - 40.0)
    assert report.disagreement_eur_per_mwh == pytest.approx(np.sqrt(np.square(off).sum()))
    assert [(type(each), each.number) for each in rest] == [(TradeProposal, 1)] * 2
    last = table.turn()
    assert [each.number for each in last] == [1, 2, 2]
    end = table.turn(Closing("market", "me", PERIOD, ROUND, 1))
    assert not end


def test_prices_are_the_mean_of_both_sides_for_the_number_that_counts() -> None:
    table = opened()
    table.turn(proposal("one", 0, [0.5, 1.0], [50.0, 70.0]), proposal("two", 0, [0.25], [40.0]))
    table.turn(proposal("one", 1, [0.5, 1.0], [10.0, 10.0]), proposal("two", 1, [0.25], [10.0]))
    table.turn(Closing("market", "me", PERIOD, ROUND - 1, 1), Closing("market", "me", PERIOD, ROUND, 0))
    np.testing.assert_allclose(table.private.buyer_price, [np.nan] * 4 + [80.0, np.nan])
    np.testing.assert_allclose(table.private.seller_price, [np.nan] * 2 + [46.75, np.nan, np.nan, 41.75])
    np.testing.assert_allclose(table.private.value[0], [[120.0 - 15.0, 0.0], [0.0, 20.0 + 16.5]])
    assert not table.sent


def test_who_is_not_told_which_number_counts_takes_the_last_prices() -> None:
    table = opened()
    for number in range(3):
        table.turn(
            proposal("one", number, [0.5, 1.0], [50.0 + number, 70.0 + number]), proposal("two", number, [0.2], [40.0])
        )
    own = table.peer._price.copy()
    np.testing.assert_allclose(table.private.buyer_price[4], 0.5 * (own[0] + 72.0))
    np.testing.assert_allclose(table.private.seller_price[[2, 5]], 0.5 * (own[1:] + np.array([52.0, 40.0])))


def test_proposals_of_another_round_or_shape_are_not_heard() -> None:
    table = opened()
    report, *_ = table.turn(
        proposal("one", 0, [0.5, 1.0], [50.0, 70.0], ROUND - 1),
        proposal("two", 0, [0.5, 1.0], [50.0, 70.0]),
        proposal("nobody", 0, [0.5], [50.0]),
    )
    off = (90.0 - 60.0, 43.5 - 60.0, 43.5 - 60.0)  # who was not heard of is at the opening price
    assert report.disagreement_eur_per_mwh == pytest.approx(np.sqrt(np.square(off).sum()))


def test_bounds_are_those_of_the_segment_on_the_side_that_it_trades_on() -> None:
    table = Table()
    limits = [(each._costs.p_min[0], each._costs.p_max[0]) for each in table.peer._negotiators]
    assert limits == [(-2.0, 0.0), (0.0, 3.0)]
