"""Sensitivities of the grid as policies see it, against one kilowatt or kilovar more in a power flow."""

from __future__ import annotations

import numpy as np
import pytest

from peerwatt.grid.trade_effect import FlowModel
from tests.agents.policies.ac import NETS, fullest, solved_by_pandapower, truth

grids = pytest.mark.parametrize("name", NETS)
CLOSE = {"rtol": 1e-4, "atol": 2e-5}


@grids
def test_the_power_flow_of_these_tests_is_pandapowers(name: str) -> None:
    grid = truth(name)
    net = solved_by_pandapower(NETS[name](), grid.p_mw, grid.q_mvar)
    flow = np.concatenate((net.res_line.p_from_mw, net.res_trafo.p_hv_mw))
    found = grid.plain(grid.p_mw, grid.q_mvar)
    np.testing.assert_allclose(found["flow_mw"], flow, atol=1e-9)
    np.testing.assert_allclose(found["vm_pu"], net.res_bus.vm_pu, atol=1e-9)
    np.testing.assert_allclose(found["losses"], net.res_line.pl_mw.sum() + net.res_trafo.pl_mw.sum(), atol=1e-9)


@grids
def test_sensitivities_are_those_of_one_kilowatt_or_kilovar(name: str) -> None:
    grid = truth(name)
    view, mvar = grid.view(), np.arange(5.0)
    branches, buses = np.arange(len(grid.flow_mw)), np.arange(len(grid.vm_pu))
    by_mw, by_mvar = grid.by_mw, grid.by_mvar
    reactive = by_mw["flow_mvar"] + mvar * by_mvar["flow_mvar"]
    np.testing.assert_allclose(view.flow_by_mw(branches), by_mw["flow_mw"], **CLOSE)
    np.testing.assert_allclose(view.flow_by_mvar(branches), by_mvar["flow_mw"], **CLOSE)
    np.testing.assert_allclose(view.reactive_flow_by(branches, mvar), reactive, **CLOSE)
    np.testing.assert_allclose(view.vm_by_mw(buses), by_mw["vm_pu"], **CLOSE)
    np.testing.assert_allclose(view.vm_by_mvar(buses), by_mvar["vm_pu"], **CLOSE)
    np.testing.assert_allclose(view.losses_by_mw, by_mw["losses"], **CLOSE)


@grids
def test_what_a_trade_does_is_the_seller_s_effect_less_the_buyer_s(name: str) -> None:
    grid = truth(name)
    for found, expected in (
        (grid.view().flow_by_mw(np.arange(len(grid.flow_mw))), grid.by_trade["flow_mw"]),
        (grid.view().losses_by_mw, grid.by_trade["losses"]),
    ):
        np.testing.assert_allclose(found[..., :, None] - found[..., None, :], expected, **CLOSE)


@grids
def test_ptdf_also_in_a_mesh_with_unequal_taps_is_that_of_a_power_flow_without_losses(name: str) -> None:
    grid = truth(name)
    view = grid.view(model=FlowModel.PTDF)
    np.testing.assert_allclose(view.flow_by_mw(np.arange(len(grid.flow_mw))), grid.dc_by_mw, atol=1e-5)


@grids
def test_limits_of_active_flow_are_where_the_rating_is_reached_with_the_present_reactive_flow(name: str) -> None:
    grid = truth(name)
    most = fullest(grid, len(grid.flow_mw))
    share = dict(zip(most.tolist(), np.linspace(0.3, 1.6, len(most)), strict=True))
    limit = grid.view(share).limit_mw
    for branch, each in share.items():
        rest = (grid.flow_mw[branch] ** 2 + grid.flow_mvar[branch] ** 2) / each**2 - grid.flow_mvar[branch] ** 2
        assert limit[branch] == pytest.approx(np.sqrt(max(rest, 0.0)), rel=1e-2, abs=1e-4)
