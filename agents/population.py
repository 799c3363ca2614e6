"""All peers at once: their numbers as arrays, one row per peer.

An agent is an object, its numbers are arrays: a `Peer` is a view on its row here, so that one period costs a
handful of array operations whether 50 or 5,000 peers take part. Rows are in a canonical order (by bus, then
copy), so results do not depend on the order in which elements stand in a file.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from scipy.sparse import csr_array

from peerwatt.agents.devices import N_BLOCKS, N_PRODUCTS, Batteries, Outlook, Units
from peerwatt.agents.messages import FloatArray, IntArray
from peerwatt.agents.terms import Terms

__all__ = ["KINDS", "Population"]

KINDS = ("consumer", "producer", "prosumer")
_LEAST_MW = 1e-9


@dataclass(slots=True)
class Population:
    """The state of all peers; arrays of shape (n_peers,) where nothing else is said.

    Attributes:
        name: names of the peers.
        bus: position of each peer's bus in the network.
        units: loads and generators, one row per unit.
        batteries: one per peer.
        strategy: names of the strategies in use, sorted.
        strategy_code: which of them each peer follows.
        n_columns: number of profiles that the units refer to.
        p_traded_mw: net power it has sold to other peers in this period, as far as it was told.
        p_change_mw: by how much that moves its net power.
        p_activated_mw: what it was told to do for the DSO in this period. (n_peers, n_products)
        flexibility_eur: what it will be paid for that.
        terms: what it knows of the DSO's signals, made when there are any.
        last_price_eur_per_mwh: mean price of its last trades, NaN without.
        vm_pu: voltage at its connection point when last told, NaN before.
        path_loading_percent: highest loading on its way to the external grid when last told, NaN before.
        told_period: period of which the DSO told last, -1 before.
    """

    name: tuple[str, ...]
    bus: IntArray
    units: Units
    batteries: Batteries
    strategy: tuple[str, ...]
    strategy_code: IntArray
    n_columns: int
    p_traded_mw: FloatArray = field(init=False)
    p_change_mw: FloatArray = field(init=False)
    p_activated_mw: FloatArray = field(init=False)
    flexibility_eur: FloatArray = field(init=False)
    terms: Terms = field(init=False)
    last_price_eur_per_mwh: FloatArray = field(init=False)
    vm_pu: FloatArray = field(init=False)
    path_loading_percent: FloatArray = field(init=False)
    told_period: IntArray = field(init=False)
    _aggregation: csr_array = field(init=False)

    def __post_init__(self) -> None:
        n = len(self.name)
        self.p_traded_mw = np.zeros(n)
        self.p_change_mw = np.zeros(n)
        self.p_activated_mw = np.zeros((n, N_PRODUCTS))
        self.flexibility_eur = np.zeros(n)
        self.terms = Terms.none(0)
        self.last_price_eur_per_mwh = np.full(n, np.nan)
        self.vm_pu = np.full(n, np.nan)
        self.path_loading_percent = np.full(n, np.nan)
        self.told_period = np.full(n, -1)
        self._aggregation = self.units.aggregation(n, self.n_columns)

    def __len__(self) -> int:
        return len(self.name)

    def forget(self) -> None:
        """Begin a period: nothing is traded and nothing activated."""
        self.p_traded_mw[:] = self.p_change_mw[:] = self.flexibility_eur[:] = 0.0
        self.p_activated_mw[:] = 0.0

    def outlook(self, profiles: FloatArray) -> Outlook:
        """Injections of all peers under a row of profiles.

        Args:
            profiles: (n_columns,) values of the profiles in one period.
        """
        values = self._aggregation @ np.append(profiles, 1.0)
        return Outlook(*values.reshape(N_BLOCKS, len(self)))

    def kind(self) -> IntArray:
        """What each peer is: position in `KINDS`."""
        load, generation = self.units.rated_mw(len(self))
        feeds = (generation > 0.0) | (self.batteries.e_mwh > 0.0)
        return np.where(feeds, np.where(load > 0.0, 2, 1), 0)

    def connection_mw(self) -> FloatArray:
        """Capacity of each peer's connection: the larger of what its units can draw and feed in, above 0."""
        load, generation = self.units.rated_mw(len(self))
        return np.maximum(np.maximum(load, generation + self.batteries.p_mw), _LEAST_MW)

    def at_buses(self, values: FloatArray, n_bus: int) -> FloatArray:
        """Sum of a peer quantity at every bus, (n_bus,)."""
        return np.bincount(self.bus, values, n_bus).astype(np.float64, copy=False)
