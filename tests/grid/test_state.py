from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from peerwatt.grid import make_engine
from peerwatt.grid.convert import convert_net
from tests.grid.nets import street


@pytest.fixture(scope="module")
def congested():
    net = street()
    net.trafo["sn_mva"] = 0.05
    net.line.loc[0, "max_loading_percent"] = 60.0
    network = convert_net(net, "street")
    p_mw = np.array([0.0, 0.0, -0.02, -0.06, -0.02])
    return network, make_engine("power-grid-model", network).solve(p_mw, np.zeros(5))


def test_violations_name_branches_and_buses_beyond_their_limits(congested):
    network, state = congested
    violations = state.violations(network)
    loading = np.concatenate([state.line.loading_percent, state.trafo.loading_percent])
    limit = np.array([60.0, 100.0, 100.0, 100.0])
    expected = loading > limit
    np.testing.assert_array_equal(violations.line_mask, expected[:3])
    np.testing.assert_array_equal(violations.trafo_mask, expected[3:])
    assert violations.n_congested == expected.sum() > 0
    np.testing.assert_array_equal(violations.low_voltage, state.vm_pu < 0.9)
    assert violations.n_voltage == np.count_nonzero((state.vm_pu < 0.9) | (state.vm_pu > 1.1))


def test_overflow_is_the_part_of_the_flow_that_must_go(congested):
    network, state = congested
    line, trafo = state.overflow_mw(network)
    assert trafo[0] == pytest.approx(state.trafo.p_from_mw[0] * (1 - 100.0 / state.trafo.loading_percent[0]), rel=1e-12)
    assert line[2] == 0.0
    assert state.overflow_sum_mw(network) == pytest.approx(line.sum() + trafo.sum())


def test_weighted_mean_overflow_is_within_the_overflows_of_congested_branches(congested):
    network, state = congested
    lines = replace(network.lines, max_loading_percent=np.full(network.n_line, 20.0))  # several branches are above
    network = replace(network, lines=lines)
    mean = state.overflow_weighted_mean(network)
    line = state.line.loading_percent - network.lines.max_loading_percent
    trafo = state.trafo.loading_percent - network.trafos.max_loading_percent
    excess = np.concatenate([line, trafo])
    capacity = np.concatenate([network.line_capacity_mva(), network.trafo_capacity_mva()])
    over = excess > 0
    assert mean == pytest.approx((excess * capacity)[over].sum() / capacity[over].sum())
    # Tables 7 and 8 of D5.3 have it of the flow above the limit.
    flow = np.concatenate([state.line.p_from_mw, state.trafo.p_from_mw])
    loading = np.concatenate([state.line.loading_percent, state.trafo.loading_percent])
    limit = np.concatenate([network.lines.max_loading_percent, network.trafos.max_loading_percent])
    above = np.abs(flow) * (loading - limit) / loading
    assert over.sum() > 1
    assert state.overflow_weighted_mw(network) == pytest.approx(above[over] @ capacity[over] / capacity[over].sum())


def test_an_uncongested_grid_has_no_overflow(congested):
    network, _ = congested
    state = make_engine("power-grid-model", network).solve(np.zeros(5), np.zeros(5))
    assert state.violations(network).n_congested == 0
    assert state.overflow_sum_mw(network) == 0.0
    assert state.overflow_weighted_mean(network) == state.overflow_weighted_mw(network) == 0.0
