from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pandapower as pp
import pytest

from peerwatt.errors import GridDataError
from peerwatt.grid import case_from_net, load_case, make_engine
from peerwatt.grid.convert import quiet
from peerwatt.grid.netfile import parse_net, read_net
from tests.grid.nets import street

SAVED = Path(__file__).parent / "saved"
"""One network as three versions of pandapower have written it, without the standard types that it does not use."""

SOLVED = [1.01, 1.0099902519302, 1.062818465715, 1.0451351515999, 1.0331829402205, 1.0331829402205]
"""Its voltages by `runpp(trafo_model="pi")` of each of these versions, to 1e-10 MVA."""

VERSIONS = ("1.6.1", "2.3.1", "2.14.10")


def refusal(text, tmp_path):
    path = tmp_path / "net.json"
    path.write_text(text if isinstance(text, str) else json.dumps(text), encoding="utf-8")
    with pytest.raises(GridDataError) as caught:
        load_case(str(path))
    return str(caught.value)


def content(version="2.14.10"):
    return json.loads((SAVED / f"pandapower-{version}.json").read_text())


@pytest.mark.parametrize("version", VERSIONS)
def test_a_network_of_an_older_pandapower_solves_as_it_did_there(version):
    case = load_case(str(SAVED / f"pandapower-{version}.json"))
    assert case.warnings == ()  # its tap changer has its kind by the conversion
    p_mw, q_mvar = case.units.injection(np.empty((1, 0)), case.network.n_bus)
    for engine, tolerance in (("pandapower", 2e-11), ("power-grid-model", 1e-9)):
        state = make_engine(engine, case.network).solve(p_mw[0], q_mvar[0])
        np.testing.assert_allclose(state.vm_pu, SOLVED, rtol=0.0, atol=tolerance)


def test_a_network_of_the_first_versions_is_read_which_had_columns_of_cells():
    with quiet():
        net = pp.from_json_string((SAVED / "pandapower-1.6.1.json").read_text())  # not converted
    old = {
        name: json.loads(item.to_json()) if hasattr(item, "columns") else item
        for name, item in net.items()
        if not name.startswith(("_", "res_")) and name not in ("std_types", "version")
    }
    text = json.dumps({**old, "version": 1.2, "std_types": net.std_types}, default=str)
    case = case_from_net(parse_net(text, "old.json"))
    assert (case.network.buses.x[0], case.network.buses.y[0]) == (10.0, 50.0)
    p_mw, q_mvar = case.units.injection(np.empty((1, 0)), case.network.n_bus)
    state = make_engine("pandapower", case.network).solve(p_mw[0], q_mvar[0])
    np.testing.assert_allclose(state.vm_pu, SOLVED, rtol=0.0, atol=2e-11)


def test_a_network_in_memory_that_nobody_has_converted_is_converted():
    with quiet():
        net = pp.from_json_string((SAVED / "pandapower-2.14.10.json").read_text())
    assert "tap_phase_shifter" in net.trafo
    case = case_from_net(net)
    assert case.warnings == ()
    p_mw, q_mvar = case.units.injection(np.empty((1, 0)), case.network.n_bus)
    state = make_engine("pandapower", case.network).solve(p_mw[0], q_mvar[0])
    np.testing.assert_allclose(state.vm_pu, SOLVED, rtol=0.0, atol=2e-11)
    assert net.version == "2.14.10"


def test_a_message_names_the_pandapower_that_saved_a_file(tmp_path):
    net = content()
    net["_object"]["measurement"]["_object"] = '{"columns": ["a"'
    assert ", which pandapower 2.14.10 saved: " in refusal(net, tmp_path)


def test_a_network_of_a_pandapower_to_come_is_refused_with_its_version(tmp_path):
    net = json.loads(pp.to_json(street()))
    net["_object"]["version"] = net["_object"]["format_version"] = "99.0.0"
    text = refusal(net, tmp_path)
    assert "which pandapower 99.0.0 saved" in text
    assert "update pandapower" in text


def test_a_byte_order_mark_does_not_matter(tmp_path):
    path = tmp_path / "net.json"
    path.write_text(pp.to_json(street()), encoding="utf-8-sig")
    assert len(read_net(path).bus) == 5


@pytest.mark.parametrize(
    ("document", "says"),
    [
        ({"bus": [{"name": "a", "vn_kv": 20}]}, "not a pandapower network: no table line, trafo, ext_grid, load, sgen"),
        ([], "not a pandapower network"),
        (3, "not a pandapower network"),
        ({}, "not a pandapower network: no table bus"),
        ({"baseMVA": 1, "per_unit": True, "bus": {"1": {}}, "branch": {"1": {}}}, "but a PowerModels case"),
        ('{"bus": ' * 50_000, "nested too deeply"),
        ("hello", "not a JSON file"),
        (pp.to_json({"a": 1}), "not a pandapower network: no table bus"),
    ],
)
def test_what_is_no_network_is_called_so(document, says, tmp_path):
    assert says in refusal(document, tmp_path)


def test_a_pypower_case_is_told_how_to_become_a_network(tmp_path):
    ppc = {"version": "2", "baseMVA": 1.0, "bus": np.eye(13), "branch": np.eye(13), "gen": np.eye(13)}
    text = refusal(pp.to_json(ppc), tmp_path)
    assert "not a pandapower network but a PYPOWER case" in text
    assert "pandapower.converter.pypower.from_ppc(ppc)" in text


def test_a_table_alone_is_no_network(tmp_path):
    assert "not a pandapower network but a saved DataFrame" in refusal(pp.to_json(street().bus), tmp_path)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("feeder.dss", "opendss.from_opendss"),
        ("grid.xlsx", "pandapower.from_excel"),
        ("europe.uct", "ucte.from_ucte"),
        ("case.RAW", "from_pypowsybl"),
        ("case.mat", "from_mpc"),
        ("case.m", "give matpower:case.m"),
        ("net.p", "a pickle, which can run code"),
    ],
)
def test_a_file_of_another_tool_is_named_with_its_converter(name, says, tmp_path):
    path = tmp_path / name
    path.write_bytes(b"\x00\xff")
    with pytest.raises(GridDataError, match="not a pandapower network but a") as caught:
        load_case(str(path))
    assert says in str(caught.value)


def test_a_pypsa_folder_is_named(tmp_path):
    (tmp_path / "buses.csv").write_text("name,v_nom\n")
    with pytest.raises(GridDataError, match="not a pandapower network but a PyPSA folder"):
        load_case(str(tmp_path))


def named(module, name, value):
    return {"_module": module, "_class": name, "_object": value}


def attacks(left):
    """Objects that leave a file, or would read one, when pandapower makes them."""
    touch = f"touch {left}"
    return {
        "subprocess": named("subprocess", "getoutput", touch),
        "os": named("os", "system", touch),
        "posix": named("posix", "system", touch),
        "eval": named("builtins", "eval", f"open({str(left)!r}, 'w')"),
        "a module": named("leaves_a_file", "anything", ""),
        "a function": named("leaves_a_file", "function", "anything"),
        "a function of a module's module": named("pandapower.file_io", "open", str(left)),
        "a state": {"_module": "leaves_a_file", "_class": "Anything", "_state": {}},
        "another key": {**named("pandas.core.frame", "DataFrame", "{}"), "storage_options": {}},
        "a table that is a file": named("pandas.core.frame", "DataFrame", f"{left.parent}/other.json"),
        "a controller that is none": named("pandapower.control", "os", touch),
        "no class": {"_module": ["subprocess"], "_class": "getoutput", "_object": touch},
    }


@pytest.mark.parametrize("kind", list(attacks(Path("x"))))
@pytest.mark.parametrize("place", ["the network", "a cell", "a text", "an escaped text", "the first versions"])
def test_a_network_of_a_stranger_runs_nothing(kind, place, tmp_path, monkeypatch):
    left, module = tmp_path / "left", tmp_path / "leaves_a_file.py"
    module.write_text(f"open({str(left)!r}, 'w')")
    monkeypatch.syspath_prepend(tmp_path)
    attack, net = attacks(left)[kind], content()
    tables = net["_object"]
    if place == "the network":
        tables["name"] = attack
    elif place == "a cell":
        frame = json.loads(tables["bus"]["_object"])
        frame["data"][0][0] = attack
        tables["bus"]["_object"] = json.dumps(frame)
    elif place in ("a text", "an escaped text"):
        text = json.dumps({"name": attack})
        if place == "an escaped text":
            text = text.replace("_module", "\\u005fmodule").replace("_class", "\\u005Fclass")
        tables["name"] = text
    else:
        net = {**tables, "name": attack}
    with monkeypatch.context() as watched:
        watched.setattr(pp, "from_json_string", lambda *_, **__: pytest.fail("pandapower has been given the text"))
        text = refusal(net, tmp_path)
    assert "remove it from the network" in text
    assert not left.exists()
    assert "leaves_a_file" not in sys.modules


def test_a_signature_that_stands_twice_is_refused(tmp_path):
    net = content()
    frame = net["_object"]["bus"]["_object"]
    twice = '{"_module": "numpy", "_module": "subprocess", "_class": "bool", "_object": 1}'
    net["_object"]["bus"]["_object"] = frame.replace('"MV"', twice, 1)
    assert "_module stands twice" in refusal(net, tmp_path)
    top = json.dumps(content()).replace('"name": "village"', f'"name": {twice}', 1)
    assert "_module stands twice" in refusal(top, tmp_path)


def test_what_pandapower_itself_writes_is_read():
    from pandapower.control import ConstControl, DiscreteTapControl
    from pandapower.timeseries import DFData

    net = street()
    DiscreteTapControl(net, element_index=0, vm_lower_pu=0.99, vm_upper_pu=1.01)
    data = DFData(net.load[["p_mw"]].T)
    ConstControl(net, "load", "p_mw", element_index=[0], profile_name=[0], data_source=data)
    net["numbers"], net["pair"], net["set"] = np.arange(3), (1, 2), {1, 2}
    net.bus["geo"] = '{"coordinates": [8.0, 51.0], "type": "Point"}'
    net.bus.loc[0, "name"] = 'Bus "_class"'
    back = parse_net(pp.to_json(net), "net.json")
    assert len(back.controller) == 2
    assert back.bus.name[0] == 'Bus "_class"'
    np.testing.assert_array_equal(back.numbers, [0, 1, 2])
