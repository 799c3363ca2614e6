"""How proposals travel between peers that negotiate in rounds: lost, late, and to peers that are not listening.

A proposal that is sent in round k is there in round k + 1 at the earliest. One that arrives after a newer one of
the same partner says nothing new and is dropped.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from peerwatt.errors import Fault, ScenarioError
from peerwatt.market.book import FloatArray, IntArray

__all__ = ["Communication", "Mail"]


@dataclass(frozen=True, slots=True)
class Communication:
    """Quality of the communication.

    Attributes:
        loss: probability that a message never arrives, at least 0 and below 1.
        delay_rounds: most rounds that a message is late; drawn uniformly from 0 to this.
        activity: probability that an agent takes part in a round, above 0 and at most 1.
    """

    loss: float = 0.0
    delay_rounds: int = 0
    activity: float = 1.0

    def __post_init__(self) -> None:
        allowed = {
            "loss": (0.0 <= self.loss < 1.0, "at least 0 and below 1"),
            "delay_rounds": (type(self.delay_rounds) is int and self.delay_rounds >= 0, "a whole number, 0 or more"),
            "activity": (0.0 < self.activity <= 1.0, "above 0 and at most 1"),
        }
        faults = [
            Fault("communication", f"'{field.name}' is {getattr(self, field.name)!r}", allowed[field.name][1])
            for field in fields(self)
            if not allowed[field.name][0]
        ]
        if faults:
            raise ScenarioError(faults)

    @property
    def is_perfect(self) -> bool:
        """Whether every message is there in the next round, and everybody listens."""
        return self.loss == 0.0 and self.delay_rounds == 0 and self.activity == 1.0


class Mail:
    """Proposals under way from each side of a pair to its mate.

    Args:
        mate: the other side of every side. (n_sides,)
        communication: how messages travel.
        rng: stream of loss and delay.
    """

    def __init__(self, mate: IntArray, communication: Communication, rng: np.random.Generator) -> None:
        slots, n_sides = communication.delay_rounds + 1, mate.size
        self._mate, self._communication, self._rng = mate, communication, rng
        self._power, self._price = np.empty((slots, n_sides)), np.empty((slots, n_sides))
        self._sent = np.full((slots, n_sides), -1)  # round, by the round of arrival modulo slots and receiving side
        self._newest = np.full(n_sides, -1)

    def send(self, now: int, power: FloatArray, price: FloatArray, sends: NDArray[np.bool_]) -> int:
        """Send the proposals of those sides that send in this round; how many got lost."""
        slots, rng = self._sent.shape[0], self._rng
        arrives = sends & (rng.random(power.size) >= self._communication.loss)
        late = rng.integers(slots, size=power.size) if slots > 1 else np.zeros(power.size, dtype=np.int64)
        side = np.flatnonzero(arrives)
        slot, to = (now + 1 + late[side]) % slots, self._mate[side]
        self._power[slot, to], self._price[slot, to], self._sent[slot, to] = power[side], price[side], now
        return int(np.count_nonzero(sends)) - side.size

    def deliver(self, now: int, power: FloatArray, price: FloatArray, news: NDArray[np.bool_]) -> None:
        """Put what arrives in this round, if it is newer than what is there, into the receivers' memory."""
        slot = now % self._sent.shape[0]
        to = np.flatnonzero(self._sent[slot] > self._newest)
        power[to], price[to], news[to] = self._power[slot, to], self._price[slot, to], True
        self._newest[to] = self._sent[slot, to]
        self._sent[slot] = -1
