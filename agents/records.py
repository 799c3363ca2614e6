"""What a period keeps for the tables and the settlement: bids, rounds, what was activated, held and regulated."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np

from peerwatt.agents.messages import FloatArray, IntArray
from peerwatt.agents.policies import Measures, Signals
from peerwatt.agents.regulation import FrequencyRecord
from peerwatt.grid.network import Network
from peerwatt.grid.state import GridState
from peerwatt.market.capacity import CapacityClearing
from peerwatt.market.clearing import Trades
from peerwatt.market.flexibility import FlexibilityClearing

__all__ = ["Activated", "Bids", "CapacityRound", "Extremes", "Regulation", "RoundRecord"]


@dataclass(frozen=True, slots=True)
class Extremes:
    """The most loaded branch and the most extreme voltage of a state.

    Attributes:
        branch: position of the line or transformer that is loaded most by its limit, -1 without a solution.
        loading_percent: its loading.
        bus: position of the bus that is farthest beyond its band, or nearest to its edge; -1 without a solution.
        vm_pu: its voltage.
    """

    branch: int
    loading_percent: float
    bus: int
    vm_pu: float

    @classmethod
    def of(cls, network: Network, state: GridState) -> Self:
        """Find them."""
        if not state.converged:
            return cls(-1, np.nan, -1, np.nan)
        lines, trafos, buses = network.lines, network.trafos, network.buses
        loading = np.concatenate([state.line.loading_percent, state.trafo.loading_percent])
        occupancy = loading / np.concatenate([lines.max_loading_percent, trafos.max_loading_percent])
        branch = int(np.argmax(np.nan_to_num(occupancy))) if len(occupancy) else -1
        beyond = np.maximum(state.vm_pu - buses.max_vm_pu, buses.min_vm_pu - state.vm_pu)
        bus = int(np.argmax(np.nan_to_num(beyond, nan=-np.inf)))
        return cls(branch, float(loading[branch]) if branch >= 0 else np.nan, bus, float(state.vm_pu[bus]))


@dataclass(frozen=True, slots=True)
class Bids:
    """What a market received, as a table; arrays (n_rows,).

    Attributes:
        peer: row of the peer, -1 for the supplier.
        step: number of the step of this peer's bid.
        p_min_mw, p_max_mw: bounds of net power.
        cost_a: EUR/MW2h, 0 for price steps.
        cost_b: EUR/MWh, the limit price of price steps.
    """

    peer: IntArray
    step: IntArray
    p_min_mw: FloatArray
    p_max_mw: FloatArray
    cost_a: FloatArray
    cost_b: FloatArray


@dataclass(frozen=True, slots=True)
class Activated:
    """What a flexibility market received and activated, as a table; arrays (n_rows,).

    Attributes:
        cycle: number of the flexibility market in the period.
        account: who offered, by ledger account.
        bus: where, positions of buses.
        product: number of the product.
        offered_mw, activated_mw: positive.
        bid_eur_per_mwh: what was wanted.
        paid_eur: what is due, once it has been delivered; negative where the provider pays.
        clearing: the market's result.
        missing_mw: overflow that AC power flow finds with what is activated, NaN where it has no solution.
        missing_pu: how far the worst voltage is outside its band then.
    """

    cycle: int
    account: IntArray
    bus: IntArray
    product: IntArray
    offered_mw: FloatArray
    activated_mw: FloatArray
    bid_eur_per_mwh: FloatArray
    paid_eur: FloatArray
    clearing: FlexibilityClearing
    missing_mw: float = np.nan
    missing_pu: float = np.nan


@dataclass(frozen=True, slots=True)
class RoundRecord:
    """One round of negotiation as the DSO saw it.

    Attributes:
        cycle, number: which round.
        signals: what it had told, None without a scheme.
        n_congested, n_voltage: violated limits with the proposed trades.
        overflow_sum_mw: flow above the limits; NaN where the power flow has no solution.
        p2p_volume_mw: power traded.
        residual_mw: how much trades have changed since the round before; NaN in the first.
        converged: whether the power flow has a solution.
        measures: what an iterative policy tried, None for others.
        extremes: the most loaded branch and the most extreme voltage, None where nobody looked.
    """

    cycle: int
    number: int
    signals: Signals | None
    n_congested: int
    n_voltage: int
    overflow_sum_mw: float
    p2p_volume_mw: float
    residual_mw: float
    converged: bool
    measures: Measures | None = None
    extremes: Extremes | None = None


@dataclass(frozen=True, slots=True)
class CapacityRound:
    """What one round of capacity trading received, who provides what, and who pays whom; arrays (n_rows,).

    Attributes:
        cycle: number of the round in the period.
        account: who offered, rows of the population.
        bus: where, positions of buses.
        product: number of the product.
        offered_mw, activated_mw: what it can provide and what it provides, for itself and for others; positive.
        bid_eur_per_mwh: what is wanted.
        paid_eur: what other peers pay for it, once it has been delivered.
        trades: between peers, rows of the population; prices per MWh of capacity that is held.
        missing_mw: what was asked for and nobody provides.
        clearing: the market's result, prices per MW and period.
    """

    cycle: int
    account: IntArray
    bus: IntArray
    product: IntArray
    offered_mw: FloatArray
    activated_mw: FloatArray
    bid_eur_per_mwh: FloatArray
    paid_eur: FloatArray
    trades: Trades
    missing_mw: float
    clearing: CapacityClearing


@dataclass(frozen=True, slots=True)
class Regulation:
    """What the TSO asked for in a period, and what it got; MW, positive for regulation up.

    Attributes:
        requested_mw: what it asked for.
        accepted_mw: what was traded with its virtual load.
        provided_mw: by how much the request moved the exchange with the distribution grid, against the same market
            without it, losses included.
        price_eur_per_mwh: limit price of the request, NaN without one.
        branch: line or transformer for whose sake the DSO refused the rest, -1 for none.
        bus: bus for whose voltage it did, -1 for none.
        frequency: what came of it for the frequency.
    """

    requested_mw: float
    accepted_mw: float
    provided_mw: float
    price_eur_per_mwh: float
    branch: int
    bus: int
    frequency: FrequencyRecord
