"""What mechanisms whose agents negotiate have in common: their options, and how they clear.

They differ in the weights of a partner's price and of its power, see `peerwatt.market.consensus`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from peerwatt.market.book import QuadraticBook
from peerwatt.market.clearing import Clearing
from peerwatt.market.communication import Communication
from peerwatt.market.mechanism import BookKind
from peerwatt.market.negotiation import negotiate
from peerwatt.market.rounds import Settings

__all__ = ["PERFECT", "Negotiated"]

PERFECT = Communication()
"""Messages that arrive at once and always."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Negotiated:
    """Base of the mechanisms.

    Attributes:
        tolerance: of the primal and of the dual residual.
        max_rounds: most rounds.
        loss, delay_rounds, activity: what happens to messages, see `Communication`.
    """

    book: ClassVar[BookKind] = BookKind.QUADRATIC
    tolerance: float = 1e-4
    max_rounds: int = 10_000
    loss: float = 0.0
    delay_rounds: int = 0
    activity: float = 1.0

    def __post_init__(self) -> None:
        _ = self.negotiation

    def weights(self) -> tuple[float, float]:
        """Weights of the partner's price and of its power.

        Raises:
            ScenarioError: an option is out of its range.
        """
        raise NotImplementedError

    @property
    def negotiation(self) -> Settings:
        """How agents negotiate."""
        channel = Communication(self.loss, self.delay_rounds, self.activity)
        return Settings(*self.weights(), self.tolerance, self.max_rounds, channel)

    def clear(self, book: QuadraticBook, rng: np.random.Generator) -> Clearing:
        """Clear one book by negotiation."""
        return negotiate(book, rng, settings=self.negotiation).clearing
