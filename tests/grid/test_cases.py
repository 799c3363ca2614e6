from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandapower as pp
import pandas as pd
import pytest

from peerwatt.errors import GridDataError, ProfileError
from peerwatt.grid import load_case, make_engine
from tests.grid.conftest import VILLAGE
from tests.grid.nets import street


@pytest.fixture
def files(tmp_path):
    pp.to_json(street(), str(tmp_path / "street.json"))
    time = pd.date_range("2024-01-01", periods=96, freq="15min").strftime("%Y-%m-%d %H:%M")
    pd.DataFrame({"time": time, "load.House 0.p_mw": 0.001}).to_csv(tmp_path / "profiles.csv", index=False)
    return tmp_path


def assert_equal(a, b):
    """Two cases are the same in every array and word."""
    if dataclasses.is_dataclass(a):
        for field in dataclasses.fields(a):
            assert_equal(getattr(a, field.name), getattr(b, field.name))
    elif isinstance(a, np.ndarray):
        assert a.dtype == b.dtype
        assert not b.flags.writeable
        np.testing.assert_array_equal(a, b)
    else:
        assert a == b


def test_a_file_case_is_the_same_when_it_comes_from_the_cache(files, cache):
    first = load_case("street.json", profiles=Path("profiles.csv"), base_dir=files)
    assert len(list(cache.iterdir())) == 1
    again = load_case("street.json", profiles=Path("profiles.csv"), base_dir=files)
    assert_equal(first, again)
    p_mw, q_mvar = again.units.injection(again.series.window("2024-01-01", 1, 900), again.network.n_bus)
    assert make_engine("power-grid-model", again.network).solve(p_mw[0], q_mvar[0]).converged
    assert make_engine("pandapower", again.network).solve(p_mw[0], q_mvar[0]).converged


def test_a_changed_file_is_another_case(files):
    assert load_case("street.json", base_dir=files).network.n_bus == 5
    pp.to_json(street(4), str(files / "street.json"))
    assert load_case("street.json", base_dir=files).network.n_bus == 6
    assert load_case(str(files / "street.json")).network.n_bus == 6


@pytest.mark.parametrize(("name", "old", "new"), [("profiles.csv", "0.001", "0.002"), ("street.json", "0.4", "0.3")])
def test_a_file_with_another_content_of_the_same_length_and_age_is_another_case(files, cache, name, old, new):
    before = load_case("street.json", profiles=Path("profiles.csv"), base_dir=files)
    path = files / name
    times, text = path.stat(), path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert path.stat().st_size == times.st_size
    after = load_case("street.json", profiles=Path("profiles.csv"), base_dir=files)
    assert len(list(cache.iterdir())) == 2
    with pytest.raises(AssertionError):
        assert_equal(before, after)


def test_a_simbench_case_is_the_same_when_it_comes_from_the_cache(village, village_cache, monkeypatch):
    monkeypatch.setenv("PEERWATT_CACHE", str(village_cache))
    again = load_case(f"simbench:{VILLAGE}")
    assert isinstance(again.series.values.base, np.memmap)
    assert_equal(village, again)


def test_a_warm_load_and_solve_import_nothing_heavy(village, village_cache, monkeypatch):
    monkeypatch.setenv("PEERWATT_CACHE", str(village_cache))
    script = f"""
import sys
from peerwatt.grid import load_case, make_engine
case = load_case("simbench:{VILLAGE}")
engine = make_engine("power-grid-model", case.network)
p_mw, q_mvar = case.units.injection(case.series.window("2016-06-21T12:00", 1, 900), case.network.n_bus)
assert engine.solve(p_mw[0], q_mvar[0]).converged
heavy = {{"pandas", "pandapower", "simbench", "scipy", "numba", "pyarrow", "mesa"}} & set(sys.modules)
assert not heavy, heavy
"""
    subprocess.run([sys.executable, "-W", "error", "-c", script], check=True, timeout=60)


def test_an_unknown_simbench_code_is_refused_with_the_nearest():
    with pytest.raises(GridDataError, match="did you mean '1-LV-semiurb4--2-sw'"):
        load_case("simbench:1-LV-semiurb4--2-sv")


def test_simbench_cases_take_no_profiles():
    with pytest.raises(ProfileError, match="brings its own profiles"):
        load_case(f"simbench:{VILLAGE}", profiles=Path("p.csv"))


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (None, "cannot be read"),
        ("not json", "not a JSON file"),
        ('{"a": 1}', "not a pandapower network"),
        ("[1, 2]", "not a pandapower network"),
        ("\udcff", "not a JSON file"),
    ],
)
def test_files_that_are_no_networks_are_refused_by_name(tmp_path, content, problem):
    path = tmp_path / "net.json"
    if content is not None:
        path.write_text(content, errors="surrogateescape")
    with pytest.raises(GridDataError, match=problem) as caught:
        load_case("net.json", base_dir=tmp_path)
    assert "net.json" in str(caught.value)
    if content is not None:
        path.unlink()
        path.mkdir()
        with pytest.raises(GridDataError, match=r"net\.json"):
            load_case(str(path))


def test_missing_profiles_are_refused_by_name(files):
    with pytest.raises(ProfileError, match=r"gone\.csv"):
        load_case("street.json", profiles=Path("gone.csv"), base_dir=files)


def test_faults_of_a_network_file_name_the_file(files):
    net = street()
    net.load.loc[0, "p_mw"] = -1.0
    pp.to_json(net, str(files / "bad.json"))
    with pytest.raises(GridDataError, match=r"bad\.json: load 'House 0' \(index 0\): p_mw is -1\.0"):
        load_case("bad.json", base_dir=files)
