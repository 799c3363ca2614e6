"""Consensus ADMM as a mechanism: a peer moves as far towards its partner's price as towards its power.

Boyd et al. 2011, section 7.1, with over-relaxation (Eckstein and Bertsekas 1992); see `peerwatt.market.consensus`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from peerwatt.errors import Fault, ScenarioError
from peerwatt.market.book import QuadraticBook
from peerwatt.market.clearing import Clearing
from peerwatt.market.communication import Communication
from peerwatt.market.mechanism import BookKind
from peerwatt.market.negotiation import negotiate
from peerwatt.market.rounds import Settings

__all__ = ["Admm", "admm"]

_PERFECT = Communication()


@dataclass(frozen=True, slots=True)
class Admm:
    """Consensus ADMM; the options are those of `admm` and of `Communication`."""

    name: ClassVar[str] = "admm"
    book: ClassVar[BookKind] = BookKind.QUADRATIC
    relaxation: float = 1.86
    tolerance: float = 1e-4
    max_rounds: int = 10_000
    loss: float = 0.0
    delay_rounds: int = 0
    activity: float = 1.0

    def __post_init__(self) -> None:
        _ = self.negotiation

    @property
    def negotiation(self) -> Settings:
        """How agents negotiate."""
        channel = Communication(self.loss, self.delay_rounds, self.activity)
        return _settings(self.relaxation, self.tolerance, self.max_rounds, channel)

    def clear(self, book: QuadraticBook, rng: np.random.Generator) -> Clearing:
        """Clear one book, see `admm`."""
        return negotiate(book, rng, settings=self.negotiation).clearing


def admm(
    book: QuadraticBook,
    rng: np.random.Generator | None = None,
    *,
    relaxation: float = 1.86,
    tolerance: float = 1e-4,
    max_rounds: int = 10_000,
    communication: Communication = _PERFECT,
) -> Clearing:
    """Clear a book by consensus ADMM.

    Args:
        book: costs, bounds, pairs and their costs.
        rng: stream of loss, delay and activity; a fixed one if None.
        relaxation: above 0 and below 2; 1 is plain ADMM.
        tolerance: of the primal and of the dual residual.
        max_rounds: most rounds.
        communication: what happens to messages.

    Raises:
        BookError: the book contradicts itself.
        ScenarioError: an option is out of its range.
    """
    return negotiate(book, rng, settings=_settings(relaxation, tolerance, max_rounds, communication)).clearing


def _settings(relaxation: float, tolerance: float, max_rounds: int, communication: Communication) -> Settings:
    if not 0.0 < relaxation < 2.0:
        raise ScenarioError(Fault("negotiation", f"'relaxation' is {relaxation!r}", "above 0 and below 2"))
    weight = 0.5 * relaxation
    return Settings(weight, weight, tolerance, max_rounds, communication)
