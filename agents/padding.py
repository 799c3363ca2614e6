"""What a mediator schedules beyond what its auction has accepted, undoes for money, and pays for.

Steps of flexible power that nobody was matched with are scheduled all the same: a consumer's at its limit price,
below what the supplier takes for the energy, a producer's at its limit price, above what the supplier pays. The
mediator bears the difference, its loss. A step is taken as a whole or not at all, and its limit price is the mean of
its marginal utility (`Position.steps`), so that its peer is as well off as without it. What the flexibility market
makes the mediator undo does not take place and costs it nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Self

import numpy as np

from peerwatt.agents.messages import BoolArray, FloatArray, IntArray
from peerwatt.market.settlement import Entries, Reason, settle_flexibility

__all__ = ["DOWN", "UP", "OpenSteps", "Padding"]

UP, DOWN = 0, 1
"""Direction of the relief that undoing a step is: upward for consumption, downward for feed-in."""

_ACCEPTED_MW = 1e-12  # below this an accepted power is noise of the solver


@dataclass(frozen=True, slots=True)
class OpenSteps:
    """Flexible steps that an auction has not accepted; arrays (n_steps,).

    Attributes:
        peer: row of the peer.
        bus: position of the bus at which it is connected.
        step: number of the step in its bid, from 1, the most valuable first.
        p_mw: power, positive to feed in more, negative to consume more.
        loss_eur_per_mwh: what carrying it out costs the mediator.
    """

    peer: IntArray
    bus: IntArray
    step: IntArray
    p_mw: FloatArray
    loss_eur_per_mwh: FloatArray

    @classmethod
    def of(
        cls,
        peer: IntArray,
        bus: IntArray,
        step: IntArray,
        p_mw: FloatArray,
        accepted_mw: FloatArray,
        loss_eur_per_mwh: FloatArray,
    ) -> Self:
        """Find them among all steps of a book, arrays (n_book,); one that is accepted in part is not open."""
        rows = np.flatnonzero((step > 0) & (np.abs(accepted_mw) <= _ACCEPTED_MW))
        return cls(peer[rows], bus[rows], step[rows], p_mw[rows], loss_eur_per_mwh[rows])

    def only(self, chosen: BoolArray) -> OpenSteps:
        """Some of them."""
        return OpenSteps(
            self.peer[chosen], self.bus[chosen], self.step[chosen], self.p_mw[chosen], self.loss_eur_per_mwh[chosen]
        )

    @property
    def direction(self) -> IntArray:
        """`UP` or `DOWN`, what undoing each would be."""
        return np.where(self.p_mw < 0.0, UP, DOWN)

    def __len__(self) -> int:
        return self.peer.size


@dataclass(slots=True)
class Padding:
    """What a mediator has scheduled beyond its auction in one period.

    Attributes:
        steps: the steps.
        change_mw: (n_peers,) what the auction alone would change of each peer's net power.
        undone_mw: (n_steps,) what is to be undone, positive.
        due_eur: (n_steps,) what the flexibility market pays for that.
        offered: whether there was a flexibility market to offer it to.
    """

    steps: OpenSteps
    change_mw: FloatArray
    undone_mw: FloatArray = field(init=False)
    due_eur: FloatArray = field(init=False)
    offered: bool = False

    def __post_init__(self) -> None:
        self.undone_mw = np.zeros(len(self.steps))
        self.due_eur = np.zeros(len(self.steps))

    @property
    def scheduled_mw(self) -> FloatArray:
        """(n_peers,) what each peer is scheduled to do on top of what it has traded, with its sign."""
        left = self.steps.p_mw - np.sign(self.steps.p_mw) * self.undone_mw
        return np.bincount(self.steps.peer, left, len(self.change_mw)).astype(np.float64, copy=False)

    def undo(self, bus: IntArray, direction: IntArray, p_mw: FloatArray, paid_eur: FloatArray) -> IntArray:
        """Undo what the flexibility market has activated, what is dearest to carry out first.

        Args:
            bus: (n_rows,) connection point of each activation.
            direction: (n_rows,) direction of the relief.
            p_mw: (n_rows,) activated power, positive.
            paid_eur: (n_rows,) what is paid for it.

        Returns:
            Rows of the peers that have to be told.
        """
        steps = self.steps
        for row in np.flatnonzero(p_mw > 0.0).tolist():
            here = np.flatnonzero((steps.bus == bus[row]) & (steps.direction == direction[row]))
            here = here[np.lexsort((steps.peer[here], -steps.loss_eur_per_mwh[here]))]
            room = np.abs(steps.p_mw[here]) - self.undone_mw[here]
            part = np.clip(p_mw[row] - (room.cumsum() - room), 0.0, room)
            self.undone_mw[here] += part
            self.due_eur[here] += paid_eur[row] * part / p_mw[row]
        return np.unique(steps.peer[self.undone_mw > 0.0])

    def settled(self, followed_mw: FloatArray, period_h: float, *, mediator: int, dso: int) -> Entries:
        """Pay at the meter: the mediator's peers for what they carried out, the mediator for what they did not.

        A peer that was not told to undo has carried out; the DSO does not pay for that. A peer that was not told
        of the schedule has nothing to be paid for.

        Args:
            followed_mw: (n_peers,) by how much each peer has moved from its firm power.
            period_h: length of the period.
            mediator: account of the mediator.
            dso: account of the DSO.
        """
        steps, size = self.steps, np.abs(self.steps.p_mw)
        order = np.lexsort((steps.step, steps.peer))
        peer, sign = steps.peer[order], np.sign(steps.p_mw[order])
        moved = np.maximum((followed_mw - self.change_mw)[peer] * sign, 0.0)
        before = size[order].cumsum() - size[order]
        before -= before[np.searchsorted(peer, peer)]
        carried = np.empty(len(steps))
        carried[order] = np.clip(moved - before, 0.0, size[order])
        relief = np.minimum(self.undone_mw, size - carried)
        share = np.divide(relief, self.undone_mw, out=np.zeros(len(steps)), where=self.undone_mw > 0.0)
        cost = carried * steps.loss_eur_per_mwh * period_h
        return Entries.concat(
            [
                Entries.of(mediator, steps.peer, Reason.SURPLUS, cost),
                settle_flexibility(np.full(len(steps), mediator), share * self.due_eur, operator=dso),
            ]
        )
