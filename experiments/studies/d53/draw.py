"""What one seed draws: limits of the lines, the order book, and who trades with peers.

The limits meet what the report says of its start (section 5.4.2.1) exactly, for every seed. Occupancies are drawn in
four classes and dealt to the lines at random; a limit is the flow divided by the occupancy:

    2 lines     44 and 67: flow less a share of the overflow of 0.04 MW
    15 lines    80 to 100 %
    24 lines    60 to 80 %
    27 lines    20 to 60 %, moved towards one end of this range until the mean of all lines is 65 %
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from peerwatt.errors import Fault, ScenarioError
from peerwatt.experiments.studies.d53.feeder import Feeder
from peerwatt.experiments.studies.d53.model import CONGESTED, Model
from peerwatt.market.book import FloatArray, IntArray
from peerwatt.market.flexibility import FlexibilityBook
from peerwatt.sim.streams import Streams

__all__ = ["Bids", "Draw", "draw"]

_INSIDE = 1e-6  # distance from the bounds of a class, so that rounding moves no line into another
_PER_NODE = 4  # base generation and base load, each upward and downward


@dataclass(frozen=True, slots=True)
class Bids:
    """The order book.

    Attributes:
        bus: where. (n_bids,)
        upward: whether upward: more generation or less load. (n_bids,)
        p_mw: quantity. (n_bids,)
        price_eur_per_mwh: 45 to 55 upward; 5 to 15 downward, which its owner pays. (n_bids,)
        utility_eur_per_mwh: what the first MWh is worth to a buyer; of upward bids without meaning. (n_bids,)
    """

    bus: IntArray
    upward: NDArray[np.bool_]
    p_mw: FloatArray
    price_eur_per_mwh: FloatArray
    utility_eur_per_mwh: FloatArray

    @property
    def direction(self) -> IntArray:
        """1 upward, -1 downward; (n_bids,)."""
        return np.where(self.upward, 1, -1)

    def flexibility(self, feeder: Feeder, left_mw: FloatArray) -> FlexibilityBook:
        """The book of the flexibility market with what peers have left, (n_bids,); downward prices are income."""
        n = self.p_mw.size
        price = self.direction * self.price_eur_per_mwh
        return FlexibilityBook(np.arange(n), feeder.node[self.bus], self.direction, left_mw, price, n, period_h=1.0)


@dataclass(frozen=True, slots=True)
class Draw:
    """Everything that the scenarios of a seed share.

    Attributes:
        load_mw: consumption at every bus. (n_buses,)
        flow_mw: flows at the start. (n_lines,)
        limit_mw: limits of the lines. (n_lines,)
        bids: the order book.
        peers: bids that trade in the P2P market, ascending. (n_peers,)
    """

    load_mw: FloatArray
    flow_mw: FloatArray
    limit_mw: FloatArray
    bids: Bids
    peers: IntArray


def draw(feeder: Feeder, model: Model, streams: Streams) -> Draw:
    """Draw one seed.

    Args:
        feeder: the grid.
        model: what is drawn from.
        streams: random streams of the seed.

    Raises:
        ScenarioError: the model asks for what this grid does not have.
    """
    load_mw = model.load_scale * feeder.load_mw
    flow_mw = feeder.flow_mw(-load_mw)
    return Draw(
        load_mw,
        flow_mw,
        _limits(feeder, model, np.abs(flow_mw), streams["d53 limits"]),
        _bids(load_mw, model, streams["d53 bids"]),
        np.sort(streams["d53 peers"].choice(model.n_bids, model.n_peers, replace=False)),
    )


# --- limits ---


def _limits(feeder: Feeder, model: Model, flow: FloatArray, rng: np.random.Generator) -> FloatArray:
    congested = np.array([feeder.lines.index(name) for name in CONGESTED])
    share = rng.uniform(*model.overflow_share)
    limit = np.empty(flow.size)
    limit[congested] = flow[congested] - model.overflow_mw * np.array([share, 1.0 - share])
    if not (limit[congested] > 0.0).all():
        raise ScenarioError(
            Fault("study d53: overflow_mw", f"is more than line {' or '.join(CONGESTED)} carries", "a lower one")
        )
    others = np.setdiff1d(np.arange(flow.size), congested)
    missing = model.mean_occupancy * flow.size - float((flow[congested] / limit[congested]).sum())
    limit[others] = flow[others] / rng.permutation(_occupancies(model, others.size, missing, rng))
    return limit


def _occupancies(model: Model, n: int, total: float, rng: np.random.Generator) -> FloatArray:
    """Occupancies of the lines that are not congested, with a given sum; (n,)."""
    n_high, n_middle = model.n_at_risk - len(CONGESTED), model.n_loaded - model.n_at_risk
    high = rng.uniform(model.risk_occupancy + _INSIDE, 1.0 - _INSIDE, n_high)
    middle = rng.uniform(model.loaded_occupancy + _INSIDE, model.risk_occupancy - _INSIDE, n_middle)
    bottom, top = model.least_occupancy, model.loaded_occupancy - _INSIDE
    low = rng.uniform(bottom, top, n - n_high - n_middle)
    wanted = total - high.sum() - middle.sum()
    if not bottom * low.size < wanted < top * low.size:
        raise ScenarioError(
            Fault("study d53: mean_occupancy", f"{model.mean_occupancy:g} does not fit the classes of lines")
        )
    end = top if wanted > low.sum() else bottom
    low += (end - low) * (wanted - low.sum()) / (end - low).sum()
    return np.concatenate([high, middle, low])


# --- the order book ---


def _bids(load_mw: FloatArray, model: Model, rng: np.random.Generator) -> Bids:
    loaded = np.flatnonzero(load_mw > 0.0)
    if loaded.size < model.n_nodes:
        raise ScenarioError(Fault("study d53: n_nodes", f"is {model.n_nodes}; {loaded.size} nodes have a load"))
    nodes = rng.choice(loaded, model.n_nodes, replace=False)
    least, more = divmod(model.n_bids, model.n_nodes)
    bus = np.repeat(nodes, least + (np.arange(model.n_nodes) < more))
    upward = np.concatenate([_directions(int((bus == node).sum()), rng) for node in nodes])
    n = model.n_bids
    price = np.where(upward, rng.uniform(*model.upward_eur_per_mwh, n), rng.uniform(*model.downward_eur_per_mwh, n))
    return Bids(
        bus,
        upward,
        rng.uniform(*model.size, n) * load_mw[bus],
        price,
        rng.uniform(*model.utility_eur_per_mwh, n),
    )


def _directions(n: int, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Directions of the bids of a node: of two upward and two downward ones, n are there; (n,)."""
    return rng.permutation(np.arange(_PER_NODE) % 2 == 0)[:n]
