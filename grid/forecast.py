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

__all__ = ["ErrorModel", "ForecastErrors"]


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
        rho, phi = self._model.spatial, self._model.temporal
        drawn = self._rng.standard_normal(self._n + 1)
        innovation = np.sqrt(rho) * drawn[0] + np.sqrt(1.0 - rho) * drawn[1:]
        # The first error is drawn from the stationary distribution.
        if self._state is None:
            self._state = innovation
        else:
            self._state = phi * self._state + np.sqrt(1.0 - phi**2) * innovation
        return np.maximum(1.0 + self._model.sigma * self._state, 0.0)
