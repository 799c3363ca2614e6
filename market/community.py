"""Community market (hybrid model of D5.3, sections 2.1.2 and 3.2.5): managers trade what their members cannot.

1. The manager of every community runs a double auction among its members.
2. Its members' steps that are left over are the merit order with which it trades with the other managers.
   A manager takes a fee f_c per MWh that crosses the border of its community: it asks f_c more than its
   members do, and bids f_c less.
3. Members are paid, or pay, the border price less, or plus, the fee; how they share it is an option.

What the managers agree on pair by pair is the equilibrium of Marques et al., eq. (1) to (3), between the steps
that are left over, with the pair costs f_c + f_d. As these are a sum of what each manager takes, no pair is
better than another at equal limit prices, and the marginal value of power is the same at all borders: the
equilibrium is that of one more double auction, with steps moved by the fees, and is found as such.

Inside a community nothing is left over that could still be traded, since its auction is efficient: a community
either exports or imports, and no member trades with its own community in the second step. Trading at home first
costs welfare: a seller that has found a member may have been worth more to another community. One auction for all
is the most, communities without trade between them the least.

In the clearing a trade across borders is one between two members: its price is what the seller is paid, and
what the buyer pays more (`spread_eur_per_mwh`) is the managers'; `CommunityClearing` says whose.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from peerwatt.errors import BookError, Fault, ScenarioError
from peerwatt.market.auction import double_auction
from peerwatt.market.book import FloatArray, IntArray, StepBook, sum_by_agent, validate
from peerwatt.market.clearing import Clearing, Status, Trades
from peerwatt.market.mechanism import BookKind

__all__ = ["Community", "CommunityClearing", "Sharing", "community_market"]

_ROUNDING = 1e-10  # of a community's quantities; less is left over by rounding


class Sharing(StrEnum):
    """How the members share what their community trades across its border.

    Attributes:
        UNIFORM: whose step is traded gets, or pays, the border price; its gain is its own.
        MID_PRICE: the two members of a trade share its gain in halves: its price lies in the middle between
            what the one asks and the other bids, fees included.
        PRO_RATA: the gain of the community is shared among all its members that trade, inside or across the
            border, in proportion to how much they trade.
    """

    UNIFORM = "uniform"
    MID_PRICE = "mid_price"
    PRO_RATA = "pro_rata"


@dataclass(frozen=True, slots=True)
class Community:
    """The community market as a mechanism.

    Attributes:
        communities: number of communities that the agents are cut into, in their order and as equal in size as
            possible; only where the book has no `location` labels, which say it otherwise.
        fee_eur_per_mwh: what every manager takes per MWh that crosses the border of its community.
        sharing: ``uniform``, ``mid_price`` or ``pro_rata``.
        k: where in the intervals of clearing prices the prices lie, 0 to 1.
    """

    name: ClassVar[str] = "community"
    book: ClassVar[BookKind] = BookKind.STEPS
    communities: int = 2
    fee_eur_per_mwh: float = 0.0
    sharing: str = Sharing.UNIFORM
    k: float = 0.5

    def __post_init__(self) -> None:
        whole = type(self.communities) is int and self.communities >= 1
        faults = [
            Fault("mechanism 'community'", f"option '{name}' is {getattr(self, name)!r}", allowed)
            for name, sound, allowed in (
                ("communities", whole, "1 or more"),
                ("fee_eur_per_mwh", 0.0 <= self.fee_eur_per_mwh < np.inf, "0 or more"),
                ("sharing", self.sharing in tuple(Sharing), ", ".join(Sharing)),
                ("k", 0.0 <= self.k <= 1.0, "a number from 0 to 1"),
            )
            if not sound
        ]
        if faults:
            raise ScenarioError(faults)

    def clear(self, book: StepBook, rng: np.random.Generator) -> Clearing:
        """Clear one book, see `community_market`."""
        label: Sequence[str] | IntArray
        label = np.arange(book.n_agents) * self.communities // max(1, book.n_agents)
        return community_market(
            book,
            rng,
            community=label if book.location is None else book.location,
            fee_eur_per_mwh=self.fee_eur_per_mwh,
            sharing=Sharing(self.sharing),
            k=self.k,
        ).clearing


@dataclass(frozen=True, slots=True)
class CommunityClearing:
    """What the members trade, and what their managers have to do with it.

    Attributes:
        clearing: of all members; its spread and surplus are the managers'.
        labels: label of every community, sorted.
        community: number of each agent's community. (n_agents,)
        across: trades between communities, whose managers are sellers and buyers, at the price between them,
            fees not included. (n_pairs)
        price_eur_per_mwh: price inside every community, NaN where nothing is traded. (n_communities,)
        seller_spread_eur_per_mwh: what the seller's manager keeps of each trade. (n_trades,)
        buyer_spread_eur_per_mwh: what the buyer's manager keeps of it. (n_trades,)
        manager_eur: what each manager earns, its fees. (n_communities,)
    """

    clearing: Clearing
    labels: tuple[str, ...]
    community: IntArray
    across: Trades
    price_eur_per_mwh: FloatArray
    seller_spread_eur_per_mwh: FloatArray
    buyer_spread_eur_per_mwh: FloatArray
    manager_eur: FloatArray


def community_market(
    book: StepBook,
    rng: np.random.Generator,
    *,
    community: ArrayLike | Sequence[str],
    fee_eur_per_mwh: ArrayLike = 0.0,
    sharing: Sharing = Sharing.UNIFORM,
    k: float = 0.5,
) -> CommunityClearing:
    """Clear one book in two steps.

    Args:
        book: price-quantity steps of all members.
        rng: stream that breaks ties.
        community: label of every agent's community. (n_agents,)
        fee_eur_per_mwh: the manager's fee, one for all communities or one each, in the order of the sorted
            labels.
        sharing: how members share the trade across the border.
        k: where in the intervals of clearing prices the prices lie, 0 to 1.

    Raises:
        BookError: the book contradicts itself, or the labels or fees do not fit it.
    """
    validate(book)
    names, member = _members(book, community)
    fee = _fees(fee_eur_per_mwh, names.size)
    order = np.lexsort((book.p_mw, book.price_eur_per_mwh, book.agent))
    book = _rows(book, order)  # not even the rounding of sums depends on the order of the book
    inner = [_inside(book, member[book.agent] == c, rng, k) for c in range(names.size)]
    accepted = np.sum([each.accepted_mw for each in inner], axis=0) if inner else np.zeros(book.agent.size)
    outer = _across(book, member, accepted, fee, rng, k)
    both = np.clip(accepted + outer.accepted_mw, np.minimum(book.p_mw, 0.0), np.maximum(book.p_mw, 0.0))
    trades = _joined([*(each.trades for each in inner), outer.trades], book.n_agents)
    payments = _payments(trades, member, fee, _limits(book, member, fee, outer), sharing)
    prices = np.array([each.price_eur_per_mwh for each in inner])
    result = _result(book, both, names, member, payments, prices)
    in_order = np.empty_like(both)
    in_order[order] = both
    return replace(result, clearing=replace(result.clearing, accepted_mw=in_order))


def _rows(book: StepBook, rows: IntArray) -> StepBook:
    return replace(book, agent=book.agent[rows], p_mw=book.p_mw[rows], price_eur_per_mwh=book.price_eur_per_mwh[rows])


def _members(book: StepBook, community: ArrayLike | Sequence[str]) -> tuple[NDArray[Any], IntArray]:
    """The communities' labels and the number of each agent's; (n_communities,) and (n_agents,)."""
    labels = np.asarray(community)
    if labels.shape != (book.n_agents,):
        text = f"labels have shape {labels.shape} for {book.n_agents} agents"
        raise BookError(Fault("community", text, "one label per agent"))
    names, member = np.unique(labels, return_inverse=True)
    return names, member.astype(np.intp)


def _fees(fee_eur_per_mwh: ArrayLike, n_communities: int) -> FloatArray:
    fee = np.asarray(fee_eur_per_mwh, dtype=np.float64)
    if fee.shape not in ((), (n_communities,)):
        text = f"has shape {fee.shape} for {n_communities} communities"
        raise BookError(Fault("fee_eur_per_mwh", text, "one fee, or one per community"))
    if not ((fee >= 0.0) & (fee < np.inf)).all():
        raise BookError(Fault("fee_eur_per_mwh", f"is {fee.tolist()}", "0 or more EUR/MWh"))
    return np.broadcast_to(fee, (n_communities,))


def _inside(book: StepBook, own: NDArray[np.bool_], rng: np.random.Generator, k: float) -> Clearing:
    """The auction of one community, as a clearing of the whole book."""
    rows = np.flatnonzero(own)
    cleared = double_auction(_rows(book, rows), rng, k=k)
    accepted = np.zeros(book.agent.size)
    accepted[rows] = cleared.accepted_mw
    return replace(cleared, accepted_mw=accepted)


def _across(
    book: StepBook, member: IntArray, accepted: FloatArray, fee: FloatArray, rng: np.random.Generator, k: float
) -> Clearing:
    """The managers' market: what is left over, sells dearer and buys cheaper by the manager's fee."""
    at = member[book.agent]
    size = sum_by_agent(at, np.abs(book.p_mw), fee.size)
    left = book.p_mw - accepted
    left = np.where(np.abs(left) > _ROUNDING * size[at], left, 0.0)
    moved = book.price_eur_per_mwh + np.sign(left) * fee[at]
    return double_auction(replace(book, p_mw=left, price_eur_per_mwh=moved, price_limits=None), rng, k=k)


def _joined(parts: list[Trades], n_agents: int) -> Trades:
    """All trades, ordered by seller, then buyer; a pair trades on one side of a border only."""
    seller, buyer, p_mw, price = (
        np.concatenate([getattr(part, name) for part in parts])
        for name in ("seller", "buyer", "p_mw", "price_eur_per_mwh")
    )
    order = np.argsort(seller * n_agents + buyer)
    return Trades(seller[order], buyer[order], p_mw[order], price[order])


def _limits(book: StepBook, member: IntArray, fee: FloatArray, outer: Clearing) -> FloatArray:
    """Mean limit price at the border of what each agent trades across it, 0 without; (n_agents,)."""
    power = outer.accepted_mw
    moved = book.price_eur_per_mwh + np.sign(power) * fee[member[book.agent]]
    total = sum_by_agent(book.agent, power, book.n_agents)
    value = sum_by_agent(book.agent, power * moved, book.n_agents)
    return np.divide(value, total, out=np.zeros(book.n_agents), where=total != 0.0)


# --- who pays what ---


@dataclass(frozen=True, slots=True)
class _Payments:
    """What the parties of every trade pay; arrays (n_trades,).

    Attributes:
        trades: who trades how much, and what the seller is paid.
        crosses: whether it crosses a border.
        middle: price between the managers; inside a community its own.
        paid_in: what the buyer pays.
    """

    trades: Trades
    crosses: NDArray[np.bool_]
    middle: FloatArray
    paid_in: FloatArray


def _payments(trades: Trades, member: IntArray, fee: FloatArray, limit: FloatArray, sharing: Sharing) -> _Payments:
    seller, buyer, p_mw, middle = trades.seller, trades.buyer, trades.p_mw, trades.price_eur_per_mwh
    crosses = member[seller] != member[buyer]
    if sharing is Sharing.MID_PRICE:
        middle = np.where(crosses, 0.5 * (limit[seller] + limit[buyer]), middle)
    paid_out = middle - np.where(crosses, fee[member[seller]], 0.0)
    paid_in = middle + np.where(crosses, fee[member[buyer]], 0.0)
    if sharing is Sharing.PRO_RATA:
        n = member.size
        gain = sum_by_agent(seller, np.where(crosses, (middle - limit[seller]) * p_mw, 0.0), n)
        gain += sum_by_agent(buyer, np.where(crosses, (limit[buyer] - middle) * p_mw, 0.0), n)
        traded = sum_by_agent(seller, p_mw, n) + sum_by_agent(buyer, p_mw, n)
        extra = _extra(member, gain, traded, fee.size)
        paid_out, paid_in = paid_out + extra[seller], paid_in - extra[buyer]
    return _Payments(replace(trades, price_eur_per_mwh=paid_out), crosses, middle, paid_in)


def _extra(member: IntArray, gain: FloatArray, traded: FloatArray, n_communities: int) -> FloatArray:
    """What each agent gets per MW traded so that its community's gain per MW is everybody's; (n_agents,)."""
    whole, power = sum_by_agent(member, gain, n_communities), sum_by_agent(member, traded, n_communities)
    mean = np.divide(whole, power, out=np.zeros(n_communities), where=power > 0.0)
    own = np.divide(gain, traded, out=np.zeros(gain.size), where=traded > 0.0)
    extra: FloatArray = mean[member] - own
    return extra


def _result(
    book: StepBook,
    accepted: FloatArray,
    names: NDArray[Any],
    member: IntArray,
    payments: _Payments,
    prices: FloatArray,
) -> CommunityClearing:
    trades, n, c = payments.trades, book.n_agents, names.size
    energy = trades.p_mw * book.period_h
    worth = -sum_by_agent(book.agent, book.price_eur_per_mwh * accepted, n) * book.period_h
    earned = sum_by_agent(trades.seller, energy * trades.price_eur_per_mwh, n)
    spent = sum_by_agent(trades.buyer, energy * payments.paid_in, n)
    kept = payments.middle - trades.price_eur_per_mwh, payments.paid_in - payments.middle
    spread = kept[0] + kept[1]
    missing = "no seller" if not (book.p_mw > 0.0).any() else "no buyer" if not (book.p_mw < 0.0).any() else ""
    return CommunityClearing(
        clearing=Clearing(
            status=Status.EMPTY if missing else Status.OPTIMAL,
            p_mw=sum_by_agent(book.agent, accepted, n),
            trades=trades,
            social_welfare_eur=float(worth.sum()),
            welfare_eur=worth + earned - spent,
            surplus_eur=float(energy @ spread),
            accepted_mw=accepted,
            spread_eur_per_mwh=spread if spread.any() else np.empty(0),
            message=missing,
        ),
        labels=tuple(map(str, names.tolist())),
        community=member,
        across=_between_managers(payments, member, c),
        price_eur_per_mwh=prices,
        seller_spread_eur_per_mwh=kept[0],
        buyer_spread_eur_per_mwh=kept[1],
        manager_eur=sum_by_agent(member[trades.seller], energy * kept[0], c)
        + sum_by_agent(member[trades.buyer], energy * kept[1], c),
    )


def _between_managers(payments: _Payments, member: IntArray, n_communities: int) -> Trades:
    """Trades across borders, one per pair of communities at the mean price."""
    across, trades = payments.crosses, payments.trades
    between = Trades(trades.seller[across], trades.buyer[across], trades.p_mw[across], payments.middle[across])
    return between.between(member, n_communities)
