"""The DSO's iteration: orders by hand, and with which measures it ends."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from peerwatt.agents.devices import CURTAIL, RAISE, REDUCE
from peerwatt.agents.iteration import Iteration
from peerwatt.agents.messages import Batch, GridSignals
from peerwatt.agents.policies import Course, Measures, SignalKind, Signals
from peerwatt.market.mechanism import BookKind

N = 4
LOAD, GENERATION = np.array([-4.0, -2.0, -1.0, 0.0]), np.array([0.0, 0.0, 6.0, 8.0])


class People:
    costs: Any = None

    def __len__(self) -> int:
        return N


class Fixed:
    """A policy that tries some measures and ends."""

    kind, alpha_eur_per_mwh = SignalKind.WEIGHT, 70.0

    def __init__(self, *measures: Measures, solved: bool = False) -> None:
        self.measures, self.solved = measures, solved

    def course(self, n_peers: int) -> Course:
        assert n_peers == N
        for each in self.measures:  # noqa: UP028 - a tuple cannot be sent anything
            yield each
        return self.solved


def iteration(*measures: Measures, solved: bool = False, costs: Any = None) -> tuple[Iteration, list[Any]]:
    """One that has begun, and what it sends."""
    sent: list[Any] = []
    people = People()
    people.costs = costs
    context: Any = SimpleNamespace(
        population=people,
        now=SimpleNamespace(
            period=3,
            forecast=SimpleNamespace(load_mw=LOAD, generation_mw=GENERATION),
            position=SimpleNamespace(
                firm_mw=np.array([-4.0, -2.0, 1.0, 8.0]),
                steered=np.array([False, False, True, False]),
                producer=np.array([False, False, True, True]),
            ),
        ),
        period_h=0.5,
        by_message=False,
        roster=(("peers", np.arange(N)),),
        bus=SimpleNamespace(send=sent.extend, send_batch=sent.append),
        mechanism=SimpleNamespace(book=BookKind.STEPS),
        market="market",
    )
    found = Iteration(context, Fixed(*measures, solved=solved), "dso")
    found.begin()
    return found, sent


def seen(severity: float = 1.0, *, ok: bool = False, change: Any = (0.0,) * N) -> Any:
    """A check: branch 2 is the fullest of two that are congested, bus 5 has the worst voltage."""
    view = SimpleNamespace(occupancy=np.array([9.0, 1.2, 1.5]))
    return SimpleNamespace(
        ok=ok, severity=severity, change_mw=np.array(change), view=view, voltage=True, worst_bus=5,
        congested=lambda: np.array([1, 2]),
    )  # fmt: skip


def test_loads_are_ordered_from_where_trading_as_usual_leaves_them_and_paid_for_the_whole_move() -> None:
    share = np.array([0.25, -0.5, 0.2, 0.0])
    told, _ = iteration(Measures(), *[Measures(load_share=share)] * 2)
    assert told.check(seen(change=[-0.25, -0.125, -0.5, 1.0]), 5)
    told.tell(1)
    order = told.directive
    # 1 MW less, of which trading has added a quarter; 1 MW more on top of an eighth; 0.2 of half a MW of trade.
    np.testing.assert_allclose(order.p_mw[:, REDUCE], [0.75, 0.0, 0.0, 0.0])
    np.testing.assert_allclose(order.p_mw[:, RAISE], [0.0, 1.125, 0.0, 0.0])
    np.testing.assert_allclose(order.room_mw, [0.0, 0.0, 0.3, np.inf])
    np.testing.assert_allclose(order.paid_eur, [35.0, 35.0, 7.0, 0.0])
    assert not order.p_mw[:, CURTAIL].any()
    assert told.check(seen(change=[-9.0] * N), 5)
    told.tell(2)
    np.testing.assert_allclose(told.directive.p_mw, order.p_mw)  # trading as usual is what the first check saw


def test_generation_that_must_run_is_released_up_to_what_is_firm_and_other_generation_is_curtailed() -> None:
    told, _ = iteration(Measures(generation_share=np.full(N, 0.25), reactive=np.array([1.0, 0.0, 1.0, 0.5])))
    told.tell(0)
    np.testing.assert_allclose(told.directive.released_mw, [0.0, 0.0, 1.0, 0.0])
    np.testing.assert_allclose(told.directive.p_mw[:, CURTAIL], [0.0, 0.0, 0.0, 2.0])
    assert told.directive.reactive.tolist() == [1.0, 0.0, 1.0, 0.5]
    assert not told.directive.paid_eur.any()


def test_generation_with_a_price_of_its_own_is_not_released() -> None:
    costs = SimpleNamespace(dispatched=np.array([False, False, True, False]))
    told, _ = iteration(Measures(generation_share=np.full(N, 0.1)), costs=costs)
    told.tell(0)
    assert not told.directive.released_mw.any()


def test_orders_and_signals_are_sent_when_they_change_and_taken_back() -> None:
    cost = np.ones((N, N))
    signals = Signals.prices(SignalKind.WEIGHT, cost, 2.0 * cost, np.zeros(0, dtype=np.int64))
    told, sent = iteration(
        Measures(), Measures(5.0, signals, np.full(N, 0.1)), Measures(5.0, signals), Measures(), Measures()
    )

    def tell() -> Iterator[Any]:
        sent.clear()
        told.tell(0)
        yield from sent

    assert not list(tell())
    told.check(seen(), 9)
    first, order = tell()
    assert isinstance(first, GridSignals)
    assert (first.seller_cost.sum(), first.buyer_cost.sum()) == (16.0, 32.0)
    assert isinstance(order, Batch)
    told.check(seen(), 9)
    (order,) = tell()
    assert isinstance(order, Batch)
    assert not any(np.any(each) for each in order.fields[:1])
    told.check(seen(), 9)
    (free,) = tell()
    assert not free.seller_cost.any()
    assert not free.buyer_cost.any()
    told.check(seen(), 9)
    assert not list(tell())


LEVELS = [Measures(0.0), Measures(1.0), Measures(2.0), Measures(3.0)]


@pytest.mark.parametrize(
    ("severities", "tried"),
    [
        ([5.0, 2.0, 3.0, 4.0], [0.0, 1.0, 2.0, 3.0, 1.0]),  # back to the best
        ([5.0, 4.0, 3.0, 2.0], [0.0, 1.0, 2.0, 3.0]),  # the last is the best
        ([5.0, 3.0, 3.0 + 1e-9, 3.0 - 1e-9], [0.0, 1.0, 2.0, 3.0, 1.0]),  # equally good: the least penalty
    ],
)
def test_a_course_without_a_solution_ends_with_the_best_measures_that_were_tried(
    severities: list[float], tried: list[float]
) -> None:
    told, _ = iteration(*LEVELS)
    found = [told.measures.penalty_eur_per_mwh]
    while told.check(seen(severities[int(told.measures.penalty_eur_per_mwh)]), 99):
        found.append(told.measures.penalty_eur_per_mwh)
    assert found == tried
    assert told.solved is False
    assert told.worst == (2, 5)


@pytest.mark.parametrize("rounds", [2, 3, 4])
def test_rounds_that_run_out_leave_one_for_the_best_measures(rounds: int) -> None:
    told, _ = iteration(*LEVELS)
    severity, found, left = [5.0, 2.0, 3.0, 4.0], [0.0], rounds - 1
    while told.check(seen(severity[int(told.measures.penalty_eur_per_mwh)]), left):
        found.append(told.measures.penalty_eur_per_mwh)
        left -= 1
    assert found == {2: [0.0], 3: [0.0, 1.0], 4: [0.0, 1.0, 2.0, 1.0]}[rounds]


def test_measures_that_hold_the_limits_end_it() -> None:
    told, _ = iteration(*LEVELS[:2], solved=True)
    assert told.check(seen(5.0), 9)
    assert not told.check(seen(0.0, ok=True), 9)
    assert told.solved is True
    assert told.measures is LEVELS[1]
    told.begin()
    assert told.solved is None
    assert told.measures is LEVELS[0]
    assert told.worst == (-1, -1)
