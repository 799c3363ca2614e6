"""Peers with cost functions of their own (Marques et al., eq. (1) and (2)).

A unit of a kind that the scenario gives a cost function follows it, in place of the tariff: net power P in
[P_min, P_max] costs

    C(P) = a/2 P^2 + b P + d,

of a load the negative of its utility. Bounds are shares of the forecast, or of the rated power of what can be
dispatched; a is given per MW, or as the fall of the marginal utility over the whole forecast (sigma, so that
a = sigma / forecast). What a peer does with the supplier alone, its firm power, is where C' meets the supplier's price,
for a producer the feed-in price.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

import numpy as np

from peerwatt.agents.devices import Outlook
from peerwatt.agents.flexibility import Position
from peerwatt.agents.messages import BoolArray, FloatArray
from peerwatt.agents.settings import CostSettings, TariffSettings
from peerwatt.errors import Fault
from peerwatt.registry import nearest

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["ANY_GENERATION", "ANY_LOAD", "Costs", "cost_faults"]

ANY_LOAD, ANY_GENERATION = "load", "generation"
"""Kinds that stand for all loads and for all generators that are not named by their own."""

_LEAST_SLOPE = 1e-9  # EUR/MW2h, below which a cost is linear


@dataclass(frozen=True, slots=True)
class Costs:
    """Cost functions of all peers; arrays (n_peers,).

    Attributes:
        own: whether a peer has one.
        generates: whether it is a generator.
        a: EUR/MW2h.
        sigma: fall of the marginal utility over the whole basis, EUR/MWh.
        b: EUR/MWh.
        d: EUR per period of one hour.
        low, high: bounds of power, as shares of the basis.
        dispatched: whether `low` is what it can technically go down to, and not what has to run.
    """

    own: BoolArray
    generates: BoolArray
    a: FloatArray
    sigma: FloatArray
    b: FloatArray
    d: FloatArray
    low: FloatArray
    high: FloatArray
    dispatched: BoolArray

    @classmethod
    def of(cls, kinds: Sequence[str], generates: BoolArray, settings: Mapping[str, CostSettings]) -> Costs:
        """Cost functions by kind.

        Args:
            kinds: kind of the one unit of each peer.
            generates: (n_peers,) whether that is a generator.
            settings: cost functions by kind of unit.
        """
        others = np.where(generates, ANY_GENERATION, ANY_LOAD).tolist()
        found = [_own_cost(kind, other, settings) for kind, other in zip(kinds, others, strict=True)]
        own = np.array([each is not None for each in found])
        plain = [each or CostSettings() for each in found]

        def column(name: str) -> FloatArray:
            return np.array([getattr(each, name) for each in plain], dtype=np.float64)

        return cls(
            own,
            generates,
            column("a_eur_per_mw2h"),
            column("sigma_eur_per_mwh"),
            column("b_eur_per_mwh"),
            column("d_eur"),
            column("low"),
            column("high"),
            np.array([each.basis == "rated" for each in plain]),
        )

    def extended(self, n: int) -> Costs:
        """With n more peers that have none."""

        def padded(mine: Any) -> Any:
            return np.append(mine, np.zeros(n, dtype=mine.dtype))

        return Costs(**{each.name: padded(getattr(self, each.name)) for each in fields(self)})

    def basis_mw(self, outlook: Outlook) -> FloatArray:
        """Power that bounds are shares of: forecast consumption or generation, positive; (n_peers,)."""
        return np.where(self.generates, outlook.generation_mw, -outlook.load_mw)

    def slope(self, basis_mw: FloatArray) -> FloatArray:
        """Coefficient a of each, with what sigma adds; (n_peers,)."""
        per_mw = np.divide(self.sigma, basis_mw, out=np.zeros_like(basis_mw), where=basis_mw > 0.0)
        slope: FloatArray = self.a + per_mw
        return slope

    def positions(self, position: Position, outlook: Outlook, tariff: TariffSettings) -> Position:
        """What peers bring to the market, with their own costs where they have some.

        Args:
            position: what they would bring without.
            outlook: their forecast.
            tariff: the outside option.
        """
        basis = self.basis_mw(outlook)
        slope = self.slope(basis)
        low = np.where(self.generates, self.low, -self.high) * basis
        high = np.where(self.generates, self.high, -self.low) * basis
        alone = np.where(self.generates, tariff.feed_in_eur_per_mwh, tariff.supply_eur_per_mwh)
        linear = slope <= _LEAST_SLOPE
        best = np.where(alone > self.b, np.inf, -np.inf)  # a linear cost is at a bound
        np.divide(alone - self.b, slope, out=best, where=~linear)
        firm = np.clip(best, low, high)
        room = np.where(self.generates, high - firm, firm - low)
        own = self.own & (basis > 0.0)

        def chosen(mine: FloatArray, other: FloatArray) -> FloatArray:
            return np.where(own, mine, other)

        return Position(
            usual_mw=chosen(np.where(self.generates, basis, -basis), position.usual_mw),
            firm_mw=chosen(firm, position.firm_mw),
            room_mw=chosen(room, position.room_mw),
            producer=np.where(own, self.generates, position.producer),
            slope=chosen(slope, position.slope),
            marginal=chosen(slope * firm + self.b, position.marginal),
            steered=own,
        )

    def cost_eur(self, p_mw: FloatArray, outlook: Outlook, period_h: float) -> FloatArray:
        """C(P) of each peer (eq. (2)), EUR; 0 for those without a cost function; (n_peers,).

        Args:
            p_mw: (n_peers,) net power.
            outlook: their forecast, by which sigma is measured.
            period_h: length of the period, h.
        """
        slope = self.slope(self.basis_mw(outlook))
        return np.where(self.own, (0.5 * slope * p_mw**2 + self.b * p_mw + self.d) * period_h, 0.0)


def _own_cost(kind: str, other: str, settings: Mapping[str, CostSettings]) -> CostSettings | None:
    """The cost function of a unit: that of its kind, else that of all loads or of all generators, if any."""
    return settings.get(kind) or settings.get(other)


def cost_faults(settings: Mapping[str, CostSettings], kinds: set[str], *, by_unit: bool) -> list[Fault]:
    """What is wrong with a scenario's cost functions.

    Args:
        settings: cost functions by kind.
        kinds: kinds of unit that the grid has.
        by_unit: whether each unit is a peer of its own.
    """
    if not settings:
        return []
    if not by_unit:
        remedy = "set population.peer_of to unit"
        return [Fault("population.costs", "a peer with several units has no one cost function", remedy)]
    known = sorted({*kinds, ANY_LOAD, ANY_GENERATION})
    faults = [
        Fault(f"population.costs.{kind}", "the grid has no unit of this kind", nearest(kind, known))
        for kind in settings
        if kind not in known
    ]
    for kind, each in settings.items():
        if each.low > each.high:
            faults.append(Fault(f"population.costs.{kind}", f"low {each.low:g} is above high {each.high:g}", "swap"))
    return faults
