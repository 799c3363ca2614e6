"""Policies that go on from check to check: signals and orders that depend on what the last ones have led to.

A course is a generator. It yields what the DSO shall tell the market, and is sent what the power flow says of the
trades that this leads to. It ends when it is content, or does not know better:

    def course(self, n_peers):
        checked = yield Measures()          # trading as usual
        while not checked.ok:
            checked = yield Measures(penalty, signals)
        return True                         # solved

The DSO ends a course that would take more rounds than there are with the best measures that have been tried.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Protocol, TypeAlias, runtime_checkable

import numpy as np

from peerwatt.agents.messages import BoolArray, FloatArray, IntArray
from peerwatt.agents.policies.signals import SignalKind, Signals
from peerwatt.agents.policies.view import GridView
from peerwatt.grid.state import GridState

_SMALL_MW = 1e-9

__all__ = ["Checked", "Course", "IterativePolicy", "Measures"]


@dataclass(frozen=True, slots=True)
class Measures:
    """What the DSO tells peers for one round.

    Attributes:
        penalty_eur_per_mwh: level of the penalties in `signals`, for the record.
        signals: what trades cost besides their price; None for nothing.
        load_share: share of its forecast by which each load is moved, positive to consume less; None for nobody,
            else (n_peers,).
        flexibility: largest of these shares, or of what generation is released, for the record.
        generation_share: share of its forecast that generation need not run. None, or (n_peers,).
        reactive: share of its usual reactive power for each peer. None, or (n_peers,).
    """

    penalty_eur_per_mwh: float = 0.0
    signals: Signals | None = None
    load_share: FloatArray | None = None
    generation_share: FloatArray | None = None
    reactive: FloatArray | None = None

    @property
    def flexibility(self) -> float:
        """Largest share of a forecast that is ordered or released."""
        shares = [each for each in (self.load_share, self.generation_share) if each is not None]
        return max((float(np.abs(each).max(initial=0.0)) for each in shares), default=0.0)

    @property
    def n_reactive(self) -> int:
        """Number of peers that are told to change their reactive power."""
        return 0 if self.reactive is None else int(np.count_nonzero(self.reactive != 1.0))

    @property
    def rank(self) -> tuple[float, float, int]:
        """By which of two measures that do the same the lesser one is found."""
        return self.flexibility, self.penalty_eur_per_mwh, self.n_reactive


@dataclass(frozen=True, slots=True)
class Checked:
    """What became of measures.

    Attributes:
        view: the grid with the trades that they have led to.
        ok: whether no limit is violated that the DSO cares for.
        congestion, voltage: what it cares for.
        change_mw: by how much trading moves each peer from its firm power. (n_peers,)
        generates: peers that feed in. (n_peers,)
        consumes: peers with consumption. (n_peers,)
        reacts: peers with reactive power that can be reduced. (n_peers,)
        virtual: the TSO's virtual load. (n_peers,)
        trial: the grid with the same trades and other shares of reactive power (n_peers,).
    """

    view: GridView
    ok: bool
    congestion: bool
    voltage: bool
    change_mw: FloatArray
    generates: BoolArray
    consumes: BoolArray
    reacts: BoolArray
    virtual: BoolArray
    trial: Callable[[FloatArray], GridState]

    @property
    def moved_up(self) -> BoolArray:
        """Peers that trading moves up from their firm power; (n_peers,)."""
        return self.change_mw > _SMALL_MW

    @property
    def moved_down(self) -> BoolArray:
        """Peers that trading moves down; (n_peers,)."""
        return self.change_mw < -_SMALL_MW

    @property
    def severity(self) -> float:
        """How much is violated: shares of limits above 1, and voltages beyond their band as a share of it."""
        state, network = self.view.state, self.view.network
        if not state.converged:
            return np.inf
        over = np.nansum(np.maximum(self.view.occupancy - 1.0, 0.0)) if self.congestion else 0.0
        band = network.buses.max_vm_pu - network.buses.min_vm_pu
        return float(over + (np.abs(self.beyond() / band).sum() if self.voltage else 0.0))

    def beyond(self) -> FloatArray:
        """How far each bus is above (positive) or below (negative) its band, pu; (n_bus,)."""
        buses, vm_pu = self.view.network.buses, self.view.state.vm_pu
        high, low = np.maximum(vm_pu - buses.max_vm_pu, 0.0), np.maximum(buses.min_vm_pu - vm_pu, 0.0)
        beyond: FloatArray = np.nan_to_num(high - low)
        return beyond

    @property
    def worst_bus(self) -> int:
        """Position of the bus that is farthest beyond its band, -1 where none is."""
        beyond = self.beyond()
        return int(np.argmax(np.abs(beyond))) if beyond.any() else -1

    def congested(self) -> IntArray:
        """Positions of the lines and transformers above their limit that count."""
        if not self.congestion:
            return np.zeros(0, dtype=np.int64)
        return np.flatnonzero(self.view.occupancy > 1.0)


Course: TypeAlias = Generator[Measures, Checked, bool]
"""Yields measures, is sent what became of them, returns whether the limits hold."""


@runtime_checkable
class IterativePolicy(Protocol):
    """Goes from check to check."""

    @property
    def kind(self) -> SignalKind:
        """What kind of signals it makes."""

    @property
    def alpha_eur_per_mwh(self) -> float:
        """What the DSO pays for flexibility that it orders."""

    def course(self, n_peers: int) -> Course:
        """Begin a period.

        Args:
            n_peers: number of peers.
        """
