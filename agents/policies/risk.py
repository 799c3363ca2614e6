"""Lines at risk, and which trades would harm or help them (D5.3, sections 5.4.2.3 and 5.4.2.4)."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from peerwatt.agents.messages import BoolArray, FloatArray, IntArray

__all__ = ["HARM", "along_flow", "at_risk", "effects"]

_IDLE_MW = 1e-9  # below this a flow is noise of the solver
HARM = 1e-6
"""MW per MW: what moves a flow by less does not move it."""


def at_risk(occupancy: FloatArray, threshold: float) -> IntArray:
    """Positions of the branches whose occupancy is at or above a threshold.

    Args:
        occupancy: (n_branch,) loading as a share of the limit.
        threshold: as a share, e.g. 0.8.
    """
    return np.flatnonzero(occupancy >= threshold)


def along_flow(flow_mw: FloatArray, flow_by_mw: FloatArray) -> FloatArray:
    """Sensitivities in the direction in which each branch flows now: above 0 raises the flow.

    Args:
        flow_mw: (n_branches,) flows.
        flow_by_mw: (n_branches, n_peers) their change per MW that a peer feeds in.

    Returns:
        (n_branches, n_peers); rows of branches in which nothing flows are 0, since there any trade does.
    """
    along: FloatArray = np.where(np.abs(flow_mw) > _IDLE_MW, np.sign(flow_mw), 0.0)[:, None] * flow_by_mw
    return along


def effects(along: FloatArray) -> Iterator[tuple[BoolArray, BoolArray]]:
    """For each branch, which trades raise its flow and which lower it.

    Args:
        along: (n_branches, n_peers) from `along_flow`.

    Yields:
        Two masks (n_peers, n_peers), [i, j] being i selling to j: harms, helps.
    """
    for row in along:
        change = row[:, None] - row[None, :]
        yield change > HARM, change < -HARM
