"""The message bus: delivers what agents send after the link's latency, loses some of it, records all of it.

At `message` fidelity each message travels on its own; at `round` fidelity a batch of equal messages travels as
arrays, and is booked as a count. Loss and latency are drawn from the same streams in the same order, so both
give the same market.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from peerwatt.agents.messages import Batch, IntArray, Message
from peerwatt.sim.clock import Clock, Mailbox

__all__ = ["Bus", "Delivery", "Link"]


@dataclass(frozen=True, slots=True)
class Link:
    """How messages travel.

    Attributes:
        latency_s: least time under way, whole seconds.
        jitter_s: largest extra time; drawn uniformly from 0 to this, whole seconds.
        loss: probability that a message never arrives.
    """

    latency_s: int = 0
    jitter_s: int = 0
    loss: float = 0.0

    @property
    def round_s(self) -> int:
        """Least time after which a message is sure to be there if it is not lost, at least 1 s.

        Of two events of one second the one that was planned first comes first. Where all messages take equally long
        an arrival is planned before whatever its receiver does then; else it may not be.
        """
        return self.latency_s + self.jitter_s + (self.jitter_s > 0 or self.latency_s == 0)


class Delivery(NamedTuple):
    """One row of the message record: when it was sent, and when (if ever) it arrived.

    `delivered_s` is -1 when it was lost; `n` is how many messages the row counts.
    """

    time_s: int
    period: int
    kind: str
    sender: str
    receiver: str
    delivered_s: int
    n: int


@dataclass(slots=True)
class Bus:
    """Delivers messages to mailboxes.

    Args:
        clock: what makes time pass.
        rng: stream for loss and jitter.
        link: how messages to and from peers travel.
        backbone: the operators; between them messages arrive at once and always.
    """

    clock: Clock
    rng: np.random.Generator
    link: Link = field(default_factory=Link)
    backbone: frozenset[str] = frozenset()
    _mailboxes: dict[str, Mailbox] = field(default_factory=dict)
    _due: dict[int, list[Message | Batch]] = field(default_factory=dict)
    _record: list[Delivery] = field(default_factory=list)

    def mailbox(self, name: str) -> Mailbox:
        """Open the mailbox of an agent or of a group."""
        if name not in self._mailboxes:
            self._mailboxes[name] = self.clock.mailbox()
        return self._mailboxes[name]

    def send(self, messages: Iterable[Message]) -> None:
        """Send messages at the current time; each may be lost or late by itself."""
        now, record = self.clock.now_s, self._record.append
        for message in messages:
            wired = message.sender in self.backbone and message.receiver in self.backbone
            delivered = now if wired else self._arrival(now)
            kind = type(message).__name__
            record(Delivery(now, message.period, kind, message.sender, message.receiver, delivered, 1))
            if delivered >= 0:
                self._plan(delivered).append(message)
            else:
                self._plan(now + self.link.latency_s)  # or who is served first would depend on what is lost

    def send_batch(self, batch: Batch) -> None:
        """Send many equal messages as one batch; each row may be lost or late by itself."""
        now, n = self.clock.now_s, len(batch.peer)
        delivered = self._arrivals(now, n)
        for time_s in np.unique(delivered).tolist():
            rows = np.flatnonzero(delivered == time_s)
            self._record.append(
                Delivery(now, batch.period, batch.kind.__name__, batch.sender, batch.receiver, time_s, len(rows))
            )
            if time_s >= 0:
                self._plan(time_s).append(batch if len(rows) == n else batch.only(rows))

    def book(self, period: int, legs: Sequence[tuple[type[Message], str, str]], leg: IntArray) -> IntArray:
        """Book messages whose content travels elsewhere, as arrays; each may be lost or late by itself.

        Args:
            period: market period that they are about.
            legs: kinds of message with their senders and receivers.
            leg: which of these each message is. (n,)

        Returns:
            When each arrives, -1 for those that are lost. (n,)
        """
        now = self.clock.now_s
        delivered = self._arrivals(now, len(leg))
        rows, n = np.unique(np.stack([leg, delivered]), axis=1, return_counts=True)
        for each, time_s, count in zip(*rows.tolist(), n.tolist(), strict=True):
            kind, sender, receiver = legs[each]
            self._record.append(Delivery(now, period, kind.__name__, sender, receiver, time_s, count))
        return delivered

    def take_record(self) -> list[Delivery]:
        """Hand over the record since the last call, and start a new one."""
        record, self._record = self._record, []
        return record

    def _plan(self, time_s: int) -> list[Message | Batch]:
        """Plan a delivery; what is due then, in the order of sending."""
        due = self._due.get(time_s)
        if due is None:
            due = self._due[time_s] = []
            self.clock.call_at(time_s, lambda: self._deliver(time_s))
        return due

    def _deliver(self, time_s: int) -> None:
        mailboxes = self._mailboxes
        for message in self._due.pop(time_s):
            mailboxes[message.receiver].put(message)

    def _arrival(self, now: int) -> int:
        link = self.link
        if link.loss == 0.0 and link.jitter_s == 0:
            return now + link.latency_s
        return int(self._arrivals(now, 1)[0])

    def _arrivals(self, now: int, n: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
        """Time of arrival of each of n messages, -1 for those that are lost; two draws per message."""
        link = self.link
        delivered = np.full(n, now + link.latency_s, dtype=np.int64)
        if link.loss == 0.0 and link.jitter_s == 0:
            return delivered
        draws = self.rng.random((n, 2))
        delivered += np.floor(draws[:, 1] * (link.jitter_s + 1)).astype(np.int64)
        delivered[draws[:, 0] < link.loss] = -1
        return delivered
