"""What a DSO tells a market: which trades are blocked, and what each costs or earns besides its price."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Self

import numpy as np

from peerwatt.agents.messages import BoolArray, FloatArray, IntArray

__all__ = ["NO_BRANCH", "SignalKind", "Signals"]

NO_BRANCH = -1
"""In `Signals.cause`: the trade is not blocked."""


class SignalKind(StrEnum):
    """What signals are.

    Attributes:
        BLOCKING: trades that must not be closed.
        INCENTIVE: rewards and penalties.
        FEE: prices for the use of the network.
        WEIGHT: weights in the matching that nobody pays.
    """

    BLOCKING = "blocking"
    INCENTIVE = "incentive"
    FEE = "fee"
    WEIGHT = "weight"


@dataclass(frozen=True, slots=True)
class Signals:
    """Signals for every ordered pair of peers; [i, j] is about i selling to j.

    Costs are EUR per MWh traded and count on top of the price, for the seller and for the buyer: they make a trade
    less attractive, negative ones make it more attractive. What of them is paid to the DSO is in `seller_fee` and
    `buyer_fee`; a negative fee is an incentive that the DSO pays. Costs that are not paid are mere weights in
    the matching.

    Attributes:
        kind: what they are.
        blocked: trades that must not be closed. (n_peers, n_peers)
        cause: position of the line or transformer for whose sake a trade is blocked, else `NO_BRANCH`.
            (n_peers, n_peers)
        seller_cost, buyer_cost: what counts in the matching. (n_peers, n_peers)
        seller_fee, buyer_fee: what is paid to the DSO. (n_peers, n_peers)
        at_risk: positions of the lines and transformers that the signals protect. (n_at_risk,)
        feed_cause, draw_cause: position of the branch for whose sake a peer must not move by itself, feeding in
            more or drawing more than without trading, else `NO_BRANCH`. (n_peers,)
    """

    kind: SignalKind
    blocked: BoolArray
    cause: IntArray
    seller_cost: FloatArray
    buyer_cost: FloatArray
    seller_fee: FloatArray
    buyer_fee: FloatArray
    at_risk: IntArray
    feed_cause: IntArray
    draw_cause: IntArray

    @classmethod
    def blocking(cls, cause: IntArray, feed_cause: IntArray, draw_cause: IntArray, at_risk: IntArray) -> Self:
        """Signals that only block; fields as in the class."""
        blocked, zero = cause != NO_BRANCH, np.zeros(cause.shape)
        return cls(SignalKind.BLOCKING, blocked, cause, zero, zero, zero, zero, at_risk, feed_cause, draw_cause)

    @classmethod
    def prices(cls, kind: SignalKind, seller: FloatArray, buyer: FloatArray, at_risk: IntArray) -> Self:
        """Signals that only cost; weights are not paid.

        Args:
            kind: what they are.
            seller: (n_peers, n_peers) cost of the seller, EUR per MWh traded.
            buyer: (n_peers, n_peers) cost of the buyer.
            at_risk: lines and transformers that they protect.
        """
        free = np.zeros(seller.shape, dtype=np.bool_)
        zero = np.zeros(seller.shape)
        fees = (zero, zero) if kind is SignalKind.WEIGHT else (seller, buyer)
        nobody = np.full(len(seller), NO_BRANCH)
        return cls(kind, free, np.full(seller.shape, NO_BRANCH), seller, buyer, *fees, at_risk, nobody, nobody)
