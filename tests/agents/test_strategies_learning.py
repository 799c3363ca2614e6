"""Strategies that learn, and the ramp: what they ask for over many clearings of one market."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import peerwatt
from peerwatt.agents.strategies import STRATEGIES, Group, OnePeer
from peerwatt.agents.strategies.roth_erev import MARKUPS, Propensities
from peerwatt.market.auction import DoubleAuction
from peerwatt.market.book import StepBook
from peerwatt.market.clearing import Clearing
from tests.agents.test_strategies import group

LEARNERS = ("roth_erev", "zero_intelligence_plus")
FEED_IN, SUPPLY = 80.0, 300.0
SHIPPED = tuple(STRATEGIES.names())


def market(name: str, n_sellers: int, n_buyers: int, n_rounds: int, seed: int) -> list[list[float]]:
    """Peers of one strategy who offer 1 kW each, time and again; prices of every clearing that traded."""
    n = n_sellers + n_buyers
    p_mw = np.where(np.arange(n) < n_sellers, 1e-3, -1e-3)
    known: dict[str, Any] = {"memory": {}, "rng": np.random.default_rng(seed), "producer": p_mw > 0.0, "p_mw": p_mw}
    told = dict.fromkeys(("last_limit_eur_per_mwh", "last_offered_mw", "last_traded_mw"), np.full(n, np.nan))
    price, prices, auction = np.full(n, np.nan), [], DoubleAuction()
    for _ in range(n_rounds):
        limit = STRATEGIES.get(name)(group(n, last_price_eur_per_mwh=price, **told, **known))
        assert ((limit >= FEED_IN) & (limit <= SUPPLY)).all()
        clearing = auction.clear(StepBook(np.arange(n), p_mw, limit, n, 1.0), np.random.default_rng(0))
        traded = clearing.trades.net_mw(n)
        price = np.where(traded != 0.0, _price(clearing), price)
        told = {"last_limit_eur_per_mwh": limit, "last_offered_mw": p_mw, "last_traded_mw": traded}
        prices.append(np.unique(clearing.trades.price_eur_per_mwh).tolist())
    return prices


def _price(clearing: Clearing) -> float:
    return float(clearing.trades.price_eur_per_mwh[0]) if len(clearing.trades) else np.nan


@pytest.mark.parametrize(("n_sellers", "n_buyers", "low", "high"), [(8, 4, 80.0, 120.0), (4, 8, 260.0, 300.0)])
def test_margins_of_zip_traders_move_to_the_competitive_price(
    n_sellers: int, n_buyers: int, low: float, high: float
) -> None:
    prices = market("zero_intelligence_plus", n_sellers, n_buyers, 300, seed=1)
    late = [price for each in prices[200:] for price in each]
    assert len(late) > 50
    assert low <= np.mean(late) <= high  # the long side competes its gain away


def test_a_zip_trader_asks_for_more_after_a_trade_and_for_less_when_it_was_left_over() -> None:
    memory: dict[str, Any] = {}
    decide, rng = STRATEGIES.get("zero_intelligence_plus"), np.random.default_rng(1)
    first = decide(group(memory=memory, rng=rng))
    offered = np.array([-0.002, 0.001, 0.003])
    told = {"last_limit_eur_per_mwh": first, "last_offered_mw": offered}
    price = np.array([150.0, 250.0, 250.0])
    bid = {"last_traded_mw": offered * [1.0, 1.0, 0.0], "last_price_eur_per_mwh": price}
    second = decide(group(memory=memory, rng=rng, **told, **bid))
    assert second[0] < first[0]  # bought for 150, so 300 less a small margin was too much
    assert second[1] > first[1]
    assert second[2] < first[2]
    third = decide(group(memory=memory, rng=rng, **told, last_traded_mw=np.full(3, np.nan)))
    assert third.tolist() == second.tolist()  # nobody was told


def test_what_a_zip_trader_pays_is_seen_with_the_network_fee() -> None:
    decide = STRATEGIES.get("zero_intelligence_plus")
    asked = {}
    for fee in (0.0, 60.0):
        memory: dict[str, Any] = {}
        one = {"p_mw": np.array([-0.002]), "producer": np.array([False]), "last_offered_mw": np.array([-0.002])}
        one |= {"memory": memory, "network_fee_eur_per_mwh": fee, "last_price_eur_per_mwh": np.array([150.0])}
        for traded in (np.nan, -0.002):
            limit = decide(group(1, rng=np.random.default_rng(3), last_traded_mw=np.array([traded]), **one))
            asked[fee, traded == traded] = limit[0]
    assert asked[0.0, False] == asked[60.0, False]
    assert asked[0.0, True] < asked[60.0, True]  # with a fee on top, 150 was less of a bargain


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), n_rounds=st.integers(1, 40))
def test_probabilities_of_markups_add_up_to_one(seed: int, n_rounds: int) -> None:
    rng = np.random.default_rng(seed)
    learnt = Propensities.initial(3)
    for _ in range(n_rounds):
        side = rng.integers(0, 2, 3)
        markup = learnt.take(side, rng)
        assert set(markup.tolist()) <= set(MARKUPS.tolist())
        who = np.flatnonzero(rng.random(3) < 0.7)
        learnt.learn(who, side[who], rng.random(len(who)) * (rng.random() < 0.5))
        probability = learnt.probability(side)
        np.testing.assert_allclose(probability.sum(axis=1), 1.0)
        assert (probability >= 0.0).all()


def test_a_markup_that_pays_is_taken_more_often() -> None:
    learnt, side, rng = Propensities.initial(1), np.zeros(1, dtype=np.int64), np.random.default_rng(2)
    for _ in range(300):
        learnt.take(side, rng)
        learnt.learn(np.zeros(1, dtype=np.int64), side, np.array([0.9 * (learnt.taken[0] == 4)]))
    assert learnt.probability(side)[0].argmax() == 4
    assert learnt.probability(side)[0, 4] > 0.5
    assert learnt.probability(side + 1)[0].tolist() == pytest.approx([1 / len(MARKUPS)] * len(MARKUPS))


@pytest.mark.parametrize("name", LEARNERS)
def test_learners_do_the_same_on_the_same_seed_and_learn_from_clearings(name: str) -> None:
    assert market(name, 5, 5, 30, seed=7) == market(name, 5, 5, 30, seed=7)
    assert market(name, 5, 5, 30, seed=7) != market(name, 5, 5, 30, seed=8)


@pytest.mark.parametrize("name", ["control", *LEARNERS, "linear", "zero_intelligence", "prefers_green"])
def test_nobody_trades_at_a_loss(name: str) -> None:
    for prices in market(name, 4, 4, 20, seed=5):
        assert all(FEED_IN - 1e-9 <= price <= SUPPLY + 1e-9 for price in prices)


@settings(max_examples=40, deadline=None)
@given(
    name=st.sampled_from(SHIPPED),
    feed_in=st.floats(-50.0, 200.0),
    spread=st.one_of(st.just(0.0), st.floats(0.0, 300.0)),
    hour=st.floats(0.0, 23.9),
    seed=st.integers(0, 99),
)
def test_limit_prices_stay_within_any_tariff(name: str, feed_in: float, spread: float, hour: float, seed: int) -> None:
    memory: dict[str, Any] = {}
    rng = np.random.default_rng(seed)
    for round_ in range(3):
        price = STRATEGIES.get(name)(
            group(
                supply_eur_per_mwh=feed_in + spread,
                feed_in_eur_per_mwh=feed_in,
                hour=hour,
                round=round_,
                n_rounds=3,
                memory=memory,
                rng=rng,
                last_offered_mw=np.array([-0.002, 0.001, 0.0]),
                last_traded_mw=np.array([-0.001, 0.001, 0.0]),
                last_price_eur_per_mwh=np.array([feed_in + spread / 3, feed_in, np.nan]),
            )
        )
        assert ((price >= feed_in - 1e-9) & (price <= feed_in + spread + 1e-9)).all()


def test_the_ramp_ends_at_the_own_limit() -> None:
    decide = STRATEGIES.get("linear")
    assert decide(group(round=0, n_rounds=5)).tolist() == [80.0, 300.0, 300.0]
    assert decide(group(round=2, n_rounds=5)).tolist() == [190.0, 190.0, 190.0]
    assert decide(group(round=4, n_rounds=5)).tolist() == [300.0, 80.0, 80.0]
    assert decide(group(hour=0.0)).tolist() == [80.0, 300.0, 300.0]
    assert decide(group(hour=18.0)).tolist() == [245.0, 135.0, 135.0]


def test_a_strategy_for_one_peer_keeps_notes_of_its_own() -> None:
    @peerwatt.strategy("counts its calls")
    def counts(peer: OnePeer) -> float:
        peer.memory["calls"] = peer.memory.get("calls", 0) + 1 + peer.producer
        return 100.0 + peer.memory["calls"]

    memory: dict[str, Any] = {}
    known: Group = group(memory=memory)
    assert STRATEGIES.get("counts its calls")(known).tolist() == [101.0, 102.0, 102.0]
    assert STRATEGIES.get("counts its calls")(known).tolist() == [102.0, 104.0, 104.0]
