"""How a peer values its power: from flexible demand to bids.

A flexible load has a falling marginal utility. At its usual consumption the marginal utility equals the
supplier's price, so without a market nothing changes; at the upper end of its band it equals the feed-in
price. In terms of the net power P of the peer this is the quadratic cost of Marques et al., eq. (2),

    C(P) = a/2 P^2 + b P,      C'(P) = a P + b,      a = (supply - feed_in) / band.

A peer acts in a period either as consumer or as producer (eq. (1e), (1f)), by the sign of its net power at
usual consumption. Without trading, a consumer stays at usual consumption, a producer uses its own surplus up to
the band: that is its *firm* power. Trading moves it from there by up to `room_mw`:

    consumer:  P in [firm - room, firm], C' from supply down to feed_in
    producer:  P in [firm, firm + room], C' from feed_in up to supply

A peer with a cost function of its own (`peerwatt.agents.costs`) has these from there; its firm power is what it does
with the supplier alone, and what it leaves of its forecast is less consumption or less generation.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from peerwatt.agents.devices import CURTAIL, N_PRODUCTS, RAISE, REDUCE
from peerwatt.agents.messages import BoolArray, FloatArray, IntArray
from peerwatt.agents.settings import TariffSettings

__all__ = ["N_SEGMENTS", "N_STEPS", "Position"]

N_SEGMENTS = 2
"""Segments of a peer's offer in bilateral trading: the firm quantity, then its flexibility."""

N_STEPS = 4
"""Steps of a peer's bid in an auction: the firm quantity, then its flexibility in equal parts."""


@dataclass(frozen=True, slots=True)
class Position:
    """What every peer brings to the market of one period; arrays (n_peers,).

    Attributes:
        usual_mw: net power at usual consumption.
        firm_mw: net power without trading.
        room_mw: by how much trading can move it, not negative.
        producer: whether it sells in this period.
        slope: coefficient a of the cost, EUR/MW2h.
        marginal: marginal cost C' at the firm power, EUR/MWh.
        steered: whether its power follows a cost function of its own, at the expense of its forecast.
    """

    usual_mw: FloatArray
    firm_mw: FloatArray
    room_mw: FloatArray
    producer: BoolArray
    slope: FloatArray
    marginal: FloatArray
    steered: BoolArray

    @classmethod
    def of(cls, usual_mw: FloatArray, band_mw: FloatArray, tariff: TariffSettings) -> Position:
        """Find the peers' positions.

        Args:
            usual_mw: (n_peers,) net power at usual consumption.
            band_mw: (n_peers,) how much consumption can rise, positive.
            tariff: the outside option.
        """
        producer = usual_mw > 0.0
        room = np.where(producer, np.minimum(band_mw, usual_mw), band_mw)
        firm = np.where(producer, usual_mw - room, usual_mw)
        spread = tariff.supply_eur_per_mwh - tariff.feed_in_eur_per_mwh
        slope = np.divide(spread, band_mw, out=np.zeros_like(band_mw), where=band_mw > 0.0)
        marginal = tariff.supply_eur_per_mwh - np.where(producer, slope * room, 0.0)
        return cls(usual_mw, firm, room, producer, slope, marginal, np.zeros(usual_mw.shape, dtype=np.bool_))

    def of_rows(self, rows: IntArray) -> Position:
        """The positions of some peers."""
        return Position(
            self.usual_mw[rows],
            self.firm_mw[rows],
            self.room_mw[rows],
            self.producer[rows],
            self.slope[rows],
            self.marginal[rows],
            self.steered[rows],
        )

    def departure(self, change_mw: FloatArray | float) -> tuple[FloatArray, FloatArray]:
        """By what the peers depart from their usual power when trading moves them from the firm power.

        Args:
            change_mw: (n_peers,) by how much trading moves net power.

        Returns:
            Consumption beyond the usual (n_peers,), and what peers with a cost function of their own do with their
            devices (n_peers, n_products), both for `Outlook.net`.
        """
        extra = self.usual_mw - self.firm_mw - change_mw
        done = np.zeros((len(extra), N_PRODUCTS))
        if self.steered.any():
            own = np.where(self.steered, extra, 0.0)
            done[:, REDUCE] = np.where(self.producer, 0.0, np.maximum(-own, 0.0))
            done[:, CURTAIL] = np.where(self.producer, np.maximum(own, 0.0), 0.0)
            done[:, RAISE] = np.where(self.producer, 0.0, np.maximum(own, 0.0))
            extra = np.where(self.steered, 0.0, extra)
        return extra, done

    def committed(self, activated_mw: FloatArray) -> Position:
        """The positions when flexibility has been sold to the DSO before trading.

        Args:
            activated_mw: (n_peers, n_products) activations.
        """
        if not activated_mw.any():
            return self
        firm = self.firm_mw + activated_mw[:, REDUCE] - activated_mw[:, CURTAIL] - activated_mw[:, RAISE]
        firm = np.where(self.producer, np.maximum(firm, 0.0), np.minimum(firm, 0.0))
        room = np.maximum(self.room_mw - activated_mw[:, RAISE], 0.0)
        moved = np.where(self.producer, self.room_mw - room, 0.0)  # a prosumer consumes that much more before it sells
        moved = np.where(self.steered, firm - self.firm_mw, moved)
        return replace(self, firm_mw=firm, room_mw=room, marginal=self.marginal + self.slope * moved)

    def released(self, p_mw: FloatArray) -> Position:
        """The positions when generation that had to run no longer has to: it becomes room for trading.

        Args:
            p_mw: (n_peers,) how much of it, at most the firm power of producers.
        """
        if not p_mw.any():
            return self
        return replace(
            self,
            firm_mw=self.firm_mw - p_mw,
            room_mw=self.room_mw + p_mw,
            marginal=self.marginal - self.slope * p_mw,
        )

    def capped(self, room_mw: FloatArray) -> Position:
        """The positions when trading must not move peers by more than (n_peers,)."""
        return self if (self.room_mw <= room_mw).all() else replace(self, room_mw=np.minimum(self.room_mw, room_mw))

    def asked_for(self, p_mw: FloatArray, price_eur_per_mwh: FloatArray) -> Position:
        """The positions when some are virtual loads, which take what was asked for at a price, and nothing else.

        Args:
            p_mw: (n_peers,) positive to draw, negative to feed in; 0 for all others.
            price_eur_per_mwh: (n_peers,) at most paid, or at least wanted.
        """
        asked = p_mw != 0.0
        if not asked.any():
            return self
        return replace(
            self,
            room_mw=np.where(asked, np.abs(p_mw), self.room_mw),
            producer=np.where(asked, p_mw < 0.0, self.producer),
            slope=np.where(asked, 0.0, self.slope),
            marginal=np.where(asked, price_eur_per_mwh, self.marginal),
        )

    def restrained(self, may_feed: BoolArray, may_draw: BoolArray) -> Position:
        """The positions of peers that must not move by themselves: their firm power is all they can trade.

        Args:
            may_feed: (n_peers,) whether it may feed in more than without trading.
            may_draw: (n_peers,) whether it may draw more.
        """
        free = np.where(self.producer, may_feed, may_draw)
        return self if free.all() else replace(self, room_mw=np.where(free, self.room_mw, 0.0))

    def steps(self, limit: FloatArray, tariff: TariffSettings) -> tuple[FloatArray, FloatArray]:
        """Price-quantity steps for an auction.

        Args:
            limit: (n_peers,) limit price of the firm quantity, EUR/MWh.
            tariff: the outside option.

        Returns:
            Power (MW, positive to sell) and limit price, each (n_peers, N_STEPS).
        """
        part = (np.arange(N_STEPS - 1) + 0.5) / (N_STEPS - 1)  # middle of each step, as a share of the room
        sign = np.where(self.producer, 1.0, -1.0)
        power = np.empty((len(limit), N_STEPS))
        power[:, 0] = self.firm_mw
        power[:, 1:] = (sign * self.room_mw / (N_STEPS - 1))[:, None]
        price = np.empty_like(power)
        price[:, 0] = limit
        price[:, 1:] = self.marginal[:, None] + (sign * self.slope * self.room_mw)[:, None] * part
        # What a buyer pays on top of the price leaves it less for the price.
        price[~self.producer] -= tariff.network_fee_eur_per_mwh
        return power, price

    def cost(
        self,
        limit: FloatArray,
        tariff: TariffSettings,  # noqa: ARG002 - called like `steps`
    ) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
        """Bounds and cost coefficients of what the peer offers to trade bilaterally, in two segments.

        The first segment is the firm power, worth the limit price: what is not traded of it is left to the
        supplier. The second is the flexibility, worth its marginal utility.

        Args:
            limit: (n_peers,) limit price of the firm quantity, EUR/MWh.
            tariff: not needed here.

        Returns:
            p_min_mw, p_max_mw, a (EUR/MW2h), b (EUR/MWh), each (n_peers, 2).
        """
        offered = np.stack([np.abs(self.firm_mw), self.room_mw], axis=1)
        sells = self.producer[:, None]
        slope = np.stack([np.zeros_like(limit), self.slope], axis=1)
        return (
            np.where(sells, 0.0, -offered),
            np.where(sells, offered, 0.0),
            slope,
            np.stack([limit, self.marginal], axis=1),
        )

    def truthful(self, tariff: TariffSettings) -> FloatArray:
        """Value of the firm quantity: what the supplier would take or pay for it, EUR/MWh, (n_peers,)."""
        return np.where(self.producer, tariff.feed_in_eur_per_mwh, tariff.supply_eur_per_mwh)

    def utility_eur(
        self, p_mw: FloatArray, tariff: TariffSettings, period_h: float, activated_mw: FloatArray | None = None
    ) -> FloatArray:
        """Value of the consumption that trading and the DSO added to that of the firm power, EUR.

        Args:
            p_mw: (n_peers,) net power after trading, forecast.
            tariff: the outside option.
            period_h: length of the period, h.
            activated_mw: (n_peers, n_products) activations, if any.
        """
        moved = p_mw - self.firm_mw
        if activated_mw is None:
            return -(self.marginal * moved + 0.5 * self.slope * moved**2) * period_h
        moved = moved - activated_mw[:, RAISE]
        reduced = activated_mw[:, REDUCE]
        moved = np.where(self.steered, moved + reduced, moved)
        given_up = np.where(self.steered, 0.0, tariff.supply_eur_per_mwh * reduced)
        return -(self.marginal * moved + 0.5 * self.slope * moved**2 + given_up) * period_h
