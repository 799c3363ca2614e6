"""All peers at once: their numbers as arrays, one row per peer.

An agent is an object, its numbers are arrays: a `Peer` is a view on its row here, so that one period costs a
handful of array operations whether 50 or 5,000 peers take part. Rows are in a canonical order (by bus, then
copy), so results do not depend on the order in which elements stand in a file.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from scipy.sparse import csr_array

from peerwatt.agents.costs import Costs
from peerwatt.agents.devices import N_BLOCKS, N_PRODUCTS, Batteries, MovedProfiles, Outlook, Units
from peerwatt.agents.directive import Directive
from peerwatt.agents.messages import BoolArray, FloatArray, IntArray
from peerwatt.agents.terms import Terms

__all__ = ["KINDS", "VIRTUAL_LOAD", "Population"]

KINDS = ("consumer", "producer", "prosumer", "virtual load")
VIRTUAL_LOAD = "virtual load"
_ITS_STRATEGY = "truthful"
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
        n_columns: number of profiles of the grid.
        costs: cost functions of their own, if any peer has one.
        return_h: hours at the end of the run in which batteries return to what they began with, None if never.
        moved: profiles that are the grid's at another time; they come after those of the grid.
        added_batteries: whether the scenario has given each its battery.
        soc_initial_mwh: energy in the batteries at the start.
        virtual: 1 for the TSO's virtual load, 0 for every other peer.
        p_traded_mw: net power it has sold to other peers in this period, as far as it was told.
        p_change_mw: by how much that moves its net power.
        p_activated_mw: what it was told to do for the DSO in this period. (n_peers, n_products)
        flexibility_eur: what it will be paid for each, if all is delivered. (n_peers, n_products)
        directive: what the DSO has ordered it in this period, see `Directive`.
        requested_mw: what a virtual load has been asked to draw, 0 for all others.
        request_eur_per_mwh: what is paid for that at most, or wanted at least where it feeds in.
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
    costs: Costs | None = None
    return_h: float | None = None
    moved: MovedProfiles = field(init=False)
    added_batteries: BoolArray = field(init=False)
    soc_initial_mwh: FloatArray = field(init=False)
    virtual: FloatArray = field(init=False)
    p_traded_mw: FloatArray = field(init=False)
    p_change_mw: FloatArray = field(init=False)
    p_activated_mw: FloatArray = field(init=False)
    flexibility_eur: FloatArray = field(init=False)
    directive: Directive = field(init=False)
    requested_mw: FloatArray = field(init=False)
    request_eur_per_mwh: FloatArray = field(init=False)
    terms: Terms = field(init=False)
    last_price_eur_per_mwh: FloatArray = field(init=False)
    vm_pu: FloatArray = field(init=False)
    path_loading_percent: FloatArray = field(init=False)
    told_period: IntArray = field(init=False)
    _aggregation: csr_array = field(init=False)

    def __post_init__(self) -> None:
        n = len(self.name)
        self.soc_initial_mwh = self.batteries.soc_mwh.copy()
        self.virtual = np.zeros(n)
        self.p_traded_mw = np.zeros(n)
        self.p_change_mw = np.zeros(n)
        self.p_activated_mw = np.zeros((n, N_PRODUCTS))
        self.flexibility_eur = np.zeros((n, N_PRODUCTS))
        self.directive = Directive.none(n)
        self.requested_mw, self.request_eur_per_mwh = np.zeros((2, n))
        self.terms = Terms.none(0)
        self.last_price_eur_per_mwh = np.full(n, np.nan)
        self.vm_pu = np.full(n, np.nan)
        self.path_loading_percent = np.full(n, np.nan)
        self.told_period = np.full(n, -1)
        self.added_batteries = np.zeros(n, dtype=bool)
        units, self.moved = self.units.with_own_columns(self.n_columns)
        self._aggregation = units.aggregation(n, self.n_columns + len(self.moved.column))

    def __len__(self) -> int:
        return len(self.name)

    @property
    def n_real(self) -> int:
        """Number of peers that own something; a virtual load comes after them."""
        return int(np.count_nonzero(self.virtual == 0.0))

    def with_virtual_load(self, bus: int) -> Population:
        """These peers and a virtual load of the TSO, which owns nothing and trades what the TSO requests.

        Args:
            bus: position of the bus of the external grid.
        """
        name = VIRTUAL_LOAD
        while name in self.name:
            name += "'"
        strategies = tuple(sorted({*self.strategy, _ITS_STRATEGY}))
        code = np.array([strategies.index(each) for each in self.strategy], dtype=np.int64)[self.strategy_code]
        none = Batteries.none(1)
        batteries = Batteries(
            *(np.append(getattr(self.batteries, each), getattr(none, each)) for each in Batteries.__slots__)
        )
        extended = Population(
            (*self.name, name),
            np.append(self.bus, bus),
            self.units,
            batteries,
            strategies,
            np.append(code, strategies.index(_ITS_STRATEGY)),
            self.n_columns,
            None if self.costs is None else self.costs.extended(1),
            self.return_h,
        )
        extended.virtual[-1] = 1.0
        extended.added_batteries[:-1] = self.added_batteries
        return extended

    def forget(self) -> None:
        """Begin a period: nothing is traded and nothing activated."""
        self.p_traded_mw[:] = self.p_change_mw[:] = self.requested_mw[:] = 0.0
        self.p_activated_mw[:] = self.flexibility_eur[:] = 0.0
        if self.directive:
            self.directive = Directive.none(len(self))

    def outlook(self, profiles: FloatArray) -> Outlook:
        """Injections of all peers under a row of profiles.

        Args:
            profiles: (n_columns,) values of the profiles in one period, `moved` ones too.
        """
        values = self._aggregation @ np.append(profiles, 1.0)
        return Outlook(*values.reshape(N_BLOCKS, len(self)))

    def outlooks(self, profiles: FloatArray) -> FloatArray:
        """The fields of `outlook` under many rows of profiles, (n_fields, n_rows, n_peers).

        Args:
            profiles: (n_rows, n_columns) values of the profiles, `moved` ones too.
        """
        columns = np.vstack([profiles.T, np.ones(len(profiles))])
        values: FloatArray = self._aggregation @ columns
        return values.reshape(N_BLOCKS, len(self), -1).swapaxes(1, 2)

    def kind(self) -> IntArray:
        """What each peer is: position in `KINDS`."""
        load, generation = self.units.rated_mw(len(self))
        feeds = (generation > 0.0) | (self.batteries.e_mwh > 0.0)
        return np.where(self.virtual > 0.0, 3, np.where(feeds, np.where(load > 0.0, 2, 1), 0))

    def connection_mw(self) -> FloatArray:
        """Capacity of each peer's connection: the larger of what its units can draw and feed in, above 0."""
        load, generation = self.units.rated_mw(len(self))
        return np.maximum(np.maximum(load, generation + self.batteries.p_mw), _LEAST_MW)

    def at_buses(self, values: FloatArray, n_bus: int) -> FloatArray:
        """Sum of a peer quantity at every bus, (n_bus,)."""
        return np.bincount(self.bus, values, n_bus).astype(np.float64, copy=False)
