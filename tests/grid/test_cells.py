from __future__ import annotations

import copy
import json

import numpy as np
import pandapower as pp
import pandas as pd
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from peerwatt.errors import GridDataError, PeerwattError
from peerwatt.grid import case_from_net
from peerwatt.grid.convert import convert_net, quiet
from peerwatt.grid.netfile import parse_net
from peerwatt.grid.threephase import three_phase_from_net
from tests.grid.nets import street
from tests.grid.threephase_nets import feeder


def refusal(net) -> str:
    with pytest.raises(GridDataError) as caught:
        case_from_net(net, name="net")
    return str(caught.value)


def with_cell(table, column, row, value):
    net = street()
    cells = net[table][column].astype(object)
    cells.iloc[row] = value
    net[table][column] = cells
    return net


@pytest.mark.parametrize(
    ("table", "column", "value", "says"),
    [
        ("load", "in_service", "False", "load 1: in_service is 'False' (give True or False)"),
        ("line", "in_service", "yes", "line 1: in_service is 'yes' (give True or False)"),
        ("bus", "in_service", 2, "bus 1: in_service is 2 (give True or False)"),
        ("load", "q_mvar", "abc", "load 1: q_mvar is 'abc' (give a number)"),
        ("load", "p_mw", "0.004", "load 1: p_mw is '0.004' (give a number)"),
        ("line", "length_km", [0.1], "line 1: length_km is [0.1] (give a number)"),
        ("line", "r_ohm_per_km", True, "line 1: r_ohm_per_km is True (give a number)"),
        ("load", "p_mw", 1e30, "load 1: p_mw is 1e+30 (allowed: -1e+06 to 1e+06)"),
        ("load", "scaling", np.inf, "load 1: scaling is inf (allowed: up to 1e+06)"),
        ("line", "max_loading_percent", 86_400.0, "line 1: max_loading_percent is 86400.0 (allowed: up to 10000)"),
        ("load", "bus", "corner 1", "load 1: bus is 'corner 1' (give a number)"),
        ("load", "bus", None, "load 1: bus is missing (give the index of an element, a whole number)"),
        ("line", "to_bus", 2.5, "line 1: to_bus is 2.5 (give the index of an element, a whole number)"),
    ],
)
def test_what_is_no_value_is_refused_by_its_cell(table, column, value, says):
    net = street()
    net.line["max_loading_percent"] = 100.0
    cells = net[table][column].astype(object)
    cells.iloc[1] = value
    net[table][column] = cells
    assert refusal(net) == f"net: {says}"


def test_a_state_of_charge_of_86400_percent_is_refused_with_the_range():
    assert refusal(with_cell("storage", "soc_percent", 0, 86_400.0)) == (
        "net: storage 0: soc_percent is 86400.0 (allowed: up to 100)"
    )


@pytest.mark.parametrize("dtype", [float, object, "boolean", "Int64", int])
def test_truth_values_of_other_types_are_read(dtype):
    net = street()
    pp.create_line(net, 2, 4, 0.1, "NAYY 4x150 SE", name="loop", in_service=False)
    pp.create_switch(net, 1, 2, et="b", closed=False)
    expected = convert_net(net, "net")
    for table in ("bus", "line", "load", "sgen", "trafo", "ext_grid", "storage"):
        net[table]["in_service"] = net[table]["in_service"].astype(dtype)
    net.switch["closed"] = net.switch["closed"].astype(dtype)
    network = convert_net(net, "net")
    assert network.pandapower_json == expected.pandapower_json
    np.testing.assert_array_equal(network.lines.in_service, [True, True, True, False])


def test_numbers_in_columns_of_objects_and_whole_numbers_as_floats_are_read():
    net = street()
    expected = case_from_net(net)
    net.load["p_mw"] = net.load["p_mw"].astype(object)
    net.line["length_km"] = [0.1, np.float32(0.1), np.float64(0.1)]
    net.line["length_km"] = net.line["length_km"].astype(object)
    net.line["length_km"] = [0.1, 0.1, 0.1]
    net.load["bus"] = net.load["bus"].astype(float)
    net.bus.index = net.bus.index.astype(float)
    case = case_from_net(net)
    np.testing.assert_array_equal(case.units.bus, expected.units.bus)
    np.testing.assert_array_equal(case.network.admittances.yff, expected.network.admittances.yff)


def test_an_element_that_does_not_say_is_in_service():
    assert case_from_net(with_cell("load", "in_service", 1, None)).units.table.count("load") == 3


@pytest.mark.parametrize(
    ("index", "says"),
    [
        (["a", "b", "c", "d", "e"], "index 'a' is no number"),
        ([0, 1, "2", 3, 4], "index '2' is no number"),
        ([0.5, 1, 2, 3, 4], "index 0.5"),
        ([-1, 1, 2, 3, 4], "index -1"),
        ([10**12, 1, 2, 3, 4], "index 1000000000000"),
        (pd.MultiIndex.from_product([[0], range(5)]), "its index has several levels"),
    ],
)
def test_an_index_that_is_no_whole_number_is_refused(index, says):
    net = street()
    net.bus.index = index
    assert f"net: bus: {says}" in refusal(net)


def test_tables_and_columns_that_are_missing_are_named():
    net = street()
    net.line = net.line.drop(columns=["c_nf_per_km", "from_bus"])
    net.load = [1, 2]
    net["ward"] = "none"
    text = refusal(net)
    assert "net: line: no column 'from_bus'" in text
    assert "net: line: no column 'c_nf_per_km'" in text
    assert "net: load: is no table but a list" in text
    assert "net: ward: is no table but a str" in text
    del net["line"]
    assert "not a pandapower network: no table line" in refusal(net)


def test_columns_with_a_plain_meaning_need_not_be_there():
    net = street()
    expected = convert_net(net, "net")
    for table, columns in {
        "load": ["scaling", "in_service", "const_z_p_percent", "name"],
        "line": ["df", "parallel", "g_us_per_km", "in_service"],
        "ext_grid": ["va_degree", "in_service"],
        "storage": ["q_mvar", "in_service"],
    }.items():
        net[table] = net[table].drop(columns=columns)
    del net["gen"], net["shunt"], net["impedance"], net["switch"]
    network = convert_net(net, "net")
    np.testing.assert_array_equal(network.admittances.yff, expected.admittances.yff)
    assert case_from_net(net).units.table.count("load") == 3


def test_a_column_that_stands_twice_is_refused():
    net = street()
    net.load = pd.concat([net.load, net.load[["p_mw"]]], axis=1)
    assert refusal(net) == "net: load: column 'p_mw' stands twice (remove one)"


def test_words_that_pandapower_would_pass_over_are_refused():
    assert "trafo 0: tap_changer_type is 'ratio' (allowed: Ratio," in refusal(
        with_cell("trafo", "tap_changer_type", 0, "ratio")
    )
    assert "trafo 0: tap_side is 'HV' (allowed: hv, lv, nothing)" in refusal(with_cell("trafo", "tap_side", 0, "HV"))


def test_fifty_faults_are_twenty_and_a_count():
    net = street(60)
    net.load["p_mw"] = ["x"] * 60
    with pytest.raises(GridDataError) as caught:
        case_from_net(net, name="net")
    assert len(caught.value.faults) == 21
    assert "more faults like these" in str(caught.value)


def test_what_is_no_network_object_is_refused():
    for other in ({"bus": np.eye(3), "branch": np.eye(3)}, None, "net.json", pd.DataFrame()):
        assert "not a pandapower network but a " in refusal(other)


def test_cells_are_looked_at_in_three_phases_too():
    net = feeder()
    net.asymmetric_load["p_b_mw"] = ["a", 0.001]
    with pytest.raises(GridDataError, match=r"asymmetric_load 0: p_b_mw is 'a' \(give a number\)"):
        three_phase_from_net(net, "net")


VALUES = st.sampled_from(
    [
        *(None, np.nan, np.inf, -np.inf, 0, -1, 1e30, -1e30, 1e-30, 0.5, 86_400, 10**25, True, False, 1j),
        *("", "False", "abc", "1", "\u00e4", [], [1], {}, {"a": 1}, (1, 2), b"x", pd.NA, pd.NaT, pd.Timestamp(0)),
        *(np.int8(3), np.float32(2.5), np.array([1, 2])),
    ]
)


def whole_street():
    net = street()
    pp.create_switch(net, 1, 0, et="l", closed=True)
    pp.create_switch(net, 1, 2, et="b", closed=False)
    pp.create_shunt(net, 2, q_mvar=-0.001)
    pp.create_impedance(net, 2, 4, 0.1, 0.1, 0.4)
    pp.create_gen(net, 3, 0.002, vm_pu=1.0, name="Diesel")
    pp.control.DiscreteTapControl(net, element_index=0, vm_lower_pu=0.99, vm_upper_pu=1.01)
    net.bus["min_vm_pu"], net.line["max_loading_percent"] = 0.9, 100.0
    return net


STREET = whole_street()
TABLES = [*(key for key, item in STREET.items() if isinstance(item, pd.DataFrame) and len(item)), "ward", "_empty"]


WAYS = ["cell"] * 5 + ["column", "no column", "index", "table", "no table", "rows", "scalar"]
SCALARS = ["sn_mva", "f_hz", "name", "user_pf_options", "profiles", "std_types"]


@st.composite
def mutants(draw):
    """A network with one to three things that nobody would write on purpose."""
    net = copy.deepcopy(STREET)
    for _ in range(draw(st.integers(1, 3))):
        name = draw(st.sampled_from(TABLES))
        table = net.get(name)
        if not isinstance(table, pd.DataFrame) or not len(table) or not len(table.columns):
            net[name] = draw(VALUES)
            continue
        column = draw(st.sampled_from(list(table.columns)))
        what = draw(
            st.sampled_from(["cell"] * 5 + ["column", "no column", "index", "table", "no table", "rows", "scalar"])
        )
        if what == "cell":
            cells = table[column].astype(object).tolist()
            cells[draw(st.integers(0, len(cells) - 1))] = draw(VALUES)
            table[column] = pd.Series(cells, index=table.index, dtype=object)
        elif what == "column":
            value = draw(VALUES)
            table[column] = pd.Series([value] * len(table), index=table.index, dtype=object)
        elif what == "no column":
            net[name] = table.drop(columns=column)
        elif what == "index":
            index = table.index.tolist()
            value = draw(VALUES)
            usable = str(value) if isinstance(value, list | dict | np.ndarray) else value
            index[draw(st.integers(0, len(index) - 1))] = usable
            table.index = pd.Index(index, dtype=object)
        elif what == "table":
            net[name] = draw(VALUES)
        elif what == "no table":
            del net[name]
        elif what == "rows":
            net[name] = pd.concat([table, table])
        else:
            net[draw(st.sampled_from(SCALARS))] = draw(VALUES)
    return net


def assert_used_or_refused(read):
    """Any other exception than one on purpose is what a user would see as a traceback."""
    text = ""
    try:
        with quiet():
            read()
    except PeerwattError as error:
        text = str(error)
    assert len(text) < 5_000


SLOWLY = {
    "derandomize": True,  # the same mutants in every run; others with --hypothesis-seed and without this line
    "deadline": None,
    "suppress_health_check": list(HealthCheck),
    "phases": [Phase.explicit, Phase.reuse, Phase.generate],  # a smaller mutant is not worth the minutes
}


@settings(max_examples=25, **SLOWLY)
@given(mutants())
def test_mutants_of_a_network_are_used_or_refused(net):
    assert_used_or_refused(lambda: case_from_net(net, name="net"))


@pytest.mark.slow
@settings(max_examples=600, **SLOWLY)
@given(mutants())
def test_hundreds_of_mutants_of_a_network_are_used_or_refused(net):
    assert_used_or_refused(lambda: case_from_net(net, name="net"))


with quiet():
    TEXT = json.loads(pp.to_json(STREET))
JSON_VALUES = st.sampled_from([None, True, 0, -1, 1e30, 0.5, 10**25, "", "abc", "False", [], [1], {}, {"a": 1}]).map(
    copy.deepcopy
)


@st.composite
def texts(draw):
    """The text of a network with something else at one to three places."""
    document = copy.deepcopy(TEXT)
    for _ in range(draw(st.integers(1, 3))):
        name = draw(st.sampled_from(sorted(document["_object"])))
        item = document["_object"][name]
        if isinstance(item, dict) and str(item.get("_object")).startswith("{") and draw(st.integers(0, 3)):
            frame = json.loads(item["_object"])
            part = draw(st.sampled_from(sorted(frame)))
            if isinstance(frame[part], list) and frame[part] and draw(st.booleans()):
                frame[part][draw(st.integers(0, len(frame[part]) - 1))] = draw(JSON_VALUES)
            else:
                frame[part] = draw(JSON_VALUES)
            item["_object"] = json.dumps(frame)
        elif isinstance(item, dict) and item and draw(st.booleans()):
            item[draw(st.sampled_from(sorted(item)))] = draw(JSON_VALUES)
        elif draw(st.booleans()):
            document["_object"][name] = draw(JSON_VALUES)
        else:
            del document["_object"][name]
    return json.dumps(document)


@settings(max_examples=10, **SLOWLY)
@given(texts())
def test_mutants_of_a_text_are_used_or_refused(text):
    assert_used_or_refused(lambda: case_from_net(parse_net(text, "net.json"), name="net.json"))


@pytest.mark.slow
@settings(max_examples=300, **SLOWLY)
@given(texts())
def test_hundreds_of_mutants_of_a_text_are_used_or_refused(text):
    assert_used_or_refused(lambda: case_from_net(parse_net(text, "net.json"), name="net.json"))
