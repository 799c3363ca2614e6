"""Order books: what agents offer and ask before a market is cleared.

Two kinds of book reach a mechanism, both structures of arrays over agents 0..n-1:

- `StepBook`: price-quantity steps, what an auction collects;
- `QuadraticBook`: quadratic costs and candidate trading partners, what a bilateral market needs:

    C_n(P_n)  = a_n/2 P_n^2 + b_n P_n              Marques et al., eq. (2)
    C~_n      = sum over partners m of c_nm |P_nm|  Marques et al., eq. (3)

Power is positive when fed into the grid: a seller's power is >= 0, a buyer's <= 0. A price is positive when
the buyer pays.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from peerwatt.errors import BookError, Fault
from peerwatt.market.arrays import FloatArray, IntArray
from peerwatt.market.faults import SHOWN, as_floats, as_integers, period_faults, row_faults
from peerwatt.market.product import Product

__all__ = ["FloatArray", "IntArray", "QuadraticBook", "StepBook", "all_pairs", "sum_by_agent", "validate"]

_AGENTS = "integer indices of agents"
_TABLE = 1 << 22  # largest table of pairs, in bytes, used to find duplicates


@dataclass(frozen=True, slots=True)
class StepBook:
    """Price-quantity steps of all agents, in any order.

    Lists are accepted for arrays. Steps of zero quantity are allowed and never traded.

    Attributes:
        agent: who offers the step, index below `n_agents`. (n_steps,)
        p_mw: quantity, positive to sell, negative to buy. (n_steps,)
        price_eur_per_mwh: least price to sell at, or highest to buy at. (n_steps,)
        n_agents: number of agents, those without a step included.
        period_h: length of the market period in hours.
        price_limits: lowest and highest price that the market admits, EUR/MWh; none if None.
        product: what is traded; of capacity the period is 1 and prices are in EUR/MW.
        location: label of every agent, such as its community or area; None without. (n_agents,)
    """

    agent: IntArray
    p_mw: FloatArray
    price_eur_per_mwh: FloatArray
    n_agents: int
    period_h: float
    price_limits: tuple[float, float] | None = None
    product: Product = Product.ENERGY
    location: Sequence[str] | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "agent", as_integers("agent", self.agent, _AGENTS))
        for name in ("p_mw", "price_eur_per_mwh"):
            object.__setattr__(self, name, as_floats(name, getattr(self, name)))


@dataclass(frozen=True, slots=True)
class QuadraticBook:
    """Quadratic costs of all agents and the pairs that may trade.

    A pair (seller, buyer) is one direction of trade, P_seller,buyer >= 0 and P_buyer,seller <= 0; two agents
    that may trade either way have two pairs. A pair's costs apply to the traded power |P_nm| on both sides:
    a positive `buyer_cost` makes buying from this seller dearer although the buyer's P_nm is negative. A
    negative value is an incentive.

    Attributes:
        p_min_mw: lower bound of net power, negative when the agent can buy. (n,)
        p_max_mw: upper bound of net power, positive when the agent can sell. (n,)
        cost_a: curvature, EUR/MW2h, not negative. (n,)
        cost_b: marginal cost at zero power, EUR/MWh; a buyer's willingness to pay. (n,)
        seller: selling agent of each candidate pair. (n_pairs,)
        buyer: buying agent of each candidate pair. (n_pairs,)
        seller_cost: c_nm of the seller, EUR per MWh traded. (n_pairs,)
        buyer_cost: c_mn of the buyer, EUR per MWh traded. (n_pairs,)
        period_h: length of the market period in hours.
        names: names of the agents for messages; their numbers if None.
        price_limits: lowest and highest marginal cost that the market admits within an agent's bounds, EUR/MWh;
            none if None.
        product: what is traded; of capacity the period is 1 and prices are in EUR/MW.
        location: label of every agent, such as its community or area; None without. (n,)
    """

    p_min_mw: FloatArray
    p_max_mw: FloatArray
    cost_a: FloatArray
    cost_b: FloatArray
    seller: IntArray
    buyer: IntArray
    seller_cost: FloatArray
    buyer_cost: FloatArray
    period_h: float
    names: Sequence[str] | None = None
    price_limits: tuple[float, float] | None = None
    product: Product = Product.ENERGY
    location: Sequence[str] | None = None

    def __post_init__(self) -> None:
        for name in ("seller", "buyer"):
            object.__setattr__(self, name, as_integers(name, getattr(self, name), _AGENTS))
        for name in ("p_min_mw", "p_max_mw", "cost_a", "cost_b", "seller_cost", "buyer_cost"):
            object.__setattr__(self, name, as_floats(name, getattr(self, name)))

    @property
    def n_agents(self) -> int:
        """Number of agents."""
        return self.p_min_mw.size

    @property
    def n_pairs(self) -> int:
        """Number of candidate pairs."""
        return self.seller.size

    def name(self, agent: int) -> str:
        """Name of an agent for a message."""
        return str(self.names[agent]) if self.names is not None else str(agent)


def all_pairs(p_min_mw: ArrayLike, p_max_mw: ArrayLike) -> tuple[IntArray, IntArray]:
    """Pair every agent that can sell with every other that can buy.

    Args:
        p_min_mw: lower bounds; who has a negative one can buy. (n,)
        p_max_mw: upper bounds; who has a positive one can sell. (n,)

    Returns:
        Sellers and buyers of all pairs, ordered by seller, then buyer.
    """
    sellers = np.flatnonzero(np.asarray(p_max_mw) > 0.0)
    buyers = np.flatnonzero(np.asarray(p_min_mw) < 0.0)
    seller = np.repeat(sellers, buyers.size)
    buyer = np.tile(buyers, sellers.size)
    other = seller != buyer
    return (seller, buyer) if other.all() else (seller[other], buyer[other])


def sum_by_agent(agent: IntArray, values: FloatArray, n_agents: int) -> FloatArray:
    """Sum rows by their agent; (n_agents,)."""
    total: FloatArray = np.bincount(agent, values, minlength=n_agents).astype(np.float64, copy=False)
    return total


def validate(book: StepBook | QuadraticBook) -> None:
    """Refuse a book that contradicts itself.

    A sound book costs a few array comparisons; only a faulty one is searched for all its faults.

    Raises:
        BookError: lists every fault.
    """
    sound, faults = (
        (_step_book_is_sound, _step_faults)
        if isinstance(book, StepBook)
        else (_quadratic_book_is_sound, _quadratic_faults)
    )
    check: Callable[[Any], bool] = sound
    search: Callable[[Any], Iterator[Fault]] = faults
    if not check(book) or not _labels_fit(book):
        raise BookError([*search(book), *_label_faults(book)])


# --- price-quantity steps ---


def _step_book_is_sound(book: StepBook) -> bool:
    n = book.agent.shape
    if not (0.0 < book.period_h < np.inf and len(n) == 1 and n == book.p_mw.shape == book.price_eur_per_mwh.shape):
        return False
    if not n[0]:
        return book.n_agents >= 0 and _are_admitted(book.price_limits)
    return bool(
        book.agent.min() >= 0
        and book.agent.max() < book.n_agents
        and np.isfinite(np.abs(book.p_mw).sum())
        and np.isfinite(np.abs(book.price_eur_per_mwh).sum())
        and _are_admitted(book.price_limits, book.price_eur_per_mwh)
        and not _crossing(book).size
    )


def _crossing(book: StepBook) -> IntArray:
    """Agents that would sell at a price at which they also buy."""
    sell = book.p_mw > 0.0
    buy = book.p_mw < 0.0
    highest = np.full(book.n_agents, -np.inf)
    np.maximum.at(highest, book.agent[buy], book.price_eur_per_mwh[buy])
    sellers = book.agent[sell]
    return sellers[book.price_eur_per_mwh[sell] <= highest[sellers]]


def _step_faults(book: StepBook) -> Iterator[Fault]:
    yield from period_faults(book.period_h)
    steps = (book.agent, book.p_mw, book.price_eur_per_mwh)
    if len({array.shape for array in steps}) > 1 or book.agent.ndim != 1:
        shapes = [array.shape for array in steps]
        yield Fault("steps", f"agent, p_mw, price_eur_per_mwh have shapes {shapes}", "one value per step")
        return
    unknown = (book.agent < 0) | (book.agent >= book.n_agents)
    yield from row_faults("step", unknown, book.agent, "unknown agent", f"agents are 0 to {book.n_agents - 1}")
    finite = True
    for name, values in (("p_mw", book.p_mw), ("price_eur_per_mwh", book.price_eur_per_mwh)):
        bad = ~np.isfinite(values)
        finite = finite and not bad.any()
        yield from row_faults("step", bad, values, name, "a finite number")
    yield from _limit_faults(book.price_limits)
    if book.price_limits is not None:
        (low, high), price = book.price_limits, book.price_eur_per_mwh
        yield from row_faults("step", (price < low) | (price > high), price, "price_eur_per_mwh", _admitted(low, high))
    if finite and not unknown.any():
        for agent in np.unique(_crossing(book))[:SHOWN]:
            yield Fault(
                f"agent {agent}",
                "sells at a price at or below the one it buys at",
                "net its offers, or ask more than it pays",
            )


# --- quadratic costs ---


def _quadratic_book_is_sound(book: QuadraticBook) -> bool:
    n, e = book.p_min_mw.shape, book.seller.shape
    if not (
        0.0 < book.period_h < np.inf
        and len(n) == len(e) == 1
        and n == book.p_max_mw.shape == book.cost_a.shape == book.cost_b.shape
        and e == book.buyer.shape == book.seller_cost.shape == book.buyer_cost.shape
        and (book.names is None or len(book.names) == n[0])
    ):
        return False
    ends = np.array([book.p_min_mw.sum(), book.p_max_mw.sum(), book.cost_a.sum(), np.abs(book.cost_b).sum()])
    if not (np.isfinite(ends).all() and (book.p_min_mw <= book.p_max_mw).all() and (book.cost_a >= 0.0).all()):
        return False
    if book.price_limits is not None and not _are_admitted(book.price_limits, *_marginal_costs(book)):
        return False
    if not e[0]:
        return True
    return bool(
        min(book.seller.min(), book.buyer.min()) >= 0
        and max(book.seller.max(), book.buyer.max()) < n[0]
        and np.isfinite(np.abs(book.seller_cost).sum() + np.abs(book.buyer_cost).sum())
        and (book.seller != book.buyer).all()
        and _pairs_are_unique(book)
    )


def _pairs_are_unique(book: QuadraticBook) -> bool:
    code = book.seller * book.n_agents + book.buyer
    if book.n_agents**2 <= _TABLE:
        seen = np.zeros(book.n_agents**2, dtype=bool)
        seen[code] = True
        return int(np.count_nonzero(seen)) == code.size
    code.sort()
    return bool((code[1:] != code[:-1]).all())


def _quadratic_faults(book: QuadraticBook) -> Iterator[Fault]:
    yield from period_faults(book.period_h)
    per_agent = {name: getattr(book, name) for name in ("p_min_mw", "p_max_mw", "cost_a", "cost_b")}
    per_pair = {name: getattr(book, name) for name in ("seller", "buyer", "seller_cost", "buyer_cost")}
    if book.names is not None and len(book.names) != book.n_agents:
        yield Fault("names", f"{len(book.names)} names for {book.n_agents} agents", "one name per agent, or none")
    sound = True
    for what, group in (("agent", per_agent), ("pair", per_pair)):
        shapes = {name: values.shape for name, values in group.items()}
        if len(set(shapes.values())) > 1 or len(next(iter(shapes.values()))) != 1:
            sound = False
            yield Fault(f"{what}s", f"shapes differ: {shapes}", f"one value per {what}")
    if not sound:
        return
    for name, values in per_agent.items():
        yield from row_faults("agent", ~np.isfinite(values), values, name, "a finite number")
    inverted = book.p_min_mw > book.p_max_mw
    yield from row_faults("agent", inverted, book.p_min_mw - book.p_max_mw, "p_min_mw above p_max_mw by", "swap them")
    yield from row_faults("agent", book.cost_a < 0.0, book.cost_a, "negative curvature cost_a", "0 or above")
    yield from _limit_faults(book.price_limits)
    if book.price_limits is not None:
        (low, high), (lowest, highest) = book.price_limits, _marginal_costs(book)
        remedy = _admitted(low, high)
        yield from row_faults("agent", lowest < low, lowest, "marginal cost at p_min_mw of", remedy)
        yield from row_faults("agent", highest > high, highest, "marginal cost at p_max_mw of", remedy)
    yield from _pair_faults(book)


def _marginal_costs(book: QuadraticBook) -> tuple[FloatArray, FloatArray]:
    """C'(P) at the lower and at the upper bound, its lowest and its highest value."""
    with np.errstate(invalid="ignore"):
        return book.cost_a * book.p_min_mw + book.cost_b, book.cost_a * book.p_max_mw + book.cost_b


def _pair_faults(book: QuadraticBook) -> Iterator[Fault]:
    n = book.n_agents
    for name in ("seller", "buyer"):
        index = getattr(book, name)
        yield from row_faults("pair", (index < 0) | (index >= n), index, f"unknown {name}", f"agents are 0 to {n - 1}")
        cost = getattr(book, f"{name}_cost")
        yield from row_faults("pair", ~np.isfinite(cost), cost, f"{name}_cost", "a finite number")
    own = book.seller == book.buyer
    yield from row_faults("pair", own, book.seller, "an agent trades with itself, agent", "two different agents")
    first = np.zeros(book.n_pairs, dtype=bool)
    first[np.unique(np.stack((book.seller, book.buyer)), axis=1, return_index=True)[1]] = True
    yield from row_faults("pair", ~first, book.seller, "duplicate pair of seller", "each pair once")


# --- helpers ---


def _labels_fit(book: StepBook | QuadraticBook) -> bool:
    labels_fit = book.location is None or len(book.location) == book.n_agents
    return labels_fit and (book.product is Product.ENERGY or book.period_h == 1.0)


def _label_faults(book: StepBook | QuadraticBook) -> Iterator[Fault]:
    if book.location is not None and len(book.location) != book.n_agents:
        yield Fault("location", f"{len(book.location)} labels for {book.n_agents} agents", "one per agent, or none")
    if book.product is not Product.ENERGY and book.period_h != 1.0:
        yield Fault("period_h", f"is {book.period_h} for {book.product}", f"1, as its price is in {book.product.unit}")


def _are_admitted(limits: tuple[float, float] | None, *prices: FloatArray) -> bool:
    if limits is None:
        return True
    low, high = limits
    return low <= high and all(bool(((price >= low) & (price <= high)).all()) for price in prices)


def _limit_faults(limits: tuple[float, float] | None) -> Iterator[Fault]:
    if limits is not None and not limits[0] <= limits[1]:
        yield Fault("price_limits", f"are {limits[0]:g} and {limits[1]:g}", "the lower one first")


def _admitted(low: float, high: float) -> str:
    return f"the market admits {low:g} to {high:g} EUR/MWh"
