"""Units of profiles are judged against ratings: what is right is taken, what is wrong refused or warned of."""

from __future__ import annotations

from functools import cache

import numpy as np
import pandapower as pp
import pandas as pd
import pytest

from peerwatt.errors import ProfileError
from peerwatt.grid import GridCase, ProfileFormat
from peerwatt.grid.convert import convert_net
from peerwatt.grid.profiles import read_profiles
from peerwatt.grid.unit_table import read_units


def net_with(p_mw, scaling=1.0, table="load", **more):
    net = pp.create_empty_network()
    high, low = pp.create_bus(net, 20.0), pp.create_bus(net, 0.4)
    pp.create_ext_grid(net, high)
    pp.create_transformer(net, high, low, "0.25 MVA 20/0.4 kV")
    create = pp.create_load if table == "load" else pp.create_sgen
    create(net, low, p_mw=p_mw, scaling=scaling, name="A", **more)
    return net


def frame_of(values, table="load"):
    time = pd.date_range("2024-01-13", periods=len(values), freq=f"{24 // len(values)}h")
    return pd.DataFrame({"time": time, f"{table}.A.p_mw": values})


@cache
def network():
    return convert_net(net_with(0.005), "net")  # units are no part of it


def connected(net, frame, **form):
    """What `case_from_net` makes of a net; all nets here have one network."""
    units, series, warnings = read_profiles(frame, net, network(), read_units(net, "net"), ProfileFormat(**form))
    return GridCase("net", network(), units, series, warnings)


def outcome(net, frame, **form):
    """What is said: the one fault, or the one warning, or nothing."""
    try:
        said = connected(net, frame, **form).warnings
    except ProfileError as error:
        said = error.faults
    assert len(said) <= 1
    return str(said[0]) if said else ""


SUN = np.clip(np.sin(np.linspace(-np.pi / 2, 3 * np.pi / 2, 25)), 0.0, None)[:24]


def test_kilowatts_with_a_scaling_that_makes_them_megawatts_are_right():
    case = connected(net_with(1.0, 0.001), frame_of([4.0, 6.0]))
    assert not case.warnings
    p_mw, _ = case.units.power(case.series.window("2024-01-13", 24, 3600))
    assert -p_mw.sum() == pytest.approx(0.12)  # MWh a day


@pytest.mark.parametrize(
    ("net", "frame", "words"),
    [
        (net_with(1.0), frame_of([4.0, 6.0]), "looks like kW"),
        (net_with(0.005), frame_of([0.004, 4.0]), "looks like kW"),
        (net_with(0.005), frame_of([4000.0, 0.0]), "looks like W"),
        (net_with(0.005, table="sgen"), frame_of(0.97 * SUN, "sgen"), "looks like pu"),
        (net_with(0.005, table="sgen"), frame_of(SUN, "sgen"), "looks like pu"),
        (net_with(0.1, table="sgen"), frame_of(0.8 * SUN, "sgen"), "looks like pu"),
        (net_with(3.0, 0.05, table="sgen"), frame_of(SUN, "sgen"), "looks like pu"),
        (net_with(0.1), frame_of(12.34 + 0.004 * np.arange(24.0)), "readings of a meter"),
        (net_with(0.005), frame_of(0.001 * np.arange(24.0)), "readings of a meter"),
        (net_with(0.005), frame_of([4e-6, 5e-6]), "too small"),
    ],
)
def test_a_wrong_unit_is_told_with_the_reason_and_the_key(net, frame, words):
    said = outcome(net, frame)
    assert words in said
    assert "grid.profiles.unit" in said


@pytest.mark.parametrize(
    ("net", "frame"),
    [
        (net_with(0.002), frame_of([0.004, 0.006])),
        (net_with(0.0), frame_of([0.004, 0.006])),
        (net_with(0.005, table="sgen"), frame_of(0.005 * SUN, "sgen")),
        (net_with(0.001, table="sgen", sn_mva=0.006), frame_of(0.005 * SUN, "sgen")),
        (net_with(1.0, 0.01, table="sgen"), frame_of(SUN, "sgen")),
        (net_with(0.005), frame_of(np.where(np.arange(24) < 18, 0.0, 0.005))),  # a step is no meter
        (net_with(0.005), frame_of(np.zeros(24))),
    ],
)
def test_what_is_right_is_taken_without_a_word(net, frame):
    assert outcome(net, frame) == ""


def test_a_unit_that_is_given_is_believed_with_a_warning():
    frame = frame_of([0.3, 0.5])
    with pytest.raises(ProfileError, match=r"MW takes them as they are"):
        connected(net_with(0.001), frame)
    case = connected(net_with(0.001), frame, unit="MW")
    assert "500 times the rating" in str(case.warnings[0])
    assert case.series.values.max() == 0.5
    assert outcome(net_with(0.5), frame, unit="kW").count("too small") == 1
    assert outcome(net_with(0.001), frame, unit="kW") == ""


def test_fifty_five_plants_are_one_line():
    net = net_with(0.005, table="sgen")
    frame = frame_of(0.9 * SUN, "sgen")
    for k in range(54):
        pp.create_sgen(net, 1, p_mw=0.005, name=f"B{k}")
        frame[f"sgen.B{k}.p_mw"] = 0.9 * SUN
    said = outcome(net, frame)
    assert "55 columns" in said
    assert "looks like pu" in said
