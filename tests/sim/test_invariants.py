"""Properties of whole runs over random populations (design, section 6: 1, 2, 4, 5 and 6)."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from peerwatt.market.settlement import Ledger
from peerwatt.sim.model import Simulation
from peerwatt.sim.period import PeriodResult
from tests.scenarios import small_case, small_scenario

runs = st.fixed_dictionaries(
    {
        "mechanism": st.sampled_from(["double_auction", "bilateral"]),
        "seed": st.integers(0, 10_000),
        "pv": st.sampled_from([0.2, 0.5, 1.0]),
        "storage": st.sampled_from([0.0, 0.5]),
        "fee": st.sampled_from([0.0, 15.0]),
        "response": st.sampled_from([0.0, 0.4]),
        "loss": st.sampled_from([0.0, 0.2]),
        "fidelity": st.sampled_from(["message", "round"]),
    }
)


def simulate(spec: dict[str, Any]) -> tuple[Simulation, list[PeriodResult]]:
    scenario = small_scenario(
        4,
        seed=spec["seed"],
        market__mechanism=spec["mechanism"],
        population__pv_share=spec["pv"],
        population__storage_share=spec["storage"],
        population__demand_response={"household": spec["response"]},
        population__strategies={"zero_intelligence": 1.0, "truthful": 1.0},
        tariff__network_fee_eur_per_mwh=spec["fee"],
        communication__loss=spec["loss"],
        communication__fidelity=spec["fidelity"],
    )
    simulation = Simulation(scenario, case=CASE)
    results = []
    while simulation.running:
        simulation.step()
        results.append(simulation.last)
    simulation.close()
    return simulation, results  # type: ignore[return-value]


CASE = small_case(4, 12, seed=3)
few = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@few
@given(runs)
def test_trades_are_reciprocal_and_add_up(spec: dict[str, Any]) -> None:
    _, results = simulate(spec)
    for result in results:
        trades = result.trades
        assert (trades.p_mw > 0.0).all()
        assert (trades.seller != trades.buyer).all()
        assert np.allclose(trades.net_mw(len(result.p_traded_mw)), result.p_traded_mw, atol=1e-12)
        assert abs(result.p_traded_mw.sum()) < 1e-12
        # Nobody trades more than it has to give or to take.
        assert (np.abs(result.p_traded_mw) <= np.abs(result.p_p2p_mw) + 1e-9).all()
        assert (result.p_traded_mw * result.p_p2p_mw >= -1e-12).all()


@few
@given(runs)
def test_every_euro_has_a_payer_and_a_payee(spec: dict[str, Any]) -> None:
    simulation, results = simulate(spec)
    names = [*simulation.context.population.name, "supplier", "dso", simulation.context.market]
    for result in results:
        ledger = Ledger(names)
        ledger.append(result.entries)
        balance = ledger.balances()
        assert abs(balance.sum()) < 1e-9
        assert (result.entries.amount_eur > 0.0).all()
        assert np.allclose(-balance[: len(result.payment_eur)], result.payment_eur, atol=1e-12)


@few
@given(runs)
def test_the_meter_decides_what_is_paid(spec: dict[str, Any]) -> None:
    """Energy bought and sold, imbalance included, is the energy delivered, for every peer."""
    simulation, results = simulate(spec)
    tariff, n = simulation.settings.tariff, len(simulation.peers)
    price = {"supply": tariff.supply_eur_per_mwh, "feed_in": tariff.feed_in_eur_per_mwh}
    for result in results:
        entries, energy = result.entries, result.p_traded_mw * result.period_h
        reasons = ["p2p", "supply", "feed_in", "imbalance", "network_fee", "losses"]
        for code, reason in enumerate(reasons):
            rows = entries.reason == code
            payer, payee, amount = entries.payer[rows], entries.payee[rows], entries.amount_eur[rows]
            if reason in price:
                energy = energy + np.bincount(payee, amount, n + 2)[:n] / price[reason]
                energy = energy - np.bincount(payer, amount, n + 2)[:n] / price[reason]
            elif reason == "imbalance":
                energy = energy + np.bincount(payee, amount, n + 2)[:n] / tariff.excess_eur_per_mwh
                energy = energy - np.bincount(payer, amount, n + 2)[:n] / tariff.shortfall_eur_per_mwh
        assert np.allclose(energy, result.p_delivered_mw * result.period_h, atol=1e-12)


@few
@given(runs)
def test_trading_by_value_leaves_nobody_worse_off_when_forecasts_are_right(spec: dict[str, Any]) -> None:
    perfect = small_scenario(
        4,
        seed=spec["seed"],
        market__mechanism=spec["mechanism"],
        population__pv_share=spec["pv"],
        population__demand_response={"household": spec["response"]},
        tariff__network_fee_eur_per_mwh=spec["fee"],
        forecast__load_error=0.0,
        forecast__generation_error=0.0,
    )
    simulation = Simulation(perfect, case=CASE)
    while simulation.running:
        simulation.step()
        result = simulation.last
        assert result is not None
        gain = result.reference_payment_eur - (result.payment_eur - result.utility_eur)
        assert (gain > -1e-6).all()
        # The welfare that the market reports is what peers gain: none without trades, and no euro more.
        assert result.clearing is not None
        assert gain.sum() == pytest.approx(result.clearing.social_welfare_eur, abs=1e-6)
    simulation.close()


@few
@given(runs)
def test_nobody_trades_against_its_own_limit(spec: dict[str, Any]) -> None:
    """Whatever the mechanism: sellers get at least, buyers pay at most, what they asked for their firm power."""
    simulation, results = simulate(spec | {"response": 0.0})
    fee = spec["fee"] if spec["mechanism"] == "bilateral" else 0.0  # an auction's bids are less the fee already
    for result in results:
        if result.bids is None or not len(result.trades):
            continue
        limit = np.full(len(simulation.peers), np.nan)
        limit[result.bids.peer] = result.bids.cost_b
        assert (result.trades.price_eur_per_mwh >= limit[result.trades.seller] - 1e-4).all()
        assert (result.trades.price_eur_per_mwh + fee <= limit[result.trades.buyer] + 1e-4).all()


@few
@given(runs)
def test_power_is_conserved_at_every_stage(spec: dict[str, Any]) -> None:
    _, results = simulate(spec)
    for result in results:
        for stage, state in result.states.items():
            assert state.converged
            assert abs(state.p_mw.sum() + state.slack_p_mw - state.losses_mw) < 1e-9
            peers = {"forecast": result.p_forecast_mw, "p2p": result.p_p2p_mw, "delivery": result.p_delivered_mw}
            assert abs(state.p_mw.sum() - peers[stage].sum()) < 1e-12


@few
@given(runs)
def test_batteries_keep_within_bounds(spec: dict[str, Any]) -> None:
    simulation, results = simulate(spec)
    for result in results:
        assert (result.soc_mwh >= 0.0).all()
        assert (result.soc_mwh <= simulation.context.population.batteries.e_mwh).all()
