"""The markets of all replicas, period by period.

A period's books differ between replicas and not in anything else, so that the auctions of the replicas are cleared
together where the mechanism can (`peerwatt.market.auction_batch`), and one after the other where it cannot. What peers
remember of a period they are told before the next one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from peerwatt.agents.flexibility import N_STEPS
from peerwatt.agents.market import mean_prices
from peerwatt.agents.messages import FloatArray, IntArray
from peerwatt.market.auction import Average, DoubleAuction
from peerwatt.market.auction_batch import AuctionClearings, StepBooks, average_auctions, double_auctions
from peerwatt.market.clearing import Status, Trades
from peerwatt.sim.lockstep.members import Member
from peerwatt.sim.lockstep.outlook import Ahead, Shape

__all__ = ["Traded", "trade"]


@dataclass(frozen=True, slots=True)
class _Round:
    """The markets of all replicas in one period.

    Attributes:
        trades: of all replicas, replica by replica; peer p of replica r has the number r n_peers + p.
        spread: what buyers pay the market on top, (n_trades,); empty where it keeps nothing.
        change_mw: by how much each peer's net power moves. (n_replicas * n_peers,)
        welfare_eur: NaN where a market has no result. (n_replicas,)
        status: how each market ended. (n_replicas,)
    """

    trades: Trades
    spread: FloatArray
    change_mw: FloatArray
    welfare_eur: FloatArray
    status: Sequence[Status]


@dataclass(frozen=True, slots=True)
class Traded:
    """What all markets came to; flat arrays as in `peerwatt.sim.lockstep.outlook`, or (n_replicas * n_periods,).

    Attributes:
        trades: of all periods of all replicas, with peers numbered by their place in a flat array; in this order.
        spread_eur_per_mwh: what buyers pay the market on top, (n_trades,).
        change_mw: by how much each peer's net power moves from its firm power, flat.
        volume_mw: power traded between peers.
        price_eur_per_mwh: mean price that sellers get, NaN where nothing is traded.
        kept_eur_per_h: what buyers pay and sellers do not get.
        welfare_eur: social welfare, NaN where a market has no result.
        status: how each market ended.
        n_trades: number of trades.
    """

    trades: Trades
    spread_eur_per_mwh: FloatArray
    change_mw: FloatArray
    volume_mw: FloatArray
    price_eur_per_mwh: FloatArray
    kept_eur_per_h: FloatArray
    welfare_eur: FloatArray
    status: NDArray[np.object_]
    n_trades: IntArray

    @property
    def buyer_price_eur_per_mwh(self) -> FloatArray:
        """Mean price that buyers pay, NaN where nothing is traded."""
        kept = np.divide(
            self.kept_eur_per_h, self.volume_mw, out=np.zeros_like(self.volume_mw), where=self.volume_mw > 0.0
        )
        price: FloatArray = self.price_eur_per_mwh + kept
        return price


def trade(members: Sequence[Member], ahead: Ahead) -> Traded:
    """Run the markets through all periods.

    Args:
        members: the replicas.
        ahead: what is known before trading.

    Raises:
        LockstepError: a strategy looks at the state of the grid.
        AgentError: a strategy raised.
    """
    shape = ahead.shape
    n_replicas, n_periods, n = shape.cube
    change, numbers = np.empty(shape.cube), np.full((4, n_replicas, n_periods), np.nan)
    counts = np.zeros((n_replicas, n_periods), dtype=np.int64)
    status = np.empty((n_replicas, n_periods), dtype=object)
    clear = _clearer(members, ahead)
    parts: list[Trades] = []
    spreads: list[FloatArray] = []
    for period in range(n_periods):
        for r, member in enumerate(members):
            member.begin(ahead.draft(r, period), ahead.soc_mwh[shape.of(r, period)])
        found = clear(period)
        trades, moved = found.trades, found.change_mw.reshape(n_replicas, n)
        traded = trades.net_mw(n_replicas * n).reshape(n_replicas, n)
        price = mean_prices(trades, n_replicas * n, found.spread).reshape(n_replicas, n)
        for r, member in enumerate(members):
            member.learn(traded[r], moved[r], price[r])
        change[:, period] = moved
        replica = trades.seller // n
        first = np.searchsorted(replica, np.arange(n_replicas + 1))
        spread = found.spread if found.spread.size else np.zeros(len(trades))
        numbers[:3, :, period] = _totals(trades, spread, first.tolist())
        status[:, period] = found.status
        numbers[3, :, period], counts[:, period] = found.welfare_eur, np.diff(first)
        shift = (replica * (n_periods - 1) + period) * n  # to the place in a flat array
        parts.append(Trades(trades.seller + shift, trades.buyer + shift, trades.p_mw, trades.price_eur_per_mwh))
        spreads.append(spread)
    volume, mean_price, kept, welfare = (each.ravel() for each in numbers)
    totals = volume, mean_price, kept, welfare, status.ravel(), counts.ravel()
    trades, spread = _in_order(parts, spreads, shape)
    return Traded(trades, spread, change.ravel(), *totals)


def _totals(trades: Trades, spread: FloatArray, first: list[int]) -> list[list[float]]:
    """Volume and mean price of each replica's trades, and what the market keeps of them per hour."""
    own = [
        Trades(trades.seller[a:b], trades.buyer[a:b], trades.p_mw[a:b], trades.price_eur_per_mwh[a:b])
        for a, b in pairwise(first)
    ]
    kept = [float(spread[a:b] @ trades.p_mw[a:b]) for a, b in pairwise(first)]
    return [[each.volume_mw for each in own], [each.mean_price_eur_per_mwh for each in own], kept]


def _in_order(parts: list[Trades], spreads: list[FloatArray], shape: Shape) -> tuple[Trades, FloatArray]:
    """Trades of all periods, replica by replica."""
    seller = np.concatenate([part.seller for part in parts])
    row = seller // shape.n_peers
    order = row.astype(np.min_scalar_type(shape.n_rows)).argsort(kind="stable")
    trades = Trades(
        seller[order],
        np.concatenate([part.buyer for part in parts])[order],
        np.concatenate([part.p_mw for part in parts])[order],
        np.concatenate([part.price_eur_per_mwh for part in parts])[order],
    )
    return trades, np.concatenate(spreads)[order]


def _clearer(members: Sequence[Member], ahead: Ahead) -> Callable[[int], _Round]:
    """How the markets of a period are cleared."""
    mechanisms = [member.context.mechanism for member in members]
    rngs = [member.streams["tie-breaking"] for member in members]
    if all(type(each) is DoubleAuction for each in mechanisms):
        k = np.array([getattr(each, "k") for each in mechanisms])  # noqa: B009
        return partial(_together, members=members, ahead=ahead, auctions=partial(double_auctions, rngs=rngs, k=k))
    if all(type(each) is Average for each in mechanisms):
        return partial(_together, members=members, ahead=ahead, auctions=partial(average_auctions, rngs=rngs))
    return partial(_one_by_one, members=members)


def _together(
    period: int, *, members: Sequence[Member], ahead: Ahead, auctions: Callable[[StepBooks], AuctionClearings]
) -> _Round:
    """All auctions in one call; see `peerwatt.agents.mediator.Mediator.clear`."""
    n_books, n, tariff = len(members), ahead.shape.n_peers, members[0].context.tariff
    limit = np.concatenate([member.limits() for member in members])
    power, price = ahead.positions(period).steps(limit, tariff)  # (n_books * n_peers, N_STEPS)
    offered = np.flatnonzero(power)
    book, agent = np.divmod(offered // N_STEPS, n)
    steps = StepBooks(book, agent, power.take(offered), price.take(offered), n_books, n, members[0].context.period_h)
    cleared = auctions(steps)
    accepted = np.zeros(power.shape)
    accepted.put(offered, cleared.accepted_mw)
    change = np.zeros(len(power))
    for step in accepted.T[1:]:  # the first is the firm power
        change += step
    status = [Status.EMPTY if empty else Status.OPTIMAL for empty in cleared.empty.tolist()]
    return _Round(cleared.trades, np.empty(0), change, cleared.social_welfare_eur, status)


def _one_by_one(_: int, *, members: Sequence[Member]) -> _Round:
    """Each market by itself."""
    n = len(members[0].population)
    parts: list[Trades] = []
    spreads, change, welfare = [], np.empty((len(members), n)), np.full(len(members), np.nan)
    status: list[Status] = []
    for r, member in enumerate(members):
        _bids, clearing, own, change[r] = member.clear()
        parts.append(Trades(own.seller + r * n, own.buyer + r * n, own.p_mw, own.price_eur_per_mwh))
        spread = clearing.spread_eur_per_mwh
        spreads.append(spread if spread.size else np.zeros(len(own)))
        status.append(clearing.status)
        if clearing.status.solved:
            welfare[r] = clearing.social_welfare_eur
    trades = Trades(*(np.concatenate([getattr(part, name) for part in parts]) for name in Trades.__slots__))
    spread = np.concatenate(spreads)
    return _Round(trades, spread if spread.any() else np.empty(0), change.ravel(), welfare, status)
