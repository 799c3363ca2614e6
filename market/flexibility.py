"""Flexibility: the bids of a local flexibility market, and what it says when it has been cleared.

A bid offers up to `p_max_mw` of change at one node: upward is more generation or less load, downward the opposite.
Its price is what its owner wants to be paid per MWh activated. Who saves fuel by generating less, or is glad of
cheap energy to consume, offers downward flexibility at a price below 0, and pays. Bids are divisible.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from peerwatt.errors import Fault
from peerwatt.market.book import FloatArray, IntArray, sum_by_agent
from peerwatt.market.clearing import Status
from peerwatt.market.faults import (
    as_floats,
    as_integers,
    finite_faults,
    length_faults,
    period_faults,
    range_faults,
    row_faults,
)
from peerwatt.market.nodal import NodalPrices

__all__ = ["FlexibilityBook", "FlexibilityClearing", "Pricing", "flexibility_faults"]


class Pricing(StrEnum):
    """What activated bids are paid.

    Attributes:
        PAY_AS_BID: each its own price.
        PAY_AS_CLEARED: upward bids the price of their node (DLMP), downward bids the same with the other sign.
    """

    PAY_AS_BID = "pay_as_bid"
    PAY_AS_CLEARED = "pay_as_cleared"


@dataclass(frozen=True, slots=True)
class FlexibilityBook:
    """Bids of a local flexibility market, in any order. Lists are accepted for arrays.

    Attributes:
        owner: who bids, index below `n_agents`. (n_bids,)
        node: where, a column of the network's sensitivities or a node of its tree. (n_bids,)
        direction: 1 for upward, -1 for downward. (n_bids,)
        p_max_mw: largest activation, not negative. (n_bids,)
        price_eur_per_mwh: what the owner wants to be paid per MWh activated; negative to pay. (n_bids,)
        n_agents: number of agents, those without a bid included.
        period_h: length of the market period in hours.
        names: names of the bids for messages; their numbers if None.

    Raises:
        BookError: a column holds no numbers, or no integers.
    """

    owner: IntArray
    node: IntArray
    direction: IntArray
    p_max_mw: FloatArray
    price_eur_per_mwh: FloatArray
    n_agents: int
    period_h: float
    names: Sequence[str] | None = None

    def __post_init__(self) -> None:
        for name in ("owner", "node", "direction"):
            object.__setattr__(self, name, as_integers(name, getattr(self, name)))
        for name in ("p_max_mw", "price_eur_per_mwh"):
            object.__setattr__(self, name, as_floats(name, getattr(self, name)))

    @property
    def n_bids(self) -> int:
        """Number of bids."""
        return self.p_max_mw.size

    def name(self, bid: int) -> str:
        """Name of a bid for a message."""
        return str(self.names[bid]) if self.names is not None else str(bid)


@dataclass(frozen=True, slots=True)
class FlexibilityClearing:
    """Result of a local flexibility market. Numbers are NaN where there is no result.

    With status `infeasible` it is the partial solution: what is missing is in `shortfall_mw` and
    `shortfall_pu`, and no limit that was met before is broken, no other broken any further.

    Attributes:
        status: how the clearing ended.
        activated_mw: activation of every bid, not negative. (n_bids,)
        paid_eur: what every bid is paid; negative where it pays. (n_bids,)
        cost_eur: activations at the bids' own prices, and the slack; what remains missing is not priced here.
        slack_mw: what the external grid gives more, negative if less; 0 if balanced.
        prices: what one more MWh of load costs at every node, by cause.
        flow_mw: flows afterwards. (n_constraints,)
        vm_pu: voltages afterwards. (n_voltages,)
        congestion_eur_per_mwh: saving per MWh if a limit of the flow had more room; positive where the upper
            limit binds, negative where the lower does. (n_constraints,)
        voltage_eur_per_puh: the same per pu and hour of every voltage. (n_voltages,)
        shortfall_mw: how far the flows stay beyond their limits. (n_constraints,)
        shortfall_pu: how far the voltages do. (n_voltages,)
        iterations: iterations of the solver.
        message: what is missing and where, or why there is no result; empty otherwise.
    """

    status: Status
    activated_mw: FloatArray
    paid_eur: FloatArray
    cost_eur: float
    slack_mw: float
    prices: NodalPrices
    flow_mw: FloatArray
    vm_pu: FloatArray
    congestion_eur_per_mwh: FloatArray
    voltage_eur_per_puh: FloatArray
    shortfall_mw: FloatArray
    shortfall_pu: FloatArray
    iterations: int = 0
    message: str = ""

    @property
    def dlmp_eur_per_mwh(self) -> FloatArray:
        """Locational marginal price of every node; (n_nodes,)."""
        return self.prices.total

    @property
    def volume_mw(self) -> float:
        """Sum of all activations, upward and downward."""
        return float(self.activated_mw.sum())

    @property
    def missing_mw(self) -> float:
        """Sum of what the flows stay beyond their limits."""
        return float(self.shortfall_mw.sum())

    @property
    def procurement_eur(self) -> float:
        """What all bids are paid."""
        return float(self.paid_eur.sum())

    def injection_mw(self, book: FlexibilityBook) -> FloatArray:
        """Change of every agent's net power; (n_agents,)."""
        return sum_by_agent(book.owner, book.direction * self.activated_mw, book.n_agents)


def flexibility_faults(book: FlexibilityBook, n_nodes: int | None) -> Iterator[Fault]:
    """Everything that is wrong with a book.

    Args:
        book: the bids.
        n_nodes: number of nodes of the network; None if it is not known.
    """
    yield from period_faults(book.period_h)
    columns = {name: getattr(book, name) for name in ("owner", "node", "direction", "p_max_mw", "price_eur_per_mwh")}
    wrong = length_faults("bid", columns, book.names)
    if wrong:
        yield from wrong
        return
    agents = f"agents are 0 to {book.n_agents - 1}"
    yield from range_faults("bid", book.owner, book.n_agents, "unknown owner", agents, book.name)
    if n_nodes is not None:
        yield from range_faults("bid", book.node, n_nodes, "unknown node", f"nodes are 0 to {n_nodes - 1}", book.name)
    sideways = np.abs(book.direction) != 1
    yield from row_faults("bid", sideways, book.direction, "direction", "1 upward, -1 downward", book.name)
    prices = {"p_max_mw": book.p_max_mw, "price_eur_per_mwh": book.price_eur_per_mwh}
    yield from finite_faults("bid", prices, book.name)
    negative = book.p_max_mw < 0.0
    remedy = "0 or above; the direction says which way"
    yield from row_faults("bid", negative, book.p_max_mw, "negative p_max_mw", remedy, book.name)
