"""Profiles as people have them: separators, encodings, headers, times; each read right, or refused in one line."""

from __future__ import annotations

from functools import cache

import numpy as np
import pandas as pd
import pytest
from pydantic import ValidationError

from peerwatt.errors import ProfileError
from peerwatt.grid import GridCase, ProfileFormat, case_from_net, load_case
from peerwatt.grid.convert import convert_net
from peerwatt.grid.profiles import read_profiles
from peerwatt.grid.unit_table import read_units
from tests.grid.nets import street

START = np.datetime64("2024-01-13T00:00:00", "s")
HEADER = ("time", "load.House 0.p_mw", "sgen.Roof.p_mw")
ROWS = (("2024-01-13 00:00", "0.0005", "0"), ("2024-01-13 12:00", "0.0015", "0.0075"))


def table(separator=",", decimal=".", header=HEADER, rows=ROWS, end="\n"):
    lines = [header, *([row[0], *(cell.replace(".", decimal) for cell in row[1:])] for row in rows)]
    return end.join(separator.join(line) for line in lines) + end


@cache
def converted():
    net = street()
    return net, convert_net(net, "net"), read_units(net, "net")


def connected(source, **form):
    """What `case_from_net` makes of the street, which is converted once."""
    net, network, units = converted()
    units, series, warnings = read_profiles(source, net, network, units, ProfileFormat(**form))
    return GridCase("net", network, units, series, warnings)


def read(folder, text, net=None, encoding="utf-8", **form):
    path = folder / "p.csv"
    path.write_bytes(text.encode(encoding))
    return connected(path, **form) if net is None else case_from_net(net, path, "net", ProfileFormat(**form))


def refused(folder, text, **form):
    with pytest.raises(ProfileError) as caught:
        read(folder, text, **form)
    return [str(fault) for fault in caught.value.faults]


def is_right(case, start=START):
    assert case.series.start == start
    assert case.series.step_s == 43_200
    p_mw, _ = case.units.power(case.series.values)
    np.testing.assert_allclose(p_mw[:, 0], [-0.0005, -0.0015], rtol=1e-12)
    np.testing.assert_allclose(p_mw[:, 3], [0.0, 0.0075], rtol=1e-12)


@pytest.mark.parametrize(
    "text",
    [
        table(";", ","),
        table("\t", ","),
        table(";"),
        table(end="\r\n"),
        "sep=;\r\n" + table(";", ","),
        table(header=("Time", " LOAD.house 0.P_MW", "SGEN . Roof . p_mw ")),
        table(header=('"Timestamp"', '"load.House 0.p_mw"', '"sgen.Roof.p_mw"')),
        table() + "\n\n  \n",
        table(";", ",") + ";;\n;;\n",
        "\n".join(line + ";" for line in table(";", ",").splitlines()),
        table(rows=[(row[0] + "Z", *row[1:]) for row in ROWS]),
        table(rows=[(row[0] + ":00+00:00", *row[1:]) for row in ROWS]),
        table(rows=[("13.01.2024 " + row[0][-5:], *row[1:]) for row in ROWS]),
        table(rows=[("13/01/2024 " + row[0][-5:], *row[1:]) for row in ROWS]),
        table(rows=[("01/13/2024 " + row[0][-5:], *row[1:]) for row in ROWS]),
        table(rows=[(row[0], f'"{row[1].replace(".", ",")}"', f'"{row[2].replace(".", ",")}"') for row in ROWS]),
        table(header=("", *HEADER[1:])),
    ],
)
def test_what_can_mean_one_thing_only_is_read(tmp_path, text):
    is_right(read(tmp_path, text))


@pytest.mark.parametrize("encoding", ["utf-8-sig", "cp1252", "utf-16", "utf-16-le"])
def test_encodings_of_spreadsheets_are_read(tmp_path, encoding):
    net = street()
    net.load.loc[0, "name"] = "Mühlgasse"
    header = ("time", "load.Mühlgasse.p_mw", "sgen.Roof.p_mw")
    is_right(read(tmp_path, table(";", ",", header), net, encoding))


def test_a_byte_that_is_no_text_is_one_line(tmp_path):
    (tmp_path / "p.csv").write_bytes(table().encode() + b"\x81\x8d\xff")
    with pytest.raises(ProfileError, match="save it as CSV in UTF-8") as caught:
        connected(tmp_path / "p.csv")
    assert len(caught.value.faults) == 1


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (table(",", ","), "4 fields, but 3 in the header"),
        (table(header=("hour", *HEADER[1:])), "grid.profiles.time_column (found: 'hour', "),
        (table(header=("time", HEADER[1], HEADER[1])), "stands twice"),
        (table(rows=[("1705104000", "0", "0"), ("1705147200", "0", "0")]), "seconds since 1970"),
        (table(rows=[("02/01/2024", "0", "0"), ("03/01/2024", "0", "0")]), "grid.profiles.time_format"),
        (table(rows=[("00:00", "0", "0"), ("12:00", "0", "0")]), "join date and time"),
        (table(header=("time", "load.House 0.p_kw", "sgen.Roof.p_mw")), "grid.profiles.unit: kW"),
        (table(rows=[(ROWS[0][0], "1.234,5", "0"), (ROWS[1][0], "0,5", "0")], separator=";"), "thousands"),
    ],
)
def test_what_is_not_understood_is_one_line_that_says_what_to_change(tmp_path, text, words):
    lines = refused(tmp_path, text)
    assert len(lines) == 1
    assert words in lines[0]


def test_many_columns_that_name_nothing_are_counted(tmp_path):
    header = ("time", *(f"load.Nobody {k}.p_mw" for k in range(55)))
    rows = [(row[0], *["0"] * 55) for row in ROWS]
    lines = refused(tmp_path, table(header=header, rows=rows))
    assert len(lines) == 4
    assert "51 more like it" in lines[-1]


@pytest.mark.parametrize(
    ("unit", "factor"),
    [("MW", 1.0), ("kW", 1e3), ("W", 1e6), ("MWh per step", 12.0), ("kWh per step", 12e3), ("Wh per step", 12e6)],
)
def test_units_are_converted_and_scaling_multiplies_them(tmp_path, unit, factor):
    rows = [(row[0], *(f"{2 * factor * float(cell)!r}" for cell in row[1:])) for row in ROWS]
    net = street()
    net.load["scaling"] = net.sgen["scaling"] = 0.5
    is_right(read(tmp_path, table(rows=rows), net, unit=unit))


def test_per_unit_is_a_share_of_the_elements_power_in_the_net(tmp_path):
    rows = [(ROWS[0][0], "0.125", "0"), (ROWS[1][0], "0.375", "0.75")]  # of 4 kW and 10 kW
    is_right(read(tmp_path, table(rows=rows), unit="pu"))


def test_meter_readings_are_what_they_differ_by(tmp_path):
    rows = [(ROWS[0][0], "100", "5"), (ROWS[1][0], "106", "5"), ("2024-01-14 00:00", "124", "95")]
    is_right(read(tmp_path, table(rows=rows), unit="kWh meter reading"))
    rows[2] = ("2024-01-14 00:00", "3", "95")
    (line,) = refused(tmp_path, table(rows=rows), unit="kWh meter reading")
    assert "the meter falls from 106 to 3" in line


@pytest.mark.parametrize(
    ("stamps", "form"),
    [
        (("1705104000", "1705147200"), {"time_format": "seconds since 1970"}),
        (("1705104000000", "1705147200000"), {"time_format": "milliseconds since 1970"}),
        (("13-2024-01 00h", "13-2024-01 12h"), {"time_format": "%d-%Y-%m %Hh"}),
        (("0", "1"), {"start": "2024-01-13", "step_s": 43_200}),
        (("2024-01-12T23:00Z", "2024-01-13T11:00Z"), {"time_zone": "Europe/Berlin"}),
        (("2024-01-13T01:00+02:00", "2024-01-13T13:00+02:00"), {"time_zone": "Europe/Berlin"}),
    ],
)
def test_times_are_read_as_the_scenario_says(tmp_path, stamps, form):
    rows = [(stamp, *row[1:]) for stamp, row in zip(stamps, ROWS, strict=True)]
    is_right(read(tmp_path, table(rows=rows), **form))


def test_a_file_without_times_and_one_with_another_header_are_read(tmp_path):
    is_right(
        read(tmp_path, table(header=HEADER[1:], rows=[row[1:] for row in ROWS]), start="2024-01-13", step_s=43_200)
    )
    is_right(read(tmp_path, table(header=("Uhrzeit", *HEADER[1:])), time_column="uhrzeit"))


def berlin(first, hours):
    """Local times of consecutive hours, as a clock in Berlin shows them."""
    return pd.date_range(first, periods=hours, freq="h", tz="Europe/Berlin").tz_localize(None)


@pytest.mark.parametrize("day", ["2024-03-31", "2024-10-27"])
def test_hours_that_summer_time_leaves_out_and_repeats_are_none_in_standard_time(day):
    local = berlin(day, 30)
    frame = pd.DataFrame({"time": local, "load.House 0.p_mw": np.arange(30) % 7 * 1e-4})
    case = connected(frame, time_zone="Europe/Berlin")
    summer = day == "2024-10-27"  # that day begins in summer time, an hour before standard time
    assert case.series.start == np.datetime64(day, "s") - np.timedelta64(3600 * summer, "s")
    assert case.series.values.shape == (30, 1)
    with pytest.raises(ProfileError, match=r"grid\.profiles\.time_zone"):
        connected(frame)


@pytest.mark.parametrize(
    ("day", "words"),
    [("2024-03-31", "02:00:00 does not exist in Europe/Berlin"), ("2024-10-27", "occurs twice in Europe/Berlin")],
)
def test_local_times_that_are_standard_time_are_refused_by_name(day, words):
    time = pd.date_range(day, periods=24, freq="h")
    frame = pd.DataFrame({"time": time, "load.House 0.p_mw": np.zeros(24)})
    with pytest.raises(ProfileError, match=words):
        connected(frame, time_zone="Europe/Berlin")
    connected(frame)


@pytest.mark.parametrize(
    ("form", "words"),
    [
        ({"unit": "GW"}, "unit"),
        ({"start": "2024-01-13"}, "start needs step_s"),
        ({"step_s": 900}, "step_s needs start"),
        ({"start": "2024-01-13", "step_s": 900, "time_column": "t"}, "leave one out"),
        ({"start": "2024-01-13", "step_s": 420}, "does not divide the day"),
        ({"time_zone": "Mars/Base"}, "no time zone"),
        ({"time_format": "daily"}, "no time format"),
    ],
)
def test_a_format_that_contradicts_itself_is_refused(form, words):
    with pytest.raises(ValidationError, match=words):
        ProfileFormat(**form)


def test_the_cache_keeps_the_readings_of_one_file_apart(tmp_path, monkeypatch):
    import pandapower as pp

    monkeypatch.setenv("PEERWATT_CACHE", str(tmp_path / "cache"))
    pp.to_json(street(), str(tmp_path / "net.json"))
    (tmp_path / "p.csv").write_text(table())
    for unit, factor in (("MW", 1.0), ("W", 1e-6), ("MW", 1.0)):
        form = ProfileFormat(unit=unit)
        case = load_case("net.json", profiles=tmp_path / "p.csv", base_dir=tmp_path, profile_format=form)
        assert case.series.values[1, 0] == pytest.approx(0.0015 * factor)
        assert bool(case.warnings) == (unit == "W")  # a millionth of the rating
