from __future__ import annotations

import numpy as np
import pandapower as pp
import pytest

from peerwatt.errors import GridDataError
from peerwatt.grid import case_from_net, load_case, make_engine
from peerwatt.grid.transform import scale_impedance, scale_line_capacity, scale_trafo, with_limits
from peerwatt.grid.verify import recompute
from tests.grid.nets import injections, street
from tests.grid.test_library import HOUR_12


@pytest.fixture(scope="module")
def village_street():
    net = street()
    pp.create_line(net, 1, 4, 0.2, "NAYY 4x150 SE", name="ring", parallel=2, df=0.9)
    pp.create_switch(net, 4, net.line.index[-1], et="l", closed=False)
    return case_from_net(net, name="street")


def assert_recomputes(case, seed=0):
    """The engine, on our arrays, and plain pandapower, on the JSON, say the same."""
    network = case.network
    p_mw, q_mvar = injections(network, 0.01, seed)
    state = make_engine("power-grid-model", network).solve(p_mw, q_mvar)
    plain = recompute(network.pandapower_json, p_mw, q_mvar)
    np.testing.assert_allclose(state.vm_pu, plain.res_bus.vm_pu, rtol=0, atol=1e-7)
    np.testing.assert_allclose(state.line.loading_percent, plain.res_line.loading_percent, rtol=0, atol=1e-4)
    np.testing.assert_allclose(state.trafo.loading_percent, plain.res_trafo.loading_percent, rtol=0, atol=1e-4)
    np.testing.assert_allclose(state.line.pl_mw, plain.res_line.pl_mw, rtol=0, atol=1e-9)
    return state, plain


TRANSFORMS = {
    "capacity": lambda case: scale_line_capacity(case, 0.5),
    "capacity of some": lambda case: scale_line_capacity(case, 3.0, ["cable 0", "line.2"]),
    "impedance": lambda case: scale_impedance(case, 5.0),
    "impedance of some": lambda case: scale_impedance(case, 0.2, ["cable 1", "ring"]),
    "transformer": lambda case: scale_trafo(case, 1 / 3),
    "limits": lambda case: with_limits(case, min_vm_pu=0.95, max_vm_pu=1.05, max_loading_percent=80.0),
    "all": lambda case: scale_trafo(scale_impedance(scale_line_capacity(case, 0.5), 5.0), 2.0),
}


@pytest.mark.parametrize("name", TRANSFORMS)
def test_a_transformed_case_recomputes_with_plain_pandapower(village_street, name):
    assert_recomputes(TRANSFORMS[name](village_street))


@pytest.mark.parametrize("name", ["impedance", "all"])
def test_the_arrays_are_those_that_the_changed_network_converts_to(village_street, name):
    from peerwatt.grid.convert import convert_net
    from peerwatt.grid.netfile import parse_net

    network = TRANSFORMS[name](village_street).network
    again = convert_net(parse_net(network.pandapower_json, "again"), "again")
    for field in ("yff", "yft", "ytf", "ytt", "ratio"):
        ours, theirs = getattr(network.admittances, field), getattr(again.admittances, field)
        np.testing.assert_allclose(ours, theirs, rtol=1e-9)
    np.testing.assert_allclose(network.lines.rating_ka, again.lines.rating_ka, rtol=1e-12)
    np.testing.assert_allclose(network.trafos.sn_mva, again.trafos.sn_mva, rtol=1e-12)


def test_capacity_changes_loading_and_nothing_else(village_street):
    before, _ = assert_recomputes(village_street)
    after, _ = assert_recomputes(scale_line_capacity(village_street, 0.5, ["cable 1"]))
    factor = np.ones(village_street.network.n_line)
    factor[1] = 2.0
    np.testing.assert_allclose(after.line.loading_percent, factor * before.line.loading_percent)
    np.testing.assert_array_equal(after.vm_pu, before.vm_pu)


def test_a_smaller_transformer_is_loaded_more_and_not_softer(village_street):
    before, _ = assert_recomputes(village_street)
    after, _ = assert_recomputes(scale_trafo(village_street, 0.25))
    np.testing.assert_allclose(after.trafo.loading_percent, 4 * before.trafo.loading_percent)
    np.testing.assert_array_equal(after.vm_pu, before.vm_pu)


def test_a_network_without_transformers_is_left_alone():
    case = load_case("case69")
    limited = with_limits(scale_trafo(case, 2.0), max_loading_percent=50.0)
    assert (limited.network.lines.max_loading_percent == 50.0).all()
    assert_recomputes_without_trafo(limited)


def assert_recomputes_without_trafo(case):
    network = case.network
    p_mw, q_mvar = injections(network, 0.05, 1)
    state = make_engine("power-grid-model", network).solve(p_mw, q_mvar)
    plain = recompute(network.pandapower_json, p_mw, q_mvar)
    np.testing.assert_allclose(state.vm_pu, plain.res_bus.vm_pu, rtol=0, atol=1e-7)


def test_five_times_the_impedance_is_about_five_times_the_losses(village_street):
    before, _ = assert_recomputes(village_street)
    after, _ = assert_recomputes(scale_impedance(village_street, 5.0))
    assert after.line.pl_mw.sum() / before.line.pl_mw.sum() == pytest.approx(5.0, rel=0.1)


def test_the_given_case_is_left_as_it_is(village_street):
    text, rating = village_street.network.pandapower_json, village_street.network.lines.rating_ka.copy()
    for transform in TRANSFORMS.values():
        transform(village_street)
    assert village_street.network.pandapower_json == text
    np.testing.assert_array_equal(village_street.network.lines.rating_ka, rating)


def test_there_and_back_is_the_same_case(village_street):
    again = scale_impedance(scale_impedance(village_street, 4.0), 0.25)
    np.testing.assert_allclose(again.network.admittances.yff, village_street.network.admittances.yff, rtol=1e-12)


def test_limits_by_element_are_set_in_arrays_and_network(village_street):
    case = with_limits(
        village_street,
        min_vm_pu={"corner 1": 0.97},
        max_vm_pu={"bus.0": 1.03},
        max_loading_percent={"cable 2": 70.0, "station": 60.0, "line.0": 50.0},
    )
    network = case.network
    assert network.buses.min_vm_pu.tolist() == [0.9, 0.9, 0.9, 0.97, 0.9]
    assert network.buses.max_vm_pu.tolist() == [1.03, 1.1, 1.1, 1.1, 1.1]
    assert network.lines.max_loading_percent.tolist() == [50.0, 100.0, 70.0, 100.0]
    assert network.trafos.max_loading_percent.tolist() == [60.0]
    plain = pp.from_json_string(network.pandapower_json)
    assert plain.bus.min_vm_pu.tolist() == network.buses.min_vm_pu.tolist()
    assert plain.line.max_loading_percent.tolist() == network.lines.max_loading_percent.tolist()
    assert plain.trafo.max_loading_percent.tolist() == [60.0]
    assert not network.buses.min_vm_pu.flags.writeable


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda case: scale_line_capacity(case, 0.0), "factor is 0"),
        (lambda case: scale_impedance(case, float("nan")), "factor is nan"),
        (lambda case: scale_trafo(case, -1.0), "factor is -1"),
        (lambda case: scale_impedance(case, 2.0, ["cabel 1"]), "did you mean 'cable 1'"),
        (lambda case: with_limits(case, max_loading_percent={"trafo.9": 50.0}), "name or index 'trafo.9'"),
        (lambda case: with_limits(case, min_vm_pu=-1.0), "give more than 0"),
        (lambda case: with_limits(case, min_vm_pu={"corner 0": 1.2}), "corner 0.*not below max_vm_pu"),
    ],
)
def test_what_cannot_be_is_refused(village_street, change, problem):
    with pytest.raises(GridDataError, match=problem):
        change(village_street)


def test_a_name_that_occurs_twice_is_refused():
    net = street()
    net.line["name"] = "cable"
    case = case_from_net(net, name="street")
    with pytest.raises(GridDataError, match=r"3 lines have the name 'cable'.*give the index of one: 0, 1, 2"):
        scale_line_capacity(case, 2.0, ["cable"])
    assert scale_line_capacity(case, 2.0, ["line.1"]).network.lines.rating_ka[1] > 0.5


def test_rbts2_with_weak_lines_is_as_congested_as_published():
    """Marques et al., Table V: hour 12, loads at 1.3, half the capacity and five times the impedance of lines."""
    case = load_case("rbts2-37")
    p_mw, q_mvar = case.units.power(case.series.window(HOUR_12, 1, 3600))
    load = np.array([table == "load" for table in case.units.table])
    scale = np.where(load, 1.3, 1.0)
    n_bus = case.network.n_bus
    p_bus = np.bincount(case.units.bus, scale * p_mw[0], n_bus)
    q_bus = np.bincount(case.units.bus, scale * q_mvar[0], n_bus)
    network = scale_impedance(scale_line_capacity(case, 0.5), 5.0).network
    before = make_engine("power-grid-model", case.network).solve(p_bus, q_bus)
    after = make_engine("power-grid-model", network).solve(p_bus, q_bus)
    line, bus = network.line_position(13), network.bus_position(14)
    assert np.argmax(after.line.loading_percent) == line
    assert np.argmax(after.vm_pu) == bus
    assert after.line.loading_percent[line] == pytest.approx(133.97, abs=1.0)
    assert before.line.loading_percent[line] == pytest.approx(69.75, abs=0.5)
    assert after.vm_pu[bus] == pytest.approx(1.051, abs=0.004)
    assert before.vm_pu[bus] == pytest.approx(1.010, abs=0.003)
    plain = recompute(network.pandapower_json, p_bus, q_bus)
    assert plain.res_line.loading_percent[13] == pytest.approx(after.line.loading_percent[line], abs=1e-4)
