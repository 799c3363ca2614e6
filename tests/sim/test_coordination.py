"""P2P market, signals, flexibility market and grid together: what must hold under every conceptual model."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from peerwatt.agents.offers import DIRECTION
from peerwatt.errors import ScenarioError
from peerwatt.grid.ptdf import ptdf
from peerwatt.market.book import FloatArray, StepBook
from peerwatt.market.clearing import Clearing, empty_clearing
from peerwatt.market.mechanism import MECHANISMS, mechanism
from peerwatt.market.pairwise import Pairwise
from peerwatt.market.settlement import REASONS, Reason
from peerwatt.sim.model import Simulation
from peerwatt.sim.period import PeriodResult
from peerwatt.sim.scenario import Scenario
from tests.scenarios import small_case, small_scenario

MODELS: dict[str, dict[str, Any]] = {
    "cm1": {"preset": "cm1"},
    "cm2": {"preset": "cm2"},
    "cm3-v1": {"preset": "cm3-v1"},
    "cm3-v2": {"preset": "cm3-v2"},
    "cm4-blocking": {"preset": "cm4"},
    "cm4-incentives": {"preset": "cm4", "scheme": "incentive_matrix", "rounds": 2},
    "cm4-usage": {"preset": "cm4", "scheme": "usage_price", "rounds": 2},
    "cm4-weights": {"preset": "cm4", "scheme": "constraint_based", "rounds": 3},
    "cm4-costs": {"preset": "cm4", "scheme": "cost_allocation"},
    "lfm-first": {"preset": "cm2", "sequence": "lfm_first"},
    "iterative": {"preset": "cm2", "sequence": "iterative"},
    "unrelated": {"preset": "cm2", "sequence": "unrelated"},
    "cm5": {"preset": "cm5", "rounds": 3},
}
PERIODS = 8
TIGHT = 9.0  # percent: the small feeder is then congested in most periods


def scenario(coordination: dict[str, Any], **changes: Any) -> Scenario:
    return small_scenario(
        PERIODS,
        coordination=coordination,
        **{"market__mechanism": None, "grid__max_loading_percent": TIGHT, **changes},
    )


def results(coordination: dict[str, Any], **changes: Any) -> tuple[Simulation, list[PeriodResult]]:
    found: list[PeriodResult] = []
    simulation = Simulation(scenario(coordination, **changes), case=small_case(PERIODS))
    with simulation:
        simulation.run(lambda model: found.append(model.last))  # type: ignore[arg-type]
    return simulation, found


@pytest.mark.parametrize("model", MODELS)
def test_every_model_runs_at_both_fidelities_with_the_same_result(model: str) -> None:
    _, by_message = results(MODELS[model])
    _, by_round = results(MODELS[model], communication__fidelity="round")
    assert len(by_message) == PERIODS
    for one, other in zip(by_message, by_round, strict=True):
        assert list(one.states) == list(other.states)
        np.testing.assert_array_equal(one.p_delivered_mw, other.p_delivered_mw)
        np.testing.assert_array_equal(one.trades.p_mw, other.trades.p_mw)
        np.testing.assert_allclose(one.payment_eur, other.payment_eur, atol=1e-12)
        assert len(one.rounds) == len(other.rounds)


@pytest.mark.parametrize("preset", ["cm3-v1", "cm4"])
@pytest.mark.parametrize("fidelity", ["message", "round"])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_no_blocked_trade_is_closed_though_messages_are_late_and_lost(preset: str, fidelity: str, seed: int) -> None:
    found = results(
        {"preset": preset, "rounds": 3, "scheme_options": {"threshold_percent": 40}},
        communication__fidelity=fidelity,
        communication__loss=0.3,
        communication__jitter_s=150,
        seed=seed,
    )[1]
    blocked = 0
    for result in found:
        signals = result.rounds[-1].signals
        assert signals is not None
        blocked += int(signals.blocked.sum())
        assert not signals.blocked[result.trades.seller, result.trades.buyer].any()
        assert (signals.cause[signals.blocked] >= 0).all()
    assert blocked > 0


@pytest.mark.parametrize("preset", ["cm3-v1", "cm4"])
def test_with_blocking_no_line_at_risk_carries_more_in_the_linear_model(preset: str) -> None:
    options = {"threshold_percent": 40}
    simulation, found = results(
        {"preset": preset, "scheme_options": options}, population__demand_response={"household": 0.5}
    )
    network, bus = simulation.case.network, simulation.context.population.bus
    factor = ptdf(network)[:, bus]
    traded = 0.0
    for result in found:
        signals, state = result.rounds[0].signals, result.states["forecast"]
        assert signals is not None
        flow = np.concatenate([state.line.p_from_mw, state.trafo.p_from_mw])[signals.at_risk]
        for seller, buyer, p_mw in zip(result.trades.seller, result.trades.buyer, result.trades.p_mw, strict=True):
            change = (factor[signals.at_risk, seller] - factor[signals.at_risk, buyer]) * p_mw
            assert (np.sign(flow) * change <= 1e-12).all()
            traded += p_mw
        moved = np.sign(flow) * (factor[signals.at_risk] @ (result.p_p2p_mw - result.p_forecast_mw))
        assert (moved <= 1e-12).all()  # of what the grid feels: energy that flows anyway moves nothing
    assert traded > 0.0


@pytest.mark.parametrize("model", [name for name, keys in MODELS.items() if keys["preset"] not in ("cm3-v1", "cm5")])
def test_after_the_flexibility_market_no_limit_is_violated_or_it_says_so(model: str) -> None:
    simulation, found = results(MODELS[model])
    activated = 0
    for result in found:
        for part in result.flexibility:
            assert (part.activated_mw <= part.offered_mw + 1e-9).all()
        activated += bool(result.flexibility)
        over = result.states["final"].violations(simulation.case.network).n_congested
        said = any(part.missing_mw > 0.0 for part in result.flexibility)
        if not said and model not in ("lfm-first", "unrelated"):  # which know nothing of what peers still trade
            assert over == 0, result.period
    assert activated > 0


def test_flexibility_moves_the_delivery_and_is_paid_by_the_dso() -> None:
    simulation, found = results(MODELS["cm2"], forecast__load_error=0.0, forecast__generation_error=0.0)
    n = len(simulation.context.population)
    for result in found:
        entries = result.entries
        paid = entries.amount_eur[entries.reason == REASONS.index(Reason.FLEXIBILITY)].sum()
        due = sum(part.paid_eur.sum() for part in result.flexibility)
        assert paid == pytest.approx(due, abs=1e-9)
        moved = np.zeros(n)
        for part in result.flexibility:
            np.add.at(moved, part.account, DIRECTION[part.product] * part.activated_mw)
        np.testing.assert_allclose(result.p_delivered_mw, result.p_p2p_mw + moved, atol=1e-9)


def test_the_mediator_is_paid_for_its_peers_and_keeps_what_is_left() -> None:
    simulation, found = results(MODELS["cm1"])
    mediator = len(simulation.context.population) + 2
    received = paid = 0.0
    for result in found:
        entries = result.entries
        flexibility = entries.reason == REASONS.index(Reason.FLEXIBILITY)
        received += entries.amount_eur[flexibility & (entries.payee == mediator)].sum()
        paid += entries.amount_eur[flexibility & (entries.payer == mediator)].sum()
        assert not (flexibility & (entries.payer == mediator - 1) & (entries.payee < mediator - 2)).any()
    assert received > 0.0
    assert received >= paid - 1e-12


def test_what_incentives_cost_the_dso_is_what_peers_received() -> None:
    simulation, found = results(MODELS["cm4-incentives"])
    n = len(simulation.context.population)
    total = 0.0
    for result in found:
        entries, signals = result.entries, result.rounds[-1].signals
        assert signals is not None
        rewards, penalties = (entries.reason == REASONS.index(each) for each in (Reason.INCENTIVE, Reason.PENALTY))
        assert (entries.payer[rewards] == n + 1).all()
        assert (entries.payee[penalties] == n + 1).all()
        assert (entries.payee[rewards] < n).all()
        balance = entries.amount_eur[rewards].sum() - entries.amount_eur[penalties].sum()
        trades = result.trades
        fees = signals.seller_fee[trades.seller, trades.buyer] + signals.buyer_fee[trades.seller, trades.buyer]
        assert balance == pytest.approx(-float(fees @ trades.p_mw) * result.period_h, abs=1e-12)
        total += entries.amount_eur[rewards | penalties].sum()
    assert total > 0.0


def test_peers_are_sent_back_only_while_a_limit_is_violated() -> None:
    simulation, found = results(MODELS["cm4-weights"])
    for result in found:
        violated = [each.n_congested > 0 or each.n_voltage > 0 for each in result.rounds]
        assert all(violated[:-1])
        assert not violated[-1] or len(result.rounds) == 3
        assert [each.number for each in result.rounds] == list(range(len(result.rounds)))
    assert {len(result.rounds) for result in found} == {1, 3}
    assert simulation.context.design.rounds == 3


def test_flexibility_sold_before_trading_is_not_traded_again() -> None:
    _, first = results(MODELS["lfm-first"], forecast__load_error=0.0, forecast__generation_error=0.0)
    assert any(result.flexibility for result in first)
    for result in first:
        bids = result.bids
        assert bids is not None
        offered = np.zeros(len(result.p_delivered_mw))
        np.add.at(offered, bids.peer[bids.step == 0], (bids.p_min_mw + bids.p_max_mw)[bids.step == 0])
        done = np.zeros(len(offered))
        for part in result.flexibility:
            np.add.at(done, part.account, DIRECTION[part.product] * part.activated_mw)
        told = np.flatnonzero(offered)
        np.testing.assert_allclose(offered[told], (result.p_forecast_mw + done)[told], atol=1e-9)


def test_iteration_ends_when_nothing_is_left_to_mend() -> None:
    simulation, found = results(MODELS["iterative"])
    for result in found:
        last = result.rounds[-1]
        settled = last.n_congested == 0 and last.n_voltage == 0
        assert (
            settled
            or last.cycle == simulation.context.design.cycles - 1
            or not result.flexibility[-1].activated_mw.any()
        )


def test_a_resource_outside_the_market_helps_where_peers_may_not() -> None:
    outside = [{"name": "battery", "bus": "House 3", "up_mw": 0.05, "down_mw": 0.05}]
    _, found = results({"preset": "cm2", "lfm": True}, flexibility={"participants": ["outside"], "outside": outside})
    activated = [part for result in found for part in result.flexibility]
    assert activated
    assert sum(part.activated_mw.sum() for part in activated) > 0.0
    assert all(result.states["final"].converged for result in found)


def test_only_peers_of_the_area_trade_and_offer() -> None:
    simulation, found = results({"preset": "cm2", "p2p_area": ["House 3", "House 4"], "lfm_area": ["House 5"]})
    bus = simulation.context.population.bus
    inside = [simulation.case.network.buses.name[k] in ("House 3", "House 4") for k in bus]
    for result in found:
        assert all(inside[k] for k in {*result.trades.seller, *result.trades.buyer})
        for part in result.flexibility:
            names = {simulation.case.network.buses.name[k] for k in part.bus[part.offered_mw > 0.0]}
            assert names <= {"House 5"}


@pytest.mark.parametrize(
    ("coordination", "words"),
    [
        ({"preset": "cm6"}, "did you mean 'cm5'?"),
        ({"preset": "cm1", "service": "implicit"}, "service is implicit, but preset cm1 means service none"),
        ({"preset": "cm3-v1", "lfm": True}, "lfm is true, but preset cm3-v1 means lfm false"),
        ({"service": "implicit"}, "service implicit needs a scheme"),
        ({"scheme": "blocking"}, "scheme blocking needs service implicit"),
        ({"product": "capacity"}, "product capacity with service none"),
        ({"product": "capacity", "service": "explicit", "lfm": True}, "takes the place of a flexibility market"),
        ({"product": "capacity", "service": "explicit"}, "for an explicit service capacity is traded bilaterally"),
        ({"sequence": "lfm_first"}, "sequence lfm_first without a flexibility market"),
        ({"rounds": 3}, "without a service the DSO sends nobody back"),
        ({"preset": "cm4", "scheme_options": {"threshold_percent": 300}}, "threshold_percent is 300"),
        ({"preset": "cm4", "scheme_options": {"treshold_percent": 90}}, "did you mean 'threshold_percent'?"),
        ({"preset": "cm4", "scheme": "blocing"}, "did you mean 'blocking'?"),
        ({"preset": "cm2", "p2p_area": []}, "p2p_area is empty"),
        ({"preset": "cm4", "addresses": ["losses"]}, "only the schemes cost_allocation and usage_price"),
    ],
)
def test_combinations_without_meaning_are_refused_with_the_reason(coordination: dict[str, Any], words: str) -> None:
    with pytest.raises(ScenarioError) as raised:
        scenario(coordination)
    assert words in str(raised.value)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"market__mechanism": "bilateral", "coordination": {"preset": "cm1"}}, "preset cm1 means an auction"),
        ({"coordination": {"lfm": True}, "flexibility": {"participants": ["outside"]}}, "nobody can offer flexibility"),
        ({"coordination": {"preset": "cm2"}, "flexibility": {"participants": ["mediator"]}}, "there is none"),
        ({"coordination": {"lfm": True}, "flexibility": {"up_markup_eur_per_mwh": [9, 5]}}, "is not a range"),
        ({"time__period_s": 60, "coordination": {"preset": "cm4", "rounds": 20}}, "too short for 20 rounds"),
        *(
            ({"market": {"mechanism": each, "options": options}, "coordination": keys}, "take `pairwise`")
            for keys in ({"preset": "cm3-v1"}, {"service": "implicit", "scheme": "usage_price"})
            for each, options in (
                ("double_auction", {}),
                ("average", {}),
                ("mcafee", {}),
                ("pay_as_bid", {}),
                ("continuous_double_auction", {}),
                ("community", {}),
                ("mid_market_rate", {"supply_eur_per_mwh": 300.0, "feed_in_eur_per_mwh": 80.0}),
            )
        ),
    ],
)
def test_settings_that_contradict_each_other_are_refused(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ScenarioError) as raised:
        small_scenario(4, **changes)
    assert words in str(raised.value)


@pytest.mark.parametrize(
    ("coordination", "name"),
    [
        ({}, "double_auction"),
        ({"preset": "cm1"}, "double_auction"),
        ({"preset": "cm2"}, "bilateral"),
        ({"preset": "cm3-v1"}, "pairwise"),
        ({"preset": "cm3-v2"}, "pairwise"),
        ({"preset": "cm4"}, "bilateral"),
        ({"service": "implicit", "scheme": "blocking"}, "pairwise"),
    ],
)
def test_signals_for_pairs_make_the_auction_one_that_takes_them(coordination: dict[str, Any], name: str) -> None:
    found = small_scenario(4, market__mechanism=None, coordination=coordination)
    assert found.mechanism == found.build_mechanism().name == name


def test_what_takes_pairs_is_asked_with_the_signals_and_obeyed() -> None:
    """A mechanism of one's own that takes signals is what clears, not the shipped one."""
    asked: list[float] = []

    class Own(Pairwise):
        def clear_pairs(self, book: StepBook, seller_cost: FloatArray, buyer_cost: FloatArray) -> Clearing:
            asked.append(float(seller_cost.max()))
            return empty_clearing(book.n_agents, n_steps=book.agent.size)

    mechanism("own_pairs")(Own)
    try:
        _, found = results({"preset": "cm3-v1"}, market__mechanism="own_pairs")
    finally:
        del MECHANISMS._items["own_pairs"]
    assert asked
    assert max(asked) == np.inf
    assert not any(len(result.trades) for result in found)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"coordination": {"preset": "cm2", "p2p_area": ["Hose 3"]}}, "did you mean 'House 3'?"),
        ({"coordination": {"preset": "cm2", "p2p_area": ["grid"]}}, "no peer is at these buses"),
        (
            {"coordination": {"lfm": True}, "flexibility": {"outside": [{"name": "dso", "bus": "House 1"}]}},
            "'dso' is the name of another agent",
        ),
    ],
)
def test_what_the_grid_does_not_have_is_refused_before_anything_runs(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ScenarioError) as raised:
        Simulation(small_scenario(4, **changes), case=small_case(4))
    assert words in str(raised.value)
