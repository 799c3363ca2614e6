from __future__ import annotations

import importlib.util
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandapower as pp
import pandas as pd
import pytest

import peerwatt.grid.cases
from peerwatt.errors import GridDataError
from peerwatt.grid import load_case, make_engine
from peerwatt.grid.cases import CASES, CaseData, case, case_file, resolved_case
from peerwatt.grid.library import catalog
from peerwatt.grid.library.ratings import CONDUCTOR_KA, rating_ka
from peerwatt.grid.verify import recompute
from tests.grid.nets import street

HOUR_12 = "2016-06-21T11:00"


@dataclass(frozen=True)
class Published:
    buses: int
    lines: int
    p_mw: float
    q_mvar: float
    losses_kw: float
    min_vm_pu: float
    at: str


PUBLISHED = {
    "case33bw": Published(33, 37, 3.715, 2.300, 202.68, 0.9131, "18"),
    "case69": Published(69, 68, 3.8021, 2.6947, 224.99, 0.90919, "65"),
    "case118zh": Published(118, 132, 22.710, 17.041, 1298.09, 0.8688, "77"),
}

SHIPPED = ["case33bw", "case69", "case118zh", "rbts2-37", "cigre-mv", "cigre-mv-der", "cigre-lv", "ieee-eu-lv"]


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    """Loads each case once for all tests here."""
    place, loaded = str(tmp_path_factory.mktemp("library")), {}

    def get(name):
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("PEERWATT_CACHE", place)
            if name not in loaded:
                loaded[name] = load_case(name)
        return loaded[name]

    get.place = place
    return get


def powers(grid_case, when=HOUR_12):
    return grid_case.units.power(grid_case.series.window(when, 1, 3600))


def at_base(grid_case, when=HOUR_12):
    values = grid_case.series.window(when, 1, 3600)
    p_mw, q_mvar = grid_case.units.injection(values, grid_case.network.n_bus)
    return p_mw[0], q_mvar[0]


def of_kind(grid_case, kind):
    return np.array([item == kind for item in grid_case.units.kind])


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_published_case_has_its_published_figures(library, name):
    grid_case, published = library(name), PUBLISHED[name]
    network = grid_case.network
    assert (network.n_bus, network.n_line) == (published.buses, published.lines)
    p_mw, q_mvar = at_base(grid_case)
    assert -p_mw.sum() == pytest.approx(published.p_mw, abs=5e-4)
    assert -q_mvar.sum() == pytest.approx(published.q_mvar, abs=5e-4)
    state = make_engine("power-grid-model", network).solve(p_mw, q_mvar)
    plain = recompute(network.pandapower_json, p_mw, q_mvar)
    lowest = int(np.argmin(state.vm_pu))
    assert network.buses.name[lowest] == published.at == str(plain.res_bus.vm_pu.idxmin())
    for losses_mw, vm_pu in (
        (state.losses_mw, state.vm_pu[lowest]),
        (plain.res_line.pl_mw.sum(), plain.res_bus.vm_pu.min()),
    ):
        assert 1e3 * losses_mw == pytest.approx(published.losses_kw, abs=0.006)
        assert vm_pu == pytest.approx(published.min_vm_pu, abs=5e-5)


@pytest.mark.parametrize("name", SHIPPED)
def test_engine_and_plain_pandapower_agree_on_every_shipped_case(library, name):
    grid_case = library(name)
    network = grid_case.network
    p_mw, q_mvar = at_base(grid_case)
    state = make_engine("power-grid-model", network).solve(p_mw, q_mvar)
    plain = recompute(network.pandapower_json, p_mw, q_mvar)
    # At pandapower's own tolerance of 1e-8 MVA the 907 buses of the feeder are 1.2e-7 pu from its own solution.
    pp.runpp(plain, trafo_model="pi", lightsim2grid=False, tolerance_mva=1e-10)
    assert state.converged
    np.testing.assert_allclose(state.vm_pu, plain.res_bus.vm_pu, rtol=0, atol=1e-7)
    loading = plain.res_line.loading_percent.fillna(0.0)
    np.testing.assert_allclose(state.line.loading_percent, loading, rtol=0, atol=1e-4)
    assert state.losses_mw == pytest.approx(plain.res_line.pl_mw.sum() + plain.res_trafo.pl_mw.sum(), abs=1e-6)
    assert (network.lines.rating_ka < 10.0).all()
    assert (state.line.loading_percent < 100.0).all()


def test_the_numbering_of_case69_is_matpowers(library):
    network = library("case69").network
    ends = dict(
        zip(
            network.lines.name,
            zip(network.buses.index[network.lines.from_bus], network.buses.index[network.lines.to_bus], strict=True),
            strict=True,
        )
    )
    assert ends["44"] == (44, 45)
    assert ends["67"] == (12, 68)
    assert network.buses.name[network.bus_position(7)] == "7"
    assert network.lines.name[network.line_position(44)] == "44"


@pytest.mark.parametrize(
    ("name", "ties"), [("case33bw", range(33, 38)), ("case118zh", range(118, 133)), ("case69", ())]
)
def test_ties_are_there_and_open(library, name, ties):
    lines = library(name).network.lines
    assert sorted(lines.index[~lines.in_service]) == list(ties)
    assert (lines.rating_ka[~lines.in_service] > 0.0).all()


def test_ratings_are_standard_conductors_with_a_margin(library):
    assert rating_ka(0.0) == 0.105
    assert rating_ka(0.2) == 0.290
    assert rating_ka(1.0) == pytest.approx(2 * 0.960)
    for name in PUBLISHED:
        grid_case = library(name)
        state = make_engine("power-grid-model", grid_case.network).solve(*at_base(grid_case))
        assert set(grid_case.network.lines.rating_ka) <= set(CONDUCTOR_KA.values())
        assert state.line.loading_percent.max() <= 80.0 + 1e-6


def test_rbts2_has_the_units_and_the_day_of_the_paper(library):
    grid_case = library("rbts2-37")
    network, units, series = grid_case.network, grid_case.units, grid_case.series
    assert (network.n_bus, network.n_line, network.n_trafo) == (38, 36, 1)
    assert network.trafos.sn_mva == pytest.approx([20.0])
    assert (network.buses.min_vm_pu == 0.95).all()
    assert (network.buses.max_vm_pu == 1.05).all()
    assert [units.table.count(table) for table in ("load", "sgen")] == [22, 27]
    assert [units.kind.count(kind) for kind in ("chp", "wind", "pv")] == [3, 2, 22]
    day, _ = units.power(series.window("2016-06-21", 24, 3600))
    assert len(series.values) == 24
    load = np.array([table == "load" for table in units.table])
    hour = day[11]
    assert -hour[load].sum() == pytest.approx(17.02, abs=0.005)
    assert hour[of_kind(grid_case, "pv")].sum() == pytest.approx(21.58, abs=0.005)
    assert hour[of_kind(grid_case, "wind")].sum() == pytest.approx(5.37, abs=0.005)
    assert hour[of_kind(grid_case, "chp")].sum() == pytest.approx(0.3)
    assert day[:, of_kind(grid_case, "pv")].sum() == pytest.approx(187.75, abs=0.02)
    assert day[:, of_kind(grid_case, "wind")].sum() == pytest.approx(127.10, abs=0.02)
    assert units.p_mw[of_kind(grid_case, "chp")] == pytest.approx([0.5] * 3)


def test_a_case_without_profiles_is_constant_and_takes_ones_own(library, tmp_path):
    assert library("case69").series.columns == ()
    pd.DataFrame({"time": ["2024-01-01 00:00", "2024-01-01 01:00"], "load.Load 61.p_mw": [0.1, 0.2]}).to_csv(
        tmp_path / "day.csv", index=False
    )
    grid_case = load_case("case69", profiles=Path("day.csv"), base_dir=tmp_path)
    p_mw, _ = at_base(grid_case, "2024-01-01T00:00")
    assert p_mw[grid_case.network.bus_position(61)] == pytest.approx(-0.1)
    assert p_mw[grid_case.network.bus_position(65)] == pytest.approx(-0.059)


def test_batteries_of_cigre_mv_have_an_energy(library):
    units = library("cigre-mv-der").units
    battery = np.array([kind == "battery" for kind in units.kind])
    assert units.p_max_mw[battery] == pytest.approx([0.6, 0.2])
    assert units.e_mwh[battery] == pytest.approx([2.4, 0.8])
    assert units.soc[battery] == pytest.approx([0.5, 0.5])


@pytest.mark.slow
def test_the_balanced_feeder_draws_what_the_single_phases_draw(library):
    from pandapower.networks import ieee_european_lv_asymmetric

    single = ieee_european_lv_asymmetric("on_peak_566").asymmetric_load
    p_mw, q_mvar = at_base(library("ieee-eu-lv"))
    assert len(library("ieee-eu-lv").units) == 55
    assert -p_mw.sum() == pytest.approx(single[["p_a_mw", "p_b_mw", "p_c_mw"]].to_numpy().sum())
    assert -q_mvar.sum() == pytest.approx(single[["q_a_mvar", "q_b_mvar", "q_c_mvar"]].to_numpy().sum())


def test_a_warm_named_case_imports_nothing_heavy(library):
    library("rbts2-37")
    script = """
import sys
from peerwatt.grid import load_case, make_engine
case = load_case("rbts2-37")
assert make_engine("power-grid-model", case.network).name
heavy = {"pandas", "pandapower", "simbench", "scipy", "numba", "pyarrow", "mesa"} & set(sys.modules)
assert not heavy, heavy
"""
    environment = {"PEERWATT_CACHE": library.place, "PATH": ""}
    subprocess.run([sys.executable, "-W", "error", "-c", script], check=True, timeout=60, env=environment)


@pytest.mark.parametrize(("wrong", "right"), [("case33", "case33bw"), ("rbts2", "rbts2-37"), ("cigre_mv", "cigre-mv")])
def test_an_unknown_name_is_refused_with_the_nearest(wrong, right):
    with pytest.raises(GridDataError, match=f"case '{wrong}': no case has this name.*did you mean '{right}'"):
        load_case(wrong)


def test_a_case_of_ones_own_is_a_function(monkeypatch, cache):
    monkeypatch.setattr(CASES, "_items", dict(CASES._items))

    @case("my-street")
    def my_street():
        return street(2)

    @case("my-street-by-day")
    def my_street_by_day():
        time = pd.date_range("2024-01-01", periods=24, freq="h")
        return CaseData(street(2), pd.DataFrame({"time": time, "load.House 0.p_mw": 0.001}))

    assert load_case("my-street").network.n_bus == 4
    assert load_case("my-street").name == "my-street"
    assert load_case("my-street-by-day").series.columns == ("load.House 0.p_mw",)
    assert not cache.exists()  # nothing tells when the function changes
    assert case_file("my-street") is None
    assert case_file("mine.json", base_dir=Path("/data")) == Path("/data/mine.json")
    assert case_file("matpower:mine.m", base_dir=Path("/data")) == Path("/data/mine.m")
    resolved = [resolved_case(name, Path("/data")) for name in ("my-street", "mine.json", "matpower:mine.m")]
    assert resolved == ["my-street", "/data/mine.json", "matpower:/data/mine.m"]
    assert resolved_case("simbench:anything", Path("/data")) == "simbench:anything"


def test_every_shipped_case_says_where_it_is_from():
    for name in SHIPPED:
        function = CASES.get(name)
        assert catalog.is_shipped(function)
        text = f"{sys.modules[function.__module__].__doc__} {function.__doc__}"
        assert "Source" in text, name


def test_the_list_of_cases_is_that_of_the_code(library):
    path = Path(__file__).resolve().parents[2] / "docs" / "generate_cases.py"
    spec = importlib.util.spec_from_file_location("generate_cases", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    assert module.TARGET.read_text(encoding="utf-8") == module.cases(library), (
        "docs/cases.md is out of date; run: .venv/bin/python docs/generate_cases.py"
    )


def test_the_data_lie_where_the_wheel_takes_them_from():
    root = Path(peerwatt.grid.cases.__file__).parent
    files = sorted(path.stem for path in (root / "data").glob("*.csv"))
    rbts2 = [f"rbts2_{part}" for part in ("bus", "der", "line", "load", "parameter", "profile", "tie", "trafo")]
    assert files == sorted(["case118zh_branch", "case118zh_bus", "case69_branch", "case69_bus", *rbts2])
    for name in files:
        header = (root / "data" / f"{name}.csv").read_text().partition("\n")[0]
        assert "source" in header, name
