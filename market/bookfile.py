"""Bilateral books and their clearings as JSON files.

    {"period_h": 0.25,
     "peers": [{"id": "pv", "p_min_mw": 0, "p_max_mw": 0.01, "cost_a": 0, "cost_b": 60},
               {"id": "house", "p_min_mw": -0.006, "p_max_mw": 0, "cost_a": 0, "cost_b": 250}],
     "partners": [["pv", "house"]], "trade_cost": [["pv", "house", 12.0]], "blocked": []}

The last three may be left out: without `partners` everybody who can sell may trade with everybody else who can
buy. A trade cost is the c_nm of Marques et al., eq. (3), with n the seller: the seller asks for it, and the
buyer's price contains it. Power is positive when fed in, so a consumer's bounds are negative. With
`"price_limits_eur_per_mwh": [0, 500]` the market takes no other marginal costs.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Annotated, Any, TypeAlias

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, StrictInt, StrictStr

from peerwatt.errors import BookError, Fault
from peerwatt.market.book import QuadraticBook, all_pairs, validate
from peerwatt.market.clearing import Clearing
from peerwatt.registry import nearest
from peerwatt.validation import validated

__all__ = ["BookFile", "PeerEntry", "read_book", "result_document"]

PeerId: TypeAlias = StrictStr | StrictInt
Megawatts: TypeAlias = Annotated[float, Field(allow_inf_nan=False, strict=True)]
Price: TypeAlias = Annotated[float, Field(allow_inf_nan=False, strict=True)]

_SHOWN = 20  # faults of one kind


class _Entry(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class PeerEntry(_Entry):
    """One peer of a book: its bounds, and its cost C(P) = a/2 P^2 + b P (Marques et al., eq. (2))."""

    id: PeerId = Field(description="Name or number, each once.")
    p_min_mw: Megawatts = Field(description="Lower bound of net power; negative when the peer can buy.")
    p_max_mw: Megawatts = Field(description="Upper bound of net power; positive when the peer can sell.")
    cost_a: Price = Field(default=0.0, description="Curvature a of the cost, EUR/MW2h, 0 or more.")
    cost_b: Price = Field(description="Marginal cost b at zero power, EUR/MWh; a buyer's willingness to pay.")


class BookFile(_Entry):
    """A bilateral order book in a file."""

    period_h: float = Field(gt=0.0, allow_inf_nan=False, strict=True, description="Length of the period, hours.")
    peers: tuple[PeerEntry, ...] = Field(description="Everybody who takes part.")
    partners: tuple[tuple[PeerId, PeerId], ...] | None = Field(
        default=None, description="Pairs [seller, buyer] that may trade; every possible one if left out."
    )
    trade_cost: tuple[tuple[PeerId, PeerId, Price], ...] = Field(
        default=(), description="[seller, buyer, EUR/MWh]: cost of a trade; negative is an incentive."
    )
    blocked: tuple[tuple[PeerId, PeerId], ...] = Field(
        default=(), description="Pairs [seller, buyer] that may not trade, whatever `partners` says."
    )
    price_limits_eur_per_mwh: tuple[Price, Price] | None = Field(
        default=None, description="Lowest and highest marginal cost that the market takes; no limits if left out."
    )


def read_book(path: Path) -> tuple[QuadraticBook, BookFile]:
    """Read a book from a file.

    Returns:
        The book, whose agents are the file's peers in their order, and what stands in the file.

    Raises:
        BookError: the file cannot be read, is no book, or contradicts itself; every fault is listed.
    """
    try:
        document = json.loads(path.read_text(encoding="utf-8"), object_pairs_hook=_unique_keys)
    except OSError as error:
        raise BookError(Fault(str(path), f"cannot be read: {error.strerror}")) from None
    except UnicodeDecodeError:
        raise BookError(Fault(str(path), "is not a text file in UTF-8", "save it as UTF-8")) from None
    except json.JSONDecodeError as error:
        where = f"{path}, line {error.lineno}, column {error.colno}"
        raise BookError(Fault(where, f"is not valid JSON: {error.msg}", "check commas and brackets")) from None
    except (ValueError, RecursionError) as error:
        raise BookError(Fault(str(path), f"is not a book: {error}")) from None
    file = validated(BookFile, document, str(path), BookError)
    faults = [*_peer_faults(file, str(path)), *_pair_faults(file, str(path))]
    if faults:
        raise BookError(faults)
    book = _book(file)
    validate(book)
    return book, file


def result_document(file: BookFile, mechanism: str, clearing: Clearing) -> dict[str, Any]:
    """What a clearing says, as JSON: numbers that do not exist are null.

    Keys are `status`, `social_welfare_eur`, `peers` (`id`, `p_mw`, `welfare_eur`), `trades` (`seller`, `buyer`,
    `p_mw`, `price_eur_per_mwh`), `mechanism`, `surplus_eur`, `shortfall_mw`, `iterations` and `message`.
    """
    ids = [peer.id for peer in file.peers]
    trades = clearing.trades
    return {
        "status": str(clearing.status),
        "mechanism": mechanism,
        "message": clearing.message,
        "social_welfare_eur": _number(clearing.social_welfare_eur),
        "surplus_eur": _number(clearing.surplus_eur),
        "shortfall_mw": _number(clearing.shortfall_mw),
        "iterations": clearing.iterations,
        "peers": [
            {"id": name, "p_mw": _number(p_mw), "welfare_eur": _number(welfare)}
            for name, p_mw, welfare in zip(ids, clearing.p_mw.tolist(), clearing.welfare_eur.tolist(), strict=True)
        ],
        "trades": [
            {"seller": ids[seller], "buyer": ids[buyer], "p_mw": p_mw, "price_eur_per_mwh": price}
            for seller, buyer, p_mw, price in zip(
                trades.seller.tolist(),
                trades.buyer.tolist(),
                trades.p_mw.tolist(),
                trades.price_eur_per_mwh.tolist(),
                strict=True,
            )
        ],
    }


def _number(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Refuse a key that stands twice: JSON would keep the last and drop the first without a word."""
    keys = [key for key, _ in pairs]
    if len(set(keys)) < len(keys):
        twice = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(f"the key '{twice}' stands twice in one object")
    return dict(pairs)


def _book(file: BookFile) -> QuadraticBook:
    row = {peer.id: k for k, peer in enumerate(file.peers)}
    bounds = np.array([(peer.p_min_mw, peer.p_max_mw, peer.cost_a, peer.cost_b) for peer in file.peers])
    p_min, p_max, a, b = bounds.reshape(-1, 4).T.copy()
    if file.partners is None:
        seller, buyer = all_pairs(p_min, p_max)
    else:
        pairs = np.array([(row[s], row[t]) for s, t in file.partners], dtype=np.intp).reshape(-1, 2)
        seller, buyer = pairs.T.copy()
    n = len(row)
    code = seller * n + buyer
    blocked = np.array([row[s] * n + row[t] for s, t in file.blocked], dtype=np.intp)
    free = ~np.isin(code, blocked)
    seller, buyer, code = seller[free], buyer[free], code[free]
    cost = np.zeros(code.size)
    if file.trade_cost:
        given = np.array([row[s] * n + row[t] for s, t, _ in file.trade_cost], dtype=np.intp)
        value = np.array([price for *_, price in file.trade_cost])
        order = np.argsort(given)
        at = np.minimum(np.searchsorted(given[order], code), given.size - 1)
        cost = np.where(given[order][at] == code, value[order][at], 0.0)
    return QuadraticBook(
        p_min_mw=p_min,
        p_max_mw=p_max,
        cost_a=a,
        cost_b=b,
        seller=seller,
        buyer=buyer,
        seller_cost=cost,
        buyer_cost=np.zeros(code.size),
        period_h=file.period_h,
        names=[str(name) for name in row],
        price_limits=file.price_limits_eur_per_mwh,
    )


def _peer_faults(file: BookFile, where: str) -> Iterator[Fault]:
    seen: dict[str | int, int] = {}
    for k, peer in enumerate(file.peers):
        at = f"{where}: peers.{k} ('{peer.id}')"
        if peer.id in seen:
            yield Fault(at, f"the id '{peer.id}' is that of peers.{seen[peer.id]} too", "each id once")
        seen.setdefault(peer.id, k)
        if peer.p_min_mw > peer.p_max_mw:
            yield Fault(at, f"p_min_mw {peer.p_min_mw:g} is above p_max_mw {peer.p_max_mw:g}", "swap them")
        if peer.cost_a < 0.0:
            yield Fault(at, f"cost_a is {peer.cost_a:g}: a cost with negative curvature", "0 or above")
        if file.price_limits_eur_per_mwh is not None:
            low, high = file.price_limits_eur_per_mwh
            costs = [peer.cost_a * p_mw + peer.cost_b for p_mw in (peer.p_min_mw, peer.p_max_mw)]
            if min(costs) < low or max(costs) > high:
                span = f"{min(costs):g} to {max(costs):g} EUR/MWh"
                yield Fault(
                    at, f"its marginal cost, {span}, leaves the market's limits", f"{low:g} to {high:g} EUR/MWh"
                )


def _pair_faults(file: BookFile, where: str) -> Iterator[Fault]:
    known = {peer.id for peer in file.peers}
    names = [str(name) for name in known]
    for key in ("partners", "trade_cost", "blocked"):
        found = _faults_of_pairs(getattr(file, key) or (), f"{where}: {key}", known, names, once=key != "blocked")
        yield from islice(found, _SHOWN)
        if more := sum(1 for _ in found):
            yield Fault(f"{where}: {key}", f"{more} more faults like these")


def _faults_of_pairs(
    rows: tuple[tuple[Any, ...], ...], where: str, known: set[str | int], names: list[str], *, once: bool
) -> Iterator[Fault]:
    seen: set[tuple[Any, Any]] = set()
    for k, (seller, buyer, *_) in enumerate(rows):
        for role, name in (("seller", seller), ("buyer", buyer)):
            if name not in known:
                yield Fault(f"{where}.{k}", f"unknown peer '{name}' as {role}", nearest(str(name), names))
        if seller == buyer:
            yield Fault(f"{where}.{k}", f"'{seller}' trades with itself", "two different peers")
        if once and (seller, buyer) in seen:
            yield Fault(f"{where}.{k}", f"the pair '{seller}', '{buyer}' stands twice", "each pair once")
        seen.add((seller, buyer))
