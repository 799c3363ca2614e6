"""Network fees: what a trade costs its parties for the use of the network, known before the market clears.

A fee is a price per MWh of every candidate pair, split between seller and buyer. It becomes the preference
costs c_nm and c_mn of Marques et al., eq. (3), so that peers trade where the network is cheap, and the DSO is
paid it (`peerwatt.market.settlement.settle_trades`). Five policies:

    unit      u                                        the same for every trade
    distance  u d_nm                                   electrical or Euclidean distance of the parties
    zonal     u_zz'                                    by the zones of seller and buyer
    ptdf      sum over lines u_l |PTDF_ln - PTDF_lm|   use of every line by 1 MW from n to m
    dlmp      lambda_m - lambda_n                      nodal price of the buyer less that of the seller

The first three are the exogenous cost allocation of Baroche et al. (2019, "Exogenous cost allocation in
peer-to-peer electricity markets"; cost allocation approach of D5.3, section 3.2.4), which Guerrero et al.
review with the usage charge by PTDF; the last is the network usage price of D5.3, section 3.2.4, which turns
into an incentive where a trade relieves the network. Distances, zones, PTDF and nodal prices are plain arrays
over the agents: the network itself is not needed here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike

from peerwatt.errors import BookError, Fault
from peerwatt.market.book import FloatArray, IntArray, QuadraticBook
from peerwatt.market.clearing import Trades
from peerwatt.market.faults import as_floats, as_integers, range_faults, refuse, row_faults
from peerwatt.registry import Registry

__all__ = [
    "NETWORK_FEES",
    "NetworkFee",
    "PairFees",
    "distance_fee",
    "dlmp_fee",
    "ptdf_fee",
    "unit_fee",
    "zonal_fee",
]

_BLOCK = 1 << 22  # numbers of lines times pairs that are worked on at once


@dataclass(frozen=True, slots=True)
class PairFees:
    """The fee of every candidate pair, EUR per MWh traded; negative where the network pays.

    Attributes:
        seller, buyer: agents of each pair. (n_pairs,)
        seller_cost, buyer_cost: what each of them pays. (n_pairs,)
    """

    seller: IntArray
    buyer: IntArray
    seller_cost: FloatArray
    buyer_cost: FloatArray

    def added_to(self, book: QuadraticBook) -> QuadraticBook:
        """The book with these fees on top of the costs of its pairs.

        Raises:
            BookError: the fees are not those of the book's pairs, in the book's order.
        """
        if not (np.array_equal(self.seller, book.seller) and np.array_equal(self.buyer, book.buyer)):
            raise BookError(Fault("network fees", "are for other pairs than the book's", "take the book's pairs"))
        return replace(
            book, seller_cost=book.seller_cost + self.seller_cost, buyer_cost=book.buyer_cost + self.buyer_cost
        )

    def of(self, trades: Trades) -> tuple[FloatArray, FloatArray]:
        """Fees of trades, of the seller and of the buyer; each (n_trades,).

        Raises:
            BookError: a trade is between agents that are no pair here.
        """
        size = 1 + max((int(each.max()) for each in (self.seller, self.buyer, trades.seller) if each.size), default=0)
        size = max(size, 1 + int(trades.buyer.max())) if len(trades) else size
        pair, traded = self.seller * size + self.buyer, trades.seller * size + trades.buyer
        order = np.argsort(pair, kind="stable")
        row = np.searchsorted(pair[order], traded)
        known = row < pair.size
        known[known] = pair[order[row[known]]] == traded[known]
        if not known.all():
            first = int(np.flatnonzero(~known)[0])
            text = f"no fee for {trades.seller[first]} selling to {trades.buyer[first]}"
            raise BookError(Fault(f"trade {first}", text, "charge the pairs that may trade"))
        return self.seller_cost[order[row]], self.buyer_cost[order[row]]


def unit_fee(seller: IntArray, buyer: IntArray, *, fee_eur_per_mwh: float, seller_share: float = 0.5) -> PairFees:
    """The same fee for every trade (unique unit fee).

    Args:
        seller: selling agent of each pair. (n_pairs,)
        buyer: buying agent of each pair. (n_pairs,)
        fee_eur_per_mwh: fee of both parties together.
        seller_share: part of it that the seller pays, 0 to 1; Baroche et al. halve it.

    Raises:
        BookError: lists every fault.
    """
    return _split(seller, buyer, np.full(np.shape(seller), float(fee_eur_per_mwh)), seller_share)


def distance_fee(
    seller: IntArray, buyer: IntArray, *, distance: ArrayLike, fee_eur_per_mwh: float, seller_share: float = 0.5
) -> PairFees:
    """A fee in proportion to how far apart the parties are (distance unit fee).

    Args:
        seller: selling agent of each pair. (n_pairs,)
        buyer: buying agent of each pair. (n_pairs,)
        distance: between all agents (n_agents, n_agents), or of each pair (n_pairs,); Thevenin impedance,
            metres, hops: whatever the unit fee is per.
        fee_eur_per_mwh: fee of both parties per MWh and unit of distance.
        seller_share: part of it that the seller pays, 0 to 1.

    Raises:
        BookError: lists every fault, a negative distance included.
    """
    apart = as_floats("distance", distance)
    if apart.ndim == 2:
        refuse(_table_faults("distance", apart, seller, buyer))
        apart = apart[seller, buyer]
    refuse(Fault(f"pair {row}", f"distance is {apart[row]:g}", "0 or more") for row in np.flatnonzero(apart < 0.0)[:1])
    return _split(seller, buyer, apart * fee_eur_per_mwh, seller_share)


def zonal_fee(
    seller: IntArray, buyer: IntArray, *, zone: ArrayLike, fee_eur_per_mwh: ArrayLike, seller_share: float = 0.5
) -> PairFees:
    """A fee by the zones of the parties (uniform zonal fee).

    Args:
        seller: selling agent of each pair. (n_pairs,)
        buyer: buying agent of each pair. (n_pairs,)
        zone: number of every agent's zone. (n_agents,)
        fee_eur_per_mwh: fee of both parties together, from the seller's zone (row) to the buyer's (column);
            on the diagonal the fee inside a zone, elsewhere that of all zones on the way. (n_zones, n_zones)
        seller_share: part of it that the seller pays, 0 to 1.

    Raises:
        BookError: lists every fault.
    """
    zones, fee = as_integers("zone", zone), as_floats("fee_eur_per_mwh", fee_eur_per_mwh)
    refuse(_index_faults(seller, buyer, zones.size))
    from_zone, to_zone = zones[seller], zones[buyer]
    refuse(_table_faults("fee_eur_per_mwh", fee, from_zone, to_zone))
    return _split(seller, buyer, fee[from_zone, to_zone], seller_share)


def ptdf_fee(
    seller: IntArray,
    buyer: IntArray,
    *,
    ptdf: ArrayLike,
    fee_eur_per_mwh: ArrayLike,
    flow_mw: ArrayLike | None = None,
    seller_share: float = 0.5,
) -> PairFees:
    """A charge for the use of every line (usage charge by PTDF).

    Args:
        seller: selling agent of each pair. (n_pairs,)
        buyer: buying agent of each pair. (n_pairs,)
        ptdf: flow on every line for 1 MW fed in by every agent. (n_lines, n_agents)
        fee_eur_per_mwh: unit price of every line, e.g. high where it is long or close to its limit. (n_lines,)
        flow_mw: flow on every line before the trade. If given, a trade against it earns what one along it
            pays; if not, both pay. (n_lines,)
        seller_share: part of it that the seller pays, 0 to 1.

    Raises:
        BookError: lists every fault.
    """
    factor, price = as_floats("ptdf", ptdf), as_floats("fee_eur_per_mwh", fee_eur_per_mwh)
    flow = None if flow_mw is None else as_floats("flow_mw", flow_mw)
    lines = {"fee_eur_per_mwh": price.shape} | ({} if flow is None else {"flow_mw": flow.shape})
    if factor.ndim != 2:
        raise BookError(Fault("ptdf", f"has shape {factor.shape}", "a row per line, a column per agent"))
    wrong = [
        Fault(name, f"has shape {shape}", f"one number for each of {factor.shape[0]} lines")
        for name, shape in lines.items()
        if shape != factor.shape[:1]
    ]
    refuse([*wrong, *_index_faults(seller, buyer, factor.shape[1])])
    fee = np.empty(seller.size)
    block = max(1, _BLOCK // max(1, factor.shape[0]))
    for start in range(0, seller.size, block):
        part = slice(start, start + block)
        use = factor[:, seller[part]] - factor[:, buyer[part]]  # (n_lines, n_block)
        fee[part] = price @ (np.abs(use) if flow is None else np.sign(flow)[:, None] * use)
    return _split(seller, buyer, fee, seller_share)


def dlmp_fee(seller: IntArray, buyer: IntArray, *, price_eur_per_mwh: ArrayLike, seller_share: float = 0.5) -> PairFees:
    """The difference of the nodal prices, shared by both parties (network usage price, D5.3, section 3.2.4).

    Args:
        seller: selling agent of each pair. (n_pairs,)
        buyer: buying agent of each pair. (n_pairs,)
        price_eur_per_mwh: DLMP at every agent's node. (n_agents,)
        seller_share: part of the difference that the seller pays, 0 to 1.

    Raises:
        BookError: lists every fault.
    """
    price = as_floats("price_eur_per_mwh", price_eur_per_mwh)
    refuse(_index_faults(seller, buyer, price.size))
    return _split(seller, buyer, price[buyer] - price[seller], seller_share)


NetworkFee: TypeAlias = Callable[..., PairFees]
"""A policy: sellers, buyers and its own keyword arguments in, fees out."""

NETWORK_FEES: Registry[NetworkFee] = Registry(
    "network_fee",
    {name: f"peerwatt.market.network_fees:{name}_fee" for name in ("unit", "distance", "zonal", "ptdf", "dlmp")},
)
"""All policies by name."""


def _split(seller: IntArray, buyer: IntArray, fee: FloatArray, seller_share: float) -> PairFees:
    """Share the fee of each pair between its parties."""
    faults = []
    if not 0.0 <= seller_share <= 1.0:
        faults.append(Fault("seller_share", f"is {seller_share!r}", "a number from 0 to 1"))
    if not fee.shape == seller.shape == buyer.shape:
        shapes = [fee.shape, seller.shape, buyer.shape]
        faults.append(Fault("pairs", f"fee, seller and buyer have shapes {shapes}", "one value per pair"))
    refuse([*faults, *row_faults("pair", ~np.isfinite(fee), fee, "fee", "finite numbers to make it from")])
    return PairFees(seller, buyer, seller_share * fee, (1.0 - seller_share) * fee)


def _index_faults(seller: IntArray, buyer: IntArray, n_agents: int) -> Iterator[Fault]:
    for name, index in (("seller", seller), ("buyer", buyer)):
        yield from range_faults("pair", index, n_agents, f"unknown {name}", f"agents are 0 to {n_agents - 1}")


def _table_faults(name: str, table: FloatArray, row: IntArray, column: IntArray) -> Iterator[Fault]:
    if table.ndim != 2 or table.shape[0] != table.shape[1]:
        yield Fault(name, f"has shape {table.shape}", "a square table")
        return
    for index in (row, column):
        bad = index[(index < 0) | (index >= len(table))]
        if bad.size:
            yield Fault(name, f"has no row {bad[0]}", f"rows are 0 to {len(table) - 1}")
