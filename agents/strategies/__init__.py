"""Trading strategies: at which limit price a peer offers its power.

A strategy answers one question per period: at which price, at most, does a consumer buy, or at least, does a
producer sell. A user writes it for one peer:

    @peerwatt.strategy("halfway")
    def halfway(peer):
        return (peer.feed_in_eur_per_mwh + peer.supply_eur_per_mwh) / 2

or, where thousands share it, for all at once with `group_strategy`: the same names, arrays of shape (n_peers,)
in place of numbers, and an array returned. What a learner keeps from call to call it puts into `memory`, which each
run begins empty; what its last bid came to stands in the fields `last_...`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np

from peerwatt.agents.messages import BoolArray, FloatArray
from peerwatt.errors import AgentError
from peerwatt.registry import Registry

__all__ = [
    "STRATEGIES",
    "Group",
    "OnePeer",
    "Partners",
    "Prefers",
    "Resells",
    "Strategy",
    "group_strategy",
    "strategy",
]


@dataclass(frozen=True, slots=True)
class OnePeer:
    """What one peer knows when it decides.

    Attributes:
        name: name of the peer.
        period: number of the period, from 0.
        hour: hour of the day, 0 to 24.
        round: round of negotiation in the period, from 0.
        n_rounds: how many there are at most.
        p_mw: own forecast of its net power, positive when it has a surplus.
        producer: whether it sells in this period.
        soc: energy in its battery as a share of the capacity, 0 to 1; NaN without one.
        vm_pu: voltage at its connection point when the DSO last told; NaN before.
        path_loading_percent: highest loading on its way to the external grid, as last told; NaN before.
        last_price_eur_per_mwh: mean price of its trades of the period before; NaN without.
        last_limit_eur_per_mwh: limit price that it named when it was last asked; NaN if no call reached it.
        last_offered_mw: firm power that it offered at that price, positive to sell, negative to buy; NaN likewise.
        last_traded_mw: how much of it was traded, with the same sign; NaN if nobody told it.
        supply_eur_per_mwh: the supplier's price.
        feed_in_eur_per_mwh: what the supplier pays for surplus.
        sell_incentive_eur_per_mwh: best incentive that the DSO has offered it for selling to any partner, 0 without.
        buy_incentive_eur_per_mwh: the same for buying.
        imbalance_short_eur_per_mwh: what energy costs that it sells and does not deliver.
        imbalance_long_eur_per_mwh: what it gets for energy that it buys and does not consume.
        network_fee_eur_per_mwh: what it pays the DSO, besides the price, for energy that it buys from a peer.
        memory: its own notes; what it writes here is there when it is asked next, and in no other run.
        rng: random numbers for this purpose alone.
    """

    name: str
    period: int
    hour: float
    round: int
    n_rounds: int
    p_mw: float
    producer: bool
    soc: float
    vm_pu: float
    path_loading_percent: float
    last_price_eur_per_mwh: float
    last_limit_eur_per_mwh: float
    last_offered_mw: float
    last_traded_mw: float
    supply_eur_per_mwh: float
    feed_in_eur_per_mwh: float
    sell_incentive_eur_per_mwh: float
    buy_incentive_eur_per_mwh: float
    imbalance_short_eur_per_mwh: float
    imbalance_long_eur_per_mwh: float
    network_fee_eur_per_mwh: float
    memory: dict[str, Any]
    rng: np.random.Generator


@dataclass(frozen=True, slots=True)
class Group:
    """What the peers of a strategy know when they decide: `OnePeer` as arrays of shape (n_peers,)."""

    name: tuple[str, ...]
    period: int
    hour: float
    round: int
    n_rounds: int
    p_mw: FloatArray
    producer: BoolArray
    soc: FloatArray
    vm_pu: FloatArray
    path_loading_percent: FloatArray
    last_price_eur_per_mwh: FloatArray
    last_limit_eur_per_mwh: FloatArray
    last_offered_mw: FloatArray
    last_traded_mw: FloatArray
    supply_eur_per_mwh: float
    feed_in_eur_per_mwh: float
    sell_incentive_eur_per_mwh: FloatArray
    buy_incentive_eur_per_mwh: FloatArray
    imbalance_short_eur_per_mwh: float
    imbalance_long_eur_per_mwh: float
    network_fee_eur_per_mwh: float
    memory: dict[str, Any]
    rng: np.random.Generator

    def one(self, row: int) -> OnePeer:
        """View of one peer."""
        return OnePeer(
            self.name[row],
            self.period,
            self.hour,
            self.round,
            self.n_rounds,
            float(self.p_mw[row]),
            bool(self.producer[row]),
            float(self.soc[row]),
            float(self.vm_pu[row]),
            float(self.path_loading_percent[row]),
            float(self.last_price_eur_per_mwh[row]),
            float(self.last_limit_eur_per_mwh[row]),
            float(self.last_offered_mw[row]),
            float(self.last_traded_mw[row]),
            self.supply_eur_per_mwh,
            self.feed_in_eur_per_mwh,
            float(self.sell_incentive_eur_per_mwh[row]),
            float(self.buy_incentive_eur_per_mwh[row]),
            self.imbalance_short_eur_per_mwh,
            self.imbalance_long_eur_per_mwh,
            self.network_fee_eur_per_mwh,
            self.memory.setdefault(self.name[row], {}),
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


@dataclass(frozen=True, slots=True)
class Partners:
    """What everybody may know of the members of a market: its register.

    Attributes:
        name: names of all peers. (n_partners,)
        pv: who has a PV plant. (n_partners,)
        distance_pu: electrical (Thevenin) distance between connection points, pu of 1 MVA. (n_peers, n_partners)
    """

    name: tuple[str, ...]
    pv: BoolArray
    distance_pu: FloatArray


@runtime_checkable
class Prefers(Protocol):
    """A strategy that cares, in bilateral trading, with whom it trades (product differentiation).

    Its costs are the c_nm of Marques et al., eq. (3), and come on top of what the DSO's signals say. An auction has no
    pairs, and asks for the limit price only.
    """

    def preference(self, group: Group, partners: Partners, /) -> tuple[FloatArray, FloatArray]:
        """What selling to and buying from each partner costs a peer besides the price, EUR/MWh.

        Returns:
            Two arrays (n_peers, n_partners); inf where it does not want to.
        """
        ...


_SHIPPED = {
    "control": "truthful:control",
    "grid_aware": "grid_aware:grid_aware",
    "incentive_collector": "incentive_collector:incentive_collector",
    "linear": "linear:linear",
    "prefers_green": "preference:prefers_green",
    "prefers_local": "preference:prefers_local",
    "roth_erev": "roth_erev:roth_erev",
    "truthful": "truthful:truthful",
    "zero_intelligence": "zero_intelligence:zero_intelligence",
    "zero_intelligence_plus": "zero_intelligence_plus:zero_intelligence_plus",
}

STRATEGIES: Registry[Strategy] = Registry(
    "strategy", {name: f"peerwatt.agents.strategies.{place}" for name, place in _SHIPPED.items()}
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
