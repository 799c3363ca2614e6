"""What the DSO pays at the end of a period, with accounts by hand: two peers, supplier, DSO, mediator, outside."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from peerwatt.agents.devices import CURTAIL, N_PRODUCTS, REDUCE, Outlook
from peerwatt.agents.directive import Directive
from peerwatt.agents.dues import dues
from peerwatt.agents.policies import SignalKind, Signals
from peerwatt.market.settlement import REASONS, Entries

DSO, MEDIATOR, OUTSIDE = 3, 4, 5

Bills = dict[tuple[int, int, str], float]


class _Population(SimpleNamespace):
    def __len__(self) -> int:
        return 2


def outlook(load_mw: float) -> Outlook:
    loads, none = np.full(2, -load_mw), np.zeros(2)
    return Outlook(loads, none, np.full(2, 9.0), none, none, none)


def run() -> Any:
    """The first peer delivers 3 of the 4 MW that it reduces, the second all of the 2 MW that it curtails and more."""
    activated, due, done = np.zeros((3, 2, N_PRODUCTS))
    activated[0, REDUCE], activated[1, CURTAIL] = 4.0, 2.0
    due[0, REDUCE], due[1, CURTAIL] = 8.0, -3.0
    done[0, REDUCE], done[1, CURTAIL] = 3.0, 2.5
    directive = Directive.none(2)
    directive.p_mw[1, REDUCE], directive.paid_eur[1] = 1.0, 10.0  # of which there is half when it comes to it
    now = SimpleNamespace(
        p_activated_mw=done,
        ordered_mw=activated,
        realised=outlook(0.5),
        forecast=outlook(2.0),
        aggregate_eur=np.zeros((2, N_PRODUCTS)),
        outside_eur=np.array([[1.0, 2.0, 0.0]]),
    )
    population = _Population(p_activated_mw=activated, flexibility_eur=due, directive=directive, bus=np.array([1, 1]))
    return SimpleNamespace(now=now, population=population, outside=["genset"], period_h=0.5)


def bills(entries: list[Entries]) -> Bills:
    """What each account owes another for a reason, amounts that are not 0."""
    found: Bills = {}
    rows = Entries.concat(entries)
    for payer, payee, reason, amount in zip(rows.payer, rows.payee, rows.reason, rows.amount_eur, strict=True):
        if amount:
            key = (int(payer), int(payee), str(REASONS[reason]))
            found[key] = found.get(key, 0.0) + float(amount)
    return found


def test_flexibility_is_paid_as_far_as_it_is_delivered_and_an_order_as_far_as_it_could_be() -> None:
    expected = {
        (DSO, 0, "flexibility"): 8.0 * 0.75,
        (1, DSO, "flexibility"): 3.0,
        (DSO, 1, "flexibility"): 10.0 * 0.5,
        (DSO, OUTSIDE, "flexibility"): 3.0,
    }
    assert bills(dues(run(), None, None)) == pytest.approx(expected)


def test_a_mediator_is_paid_for_what_its_peers_deliver_of_what_was_bought_at_the_bus_and_pays_them() -> None:
    context = run()
    context.now.aggregate_eur[1, [REDUCE, CURTAIL]] = 12.0, -2.0
    expected = {
        (MEDIATOR, 0, "flexibility"): 8.0 * 0.75,
        (1, MEDIATOR, "flexibility"): 3.0,
        (DSO, 1, "flexibility"): 10.0 * 0.5,
        (DSO, MEDIATOR, "flexibility"): 12.0 * 0.75 - 2.0,
        (DSO, OUTSIDE, "flexibility"): 3.0,
    }
    assert bills(dues(context, None, None)) == pytest.approx(expected)


def test_more_delivered_at_a_bus_by_one_peer_does_not_make_up_for_what_another_owes() -> None:
    context = run()
    context.now.ordered_mw = np.zeros((2, N_PRODUCTS))
    context.now.ordered_mw[:, REDUCE] = 4.0, 1.0
    context.now.p_activated_mw[1, REDUCE] = 2.0
    context.now.aggregate_eur[1, REDUCE] = 10.0
    assert bills(dues(context, None, None))[DSO, MEDIATOR, "flexibility"] == pytest.approx(10.0 * (3.0 + 1.0) / 5.0)


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        (SignalKind.INCENTIVE, {(0, DSO, "penalty"): 6.0, (DSO, 1, "incentive"): 8.0}),
        (SignalKind.FEE, {(0, DSO, "network_fee"): 6.0, (DSO, 1, "network_fee"): 8.0}),
    ],
)
def test_seller_and_buyer_of_a_trade_owe_what_was_told_to_them(kind: SignalKind, expected: Bills) -> None:
    context = run()
    context.population.p_activated_mw = np.zeros((2, N_PRODUCTS))
    context.population.directive = Directive.none(2)
    context.now.outside_eur = np.zeros((1, N_PRODUCTS))
    seller, buyer = np.array([[0.0, 3.0], [50.0, 0.0]]), np.array([[0.0, -4.0], [70.0, 0.0]])  # [seller, buyer]
    signals = Signals.prices(kind, seller, buyer, np.zeros(0, dtype=np.int64))
    trades: Any = SimpleNamespace(seller=np.array([0]), buyer=np.array([1]), p_mw=np.array([4.0]))
    assert bills(dues(context, trades, signals)) == pytest.approx(expected)
