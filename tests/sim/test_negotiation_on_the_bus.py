"""Peers that negotiate by messages: both fidelities, loss, deadlines, and who learns what."""

from __future__ import annotations

from collections import Counter
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from peerwatt.agents.messages import Batch, ClearingNotice, ProposedTrades
from peerwatt.agents.proposals import Closing, Enrolment, Introduction, TradeProposal, TradeReport
from peerwatt.errors import ScenarioError
from peerwatt.grid.cases import case_from_net
from peerwatt.market.bilateral import bilateral
from peerwatt.market.book import QuadraticBook, all_pairs
from peerwatt.market.clearing import Clearing, Status
from peerwatt.sim.bus import Bus, Link
from peerwatt.sim.clock import Clock
from peerwatt.sim.model import Simulation
from peerwatt.sim.period import PeriodResult
from peerwatt.sim.results import Results
from tests.scenarios import START, STEP_S, feeder, small_case, small_scenario

PERIODS = 5
FEE = 10.0
MIX = {"zero_intelligence": 0.5, "truthful": 0.5}


def run(
    fidelity: str, mechanism: str = "consensus_innovation", *, out: Path | None = None, **changes: Any
) -> list[PeriodResult]:
    changes = {"population__strategies": MIX, "tariff__network_fee_eur_per_mwh": FEE, **changes}
    scenario = small_scenario(PERIODS, market__mechanism=mechanism, communication__fidelity=fidelity, **changes)
    results = []
    with Simulation(scenario, out, case=small_case(PERIODS, 8)) as simulation:
        while simulation.running:
            simulation.step()
            assert simulation.last is not None
            results.append(simulation.last)
    return results


def clearing_of(result: PeriodResult) -> Clearing:
    assert result.clearing is not None
    return result.clearing


def central(result: PeriodResult) -> Clearing:
    """The central clearing among those who took part in the negotiation."""
    bids = result.bids
    assert bids is not None
    seller, buyer = all_pairs(bids.p_min_mw, bids.p_max_mw)
    spoke = {m.sender for m in result.messages if m.kind == "TradeProposal"}
    heard = [f"House {row + 1}" in spoke for row in bids.peer.tolist()]
    both = np.array(heard)[seller] & np.array(heard)[buyer]
    seller, buyer = seller[both], buyer[both]
    costs = (np.zeros(len(seller)), np.full(len(seller), FEE))
    own = (bids.p_min_mw, bids.p_max_mw, bids.cost_a, bids.cost_b)
    return bilateral(QuadraticBook(*own, seller, buyer, *costs, period_h=result.period_h))


def counts(result: PeriodResult) -> Counter[tuple[str, int, int]]:
    """Messages by kind, time sent and time delivered."""
    found: Counter[tuple[str, int, int]] = Counter()
    for row in result.messages:
        found[row.kind, row.time_s, row.delivered_s] += row.n
    return found


@pytest.mark.parametrize("mechanism", ["admm", "consensus_innovation"])
@pytest.mark.parametrize(
    "link", [{}, {"loss": 0.2}, {"latency_s": 0, "jitter_s": 1}, {"latency_s": 0, "loss": 0.1, "jitter_s": 1}], ids=str
)
def test_both_fidelities_give_the_same_trades_and_the_same_messages(mechanism: str, link: dict[str, Any]) -> None:
    communication = {f"communication__{key}": value for key, value in link.items()}
    pairs = zip(run("message", mechanism, **communication), run("round", mechanism, **communication), strict=True)
    for one_by_one, at_once in pairs:
        assert clearing_of(one_by_one).status is clearing_of(at_once).status
        first, second = one_by_one.trades, at_once.trades
        assert (first.seller.tolist(), first.buyer.tolist()) == (second.seller.tolist(), second.buyer.tolist())
        assert first.p_mw == pytest.approx(second.p_mw, rel=1e-6)
        assert first.price_eur_per_mwh == pytest.approx(second.price_eur_per_mwh, rel=1e-6)
        assert one_by_one.payment_eur == pytest.approx(at_once.payment_eur, abs=1e-9)
        assert counts(one_by_one) == counts(at_once)


@pytest.mark.parametrize("loss", [0.0, 0.2])
def test_the_negotiation_ends_near_the_central_equilibrium(loss: float) -> None:
    traded = 0
    for result in run("message", communication__loss=loss, communication__latency_s=0):
        if clearing_of(result).status is Status.EMPTY:
            continue
        best = central(result)
        assert clearing_of(result).status is Status.OPTIMAL
        assert clearing_of(result).social_welfare_eur == pytest.approx(best.social_welfare_eur, rel=1e-3, abs=1e-6)
        traded += len(result.trades)
    assert traded > (10 if loss == 0.0 else 2)


def test_prices_are_those_of_the_central_equilibrium() -> None:
    for result in run("message", market__options={"tolerance": 1e-5}, communication__latency_s=0):
        best = central(result) if len(result.trades) else None
        if best is None:
            continue
        surplus = clearing_of(result).agent_price_eur_per_mwh
        assert clearing_of(result).welfare_eur.sum() == pytest.approx(best.social_welfare_eur, rel=1e-5)
        trades = clearing_of(result).trades
        assert surplus[trades.seller] == pytest.approx(trades.price_eur_per_mwh, abs=0.05)
        assert surplus[trades.buyer] - FEE == pytest.approx(trades.price_eur_per_mwh, abs=0.05)


@pytest.mark.parametrize("fidelity", ["message", "round"])
@pytest.mark.parametrize(("latency", "proposed"), [(20, True), (120, False)])
def test_a_gate_that_closes_before_they_agree_leaves_everybody_with_the_supplier(
    fidelity: str, latency: int, proposed: bool
) -> None:
    for result in run(fidelity, communication__latency_s=latency):
        clearing = clearing_of(result)
        assert clearing.status in (Status.EMPTY, Status.NOT_CONVERGED)
        assert len(result.trades) == 0
        assert not result.p_traded_mw.any()
        assert result.payment_eur == pytest.approx(result.reference_payment_eur, abs=1e-12)
        if clearing.status is Status.NOT_CONVERGED:
            assert any(row.kind == "TradeProposal" for row in result.messages) is proposed
            assert ("residuals" in clearing.message) is proposed
    statuses = {clearing_of(result).status for result in run(fidelity, communication__latency_s=latency)}
    assert Status.NOT_CONVERGED in statuses


@pytest.mark.parametrize("fidelity", ["message", "round"])
@pytest.mark.parametrize("short", [-0.003, 0.003])
def test_an_almost_balanced_market_trades_what_is_agreed_when_the_gate_closes(fidelity: str, short: float) -> None:
    net = feeder(4)
    net.storage = net.storage.iloc[:0]
    demand, surplus = [0.003, 0.001, 0.002], 0.005 * (1.0 - short)
    columns = {f"load.load {i}.p_mw": [p, p] for i, p in zip((1, 2, 3), demand, strict=True)}
    time = pd.date_range(START, periods=2, freq=f"{STEP_S}s")
    table = pd.DataFrame({"time": time, **columns, "sgen.pv 2.p_mw": [0.001 + surplus] * 2})
    changes = {"market__mechanism": "admm", "population__strategies": {"truthful": 1.0}}
    exact = {"forecast__load_error": 0.0, "forecast__generation_error": 0.0}
    scenario = small_scenario(1, communication__fidelity=fidelity, **changes, **exact)
    with Simulation(scenario, case=case_from_net(net, profiles=table, name="balanced")) as simulation:
        simulation.step()
        result = simulation.last
    assert result is not None
    clearing = clearing_of(result)
    assert clearing.status is Status.OPTIMAL, clearing.message
    assert "powers are 0." in clearing.message  # flat costs: prices have not come to either side's in time
    assert result.trades.volume_mw == pytest.approx(min(0.005, surplus), rel=1e-6)
    assert ((result.trades.price_eur_per_mwh >= 80.0) & (result.trades.price_eur_per_mwh <= 300.0)).all()


class Spy:
    """Sees every message that is sent."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.sent: list[Any] = []
        send = Bus.send

        def listening(bus: Bus, messages: Any) -> None:
            kept = list(messages)
            self.sent += kept
            send(bus, kept)

        monkeypatch.setattr(Bus, "send", listening)


def test_no_price_goes_to_a_third_party_and_no_cost_to_anybody(monkeypatch: pytest.MonkeyPatch) -> None:
    spy = Spy(monkeypatch)
    results = run("message")
    assert any(len(result.trades) for result in results)
    houses = {message.sender for message in spy.sent if isinstance(message, TradeProposal)}
    assert houses
    for message in spy.sent:
        names = {field.name for field in fields(message)}
        assert not any(name.startswith("cost") for name in names)
        if isinstance(message, TradeProposal):
            assert message.receiver in houses
            assert message.receiver != message.sender
        elif isinstance(message, Enrolment | TradeReport | Closing | ProposedTrades):
            assert "price_eur_per_mwh" not in names
        elif isinstance(message, ClearingNotice):
            assert np.isnan(message.price_eur_per_mwh)  # the organiser knows none
        assert not isinstance(message, Batch)
    introductions = [message for message in spy.sent if isinstance(message, Introduction)]
    assert len({message.opening_price_eur_per_mwh for message in introductions}) == 1  # the tariff's


def test_whoever_is_not_a_party_learns_the_same_whatever_the_costs_are(monkeypatch: pytest.MonkeyPatch) -> None:
    """Until the first reports, which have powers, nothing that the organiser gets depends on anybody's costs."""
    seen = []
    for strategies in ({"truthful": 1.0}, {"zero_intelligence": 1.0}):
        spy = Spy(monkeypatch)
        run("message", population__strategies=strategies)
        messages = [m for m in spy.sent if isinstance(m, Enrolment | Introduction) and m.period == 1]
        seen.append([[np.asarray(getattr(m, f.name)).tolist() for f in fields(m)] for m in messages])
        monkeypatch.undo()
    assert seen[0]
    assert seen[0] == seen[1]


def test_peers_know_the_mean_price_of_their_trades() -> None:
    for fidelity in ("message", "round"):
        scenario = small_scenario(PERIODS, market__mechanism="consensus_innovation", communication__fidelity=fidelity)
        with Simulation(scenario, case=small_case(PERIODS, 8)) as simulation:
            while simulation.running and not (simulation.last and len(simulation.last.trades)):
                simulation.step()
            assert simulation.last is not None
            trades, known = simulation.last.trades, simulation.context.population.last_price_eur_per_mwh
            party = np.union1d(trades.seller, trades.buyer)
            assert np.flatnonzero(np.isfinite(known)).tolist() == party.tolist()
            low, high = trades.price_eur_per_mwh.min(), trades.price_eur_per_mwh.max()
            assert ((known[party] >= low - 1e-9) & (known[party] <= high + 1e-9)).all()


@pytest.mark.slow
@pytest.mark.parametrize(
    "scheme", [{"scheme_options": {"threshold_percent": 40}}, {"scheme": "incentive_matrix"}], ids=str
)
def test_the_signals_of_the_dso_hold_in_the_negotiation(scheme: dict[str, Any]) -> None:
    changes = {
        "coordination": {"preset": "cm4", **scheme},
        "grid__max_loading_percent": 9.0,
        "communication__latency_s": 0,
        "tariff__network_fee_eur_per_mwh": 0.0,
    }
    told = 0
    pairs = zip(run("message", **changes), run("round", **changes), run("round", "bilateral", **changes), strict=True)
    for one_by_one, at_once, best in pairs:
        assert one_by_one.trades.p_mw == pytest.approx(at_once.trades.p_mw, rel=1e-6)
        assert counts(one_by_one) == counts(at_once)
        signals = one_by_one.rounds[-1].signals
        assert signals is not None
        assert not signals.blocked[one_by_one.trades.seller, one_by_one.trades.buyer].any()
        told += int(np.count_nonzero(signals.blocked)) + int(np.count_nonzero(signals.seller_cost))
        if clearing_of(one_by_one).status is not Status.NOT_CONVERGED:
            welfare = clearing_of(best).social_welfare_eur
            assert clearing_of(one_by_one).social_welfare_eur == pytest.approx(welfare, rel=2e-3, abs=1e-5)
    assert told


def test_a_mechanism_with_a_channel_of_its_own_is_refused() -> None:
    with pytest.raises(ScenarioError, match=r"communication\.loss"):
        run("message", "admm", market__options={"loss": 0.1})


def test_the_messages_are_recorded_and_counted(tmp_path: Path) -> None:
    figures = []
    for fidelity in ("message", "round"):
        run(fidelity, out=tmp_path / fidelity)
        results = Results(tmp_path / fidelity)
        kinds = results.message.groupby("kind", observed=True).n.sum()
        assert {"Enrolment", "Introduction", "TradeProposal", "TradeReport", "Closing"} <= set(kinds.index)
        figures.append({key: value for key, value in results.kpi.items() if "_peers_to_" in key})
    assert figures[0] == figures[1]
    assert figures[0]["messages_peers_to_peers"] > 1000


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 40), st.integers(0, 3), st.integers(0, 3), st.sampled_from([0.0, 0.3, 1.0]), st.integers(0, 99))
def test_booked_messages_are_lost_and_late_like_those_that_are_sent(
    n: int, latency: int, jitter: int, loss: float, seed: int
) -> None:
    record = []
    for booked in (False, True):
        bus = Bus(Clock(), np.random.default_rng(seed), Link(latency, jitter, loss))
        if booked:
            legs = [(Closing, "p2p market", "peers (a)"), (TradeReport, "peers (a)", "p2p market")]
            delivered = bus.book(0, legs, np.arange(n) % 2)
            assert len(delivered) == n
        else:
            report = TradeReport("a", "p2p market", 0, 0, 0, np.zeros(1), 0.0, 0.0)
            bus.send(replace(report) if k % 2 else Closing("p2p market", "a", 0, 0, 0) for k in range(n))
        rows = Counter[tuple[str, int]]()
        for row in bus.take_record():
            rows[row.kind, row.delivered_s] += row.n
        record.append(rows)
    assert record[0] == record[1]


def test_the_record_of_a_period_says_how_the_negotiation_converged() -> None:
    told, batched = (run(fidelity) for fidelity in ("message", "round"))
    traded = 0
    for one, other in zip(told, batched, strict=True):
        clearing, record = clearing_of(one), clearing_of(one).convergence
        if record is None:
            continue
        traded += 1
        same = clearing_of(other).convergence
        assert same is not None
        assert np.allclose(record.primal_residual, same.primal_residual)
        assert np.allclose(record.dual_residual, same.dual_residual)
        assert record.primal_residual.shape == record.dual_residual.shape
        if clearing.status is Status.OPTIMAL:
            assert max(record.primal_residual[-1], record.dual_residual[-1]) <= 1e-4  # the default tolerance
            assert max(record.primal_residual[0], record.dual_residual[0]) > 1e-4
    assert traded
