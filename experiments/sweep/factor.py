"""What varies in an experiment: levels with their labels, or a distribution."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

import numpy as np
from pydantic import Field, model_validator

from peerwatt.agents.settings import Settings

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Factor"]

Number = Annotated[float, Field(allow_inf_nan=False)]

_NEEDS: dict[str, tuple[str, ...]] = {
    "uniform": ("low", "high"),
    "loguniform": ("low", "high"),
    "integer": ("low", "high"),
    "normal": ("mean", "std"),
    "lognormal": ("median", "sigma"),
}
_NUMBERS = ("low", "high", "mean", "std", "median", "sigma")
_OPEN = ("normal", "lognormal")  # unless low and high are given
_FAR = 1e-6


class Factor(Settings):
    """One factor; a plain list in the file is its levels."""

    levels: dict[str, Any] = Field(
        default_factory=dict, description="Values by label; a list of values has them as their own labels."
    )
    weights: tuple[Annotated[float, Field(gt=0.0, allow_inf_nan=False)], ...] = Field(
        (), description="How often each level is drawn in a sampled design; by default all the same."
    )
    distribution: Literal["uniform", "loguniform", "integer", "normal", "lognormal"] | None = Field(
        None, description="What values are drawn from, in a sampled design."
    )
    low: Number | None = Field(None, description="Lowest value; of `normal` and `lognormal` where they are cut off.")
    high: Number | None = Field(None, description="Highest value, likewise.")
    mean: Number | None = Field(None, description="Mean of `normal`.")
    std: Annotated[Number, Field(gt=0.0)] | None = Field(None, description="Standard deviation of `normal`.")
    median: Annotated[Number, Field(gt=0.0)] | None = Field(None, description="Median of `lognormal`.")
    sigma: Annotated[Number, Field(gt=0.0)] | None = Field(
        None, description="Standard deviation of the logarithm, of `lognormal`."
    )

    @model_validator(mode="before")
    @classmethod
    def _labels(cls, value: Any) -> Any:
        """Give every level of a list its label."""
        document = {"levels": value} if isinstance(value, list) else value
        if not isinstance(document, Mapping):
            raise ValueError("is neither a list of values nor a mapping with `levels` or `distribution`")
        levels = document.get("levels")
        if not isinstance(levels, list):
            return document
        labels = [_label(level) for level in levels]
        twice = sorted({label for label in labels if labels.count(label) > 1})
        if twice:
            raise ValueError(f"the level {', '.join(twice)} stands twice")
        return {**document, "levels": dict(zip(labels, levels, strict=True))}

    @model_validator(mode="after")
    def _is_one_thing(self) -> Self:
        given = [name for name in _NUMBERS if getattr(self, name) is not None]
        if self.distribution is None:
            self._check_levels(given)
        else:
            self._check_distribution(self.distribution, given)
        return self

    def _check_levels(self, given: list[str]) -> None:
        if not self.levels:
            raise ValueError("has no levels; give a list of values, or a `distribution`")
        if given:
            raise ValueError(f"{', '.join(given)}: of a distribution, but there is none")
        if self.weights and len(self.weights) != len(self.levels):
            raise ValueError(f"weights: {len(self.weights)} for {len(self.levels)} levels")

    def _check_distribution(self, name: str, given: list[str]) -> None:
        if self.levels or self.weights:
            raise ValueError("levels or a distribution, not both")
        allowed = (*_NEEDS[name], *(("low", "high") if name in _OPEN else ()))
        missing = [each for each in _NEEDS[name] if each not in given]
        other = [each for each in given if each not in allowed]
        if missing:
            raise ValueError(f"{name} needs {', '.join(missing)}")
        if other:
            raise ValueError(f"{name} has no {', '.join(other)}; it has {', '.join(allowed)}")
        if self.low is not None and self.high is not None and self.low >= self.high:
            raise ValueError(f"low ({self.low:g}) is not below high ({self.high:g})")
        if name == "loguniform" and self.low is not None and self.low <= 0.0:
            raise ValueError(f"low ({self.low:g}) is not above 0, as loguniform needs it")
        if name == "integer" and not all(float(x).is_integer() for x in (self.low or 0.0, self.high or 0.0)):
            raise ValueError("low and high of integer are whole numbers")

    @property
    def unbounded(self) -> bool:
        """Whether it may draw values as far out as one likes."""
        return self.distribution in _OPEN and (self.low is None or self.high is None)

    def at(self, share: NDArray[np.float64]) -> list[tuple[str, Any]]:
        """Labels and values at shares of the distribution.

        Args:
            share: of the cumulated distribution, or of the levels by weight, each in [0, 1); (n,).
        """
        if self.levels:
            weights = np.array(self.weights or np.ones(len(self.levels)))
            bounds = np.cumsum(weights) / weights.sum()
            row = np.minimum(np.searchsorted(bounds, share, side="right"), len(bounds) - 1)
            levels = list(self.levels.items())
            return [levels[k] for k in row.tolist()]
        values = self._quantile(np.clip(share, _FAR**2, 1.0 - _FAR**2))
        plain = [int(value) for value in values] if self.distribution == "integer" else values.tolist()
        return [(f"{value:.6g}", value) for value in plain]

    def extremes(self) -> list[tuple[str, Any]]:
        """Two values that are as far out as one in a million draws is."""
        return self.at(np.array([_FAR, 1.0 - _FAR]))

    def _quantile(self, share: NDArray[np.float64]) -> NDArray[np.float64]:
        """The inverse of the cumulated distribution, cut off at `low` and `high`."""
        from scipy import stats

        has = {name: float(getattr(self, name) or 0.0) for name in _NUMBERS}
        low, high = has["low"], has["high"]
        if self.distribution == "uniform":
            return np.asarray(low + share * (high - low))
        if self.distribution == "loguniform":
            return np.asarray(low * (high / low) ** share)
        if self.distribution == "integer":
            return np.asarray(stats.randint.ppf(share, low, high + 1.0))
        normal = self.distribution == "normal"
        whole = stats.norm(has["mean"], has["std"]) if normal else stats.lognorm(has["sigma"], scale=has["median"])
        below = 0.0 if self.low is None else float(whole.cdf(low))
        above = 1.0 if self.high is None else float(whole.cdf(high))
        return np.asarray(whole.ppf(below + share * (above - below)))


def _label(level: Any) -> str:
    """A level in few words: numbers and words as they are, a mapping as `a: 1, b: 2`."""
    if isinstance(level, Mapping):
        return ", ".join(f"{key}: {_label(value)}" for key, value in level.items())
    if isinstance(level, bool) or level is None:
        return {True: "true", False: "false", None: "none"}[level]
    if isinstance(level, list):
        return f"[{', '.join(_label(each) for each in level)}]"
    return f"{level:g}" if isinstance(level, float) else str(level)
