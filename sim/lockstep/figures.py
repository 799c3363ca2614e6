"""Key figures of each replica: its tables, of what the figures need, and `peerwatt.sim.kpi` over them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from peerwatt.agents.context import DSO, SUPPLIER
from peerwatt.agents.messages import (
    Bid,
    CallForBids,
    ClearingNotice,
    ConnectionState,
    FloatArray,
    IntArray,
    MeterReadings,
    Offer,
    OfferWithTerms,
    ProposedTrades,
)
from peerwatt.grid.network import Network
from peerwatt.market.mechanism import BookKind
from peerwatt.market.product import Product
from peerwatt.market.settlement import REASONS
from peerwatt.sim.assembly import peer_rows
from peerwatt.sim.kpi import Kpi, compute_kpis
from peerwatt.sim.lockstep.accounts import Books
from peerwatt.sim.lockstep.flows import StageTotals
from peerwatt.sim.lockstep.members import Member
from peerwatt.sim.lockstep.outlook import Shape
from peerwatt.sim.lockstep.trading import Traded
from peerwatt.sim.tables import TABLES, Stage

__all__ = ["Course", "figures"]

_STAGES = (Stage.FORECAST, Stage.P2P, Stage.DELIVERY)
_WORDS = pa.array([str(stage) for stage in _STAGES])
_REASONS = pa.array([str(reason) for reason in REASONS])
_PEERS = "peers"


@dataclass(frozen=True, slots=True)
class Course:
    """What happened in all periods of all replicas.

    Attributes:
        shape: of flat arrays.
        period_h: length of a period, h.
        traded: what the markets came to.
        stages: the power flows, by stage.
        books: every payment.
        agent: columns of table `agent`, flat.
    """

    shape: Shape
    period_h: float
    traded: Traded
    stages: Mapping[Stage, StageTotals]
    books: Books
    agent: Mapping[str, FloatArray]


def figures(member: Member, place: int, course: Course, network: Network) -> dict[str, Kpi]:
    """Key figures of a replica, see `peerwatt.sim.kpi.compute_kpis`.

    Args:
        member: the replica.
        place: which one it is of those in the course.
        course: what happened.
        network: the grid.
    """
    shape = course.shape
    peers = pa.array(member.population.name)
    names = pa.array([*member.population.name, SUPPLIER, DSO, member.context.market])
    rows = slice(place * shape.n_periods, (place + 1) * shape.n_periods)
    columns = {
        "period": _period(course, rows),
        "round": _rounds(shape.n_periods),
        "trade": _trades(course, rows, names),
        "message": _messages(member, course, rows),
        "settlement": _settlement(course, place, names),
        "agent": _agents(course, place, peers),
        "peer": _peers(member, network, peers),
    }
    tables = {name: _table(name, own) for name, own in columns.items()}
    context = member.context
    manifest = {"period_s": context.period_s, "feed_in_eur_per_mwh": context.tariff.feed_in_eur_per_mwh}
    return compute_kpis(tables, manifest)


def _table(name: str, columns: Mapping[str, Any]) -> pa.Table:
    """A table with all columns of its schema; what is not given has no value, and numbers are what they are here."""
    n = len(columns[TABLES[name].names[0]])
    given = {key: values if isinstance(values, pa.Array) else pa.array(values) for key, values in columns.items()}
    none = {field.name: pa.nulls(n, field.type) for field in TABLES[name] if field.name not in given}
    return pa.table({**given, **none})


def _coded(codes: NDArray[Any], words: pa.Array) -> pa.DictionaryArray:
    return pa.DictionaryArray.from_arrays(codes.astype(np.int32, copy=False), words)


def _period(course: Course, rows: slice) -> dict[str, Any]:
    """A row per period and stage; what is the market's stands at stage p2p."""
    n, n_stages = course.shape.n_periods, len(_STAGES)
    totals = [course.stages[stage].columns for stage in _STAGES]
    columns: dict[str, Any] = {
        name: np.stack([own[name][rows] for own in totals], axis=1).ravel() for name in totals[0]
    }
    traded = course.traded
    market = {
        "p2p_volume_mwh": traded.volume_mw[rows] * course.period_h,
        "p2p_price_eur_per_mwh": traded.price_eur_per_mwh[rows],
        "p2p_buyer_price_eur_per_mwh": traded.buyer_price_eur_per_mwh[rows],
        "p2p_surplus_eur": traded.kept_eur_per_h[rows] * course.period_h,
        "social_welfare_eur": traded.welfare_eur[rows],
        "rounds": np.ones(n),
        "incentives_eur": np.zeros(n),
    }
    for name, values in market.items():
        own = np.full((n, n_stages), np.nan)
        own[:, _STAGES.index(Stage.P2P)] = values
        columns[name] = own.ravel()
    status = np.full((n, n_stages), None, dtype=object)
    status[:, _STAGES.index(Stage.P2P)] = [str(each) for each in traded.status[rows]]
    columns["market_status"] = pa.array(status.ravel(), pa.string())
    columns["period"] = np.repeat(np.arange(n), n_stages)
    columns["stage"] = _coded(np.tile(np.arange(n_stages), n), _WORDS)
    return columns


def _rounds(n_periods: int) -> dict[str, Any]:
    """One round of negotiation per period, in which nothing is signalled."""
    none = np.zeros(n_periods)
    return {
        "period": np.arange(n_periods),
        "cycle": none,
        "round": none,
        "converged": none + 1.0,
        "n_at_risk": none,
        "n_blocked": none,
    }


def _trades(course: Course, rows: slice, names: pa.Array) -> dict[str, Any]:
    count, traded, n = course.traded.n_trades, course.traded.trades, course.shape.n_peers
    own = slice(int(count[: rows.start].sum()), int(count[: rows.stop].sum()))
    period = np.repeat(np.arange(course.shape.n_periods), count[rows])
    return {
        "period": period,
        "product": _coded(np.zeros(len(period)), pa.array([str(Product.ENERGY)])),
        "seller": _coded(traded.seller[own] % n, names),
        "buyer": _coded(traded.buyer[own] % n, names),
        "p_mw": traded.p_mw[own],
        "price_eur_per_mwh": traded.price_eur_per_mwh[own],
        "buyer_price_eur_per_mwh": traded.price_eur_per_mwh[own] + course.traded.spread_eur_per_mwh[own],
        "round": np.zeros(len(period)),
    }


def _messages(member: Member, course: Course, rows: slice) -> dict[str, Any]:
    """Every message, counted by kind and period; none is lost."""
    shape, context = course.shape, member.context
    quadratic = OfferWithTerms if context.has_terms else Offer
    answer = Bid if context.mechanism.book is BookKind.STEPS else quadratic
    every, told = np.ones(shape.n_periods), course.stages[Stage.DELIVERY].columns["converged"][rows]
    legs = [
        (CallForBids, context.market, _PEERS, shape.n_peers * every),
        (answer, _PEERS, context.market, shape.n_peers * every),
        (ClearingNotice, context.market, _PEERS, shape.n_peers * every),
        (ProposedTrades, context.market, DSO, every),
        (ProposedTrades, context.market, SUPPLIER, every),
        (ConnectionState, DSO, _PEERS, shape.n_peers * told),
        (MeterReadings, DSO, SUPPLIER, every),
    ]
    count = np.stack([leg[-1] for leg in legs], axis=1)  # (n_periods, n_legs)
    period, leg = np.nonzero(count)
    return {
        "time_s": period * context.period_s,
        "period": period,
        "kind": _named(leg, [kind.__name__ for kind, _, _, _ in legs]),
        "sender": _named(leg, [sender for _, sender, _, _ in legs]),
        "receiver": _named(leg, [receiver for _, _, receiver, _ in legs]),
        "delivered_s": period * context.period_s,
        "n": count[period, leg],
    }


def _named(leg: IntArray, names: list[str]) -> pa.DictionaryArray:
    words = list(dict.fromkeys(names))
    return _coded(np.array([words.index(name) for name in names])[leg], pa.array(words))


def _settlement(course: Course, place: int, names: pa.Array) -> dict[str, Any]:
    books = course.books
    own, entries = slice(books.first[place], books.first[place + 1]), books.entries
    return {
        "period": books.period[own],
        "payer": _coded(entries.payer[own], names),
        "payee": _coded(entries.payee[own], names),
        "reason": _coded(entries.reason[own], _REASONS),
        "amount_eur": entries.amount_eur[own],
    }


def _agents(course: Course, place: int, names: pa.Array) -> dict[str, Any]:
    shape = course.shape
    n, size = shape.n_peers, shape.n_periods * shape.n_peers
    own = slice(place * size, (place + 1) * size)
    columns: dict[str, Any] = {name: values[own] for name, values in course.agent.items()}
    columns["period"] = np.repeat(np.arange(shape.n_periods), n)
    columns["agent"] = _coded(np.tile(np.arange(n), shape.n_periods), names)
    return columns


def _peers(member: Member, network: Network, names: pa.Array) -> dict[str, Any]:
    columns = peer_rows(member.population, network)
    return {**columns, "agent": _coded(columns["agent"], names)}
