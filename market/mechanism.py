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

import inspect
from collections.abc import Callable
from enum import StrEnum
from typing import Any, Protocol, TypeAlias

import numpy as np

from peerwatt.errors import Fault, ScenarioError
from peerwatt.market.clearing import Clearing
from peerwatt.registry import Registry, nearest

__all__ = ["MECHANISMS", "BookKind", "Mechanism", "MechanismFactory", "make_mechanism", "mechanism"]


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


MechanismFactory: TypeAlias = Callable[..., Mechanism]

_SHIPPED = {
    "bilateral": "peerwatt.market.bilateral:Bilateral",
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
    factory = MECHANISMS.get(name, "mechanism")
    parameters = inspect.signature(factory).parameters.values()
    if not any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
        known = [parameter.name for parameter in parameters if parameter.kind is not parameter.VAR_POSITIONAL]
        faults = [
            Fault(f"mechanism '{name}'", f"unknown option '{option}'", _allowed(option, known))
            for option in options
            if option not in known
        ]
        faults += [
            Fault(f"mechanism '{name}'", f"option '{parameter.name}' is missing", "give it a value")
            for parameter in parameters
            if parameter.default is parameter.empty
            and parameter.kind in (parameter.KEYWORD_ONLY, parameter.POSITIONAL_OR_KEYWORD)
            and parameter.name not in options
        ]
        if faults:
            raise ScenarioError(faults)
    try:
        return factory(**options)
    except (TypeError, ValueError) as error:
        given = ", ".join(f"{option}={value!r}" for option, value in options.items())
        raise ScenarioError(Fault(f"mechanism '{name}'", f"refuses {given}: {error}", "see its options")) from error


def _allowed(option: str, known: list[str]) -> str:
    if not known:
        return "it has no options"
    hint = nearest(option, known)
    listed = f"options: {', '.join(known)}"
    return listed if hint.startswith("known") else f"{hint}; {listed}"
