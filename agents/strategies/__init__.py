"""Trading strategies: at which limit price a peer offers its power.

A strategy answers one question per period: at which price, at most, does a consumer buy, or at least, does a
producer sell. A user writes it for one peer:

    @peerwatt.strategy("halfway")
    def halfway(peer):
        return (peer.feed_in_eur_per_mwh + peer.supply_eur_per_mwh) / 2

or, where thousands share it, for all at once with `group_strategy`: the same names, arrays of shape (n_peers,)
in place of numbers, and an array returned.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np

from peerwatt.agents.messages import BoolArray, FloatArray
from peerwatt.errors import AgentError
from peerwatt.registry import Registry

__all__ = ["STRATEGIES", "Group", "OnePeer", "Resells", "Strategy", "group_strategy", "strategy"]


@dataclass(frozen=True, slots=True)
class OnePeer:
    """What one peer knows when it decides.

    Attributes:
        name: name of the peer.
        period: number of the period, from 0.
        hour: hour of the day, 0 to 24.
        p_mw: own forecast of its net power, positive when it has a surplus.
        producer: whether it sells in this period.
        soc: energy in its battery as a share of the capacity, 0 to 1; NaN without one.
        vm_pu: voltage at its connection point when the DSO last told; NaN before.
        path_loading_percent: highest loading on its way to the external grid, as last told; NaN before.
        last_price_eur_per_mwh: mean price of its trades of the period before; NaN without.
        supply_eur_per_mwh: the supplier's price.
        feed_in_eur_per_mwh: what the supplier pays for surplus.
        sell_incentive_eur_per_mwh: best incentive that the DSO has offered it for selling to any partner, 0 without.
        buy_incentive_eur_per_mwh: the same for buying.
        imbalance_short_eur_per_mwh: what energy costs that it sells and does not deliver.
        imbalance_long_eur_per_mwh: what it gets for energy that it buys and does not consume.
        rng: random numbers for this purpose alone.
    """

    name: str
    period: int
    hour: float
    p_mw: float
    producer: bool
    soc: float
    vm_pu: float
    path_loading_percent: float
    last_price_eur_per_mwh: float
    supply_eur_per_mwh: float
    feed_in_eur_per_mwh: float
    sell_incentive_eur_per_mwh: float
    buy_incentive_eur_per_mwh: float
    imbalance_short_eur_per_mwh: float
    imbalance_long_eur_per_mwh: float
    rng: np.random.Generator


@dataclass(frozen=True, slots=True)
class Group:
    """What the peers of a strategy know when they decide: `OnePeer` as arrays of shape (n_peers,)."""

    name: tuple[str, ...]
    period: int
    hour: float
    p_mw: FloatArray
    producer: BoolArray
    soc: FloatArray
    vm_pu: FloatArray
    path_loading_percent: FloatArray
    last_price_eur_per_mwh: FloatArray
    supply_eur_per_mwh: float
    feed_in_eur_per_mwh: float
    sell_incentive_eur_per_mwh: FloatArray
    buy_incentive_eur_per_mwh: FloatArray
    imbalance_short_eur_per_mwh: float
    imbalance_long_eur_per_mwh: float
    rng: np.random.Generator

    def one(self, row: int) -> OnePeer:
        """View of one peer."""
        return OnePeer(
            self.name[row],
            self.period,
            self.hour,
            float(self.p_mw[row]),
            bool(self.producer[row]),
            float(self.soc[row]),
            float(self.vm_pu[row]),
            float(self.path_loading_percent[row]),
            float(self.last_price_eur_per_mwh[row]),
            self.supply_eur_per_mwh,
            self.feed_in_eur_per_mwh,
            float(self.sell_incentive_eur_per_mwh[row]),
            float(self.buy_incentive_eur_per_mwh[row]),
            self.imbalance_short_eur_per_mwh,
            self.imbalance_long_eur_per_mwh,
            self.rng,
        )


class Strategy(Protocol):
    """Decides for all peers that share it."""

    def __call__(self, group: Group, /) -> FloatArray:
        """Return the limit price of each peer, EUR/MWh, (n_peers,)."""
        ...


@runtime_checkable
class Resells(Protocol):
    """A strategy that also trades, in bilateral trading, against the direction of its peers' own power.

    What a consumer sells it buys from others or from the supplier, what a producer buys it sells on: such trades move
    no energy. What is left of them at the meter is imbalance.
    """

    def resale_mw(self, group: Group, /) -> FloatArray:
        """How much each peer offers to trade against its own direction, not negative, (n_peers,)."""
        ...


_SHIPPED = ("grid_aware", "incentive_collector", "truthful", "zero_intelligence")

STRATEGIES: Registry[Strategy] = Registry(
    "strategy", {name: f"peerwatt.agents.strategies.{name}:{name}" for name in _SHIPPED}
)
group_strategy = STRATEGIES.register


def strategy(name: str) -> Callable[[Callable[[OnePeer], float]], Callable[[OnePeer], float]]:
    """Register a strategy that decides for one peer.

    Args:
        name: name for scenario files, e.g. ``population.strategies: {halfway: 1.0}``.

    Returns:
        Decorator for a function of an `OnePeer` that returns a limit price, EUR/MWh.
    """

    def add(decide: Callable[[OnePeer], float]) -> Callable[[OnePeer], float]:
        def of_one(peer: OnePeer) -> float:
            try:
                return float(decide(peer))
            except Exception as error:
                raise AgentError(
                    f"strategy '{name}' of peer '{peer.name}' failed in period {peer.period}: "
                    f"{type(error).__name__}: {error}"
                ) from error

        def for_all(group: Group, /) -> FloatArray:
            return np.array([of_one(group.one(row)) for row in range(len(group.name))])

        STRATEGIES.register(name)(for_all)
        return decide

    return add
