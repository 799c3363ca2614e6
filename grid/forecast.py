"""Forecast errors: how far off a forecast is, correlated in space and in time.

The error of unit n is a process in time, e_n(t), in shares of sigma: an Ornstein-Uhlenbeck process with correlation
time tau, the usual simple model of wind and PV forecast errors,

    corr(e_n(t), e_n(t + s)) = exp(-s / tau),    corr(e_n(t), e_m(t)) = rho for n != m (one sky over one village).

It is drawn minute by minute, exactly:

    e_n <- phi e_n + sqrt(1 - phi^2) (sqrt(rho) c + sqrt(1 - rho) i_n),    phi = exp(-1 min / tau),    c, i ~ N(0, 1)

and a period's error is the mean over the period. So periods of any length see the same path: the error of an hour is
the mean of those of its quarters, and the longer the period, the smaller it is. Its variance is that of the mean of an
Ornstein-Uhlenbeck process over a time T, sigma^2 2 (tau / T) (1 - (tau / T) (1 - exp(-T / tau))).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import exp

import numpy as np

from peerwatt.grid.admittance import Floats

__all__ = ["ErrorModel", "ForecastErrors"]

_STEP_S = 60


@dataclass(frozen=True, slots=True)
class ErrorModel:
    """How wrong forecasts are.

    Attributes:
        sigma: standard deviation at any moment, as a share of the value.
        correlation_time_h: time tau in which the correlation of a unit's errors falls to 1/e.
        spatial: correlation rho between any two units at the same time, 0 to 1.
    """

    sigma: float
    correlation_time_h: float
    spatial: float = 0.0


class ForecastErrors:
    """Running errors of n units, of one run or of several side by side.

    Args:
        model: how wrong forecasts are.
        n: number of units.
        streams: a stream of its own for each run; n + 1 normal draws per minute, whatever the model.
    """

    def __init__(self, model: ErrorModel, n: int, streams: Sequence[np.random.Generator]) -> None:
        self._model, self._n, self._streams = model, n, streams
        self._phi = exp(-_STEP_S / (3600.0 * model.correlation_time_h))
        self._state: Floats | None = None  # (n_runs, n)
        self._factor = np.ones((len(streams), n))
        self._left_s = 0  # for how long that still holds

    def factors(self, period_s: int) -> Floats:
        """Forecast over truth, mean over the period that comes next, never negative; (n_runs, n)."""
        total, left_s = np.zeros_like(self._factor), period_s
        n_new = -(-max(period_s - self._left_s, 0) // _STEP_S)
        drawn = iter(np.stack([rng.standard_normal((n_new, self._n + 1)) for rng in self._streams], axis=1))
        while left_s:
            if not self._left_s:
                self._advance(next(drawn))
            step_s = min(left_s, self._left_s)
            total += step_s * self._factor
            left_s -= step_s
            self._left_s -= step_s
        return total / period_s

    def _advance(self, drawn: Floats) -> None:
        """Go on to the next minute, with draws (n_runs, n + 1)."""
        rho, phi = self._model.spatial, self._phi
        innovation: Floats = np.sqrt(rho) * drawn[:, :1] + np.sqrt(1.0 - rho) * drawn[:, 1:]
        # The first error is drawn from the stationary distribution.
        self._state = innovation if self._state is None else phi * self._state + np.sqrt(1.0 - phi**2) * innovation
        self._factor = np.maximum(1.0 + self._model.sigma * self._state, 0.0)
        self._left_s = _STEP_S
