"""Which trades do harm: seller and buyer, by what one kilowatt of each does in an AC power flow."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from peerwatt.agents.policies.harm import Harm, pair_distance
from tests.agents.policies.ac import NETS, checked, fullest, truth

Array = np.ndarray[Any, Any]

grids = pytest.mark.parametrize("name", NETS)
CLEAR = 3e-5
"""MW per MW: what moves a flow by less, in either power flow, is not asked about (a trade is harmful from 1e-6)."""


def effect(alone: Array, change_mw: Array) -> Array:
    """What the parties of a trade do, as far as trading is why they do it, (n_peers, n_peers)."""
    found = np.zeros((5, 5))
    for i in range(5):
        for j in range(5):
            found[i, j] = alone[i] * (change_mw[i] > 0.0) - alone[j] * (change_mw[j] < 0.0)
    return found


@grids
@pytest.mark.parametrize("signs", [(1, -1, 1, -1, 0), (-1, 1, -1, 1, 0), (0, 1, 1, -1, -1)])
def test_harm_is_of_the_seller_that_feeds_in_more_and_of_the_buyer_that_draws_more(
    name: str, signs: tuple[int, ...]
) -> None:
    grid = truth(name)
    first, second = fullest(grid).tolist()
    change = 1e-3 * np.array(signs)
    harm = Harm(5, euclidean=False)
    harm.note(checked(grid.view({first: 1.3, second: 1.1}), change))
    each = np.sign(grid.flow_mw[[first, second]])[:, None] * grid.by_mw["flow_mw"][[first, second]]
    harms = np.stack([effect(alone, change) for alone in each])
    sure = (np.abs(harms) > CLEAR).any(axis=0) & ((np.abs(harms) > CLEAR) | (harms == 0.0)).all(axis=0)
    distance = pair_distance(grid.view(), euclidean=False)
    np.testing.assert_allclose(harm.gamma[sure], np.where((harms > 0.0).any(axis=0), distance, 0.0)[sure])
    assert not harm.gamma[(harms == 0.0).all(axis=0)].any()
    np.testing.assert_allclose(harm.relief, 0.3 * each[0] + 0.1 * each[1], rtol=1e-4, atol=2e-5)


@grids
@pytest.mark.parametrize("way", [1.0, -1.0])
def test_harm_to_a_voltage_is_what_both_parties_do_to_it(name: str, way: float) -> None:
    grid, bus = truth(name), 6
    change = 1e-3 * np.array([1, -1, 1, -1, 0])
    harm = Harm(5, euclidean=False)
    view = grid.view(outside={bus: 0.004 * way, 4: 0.002})
    assert harm.note(checked(view, change))
    alone = way * grid.by_mw["vm_pu"][bus]
    scale = np.abs(alone).max()
    expected = np.maximum(effect(alone / scale, change), 0.0)
    np.testing.assert_allclose(harm.gamma, expected, rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(harm.relief, 0.004 * alone / scale, rtol=1e-2, atol=1e-6)
    harm.note(checked(grid.view(), change))
    np.testing.assert_allclose(harm.gamma, expected, rtol=1e-3, atol=1e-4)  # what did harm still does
    assert not harm.relief.any()
    virtual = np.array([False, True, False, False, False])
    signals = harm.signals(10.0, 30.0, virtual)
    assert signals is not None
    price = np.full((5, 5), 5.0)
    price[1, :] = price[:, 1] = 15.0
    np.testing.assert_allclose(signals.seller_cost, price * harm.gamma)
    np.testing.assert_allclose(signals.buyer_cost, price * harm.gamma)
    assert not signals.seller_fee.any()


@grids
@pytest.mark.parametrize("cares", ["congestion", "voltage"])
def test_what_the_dso_does_not_care_for_does_no_harm(name: str, cares: str) -> None:
    grid = truth(name)
    branch = int(fullest(grid)[0])
    view = grid.view({branch: 1.5}, outside={6: 0.004})
    both = {"congestion": False, "voltage": False} | {cares: True}
    harm, change = Harm(5, euclidean=False), 1e-3 * np.array([1, -1, 1, -1, 0])
    harm.note(checked(view, change, **both))
    only = Harm(5, euclidean=False)
    only.note(checked(grid.view({branch: 1.5}) if cares == "congestion" else grid.view(outside={6: 0.004}), change))
    np.testing.assert_allclose(harm.gamma, only.gamma)
    beyond = 0.5 if cares == "congestion" else 0.004 / 0.1
    assert checked(view, **both).severity == pytest.approx(beyond, rel=1e-2)
