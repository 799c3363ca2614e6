"""Capacity market among peers: they trade MW until the DSO's request is met (CM5 of D5.3, section 4.1.5).

The DSO asks for an amount of flexibility in an area, in one direction; nothing else of the network is known
here. D5.3 says that peers trade bilaterally and that all of it must add up to the request, not what makes a
peer buy. Here every peer of the area is obliged to a share of the request pro rata to its connection
capacity; it provides the share itself or pays another peer to provide it:

    min   sum_n C_n(y_n) + sum_nm c_nm x_nm
    s.t.  sum_m x_nm = y_n                    for every n
          sum_n x_nm = o_m                    for every m
          0 <= y_n <= K_n,  x >= 0

with y_n the capacity that n provides, x_nm the part of it that is for m, x_nn for itself, o_m the obligation of
m and K_n what n has offered; so that sum_n y_n is the request, and nobody resells what another provides. This
is the bilateral market of Marques et al., eq. (1) to (3), between offers and obligations, and is solved as
such: prices are the duals of reciprocity, as there. What costs the same is not traded: a peer serves itself
first, as a trade costs 1e-5 of the highest price more; prices are that much off, costs are not.

What nobody offers is provided by no one at a price above all offers: the rest is solved all the same, with
status `infeasible`, how much is missing in which area, and which peers are left with it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from peerwatt.errors import BookError, Fault
from peerwatt.market.bilateral import bilateral
from peerwatt.market.book import FloatArray, IntArray, QuadraticBook, sum_by_agent
from peerwatt.market.clearing import Status, Trades
from peerwatt.market.faults import as_floats, as_integers, refuse, row_faults
from peerwatt.market.product import Direction, Product

__all__ = ["CapacityBook", "CapacityClearing", "CapacityRequest", "capacity_market"]

_AT_HOME = 1e-5  # of the highest price, by which serving oneself is preferred
_MISSING = 1e-6  # of a request; less is what the solver leaves


@dataclass(frozen=True, slots=True)
class CapacityRequest:
    """What the DSO asks for in one area.

    Attributes:
        location: label of the area.
        p_mw: how much, positive.
        direction: which way net power has to change.
    """

    location: str
    p_mw: float
    direction: Direction


@dataclass(frozen=True, slots=True)
class CapacityBook:
    """The DSO's requests and what the peers offer.

    Lists are accepted for arrays. A peer may make several offers, which answer the request of its area in the
    direction of that: a step of price b has `cost_a` 0, a quadratic cost a/2 y^2 + b y is one offer. A peer
    without an offer has to pay others.

    Attributes:
        requests: one per area.
        location: area of every peer; peers where nothing is requested take no part. (n_peers,)
        connection_mw: connection capacity, by which obligations are shared. (n_peers,)
        peer: who makes the offer. (n_offers,)
        p_max_mw: how much, positive. (n_offers,)
        cost_a: slope of its marginal cost, EUR/MW2 per period, not negative. (n_offers,)
        cost_b: marginal cost of its first MW, EUR/MW per period. (n_offers,)
        pair_cost: what it costs extra when the peer of the row provides for that of the column, EUR/MW; inf
            where they may not trade. (n_peers, n_peers) or None for nothing.
        names: names of the peers for messages; their numbers if None.
    """

    requests: tuple[CapacityRequest, ...]
    location: Sequence[str]
    connection_mw: FloatArray
    peer: IntArray
    p_max_mw: FloatArray
    cost_a: FloatArray
    cost_b: FloatArray
    pair_cost: FloatArray | None = None
    names: Sequence[str] | None = None

    def __post_init__(self) -> None:
        for name in ("connection_mw", "p_max_mw", "cost_a", "cost_b"):
            object.__setattr__(self, name, as_floats(name, getattr(self, name)))
        object.__setattr__(self, "peer", as_integers("peer", self.peer))
        if self.pair_cost is not None:
            object.__setattr__(self, "pair_cost", as_floats("pair_cost", self.pair_cost))

    @property
    def n_peers(self) -> int:
        """Number of peers."""
        return len(self.location)

    def area(self) -> IntArray:
        """Number of each peer's request, -1 for those without; (n_peers,)."""
        number = {request.location: k for k, request in enumerate(self.requests)}
        return np.array([number.get(label, -1) for label in self.location], dtype=np.intp)

    def name(self, peer: int) -> str:
        """Name of a peer for a message."""
        return str(self.names[peer]) if self.names is not None else str(peer)


@dataclass(frozen=True, slots=True)
class CapacityClearing:
    """Who provides how much, and who pays whom. Numbers are NaN where the solver found nothing.

    Attributes:
        status: `optimal`; `infeasible` when capacity is missing, with the rest solved all the same; `empty`
            without a request; `not_converged`.
        obligation_mw: share of the request. (n_peers,)
        provided_mw: what the peer provides, for itself and for others. (n_peers,)
        unmet_mw: what it neither provides nor has found a provider for. (n_peers,)
        trades: the seller provides for the buyer; prices in EUR/MW per period.
        cost_eur: what the provision costs each peer, without payments. (n_peers,)
        shortfall_mw: what is missing, per request. (n_requests,)
        price_eur_per_mw: mean price of the trades, NaN without, per request. (n_requests,)
        message: what is missing where, or why there is no result.
    """

    status: Status
    obligation_mw: FloatArray
    provided_mw: FloatArray
    unmet_mw: FloatArray
    trades: Trades
    cost_eur: FloatArray
    shortfall_mw: FloatArray
    price_eur_per_mw: FloatArray
    message: str = ""


def capacity_market(book: CapacityBook, *, unmet_price_eur_per_mw: float | None = None) -> CapacityClearing:
    """Clear one book.

    Args:
        book: requests and offers.
        unmet_price_eur_per_mw: price at which an obligation rather stays unmet; where capacity is missing, all
            that there is in the area is traded at it. If None it is above everybody's cost, so that only what
            is not offered is missing.

    Raises:
        BookError: lists every fault.
    """
    _validate(book)
    if unmet_price_eur_per_mw is not None and not np.isfinite(unmet_price_eur_per_mw):
        raise BookError(Fault("unmet_price_eur_per_mw", f"is {unmet_price_eur_per_mw}", "a finite price, or none"))
    area, n = book.area(), book.n_peers
    obligation = _obligations(book, area)
    if not obligation.any() and not any(request.p_mw > 0.0 for request in book.requests):
        nothing, used = np.zeros(n), np.zeros(book.peer.size)
        return _result(book, area, Status.EMPTY, obligation, used, nothing, Trades.none(), "no request")
    highest = _highest_cost(book)
    unmet_price = 2.0 * highest + 1.0 if unmet_price_eur_per_mw is None else unmet_price_eur_per_mw
    agents = _Agents.of(book, area, obligation, unmet_price, trade_cost=_AT_HOME * max(highest, abs(unmet_price)))
    cleared = bilateral(agents.book)
    if not cleared.status.solved:  # empty: nobody is there to be obliged
        nothing, used = np.full(n, np.nan), np.full(book.peer.size, np.nan)
        return _result(book, area, Status.NOT_CONVERGED, obligation, used, nothing, Trades.none(), cleared.message)
    used = np.zeros(book.peer.size)
    used[agents.offer] = cleared.p_mw[: agents.offer.size]
    trades, unmet = agents.between_peers(cleared.trades, n)
    return _result(book, area, Status.OPTIMAL, obligation, used, unmet, trades, "")


def _obligations(book: CapacityBook, area: IntArray) -> FloatArray:
    """Shares of the requests, pro rata to connection capacity; (n_peers,)."""
    asked = np.array([*(request.p_mw for request in book.requests), 0.0])  # the last one is of area -1
    whole = np.append(_by_area(area, book.connection_mw, len(book.requests)), 1.0)
    share: FloatArray = asked[area] * book.connection_mw / np.where(whole > 0.0, whole, 1.0)[area]
    return share


def _highest_cost(book: CapacityBook) -> float:
    """The highest marginal cost of any offer, and of any pair on top."""
    highest = np.abs(book.cost_b + book.cost_a * book.p_max_mw).max(initial=0.0)
    if book.pair_cost is not None:
        highest += np.abs(book.pair_cost[np.isfinite(book.pair_cost)]).max(initial=0.0)
    return float(highest)


@dataclass(frozen=True, slots=True)
class _Agents:
    """The agents of the bilateral market: offers that sell, nobody per area that sells too, obligations that buy.

    Attributes:
        book: the bilateral book, in EUR/MW and a period of 1.
        offer: offers that take part, in the order of their agents. (n_offers_here,)
        owner: peer of each agent, `n_peers` for nobody. (n_agents,)
    """

    book: QuadraticBook
    offer: IntArray
    owner: IntArray

    @classmethod
    def of(
        cls, book: CapacityBook, area: IntArray, obligation: FloatArray, unmet_price: float, trade_cost: float
    ) -> _Agents:
        k, n = len(book.requests), book.n_peers
        offer, obliged = np.flatnonzero(area[book.peer] >= 0), np.flatnonzero(obligation > 0.0)
        asked, due = np.array([request.p_mw for request in book.requests]), obligation[obliged]
        owner = np.concatenate((book.peer[offer], np.full(k, n), obliged))
        at = np.concatenate((area[book.peer[offer]], np.arange(k), area[obliged]))
        n_sellers = offer.size + k
        seller, buyer = np.divmod(np.flatnonzero(at[:n_sellers, None] == area[obliged]), max(1, obliged.size))
        cost = _pair_costs(book, owner[seller], obliged[buyer], trade_cost)
        may = cost < np.inf
        zero = np.zeros(k + due.size)
        rule = QuadraticBook(
            p_min_mw=np.concatenate((np.zeros(n_sellers), -due)),
            p_max_mw=np.concatenate((book.p_max_mw[offer], asked, -due)),
            cost_a=np.concatenate((book.cost_a[offer], zero)),
            cost_b=np.concatenate((book.cost_b[offer], np.full(k, unmet_price), zero[k:])),
            seller=seller[may],
            buyer=n_sellers + buyer[may],
            seller_cost=cost[may],
            buyer_cost=np.zeros(int(may.sum())),
            period_h=1.0,
            product=Product.CAPACITY,
        )
        return cls(rule, offer, owner)

    def between_peers(self, trades: Trades, n_peers: int) -> tuple[Trades, FloatArray]:
        """Trades between peers, one per pair at the mean price, and what nobody provides per peer."""
        seller, buyer = self.owner[trades.seller], self.owner[trades.buyer]
        nobody = seller == n_peers
        real = ~nobody & (seller != buyer)
        kept = Trades(trades.seller[real], trades.buyer[real], trades.p_mw[real], trades.price_eur_per_mwh[real])
        return kept.between(self.owner, n_peers), sum_by_agent(buyer[nobody], trades.p_mw[nobody], n_peers)


def _pair_costs(book: CapacityBook, seller: IntArray, buyer: IntArray, trade_cost: float) -> FloatArray:
    """What each pair of peers costs extra, inf if it may not trade; nothing for oneself and for nobody."""
    cost = np.where((seller == buyer) | (seller == book.n_peers), 0.0, trade_cost)
    if book.pair_cost is not None:
        real = (seller != buyer) & (seller < book.n_peers)
        cost[real] += book.pair_cost[seller[real], buyer[real]]
    return cost


def _result(
    book: CapacityBook,
    area: IntArray,
    status: Status,
    obligation: FloatArray,
    used: FloatArray,
    unmet: FloatArray,
    trades: Trades,
    message: str,
) -> CapacityClearing:
    """The clearing from what is used of every offer (n_offers,), and the shortage that follows from it."""
    n, k = book.n_peers, len(book.requests)
    asked = np.array([request.p_mw for request in book.requests])
    provided = sum_by_agent(book.peer, used, n)
    inhabited = _by_area(area, np.ones(n), k) > 0.0
    missing = np.where(inhabited, _by_area(area, unmet, k), asked)
    missing = np.where(missing > _MISSING * asked, missing, 0.0 * missing)  # what is unknown stays NaN
    short = np.flatnonzero(missing > 0.0).tolist()
    traded = _by_area(area[trades.seller], trades.p_mw, k)
    paid = _by_area(area[trades.seller], trades.p_mw * trades.price_eur_per_mwh, k)
    return CapacityClearing(
        status=Status.INFEASIBLE if short else status,
        obligation_mw=obligation,
        provided_mw=provided,
        unmet_mw=unmet,
        trades=trades,
        cost_eur=sum_by_agent(book.peer, (0.5 * book.cost_a * used + book.cost_b) * used, n),
        shortfall_mw=missing,
        price_eur_per_mw=np.divide(paid, traded, out=np.full(k, np.nan), where=traded > 0.0),
        message="; ".join(_shortage(book, area, row, float(missing[row]), unmet) for row in short) or message,
    )


def _by_area(area: IntArray, values: FloatArray, n_requests: int) -> FloatArray:
    """Sums per request; (n_requests,)."""
    inside = area >= 0
    return sum_by_agent(area[inside], values[inside], n_requests)


def _shortage(book: CapacityBook, area: IntArray, k: int, missing_mw: float, unmet: FloatArray) -> str:
    request = book.requests[k]
    inside = np.flatnonzero(area == k)
    offered = float(book.p_max_mw[area[book.peer] == k].sum())
    left = inside[unmet[inside] > _MISSING * request.p_mw].tolist()
    whose = f"; left with it: {', '.join(book.name(peer) for peer in left)}" if left else ""
    return (
        f"area {request.location}: {missing_mw:.6g} MW of {request.p_mw:.6g} MW {request.direction} are missing, "
        f"its {inside.size} peers offer {offered:.6g} MW{whose}"
    )


# --- what is refused ---


def _validate(book: CapacityBook) -> None:
    refuse(_shape_faults(book))
    refuse([*_request_faults(book), *_peer_faults(book), *_offer_faults(book)])


def _shape_faults(book: CapacityBook) -> Iterator[Fault]:
    n = book.n_peers
    if book.connection_mw.shape != (n,):
        yield Fault("connection_mw", f"has shape {book.connection_mw.shape}", f"one number for each of {n} peers")
    if book.names is not None and len(book.names) != n:
        yield Fault("names", f"{len(book.names)} names for {n} peers", "one name per peer, or none")
    if book.pair_cost is not None and book.pair_cost.shape != (n, n):
        yield Fault("pair_cost", f"has shape {book.pair_cost.shape}", f"a row and a column for each of {n} peers")
    shapes = [array.shape for array in (book.peer, book.p_max_mw, book.cost_a, book.cost_b)]
    if len(set(shapes)) > 1 or len(shapes[0]) != 1:
        yield Fault("offers", f"peer, p_max_mw, cost_a, cost_b have shapes {shapes}", "one value per offer")


def _request_faults(book: CapacityBook) -> Iterator[Fault]:
    labels = [request.location for request in book.requests]
    for k, request in enumerate(book.requests):
        if not 0.0 <= request.p_mw < np.inf:
            yield Fault(f"request {k}", f"p_mw is {request.p_mw}", "0 or more MW")
        if labels.index(request.location) < k:
            yield Fault(f"request {k}", f"a second one for area '{request.location}'", "one request per area")


def _peer_faults(book: CapacityBook) -> Iterator[Fault]:
    connection = book.connection_mw
    no_power = ~((connection >= 0.0) & (connection < np.inf))
    yield from row_faults("peer", no_power, connection, "connection_mw", "0 or more MW", book.name)
    area = book.area()
    whole = _by_area(area, connection, len(book.requests))
    for k, request in enumerate(book.requests):
        if (area == k).any() and whole[k] == 0.0:
            yield Fault(f"request {k}", f"no peer in area '{request.location}' has a connection", "connection_mw")
    if book.pair_cost is not None and np.isnan(book.pair_cost).any():
        row, column = np.argwhere(np.isnan(book.pair_cost))[0].tolist()
        yield Fault(f"pair_cost of {book.name(row)} for {book.name(column)}", "is no number", "EUR/MW, or inf")


def _offer_faults(book: CapacityBook) -> Iterator[Fault]:
    size, a, b = book.p_max_mw, book.cost_a, book.cost_b
    unknown = (book.peer < 0) | (book.peer >= book.n_peers)
    for bad, values, problem, remedy in (
        (unknown, book.peer, "unknown peer", f"peers are 0 to {book.n_peers - 1}"),
        (~((size >= 0.0) & (size < np.inf)), size, "p_max_mw", "0 or more MW"),
        (~((a >= 0.0) & (a < np.inf)), a, "cost_a", "0 or more EUR/MW2"),
        (~np.isfinite(b), b, "cost_b", "a finite number of EUR/MW"),
    ):
        yield from row_faults("offer", bad, values, problem, remedy)
