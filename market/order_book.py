"""Order book of a continuous market, on a clock: orders are matched as they arrive.

    book = OrderBook(rng, n_agents=3)
    book.submit(Order(order_id=1, agent=0, p_mw=0.004, price_eur_per_mwh=90.0, time_s=0.0))   # sells, rests
    book.submit(Order(2, agent=1, p_mw=-0.003, price_eur_per_mwh=250.0, time_s=1.0))          # one Fill, at 90
    book.snapshot()                                                                            # 1 kW left at 90

The rules:

- **Price-time priority.** An order that arrives trades at once with the resting orders of the other side, the
  best price first, then the earliest, as long as the prices cross; each trade is at the price of the order that
  rests. What is left of it rests.
- **Ties.** Resting orders of equal price and time have the order of numbers drawn from `rng` as they come to
  rest. Orders that arrive at the same time belong in one `submit_all`, which shuffles them by `rng`.
- **No self-trade.** When the best resting order is one's own, it is cancelled, and the arriving one, which is
  the newer intention, goes on (*cancel resting*): an agent's orders never match, and the book is never crossed.
- **Expiry.** An order is in the book in `[time_s, expires_s)`.

(Limit order books: Gould et al. 2013; continuous trading between peers: D5.3, table 2.)
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from heapq import heapify, heappop, heappush
from math import inf, isfinite
from typing import TypeAlias

import numpy as np

from peerwatt.errors import BookError, Fault
from peerwatt.market.book import FloatArray, sum_by_agent

__all__ = ["Depth", "Fill", "Order", "OrderBook", "OrderStatus"]

_ROUNDING = 1e-11  # share of an order's quantity below which what is left of it is rounding error


class OrderStatus(StrEnum):
    """What has become of an order.

    Attributes:
        RESTING: in the book, perhaps filled in part.
        FILLED: traded in full.
        CANCELLED: withdrawn, or met by an order of the same agent.
        EXPIRED: its time has run out.
    """

    RESTING = "resting"
    FILLED = "filled"
    CANCELLED = "cancelled"
    EXPIRED = "expired"


@dataclass(frozen=True, slots=True)
class Order:
    """A limit order.

    Attributes:
        order_id: number of the order, unique in its book.
        agent: who gives it.
        p_mw: quantity, positive to sell, negative to buy.
        price_eur_per_mwh: least price to sell at, or highest to buy at.
        time_s: when it arrives.
        expires_s: when it leaves the book.
    """

    order_id: int
    agent: int
    p_mw: float
    price_eur_per_mwh: float
    time_s: float = 0.0
    expires_s: float = inf


@dataclass(frozen=True, slots=True)
class Fill:
    """One trade.

    Attributes:
        time_s: when the later of the two orders arrived.
        sell_order: order of the seller.
        buy_order: order of the buyer.
        seller: agent that feeds in.
        buyer: agent that consumes.
        p_mw: power, positive.
        price_eur_per_mwh: price of the order that was resting.
    """

    time_s: float
    sell_order: int
    buy_order: int
    seller: int
    buyer: int
    p_mw: float
    price_eur_per_mwh: float


@dataclass(frozen=True, slots=True)
class Depth:
    """What rests in the book, by price, best first.

    Attributes:
        ask_eur_per_mwh: prices of sells, rising. (n_asks,)
        ask_mw: power for sale at each. (n_asks,)
        bid_eur_per_mwh: prices of buys, falling. (n_bids,)
        bid_mw: power wanted at each, positive. (n_bids,)
    """

    ask_eur_per_mwh: FloatArray
    ask_mw: FloatArray
    bid_eur_per_mwh: FloatArray
    bid_mw: FloatArray


@dataclass(slots=True)
class _Resting:
    """An order in the book and how much of it is left."""

    order: Order
    left: float
    status: OrderStatus = OrderStatus.RESTING


_Key: TypeAlias = tuple[float, float, float, int]  # cost, time, tie, order


class _Queue:
    """Resting orders of one side in price-time priority; a buy counts with its negative price.

    Orders that are gone stay in the heap until they come up or are the majority.
    """

    def __init__(self) -> None:
        self.heap: list[_Key] = []
        self.live: dict[int, _Resting] = {}

    def add(self, resting: _Resting, cost: float, tie: float) -> None:
        order = resting.order
        heappush(self.heap, (cost, order.time_s, tie, order.order_id))
        self.live[order.order_id] = resting

    def best(self) -> tuple[float, _Resting | None]:
        heap, live = self.heap, self.live
        while heap:
            resting = live.get(heap[0][3])
            if resting is not None:
                return heap[0][0], resting
            heappop(heap)
        return inf, None

    def remove(self, order_id: int) -> None:
        del self.live[order_id]
        if len(self.heap) > 64 + 2 * len(self.live):
            self.heap = [key for key in self.heap if key[3] in self.live]
            heapify(self.heap)

    def depth(self) -> tuple[FloatArray, FloatArray]:
        prices = np.array([resting.order.price_eur_per_mwh for resting in self.live.values()])
        price, level = np.unique(prices, return_inverse=True)
        left = np.array([resting.left for resting in self.live.values()])
        return price, sum_by_agent(level, left, price.size)


class OrderBook:
    """A continuous market for one product.

    Args:
        rng: stream for ties.
        n_agents: agents are 0 to n_agents - 1; any number is an agent if None.
        price_limits: lowest and highest price that the market admits, EUR/MWh; none if None.

    Attributes:
        time_s: the clock; it moves with the orders that arrive and with `advance`.
        fills: all trades so far.
    """

    def __init__(
        self,
        rng: np.random.Generator,
        *,
        n_agents: int | None = None,
        price_limits: tuple[float, float] | None = None,
    ) -> None:
        self._rng = rng
        self._n_agents = n_agents
        self._limits = price_limits or (-inf, inf)
        if not self._limits[0] <= self._limits[1]:
            raise BookError(Fault("price_limits", f"are {price_limits}", "the lower one first"))
        self._sells, self._buys = _Queue(), _Queue()
        self._orders: dict[int, _Resting] = {}
        self._expiries: list[tuple[float, int]] = []
        self.time_s = -inf
        self.fills: list[Fill] = []

    def submit(self, order: Order) -> list[Fill]:
        """Take one order.

        Args:
            order: arrives at its `time_s`, to which the clock moves.

        Returns:
            Its trades, in the order in which they came about; none if it rests untouched.

        Raises:
            BookError: lists all that is wrong with the order; the book is then as it was.
        """
        if not self._is_sound(order):
            raise BookError(self._faults(order))
        self.advance(order.time_s)
        return self._take(order)

    def submit_all(self, orders: Sequence[Order]) -> list[Fill]:
        """Take several orders, those of equal time in a random order that does not depend on the one given.

        Returns:
            Their trades.

        Raises:
            BookError: lists all that is wrong with all orders; the book is then as it was.
        """
        faults = [fault for order in orders if not self._is_sound(order) for fault in self._faults(order)]
        given = Counter(order.order_id for order in orders)
        if len(given) < len(orders):
            twice = sorted(number for number, times in given.items() if times > 1)
            faults += [Fault(f"order {number}", "is given twice", "a new number for each order") for number in twice]
        if faults:
            raise BookError(faults)
        known = sorted(orders, key=lambda order: order.order_id)
        arrival = sorted((known[place] for place in self._rng.permutation(len(known))), key=lambda order: order.time_s)
        fills: list[Fill] = []
        for order in arrival:
            self.advance(order.time_s)
            fills += self._take(order)
        return fills

    def cancel(self, order_id: int) -> float:
        """Withdraw an order.

        Returns:
            The power withdrawn, MW, positive; 0 if nothing of the order is in the book any more.

        Raises:
            BookError: no order has this number.
        """
        resting = self._find(order_id)
        if resting.status is not OrderStatus.RESTING:
            return 0.0
        self._leave(resting, OrderStatus.CANCELLED)
        return resting.left

    def advance(self, time_s: float) -> list[int]:
        """Move the clock.

        Returns:
            Orders that expired on the way, in the order of their expiry.

        Raises:
            BookError: the time is before the clock, or not a number.
        """
        if not time_s >= self.time_s:
            raise BookError(Fault("time_s", f"is {time_s:g}", f"the clock stands at {self.time_s:g} s"))
        self.time_s = time_s
        expired: list[int] = []
        while self._expiries and self._expiries[0][0] <= time_s:
            resting = self._orders[heappop(self._expiries)[1]]
            if resting.status is OrderStatus.RESTING:
                self._leave(resting, OrderStatus.EXPIRED)
                expired.append(resting.order.order_id)
        return expired

    def status(self, order_id: int) -> OrderStatus:
        """What has become of an order.

        Raises:
            BookError: no order has this number.
        """
        return self._find(order_id).status

    def left_mw(self, order_id: int) -> float:
        """What was not traded of an order, MW, positive; in the book only while the order is resting.

        Raises:
            BookError: no order has this number.
        """
        return self._find(order_id).left

    def snapshot(self) -> Depth:
        """The depth of the book."""
        (ask, ask_mw), (bid, bid_mw) = self._sells.depth(), self._buys.depth()
        return Depth(ask, ask_mw, bid[::-1], bid_mw[::-1])

    def _take(self, order: Order) -> list[Fill]:
        """Match an order that is sound, and let the rest of it rest."""
        sells = order.p_mw > 0.0
        own, other = (self._sells, self._buys) if sells else (self._buys, self._sells)
        cost = order.price_eur_per_mwh if sells else -order.price_eur_per_mwh
        taker = self._orders[order.order_id] = _Resting(order, abs(order.p_mw))
        fills: list[Fill] = []
        while True:
            best, maker = other.best()
            if maker is None or best > -cost:  # the prices do not cross
                own.add(taker, cost, self._rng.random())
                if order.expires_s < inf:
                    heappush(self._expiries, (order.expires_s, order.order_id))
                break
            if maker.order.agent == order.agent:
                self._leave(maker, OrderStatus.CANCELLED)
                continue
            fills.append(self._trade(taker, maker))
            if maker.status is OrderStatus.FILLED:
                other.remove(maker.order.order_id)
            if taker.status is OrderStatus.FILLED:
                break
        self.fills += fills
        return fills

    def _trade(self, taker: _Resting, maker: _Resting) -> Fill:
        p_mw = min(taker.left, maker.left)
        for side in (taker, maker):
            side.left -= p_mw
            if side.left <= _ROUNDING * abs(side.order.p_mw):
                side.left, side.status = 0.0, OrderStatus.FILLED
        sell, buy = (taker.order, maker.order) if taker.order.p_mw > 0.0 else (maker.order, taker.order)
        return Fill(
            taker.order.time_s,
            sell.order_id,
            buy.order_id,
            sell.agent,
            buy.agent,
            p_mw,
            maker.order.price_eur_per_mwh,
        )

    def _leave(self, resting: _Resting, status: OrderStatus) -> None:
        resting.status = status
        (self._sells if resting.order.p_mw > 0.0 else self._buys).remove(resting.order.order_id)

    def _find(self, order_id: int) -> _Resting:
        if order_id not in self._orders:
            raise BookError(Fault(f"order {order_id}", "was never given", "the number of an order of this book"))
        return self._orders[order_id]

    def _is_sound(self, order: Order) -> bool:
        low, high = self._limits
        return (
            isfinite(order.p_mw)
            and order.p_mw != 0.0
            and isfinite(order.price_eur_per_mwh)
            and low <= order.price_eur_per_mwh <= high
            and order.agent >= 0
            and (self._n_agents is None or order.agent < self._n_agents)
            and isfinite(order.time_s)
            and self.time_s <= order.time_s < order.expires_s
            and order.order_id not in self._orders
        )

    def _faults(self, order: Order) -> Iterator[Fault]:
        where = f"order {order.order_id}"
        if order.order_id in self._orders:
            yield Fault(where, "was given before", "a new number for each order")
        if order.agent < 0 or (self._n_agents is not None and order.agent >= self._n_agents):
            known = "0 or above" if self._n_agents is None else f"agents are 0 to {self._n_agents - 1}"
            yield Fault(where, f"unknown agent {order.agent}", known)
        if not isfinite(order.p_mw) or order.p_mw == 0.0:
            yield Fault(where, f"p_mw is {order.p_mw:g}", "a finite number, positive to sell, negative to buy")
        low, high = self._limits
        if not isfinite(order.price_eur_per_mwh):
            yield Fault(where, f"price_eur_per_mwh is {order.price_eur_per_mwh:g}", "a finite number")
        elif not low <= order.price_eur_per_mwh <= high:
            allowed = f"the market admits {low:g} to {high:g} EUR/MWh"
            yield Fault(where, f"price_eur_per_mwh is {order.price_eur_per_mwh:g}", allowed)
        if not (isfinite(order.time_s) and order.time_s >= self.time_s):
            yield Fault(where, f"time_s is {order.time_s:g}", f"the clock stands at {self.time_s:g} s")
        if not order.expires_s > order.time_s:
            yield Fault(where, f"expires_s is {order.expires_s:g}", f"after time_s, {order.time_s:g}")
