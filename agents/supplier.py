"""The supplier: sells what peers lack and takes what they have left over, at its tariffs.

Bills are made at the meter. With d the delivered and t the traded net power of a peer, the part of the trade
that the meter covers is

    c = clip(d, min(t, 0), max(t, 0));

c - t is imbalance (sold but not delivered, or bought but not consumed), d - c is left to the supplier.
"""

from __future__ import annotations

import numpy as np

from peerwatt.agents.context import Process, Role
from peerwatt.agents.messages import FloatArray, MeterReadings, ProposedTrades
from peerwatt.market.settlement import Entries, Reason, settle_imbalance, settle_residual

__all__ = ["Supplier"]


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
        context, tariff = self.context, self.context.tariff
        supplier = len(delivered_mw)
        covered = np.clip(delivered_mw, np.minimum(traded_mw, 0.0), np.maximum(traded_mw, 0.0))
        entries = context.now.entries
        entries.append(
            settle_residual(
                delivered_mw - covered,
                tariff.supply_eur_per_mwh,
                tariff.feed_in_eur_per_mwh,
                period_h=context.period_h,
                supplier=supplier,
            )
        )
        entries.append(
            settle_imbalance(
                covered - traded_mw,
                tariff.shortfall_eur_per_mwh,
                tariff.excess_eur_per_mwh,
                period_h=context.period_h,
                supplier=supplier,
            )
        )
        if np.isfinite(losses_mw):
            cost = losses_mw * context.period_h * tariff.losses_eur_per_mwh
            entries.append(Entries.of(supplier + 1, supplier, Reason.LOSSES, cost))
