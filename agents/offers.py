"""What peers can do on top of their schedule when the DSO needs flexibility, and what they want for it.

Three products, in this order: consume less (upward), generate less and consume more (both downward). What is traded
with a peer is committed: energy that is sold is not curtailed, energy that is bought is consumed (D5.3, section
5.2.2: volumes realised in the peer-to-peer market are cleared from the original order book). So who has sold t offers
downward at most what its schedule has beyond t, all its products together, the cheaper one first; who has bought t
offers upward at most what it draws beyond t.

A peer wants what it costs it, and a mark-up. Consuming less loses the marginal utility of the usual consumption,
which is the supplier's price, and saves the supplier's price: nothing on balance. Generating less loses the feed-in
price. Consuming more pays the supplier's price for a utility that falls along the band (`peerwatt.agents.flexibility`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from peerwatt.agents.coordination import LfmSettings
from peerwatt.agents.devices import CURTAIL, RAISE, REDUCE, Outlook
from peerwatt.agents.flexibility import Position
from peerwatt.agents.messages import FloatArray, IntArray
from peerwatt.agents.settings import TariffSettings

__all__ = ["DIRECTION", "PRODUCTS", "Markups", "flexibility_offers"]

PRODUCTS = ("consume_less", "generate_less", "consume_more")
"""Names of the products, by column (`peerwatt.agents.devices`)."""

DIRECTION: IntArray = np.array([1, -1, -1])
"""Direction of each product: 1 upward (feeds in more, or draws less), -1 downward."""


@dataclass(frozen=True, slots=True)
class Markups:
    """What peers want beyond their cost, EUR/MWh; arrays (n_peers,).

    Attributes:
        up: for consuming less.
        down: for generating less and for consuming more.
    """

    up: FloatArray
    down: FloatArray

    @classmethod
    def draw(cls, settings: LfmSettings, n_peers: int, rng: np.random.Generator) -> Markups:
        """Draw uniformly within the settings' ranges."""
        share = rng.random((2, n_peers))
        ranges = (settings.up_markup_eur_per_mwh, settings.down_markup_eur_per_mwh)
        up, down = (low + (high - low) * each for (low, high), each in zip(ranges, share, strict=True))
        return cls(up, down)

    def extended(self, n_peers: int) -> Markups:
        """With rows of nothing up to a number of peers, for those who offer nothing."""
        more = np.zeros(n_peers - len(self.up))
        return Markups(np.append(self.up, more), np.append(self.down, more))

    def of_rows(self, rows: IntArray) -> Markups:
        """What some peers want."""
        return Markups(self.up[rows], self.down[rows])


def flexibility_offers(
    outlook: Outlook,
    position: Position,
    p_traded_mw: FloatArray,
    p_change_mw: FloatArray,
    activated_mw: FloatArray,
    markups: Markups,
    settings: LfmSettings,
    tariff: TariffSettings,
) -> tuple[FloatArray, FloatArray]:
    """What every peer offers.

    Args:
        outlook: its forecast.
        position: its position before trading.
        p_traded_mw: (n_peers,) net power sold to other peers, as far as it knows.
        p_change_mw: (n_peers,) by how much that moves its net power from the firm power.
        activated_mw: (n_peers, n_products) what has been activated of it in this period.
        markups: what it wants beyond its cost.
        settings: which shares are flexible.
        tariff: the outside option.

    Returns:
        Power, MW, and price, EUR/MWh, each (n_peers, n_products).
    """
    load, generation = -outlook.load_mw, outlook.generation_mw
    _, own = position.departure(p_change_mw)  # what a cost function of one's own does with devices anyway
    gone = own + activated_mw
    extra = np.maximum(position.usual_mw - position.firm_mw - p_change_mw, 0.0) + activated_mw[:, RAISE]
    scheduled = position.firm_mw + p_change_mw + activated_mw @ DIRECTION
    # Bought energy is consumed, sold energy fed in: no further than the schedule is from the trade.
    may_rise = np.where(p_traded_mw < 0.0, np.maximum(p_traded_mw - scheduled, 0.0), np.inf)
    may_fall = np.where(p_traded_mw > 0.0, np.maximum(scheduled - p_traded_mw, 0.0), np.inf)
    flexible_load = np.minimum(settings.load_share * load - activated_mw[:, REDUCE], load - gone[:, REDUCE])
    reduce = np.clip(flexible_load, 0.0, may_rise)
    share = settings.generation_share * generation
    flexible_generation = np.minimum(share - activated_mw[:, CURTAIL], generation - gone[:, CURTAIL])
    curtail = np.clip(flexible_generation, 0.0, may_fall)
    more = np.clip(outlook.band_mw - extra, 0.0, may_fall)
    curtail_first = tariff.feed_in_eur_per_mwh <= _more_cost(position, extra, more, p_change_mw, tariff)
    curtail = np.where(curtail_first, curtail, np.minimum(curtail, np.maximum(may_fall - more, 0.0)))
    more = np.minimum(more, np.maximum(may_fall - curtail, 0.0))
    # What a cost function of one's own makes of half of it; without one it is the supplier's price that is lost.
    at = position.marginal + position.slope * p_change_mw
    reduce_cost = np.maximum(at + 0.5 * position.slope * reduce - tariff.supply_eur_per_mwh, 0.0)
    more_cost = _more_cost(position, extra, more, p_change_mw, tariff)
    price = (
        np.where(position.steered, reduce_cost, 0.0) + markups.up,
        tariff.feed_in_eur_per_mwh + markups.down,
        more_cost + markups.down,
    )
    return np.stack((reduce, curtail, more), axis=1), np.stack(price, axis=1)


def _more_cost(
    position: Position, extra: FloatArray, more: FloatArray, p_change_mw: FloatArray, tariff: TariffSettings
) -> FloatArray:
    """What consuming `more` MW on top of what is consumed beyond the usual costs each per MWh, (n_peers,)."""
    spread = tariff.supply_eur_per_mwh - tariff.feed_in_eur_per_mwh
    utility_lost = position.slope * (extra + 0.5 * more) - np.where(position.producer, spread, 0.0)
    at = position.marginal + position.slope * p_change_mw
    own_cost = tariff.supply_eur_per_mwh - at + 0.5 * position.slope * more
    return np.maximum(np.where(position.steered, own_cost, utility_lost), 0.0)
