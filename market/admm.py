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
from peerwatt.market.negotiated import PERFECT, Negotiated
from peerwatt.market.negotiation import negotiate
from peerwatt.market.rounds import Settings

__all__ = ["Admm", "admm"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Admm(Negotiated):
    """Consensus ADMM; the options are those of `admm` and of `Communication`."""

    name: ClassVar[str] = "admm"
    relaxation: float = 1.86

    def weights(self) -> tuple[float, float]:
        """Both are half of the relaxation."""
        return _weights(self.relaxation)


def admm(
    book: QuadraticBook,
    rng: np.random.Generator | None = None,
    *,
    relaxation: float = 1.86,
    tolerance: float = 1e-4,
    max_rounds: int = 10_000,
    communication: Communication = PERFECT,
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
    settings = Settings(*_weights(relaxation), tolerance, max_rounds, communication)
    return negotiate(book, rng, settings=settings).clearing


def _weights(relaxation: float) -> tuple[float, float]:
    if not 0.0 < relaxation < 2.0:
        raise ScenarioError(Fault("negotiation", f"'relaxation' is {relaxation!r}", "above 0 and below 2"))
    return 0.5 * relaxation, 0.5 * relaxation
