from __future__ import annotations

from dataclasses import dataclass, field, replace
from itertools import product
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from peerwatt.errors import BookError
from peerwatt.market.order_book import Fill, Order, OrderBook, OrderStatus

INF = float("inf")


def order_book(seed: int = 0, **options: Any) -> OrderBook:
    return OrderBook(np.random.default_rng(seed), **options)


def sell(order_id: int, agent: int, p_mw: float, price: float, time_s: float, expires_s: float = INF) -> Order:
    return Order(order_id, agent, p_mw, price, time_s, expires_s)


def buy(order_id: int, agent: int, p_mw: float, price: float, time_s: float, expires_s: float = INF) -> Order:
    return Order(order_id, agent, -p_mw, price, time_s, expires_s)


@dataclass
class ByBruteForce:
    """The rules, word for word: a list of orders that is searched from end to end each time."""

    orders: list[Order] = field(default_factory=list)
    left: dict[int, float] = field(default_factory=dict)
    fills: list[Fill] = field(default_factory=list)

    def expire(self, time_s: float) -> None:
        for order in [each for each in self.orders if each.expires_s <= time_s]:
            self.orders.remove(order)

    def cancel(self, order_id: int) -> None:
        self.orders = [order for order in self.orders if order.order_id != order_id]

    def submit(self, order: Order) -> None:
        self.expire(order.time_s)
        sign, rest = np.sign(order.p_mw), abs(order.p_mw)
        while rest > 0:
            others = [each for each in self.orders if np.sign(each.p_mw) == -sign]
            others = [each for each in others if sign * (each.price_eur_per_mwh - order.price_eur_per_mwh) >= 0]
            if not others:
                self.orders.append(order)
                self.left[order.order_id] = rest
                return
            best = min(others, key=lambda each: (-sign * each.price_eur_per_mwh, each.time_s))
            if best.agent == order.agent:
                self.orders.remove(best)
                continue
            p_mw = min(rest, self.left[best.order_id])
            pair = (order, best) if sign > 0 else (best, order)
            ids, agents = [each.order_id for each in pair], [each.agent for each in pair]
            self.fills.append(Fill(order.time_s, *ids, *agents, p_mw, best.price_eur_per_mwh))
            rest -= p_mw
            self.left[best.order_id] -= p_mw
            if self.left[best.order_id] <= 0:
                self.orders.remove(best)

    def depth(self, sign: int) -> dict[float, float]:
        levels: dict[float, float] = {}
        for order in self.orders:
            if np.sign(order.p_mw) == sign:
                price = order.price_eur_per_mwh
                levels[price] = levels.get(price, 0.0) + self.left[order.order_id]
        return levels


def agree(book: OrderBook, brute: ByBruteForce) -> None:
    assert book.fills == brute.fills
    depth = book.snapshot()
    assert dict(zip(depth.ask_eur_per_mwh, depth.ask_mw, strict=True)) == brute.depth(1)
    assert dict(zip(depth.bid_eur_per_mwh, depth.bid_mw, strict=True)) == brute.depth(-1)
    assert (np.diff(depth.ask_eur_per_mwh) > 0).all()
    assert (np.diff(depth.bid_eur_per_mwh) < 0).all()


def test_all_sequences_of_few_orders_trade_as_by_brute_force() -> None:
    kinds = list(product((0, 1), (2.0, -2.0, -3.0), (10.0, 20.0)))  # agent, quantity, price
    for sequence in product(kinds, repeat=3):
        book, brute = order_book(), ByBruteForce()
        for number, (agent, p_mw, price) in enumerate(sequence):
            order = Order(number, agent, p_mw, price, float(number))
            book.submit(order)
            brute.submit(order)
        agree(book, brute)


ACTIONS = st.lists(
    st.tuples(
        st.integers(0, 3),  # agent
        st.sampled_from([-3, -2, -1, 1, 2, 3]),
        st.integers(0, 4),  # price
        st.sampled_from([INF, INF, 2.0, 5.0]),  # how long it lasts
        st.one_of(st.none(), st.none(), st.integers(0, 30)),  # which order is cancelled after it
    ),
    max_size=40,
)


@settings(max_examples=200, deadline=None)
@given(ACTIONS)
def test_orders_cancellations_and_expiries_go_as_by_brute_force(actions: list[tuple[Any, ...]]) -> None:
    book, brute = order_book(n_agents=4), ByBruteForce()
    for number, (agent, p_mw, price, lasts, cancelled) in enumerate(actions):
        order = Order(number, agent, float(p_mw), 10.0 * price, float(number), number + lasts)
        book.submit(order)
        brute.submit(order)
        if cancelled is not None and cancelled <= number:
            book.cancel(cancelled)
            brute.cancel(cancelled)
        agree(book, brute)


@settings(max_examples=150, deadline=None)
@given(ACTIONS, st.integers(0, 3), st.sampled_from([0.1, 1 / 3]))
def test_power_is_conserved_limits_are_kept_and_the_book_is_never_crossed(
    actions: list[tuple[Any, ...]], seed: int, unit: float
) -> None:
    book, given_orders = order_book(seed), []
    for number, (agent, p_mw, price, lasts, _) in enumerate(actions):
        given_orders.append(Order(number, agent, unit * p_mw, 10.0 * price, float(number // 3), number // 3 + lasts))
        book.submit(given_orders[-1])
        depth = book.snapshot()
        if depth.ask_mw.size and depth.bid_mw.size:
            assert depth.ask_eur_per_mwh[0] > depth.bid_eur_per_mwh[0]
    traded = np.zeros(len(given_orders))
    for fill in book.fills:
        traded[fill.sell_order] += fill.p_mw
        traded[fill.buy_order] += fill.p_mw
        selling, buying = given_orders[fill.sell_order], given_orders[fill.buy_order]
        assert (fill.seller, fill.buyer) == (selling.agent, buying.agent)
        assert fill.seller != fill.buyer
        assert selling.price_eur_per_mwh <= fill.price_eur_per_mwh <= buying.price_eur_per_mwh
        assert fill.time_s == max(selling.time_s, buying.time_s)
        assert fill.time_s < min(selling.expires_s, buying.expires_s)
        older = min(selling, buying, key=lambda order: order.order_id)
        assert fill.price_eur_per_mwh == older.price_eur_per_mwh
    for order, done in zip(given_orders, traded, strict=True):
        assert done + book.left_mw(order.order_id) == pytest.approx(abs(order.p_mw))
        filled = done == pytest.approx(abs(order.p_mw), rel=1e-9)
        assert (book.status(order.order_id) is OrderStatus.FILLED) == filled


def test_the_best_price_goes_first_then_the_earliest() -> None:
    book = order_book()
    for order in (sell(1, 0, 1, 30, 0), sell(2, 1, 1, 20, 1), sell(3, 2, 1, 20, 2)):
        assert book.submit(order) == []
    fills = book.submit(buy(4, 3, 2.5, 40, 3))
    assert [(fill.sell_order, fill.p_mw, fill.price_eur_per_mwh) for fill in fills] == [
        (2, 1, 20),
        (3, 1, 20),
        (1, 0.5, 30),
    ]
    assert book.left_mw(1) == 0.5
    assert book.status(1) is OrderStatus.RESTING
    assert book.status(4) is OrderStatus.FILLED


def test_what_is_left_of_an_arriving_order_rests_at_its_own_price() -> None:
    book = order_book()
    book.submit(sell(1, 0, 1, 20, 0))
    book.submit(buy(2, 1, 3, 40, 1))
    depth = book.snapshot()
    assert (depth.bid_eur_per_mwh.tolist(), depth.bid_mw.tolist(), depth.ask_mw.size) == ([40], [2], 0)
    (fill,) = book.submit(sell(3, 2, 1, 10, 2))
    assert (fill.price_eur_per_mwh, fill.time_s) == (40, 2)


def test_an_agents_orders_never_match_and_the_resting_one_is_cancelled() -> None:
    book = order_book()
    book.submit(sell(1, 0, 1, 20, 0))
    book.submit(sell(2, 1, 1, 25, 1))
    (fill,) = book.submit(buy(3, 0, 1, 30, 2))
    assert (fill.sell_order, fill.price_eur_per_mwh) == (2, 25)
    assert book.status(1) is OrderStatus.CANCELLED
    assert book.left_mw(1) == 1.0


def test_an_own_order_that_is_not_met_stays() -> None:
    book = order_book()
    book.submit(sell(1, 0, 1, 20, 0))
    book.submit(sell(2, 1, 1, 10, 1))
    book.submit(buy(3, 0, 1, 30, 2))
    assert book.status(1) is OrderStatus.RESTING


def test_an_order_is_in_the_book_until_just_before_it_expires() -> None:
    book = order_book()
    book.submit(sell(1, 0, 2, 20, 0, expires_s=10))
    assert len(book.submit(buy(2, 1, 1, 20, 9.999))) == 1
    assert book.submit(buy(3, 1, 1, 20, 10)) == []
    assert book.status(1) is OrderStatus.EXPIRED
    assert book.left_mw(1) == 1.0


def test_the_clock_names_what_has_expired() -> None:
    book = order_book()
    for order in (
        sell(1, 0, 1, 20, 0, 30),
        sell(2, 0, 1, 20, 0, 20),
        sell(3, 0, 1, 20, 0, 40),
        sell(4, 0, 1, 20, 0, 10),
    ):
        book.submit(order)
    book.cancel(4)
    assert book.advance(30) == [2, 1]
    assert book.advance(30) == []
    assert book.time_s == 30


def test_a_cancelled_order_trades_no_more() -> None:
    book = order_book()
    book.submit(sell(1, 0, 2, 20, 0))
    book.submit(buy(2, 1, 0.5, 20, 1))
    assert book.cancel(1) == 1.5
    assert book.cancel(1) == 0.0
    assert book.cancel(2) == 0.0
    assert book.submit(buy(3, 1, 1, 20, 2)) == []


def test_ties_are_broken_by_the_stream_and_not_by_position() -> None:
    first = set()
    for seed in range(40):
        book = order_book(seed)
        for number in range(3):
            book.submit(sell(number, number, 1, 20, 0))
        first.add(book.submit(buy(9, 9, 1, 20, 1))[0].sell_order)
    assert first == {0, 1, 2}


def test_orders_of_one_moment_have_an_order_of_chance() -> None:
    orders = [sell(1, 0, 1, 10, 5), buy(2, 1, 1, 30, 5), buy(3, 2, 1, 30, 5), sell(4, 3, 1, 10, 6)]
    results = set()
    for seed in range(40):
        book = order_book(seed)
        other = order_book(seed)
        fills = book.submit_all(orders)
        assert other.submit_all(orders[::-1]) == fills  # whatever the order in which they are given
        results.add(tuple((fill.buy_order, fill.price_eur_per_mwh) for fill in fills if fill.sell_order == 1))
    assert {buyer for ((buyer, _),) in results} == {2, 3}
    assert {price for ((_, price),) in results} == {10, 30}


def test_sums_that_differ_by_rounding_fill_an_order() -> None:
    book = order_book()
    book.submit(sell(1, 0, 0.1, 10, 0))
    book.submit(sell(2, 0, 0.2, 10, 1))
    book.submit(buy(3, 1, 0.3, 10, 2))
    assert {book.status(number) for number in (1, 2, 3)} == {OrderStatus.FILLED}
    assert not book.snapshot().ask_mw.size


GOOD = sell(7, 1, 1, 20, 5)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"p_mw": float("nan")}, "p_mw is nan"),
        ({"p_mw": 0.0}, "p_mw is 0"),
        ({"p_mw": INF}, "p_mw is inf"),
        ({"price_eur_per_mwh": float("nan")}, "price_eur_per_mwh is nan"),
        ({"price_eur_per_mwh": 101.0}, "price_eur_per_mwh is 101 .the market admits 0 to 100"),
        ({"price_eur_per_mwh": -1.0}, "the market admits 0 to 100"),
        ({"agent": 3}, "unknown agent 3 .agents are 0 to 2"),
        ({"agent": -1}, "unknown agent -1"),
        ({"order_id": 1}, "order 1: was given before"),
        ({"time_s": 3.0}, "time_s is 3 .the clock stands at 4"),
        ({"time_s": float("nan")}, "time_s is nan"),
        ({"expires_s": 5.0}, "expires_s is 5"),
        ({"expires_s": float("nan")}, "expires_s is nan"),
    ],
)
def test_a_bad_order_is_refused_and_changes_nothing(change: dict[str, Any], words: str) -> None:
    book = order_book(n_agents=3, price_limits=(0.0, 100.0))
    book.submit(buy(1, 0, 1, 30, 4, expires_s=4.5))
    for submit in (book.submit, lambda order: book.submit_all([GOOD, order])):
        with pytest.raises(BookError, match=words):
            submit(replace(GOOD, **{"order_id": 8, **change}))
    assert not book.fills
    assert book.time_s == 4
    assert book.status(1) is OrderStatus.RESTING
    book.submit(GOOD)


def test_every_fault_of_every_order_is_listed() -> None:
    book = order_book(n_agents=1)
    orders = [Order(1, 5, float("nan"), float("inf")), Order(2, 0, 1.0, 1.0), Order(2, 0, 0.0, 1.0)]
    with pytest.raises(BookError) as caught:
        book.submit_all(orders)
    assert [fault.where for fault in caught.value.faults] == ["order 1"] * 3 + ["order 2"] * 2


def test_an_unknown_order_a_clock_turned_back_and_wrong_limits_are_refused() -> None:
    book = order_book()
    for ask in (book.cancel, book.status, book.left_mw):
        with pytest.raises(BookError, match="order 3: was never given"):
            ask(3)
    book.advance(5)
    for time_s in (4.0, float("nan")):
        with pytest.raises(BookError, match="the clock stands at 5"):
            book.advance(time_s)
    with pytest.raises(BookError, match="price_limits"):
        order_book(price_limits=(2.0, 1.0))


def test_orders_that_are_gone_do_not_pile_up() -> None:
    book = order_book()
    for number in range(5000):
        book.submit(sell(number, 0, 1, 20 + number, number))
        if number:
            book.cancel(number)
    assert len(book._sells.heap) < 200
    assert book.snapshot().ask_mw.tolist() == [1.0]


@pytest.mark.slow
def test_a_hundred_thousand_orders_are_worked_through() -> None:
    rng, n = np.random.default_rng(0), 100_000
    side = np.where(rng.random(n) < 0.5, 1.0, -1.0)
    price = rng.normal(100.0, 20.0, n).round(1)
    rows = zip(
        rng.integers(0, 500, n).tolist(), (side * rng.uniform(0.001, 0.005, n)).tolist(), price.tolist(), strict=True
    )
    orders = [Order(number, *row, float(number), number + 1000.0) for number, row in enumerate(rows)]
    book = order_book(n_agents=500)
    for order in orders:
        book.submit(order)
    assert len(book.fills) > n // 2
