"""A market period: how it opens, and what it came to.

A `PeriodResult` is the one thing that the recorder, the page and the key figures read.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from peerwatt.agents.context import Context, PeriodDraft
from peerwatt.agents.devices import N_PRODUCTS
from peerwatt.agents.flexibility import Position
from peerwatt.agents.messages import BoolArray, FloatArray
from peerwatt.agents.records import Activated, Bids, CapacityRound, Regulation, RoundRecord
from peerwatt.agents.settings import TariffSettings
from peerwatt.grid.forecast import ForecastErrors
from peerwatt.grid.state import GridState
from peerwatt.market.clearing import Clearing, Trades
from peerwatt.market.settlement import Entries
from peerwatt.sim.bus import Delivery
from peerwatt.sim.metered import Metered

__all__ = ["PeriodResult", "open_period", "publish"]


@dataclass(frozen=True, slots=True)
class PeriodResult:
    """One period; arrays (n_peers,) where nothing else is said, none of which is changed later.

    Attributes:
        period: number of the period.
        period_h: its length, h.
        fee_eur_per_mwh: what buyer and seller of each trade pay the DSO. (n_trades,)
        states: grid by stage; a stage that was not reached is missing.
        bids: what the market received, None when it did not open.
        clearing: what it made of it.
        trades: trades between peers.
        rounds: record of each round of negotiation.
        flexibility: results of the flexibility markets.
        capacity: rounds of capacity trading.
        regulation: what the TSO asked for and got, None without a TSO.
        limits_met: whether an iterative scheme ended with all limits held, None without one.
        entries: every euro of the period.
        messages: every message sent in the period.
        p_forecast_mw: net power expected before trading.
        p_p2p_mw: net power after trading.
        p_delivered_mw, q_delivered_mvar: what the meters say.
        p_load_mw: consumption delivered, positive.
        p_generation_mw: generation delivered.
        p_curtailed_mw: generation that was there and that an activation or an order kept from being delivered.
        p_storage_mw: power of the batteries, positive when they discharge.
        p_traded_mw: net power sold to other peers.
        soc_mwh: energy in the batteries at the end.
        utility_eur: value of the consumption that trading added.
        payment_eur: what each peer paid less what it received.
        reference_payment_eur: the same without trading.
    """

    period: int
    period_h: float
    fee_eur_per_mwh: FloatArray
    states: dict[str, GridState]
    bids: Bids | None
    clearing: Clearing | None
    trades: Trades
    rounds: tuple[RoundRecord, ...]
    flexibility: tuple[Activated, ...]
    capacity: tuple[CapacityRound, ...]
    regulation: Regulation | None
    limits_met: bool | None
    entries: Entries
    messages: list[Delivery]
    p_forecast_mw: FloatArray
    p_p2p_mw: FloatArray
    p_delivered_mw: FloatArray
    q_delivered_mvar: FloatArray
    p_load_mw: FloatArray
    p_generation_mw: FloatArray
    p_curtailed_mw: FloatArray
    p_storage_mw: FloatArray
    p_traded_mw: FloatArray
    soc_mwh: FloatArray
    utility_eur: FloatArray
    payment_eur: FloatArray
    reference_payment_eur: FloatArray


def open_period(
    context: Context,
    period: int,
    profiles: FloatArray,
    errors: tuple[ForecastErrors, ForecastErrors],
    supplied: BoolArray,
    left_h: float,
) -> PeriodDraft:
    """Open a period: what will happen in it, and what the peers expect of it.

    Args:
        context: the run.
        period: number of the period.
        profiles: (n_columns,) values of the profiles.
        errors: forecast errors of loads and of generation.
        supplied: (n_peers,) who has a way to an external grid; the others neither use nor feed in anything.
        left_h: time from the end of the period to the end of the run, h.
    """
    population, n = context.population, len(context.population)
    realised = population.outlook(profiles).scaled(supplied, supplied)
    sure = np.ones(n - population.n_real)  # a virtual load has nothing to forecast
    expected = realised.scaled(*(np.append(error.factors(context.period_s)[0], sure) for error in errors))
    own = expected.load_mw + expected.generation_mw
    corridor = population.batteries.corridor(population.soc_initial_mwh, left_h, population.return_h)
    battery = np.where(supplied, population.batteries.dispatch(own, context.period_h, corridor), 0.0)
    usual = own + battery
    population.forget()
    position = Position.of(usual, expected.band_mw, context.tariff)
    if population.costs is not None:
        position = population.costs.positions(position, expected, context.tariff)
    return PeriodDraft(
        period=period,
        forecast=expected,
        realised=realised,
        battery_mw=battery,
        position=position,
        p_traded_mw=np.zeros(n),
        p_change_mw=np.zeros(n),
        p_followed_mw=np.zeros(n),
        p_delivered_mw=np.full(n, np.nan),
        q_delivered_mvar=np.full(n, np.nan),
        ordered_mw=np.zeros((n, N_PRODUCTS)),
        p_activated_mw=np.zeros((n, N_PRODUCTS)),
        aggregate_eur=np.zeros((context.network.n_bus, N_PRODUCTS)),
        outside_ordered_mw=np.zeros((len(context.outside), N_PRODUCTS)),
        outside_mw=np.zeros((len(context.outside), N_PRODUCTS)),
        outside_eur=np.zeros((len(context.outside), N_PRODUCTS)),
    )


def publish(draft: PeriodDraft, context: Context, messages: list[Delivery]) -> PeriodResult:
    """Close a period.

    Args:
        draft: what the agents have worked out.
        context: the run.
        messages: record of the bus.
    """
    n, tariff, period_h = len(context.population), context.tariff, context.period_h
    position = draft.position
    directive = context.population.directive
    used = Metered.of(
        draft.realised,
        position,
        draft.battery_mw,
        draft.p_followed_mw,
        draft.p_activated_mw,
        directive,
        tariff,
        period_h,
    )
    if context.network.voltage_dependence is not None:
        used = used.at_meter(draft.p_delivered_mw, draft.battery_mw)
    entries = Entries.concat([*draft.trade_entries, *draft.entries])
    paid = np.bincount(entries.payer, entries.amount_eur, context.n_accounts)
    received = np.bincount(entries.payee, entries.amount_eur, context.n_accounts)
    return PeriodResult(
        period=draft.period,
        period_h=period_h,
        fee_eur_per_mwh=_fees(draft, tariff),
        states=draft.states,
        bids=draft.bids,
        clearing=draft.clearing,
        trades=draft.trades,
        rounds=tuple(draft.rounds),
        flexibility=tuple(draft.flexibility),
        capacity=tuple(draft.capacity),
        regulation=draft.regulation,
        limits_met=draft.limits_met,
        entries=entries,
        messages=messages,
        p_forecast_mw=position.firm_mw,
        p_p2p_mw=directive.schedule(draft.forecast, position, draft.battery_mw, draft.p_change_mw)[0],
        p_delivered_mw=draft.p_delivered_mw,
        q_delivered_mvar=draft.q_delivered_mvar,
        p_load_mw=used.p_load_mw,
        p_generation_mw=used.p_generation_mw,
        p_curtailed_mw=used.p_curtailed_mw,
        p_storage_mw=draft.battery_mw,
        p_traded_mw=draft.p_traded_mw,
        soc_mwh=context.population.batteries.soc_mwh.copy(),
        utility_eur=used.utility_eur,
        payment_eur=np.asarray((paid - received)[:n], dtype=np.float64),
        reference_payment_eur=used.reference_payment_eur,
    )


def _fees(draft: PeriodDraft, tariff: TariffSettings) -> FloatArray:
    """Fees of each trade, the tariff's and those of the DSO's signals; (n_trades,)."""
    trades, signals = draft.trades, draft.rounds[-1].signals if draft.rounds else None
    fees = np.full(len(trades), tariff.network_fee_eur_per_mwh)
    if signals is not None:
        fees += signals.seller_fee[trades.seller, trades.buyer] + signals.buyer_fee[trades.seller, trades.buyer]
    return fees
