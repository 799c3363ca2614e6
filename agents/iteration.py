"""The DSO's iteration with the market: an iterative policy, its measures on the bus, and the best of them at the end.

Marques et al., figures 2, 3 and 5. Each round of a period tries the measures of one step of the policy's course. A
course that ends without a solution, or for which rounds run out, is ended with the best measures that were tried.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from peerwatt.agents.context import Context
from peerwatt.agents.correspondence import write_peers
from peerwatt.agents.devices import CURTAIL, RAISE, REDUCE
from peerwatt.agents.directive import Directive
from peerwatt.agents.orders import FlexibilityDirective
from peerwatt.agents.policies import Checked, Course, IterativePolicy, Measures
from peerwatt.agents.policies.signals import Signals
from peerwatt.agents.signalling import send_signals

__all__ = ["Iteration"]


_DIGITS = 6  # of the severity, beyond which two states are equally bad


@dataclass(frozen=True, slots=True)
class _Tried:
    severity: float
    measures: Measures

    @property
    def rank(self) -> tuple[float, tuple[float, float, int]]:
        return round(self.severity, _DIGITS), self.measures.rank


class Iteration:
    """One DSO's iteration.

    Args:
        context: what it can reach.
        policy: the policy.
        sender: the DSO's name.

    Attributes:
        measures: what is tried now.
        directive: what it orders the peers.
        solved: whether the limits hold; None before the end of a period's iteration.
        worst: position of the most loaded branch and of the bus with the worst voltage in the first check, -1 for
            those within their limits.
    """

    def __init__(self, context: Context, policy: IterativePolicy, sender: str) -> None:
        self._context = context
        self._policy = policy
        self._sender = sender
        self._course: Course | None = None
        self._tried: list[_Tried] = []
        self._told: Signals | None = None  # peers keep costs until they get newer ones
        self._ending = False
        self._change = np.zeros(len(context.population))  # by how much trading as usual moves each peer
        self.measures = Measures()
        self.directive = Directive.none(len(context.population))
        self.solved: bool | None = None
        self.worst = (-1, -1)

    def begin(self) -> None:
        """Begin a period."""
        n = len(self._context.population)
        self._course = self._policy.course(n)
        self._tried, self._ending, self.solved, self.worst = [], False, None, (-1, -1)
        self.directive = Directive.none(n)
        self.measures = next(self._course)

    def tell(self, number: int) -> None:
        """Tell the market and the peers the measures of a round, where they differ from what they know.

        Args:
            number: the round, counted in the period.
        """
        context, signals = self._context, self.measures.signals
        if signals is not self._told:
            send_signals(context, self._sender, self._free() if signals is None else signals, number)
            self._told = signals
        ordered = self._order()
        if ordered or self.directive:
            fields = tuple(getattr(ordered, name) for name in FlexibilityDirective.__slots__)
            write_peers(context, FlexibilityDirective, self._sender, fields)
        self.directive = ordered

    def check(self, checked: Checked, rounds_left: int) -> bool:
        """Learn what the measures have led to; whether another round is wanted.

        Args:
            checked: what became of them.
            rounds_left: how many more there can be.
        """
        if not self._tried:
            self.worst, self._change = _worst(checked), checked.change_mw
        self._tried.append(_Tried(0.0 if checked.ok else checked.severity, self.measures))
        following = None if self._ending else self._following(checked)
        best = min(self._tried, key=lambda tried: tried.rank)
        if following is None or rounds_left <= 1:
            done = self._ending or rounds_left == 0 or best.measures is self.measures or self.solved
            if done:
                self.solved = checked.ok
                return False
            following, self._ending = best.measures, True
        self.measures = following
        return True

    def _following(self, checked: Checked) -> Measures | None:
        assert self._course is not None
        try:
            return self._course.send(checked)
        except StopIteration as end:
            self.solved = bool(end.value)
            return None

    def _free(self) -> Signals:
        """Signals that cost nothing, which end earlier ones."""
        zero = np.zeros((len(self._context.population),) * 2)
        return Signals.prices(self._policy.kind, zero, zero, np.zeros(0, dtype=np.int64))

    def _order(self) -> Directive:
        """The measures as orders to every peer, by its forecast."""
        context, measures = self._context, self.measures
        now, ordered = context.now, Directive.none(len(context.population))
        if measures.load_share is not None:
            # From where trading as usual has left them, and not beyond it by other trades.
            moved, extra = measures.load_share * -now.forecast.load_mw, np.maximum(-self._change, 0.0)
            left = extra - moved
            ordered.p_mw[:, REDUCE] = np.where(moved > 0.0, np.maximum(-left, 0.0), 0.0)
            ordered.p_mw[:, RAISE] = np.where(moved < 0.0, left, 0.0)
            ordered.room_mw[moved > 0.0] = np.maximum(left, 0.0)[moved > 0.0]
            ordered.room_mw[moved < 0.0] = 0.0
            ordered.paid_eur[:] = self._policy.alpha_eur_per_mwh * np.abs(moved) * context.period_h
        if measures.generation_share is not None:
            offered = measures.generation_share * now.forecast.generation_mw
            # Who has a cost function decides itself how much of it to run; others have no price to decide by.
            costs, firm = context.population.costs, np.maximum(now.position.firm_mw, 0.0)
            steered = now.position.steered & now.position.producer
            must_run = steered if costs is None else steered & ~costs.dispatched
            ordered.released_mw[:] = np.where(must_run, np.minimum(offered, firm), 0.0)
            ordered.p_mw[:, CURTAIL] = np.where(steered, 0.0, offered)
        if measures.reactive is not None:
            ordered.reactive[:] = measures.reactive
        return ordered


def _worst(checked: Checked) -> tuple[int, int]:
    congested = checked.congested()
    branch = int(congested[np.argmax(checked.view.occupancy[congested])]) if congested.size else -1
    return branch, checked.worst_bus if checked.voltage else -1
