"""Generators that hold a voltage and loads that depend on it, against plain pandapower on the network as given."""

from __future__ import annotations

import copy
import logging
from dataclasses import fields

import numpy as np
import pandapower as pp
import pandapower.networks as pn
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from peerwatt.errors import GridDataError, ProfileError
from peerwatt.grid import case_from_net, load_case, make_engine
from peerwatt.grid.convert import convert_net, quiet
from peerwatt.grid.disturbance import without_lines
from peerwatt.grid.sensitivity import Sensitivities
from peerwatt.grid.transform import scale_impedance, with_limits
from peerwatt.grid.verify import recompute
from tests.grid.nets import CABLE, street

ZIP = ["const_z_p_percent", "const_i_p_percent", "const_z_q_percent", "const_i_q_percent"]
EXACT = ("pandapower", "power-grid-model")
RANDOM = settings(max_examples=4, deadline=None, suppress_health_check=list(HealthCheck))
BALANCE_MW = 1e-6  # pandapower's mismatch, summed over some hundred buses


def with_generator(vm_pu=1.0):
    """A street with a generator between its houses."""
    net = street()
    pp.create_gen(net, 3, p_mw=0.02, vm_pu=vm_pu, scaling=0.5, name="Diesel")
    return net


def with_zip(shares=(30.0, 40.0, 20.0, 50.0)):
    """A street with one house whose power depends on the voltage."""
    net = street()
    net.load.loc[1, ["p_mw", "q_mvar"]] = 0.03, 0.01
    net.load.loc[1, ZIP] = shares
    return net


def constant(case):
    p_mw, q_mvar = case.units.injection(np.empty((1, 0)), case.network.n_bus)
    return p_mw[0], q_mvar[0]


def solved_plainly(net):
    with quiet():
        pp.runpp(net, trafo_model="pi", lightsim2grid=False, tolerance_mva=1e-10, max_iteration=100)
    return net


def assert_like_the_original(net, engine):
    """The units of the case, solved by an engine, against `runpp` of the network that they were read from."""
    case = case_from_net(net, name="original")
    network, plain = case.network, solved_plainly(copy.deepcopy(net))
    state = make_engine(engine, network).solve(*constant(case))
    assert state.converged, state.reason
    bus = plain.res_bus.loc[network.buses.index]
    np.testing.assert_allclose(state.vm_pu, bus.vm_pu, rtol=0, atol=1e-8)
    np.testing.assert_allclose(state.va_degree, bus.va_degree, rtol=0, atol=1e-6)
    loading = plain.res_line.loading_percent.loc[network.lines.index]
    np.testing.assert_allclose(state.line.loading_percent, loading, rtol=0, atol=1e-5)
    assert state.slack_p_mw == pytest.approx(plain.res_ext_grid.p_mw.sum(), abs=BALANCE_MW)
    assert state.slack_q_mvar == pytest.approx(plain.res_ext_grid.q_mvar.sum(), abs=10 * BALANCE_MW)
    p_mw, _ = state.injected(network)
    taken = plain.res_bus.p_mw.sum() + plain.res_ext_grid.p_mw.sum()
    shunts = plain.res_shunt.p_mw.sum() if len(plain.shunt) else 0.0
    assert p_mw.sum() == pytest.approx(shunts - taken, abs=BALANCE_MW)
    assert p_mw.sum() + state.slack_p_mw == pytest.approx(state.losses_mw, abs=BALANCE_MW)
    return state, network, plain


@pytest.mark.parametrize(
    ("name", "seed"),
    [("case9", 0), ("case14", 1), ("case30", 2)]
    + [pytest.param(name, 3, marks=pytest.mark.slow) for name in ("case4gs", "case39", "case57", "case118", "case300")],
)
def test_the_reference_engine_holds_voltages_as_plain_pandapower_does(name, seed):
    with quiet():
        net = getattr(pn, name)()
    rng = np.random.default_rng(seed)
    for table in ("load", "gen"):
        net[table]["scaling"] = rng.uniform(0.7, 1.0, len(net[table]))
    net.gen["vm_pu"] += rng.uniform(-0.01, 0.01, len(net.gen))
    state, network, plain = assert_like_the_original(net, "pandapower")
    generators = network.generators
    np.testing.assert_allclose(state.vm_pu[generators.bus], generators.vm_pu, rtol=0, atol=1e-12)
    added = np.zeros(network.n_bus)
    np.add.at(added, generators.bus, plain.res_gen.q_mvar.loc[generators.index])
    for table, sign in (("load", -1.0), ("sgen", 1.0)):
        np.add.at(added, network.buses.index.searchsorted(net[table].bus), sign * plain[f"res_{table}"].q_mvar)
    np.testing.assert_allclose(state.q_mvar, added, rtol=0, atol=1e-5)


@pytest.mark.slow
@RANDOM
@given(seed=st.integers(0, 10_000), engine=st.sampled_from(EXACT))
def test_loads_that_depend_on_the_voltage_are_those_of_plain_pandapower(seed, engine):
    rng = np.random.default_rng(seed)
    net = street(6)
    net.sgen["in_service"] = net.storage["in_service"] = False
    net.load["p_mw"], net.load["q_mvar"] = rng.uniform(0.0, 0.03, 6), rng.uniform(-0.01, 0.01, 6)
    net.load[ZIP] = rng.dirichlet((1.0, 1.0, 1.0), 12).reshape(6, 6)[:, [0, 1, 3, 4]] * 100.0
    net.load.loc[rng.integers(0, 6), ZIP] = 0.0
    net.load.loc[rng.integers(0, 6), ZIP] = [100.0, 0.0, 0.0, 100.0]
    state, network, plain = assert_like_the_original(net, engine)
    p_mw, q_mvar = state.injected(network)
    at = network.buses.index.searchsorted(net.load.bus)
    np.testing.assert_allclose(p_mw[at], -plain.res_load.p_mw, rtol=0, atol=1e-10)
    np.testing.assert_allclose(q_mvar[at], -plain.res_load.q_mvar, rtol=0, atol=1e-10)


def test_constant_current_is_power_in_proportion_to_the_magnitude_of_the_voltage():
    net = with_zip((0.0, 100.0, 0.0, 100.0))
    state, network, _ = assert_like_the_original(net, "power-grid-model")
    p_mw, q_mvar = state.injected(network)
    assert p_mw[3] == pytest.approx(-0.03 * state.vm_pu[3], abs=1e-12)
    assert q_mvar[3] == pytest.approx(-0.01 * state.vm_pu[3], abs=1e-12)


@pytest.mark.parametrize("engine", EXACT)
def test_a_batch_with_loads_that_depend_on_the_voltage_is_its_rows(engine):
    net = with_zip()
    pp.create_load(net, 0, p_mw=0.01, q_mvar=0.0, const_i_p_percent=100.0, name="at the supply")
    case = case_from_net(net, name="street")
    engine, scale = make_engine(engine, case.network), np.linspace(0.2, 1.5, 5)[:, None]
    p_mw, q_mvar = constant(case)
    batch = engine.solve_batch(scale * p_mw, scale * q_mvar)
    injected = batch.injected(case.network)[0]
    for row, state in enumerate(batch):
        alone = engine.solve(scale[row] * p_mw, scale[row] * q_mvar)
        np.testing.assert_allclose(state.vm_pu, alone.vm_pu, rtol=0, atol=1e-9)
        assert state.slack_p_mw == pytest.approx(alone.slack_p_mw, abs=1e-8)
        assert injected[row].sum() + state.slack_p_mw == pytest.approx(state.losses_mw, abs=1e-8)


def test_joined_buses_share_a_dependence_and_rows_without_a_solution_stay_alone():
    net = with_zip()
    extra = pp.create_bus(net, 0.4, name="next door")
    pp.create_switch(net, 3, extra, et="b")
    network = convert_net(net, "street")
    dependence = network.voltage_dependence
    assert dependence.const_z_p[network.bus_position(extra)] == dependence.const_z_p[3] == 0.3
    assert not dependence.const_z_p[[0, 1, 2, 4]].any()
    p_mw = np.zeros((2, network.n_bus))
    p_mw[:, network.bus_position(extra)] = -0.02
    p_mw[1, 4] = -5.0
    exact = [make_engine(name, network).solve_batch(p_mw, 0 * p_mw) for name in EXACT]
    for states in exact:
        assert states.converged.tolist() == [True, False]
        assert np.isnan(states.slack_p_mw[1])
    np.testing.assert_allclose(exact[0].vm_pu[0], exact[1].vm_pu[0], rtol=0, atol=1e-8)


@pytest.mark.slow
@pytest.mark.parametrize("make", [with_generator, with_zip])
def test_a_state_is_found_again_from_what_a_run_leaves_behind(make):
    case = case_from_net(make(), name="street")
    network = case.network
    state = make_engine("auto", network).solve(*constant(case))
    again = recompute(network.pandapower_json, state.p_mw, state.q_mvar)
    np.testing.assert_allclose(again.res_bus.vm_pu, state.vm_pu, rtol=0, atol=1e-8)
    given_back = state.to_pandapower(network)
    tables = {name: given_back[name].copy() for name in ("res_bus", "res_line", "res_load", "res_ext_grid", "res_gen")}
    solved_plainly(given_back)
    for name, table in tables.items():
        columns = [column for column in table if column in given_back[name]]
        np.testing.assert_allclose(table[columns], given_back[name][columns], rtol=0, atol=1e-6, err_msg=name)


def test_reactive_power_that_is_given_where_a_voltage_is_held_takes_the_place_of_the_generators():
    case = case_from_net(with_generator(), name="street")
    engine, (p_mw, q_mvar) = make_engine("pandapower", case.network), constant(case)
    one, other = engine.solve(p_mw, q_mvar), engine.solve(p_mw, q_mvar + 0.004 * (np.arange(5) == 3))
    np.testing.assert_allclose(one.q_mvar, other.q_mvar, rtol=0, atol=1e-7)
    np.testing.assert_allclose(one.vm_pu, other.vm_pu, rtol=0, atol=1e-8)
    assert q_mvar[3] == -0.001
    assert one.q_mvar[3] != q_mvar[3]


def test_a_generator_is_a_unit_with_active_power_only():
    units = case_from_net(with_generator(), name="street").units
    at = units.name.index("Diesel")
    assert (units.table[at], units.kind[at], units.p_scale_mw[at], units.q_scale_mvar[at]) == (
        "gen",
        "generator",
        0.01,
        0.0,
    )


def test_generators_have_profiles_of_active_power():
    net = with_generator()
    frame = pd.DataFrame({"time": pd.date_range("2030-01-01", periods=2, freq="1h"), "gen.Diesel.p_mw": [0.01, 0.03]})
    case = case_from_net(net, profiles=frame, name="street")
    p_mw, _ = case.units.injection(case.series.window("2030-01-01", 2, 3600), case.network.n_bus)
    assert np.diff(p_mw[:, 3]) == pytest.approx(0.5 * 0.02)
    with pytest.raises(ProfileError, match="what its voltage takes"):
        case_from_net(net, profiles=frame.assign(**{"gen.Diesel.q_mvar": 0.0}), name="street")


def test_generators_out_of_service_are_ignored_and_slack_ones_are_no_units():
    net = with_generator()
    net.gen["in_service"] = False
    pp.create_gen(net, 0, p_mw=0.0, vm_pu=1.02, slack=True, name="Slack")
    case = case_from_net(net, name="street")
    assert not len(case.network.generators)
    assert "gen" not in case.units.table
    assert make_engine("auto", case.network).name == "power-grid-model"


REFUSING = {
    with_generator: {"power-grid-model": "gen 'Diesel'", "lindistflow": "gen 'Diesel'"},
    with_zip: {"lindistflow": "load 'House 1'", "dc": "load 'House 1'"},
}


@pytest.mark.parametrize(
    ("make", "engine", "element"), [(make, *pair) for make, pairs in REFUSING.items() for pair in pairs.items()]
)
def test_an_engine_that_cannot_represent_an_element_names_it(make, engine, element):
    network = convert_net(make(), "street")
    with pytest.raises(GridDataError, match=element) as caught:
        make_engine(engine, network)
    assert len(caught.value.faults) == 1


def test_auto_takes_the_reference_for_generators_and_says_why(caplog):
    with caplog.at_level(logging.WARNING, logger="peerwatt"):
        assert make_engine("auto", convert_net(with_generator(), "street")).name == "pandapower"
    assert "gen 'Diesel' (index 0)" in caplog.text
    caplog.clear()
    assert make_engine("auto", convert_net(with_zip(), "street")).name == "power-grid-model"
    assert not caplog.text


def test_dc_has_the_active_power_of_generators():
    case = case_from_net(with_generator(), name="street")
    state = make_engine("dc", case.network).solve(*constant(case))
    assert state.slack_p_mw == pytest.approx(0.012 - 0.01 - 0.01, abs=1e-9)


def generator_at_the_supply(net):
    extra = pp.create_bus(net, 20.0)
    pp.create_switch(net, 0, extra, et="b")
    pp.create_gen(net, extra, p_mw=0.01, vm_pu=1.0, name="Twin")


def generators_that_disagree(net):
    pp.create_gen(net, 4, p_mw=0.01, vm_pu=1.0, name="One")
    pp.create_gen(net, 4, p_mw=0.01, vm_pu=1.01, name="Twin")


def generator_without_voltage(net):
    pp.create_gen(net, 4, p_mw=0.01, vm_pu=np.nan, name="Twin")


def consuming_generator(net):
    pp.create_gen(net, 4, p_mw=-0.01, vm_pu=1.0, name="Twin")


def zip_beside(table):
    def change(net):
        net.load.loc[2, ["name", "const_z_p_percent"]] = "Twin", 50.0
        for other in {"sgen", "storage"} - {table}:
            net[other]["in_service"] = False
        if table == "gen":
            net.sgen["in_service"] = net.storage["in_service"] = False
            pp.create_gen(net, 4, p_mw=0.0, vm_pu=1.0)

    return change


def zip_beside_a_joined_load(net):
    extra = pp.create_bus(net, 0.4)
    pp.create_switch(net, 2, extra, et="b")
    pp.create_load(net, extra, p_mw=0.001, const_i_q_percent=10.0, name="Twin")


def more_than_everything(net):
    net.load.loc[2, ["name", "const_z_p_percent", "const_i_p_percent"]] = "Twin", 60.0, 50.0


def negative_share(net):
    net.load.loc[2, ["name", "const_z_q_percent"]] = "Twin", -10.0


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (generator_at_the_supply, "external grid holds"),
        (generators_that_disagree, "gen 'One' (index 0) holds 1.0"),
        (generator_without_voltage, "vm_pu is nan"),
        (consuming_generator, "p_mw is -0.01"),
        (zip_beside("sgen"), "than sgen 'Roof'"),
        (zip_beside("storage"), "than storage 'Battery'"),
        (zip_beside("gen"), "than gen 0"),
        (zip_beside_a_joined_load, "than load 'House 0'"),
        (more_than_everything, "shares of 100"),
        (negative_share, "shares of 100"),
    ],
)
def test_what_has_no_defined_meaning_is_refused_by_name(change, words):
    net = street()
    change(net)
    with pytest.raises(GridDataError) as caught:
        convert_net(net, "my net")
    fault = next(fault for fault in caught.value.faults if "'Twin'" in fault.where)
    assert words in fault.problem
    assert fault.remedy


def test_options_of_a_network_that_would_change_the_power_flow_are_refused():
    net = with_generator()
    pp.set_user_pf_options(net, enforce_q_lims=True, voltage_depend_loads=False, max_iteration=20)
    with pytest.raises(GridDataError, match="enforce_q_lims") as caught:
        convert_net(net, "street")
    assert len(caught.value.faults) == 2


@pytest.mark.slow
def test_loads_of_one_kind_may_share_a_bus():
    net = with_zip()
    pp.create_load(net, 3, p_mw=0.01, q_mvar=0.002, **dict(zip(ZIP, net.load.loc[1, ZIP].astype(float), strict=True)))
    for engine in EXACT:
        assert_like_the_original(net, engine)


@pytest.mark.parametrize("make", [with_generator, with_zip])
def test_the_cache_gives_back_what_was_stored(make, tmp_path):
    pp.to_json(make(), str(tmp_path / "net.json"))
    first, again = (load_case("net.json", base_dir=tmp_path).network for _ in range(2))
    assert first is not again
    for one, other in (
        (first.generators, again.generators),
        (first.voltage_dependence, again.voltage_dependence),
    ):
        assert type(one) is type(other)
        for field in fields(one) if one is not None else ():
            np.testing.assert_array_equal(getattr(one, field.name), getattr(other, field.name))


@pytest.mark.slow
def test_transforms_keep_generators_and_dependence():
    net = with_zip()
    net.load.loc[0, "p_mw"] = 0.0
    case = scale_impedance(case_from_net(net, name="street"), 2.0)
    case = with_limits(case, max_loading_percent=80.0)
    state = make_engine("power-grid-model", case.network).solve(*constant(case))
    again = recompute(case.network.pandapower_json, state.p_mw, state.q_mvar)
    np.testing.assert_allclose(again.res_bus.vm_pu, state.vm_pu, rtol=0, atol=1e-8)
    held = with_limits(case_from_net(with_generator(), name="street"), min_vm_pu=0.8)
    assert held.network.generators.name == ("Diesel",)


def test_a_generator_that_loses_its_grid_holds_no_voltage():
    net = with_generator()
    pp.create_gen(net, 2, p_mw=0.0, vm_pu=1.01, name="Other")
    network = without_lines(convert_net(net, "street"), ["cable 1"])
    assert network.generators.name == ("Other",)
    p_mw = np.zeros(network.n_bus)
    state = make_engine("pandapower", network).solve(p_mw, p_mw)
    assert state.vm_pu[2] == pytest.approx(1.01, abs=1e-12)
    assert np.isnan(state.vm_pu[3])
    assert np.isfinite(state.q_mvar).all()


@pytest.mark.slow
def test_sensitivities_where_a_generator_holds_the_voltage_are_those_of_the_engine():
    net = with_generator()
    pp.create_line(net, 1, 4, 0.2, CABLE, name="ring")
    case = case_from_net(net, name="street")
    engine, (p_mw, q_mvar) = make_engine("pandapower", case.network), constant(case)
    found, step = Sensitivities(case.network, engine.solve(p_mw, q_mvar)), 1e-4
    outputs = {
        "vm_pu": lambda state: state.vm_pu,
        "p_from_mw": lambda state: np.concatenate([state.line.p_from_mw, state.trafo.p_from_mw]),
        "q_from_mvar": lambda state: np.concatenate([state.line.q_from_mvar, state.trafo.q_from_mvar]),
        "losses_mw": lambda state: np.array([state.losses_mw]),
    }
    for bus in range(case.network.n_bus):
        push = step * (np.arange(case.network.n_bus) == bus)
        for kind, (p, q) in {"by_p_mw": (push, 0 * push), "by_q_mvar": (0 * push, push)}.items():
            more, less = engine.solve(p_mw + p, q_mvar + q), engine.solve(p_mw - p, q_mvar - q)
            for name, of in outputs.items():
                exact = getattr(getattr(found, name)(), kind)[:, bus]
                near = (of(more) - of(less)) / (2.0 * step)
                np.testing.assert_allclose(near, exact, rtol=0, atol=1e-4, err_msg=f"{name} {kind} {bus}")


def test_sensitivities_of_power_that_depends_on_the_voltage_are_refused_by_name():
    case = case_from_net(with_zip(), name="street")
    state = make_engine("power-grid-model", case.network).solve(*constant(case))
    with pytest.raises(GridDataError, match="load 'House 1'"):
        Sensitivities(case.network, state)


def test_a_network_without_them_has_the_buffers_that_it_had():
    engine = make_engine("power-grid-model", convert_net(street(), "street"))
    assert engine._session.p_w.shape == (5,)
    assert engine._shares is None
