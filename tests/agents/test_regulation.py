from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from peerwatt.agents.regulation import (
    FrequencyLoop,
    FrequencyRecord,
    FrequencySettings,
    GivenRequests,
    RegulationSource,
    TsoSettings,
    regulation_source,
)
from peerwatt.errors import ScenarioError
from peerwatt.grid.frequency import FrequencyModel
from peerwatt.validation import validated

QUIET: dict[str, Any] = {"system_imbalance_std_mw": 0.0, "share": 1.0, "most_mw": 100.0}


def source(seed: int = 1, **frequency: Any) -> RegulationSource:
    tso = TsoSettings.model_validate({"frequency": frequency})
    return regulation_source(tso, np.random.default_rng(seed))


def played(
    made: RegulationSource, area_mw: float = 0.0, periods: int = 12, delivered: float = 1.0
) -> list[FrequencyRecord]:
    """A market that provides a share of all that it is asked for, in an area with a constant forecast error."""
    return [made.note(period, area_mw, delivered * made.request(period)[0]) for period in range(periods)]


def faults(**document: Any) -> str:
    with pytest.raises(ScenarioError) as refused:
        validated(TsoSettings, document, "my.yaml")
    return str(refused.value)


@pytest.mark.parametrize("area_mw", [-20.0, 20.0])
def test_a_lasting_imbalance_is_regulated_away_and_stays_so(area_mw: float) -> None:
    first, *rest = played(source(**QUIET), area_mw)
    assert first.provided_mw == 0.0
    assert first.deviation_hz == first.deviation_without_hz
    assert math.copysign(1.0, first.deviation_hz) == math.copysign(1.0, area_mw)
    assert abs(first.deviation_hz) > FrequencySettings().deadband_hz
    assert first.request_mw == pytest.approx(-area_mw)  # generation is missing: regulation up, a positive load
    for record in rest:
        assert abs(record.deviation_hz) <= FrequencySettings().deadband_hz
        assert record.deviation_without_hz == pytest.approx(first.deviation_hz)
        assert record.imbalance_mw == area_mw
        assert record.request_mw == pytest.approx(-area_mw)


def test_a_market_that_provides_half_closes_half_of_the_gap() -> None:
    last = played(source(**QUIET), -20.0, delivered=0.5)[-1]
    assert last.provided_mw == pytest.approx(10.0)
    assert last.deviation_without_hz < last.deviation_hz < 0.0


def test_within_the_dead_band_the_tso_asks_for_nothing() -> None:
    # In 500 MW with D = 1 and 5 % droop, (x + 200 * 0.01) / 210 Hz: 0.05 Hz is 8.5 MW.
    assert played(source(**QUIET), -8.49)[-1].request_mw == 0.0
    assert played(source(**QUIET), -8.51)[-1].request_mw == pytest.approx(8.51)


def test_the_share_and_the_cap_bound_what_one_area_is_asked_for() -> None:
    assert played(source(**QUIET | {"share": 0.25}), -20.0)[-1].request_mw == pytest.approx(5.0)
    assert played(source(**QUIET | {"most_mw": 3.0}), -20.0)[-1].request_mw == 3.0
    assert played(source(**QUIET | {"most_mw": 3.0}), 20.0)[-1].request_mw == -3.0


def test_a_period_begins_at_the_frequency_of_the_one_before() -> None:
    records = played(source(**QUIET), -20.0)
    assert records[0].nadir_hz < records[0].deviation_hz < 0.0
    assert abs(records[1].nadir_hz) >= abs(records[0].deviation_hz)  # from there regulation lifts it, and beyond
    assert abs(records[1].nadir_hz) < abs(records[0].nadir_hz)
    assert records[2].nadir_hz == pytest.approx(0.0, abs=1e-6)


@settings(max_examples=12, deadline=None)
@given(seed=st.integers(0, 2**32), share=st.floats(0.05, 1.0), correlation=st.floats(0.0, 0.99))
def test_every_request_is_of_the_imbalance_before_and_within_its_bounds(
    seed: int, share: float, correlation: float
) -> None:
    made = source(seed, share=share, most_mw=4.0, system_imbalance_correlation=correlation)
    band = FrequencySettings().deadband_hz
    assert made.request(0) == (0.0, 150.0)
    for record in played(made, 0.3, periods=6):
        assert record.request_mw * record.imbalance_mw <= 0.0
        assert abs(record.request_mw) <= min(4.0, share * abs(record.imbalance_mw) * (1.0 + 1e-12))
        assert (record.request_mw == 0.0) == (abs(record.deviation_without_hz) <= band)


@pytest.mark.parametrize(("share", "correlation"), [(0.9, 0.9), (0.5, 0.9), (1.0, 0.0)])
def test_what_regulation_gains_depends_on_how_long_imbalances_last(share: float, correlation: float) -> None:
    # Of x_k = phi x_k-1 + ... a share s of x_k-1 is taken off: var(x_k - s x_k-1) = var(x) (1 + s^2 - 2 s phi).
    linear = {"governor_deadband_hz": 0.0, "deadband_hz": 0.0, "reserve_mw": 1e4}
    made = source(5, share=share, system_imbalance_correlation=correlation, most_mw=1e3, **linear)
    records = played(made, periods=250)[1:]
    left = np.square([each.deviation_hz for each in records]).mean()
    ratio = math.sqrt(left / np.square([each.deviation_without_hz for each in records]).mean())
    assert ratio == pytest.approx(math.sqrt(1.0 + share**2 - 2.0 * share * correlation), rel=0.15)


def test_the_rest_of_the_system_has_the_spread_and_the_memory_asked_for() -> None:
    made = source(7, system_imbalance_std_mw=12.0, system_imbalance_correlation=0.8, deadband_hz=5.0)
    assert isinstance(made, FrequencyLoop)
    series = 12.0 * np.array([made._rest_at(period) for period in range(20_000)])
    assert series.std() == pytest.approx(12.0, rel=0.1)
    assert np.corrcoef(series[:-1], series[1:])[0, 1] == pytest.approx(0.8, abs=0.03)


def test_equal_generators_give_equal_records_and_the_market_does_not_shift_the_weather() -> None:
    assert played(source(3)) == played(source(3))
    assert played(source(3)) != played(source(4))
    idle = [record.imbalance_mw for record in played(source(3), delivered=0.0)]
    assert idle == [record.imbalance_mw for record in played(source(3))]


def test_a_period_that_was_not_noted_leaves_the_later_ones_as_they_are() -> None:
    whole = played(source(3), delivered=0.0)
    made = source(3)
    assert made.note(5, 0.0, 0.0).imbalance_mw == whole[5].imbalance_mw
    assert made.request(6)[0] == whole[5].request_mw


def test_given_requests_last_from_their_first_to_their_last_period() -> None:
    tso = TsoSettings.model_validate(
        {
            "requests": [
                {"from_period": 6, "to_period": 6, "p_mw": -1.0},
                {"from_period": 2, "to_period": 4, "p_mw": 0.5, "price_eur_per_mwh": 200.0},
                {"from_period": 7, "to_period": 7, "p_mw": 1.5},
            ],
            "price_down_eur_per_mwh": -20.0,
        }
    )
    made = regulation_source(tso, np.random.default_rng(0))
    assert isinstance(made, GivenRequests)
    asked = [made.request(period) for period in range(9)]
    up, none = (0.5, 200.0), (0.0, 150.0)
    assert asked == [none, none, up, up, up, none, (-1.0, -20.0), (1.5, 150.0), none]


def test_given_requests_know_no_frequency() -> None:
    tso = TsoSettings.model_validate({"requests": [{"from_period": 1, "to_period": 1, "p_mw": 0.5}]})
    record = GivenRequests(tso).note(0, -0.1, 0.0)
    assert (record.period, record.imbalance_mw, record.provided_mw, record.request_mw) == (0, -0.1, 0.0, 0.5)
    assert all(math.isnan(each) for each in (record.deviation_hz, record.deviation_without_hz, record.nadir_hz))


def test_the_section_is_off_until_it_says_something() -> None:
    assert not TsoSettings().active
    assert regulation_source(TsoSettings(), np.random.default_rng(0)).request(0) == (0.0, 150.0)
    assert TsoSettings.model_validate({"frequency": {}}).active
    assert TsoSettings.model_validate({"requests": [{"from_period": 0, "to_period": 0, "p_mw": 1.0}]}).active


def test_overlapping_requests_are_refused_by_name() -> None:
    stretches = [(5, 9), (0, 4), (20, 21), (9, 12), (0, 30)]
    text = faults(requests=[{"from_period": a, "to_period": b, "p_mw": 1.0} for a, b in stretches])
    assert "requests.1 (periods 0 to 4) and requests.4 (periods 0 to 30) overlap" in text
    assert "requests.2 (periods 20 to 21) and requests.4 (periods 0 to 30) overlap" in text
    assert "overlap" not in str(TsoSettings.model_validate({"requests": []}))


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 6)), max_size=6))
def test_requests_are_refused_where_two_share_a_period_and_only_there(stretches: list[tuple[int, int]]) -> None:
    periods = [period for begin, length in stretches for period in range(begin, begin + length + 1)]
    document = {"requests": [{"from_period": a, "to_period": a + n, "p_mw": 1.0} for a, n in stretches]}
    if len(periods) == len(set(periods)):
        validated(TsoSettings, document, "my.yaml")
    else:
        assert "overlap" in faults(**document)


@pytest.mark.parametrize("p_mw", [0.0, math.nan, math.inf])
def test_a_request_asks_for_a_finite_power_in_a_direction(p_mw: float) -> None:
    assert "requests.0.p_mw" in faults(requests=[{"from_period": 0, "to_period": 1, "p_mw": p_mw}])


def test_a_request_does_not_end_before_it_begins() -> None:
    text = faults(requests=[{"from_period": 4, "to_period": 3, "p_mw": 1.0}])
    assert "to_period (3) is before from_period (4)" in text


def test_requests_and_the_frequency_together_are_refused_with_the_reason() -> None:
    text = faults(requests=[{"from_period": 0, "to_period": 0, "p_mw": 1.0}], frequency={})
    assert "one virtual load" in text


def test_the_system_of_the_settings_is_the_model_of_the_grid() -> None:
    assert FrequencySettings().model() == FrequencyModel()
    changed = FrequencySettings.model_validate({"system_mw": 90, "governor_deadband_hz": 0.0, "reserve_mw": 7})
    assert changed.model() == FrequencyModel(system_mw=90.0, governor_deadband_hz=0.0, reserve_mw=7.0)
