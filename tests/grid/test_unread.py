"""What a network carries and nobody reads is warned of, in one line of each kind."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandapower as pp
import pandas as pd
import pytest

from peerwatt.grid.cases import case_from_net, load_case
from tests.grid.nets import street


def warnings(net: Any, profiles: pd.DataFrame | None = None) -> list[str]:
    return [str(warning) for warning in case_from_net(net, profiles, "net").warnings]


def test_a_plain_network_is_not_warned_of() -> None:
    assert warnings(street()) == []


def test_a_tap_changer_under_control_is_warned_of_by_name_from_the_file_and_from_the_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PEERWATT_CACHE", str(tmp_path / "cache"))
    net = street()
    net.trafo["tap_changer_type"] = "Ratio"
    pp.control.DiscreteTapControl(net, element_index=0, vm_lower_pu=0.995, vm_upper_pu=1.035)
    pp.to_json(net, str(tmp_path / "controlled.json"))
    for _ in ("file", "cache"):
        (warning,) = load_case("controlled.json", base_dir=tmp_path).warnings
        assert warning.where == "controlled.json: controller: trafo 'station' (index 0)"
        assert warning.problem.startswith("controllers are not simulated (1 of class DiscreteTapControl)")
        assert "run_control=True" in warning.remedy


def test_controllers_out_of_service_do_not_matter_and_many_are_one_warning() -> None:
    net = street()
    pp.control.DiscreteTapControl(net, element_index=0, vm_lower_pu=0.9, vm_upper_pu=1.1, in_service=False)
    assert warnings(net) == []
    data = pp.timeseries.DFData(pd.DataFrame({"p": [0.0]}))
    for load in net.load.index:
        pp.control.ConstControl(net, "load", "p_mw", load, profile_name="p", data_source=data)
    (text,) = warnings(net)
    assert "load 'House 0' (index 0), load 'House 1' (index 1), load 'House 2' (index 2): controllers" in text
    assert "3 of class ConstControl" in text


def test_costs_groups_measurements_and_strange_tables_are_warned_of_by_table() -> None:
    net = street()
    pp.create_poly_cost(net, 0, "ext_grid", cp1_eur_per_mw=10.0)
    pp.create_measurement(net, "v", "bus", 1.0, 0.01, 0)
    pp.create_group(net, ["load"], [[0, 1]], name="row")
    net["my_heat_pumps"] = pd.DataFrame({"bus": [2, 3], "in_service": [True, False]})
    costs, others = warnings(net)
    assert costs == "net: poly_cost (1 row): costs in the network are not read (give costs in population.costs)"
    assert others.startswith("net: measurement (1 row), group (1 row), my_heat_pumps (1 row): tables that are not read")


def test_profiles_in_the_network_are_warned_of_unless_others_are_given() -> None:
    net = street()
    net["profiles"] = {"load": pd.DataFrame({"H0_pload": [1.0, 0.5]}), "renewables": pd.DataFrame()}
    (text,) = warnings(net)
    assert text.startswith("net: profiles: profiles in the network are not read (load): all power is constant")
    time = pd.date_range("2030-01-01", periods=4, freq="15min")
    given = pd.DataFrame({"time": time, "load.House 0.p_mw": [0.001, 0.002, 0.003, 0.002]})
    assert warnings(net, given) == []


def test_limits_of_reactive_power_that_are_not_kept_are_warned_of() -> None:
    net = street()
    pp.create_gen(net, 2, p_mw=0.01, vm_pu=1.0, name="chp", min_q_mvar=-0.01, max_q_mvar=0.01)
    pp.create_gen(net, 3, p_mw=0.01, vm_pu=1.0, name="free", min_q_mvar=-1e9, max_q_mvar=1e9)
    (text,) = warnings(net)
    assert text.startswith("net: gen 'chp' (index 0): min_q_mvar and max_q_mvar are not kept")
