from __future__ import annotations

import numpy as np
import pandapower as pp
import pytest

from peerwatt.errors import GridDataError
from peerwatt.grid import case_from_net
from peerwatt.grid.convert import quiet
from peerwatt.grid.unit_table import read_units
from tests.grid.nets import street


def test_power_equals_simbenchs_own_absolute_values(village, village_net):
    import simbench

    with quiet():
        absolute = simbench.get_absolute_values(village_net, profiles_instead_of_study_cases=True)
    p_mw, q_mvar = village.units.power(village.series.values)
    table = np.array(village.units.table)
    for kind, sign in (("load", -1.0), ("sgen", 1.0)):
        np.testing.assert_allclose(p_mw[:, table == kind], sign * absolute[kind, "p_mw"], rtol=1e-14)
    np.testing.assert_allclose(q_mvar[:, table == "load"], -absolute["load", "q_mvar"], rtol=1e-14)
    assert not p_mw[:, table == "storage"].any()
    assert len(village.series.values) == 35_136


def test_simbench_kinds_come_from_the_profiles_names(village, village_net):
    kinds = dict(zip(village.units.name, village.units.kind, strict=True))
    prefix = {
        "H0": "household",
        "G": "commercial",
        "L": "agriculture",
        "Air": "heat_pump",
        "Soil": "heat_pump",
    }
    prefix |= {"HLS": "ev", "APLS": "ev", "HPC": "ev"}
    for name, profile in zip(village_net.load.name, village_net.load.profile, strict=True):
        assert kinds[name] == next(kind for start, kind in prefix.items() if profile.startswith(start)), profile
    assert all(kinds[name] == "pv" for name in village_net.sgen.name)
    assert all(kinds[name] == "battery" for name in village_net.storage.name)


def test_simbench_batteries_have_limits_and_efficiencies_that_make_sense(village, village_net):
    battery = np.array(village.units.table) == "storage"
    np.testing.assert_allclose(village.units.e_mwh[battery], village_net.storage.max_e_mwh)
    np.testing.assert_allclose(village.units.p_max_mw[battery], village_net.storage.sn_mva)
    np.testing.assert_allclose(village.units.efficiency[battery], 0.95)
    np.testing.assert_allclose(village.units.self_discharge_per_day[battery], 0.0013)
    np.testing.assert_allclose(village.units.soc[battery], 0.0)
    assert not village.units.e_mwh[~battery].any()


def test_injection_sums_units_by_bus_with_signs(village):
    values = village.series.window("2016-06-21T12:00", 4, 900)
    p_mw, q_mvar = village.units.injection(values, village.network.n_bus)
    unit_p, _ = village.units.power(values)
    assert p_mw.shape == q_mvar.shape == (4, village.network.n_bus)
    np.testing.assert_allclose(p_mw.sum(axis=1), unit_p.sum(axis=1))
    load = np.array(village.units.table) == "load"
    assert (unit_p[:, load] <= 0).all()
    assert (unit_p[:, ~load] >= 0).all()


def test_units_out_of_service_are_dropped_and_scaling_is_honoured():
    net = street()
    net.load["scaling"] = [2.0, 1.0, 0.5]
    net.load.loc[1, "in_service"] = False
    units = case_from_net(net).units
    assert units.name == ("House 0", "House 2", "Roof", "Battery")
    np.testing.assert_allclose(units.p_scale_mw, [-0.008, -0.002, 0.01, 0.0])
    np.testing.assert_allclose(units.q_scale_mvar, [-0.002, -0.0005, 0.0, 0.0])
    np.testing.assert_allclose(units.p_mw, [0.008, 0.002, 0.01, 0.005])
    assert units.kind == ("household", "household", "pv", "battery")


def test_a_column_kind_goes_first_and_wind_is_known_by_type():
    net = street()
    net.load["kind"] = ["heat_pump", None, "ev"]
    pp.create_sgen(net, 2, 0.01, type="WP")
    pp.create_sgen(net, 2, 0.01, type="CHP")
    assert case_from_net(net).units.kind == (
        "heat_pump",
        "household",
        "ev",
        "pv",
        "wind",
        "generator",
        "battery",
    )


def test_names_are_unique():
    net = street()
    net.load["name"] = ["House", "House", None]
    net.sgen["name"] = ["House"]
    assert case_from_net(net).units.name == (
        "House (load 0)",
        "House (load 1)",
        "load 2",
        "House (sgen 0)",
        "Battery",
    )


def test_efficiency_may_be_a_percentage_or_a_share():
    net = street()
    for given in (95.0, 0.95):
        net.storage["efficiency_percent"] = given
        assert case_from_net(net).units.efficiency[-1] == pytest.approx(0.95)
    net.storage["efficiency_percent"] = -1.0
    with pytest.raises(GridDataError, match=r"'Battery'.*efficiency"):
        read_units(net, "street")


def test_state_of_charge_is_a_share_of_the_usable_energy():
    net = street()
    net.storage["min_e_mwh"] = 0.002
    units = case_from_net(net).units
    assert units.e_mwh[-1] == pytest.approx(0.008)
    assert units.soc[-1] == pytest.approx(0.003 / 0.008)


def test_a_network_without_units_is_a_case():
    net = street()
    for table in ("load", "sgen", "storage"):
        net[table]["in_service"] = False
    case = case_from_net(net)
    assert len(case.units) == 0
    p_mw, _ = case.units.injection(case.series.window("2020-01-01", 3, 900), case.network.n_bus)
    assert p_mw.shape == (3, 5)
