from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import peerwatt
from peerwatt.agents.strategies import STRATEGIES, Group, OnePeer


def group(n: int = 3, **changes: Any) -> Group:
    values: dict[str, Any] = {
        "name": tuple(f"peer {i}" for i in range(n)),
        "period": 3,
        "hour": 12.0,
        "round": 0,
        "n_rounds": 1,
        "p_mw": np.array([-0.002, 0.001, 0.003]),
        "producer": np.array([False, True, True]),
        "soc": np.full(n, np.nan),
        "vm_pu": np.full(n, np.nan),
        "path_loading_percent": np.full(n, np.nan),
        "last_price_eur_per_mwh": np.full(n, np.nan),
        "last_limit_eur_per_mwh": np.full(n, np.nan),
        "last_offered_mw": np.full(n, np.nan),
        "last_traded_mw": np.full(n, np.nan),
        "supply_eur_per_mwh": 300.0,
        "feed_in_eur_per_mwh": 80.0,
        "sell_incentive_eur_per_mwh": np.zeros(n),
        "buy_incentive_eur_per_mwh": np.zeros(n),
        "imbalance_short_eur_per_mwh": 300.0,
        "imbalance_long_eur_per_mwh": 80.0,
        "network_fee_eur_per_mwh": 0.0,
        "memory": {},
        "rng": np.random.default_rng(0),
    }
    return Group(**(values | changes))


@pytest.mark.parametrize("name", STRATEGIES.names())
def test_shipped_strategies_stay_between_the_tariffs(name: str) -> None:
    for loading in (np.nan, 20.0, 90.0, 150.0):
        price = STRATEGIES.get(name)(group(path_loading_percent=np.full(3, loading), vm_pu=np.full(3, 1.08)))
        assert price.shape == (3,)
        assert ((price >= 80.0) & (price <= 300.0)).all()


def test_truthful_peers_ask_for_the_outside_option() -> None:
    assert STRATEGIES.get("truthful")(group()).tolist() == [300.0, 80.0, 80.0]


def test_grid_aware_peers_give_way_as_their_connection_is_stressed() -> None:
    decide = STRATEGIES.get("grid_aware")
    calm = decide(group(path_loading_percent=np.full(3, 30.0), vm_pu=np.ones(3)))
    stressed = decide(group(path_loading_percent=np.array([75.0, 75.0, 120.0]), vm_pu=np.ones(3)))
    high = decide(group(path_loading_percent=np.zeros(3), vm_pu=np.full(3, 1.10)))
    paid = decide(group(sell_incentive_eur_per_mwh=np.array([5.0, 5.0, 0.0])))
    assert calm.tolist() == [190.0, 190.0, 190.0]
    assert stressed.tolist() == [245.0, 135.0, 80.0]
    assert high.tolist() == [300.0, 80.0, 80.0]
    assert paid.tolist() == [190.0, 80.0, 190.0]


def test_a_strategy_for_one_peer_sees_its_own_numbers() -> None:
    seen: list[OnePeer] = []

    @peerwatt.strategy("remembers")
    def remembers(peer: OnePeer) -> float:
        seen.append(peer)
        return 100.0 + peer.p_mw

    price = STRATEGIES.get("remembers")(group())
    assert price.tolist() == [99.998, 100.001, 100.003]
    assert [peer.producer for peer in seen] == [False, True, True]
    assert seen[0].name == "peer 0"
    assert seen[0].supply_eur_per_mwh == 300.0
