"""Clearing mechanisms: the seam between a book and its clearing, and their names.

A mechanism is anything with a `name`, a kind of `book` and a pure `clear`. This one is complete:

    @mechanism("first_come")
    class FirstCome:
        name, book = "first_come", BookKind.STEPS

        def __init__(self, *, price: float = 100.0) -> None: ...

        def clear(self, book: StepBook, rng: np.random.Generator) -> Clearing: ...

    make_mechanism("first_come", price=120.0).clear(book, rng)

The keyword parameters of the factory are the options that a scenario may set.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from typing import Any, Protocol, TypeAlias, runtime_checkable

import numpy as np

from peerwatt.market.book import FloatArray, StepBook
from peerwatt.market.clearing import Clearing
from peerwatt.registry import Registry, construct

__all__ = ["MECHANISMS", "BookKind", "Mechanism", "MechanismFactory", "PairMechanism", "make_mechanism", "mechanism"]


class BookKind(StrEnum):
    """Which kind of book a mechanism clears.

    Attributes:
        STEPS: `peerwatt.market.book.StepBook`.
        QUADRATIC: `peerwatt.market.book.QuadraticBook`.
    """

    STEPS = "steps"
    QUADRATIC = "quadratic"


class Mechanism(Protocol):
    """Clears books of one kind."""

    @property
    def name(self) -> str:
        """Name in scenario files."""

    @property
    def book(self) -> BookKind:
        """Kind of book that `clear` takes."""

    def clear(self, book: Any, rng: np.random.Generator) -> Clearing:
        """Clear one book.

        Args:
            book: a `StepBook` or a `QuadraticBook`, as the attribute `book` says.
            rng: stream for ties.

        Raises:
            BookError: the book contradicts itself.
        """


@runtime_checkable
class PairMechanism(Protocol):
    """An auction that also takes what it costs who trades with whom, and who must not, as the DSO's signals say."""

    def clear_pairs(self, book: StepBook, seller_cost: FloatArray, buyer_cost: FloatArray) -> Clearing:
        """Clear one book of steps with costs of pairs.

        Args:
            book: price-quantity steps.
            seller_cost: [i, j] is i's cost of selling to j, EUR per MWh traded; inf if blocked. (n_agents, n_agents)
            buyer_cost: [i, j] is j's cost of buying from i; inf if blocked. (n_agents, n_agents)
        """


MechanismFactory: TypeAlias = Callable[..., Mechanism]

_SHIPPED = {
    "admm": "peerwatt.market.admm:Admm",
    "consensus_innovation": "peerwatt.market.innovation:ConsensusInnovation",
    "average": "peerwatt.market.auction:Average",
    "continuous_double_auction": "peerwatt.market.continuous:ContinuousDoubleAuction",
    "mcafee": "peerwatt.market.mcafee:McAfee",
    "mid_market_rate": "peerwatt.market.mid_market:MidMarketRate",
    "pairwise": "peerwatt.market.pairwise:Pairwise",
    "pay_as_bid": "peerwatt.market.pay_as_bid:PayAsBid",
    "bilateral": "peerwatt.market.bilateral:Bilateral",
    "community": "peerwatt.market.community:Community",
    "double_auction": "peerwatt.market.auction:DoubleAuction",
}


MECHANISMS: Registry[MechanismFactory] = Registry("mechanism", _SHIPPED)
"""All mechanisms by name."""

mechanism = MECHANISMS.register
"""Decorator that registers a mechanism's class or factory under a name."""


def make_mechanism(name: str, /, **options: Any) -> Mechanism:
    """Build a mechanism from its name and the options of a scenario.

    Args:
        name: registered name.
        **options: keyword options of the mechanism, e.g. ``k`` of the double auction.

    Raises:
        ScenarioError: an unknown name, or options that the mechanism does not have or refuses.
    """
    return construct(MECHANISMS, name, options)
