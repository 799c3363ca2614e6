from __future__ import annotations

import numpy as np
import pytest

from peerwatt.errors import GridDataError
from peerwatt.grid.sensitivity import Sensitivities
from peerwatt.grid.trade_effect import FlowModel, trade_effect
from tests.grid.sensitivity_nets import SIZES_MW, difference, network, rated, solved


@pytest.mark.parametrize("name", SIZES_MW)
def test_a_trade_does_what_the_engine_does(name, village):
    grid = village.network if name == "village" else network(name)
    engine, state = solved(grid, SIZES_MW[name])
    rng = np.random.default_rng(3)
    seller, buyer = rng.integers(0, grid.n_bus, (2, 8))
    found = trade_effect(grid, state, seller, buyer)
    step = 3e-4 * SIZES_MW[name]
    for k, (i, j) in enumerate(zip(seller, buyer, strict=True)):
        push = np.zeros(grid.n_bus)
        push[i] += step
        push[j] -= step
        flow, up, vm = (
            difference(engine, state, read, push, 0 * push) / step
            for read in (lambda s: rated(s, "p_from_mw"), lambda s: np.abs(rated(s, "p_from_mw")), lambda s: s.vm_pu)
        )
        np.testing.assert_allclose(found.flow_mw[:, k], flow, rtol=0, atol=1e-4)
        np.testing.assert_allclose(found.vm_pu[:, k], vm, rtol=0, atol=1e-4)
        flows = np.abs(rated(state, "p_from_mw")) > 2 * step
        np.testing.assert_allclose(found.along_mw[flows, k], up[flows], rtol=0, atol=1e-4)


def test_harm_and_help_follow_the_direction_of_the_flow(village):
    grid = village.network
    _, state = solved(grid, 0.003)
    now = rated(state, "p_from_mw")
    seller, buyer = np.divmod(np.arange(grid.n_bus**2), grid.n_bus)
    found = trade_effect(grid, state, seller, buyer, model=FlowModel.PTDF)
    assert set(np.unique(found.flow_mw)) <= {-1.0, 0.0, 1.0}
    rises = np.abs(now[:, None] + 1e-9 * found.flow_mw) > np.abs(now)[:, None]
    busy = np.abs(now) > 1e-6
    np.testing.assert_array_equal(found.harms()[busy], rises[busy])
    turned = trade_effect(grid, state, buyer, seller, model=FlowModel.PTDF)
    np.testing.assert_array_equal(found.harms()[busy], turned.helps()[busy])


def test_any_trade_harms_a_line_at_rest():
    grid = network("case33bw")
    engine, _ = solved(grid, 0.1)
    state = engine.solve(np.zeros(33), np.zeros(33))
    found = trade_effect(grid, state, [17, 2], [2, 17], branches=[10], model=FlowModel.PTDF)
    assert rated(state, "p_from_mw")[10] == pytest.approx(0.0, abs=1e-10)
    assert found.harms().all()


@pytest.mark.parametrize("name", ["village", "case33bw", "CIGRE MV"])
def test_both_models_agree_where_little_is_lost(name, village):
    grid = village.network if name == "village" else network(name)
    _, state = solved(grid, SIZES_MW[name] / 10)
    seller, buyer = np.random.default_rng(3).integers(0, grid.n_bus, (2, 20))
    exact = trade_effect(grid, state, seller, buyer)
    near = trade_effect(grid, state, seller, buyer, model=FlowModel.PTDF)
    np.testing.assert_allclose(near.flow_mw, exact.flow_mw, rtol=0, atol=0.02)
    np.testing.assert_allclose(near.vm_pu, exact.vm_pu, rtol=0, atol=0.1 * np.abs(exact.vm_pu).max())


def test_chosen_lines_and_buses_are_those_of_the_whole():
    grid = network("CIGRE MV")
    _, state = solved(grid, 0.3)
    for model in FlowModel:
        whole = trade_effect(grid, state, [3, 5, 5], [7, 2, 5], model=model)
        part = trade_effect(grid, state, [3, 5, 5], [7, 2, 5], branches=[15, 2], buses=[4], model=model)
        for name, rows in (("flow_mw", [15, 2]), ("along_mw", [15, 2]), ("loading_percent", [15, 2]), ("vm_pu", [4])):
            np.testing.assert_allclose(getattr(part, name), getattr(whole, name)[rows], rtol=0, atol=1e-10)
        assert not whole.flow_mw[:, 2].any()  # nobody trades with itself


def test_the_loading_of_a_trade_is_the_difference_of_its_parties():
    grid = network("ring")
    _, state = solved(grid, 0.01)
    one = Sensitivities(grid, state).loading_percent().by_p_mw
    found = trade_effect(grid, state, [4], [6]).loading_percent[:, 0]
    np.testing.assert_allclose(found, one[:, 4] - one[:, 6], rtol=0, atol=1e-8)


def test_sellers_and_buyers_come_in_pairs():
    grid = network("ring")
    _, state = solved(grid, 0.01)
    with pytest.raises(GridDataError, match="2 sellers and 1 buyers"):
        trade_effect(grid, state, [1, 2], [3])
