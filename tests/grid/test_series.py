from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from peerwatt.errors import ProfileError
from peerwatt.grid import TimeSeries

RNG = np.random.default_rng(0)
DAY = TimeSeries(np.datetime64("2016-01-01", "s"), 900, ("a", "b"), RNG.random((192, 2)))


def test_a_window_of_the_steps_own_length_is_the_values_themselves():
    np.testing.assert_array_equal(DAY.window("2016-01-02", 96, 900), DAY.values[96:])


def test_longer_periods_are_means_and_shorter_ones_hold():
    np.testing.assert_allclose(DAY.window("2016-01-01", 48, 3600), DAY.values.reshape(48, 4, 2).mean(axis=1))
    np.testing.assert_allclose(DAY.window("2016-01-01", 576, 300), np.repeat(DAY.values, 3, axis=0))


@given(
    offset=st.integers(0, 40_000),
    periods=st.integers(0, 60),
    period_s=st.sampled_from([60, 420, 900, 1000, 1800, 2100]),
)
def test_energy_is_conserved_for_any_start_and_length(offset, periods, period_s):
    window = DAY.window(DAY.start + np.timedelta64(offset, "s"), periods, period_s)
    assert window.shape == (periods, 2)
    cumulative = np.vstack([np.zeros(2), np.cumsum(DAY.values * 900, axis=0)])
    edges = offset + period_s * np.arange(periods + 1)
    energy = np.column_stack([np.interp(edges, 900 * np.arange(193), cumulative[:, k]) for k in range(2)])
    np.testing.assert_allclose(window * period_s, np.diff(energy, axis=0), atol=1e-8)


@pytest.mark.parametrize(("start", "periods"), [("2015-12-31T23:45", 1), ("2016-01-02T23:45", 2), ("2017-01-01", 1)])
def test_a_window_outside_says_what_is_covered(start, periods):
    with pytest.raises(ProfileError, match=r"2016-01-01T00:00:00 to 2016-01-0[23]"):
        DAY.window(start, periods, 900)


def test_a_window_that_is_too_long_says_how_many_periods_there_are():
    with pytest.raises(ProfileError, match="at most 48 periods of 3600 s"):
        DAY.window("2016-01-01", 49, 3600)


def test_a_window_is_the_callers_own():
    window = DAY.window("2016-01-01", 2, 900)
    window[:] = 0.0
    assert DAY.values[0, 0] > 0.0


def test_a_constant_series_covers_every_date():
    assert TimeSeries.constant().window("1950-01-01", 7, 3600).shape == (7, 0)


def test_minutes_and_days_are_understood():
    assert DAY.window(np.datetime64("2016-01-02"), 1, 900)[0, 0] == DAY.values[96, 0]
    assert DAY.window(np.datetime64("2016-01-01T00:15"), 1, 900)[0, 0] == DAY.values[1, 0]


def test_the_leap_year_of_simbench_is_covered_to_its_last_quarter_hour(village):
    assert village.series.window("2016-12-31T23:45", 1, 900).shape == (1, len(village.series.columns))
    with pytest.raises(ProfileError, match="2016-01-01T00:00:00 to 2016-12-31T23:00:00"):
        village.series.window("2017-01-01", 1, 3600)


def test_a_moved_column_is_that_of_later_and_begins_anew_at_the_end_of_its_weeks() -> None:
    """Fifteen days of hours: the cycle is two weeks, the last day follows the first."""
    values = np.arange(15 * 24.0)[:, None] * np.array([1.0, 10.0])
    series = TimeSeries(np.datetime64("2024-01-01", "s"), 3600, ("a", "b"), values)
    assert series.cycle == 14 * 24
    columns, steps = np.array([0, 1, 0]), np.array([7 * 24, -1, 3])
    found = series.moved(columns, steps, np.datetime64("2024-01-13T22:00", "s"), 4, 3600)
    hour = 12 * 24 + 22 + np.arange(4)
    assert np.array_equal(found, np.column_stack([hour - 7 * 24, 10.0 * (hour - 1), [313.0, 314.0, 315.0, 316.0]]))
    halves = series.moved(columns, steps, np.datetime64("2024-01-13T22:30", "s"), 7, 1800)
    assert np.array_equal(halves[1::2], found[1:])


def test_over_a_cycle_a_moved_column_keeps_its_values() -> None:
    series = TimeSeries(np.datetime64("2024-01-01", "s"), 900, ("a",), np.random.default_rng(0).random((20, 1)))
    assert series.cycle == 20
    found = series.moved(np.array([0]), np.array([7]), series.start, 20, 900)
    assert sorted(found[:, 0]) == sorted(series.values[:, 0])
    assert found[0, 0] == series.values[7, 0]
