from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.optimize import brentq
from scipy.signal import TransferFunction, step

from peerwatt.errors import InputError
from peerwatt.grid.frequency import (
    FrequencyModel,
    extreme_deviation_hz,
    initial_rocof_hz_per_s,
    steady_deviation_hz,
    step_response,
)

USUAL = FrequencyModel()
LINEAR = FrequencyModel(governor_deadband_hz=0.0, reserve_mw=math.inf)

models = st.builds(
    FrequencyModel,
    system_mw=st.floats(20.0, 2_000.0),
    inertia_s=st.floats(1.0, 10.0),
    damping=st.floats(0.3, 3.0),
    droop_percent=st.floats(2.0, 20.0),
    governor_s=st.floats(0.3, 10.0),
    governor_deadband_hz=st.floats(0.0, 0.1),
    reserve_mw=st.floats(0.0, 100.0),
)
imbalances = st.floats(-200.0, 200.0)


@given(models, imbalances)
def test_without_dead_band_and_limit_the_deviation_is_that_of_the_textbook(
    model: FrequencyModel, imbalance: float
) -> None:
    linear = replace(model, governor_deadband_hz=0.0, reserve_mw=math.inf)
    per_unit = imbalance / model.system_mw / (model.damping + 100.0 / model.droop_percent)
    assert steady_deviation_hz(linear, imbalance) == pytest.approx(50.0 * per_unit)


@given(models, imbalances)
def test_at_rest_the_power_balances(model: FrequencyModel, imbalance: float) -> None:
    def surplus(deviation: float) -> float:
        return imbalance + float(model.primary_mw(deviation)) - model.load_mw_per_hz * deviation

    most = abs(imbalance) / model.load_mw_per_hz + 1.0
    assert steady_deviation_hz(model, imbalance) == pytest.approx(brentq(surplus, -most, most), abs=1e-9)


@given(models, st.lists(imbalances, min_size=2, max_size=20, unique_by=lambda each: round(each, 3)))
def test_more_generation_means_a_higher_frequency_alike_in_both_directions(
    model: FrequencyModel, values: list[float]
) -> None:
    ordered = np.sort(np.array(values))
    deviation = steady_deviation_hz(model, ordered)
    assert (np.diff(deviation) > 0.0).all()
    assert steady_deviation_hz(model, -ordered).tolist() == (-deviation).tolist()
    assert steady_deviation_hz(model, ordered.reshape(1, -1)).shape == (1, len(values))


def test_a_dead_band_and_a_small_reserve_leave_more_to_the_loads() -> None:
    slight, large = -0.05, -70.0  # the first stays in the governors' dead band: 0.05 MW over 10 MW/Hz
    assert steady_deviation_hz(USUAL, slight) == pytest.approx(slight / 10.0)
    assert USUAL.primary_mw(steady_deviation_hz(USUAL, slight)) == 0.0
    assert steady_deviation_hz(USUAL, large) == pytest.approx((large + 50.0) / 10.0)
    assert USUAL.primary_mw(steady_deviation_hz(USUAL, [large, -large])).tolist() == [50.0, -50.0]


def test_the_reference_incident_of_continental_europe_stays_within_its_180_mhz() -> None:
    # Operation handbook, policy 1: 3,000 MW are missing in 150 GW of load that gives way by 1 %/Hz, and the primary
    # reserve of 3,000 MW is called within 200 mHz; quasi-steady 180 mHz, and 800 mHz on the way, are not exceeded.
    europe = FrequencyModel(
        system_mw=150_000.0,
        inertia_s=6.0,
        damping=0.5,
        droop_percent=20.0,
        governor_s=8.0,
        governor_deadband_hz=0.0,
        reserve_mw=3_000.0,
    )
    assert europe.primary_mw_per_hz == pytest.approx(15_000.0)
    assert steady_deviation_hz(europe, -3_000.0) == pytest.approx(-0.180, abs=0.002)
    assert -0.8 < extreme_deviation_hz(europe, -3_000.0) < -0.2


@pytest.mark.parametrize("imbalance", [-20.0, 7.0])
@pytest.mark.parametrize("governor_s", [0.05, 2.0, 20.0])
def test_the_linear_time_course_is_that_of_its_transfer_function(imbalance: float, governor_s: float) -> None:
    model = replace(LINEAR, governor_s=governor_s)
    # df / dp = (1 + T s) / ((2 H s + D) (1 + T s) + 1/R), pu
    denominator = np.polymul([2.0 * model.inertia_s, model.damping], [governor_s, 1.0])
    denominator[-1] += 100.0 / model.droop_percent
    times, unit = step(TransferFunction([governor_s, 1.0], denominator), T=np.linspace(0.0, 60.0, 12_001))
    expected = unit * imbalance / model.system_mw * model.nominal_hz
    response = step_response(model, imbalance, times[::100])
    assert response.deviation_hz == pytest.approx(expected[::100], abs=2e-6)
    furthest = expected[np.abs(expected).argmax()]
    assert extreme_deviation_hz(model, imbalance) == pytest.approx(furthest, rel=1e-4)


@settings(max_examples=8, deadline=None)
@given(models, imbalances, imbalances)
def test_the_time_course_begins_and_ends_at_rest_and_never_leaves_its_extreme(
    model: FrequencyModel, imbalance: float, before: float
) -> None:
    slowest = max(2.0 * model.inertia_s / model.damping, model.governor_s)
    times = np.linspace(0.0, 25.0 * slowest, 2_000)
    response = step_response(model, imbalance, times, before_mw=before)
    begin, end = steady_deviation_hz(model, [before, imbalance])
    tolerance = 1e-5 * (1.0 + abs(begin - end))
    assert response.deviation_hz[0] == pytest.approx(begin, abs=tolerance)
    assert response.deviation_hz[-1] == pytest.approx(end, abs=tolerance)
    assert np.abs(response.primary_mw).max() <= model.reserve_mw + 1e-6 * model.system_mw
    furthest = abs(float(extreme_deviation_hz(model, imbalance, before)))
    assert np.abs(response.deviation_hz).max() <= furthest + tolerance


@settings(max_examples=8, deadline=None)
@given(models, imbalances)
def test_the_kinetic_energy_is_what_generation_gave_and_loads_took(model: FrequencyModel, imbalance: float) -> None:
    times = np.linspace(0.0, 20.0, 20_001)
    response = step_response(model, imbalance, times)
    surplus = imbalance + response.primary_mw - model.load_mw_per_hz * response.deviation_hz
    given_mws = np.trapezoid(surplus, times)
    kept_mws = 2.0 * model.inertia_s * model.system_mw * response.deviation_hz[-1] / model.nominal_hz
    assert kept_mws == pytest.approx(given_mws, abs=1e-4 * (1.0 + abs(imbalance)))


def test_at_first_only_inertia_holds_the_frequency() -> None:
    rate = initial_rocof_hz_per_s(USUAL, [-20.0, 40.0])
    assert rate == pytest.approx([-0.25, 0.5])  # 50 Hz 20 MW / (2 * 4 s * 500 MW)
    early = step_response(USUAL, -20.0, [1e-3]).deviation_hz
    assert early / 1e-3 == pytest.approx(rate[:1], rel=1e-3)


@settings(max_examples=8, deadline=None)
@given(models, imbalances, st.floats(1.1, 3.0))
def test_more_inertia_means_a_smaller_swing(model: FrequencyModel, imbalance: float, factor: float) -> None:
    assume(abs(imbalance) > 0.1)
    heavier = replace(model, inertia_s=factor * model.inertia_s)
    light, heavy = (abs(float(extreme_deviation_hz(each, imbalance))) for each in (model, heavier))
    assert heavy <= light * (1.0 + 1e-5)


def test_without_a_step_nothing_moves_and_shapes_broadcast() -> None:
    rest = step_response(USUAL, -20.0, [0.0, 1.0, 100.0], before_mw=-20.0)
    assert rest.deviation_hz == pytest.approx([float(steady_deviation_hz(USUAL, -20.0))] * 3)
    grid = extreme_deviation_hz(USUAL, [[-20.0], [-15.0]], [0.0, -20.0, -15.0])
    assert grid.shape == (2, 3)
    rest_hz = steady_deviation_hz(USUAL, [-20.0, -15.0])
    assert [grid[0, 1], grid[1, 2]] == pytest.approx(rest_hz.tolist())
    assert grid[1, 1] == pytest.approx(rest_hz[0])  # relieved of a part: the frequency before was the worst of it


def test_too_quick_a_relief_throws_the_frequency_over_to_the_other_side() -> None:
    assert steady_deviation_hz(USUAL, -20.0) < 0.0 < extreme_deviation_hz(USUAL, 0.0, -20.0)


def test_every_parameter_that_is_not_physical_is_named() -> None:
    with pytest.raises(InputError) as refused:
        FrequencyModel(system_mw=0.0, damping=math.nan, governor_deadband_hz=-0.1, reserve_mw=-1.0)
    named = [fault.where.split()[-1] for fault in refused.value.faults]
    assert named == ["system_mw", "damping", "governor_deadband_hz", "reserve_mw"]


def test_the_swing_back_may_be_the_furthest() -> None:
    slow = replace(USUAL, governor_s=20.0)
    response = step_response(slow, 20.0, np.linspace(0.0, 200.0, 20_001), before_mw=25.0)
    course = response.deviation_hz
    assert course.argmin() < course.argmax()
    furthest = extreme_deviation_hz(slow, 20.0, 25.0)
    assert furthest == pytest.approx(course.max(), abs=1e-5)
    assert furthest > 1.1 * max(course[0], -course.min())


@pytest.mark.parametrize("residue", [5e-324, -2.2e-311, 1e-17])
def test_what_rounding_leaves_of_a_balance_does_not_upset_the_integration(residue: float) -> None:
    times = np.linspace(0.0, 30.0, 7)
    assert step_response(USUAL, residue, times).deviation_hz == pytest.approx(np.zeros(7), abs=1e-12)
    assert step_response(USUAL, 0.0, times, before_mw=residue).deviation_hz == pytest.approx(np.zeros(7), abs=1e-12)
    assert abs(extreme_deviation_hz(USUAL, residue)) < 1e-12


@pytest.mark.parametrize("times", [[], [-1.0, 0.0], [0.0, 0.0], [0.0, math.nan], [2.0, 1.0]])
def test_times_that_do_not_rise_are_refused(times: list[float]) -> None:
    with pytest.raises(InputError, match="rising"):
        step_response(USUAL, -20.0, times)
