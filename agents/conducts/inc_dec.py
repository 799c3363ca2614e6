"""The increase-decrease game: schedule what congests the grid, then sell its undoing.

Hirth and Schlecht (2018), Market-based redispatch in zonal electricity markets, USAEE Working Paper 18-369: who
expects to be paid for relief in a redispatch market takes the position that needs it in the market before. Their
players know the grid; this mediator does not, and learns by a simple rule.

- For each connection point and direction it keeps the *chance* that what it schedules there will be undone: an
  exponentially forgetting mean of the share that was. Relief that is bought of its peers there counts as 1.
- It schedules a step where `chance * ask > (1 - chance) * loss`: what it would get for undoing it is more than what
  carrying it out would cost.
- In a share of the periods it probes: the cheapest open step of every peer, in one direction.
- Its ask follows the profit (the derivative follower of Greenwald and Kephart (1999), Shopbots and pricebots): up
  by a step when at least half of what it offered was bought, else down. It is below the cheapest of its own peers,
  whose bids it knows.
"""

from __future__ import annotations

import numpy as np

from peerwatt.agents.conducts import DOWN, UP, OpenSteps, Padding, Relief
from peerwatt.agents.messages import BoolArray, FloatArray, IntArray

__all__ = ["IncDec"]

_UNDERCUT = 0.99
_BOUGHT_MW = 1e-9  # below this an activation is noise of the solver


class IncDec:
    """A mediator that plays the increase-decrease game.

    Args:
        probe: share of the periods in which it probes.
        learning_rate: weight of the latest period in its means.
        ask_eur_per_mwh: what it wants for relief at the start.
        step: by which share the ask moves.
        cap_eur_per_mwh: most that it asks.
    """

    def __init__(
        self,
        *,
        probe: float = 0.02,
        learning_rate: float = 0.5,
        ask_eur_per_mwh: float = 45.0,
        step: float = 0.1,
        cap_eur_per_mwh: float = 200.0,
    ) -> None:
        for name, value in (("probe", probe), ("learning_rate", learning_rate), ("step", step)):
            if not 0.0 <= value <= 1.0:
                raise ValueError(f"{name} is {value}; 0 to 1")
        if not 0.0 < ask_eur_per_mwh <= cap_eur_per_mwh:
            raise ValueError(f"ask_eur_per_mwh is {ask_eur_per_mwh}; above 0, up to cap_eur_per_mwh")
        self._probe, self._rate = probe, learning_rate
        self._step, self._cap = step, cap_eur_per_mwh
        self._ask = np.full(2, float(ask_eur_per_mwh))
        self._asked = self._ask
        self._chance = np.zeros((0, 2))

    def schedule(self, steps: OpenSteps, rng: np.random.Generator) -> BoolArray:
        """What is likely enough to be undone, and now and then a probe."""
        draw, probed = rng.random(), int(rng.integers(2))  # drawn in any case, so that periods stay comparable
        if not len(steps):
            return np.zeros(0, dtype=np.bool_)
        direction, chance = steps.direction, self._chances(steps.bus, steps.direction)
        chosen: BoolArray = chance * self._asked[direction] > (1.0 - chance) * steps.loss_eur_per_mwh
        if draw < self._probe:
            first = steps.step == _lowest(steps.peer, steps.step)
            chosen |= (direction == probed) & first
        return chosen

    def ask_eur_per_mwh(self, cheapest: FloatArray) -> FloatArray:
        """The present asks, below what its own peers want."""
        self._asked = np.minimum(self._ask, np.maximum(_UNDERCUT * cheapest, 0.0))
        return self._asked

    def saw(self, relief: Relief) -> None:
        """Where relief is bought, more could be sold."""
        row, direction = np.nonzero(relief.activated_mw > _BOUGHT_MW)
        self._move(relief.bus[row], direction, np.ones(len(row)))

    def learn(self, padding: Padding) -> None:
        """How much was undone where, and whether the ask was too high."""
        steps, size = padding.steps, np.abs(padding.steps.p_mw)
        place, row = np.unique(np.stack([steps.bus, steps.direction]), axis=1, return_inverse=True)
        n = place.shape[1]
        undone, offered = (np.bincount(row.ravel(), each, n) for each in (padding.undone_mw, size))
        self._move(place[0], place[1], undone / offered)
        for direction in (UP, DOWN) if padding.offered else ():
            own = steps.direction == direction
            if own.any():
                sold = padding.undone_mw[own].sum() >= 0.5 * size[own].sum()
                ask = self._asked[direction] * (1.0 + self._step) ** (1 if sold else -1)
                self._ask[direction] = min(ask, self._cap)

    def _chances(self, bus: IntArray, direction: IntArray) -> FloatArray:
        missing = int(bus.max(initial=-1)) + 1 - len(self._chance)
        if missing > 0:
            self._chance = np.concatenate([self._chance, np.zeros((missing, 2))])
        chance: FloatArray = self._chance[bus, direction]
        return chance

    def _move(self, bus: IntArray, direction: IntArray, share: FloatArray) -> None:
        chance = self._chances(bus, direction)
        self._chance[bus, direction] = chance + self._rate * (share - chance)


def _lowest(peer: IntArray, step: IntArray) -> IntArray:
    """Lowest step of each row's peer."""
    lowest = np.full(int(peer.max()) + 1, np.iinfo(np.int64).max)
    np.minimum.at(lowest, peer, step)
    return lowest[peer]
