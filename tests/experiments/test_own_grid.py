"""A user's own net and profiles from files, and everything that is refused of them, in the user's words."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandapower as pp
import pandas as pd
import pytest

from peerwatt.errors import InputError
from peerwatt.sim.model import Simulation
from peerwatt.sim.running import run
from peerwatt.sim.scenario import Scenario
from tests.scenarios import feeder, profiles

SCENARIO = """
grid: {case: net.json, profiles: profiles.csv}
time: {start: 2030-06-01, periods: 6}
"""


def write(folder: Path, net: Any, frame: pd.DataFrame | None = None, scenario: str = SCENARIO) -> Path:
    pp.to_json(net, str(folder / "net.json"))
    (profiles(net, 6) if frame is None else frame).to_csv(folder / "profiles.csv", index=False)
    (folder / "mine.yaml").write_text(scenario)
    return folder / "mine.yaml"


def refused(folder: Path, net: Any, frame: pd.DataFrame | None = None, scenario: str = SCENARIO) -> list[str]:
    path = write(folder, net, frame, scenario)
    with pytest.raises(InputError) as caught:
        Simulation(Scenario.load(path), folder / "out")
    assert not (folder / "out").exists()
    return [str(fault) for fault in caught.value.faults]


def test_files_beside_the_scenario_are_found_and_the_run_can_be_repeated_from_elsewhere(tmp_path: Path) -> None:
    first = run(Scenario.load(write(tmp_path, feeder())), tmp_path / "a")
    assert first.manifest["exit_state"] == "finished"
    assert first.peer.agent.tolist() == [f"House {i}" for i in range(1, 6)]
    run(Scenario.load(first.path / "scenario.yaml"), tmp_path / "b")
    assert (tmp_path / "b" / "trade.parquet").read_bytes() == (first.path / "trade.parquet").read_bytes()


def test_loads_without_profiles_stay_as_the_net_has_them(tmp_path: Path) -> None:
    scenario = "grid: {case: net.json}\ntime: {start: 1999-01-01, periods: 2}\nforecast: {load_error: 0}"
    results = run(Scenario.load(write(tmp_path, feeder(), scenario=scenario)), tmp_path / "a")
    at = results.agent[results.agent.agent == "House 1"]
    assert at.p_mw.tolist() == [-0.004, -0.004]


def test_profiles_of_an_hour_are_held_and_of_a_quarter_are_averaged(tmp_path: Path) -> None:
    frame = profiles(feeder(), 8)
    scenario = SCENARIO.replace("periods: 6", "periods: 2, period_s: 3600") + "forecast: {load_error: 0}"
    results = run(Scenario.load(write(tmp_path, feeder(), frame, scenario)), tmp_path / "a")
    at = results.agent[results.agent.agent == "House 1"].p_mw.to_numpy()
    assert at == pytest.approx(-frame["load.load 1.p_mw"].to_numpy().reshape(2, 4).mean(axis=1))


def islanded(net: Any) -> None:
    net.line.loc[2, "in_service"] = False


def negative_capacity(net: Any) -> None:
    net.line.loc[1, "max_i_ka"] = -0.1
    net.storage.loc[0, "max_e_mwh"] = -1.0
    net.load.loc[0, "p_mw"] = -0.004


def load_nowhere(net: Any) -> None:
    net.load.loc[1, "bus"] = 99


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (islanded, ["House 3", "House 4", "House 5"]),
        (negative_capacity, ["max_i_ka", "max_e_mwh", "load 1"]),
        (load_nowhere, ["load 2", "99"]),
    ],
)
def test_a_net_that_cannot_be_used_is_refused_with_its_elements(
    tmp_path: Path, change: Callable[[Any], None], words: list[str]
) -> None:
    net, frame = feeder(), profiles(feeder(), 6)
    change(net)
    text = "\n".join(refused(tmp_path, net, frame))
    for word in words:
        assert word in text


def test_profiles_with_gaps_and_wrong_units_are_refused_with_all_their_faults(tmp_path: Path) -> None:
    net, frame = feeder(), profiles(feeder(), 8)
    frame.loc[3, "load.load 1.p_mw"] = np.nan
    frame.loc[4, "load.load 2.p_mw"] = -0.001
    frame = frame.rename(columns={"load.load 3.p_mw": "load.laod 3.p_mw"}).drop(index=6)
    text = "\n".join(refused(tmp_path, net, frame))
    for words in ("load.load 1.p_mw", "load.load 2.p_mw", "laod 3", "did you mean", "2030-06-01"):
        assert words in text
    kilowatts = profiles(net, 8)
    kilowatts.iloc[:, 1:] *= 1000.0
    assert "kW" in "\n".join(refused(tmp_path, net, kilowatts))


def test_missing_and_broken_files_are_named(tmp_path: Path) -> None:
    path = write(tmp_path, feeder())
    (tmp_path / "profiles.csv").rename(tmp_path / "away.csv")
    with pytest.raises(InputError, match=r"profiles\.csv"):
        Simulation(Scenario.load(path))
    (tmp_path / "away.csv").rename(tmp_path / "profiles.csv")
    (tmp_path / "net.json").write_text("{}")
    with pytest.raises(InputError, match=r"net\.json"):
        Simulation(Scenario.load(path))


def test_a_day_that_the_profiles_do_not_cover_is_refused_with_those_that_they_do(tmp_path: Path) -> None:
    text = "\n".join(refused(tmp_path, feeder(), scenario=SCENARIO.replace("periods: 6", "periods: 96")))
    assert "2030-06-01" in text


def test_profiles_in_kilowatts_at_local_times_run_as_those_in_megawatts(tmp_path: Path) -> None:
    frame = profiles(feeder(), 6)
    first = run(Scenario.load(write(tmp_path, feeder(), frame)), tmp_path / "a")
    kilowatts = frame.set_index("time").mul(1000.0)
    kilowatts.index = (kilowatts.index + pd.Timedelta(hours=1)).strftime("%d.%m.%Y %H.%M")  # summer time
    kilowatts.rename_axis("Uhrzeit").to_csv(tmp_path / "profiles.csv", sep=";", decimal=",", encoding="cp1252")
    changes = {
        "grid.profiles.unit": "kW",
        "grid.profiles.time_column": "Uhrzeit",
        "grid.profiles.time_format": "%d.%m.%Y %H.%M",
        "grid.profiles.time_zone": "Europe/Berlin",
    }
    second = run(Scenario.load(tmp_path / "mine.yaml", changes), tmp_path / "b")
    np.testing.assert_allclose(second.agent.p_mw, first.agent.p_mw, rtol=1e-9)
    again = run(Scenario.load(tmp_path / "b" / "scenario.yaml"), tmp_path / "c")
    np.testing.assert_array_equal(again.agent.p_mw, second.agent.p_mw)


def test_every_wrong_key_of_profiles_is_told_at_once_with_its_path(tmp_path: Path) -> None:
    path = write(tmp_path, feeder())
    changes = {
        "grid.profiles.unit": "GW",
        "grid.profiles.zone": "UTC",
        "grid.profiles.time_zone": "Mars/Base",
        "grid.profiles.step_s": 420,
    }
    with pytest.raises(InputError) as caught:
        Scenario.load(path, changes)
    places = {fault.where.partition(": ")[2] for fault in caught.value.faults}
    assert places == set(changes)


def test_what_is_odd_about_profiles_stands_in_the_results(tmp_path: Path) -> None:
    frame = profiles(feeder(), 6)
    frame.iloc[:, 1:] *= 1e-3  # watts that are called kilowatts, say
    results = run(Scenario.load(write(tmp_path, feeder(), frame)), tmp_path / "a")
    assert "too small" in results.warnings[0]
