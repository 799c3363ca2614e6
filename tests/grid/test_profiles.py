from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from peerwatt.errors import ProfileError
from peerwatt.grid import case_from_net
from tests.grid.nets import street


@pytest.fixture
def frame():
    time = pd.date_range("2024-03-30", periods=192, freq="15min")
    rng = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "time": time.strftime("%Y-%m-%dT%H:%M:%S"),
            "load.House 0.p_mw": rng.random(192) * 0.01,
            "load.1.p_mw": rng.random(192) * 0.01,
            "load.1.q_mvar": rng.random(192) * 0.002,
            "sgen.Roof.p_mw": rng.random(192) * 0.01,
        }
    )


def refused(frame, tmp_path, net=None):
    path = tmp_path / "profiles.csv"
    frame.to_csv(path, index=False)
    with pytest.raises(ProfileError) as caught:
        case_from_net(net or street(), path)
    return caught.value.faults


@pytest.mark.parametrize("kind", ["table", "csv", "parquet", "index"])
def test_profiles_come_from_csv_parquet_or_a_table(frame, tmp_path, kind):
    source = frame
    if kind == "csv":
        source = tmp_path / "profiles.csv"
        frame.to_csv(source, index=False)
    elif kind == "parquet":
        source = tmp_path / "profiles.parquet"
        frame.assign(time=pd.to_datetime(frame.time)).to_parquet(source)
    elif kind == "index":
        source = frame.assign(time=pd.to_datetime(frame.time)).set_index("time")
    case = case_from_net(street(), source)
    p_mw, q_mvar = case.units.power(case.series.window("2024-03-30", 192, 900))
    house0, house1, house2, roof, battery = range(5)
    np.testing.assert_allclose(p_mw[:, house0], -frame["load.House 0.p_mw"])
    np.testing.assert_allclose(q_mvar[:, house0], -frame["load.House 0.p_mw"] / 4)  # the network's ratio
    np.testing.assert_allclose(p_mw[:, house1], -frame["load.1.p_mw"])
    np.testing.assert_allclose(q_mvar[:, house1], -frame["load.1.q_mvar"])
    np.testing.assert_allclose(p_mw[:, house2], -0.004)
    np.testing.assert_allclose(q_mvar[:, house2], -0.001)
    np.testing.assert_allclose(p_mw[:, roof], frame["sgen.Roof.p_mw"])
    assert not p_mw[:, battery].any()
    assert case.units.p_mw[house0] == pytest.approx(frame["load.House 0.p_mw"].max())


def test_scaling_multiplies_profiles_as_in_pandapower(frame):
    net = street()
    net.load["scaling"] = 0.5
    case = case_from_net(net, frame)
    p_mw, q_mvar = case.units.power(case.series.values)
    np.testing.assert_allclose(p_mw[:, 0], -0.5 * frame["load.House 0.p_mw"])
    np.testing.assert_allclose(q_mvar[:, 0], -0.5 * frame["load.House 0.p_mw"] / 4)
    np.testing.assert_allclose(q_mvar[:, 1], -0.5 * frame["load.1.q_mvar"])


def test_all_faults_are_listed_with_file_column_and_row(frame, tmp_path):
    frame["load.House 0.p_mw"] = frame["load.House 0.p_mw"].astype(object)
    frame.loc[3, "load.House 0.p_mw"] = "n/a?"
    frame.loc[4, "load.1.p_mw"] = -0.001
    frame.loc[5, "sgen.Roof.p_mw"] = np.nan
    frame["load.Huose 2.p_mw"] = 0.0
    frame["storage.Battery.p_mw"] = 0.0
    frame["load.House 1.p_mw"] = 0.0
    faults = refused(frame.drop(index=[10, 11]), tmp_path)
    text = "\n".join(map(str, faults))
    assert "profiles.csv: column 'load.House 0.p_mw', row 5 (2024-03-30T00:45:00): 'n/a?' is not" in text
    assert "column 'load.1.p_mw', row 6 (2024-03-30T01:00:00): consumption of -0.001 MW" in text
    assert "column 'sgen.Roof.p_mw', row 7 (2024-03-30T01:15:00): no value" in text
    assert "did you mean 'House 2'?" in text
    assert "column 'storage.Battery.p_mw': name not understood" in text
    assert "a second column for p_mw of this load" in text
    assert "row 12: 2 steps of 900 s are missing between 2024-03-30T02:15:00 and 2024-03-30T03:00:00" in text
    assert len(faults) == 7


def test_duplicates_unsorted_and_uneven_times_are_told(frame, tmp_path):
    frame.loc[10, "time"] = frame.loc[9, "time"]
    frame.loc[50, "time"] = frame.loc[20, "time"]
    frame.loc[100, "time"] = "2024-03-31T01:03:00"
    text = "\n".join(map(str, refused(frame, tmp_path)))
    assert "row 12: 2024-03-30T02:15:00 occurs twice" in text
    assert "row 52: 2024-03-30T05:00:00 comes after 2024-03-30T12:15:00: not sorted" in text
    assert "row 102: 1080 s from" in text


def test_many_faults_of_one_kind_are_counted(frame, tmp_path):
    frame["sgen.Roof.p_mw"] = -1.0
    faults = refused(frame, tmp_path)
    assert len(faults) == 4
    assert "188 more like it" in str(faults[-1])


def test_times_that_are_none_or_have_another_zone_than_utc_are_refused(frame, tmp_path):
    assert "time 'yesterday'" in str(refused(frame.assign(time=["yesterday", *frame.time[1:]]), tmp_path)[0])
    assert "has a time zone that is not UTC (+01:00)" in str(
        refused(frame.assign(time=frame.time + "+01:00"), tmp_path)[0]
    )
    zoned = frame.assign(time=pd.to_datetime(frame.time).dt.tz_localize("Asia/Tokyo"))
    with pytest.raises(ProfileError, match="has a time zone that is not UTC"):
        case_from_net(street(), zoned)


def test_a_step_that_does_not_divide_a_day_is_refused(frame, tmp_path):
    frame["time"] = pd.date_range("2024-03-30", periods=192, freq="7min").strftime("%Y-%m-%dT%H:%M:%S")
    assert "steps of 420 s: " not in str(refused(frame, tmp_path)[0])
    assert "steps of 420 s" in str(refused(frame, tmp_path)[0])


@pytest.mark.parametrize(("factor", "unit"), [(1e3, "kW"), (1e6, "W")])
def test_values_in_kilowatts_are_noticed(frame, tmp_path, factor, unit):
    frame["load.House 0.p_mw"] *= factor * 10
    frame["load.1.p_mw"] *= factor
    (fault,) = refused(frame, tmp_path)
    assert f"looks like {unit}" in fault.problem
    assert "grid.profiles.unit" in fault.remedy


def test_files_that_are_missing_or_something_else_are_refused(tmp_path):
    with pytest.raises(ProfileError, match=r"gone\.csv: cannot be read"):
        case_from_net(street(), tmp_path / "gone.csv")
    with pytest.raises(ProfileError, match="unknown kind of file"):
        case_from_net(street(), tmp_path / "profiles.xlsx")
    empty = tmp_path / "empty.csv"
    empty.write_text("")
    with pytest.raises(ProfileError, match=r"empty\.csv: cannot be read"):
        case_from_net(street(), empty)
    with pytest.raises(ProfileError, match="no column 'time'"):
        case_from_net(street(), pd.DataFrame({"a": [1, 2]}))
    broken = tmp_path / "broken.parquet"
    broken.write_bytes(b"PAR1 no")
    with pytest.raises(ProfileError, match=r"broken\.parquet: cannot be read"):
        case_from_net(street(), broken)
