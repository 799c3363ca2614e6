"""How much flexibility the DSO asks for in which area, where limits are violated (D5.3, section 4.1.5, figure 12).

Areas come from sensitivities: behind an overloaded branch are the peers that move its flow at least half as much as
who moves it most; in a radial grid this is the subtree behind it. A voltage outside its band has the peers around its
bus in the same way; of violated voltages whose peers overlap only the worst makes an area. A peer belongs to the
innermost, that is the smallest, area that it is in.

With the requests the linear model is within the violated limits whoever in an area provides: an area counts for a
limit with that of its peers who helps least. Limits are gone through from the inside out; what inner areas do already
counts for the outer ones, and the rest is shared by all areas that help, pro rata to connection capacity. Limits that
are not violated do not count: what a request does to them shows at the next check.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from peerwatt.agents.messages import BoolArray, FloatArray, IntArray
from peerwatt.agents.policies.view import GridView

__all__ = ["NO_AREA", "AreaRequests", "capacity_requests"]

NO_AREA = -1
"""In `AreaRequests.area`: nothing is asked of the peer."""

_MARGIN = 1.05  # on what is violated, as AC is not linear
_NEAR = 0.5  # of the strongest effect on a limit
_LEAST_MW = 1e-9
_SWEEPS = 4  # two do where requests do not work against each other


@dataclass(frozen=True, slots=True)
class AreaRequests:
    """What is asked for.

    Attributes:
        p_mw: how much, positive. (n_areas,)
        direction: 1 where more has to be fed in or less drawn, else -1. (n_areas,)
        area: number of each peer's area, or `NO_AREA`. (n_peers,)
    """

    p_mw: FloatArray
    direction: IntArray
    area: IntArray

    def shares_mw(self, connection_mw: FloatArray) -> FloatArray:
        """The requests shared pro rata to connection capacity, negative downward, (n_peers,)."""
        shares, inside = np.zeros(len(self.area)), self.area != NO_AREA
        area, weight = self.area[inside], connection_mw[inside]
        total = np.bincount(area, weight, len(self.p_mw))
        shares[inside] = (self.direction * self.p_mw)[area] * weight / total[area]
        return shares


@dataclass(frozen=True, slots=True)
class _Limits:
    """Violated limits.

    Attributes:
        beyond: by how much each is violated, MW or pu. (n_limits,)
        relief: how much of that 1 MW more of each peer takes away. (n_limits, n_peers)
        near: the peers that count for it. (n_limits, n_peers)
        defines: whether it makes an area. (n_limits,)
    """

    beyond: FloatArray
    relief: FloatArray
    near: BoolArray
    defines: BoolArray


def capacity_requests(
    view: GridView, connection_mw: FloatArray, *, congestion: bool = True, voltage: bool = True
) -> AreaRequests:
    """Find areas and how much each has to provide.

    Args:
        view: the grid, with AC sensitivities.
        connection_mw: connection capacity of each peer, positive. (n_peers,)
        congestion: whether overloads count.
        voltage: whether voltages count.

    Returns:
        The requests; no areas where nothing is violated or no peer can change it.
    """
    limits = _violated(view, congestion=congestion, voltage=voltage)
    area, direction = _areas(limits)
    members = area[:, None] == np.arange(len(direction))  # (n_peers, n_areas)
    p_mw = _amounts(limits, members, direction, connection_mw)
    kept = np.flatnonzero(p_mw > _LEAST_MW)
    number = np.full(len(direction) + 1, NO_AREA)  # the last is that of peers without an area
    number[kept] = np.arange(len(kept))
    return AreaRequests(p_mw[kept], direction[kept], number[area])


def _violated(view: GridView, *, congestion: bool, voltage: bool) -> _Limits:
    """Violated limits that peers can do something about."""
    vm_pu, buses = view.state.vm_pu, view.network.buses
    parts = []
    if congestion:
        over = np.flatnonzero(view.occupancy > 1.0)
        flow = view.flow_mw[over]
        relief = -np.sign(flow)[:, None] * view.flow_by_mw(over)
        parts.append(_limits(np.abs(flow) - view.limit_mw[over], relief))
    if voltage:
        for side, beyond in ((1.0, buses.min_vm_pu - vm_pu), (-1.0, vm_pu - buses.max_vm_pu)):
            bus = np.flatnonzero(beyond > 0.0)
            found = _limits(beyond[bus], side * view.vm_by_mw(bus))
            parts.append(replace(found, defines=_worst_apart(found.beyond, found.near)))
    beyond, relief, near, defines = (
        np.concatenate([getattr(part, name) for part in parts]) for name in ("beyond", "relief", "near", "defines")
    )
    kept = (beyond > 0.0) & near.any(axis=1)
    return _Limits(beyond[kept], relief[kept], near[kept], defines[kept])


def _limits(beyond: FloatArray, relief: FloatArray) -> _Limits:
    """Limits of one kind, by how much they are exceeded, (n,), and what peers do about it, (n, n_peers)."""
    strength = np.abs(relief)
    strongest = strength.max(axis=1, keepdims=True, initial=0.0)
    near = (strength >= _NEAR * strongest) & (strongest > 0.0)
    return _Limits(beyond, relief, near, np.ones(len(beyond), dtype=np.bool_))


def _worst_apart(beyond: FloatArray, near: BoolArray) -> BoolArray:
    """Which voltages make an area: the worst, then the next whose peers are all others; (n,)."""
    chosen, taken = np.zeros(len(beyond), dtype=np.bool_), np.zeros(near.shape[1], dtype=np.bool_)
    for row in np.argsort(-beyond, kind="stable").tolist():
        if not (near[row] & taken).any():
            chosen[row] = True
            taken |= near[row]
    return chosen


def _areas(limits: _Limits) -> tuple[IntArray, IntArray]:
    """Area of each peer, `NO_AREA` without, (n_peers,), and the direction of each area, (n_areas,)."""
    near, up = limits.near[limits.defines], limits.relief[limits.defines] > 0.0
    inside = np.concatenate((near & up, near & ~up))  # in a mesh peers can help a branch in both directions
    direction = np.repeat([1, -1], len(near))
    size = inside.sum(axis=1)
    order = np.argsort(size, kind="stable")
    inside = inside[order]
    first = np.argmax(inside, axis=0) if len(inside) else np.zeros(near.shape[1], dtype=np.int64)
    used, area = np.unique(first[inside.any(axis=0)], return_inverse=True)
    number = np.full(near.shape[1], NO_AREA)
    number[inside.any(axis=0)] = area
    return number, direction[order][used]


def _amounts(limits: _Limits, members: BoolArray, direction: IntArray, connection_mw: FloatArray) -> FloatArray:
    """How much each area has to provide, (n_areas,)."""
    p_mw = np.zeros(len(direction))
    if not len(direction):
        return p_mw
    each = limits.relief[:, :, None] * direction  # (n_limits, n_peers, n_areas)
    effect = np.where(members, each, np.inf).min(axis=1)
    helps = (effect > 0.0) & (effect >= _NEAR * effect.max(axis=1, keepdims=True))
    weight = np.where(helps, connection_mw @ members, 0.0)  # (n_limits, n_areas)
    by_weight = (weight * effect).sum(axis=1)
    inside_out = np.argsort(limits.near.sum(axis=1), kind="stable")
    for _ in range(_SWEEPS):
        for row in inside_out[by_weight[inside_out] > 0.0].tolist():
            done = float(effect[row] @ p_mw)
            if done < limits.beyond[row]:  # what inner areas do may be enough without a margin
                p_mw += (_MARGIN * limits.beyond[row] - done) * weight[row] / by_weight[row]
    return p_mw
