"""What a run has come to so far, period by period: what the page draws over time.

Numbers of the grid and the market come from the rows that a recorded run would write, so that the page and the
results of the same scenario say the same.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from peerwatt.agents.population import Population
from peerwatt.grid.state import GridState
from peerwatt.sim.model import Simulation
from peerwatt.sim.period import PeriodResult
from peerwatt.sim.roles import Role
from peerwatt.sim.rows import Rows, Vocabulary
from peerwatt.sim.status import PARTS
from peerwatt.sim.tables import Stage

__all__ = ["MONEY", "SERIES", "Element", "History", "uncleared", "unsupplied"]

Floats = NDArray[np.float64]

SERIES = {
    "traded_mwh": "Traded between peers",
    "price_eur_per_mwh": "Mean price",
    "exchange_mwh": "Net import",
    "losses_mwh": "Losses",
    "max_occupancy_percent": "Highest loading",
    "min_vm_pu": "Lowest voltage",
    "max_vm_pu": "Highest voltage",
    "violations": "Limits violated",
    "uncleared": "Markets not cleared",
    "unsupplied": "Peers without supply",
    "saved_eur": "Saved by peers",
    "messages": "Messages",
}
"""Series that are kept for every period, with what they are called."""

MONEY = (Role.PEERS, Role.SUPPLIER, Role.DSO, Role.MEDIATOR, Role.TSO, Role.OUTSIDE)
"""Roles with accounts; the mediator stands for whoever runs the market."""


@dataclass(frozen=True, slots=True)
class Element:
    """Something in the grid that can be pinned.

    Attributes:
        kind: `bus`, `line` or `trafo`.
        position: row in the network.
    """

    kind: str
    position: int

    @property
    def key(self) -> str:
        """How the page names it, e.g. `line:12`."""
        return f"{self.kind}:{self.position}"

    @classmethod
    def of(cls, key: str) -> Element | None:
        """The element of a key; None where it is none."""
        kind, _, number = key.partition(":")
        return cls(kind, int(number)) if kind in ("bus", "line", "trafo") and number.isdecimal() else None


@dataclass(slots=True)
class History:
    """Grows by a row with each period.

    Attributes:
        title: what distinguishes the run, for legends.
        times: start of each period, as text.
        series: values by name of `SERIES`, one per period.
        money: received less paid since the start, per period and role of `MONEY`.
        vm_pu: voltages at delivery, one array of (n_bus,) per period.
        occupancy_percent: loading of lines, then transformers, of their limits, (n_line + n_trafo,) per period.
        flow_mw: power at the from side, in the same order.
        bus_mw: net power delivered by the peers at each bus, (n_bus,) per period.
        largest_flow_mw: largest flow of any branch so far.
        largest_bus_mw: largest net power at any bus so far.
    """

    title: str
    times: list[str] = field(default_factory=list)
    series: dict[str, list[float]] = field(default_factory=lambda: {name: [] for name in SERIES})
    money: list[Floats] = field(default_factory=list)
    vm_pu: list[NDArray[np.float32]] = field(default_factory=list)
    occupancy_percent: list[NDArray[np.float32]] = field(default_factory=list)
    flow_mw: list[NDArray[np.float32]] = field(default_factory=list)
    bus_mw: list[NDArray[np.float32]] = field(default_factory=list)
    largest_flow_mw: float = 0.0
    largest_bus_mw: float = 0.0

    def __len__(self) -> int:
        return len(self.times)

    def add(self, simulation: Simulation, time: str) -> None:
        """Add the period that a simulation has just ended.

        Args:
            simulation: the run.
            time: start of the period.
        """
        result = simulation.last
        if result is None:
            return
        self.times.append(time)
        for name, value in _figures(simulation, result).items():
            self.series[name].append(value)
        before = self.money[-1] if self.money else np.zeros(len(MONEY))
        self.money.append(before + _balance(simulation, result))
        self._add_grid(simulation, result)

    def total(self, name: str) -> float:
        """Sum of a series; what is not known does not count."""
        return float(np.nansum(self.series[name])) if self.series[name] else 0.0

    def of_element(self, element: Element, n_line: int) -> dict[str, Floats]:
        """Values over time of one element, by quantity with its unit."""
        if element.kind == "bus":
            parts = {"voltage, pu": self.vm_pu, "net power of peers, kW": self.bus_mw}
            row = element.position
        else:
            parts = {"loading, % of limit": self.occupancy_percent, "flow, kW": self.flow_mw}
            row = element.position + (n_line if element.kind == "trafo" else 0)
        values = {name: np.array([each[row] for each in part], dtype=np.float64) for name, part in parts.items()}
        return {name: 1e3 * each if name.endswith("kW") else each for name, each in values.items()}

    def _add_grid(self, simulation: Simulation, result: PeriodResult) -> None:
        network, population = simulation.case.network, simulation.context.population
        state = result.states.get(Stage.DELIVERY)
        if state is None:
            nan = np.full(network.n_line + network.n_trafo, np.nan)
            vm, loading, flow = np.full(network.n_bus, np.nan), nan, nan
        else:
            vm = state.vm_pu
            loading = 100.0 * np.concatenate(state.occupancy(network))
            flow = np.concatenate((state.line.p_from_mw, state.trafo.p_from_mw))
        delivered = population.at_buses(np.nan_to_num(result.p_delivered_mw), network.n_bus)
        for kept, values in (
            (self.vm_pu, vm),
            (self.occupancy_percent, loading),
            (self.flow_mw, flow),
            (self.bus_mw, delivered),
        ):
            kept.append(values.astype(np.float32))
        self.largest_flow_mw = max(self.largest_flow_mw, float(np.nanmax(np.abs(flow), initial=0.0)))
        self.largest_bus_mw = max(self.largest_bus_mw, float(np.abs(delivered).max(initial=0.0)))


def unsupplied(population: Population, state: GridState | None) -> NDArray[np.intp]:
    """Rows of the peers that have no way to an external grid; none where the power flow has no solution."""
    if state is None or not state.converged:
        return np.empty(0, dtype=np.intp)
    return np.flatnonzero(np.isnan(state.vm_pu[population.bus]) & (population.virtual == 0.0))


def _figures(simulation: Simulation, result: PeriodResult) -> dict[str, float]:
    """Values of `SERIES`."""
    vocabulary = Vocabulary(simulation.context.population.name, simulation.context.market, ())
    columns = Rows(simulation.case.network, vocabulary).by_table["period"](result)
    stages = [stage for stage in Stage if stage in result.states]
    grid, market = (
        {name: values[stages.index(stage)] for name, values in columns.items()} if stage in stages else {}
        for stage in (Stage.DELIVERY, Stage.P2P)
    )
    delivered = np.isfinite(result.p_delivered_mw)
    saved = result.reference_payment_eur - result.payment_eur + result.utility_eur
    hours = result.period_h
    return {
        "traded_mwh": _number(market, "p2p_volume_mwh", 0.0),
        "price_eur_per_mwh": _number(market, "p2p_price_eur_per_mwh"),
        "exchange_mwh": _number(grid, "slack_p_mw") * hours,
        "losses_mwh": _number(grid, "losses_mw") * hours,
        "max_occupancy_percent": _number(grid, "max_occupancy_percent"),
        "min_vm_pu": _number(grid, "min_vm_pu"),
        "max_vm_pu": _number(grid, "max_vm_pu"),
        "violations": _number(grid, "n_congested_lines") + _number(grid, "n_voltage_violations"),
        "uncleared": float(len(uncleared(result))),
        "unsupplied": float(len(unsupplied(simulation.context.population, result.states.get(Stage.DELIVERY)))),
        "saved_eur": float(saved[delivered].sum()),
        "messages": float(sum(delivery.n for delivery in result.messages)),
    }


def uncleared(result: PeriodResult) -> list[str]:
    """Markets of a period without a result, as `peerwatt.sim.status` calls them."""
    ends = {
        "market": result.clearing,
        "lfm": result.flexibility[-1].clearing if result.flexibility else None,
        "capacity": result.capacity[-1].clearing if result.capacity else None,
    }
    found = ((part, ends[part.name]) for part in PARTS)
    return [part.words for part, clearing in found if clearing is not None and clearing.status in part.failures]


def _number(columns: dict[str, Any], name: str, missing: float = np.nan) -> float:
    value = columns.get(name)
    return missing if value is None else float(value)


def _balance(simulation: Simulation, result: PeriodResult) -> Floats:
    """What each role received less what it paid in a period, (n_roles,)."""
    n, entries = len(simulation.context.population), result.entries
    roles = len(MONEY)
    role = np.full(simulation.context.n_accounts, roles - 1)
    role[:n] = 0
    role[:n][simulation.context.population.virtual > 0.0] = MONEY.index(Role.TSO)
    role[n : n + 3] = (1, 2, 3)
    received = np.bincount(role[entries.payee], entries.amount_eur, roles)
    return np.asarray(received - np.bincount(role[entries.payer], entries.amount_eur, roles), dtype=np.float64)
