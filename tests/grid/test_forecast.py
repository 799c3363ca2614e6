from __future__ import annotations

import numpy as np
import pytest

from peerwatt.grid.forecast import ErrorModel, ForecastErrors


def series(model: ErrorModel, n: int = 40, periods: int = 4000, seed: int = 3) -> np.ndarray:
    errors = ForecastErrors(model, n, np.random.default_rng(seed))
    return np.array([errors.factor() for _ in range(periods)]) - 1.0


@pytest.mark.parametrize(("spatial", "temporal"), [(0.0, 0.0), (0.8, 0.0), (0.0, 0.9), (0.6, 0.7), (1.0, 0.5)])
def test_errors_have_the_spread_and_the_correlations_asked_for(spatial: float, temporal: float) -> None:
    errors = series(ErrorModel(0.1, spatial, temporal))
    assert errors.std() == pytest.approx(0.1, rel=0.1)
    between = np.corrcoef(errors.T)[np.triu_indices(40, 1)].mean()
    assert between == pytest.approx(spatial, abs=0.06)
    after = np.mean([np.corrcoef(column[:-1], column[1:])[0, 1] for column in errors.T])
    assert after == pytest.approx(temporal, abs=0.06)


def test_the_first_period_is_as_uncertain_as_the_others() -> None:
    model = ErrorModel(0.1, 0.0, 0.95)
    first = [ForecastErrors(model, 1, np.random.default_rng(seed)).factor()[0] - 1.0 for seed in range(2000)]
    assert np.std(first) == pytest.approx(0.1, rel=0.1)


def test_forecasts_are_never_of_the_other_sign_and_perfect_ones_are_perfect() -> None:
    assert (series(ErrorModel(1.0), periods=200) >= -1.0).all()
    assert (series(ErrorModel(0.0, 0.5, 0.5), periods=20) == 0.0).all()


def test_models_draw_alike_so_that_seeds_stay_paired() -> None:
    streams = [np.random.default_rng(1) for _ in range(2)]
    for rng, model in zip(streams, (ErrorModel(0.1), ErrorModel(0.3, 0.9, 0.9)), strict=True):
        ForecastErrors(model, 7, rng).factor()
    assert streams[0].random() == streams[1].random()
