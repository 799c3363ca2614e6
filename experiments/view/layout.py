"""Where the grid is drawn: its own coordinates, or a tree, fitted into a panel so that no two buses hide each other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from peerwatt.experiments.report.layout import place
from peerwatt.grid.network import Network

__all__ = ["Fitted", "fitted"]

Floats = NDArray[np.float64]

HIGHEST, LOWEST = 600.0, 300.0
"""Bounds of the map's height, pixels."""

MARGIN = 46.0
"""What stays free on each side of the map, pixels."""

_ROUNDS = 60


@dataclass(frozen=True, slots=True)
class Fitted:
    """Where the buses are drawn.

    Attributes:
        xy: pixels, y downwards. (n_bus, 2)
        width, height: size of the map.
        north: the way to the north as (x, y); None where the coordinates are not the grid's own.
    """

    xy: Floats
    width: float
    height: float
    north: tuple[float, float] | None


def fitted(network: Network, width: float) -> Fitted:
    """Fit a grid into a panel.

    Args:
        network: the grid.
        width: width of the panel, pixels; the height follows from the grid within bounds.
    """
    found = place(_topology(network))
    xy = _drawn_in(network, found.xy * (1.0, -(found.ratio or 1.0)))
    most = np.array([width, min(0.68 * width, HIGHEST)]) - 2.0 * MARGIN
    turned = found.own and _turns(np.ptp(xy, axis=0), most)
    if turned:
        xy = np.stack([xy[:, 1], -xy[:, 0]], axis=1)
    low, span = xy.min(axis=0), np.maximum(np.ptp(xy, axis=0), 1e-12)
    scale = most / span
    if found.own:
        scale = np.full(2, scale.min())
    height = float(np.clip(span[1] * scale[1] + 2.0 * MARGIN, LOWEST, HIGHEST))
    room = np.array([width, height]) - 2.0 * MARGIN
    xy = (xy - low) * scale + MARGIN + (room - np.ptp(xy, axis=0) * scale) / 2.0
    xy = _apart(xy, least=min(26.0, 0.55 * np.sqrt(room.prod() / len(xy))))
    north = ((-1.0, 0.0) if turned else (0.0, -1.0)) if found.own else None
    return Fitted(np.clip(xy, 18.0, (width - 18.0, height - 18.0)), width, height, north)


def _turns(span: Floats, room: Floats) -> bool:
    """Whether a picture of this extent gets larger when it is turned by a quarter."""
    span = np.maximum(span, 1e-12)
    return bool((room / span[::-1]).min() > 1.3 * (room / span).min())


def _drawn_in(network: Network, xy: Floats) -> Floats:
    """Move a bus that only a transformer ties to the rest next to the other end: no wire across the whole map."""
    lines, trafos = network.lines, network.trafos
    ends = np.concatenate((lines.from_bus, lines.to_bus, trafos.hv_bus, trafos.lv_bus))
    degree = np.bincount(ends, minlength=len(xy))
    xy, size = xy.copy(), float(np.ptp(xy, axis=0).max())
    centre = xy.mean(axis=0)
    for high, low in zip(trafos.hv_bus.tolist(), trafos.lv_bus.tolist(), strict=True):
        if degree[high] == 1:
            way = xy[low] - centre
            xy[high] = xy[low] + 0.12 * size * way / max(float(np.linalg.norm(way)), 1e-12)
    return xy


def _apart(xy: Floats, least: float) -> Floats:
    """Push buses apart that are closer than this, as little as possible; the picture stays recognisable."""
    xy = xy + 1e-3 * np.stack([np.sin(np.arange(len(xy))), np.cos(np.arange(len(xy)))], axis=1)
    for _ in range(_ROUNDS):
        close = cKDTree(xy).query_pairs(least, output_type="ndarray")
        if not len(close):
            break
        way = xy[close[:, 0]] - xy[close[:, 1]]
        distance = np.linalg.norm(way, axis=1, keepdims=True)
        push = way / np.maximum(distance, 1e-6) * (least - distance) / 2.0
        np.add.at(xy, close[:, 0], push)
        np.subtract.at(xy, close[:, 1], push)
    return xy


def _topology(network: Network) -> dict[str, Any]:
    """What `place` needs of the network."""
    buses, lines, trafos = network.buses, network.lines, network.trafos

    def known(value: float) -> float | None:
        return value if np.isfinite(value) else None

    return {
        "buses": [
            {"bus": i, "x": known(x), "y": known(y)} for i, (x, y) in enumerate(zip(buses.x, buses.y, strict=True))
        ],
        "lines": [
            {"from_bus": int(a), "to_bus": int(b), "in_service": bool(on)}
            for a, b, on in zip(lines.from_bus, lines.to_bus, lines.in_service, strict=True)
        ],
        "trafos": [{"hv_bus": int(a), "lv_bus": int(b)} for a, b in zip(trafos.hv_bus, trafos.lv_bus, strict=True)],
        "slack_buses": network.slack_bus.tolist(),
    }
