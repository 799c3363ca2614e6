"""The variants of section 5.4.2.2: a heavily loaded start (0'), and seven peers who resolve everything (1'').

**Scenario 0'.** With the loads raised, the flexibility market is asked for the most relief that the whole order book
can give without burdening any line. The two lines of scenario 0 and those that it can relieve most are congested,
each such that `heavy_relief` of its relief is needed; the others are reinforced with the loads and keep their
occupancy. So that share of that activation resolves everything: the flexibility market of scenario 0' has a solution
in every seed.
Raising the loads alone does not do: near the external grid lines are then congested that no balanced activation
relieves, as everything is behind them.

**Scenario 1''.** Upward bids behind each congested line, the smallest that suffice, meet downward bids whose way to
them has the most room; the market and the grid check decide whether they do resolve everything.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations

import numpy as np

from peerwatt.experiments.studies.d53.draw import Draw
from peerwatt.experiments.studies.d53.feeder import Feeder
from peerwatt.experiments.studies.d53.kpi import overflow
from peerwatt.experiments.studies.d53.model import Model, PairBound
from peerwatt.experiments.studies.d53.trading import Signals, Traded, trade
from peerwatt.market.book import FloatArray, IntArray, sum_by_agent
from peerwatt.market.lfm import FlexibilityMarket

__all__ = ["choose_peers", "heavy_limits"]

_ATTEMPTS = 40  # groups of buyers that are tried before the seed counts as one without such peers
_RESERVE = 1.05  # of what the chosen sellers must sell
_NOTHING = 1e-6  # of a flow: less relief is rounding
_FULL = 0.99  # occupancy in scenario 0' of a line of scenario 0 that nothing could relieve


def heavy_limits(feeder: Feeder, model: Model, drawn: Draw, market: FlexibilityMarket) -> FloatArray:
    """Limits of scenario 0', (n_lines,), for loads times `heavy_scale`.

    Args:
        feeder: the grid.
        model: the study's numbers.
        drawn: the seed.
        market: flexibility market of the seed's bids.
    """
    flow = model.heavy_scale * drawn.flow_mw
    book = drawn.bids.flexibility(feeder, drawn.bids.p_mw)
    relieved = market.clear(book, feeder.limits(flow, np.zeros(flow.size)))
    relief = np.abs(flow) - np.abs(relieved.flow_mw)
    relief = np.where(relief > _NOTHING * np.abs(flow), relief, 0.0)
    occupancy = np.abs(drawn.flow_mw) / drawn.limit_mw
    first = np.where((occupancy > 1.0) & (relief > 0.0), np.inf, relief)
    congested = np.argsort(-first, kind="stable")[: model.n_heavy]
    limit = np.abs(flow) / np.minimum(occupancy, _FULL)
    limit[congested] = np.abs(flow[congested]) - model.heavy_relief * relief[congested]
    return limit


def choose_peers(feeder: Feeder, model: Model, drawn: Draw, bound: PairBound) -> tuple[IntArray, Traded] | None:
    """Find `n_chosen` bids whose free trading leaves no line congested; None if there are none.

    Args:
        feeder: the grid.
        model: the study's numbers.
        drawn: the seed.
        bound: bound per pair.

    Returns:
        The bids and what they trade.
    """
    bids = drawn.bids
    sellers = _sellers(feeder, drawn)
    if sellers is None or sellers.size >= model.n_chosen:
        return None
    for buyers in _buyers(feeder, drawn, sellers, model.n_chosen - sellers.size):
        peers = np.sort(np.concatenate([sellers, buyers]))
        traded = trade(bids, peers, Signals.none(peers.size), bound)
        added = np.zeros(feeder.node.size)
        np.add.at(added, bids.bus[peers], bids.direction[peers] * traded.realised_mw)
        if not overflow(drawn.flow_mw + feeder.flow_mw(added), drawn.limit_mw).n_congested:
            return peers, traded
    return None


def _sellers(feeder: Feeder, drawn: Draw) -> IntArray | None:
    """The smallest upward bids behind every congested line that together relieve it."""
    bids, over = drawn.bids, overflow(drawn.flow_mw, drawn.limit_mw).mw
    found: list[int] = []
    for line in np.flatnonzero(over).tolist():
        behind = np.flatnonzero(bids.upward & (feeder.ptdf[line, bids.bus] != 0.0)).tolist()
        groups = (group for size in range(1, len(behind) + 1) for group in combinations(behind, size))
        enough = [(float(bids.p_mw[list(group)].sum()), group) for group in groups]
        enough = [each for each in enough if each[0] >= _RESERVE * over[line]]
        if not enough:
            return None
        found += min(enough)[1]
    return np.unique(found)


def _buyers(feeder: Feeder, drawn: Draw, sellers: IntArray, n: int) -> Iterator[IntArray]:
    """Groups of n downward bids, those that burden lines least first, that take what the sellers have."""
    bids = drawn.bids
    sold = sum_by_agent(bids.bus[sellers], bids.p_mw[sellers], feeder.node.size)
    flow = drawn.flow_mw + feeder.flow_mw(sold)
    over = overflow(drawn.flow_mw, drawn.limit_mw).mw > 0.0
    downward = np.flatnonzero(~bids.upward & ~(feeder.ptdf[over][:, bids.bus] != 0.0).any(axis=0))
    along = np.sign(flow)[:, None] * feeder.ptdf[:, bids.bus[downward]]  # a purchase changes the flow by minus this
    room = drawn.limit_mw - np.abs(flow)
    spare = np.where(along < 0.0, room[:, None], np.inf).min(axis=0)
    ranked = downward[np.argsort(bids.p_mw[downward] / np.maximum(spare, 1e-12), kind="stable")]
    needed = float(bids.p_mw[sellers].sum())
    for start in range(min(_ATTEMPTS, ranked.size - n + 1)):
        group = ranked[start : start + n]
        if 0.5 * bids.p_mw[group].sum() >= needed:
            yield group
