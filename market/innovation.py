"""Relaxed consensus + innovation as a mechanism (Sorin, Bobo and Pinson 2019).

Both sides of a pair keep a price of their own. It moves by consensus with the partner's price and by innovation
with the mismatch of both powers, and the power moves towards what is best at that price:

    lambda_h = pi_h - beta (pi_h - pi_m) - gamma rho sigma_h (x_h - x_m)
    x       <- argmin C_n + C~_n - sum_h sigma_h lambda_h x_h + rho_h / 2 (x_h - last x_h)^2

The first line is that of the paper. Its weights decay with the rounds; here they stay. Its powers take a step of
a projected gradient, with multipliers for the bounds of P_n that take steps too; here the second line is solved
exactly, so that bounds always hold and costs may be linear, and pi_h is the price at which x_h is the best. With
equal weights it is consensus ADMM, see `peerwatt.market.consensus`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from peerwatt.market.book import QuadraticBook
from peerwatt.market.clearing import Clearing
from peerwatt.market.communication import Communication
from peerwatt.market.negotiated import PERFECT, Negotiated
from peerwatt.market.negotiation import negotiate
from peerwatt.market.rounds import Settings

__all__ = ["ConsensusInnovation", "consensus_innovation"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsensusInnovation(Negotiated):
    """Relaxed consensus + innovation; the options are those of `consensus_innovation` and of `Communication`."""

    name: ClassVar[str] = "consensus_innovation"
    consensus: float = 0.5
    innovation: float = 0.9

    def weights(self) -> tuple[float, float]:
        """Those of consensus and of innovation."""
        return self.consensus, self.innovation


def consensus_innovation(
    book: QuadraticBook,
    rng: np.random.Generator | None = None,
    *,
    consensus: float = 0.5,
    innovation: float = 0.9,
    tolerance: float = 1e-4,
    max_rounds: int = 10_000,
    communication: Communication = PERFECT,
) -> Clearing:
    """Clear a book by relaxed consensus + innovation.

    Args:
        book: costs, bounds, pairs and their costs.
        rng: stream of loss, delay and activity; a fixed one if None.
        consensus: weight of the partner's price, above 0 and below 1.
        innovation: weight of the partner's power, above 0 and below 1.
        tolerance: of the primal and of the dual residual.
        max_rounds: most rounds.
        communication: what happens to messages.

    Raises:
        BookError: the book contradicts itself.
        ScenarioError: an option is out of its range.
    """
    settings = Settings(consensus, innovation, tolerance, max_rounds, communication)
    return negotiate(book, rng, settings=settings).clearing
