"""Forecast errors: how far off a forecast is, correlated in space and in time.

The error of unit n in period k is a share of its value, with standard deviation sigma:

    e_k,n = phi e_k-1,n + sqrt(1 - phi^2) (sqrt(rho) c_k + sqrt(1 - rho) i_k,n),    c, i ~ N(0, 1) independent

so that corr(e_k,n, e_k,m) = rho for n != m (one sky over one village) and corr(e_k,n, e_k-1,n) = phi: a first-order
autoregressive process, the usual simple model of wind and PV forecast errors.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from peerwatt.grid.admittance import Floats

__all__ = ["ErrorModel", "ForecastErrors", "forecast_factors"]


@dataclass(frozen=True, slots=True)
class ErrorModel:
    """How wrong forecasts are.

    Attributes:
        sigma: standard deviation, as a share of the value.
        spatial: correlation rho between any two units in a period, 0 to 1.
        temporal: correlation phi of a unit's errors in consecutive periods, 0 to 1 (1 excluded).
    """

    sigma: float
    spatial: float = 0.0
    temporal: float = 0.0


class ForecastErrors:
    """A running series of errors of n units.

    Args:
        model: how wrong forecasts are.
        n: number of units.
        rng: stream of its own; n + 1 normal draws per period, whatever the model.
    """

    def __init__(self, model: ErrorModel, n: int, rng: np.random.Generator) -> None:
        self._model, self._n, self._rng = model, n, rng
        self._state: Floats | None = None

    def factor(self) -> Floats:
        """Forecast over truth in the next period, never negative, (n,)."""
        self._state = _next(self._model, self._state, self._rng.standard_normal(self._n + 1))
        return _factor(self._model, self._state)


def forecast_factors(model: ErrorModel, drawn: Floats) -> Floats:
    """Forecast over truth in consecutive periods, of many series at once; each as `ForecastErrors` has it.

    Args:
        model: how wrong forecasts are.
        drawn: standard normal numbers, (n_periods, ..., n + 1).

    Returns:
        (n_periods, ..., n).
    """
    factors, state = np.empty((*drawn.shape[:-1], drawn.shape[-1] - 1)), None
    for period, own in enumerate(drawn):
        state = _next(model, state, own)
        factors[period] = _factor(model, state)
    return factors


def _next(model: ErrorModel, state: Floats | None, drawn: Floats) -> Floats:
    """Errors of the next period, from those before, (..., n), and draws, (..., n + 1)."""
    rho, phi = model.spatial, model.temporal
    innovation: Floats = np.sqrt(rho) * drawn[..., :1] + np.sqrt(1.0 - rho) * drawn[..., 1:]
    # The first error is drawn from the stationary distribution.
    return innovation if state is None else phi * state + np.sqrt(1.0 - phi**2) * innovation


def _factor(model: ErrorModel, state: Floats) -> Floats:
    return np.maximum(1.0 + model.sigma * state, 0.0)
