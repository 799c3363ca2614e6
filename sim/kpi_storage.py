"""Key figures of stored energy, and what it means for those of energy.

A run is a finite window. What batteries hold at its end more than at its start was generated in it and not used in it;
what they hold less was used in it and not generated in it. So both are told, and the first does not count as used
generation, nor the second as consumption that generation of the window met.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from peerwatt.sim.columns import numbers

__all__ = ["Stored"]


@dataclass(frozen=True, slots=True)
class Stored:
    """Energy in all batteries together, and what went through them, MWh.

    Attributes:
        initial_mwh, final_mwh: energy in them at the start and at the end.
        given_mwh: what they discharged less what they charged, at their connections.
    """

    initial_mwh: float
    final_mwh: float
    given_mwh: float

    @classmethod
    def of(cls, agent: pa.Table, peer: pa.Table | None, hours: float) -> Stored:
        """From tables `agent` and `peer` of a run with periods of some hours."""
        soc, period = np.nan_to_num(numbers(agent, "soc_mwh")), numbers(agent, "period")
        final = float(soc[period == period.max()].sum()) if len(period) else 0.0
        initial = 0.0 if peer is None else float(np.nansum(numbers(peer, "soc_initial_mwh")))
        return cls(initial, final, float(np.nansum(numbers(agent, "p_storage_mw"))) * hours)

    @property
    def change_mwh(self) -> float:
        """By how much more is in them at the end than at the start."""
        return self.final_mwh - self.initial_mwh

    @property
    def filled_mwh(self) -> float:
        """Energy that they took and kept."""
        return max(self.change_mwh, 0.0)

    @property
    def emptied_mwh(self) -> float:
        """Energy that they held at the start and hold no more."""
        return max(-self.change_mwh, 0.0)

    def figures(self, feed_in_eur_per_mwh: float | None) -> dict[str, float]:
        """Key figures, see `peerwatt.sim.kpi`."""
        figures = {
            "stored_initial_mwh": self.initial_mwh,
            "stored_final_mwh": self.final_mwh,
            "stored_change_mwh": self.change_mwh,
            "battery_losses_mwh": -self.given_mwh - self.change_mwh,
        }
        if feed_in_eur_per_mwh is not None:
            figures["stored_change_eur"] = self.change_mwh * feed_in_eur_per_mwh
        return figures
