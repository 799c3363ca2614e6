from __future__ import annotations

import numpy as np
import pandapower as pp
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from peerwatt.errors import GridDataError, PowerFlowError
from peerwatt.grid.convert import convert_net
from peerwatt.grid.jacobian import node_voltages
from peerwatt.grid.sensitivity import Sensitivities
from tests.grid.nets import CABLE, radial_nets, street
from tests.grid.sensitivity_nets import SIZES_MW, difference, meshed_nets, network, rated, solved

READ = {
    "vm_pu": lambda s: s.vm_pu,
    "va_degree": lambda s: s.va_degree,
    "p_from_mw": lambda s: rated(s, "p_from_mw"),
    "q_from_mvar": lambda s: rated(s, "q_from_mvar"),
    "i_ka": lambda s: rated(s, "i_ka"),
    "loading_percent": lambda s: rated(s, "loading_percent"),
    "losses_mw": lambda s: np.array([s.losses_mw]),
}
RANDOM = settings(max_examples=6, deadline=None, suppress_health_check=list(HealthCheck))


def read(state):
    return np.concatenate([np.nan_to_num(values(state)) for values in READ.values()])


def assert_like_differences(network, size_mw, seed=1, max_buses=12):
    """Every sensitivity against central differences of the engine, at up to `max_buses` random buses."""
    engine, state = solved(network, size_mw, seed)
    found, step = Sensitivities(network, state), 3e-4 * size_mw
    parts = np.cumsum([len(values(state)) for values in READ.values()])[:-1]
    live = np.flatnonzero(network.admittances.bus_node >= 0)
    for kind in ("by_p_mw", "by_q_mvar"):
        ours = {name: getattr(getattr(found, name)(), kind) for name in READ}
        for bus in np.random.default_rng(seed).permutation(live)[:max_buses]:
            push = np.zeros((2, network.n_bus))
            push[int(kind == "by_q_mvar"), bus] = step
            theirs = np.split(difference(engine, state, read, *push) / step, parts)
            for (name, values), near in zip(READ.items(), theirs, strict=True):
                exact, now = ours[name][:, bus], values(state)
                sure = np.ones(len(now), dtype=np.bool_)
                if name in ("i_ka", "loading_percent"):  # |I| has a kink where nothing flows
                    sure = now > np.maximum(30.0 * step * np.abs(exact), 1e-5)
                noise = 1.0 if name == "loading_percent" else 1e-2  # of the engine, over the step
                scale = max(np.abs(exact).max(initial=0.0), noise)
                np.testing.assert_allclose(near[sure], exact[sure], rtol=0, atol=1e-3 * scale, err_msg=name)


@pytest.mark.parametrize("name", SIZES_MW)
def test_every_sensitivity_is_what_the_engine_does(name, village):
    assert_like_differences(village.network if name == "village" else network(name), SIZES_MW[name])


@RANDOM
@given(net=radial_nets(), seed=st.integers(0, 1000))
def test_it_is_on_random_radial_nets(net, seed):
    assert_like_differences(convert_net(net, "random"), 0.003, seed, max_buses=4)


@RANDOM
@given(net=meshed_nets(), seed=st.integers(0, 1000))
def test_it_is_on_random_meshed_nets(net, seed):
    assert_like_differences(convert_net(net, "random"), 0.003, seed, max_buses=4)


@pytest.mark.parametrize("name", ["CIGRE MV", "two supplies"])
def test_chosen_outputs_and_buses_are_those_of_the_whole(name):
    grid = network(name)
    _, state = solved(grid, SIZES_MW[name])
    for output in READ:
        whole = getattr(Sensitivities(grid, state), output)()
        n = whole.by_p_mw.shape[0]
        for rows in ([n - 1, 1, 2], range(n)) if output != "losses_mw" else (None,):
            for at in ([4, 0, 3], [2], None):
                chosen = [] if rows is None else [rows]
                part = getattr(Sensitivities(grid, state), output)(*chosen, at=at)
                pick = np.ix_([0] if rows is None else list(rows), range(grid.n_bus) if at is None else at)
                np.testing.assert_allclose(part.by_p_mw, whole.by_p_mw[pick], rtol=0, atol=1e-10)
                np.testing.assert_allclose(part.by_q_mvar, whole.by_q_mvar[pick], rtol=0, atol=1e-10)


def test_the_external_grid_takes_up_the_difference():
    grid = network("two supplies")
    engine, state = solved(grid, 0.01)
    found, losses = Sensitivities(grid, state), Sensitivities(grid, state).losses_mw().by_p_mw[0]
    for bus in range(grid.n_bus):
        push = np.zeros(grid.n_bus)
        push[bus] = 1e-5
        slack = difference(engine, state, lambda s: s.slack_p_mw, push, 0 * push) / 1e-5
        assert slack == pytest.approx(losses[bus] - 1.0, abs=1e-5)
    assert not found.vm_pu().by_p_mw[:, grid.slack_bus].any()
    assert not found.vm_pu().by_p_mw[grid.slack_bus].any()
    assert not found.p_from_mw().by_p_mw[:, grid.slack_bus].any()


def test_what_is_out_of_service_has_no_sensitivity():
    net = street()
    dead = pp.create_bus(net, 0.4, in_service=False)
    line = pp.create_line(net, 1, dead, 0.1, CABLE, in_service=False)
    grid = convert_net(net, "street")
    _, state = solved(grid, 0.003)
    found, at = Sensitivities(grid, state), grid.bus_position(dead)
    assert not found.vm_pu().by_p_mw[at].any()
    assert not found.vm_pu().by_p_mw[:, at].any()
    assert not found.loading_percent().by_p_mw[grid.line_position(line)].any()


def test_a_line_that_hangs_on_an_open_switch_has_a_voltage_at_its_end():
    net = street()
    line = pp.create_line(net, 2, 4, 0.5, CABLE)
    pp.create_switch(net, 4, line, et="l", closed=False)
    grid = convert_net(net, "street")
    _, state = solved(grid, 0.003)
    model, voltage = grid.admittances, node_voltages(grid, state)
    end = np.setdiff1d(np.arange(model.n_node), model.bus_node)
    assert len(end) == 1
    assert abs(voltage[end[0]]) == pytest.approx(state.vm_pu[grid.bus_position(2)], abs=1e-5)


def test_without_a_solution_there_are_no_sensitivities():
    grid = convert_net(street(), "street")
    engine, state = solved(grid, 0.003)
    with pytest.raises(PowerFlowError, match="without a solution"):
        Sensitivities(grid, engine.solve(state.p_mw - 5.0, state.q_mvar))


def test_a_position_that_does_not_exist_is_refused():
    grid = convert_net(street(), "street")
    _, state = solved(grid, 0.003)
    with pytest.raises(GridDataError, match="from 0 to 3"):
        Sensitivities(grid, state).loading_percent([7])


def test_a_grid_of_external_grids_only_has_no_sensitivities():
    net = pp.create_empty_network()
    a, b = pp.create_bus(net, 0.4), pp.create_bus(net, 0.4)
    pp.create_line(net, a, b, 0.1, CABLE)
    for bus in (a, b):
        pp.create_ext_grid(net, bus)
    grid = convert_net(net, "two")
    _, state = solved(grid, 0.001)
    found = Sensitivities(grid, state)
    assert not found.vm_pu().by_p_mw.any()
    assert not found.losses_mw(at=[1]).by_q_mvar.any()
