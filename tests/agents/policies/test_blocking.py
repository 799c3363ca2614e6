"""Blocking by hand: two lines, three peers, who is told what in which round."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from peerwatt.agents.policies.blocking import Blocking
from peerwatt.agents.policies.incentive_matrix import IncentiveMatrix
from peerwatt.agents.policies.signals import NO_BRANCH

FREE = NO_BRANCH


def view(*occupancy: float) -> Any:
    """Line 0 leads to peers 0 and 1, line 1 on to peer 1; both flow towards them, drawn from either end."""
    by_mw = np.array([[-1.0, -1.0, 0.0], [0.0, 1.0, 0.0]])
    return SimpleNamespace(
        n_peers=3,
        occupancy=np.array(occupancy),
        flow_mw=np.array([2.0, -1.0]),
        flow_by_mw=lambda branches: by_mw[branches],
    )


@pytest.mark.parametrize(("occupancy", "risky"), [(0.75, True), (np.nextafter(0.75, 0.0), False)])
def test_a_line_is_at_risk_from_the_threshold_on(occupancy: float, risky: bool) -> None:
    for policy in (Blocking(threshold_percent=75.0), IncentiveMatrix(threshold_percent=75.0)):
        assert policy.signals(view(0.1, occupancy), 0).at_risk.tolist() == ([1] if risky else [])


@pytest.mark.parametrize(("occupancy", "risky"), [(1.0, True), (np.nextafter(1.0, 0.0), False)])
def test_later_a_line_is_at_risk_from_its_limit_on(occupancy: float, risky: bool) -> None:
    policy = IncentiveMatrix(threshold_percent=75.0)
    policy.signals(view(0.1, 0.1), 0)
    assert policy.signals(view(0.1, occupancy), 1).at_risk.tolist() == ([1] if risky else [])


def test_a_later_round_adds_pairs_and_who_must_not_feed_or_draw_and_keeps_reasons() -> None:
    policy = Blocking(threshold_percent=75.0)
    first = policy.signals(view(0.1, 0.8), 0)
    assert first.cause.tolist() == [[FREE, 1, FREE], [FREE, FREE, FREE], [FREE, 1, FREE]]
    assert (first.feed_cause.tolist(), first.draw_cause.tolist()) == ([FREE] * 3, [FREE, 1, FREE])
    second = policy.signals(view(1.2, 0.8), 1)
    assert second.at_risk.tolist() == [0, 1]
    assert second.cause.tolist() == [[FREE, 1, FREE], [FREE, FREE, FREE], [0, 1, FREE]]
    assert (second.feed_cause.tolist(), second.draw_cause.tolist()) == ([FREE] * 3, [0, 1, FREE])
    assert policy.signals(view(0.1, 0.1), 0).at_risk.tolist() == []  # the next period begins anew


def test_where_the_flow_turns_feeding_in_is_blocked_later_in_place_of_drawing() -> None:
    policy, turned = Blocking(threshold_percent=75.0), view(1.2, 0.1)
    policy.signals(view(0.1, 0.1), 0)
    turned.flow_mw = -turned.flow_mw
    later = policy.signals(turned, 1)
    assert later.cause.tolist() == [[FREE, FREE, 0], [FREE, FREE, 0], [FREE] * 3]
    assert (later.feed_cause.tolist(), later.draw_cause.tolist()) == ([0, 0, FREE], [FREE] * 3)
