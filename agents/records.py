"""What a period keeps of the trading of capacity, for the tables and the settlement."""

from __future__ import annotations

from dataclasses import dataclass

from peerwatt.agents.messages import FloatArray, IntArray
from peerwatt.market.capacity import CapacityClearing
from peerwatt.market.clearing import Trades

__all__ = ["CapacityRound"]


@dataclass(frozen=True, slots=True)
class CapacityRound:
    """What one round of capacity trading received, who provides what, and who pays whom; arrays (n_rows,).

    Attributes:
        cycle: number of the round in the period.
        account: who offered, rows of the population.
        bus: where, positions of buses.
        product: number of the product.
        offered_mw, activated_mw: what it can provide and what it provides, for itself and for others; positive.
        bid_eur_per_mwh: what is wanted.
        paid_eur: what other peers pay for it, once it has been delivered.
        trades: between peers, rows of the population; prices per MWh of capacity that is held.
        missing_mw: what was asked for and nobody provides.
        clearing: the market's result, prices per MW and period.
    """

    cycle: int
    account: IntArray
    bus: IntArray
    product: IntArray
    offered_mw: FloatArray
    activated_mw: FloatArray
    bid_eur_per_mwh: FloatArray
    paid_eur: FloatArray
    trades: Trades
    missing_mw: float
    clearing: CapacityClearing
