from __future__ import annotations

import copy

import numpy as np
import pandapower as pp
import pytest

from peerwatt.errors import GridDataError
from peerwatt.grid import case_from_net
from peerwatt.grid.convert import convert_net, quiet
from peerwatt.grid.engine import make_engine
from tests.grid.nets import street
from tests.scenarios import feeder


def refused(net) -> str:
    with pytest.raises(GridDataError) as caught:
        case_from_net(net, name="my net")
    return str(caught.value)


def test_all_faults_of_a_network_are_listed_at_once():
    net = street()
    net.load.loc[0, "p_mw"] = -1.0
    net.line.loc[1, "max_i_ka"] = np.nan
    net.trafo.loc[0, "sn_mva"] = -0.4
    net.sgen.loc[0, "bus"] = 99
    net.storage.loc[0, "max_e_mwh"] = -1.0
    pp.create_gen(net, 3, p_mw=0.01, vm_pu=0.0, name="Diesel")
    pp.create_ward(net, 3, 0, 0, 0, 0, name="Ward")
    with pytest.raises(GridDataError) as caught:
        convert_net(net, "my net")
    text = str(caught.value)
    assert len(caught.value.faults) == 7
    for name in ("House 0", "cable 1", "station", "Roof", "Battery", "Diesel", "Ward"):
        assert f"'{name}' (index " in text
    assert "bus is 99" in text


def test_islanded_buses_are_refused_by_name():
    net = street()
    pp.create_bus(net, 0.4, name="far")
    net.line.loc[2, "in_service"] = False
    text = refused(net)
    assert "2 buses in service have no path" in text
    assert "'far' (index 5)" in text
    assert "'corner 2' (index 4)" in text


def test_a_network_without_external_grid_is_refused():
    net = street()
    net.ext_grid["in_service"] = False
    assert "no external grid is in service" in refused(net)


def test_loads_of_an_old_pandapower_that_depend_on_the_voltage_are_refused():
    net = street()
    net.load["const_z_percent"] = [0.0, 30.0, 0.0]
    text = refused(net)
    assert "'House 1' (index 1): const_z_percent is of an old pandapower" in text
    assert "const_z_p_percent and const_z_q_percent" in text


def test_three_winding_transformers_are_refused():
    net = street()
    mid = pp.create_bus(net, 10.0)
    low = pp.create_bus(net, 0.4)
    pp.create_transformer3w_from_parameters(
        net, 0, mid, low, 20.0, 10.0, 0.4, 1, 1, 1, 5, 5, 5, 1, 1, 1, 0.1, 0.1, name="Three"
    )
    assert "'Three' (index 0): elements of table 'trafo3w' are not supported" in refused(net)


def test_a_line_without_impedance_is_refused():
    net = street()
    net.line.loc[1, ["r_ohm_per_km", "x_ohm_per_km"]] = 0.0
    assert "'cable 1' (index 1): no impedance above 0" in refused(net)


def test_an_impedance_with_two_directions_is_refused():
    net = street()
    pp.create_impedance(net, 2, 4, rft_pu=0.01, xft_pu=0.02, rtf_pu=0.05, xtf_pu=0.06, sn_mva=0.1, name="Odd")
    assert "'Odd' (index 0): impedance differs by direction" in refused(net)


def test_external_grids_that_contradict_each_other_are_refused():
    net = street()
    pp.create_ext_grid(net, 0, vm_pu=0.99, name="second")
    assert "external grid" in refused(net)


def test_a_unit_at_a_dead_bus_is_refused():
    net = street()
    net.bus.loc[4, "in_service"] = False
    text = refused(net)
    for name in ("House 2", "Roof", "Battery"):
        assert f"'{name}' (index " in text


def test_storages_without_capacity_are_refused():
    net = street()
    net.storage.loc[0, ["max_e_mwh", "sn_mva", "p_mw"]] = np.nan
    net.storage["max_e_mwh"] = np.nan
    assert "storage 'Battery' (index 0): max_e_mwh" in refused(net)


def test_the_callers_network_is_not_changed():
    net = street()
    before = copy.deepcopy(net)
    convert_net(net, "my net")
    assert pp.toolbox.nets_equal(net, before, check_only_results=False)
    assert set(net) == set(before)


def test_network_json_is_the_original_with_its_loads():
    net = street()
    back = pp.from_json_string(convert_net(net, "my net").pandapower_json)
    with quiet():
        assert pp.toolbox.nets_equal(net, back)
    assert back.load.in_service.all()


def test_a_simbench_network_leaves_its_profiles_out_of_the_json(village):
    back = pp.from_json_string(village.network.pandapower_json)
    assert len(village.network.pandapower_json) < 500_000
    assert list(back.load.name) == [
        name for name, table in zip(village.units.name, village.units.table, strict=True) if table == "load"
    ]
    pp.runpp(back, lightsim2grid=False)


def test_ratings_include_parallel_systems_and_derating():
    net = street()
    net.line.loc[0, ["parallel", "df"]] = [2, 0.8]
    net.trafo.loc[0, ["parallel", "df"]] = [2, 0.5]
    network = convert_net(net, "my net")
    np.testing.assert_allclose(network.lines.rating_ka, net.line.max_i_ka * [1.6, 1, 1])
    np.testing.assert_allclose(network.trafos.sn_mva, 0.4)


def test_limits_have_defaults_and_coordinates_are_read():
    net = street()
    net.bus["geo"] = ['{"type":"Point", "coordinates":[11.5, 53.5]}', None, "nonsense", np.nan, None]
    net.bus["min_vm_pu"] = [0.95, np.nan, 0.9, 0.9, 0.9]
    network = convert_net(net, "my net")
    np.testing.assert_array_equal(network.buses.x, [11.5, *[np.nan] * 4])
    np.testing.assert_array_equal(network.buses.y, [53.5, *[np.nan] * 4])
    np.testing.assert_array_equal(network.buses.min_vm_pu, [0.95, 0.9, 0.9, 0.9, 0.9])
    np.testing.assert_array_equal(network.buses.max_vm_pu, 1.1)
    np.testing.assert_array_equal(network.lines.max_loading_percent, 100.0)


def test_positions_follow_pandapowers_indices():
    net = street()
    pp.toolbox.reindex_buses(net, {0: 70, 1: 3, 2: 12, 3: 5, 4: 40})
    network = convert_net(net, "my net")
    assert list(network.buses.index) == sorted(net.bus.index)
    for position, (a, b) in enumerate(zip(net.line.from_bus, net.line.to_bus, strict=True)):
        assert network.buses.index[network.lines.from_bus[position]] == a
        assert network.lines.to_bus[position] == network.bus_position(b)
    assert network.slack_bus == network.bus_position(70)
    with pytest.raises(GridDataError, match="no bus has index 71"):
        network.bus_position(71)


def test_arrays_of_a_network_cannot_be_written(village):
    for array in (village.network.buses.vn_kv, village.network.lines.rating_ka, village.series.values):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 1.0


def test_the_order_of_elements_in_a_file_does_not_matter():
    net = feeder(8)
    net.bus.loc[3, "geo"] = '{"coordinates": [8.0, 51.0], "type": "Point"}'
    shuffled = copy.deepcopy(net)
    for table in ("bus", "line", "load", "sgen"):
        shuffled[table] = shuffled[table].sample(frac=1.0, random_state=3)
    a, b = convert_net(net, "n"), convert_net(shuffled, "n")
    assert a.buses.index.tolist() == b.buses.index.tolist()
    assert a.pandapower_json == b.pandapower_json
    rng = np.random.default_rng(2)
    p_mw, q_mvar = rng.normal(0, 0.004, 9), rng.normal(0, 0.001, 9)
    states = [make_engine("power-grid-model", network).solve(p_mw, q_mvar) for network in (a, b)]
    assert np.array_equal(states[0].vm_pu, states[1].vm_pu)
    assert np.array_equal(states[0].line.loading_percent, states[1].line.loading_percent)
    reference = make_engine("pandapower", b).solve(p_mw, q_mvar)
    assert np.allclose(reference.vm_pu, states[1].vm_pu, atol=1e-7)
