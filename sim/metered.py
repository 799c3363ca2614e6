"""What became of the peers' power: used and generated behind the meter, what that was worth, what it would have cost.

One place for one period of one run, and for all periods of all replicas in lockstep: arrays are flat.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from peerwatt.agents.devices import CURTAIL, Outlook
from peerwatt.agents.directive import Directive
from peerwatt.agents.flexibility import Position
from peerwatt.agents.messages import FloatArray
from peerwatt.agents.settings import TariffSettings

__all__ = ["Metered", "payment_without_trading"]


@dataclass(frozen=True, slots=True)
class Metered:
    """What peers did; arrays (n_peers,).

    Attributes:
        p_load_mw: consumption, positive.
        p_generation_mw: generation.
        p_curtailed_mw: generation that was there, and that trading alone would have left to be used.
        utility_eur: value of the consumption that trading added.
        reference_payment_eur: what each would pay the supplier alone.
    """

    p_load_mw: FloatArray
    p_generation_mw: FloatArray
    p_curtailed_mw: FloatArray
    utility_eur: FloatArray
    reference_payment_eur: FloatArray

    @classmethod
    def of(
        cls,
        realised: Outlook,
        position: Position,
        battery_mw: FloatArray,
        followed_mw: FloatArray,
        activated_mw: FloatArray,
        directive: Directive,
        tariff: TariffSettings,
        period_h: float,
    ) -> Metered:
        """Work it out.

        Args:
            realised: what happened.
            position: what the peers brought to the market.
            battery_mw: (n_peers,) dispatch of the batteries.
            followed_mw: (n_peers,) by how much they moved for their trades.
            activated_mw: (n_peers, n_products) what they did for a flexibility market.
            directive: what they were ordered.
            tariff: the outside option.
            period_h: length of the period, h.
        """
        extra, done = directive.devices(position, followed_mw, activated_mw)
        less, curtailed, more = realised.possible(done).T
        own_choice = realised.possible(position.departure(followed_mw)[1])[:, CURTAIL]
        n = len(battery_mw)
        reference_mw, _ = Directive.none(n).schedule(realised, position, battery_mw, np.zeros(n))
        return cls(
            p_load_mw=extra - realised.load_mw + more - less,
            p_generation_mw=realised.generation_mw - curtailed,
            p_curtailed_mw=np.maximum(curtailed - own_choice, 0.0),
            utility_eur=position.utility_eur(
                position.firm_mw + followed_mw - directive.released_mw, tariff, period_h, activated_mw + directive.p_mw
            ),
            reference_payment_eur=payment_without_trading(reference_mw, tariff, period_h),
        )

    def at_meter(self, delivered_mw: FloatArray, battery_mw: FloatArray) -> Metered:
        """Return it with the consumption that the meters saw, where it depends on the voltage.

        Args:
            delivered_mw: (n_peers,) net power at the meters.
            battery_mw: (n_peers,) dispatch of the batteries.
        """
        return replace(self, p_load_mw=self.p_generation_mw + battery_mw - delivered_mw)


def payment_without_trading(p_mw: FloatArray, tariff: TariffSettings, period_h: float) -> FloatArray:
    """What each peer would pay the supplier alone, negative when it is paid; (n_peers,)."""
    price = np.where(p_mw < 0.0, tariff.supply_eur_per_mwh, tariff.feed_in_eur_per_mwh)
    return -p_mw * price * period_h
