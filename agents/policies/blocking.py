"""Trade blocking (D5.3, sections 3.2.4 and 5.4.2.3): no trade that raises the flow on a line at risk."""

from __future__ import annotations

import numpy as np

from peerwatt.agents.messages import BoolArray, FloatArray, IntArray
from peerwatt.agents.policies.risk import HARM, along_flow, at_risk, effects
from peerwatt.agents.policies.signals import NO_BRANCH, SignalKind, Signals
from peerwatt.agents.policies.view import GridView

__all__ = ["Blocking", "alone_cause", "blocked_pairs", "pair_cause"]


class Blocking:
    """Blocks every trade that would raise the flow, in the direction in which it flows, on a line at risk.

    Nor may a peer by itself feed in or draw more than without trading where that raises such a flow.

    In a later round the lines that the proposed trades would overload are at risk too, and stay so.

    Args:
        threshold_percent: occupancy from which a line or transformer is at risk.
    """

    kind = SignalKind.BLOCKING

    def __init__(self, *, threshold_percent: float = 80.0) -> None:
        if not 0.0 <= threshold_percent <= 200.0:
            raise ValueError(f"threshold_percent is {threshold_percent}; 0 to 200")
        self.threshold = threshold_percent / 100.0
        self._before: Signals | None = None

    def signals(self, view: GridView, round_: int) -> Signals:
        """Block by the state before trading; later rounds add to what is blocked."""
        risky = at_risk(view.occupancy, self.threshold if round_ == 0 else max(self.threshold, 1.0))
        along = along_flow(view.flow_mw[risky], view.flow_by_mw(risky))
        found = Signals.blocking(pair_cause(along, risky), *alone_cause(along, risky), risky)
        self._before = found if round_ == 0 or self._before is None else _added(self._before, found)
        return self._before


def pair_cause(along: FloatArray, branch: IntArray) -> IntArray:
    """For each trade the first branch at risk whose flow it raises.

    Args:
        along: (n_at_risk, n_peers) sensitivities in the direction of the flow, from `along_flow`.
        branch: (n_at_risk,) positions of the branches, the reasons.

    Returns:
        (n_peers, n_peers), [i, j] being i selling to j; `NO_BRANCH` where the trade is free.
    """
    n = along.shape[1]
    cause = np.full((n, n), NO_BRANCH)
    for position, (harms, _) in zip(branch.tolist(), effects(along), strict=True):
        cause[harms & (cause == NO_BRANCH)] = position
    return cause


def blocked_pairs(flow_mw: FloatArray, flow_by_mw: FloatArray, branch: IntArray) -> tuple[BoolArray, IntArray]:
    """Which trades raise the flow of any branch at risk, and the first such branch.

    Args:
        flow_mw: (n_at_risk,) flows of the branches at risk.
        flow_by_mw: (n_at_risk, n_peers) their change per MW that a peer feeds in.
        branch: (n_at_risk,) positions of the branches, the reasons.

    Returns:
        Blocked pairs and their reasons, (n_peers, n_peers), [i, j] being i selling to j.
    """
    cause = pair_cause(along_flow(flow_mw, flow_by_mw), branch)
    return cause != NO_BRANCH, cause


def alone_cause(along: FloatArray, branch: IntArray) -> tuple[IntArray, IntArray]:
    """For each peer the first branch at risk whose flow it raises by feeding in more, and by drawing more.

    A trade of energy that flows anyway moves nothing, and one of flexible energy moves its own party only: pairs are
    about who exchanges with whom, this is about what the grid feels.

    Args:
        along: (n_at_risk, n_peers) sensitivities in the direction of the flow.
        branch: (n_at_risk,) positions of the branches.

    Returns:
        Causes of feeding in and of drawing, (n_peers,) each; `NO_BRANCH` where the peer is free.
    """
    padded = np.append(branch, NO_BRANCH)
    feed, draw = (np.vstack((sign * along > HARM, np.ones(along.shape[1]))).argmax(axis=0) for sign in (1.0, -1.0))
    return padded[feed], padded[draw]


def _added(before: Signals, found: Signals) -> Signals:
    """Both together; what was blocked before keeps its reason."""
    first, second, third = (
        np.where(old == NO_BRANCH, new, old)
        for old, new in (
            (before.cause, found.cause),
            (before.feed_cause, found.feed_cause),
            (before.draw_cause, found.draw_cause),
        )
    )
    return Signals.blocking(first, second, third, np.union1d(before.at_risk, found.at_risk))
