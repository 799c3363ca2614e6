"""The supplier: sells what peers lack and takes what they have left over, at its tariffs.

Bills are made at the meter. With d the delivered and t the traded net power of a peer, the part of the trade
that the meter covers is

    c = clip(d, min(t, 0), max(t, 0));

c - t is imbalance (sold but not delivered, or bought but not consumed), d - c is left to the supplier.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from peerwatt.agents.context import Process, Role
from peerwatt.agents.messages import FloatArray, IntArray, MeterReadings, ProposedTrades
from peerwatt.agents.settings import TariffSettings
from peerwatt.market.settlement import Entries, Reason, settle_imbalance, settle_residual

__all__ = ["Supplier", "bills", "loss_bills"]


class Supplier(Role):
    """Bills the peers when the meters have been read, and the DSO for losses."""

    def run(self) -> Process:
        """React to traded quantities, then to the meter readings."""
        traded = np.zeros(len(self.context.population))
        while True:
            yield self.inbox.arrival()
            for message in self.inbox.take():
                if type(message) is ProposedTrades:
                    traded = np.zeros(len(traded))
                    np.add.at(traded, message.seller, message.p_mw)
                    np.subtract.at(traded, message.buyer, message.p_mw)
                elif type(message) is MeterReadings:
                    self._bill(message.p_mw, traded, message.losses_mw)
                    traded = np.zeros(len(traded))

    def _bill(self, delivered_mw: FloatArray, traded_mw: FloatArray, losses_mw: float) -> None:
        context, n = self.context, len(delivered_mw)
        entries, tariff, period_h = context.now.entries, context.tariff, context.period_h
        entries += bills(delivered_mw, traded_mw, tariff, period_h, peer=np.arange(n), supplier=n)
        entries.append(loss_bills(losses_mw, tariff, period_h, supplier=n, dso=n + 1))


def bills(
    delivered_mw: FloatArray,
    traded_mw: FloatArray,
    tariff: TariffSettings,
    period_h: float,
    *,
    peer: IntArray,
    supplier: ArrayLike,
) -> list[Entries]:
    """What peers owe the supplier and it owes them, in one period or in many with accounts of their own.

    Args:
        delivered_mw: (n,) what the meters say.
        traded_mw: (n,) net power sold to other peers.
        tariff: prices.
        period_h: length of a period, h.
        peer: (n,) account of each peer.
        supplier: account of the supplier, one or (n,).
    """
    covered = np.clip(delivered_mw, np.minimum(traded_mw, 0.0), np.maximum(traded_mw, 0.0))
    usual, short = (tariff.supply_eur_per_mwh, tariff.feed_in_eur_per_mwh), tariff.shortfall_eur_per_mwh
    left, deviation = delivered_mw - covered, covered - traded_mw
    return [
        settle_residual(left, *usual, period_h=period_h, supplier=supplier, account=peer),
        settle_imbalance(
            deviation, short, tariff.excess_eur_per_mwh, period_h=period_h, supplier=supplier, account=peer
        ),
    ]


def loss_bills(
    losses_mw: ArrayLike, tariff: TariffSettings, period_h: float, *, supplier: ArrayLike, dso: ArrayLike
) -> Entries:
    """What the DSO owes the supplier for losses, where they are known.

    Args:
        losses_mw: in one period, or in many, (n,).
        tariff: prices.
        period_h: length of a period, h.
        supplier: account of the supplier, one or (n,).
        dso: account of the DSO, one or (n,).
    """
    cost = np.asarray(losses_mw, dtype=np.float64) * period_h * tariff.losses_eur_per_mwh
    return Entries.of(dso, supplier, Reason.LOSSES, np.where(np.isfinite(cost), cost, 0.0))
