"""Experiment files: which variants of which scenario are run how often.

Each field's description becomes the JSON Schema (`peerwatt schema experiment`).
"""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, PrivateAttr, Strict, field_validator, model_validator

from peerwatt.agents.settings import Settings
from peerwatt.errors import Fault, ScenarioError
from peerwatt.experiments.sweep.factor import Factor
from peerwatt.registry import nearest
from peerwatt.sim.reading import read_document
from peerwatt.validation import validated

__all__ = ["Design", "Experiment", "Stop", "shipped_experiments"]

Count = Annotated[int, Strict(), Field(ge=1, le=1_000_000)]

_OF_THE_EXPERIMENT = {
    "seed": "it is the experiment's, so that variants stay paired",
    "record": "the key figures decide what is recorded",
    "name": "variants are named by their levels",
    "description": "it changes nothing",
}


class Design(Settings):
    """Which combinations of the factors are run."""

    method: Literal["full_factorial", "latin_hypercube", "sobol"] = Field(
        "full_factorial",
        description="`full_factorial`: every level with every other; `latin_hypercube`, `sobol`: `points` drawn.",
    )
    points: Count | None = Field(None, description="Number of points of a sampled design; of `sobol` a power of 2.")

    @model_validator(mode="before")
    @classmethod
    def _by_name(cls, value: Any) -> Any:
        return {"method": value} if isinstance(value, str) else value

    @model_validator(mode="after")
    def _has_points(self) -> Self:
        if self.method == "full_factorial":
            if self.points is not None:
                raise ValueError("points: a full factorial has as many as its levels make")
        elif self.points is None:
            raise ValueError(f"{self.method} needs points")
        elif self.method == "sobol" and self.points & (self.points - 1):
            raise ValueError(
                f"points ({self.points}) of sobol is not a power of 2, without which it loses its balance; "
                f"e.g. {1 << self.points.bit_length()}"
            )
        return self


class Stop(Settings):
    """More replicas until an interval is narrow enough."""

    kpi: str = Field(min_length=1, description="Key figure whose 95 % interval counts.")
    half_width: Annotated[float, Field(gt=0.0, allow_inf_nan=False)] = Field(
        description="Half the width that the interval of every variant must reach, in the figure's unit."
    )
    of: Literal["mean", "difference"] = Field(
        "difference", description="Interval of the mean, or of the paired difference to the reference."
    )
    step: Count | None = Field(None, description="Replicas that are added at a time; by default `replicas`.")
    at_most: Count = Field(description="Replicas after which it ends in any case.")


class Experiment(Settings):
    """An experiment.

    Read one with `Experiment.load`.
    """

    name: str = Field(
        "sweep",
        max_length=80,
        pattern=r"^[\w][\w .+-]*$",
        description="Short name: letters, digits, spaces and . _ + -; names the results directory.",
    )
    description: str = Field("", description="What it asks.")
    base: str = Field(
        "lv-village", min_length=1, description="Shipped scenario, or path of a scenario relative to this file."
    )
    set: dict[str, Any] = Field(default_factory=dict, description="Changes of the base for all variants, by key path.")
    factors: dict[str, Factor] = Field(
        json_schema_extra={"minProperties": 1},
        description="By key path of the scenario: a list of values, `levels` with labels, or a `distribution`.",
    )
    design: Design = Design()
    reference: dict[str, str] = Field(
        default_factory=dict,
        description="Labels by factor of the variant that the others are compared to; by default the first variant.",
    )
    replicas: Count = Field(10, description="How often each variant is run, each time with other draws.")
    seed: Annotated[int, Strict(), Field(ge=0, lt=2**63)] = Field(1, description="Root seed of all draws.")
    kpis: tuple[str, ...] = Field(
        ("social_welfare_eur", "p2p_volume_mwh", "cost_peers_eur"),
        min_length=1,
        description="Key figures of the analysis (peerwatt.sim.kpi); `replicas.parquet` has them all.",
    )
    stop: Stop | None = Field(None, description="When to end; by default after `replicas`.")

    _base_dir: Path = PrivateAttr(default=Path())

    @field_validator("factors")
    @classmethod
    def _keys_are_free(cls, value: dict[str, Factor]) -> dict[str, Factor]:
        if not value:
            raise ValueError("there are none; name what varies, e.g. market.mechanism: [double_auction, bilateral]")
        for key in value:
            top = key.split(".")[0]
            if top in _OF_THE_EXPERIMENT:
                raise ValueError(f"'{key}' cannot be a factor: {_OF_THE_EXPERIMENT[top]}")
            inside = [other for other in value if other.startswith((f"{key}.", f"{key}["))]
            if inside:
                raise ValueError(f"'{inside[0]}' is inside of '{key}', which is a factor too")
        return value

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        drawn = [key for key, factor in self.factors.items() if factor.distribution]
        if self.design.method == "full_factorial" and drawn:
            raise ValueError(
                f"design: full_factorial needs levels, but {', '.join(drawn)} is a distribution; give levels, or take "
                "latin_hypercube or sobol"
            )
        for key, label in self.reference.items():
            if key not in self.factors:
                raise ValueError(f"reference: '{key}' is not a factor; {nearest(key, list(self.factors))}")
            levels = list(self.factors[key].levels)
            if label not in levels:
                raise ValueError(f"reference: '{label}' is not a level of {key}; {nearest(label, levels)}")
        if self.stop is not None and self.stop.at_most < self.replicas:
            raise ValueError(f"stop: at_most ({self.stop.at_most}) is below replicas ({self.replicas})")
        return self

    @classmethod
    def load(cls, source: str | Path, *, replicas: int | None = None) -> Experiment:
        """Read an experiment.

        Args:
            source: name of a shipped experiment, or path of a YAML file.
            replicas: in place of the file's.

        Raises:
            ScenarioError: nothing is found, or something in it is wrong; all faults at once.
        """
        shipped = shipped_experiments()
        path = Path(source)
        if not path.is_file():
            if str(source) not in shipped:
                remedy = f"{nearest(str(source), list(shipped))} or the path of a YAML file"
                raise ScenarioError(Fault(str(source), "there is no such experiment or file", remedy))
            path = shipped[str(source)]
        document = read_document(path)
        document.setdefault("name", path.stem)
        if replicas is not None:
            document["replicas"] = replicas
        experiment = validated(cls, document, str(source))
        experiment._base_dir = path.parent
        return experiment

    @property
    def base_source(self) -> str | Path:
        """What `Scenario.load` takes for the base: the file beside the experiment, else a name or path."""
        beside = self._base_dir / self.base
        return beside if beside.is_file() else self.base


def shipped_experiments() -> dict[str, Path]:
    """Files of the experiments that come with peerwatt, by name."""
    folder = Path(str(resources.files("peerwatt"))) / "experiments" / "sweeps"
    return {path.stem: path for path in sorted(folder.glob("*.yaml"))}
