"""Conduct of the mediator: whether it schedules what its peers' bids justify, or games the flexibility market.

D5.3, section 4.1.1, warns of a mediator that violates the network's limits on purpose and then sells the relief. A
conduct decides, for the flexible steps that the auction has not accepted, which of them the mediator schedules all the
same, at its own loss; what of that it offers to undo, and at which price; and it learns from what was bought:

    @conduct("reckless")
    class Reckless:
        def schedule(self, steps: OpenSteps, rng: np.random.Generator) -> BoolArray: ...

        def ask_eur_per_mwh(self, cheapest: FloatArray) -> FloatArray: ...

        def saw(self, relief: Relief) -> None: ...

        def learn(self, padding: Padding) -> None: ...

The keyword parameters of the constructor are the options of a scenario. A conduct knows what the mediator may know:
its peers' bids and connection points, the supplier's tariff, and what of its offers the flexibility market has
activated. It knows nothing of the grid.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

import numpy as np

from peerwatt.agents.messages import BoolArray, FloatArray, IntArray
from peerwatt.agents.padding import DOWN, UP, OpenSteps, Padding
from peerwatt.registry import Registry

__all__ = ["CONDUCTS", "DOWN", "UP", "Conduct", "OpenSteps", "Padding", "Relief", "Truthful", "conduct"]


@dataclass(frozen=True, slots=True)
class Relief:
    """What the flexibility market has bought of the peers' own flexibility, where the mediator had nothing to undo.

    Attributes:
        bus: connection point of each row. (n_rows,)
        activated_mw: of each direction, `UP` and `DOWN`. (n_rows, 2)
    """

    bus: IntArray
    activated_mw: FloatArray


class Conduct(Protocol):
    """What a mediator does beyond running the auction."""

    def schedule(self, steps: OpenSteps, rng: np.random.Generator) -> BoolArray:
        """Which flexible steps to schedule though nobody was matched with them, (n_steps,).

        Args:
            steps: flexible steps that the auction has not accepted.
            rng: random numbers for this purpose alone.
        """

    def ask_eur_per_mwh(self, cheapest: FloatArray) -> FloatArray:
        """What it wants for undoing what it has scheduled, by direction of the relief, (2,).

        Args:
            cheapest: (2,) the lowest price that any of its peers wants for its own relief; inf where none offers.
        """

    def saw(self, relief: Relief) -> None:
        """Take note of what a flexibility market has bought of the peers' own flexibility."""

    def learn(self, padding: Padding) -> None:
        """Take note of what became of what it has scheduled, at the end of a period."""


class Truthful:
    """Schedules what the auction has accepted and nothing else."""

    def schedule(self, steps: OpenSteps, rng: np.random.Generator) -> BoolArray:  # noqa: ARG002 - whatever they are
        """Nothing."""
        return np.zeros(len(steps), dtype=np.bool_)

    def ask_eur_per_mwh(self, cheapest: FloatArray) -> FloatArray:  # noqa: ARG002 - nothing to offer
        """Has nothing to offer."""
        return np.zeros(2)

    def saw(self, relief: Relief) -> None:
        """Does not matter."""

    def learn(self, padding: Padding) -> None:
        """Does not matter."""


ConductFactory: TypeAlias = Callable[..., Conduct]

CONDUCTS: Registry[ConductFactory] = Registry(
    "conduct",
    {
        "inc_dec": "peerwatt.agents.conducts.inc_dec:IncDec",
        "truthful": "peerwatt.agents.conducts:Truthful",
    },
)
"""All conducts by name."""

conduct: Callable[[str], Callable[[Any], Any]] = CONDUCTS.register
"""Decorator that registers a conduct's class or factory under a name."""
