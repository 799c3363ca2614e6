"""Key figures by trading strategy: what following one is worth to a peer.

Their names and meanings are in the list of `peerwatt.sim.kpi`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

__all__ = ["CONTROL", "strategy_figures"]

CONTROL = "control"
"""Strategy of those who have adopted none (`peerwatt.agents.strategies.truthful`)."""


def strategy_figures(saving_eur: NDArray[np.float64], strategy: Sequence[str]) -> dict[str, float]:
    """Mean saving of the peers of each strategy, and of all but the control group.

    Args:
        saving_eur: (n_peers,) saving of each peer.
        strategy: its strategy.
    """
    own = np.array(strategy, dtype=object)
    members = {name: own == name for name in sorted(set(strategy))}
    adopters = own != CONTROL
    if adopters.any():
        members["adopters"] = adopters
    return {f"saving_per_peer_{name}_eur": float(saving_eur[rows].mean()) for name, rows in members.items()}
