from __future__ import annotations

from math import exp

import numpy as np
import pytest

from peerwatt.grid.forecast import ErrorModel, ForecastErrors

DAY_S = 86_400


def series(model: ErrorModel, n: int = 40, periods: int = 3000, period_s: int = 60, seed: int = 3) -> np.ndarray:
    errors = ForecastErrors(model, n, [np.random.default_rng(seed)])
    return np.array([errors.factors(period_s)[0] for _ in range(periods)]) - 1.0


@pytest.mark.parametrize(("spatial", "time_h"), [(0.0, 0.02), (0.8, 0.02), (0.0, 0.2), (0.6, 0.1), (1.0, 0.1)])
def test_errors_have_the_spread_and_the_correlations_asked_for(spatial: float, time_h: float) -> None:
    errors = series(ErrorModel(0.1, time_h, spatial))
    assert errors.std() == pytest.approx(0.1, rel=0.1)
    between = np.corrcoef(errors.T)[np.triu_indices(40, 1)].mean()
    assert between == pytest.approx(spatial, abs=0.06)
    for minutes in (1, 5):
        after = np.mean([np.corrcoef(column[:-minutes], column[minutes:])[0, 1] for column in errors.T])
        assert after == pytest.approx(exp(-minutes / 60.0 / time_h), abs=0.06)


@pytest.mark.parametrize("period_s", [60, 900, 3600, 14_400])
def test_the_error_of_a_period_has_the_variance_of_a_mean_over_it(period_s: int) -> None:
    """Of an Ornstein-Uhlenbeck process; 2,000 units, so that the estimate is good to about 3 %."""
    found = series(ErrorModel(0.1, 1.0), 2000, 3, period_s)[-1].var()
    ratio = 3600.0 / period_s  # tau / T
    assert found == pytest.approx(0.01 * 2.0 * ratio * (1.0 - ratio * (1.0 - exp(-1.0 / ratio))), rel=0.08)


@pytest.mark.parametrize("period_s", [60, 64, 75, 96, 300, 900, 3600])
def test_periods_of_any_length_see_the_same_path(period_s: int) -> None:
    model = ErrorModel(0.3, 0.5, 0.4)
    day, short = (series(model, 3, DAY_S // each, each) for each in (DAY_S, period_s))
    assert np.allclose(short.mean(axis=0), day[0], atol=1e-12)
    quarters = series(model, 3, 96, 900)
    if 900 % period_s == 0:
        assert np.allclose(short.reshape(96, -1, 3).mean(axis=1), quarters, atol=1e-12)


def test_the_first_period_is_as_uncertain_as_the_others() -> None:
    first = series(ErrorModel(0.1, 5.0), 2000, 1)[0]
    assert np.std(first) == pytest.approx(0.1, rel=0.1)


def test_forecasts_are_never_of_the_other_sign_and_perfect_ones_are_perfect() -> None:
    assert (series(ErrorModel(1.0, 1.0), periods=200) >= -1.0).all()
    assert (series(ErrorModel(0.0, 1.0, 0.5), periods=20, period_s=900) == 0.0).all()


def test_runs_side_by_side_have_the_errors_that_each_has_alone() -> None:
    model = ErrorModel(0.2, 0.7, 0.5)
    together = ForecastErrors(model, 7, [np.random.default_rng(seed) for seed in (1, 2)])
    both = np.array([together.factors(900) for _ in range(5)])
    for run, seed in enumerate((1, 2)):
        assert np.array_equal(both[:, run] - 1.0, series(model, 7, 5, 900, seed))


def test_models_draw_alike_so_that_seeds_stay_paired() -> None:
    streams = [np.random.default_rng(1) for _ in range(2)]
    for rng, model in zip(streams, (ErrorModel(0.1, 1.0), ErrorModel(0.3, 9.0, 0.9)), strict=True):
        ForecastErrors(model, 7, [rng]).factors(900)
    assert streams[0].random() == streams[1].random()
