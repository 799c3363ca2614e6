"""What a scenario says of the grid, of time, of the market and of communication.

Each field's description becomes the documentation of the file and its JSON Schema (`peerwatt schema`).
"""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, Strict, ValidationInfo, field_validator, model_validator

from peerwatt.agents.conducts import CONDUCTS
from peerwatt.agents.settings import Settings
from peerwatt.errors import ScenarioError
from peerwatt.grid.engine import ENGINES
from peerwatt.grid.profile_format import ProfileFormat
from peerwatt.market.mechanism import MECHANISMS, make_mechanism
from peerwatt.registry import construct
from peerwatt.sim.plugins import load_plugin

__all__ = ["CommunicationSettings", "GridSettings", "MarketSettings", "Plugin", "ProfileSettings", "TimeSettings"]

DAY_S = 86_400
MIN_PERIOD_S = 60

Factor = Annotated[float, Field(gt=0.0, le=1000.0)]


class ProfileSettings(ProfileFormat):
    """Where profiles are and how they are written; a path alone is the same as `file`."""

    file: Path = Field(description="CSV or Parquet file, relative to the scenario file.")


def _path_is_file(value: Any) -> Any:
    """The short form: a path in place of a group."""
    return {"file": value} if isinstance(value, str | Path) else value


Profiles = Annotated[
    ProfileSettings | None,
    BeforeValidator(_path_is_file, json_schema_input_type=Path | ProfileSettings | None),
]


class GridSettings(Settings):
    """Which grid, and what it may carry."""

    case: str = Field(
        "simbench:1-LV-semiurb4--2-sw",
        min_length=1,
        description="`simbench:CODE` for a SimBench grid with its year of profiles, or the path of a pandapower net "
        "as JSON, relative to the scenario file.",
    )
    profiles: Profiles = Field(
        None,
        description="CSV or Parquet file with a column `time` and columns such as `load.House 3.p_mw`, in MW; relative "
        "to the scenario file. Or a group of the keys below, for other units and times. Without it the loads of a "
        "JSON net stay as they are.",
    )
    engine: str = Field("power-grid-model", description="What solves the AC power flow.")
    min_vm_pu: Annotated[float, Field(gt=0.0, lt=2.0)] | None = Field(
        None,
        description="Lower voltage limit of all buses, pu; by default that of the net, 0.9 where it has none.",
    )
    max_vm_pu: Annotated[float, Field(gt=0.0, lt=2.0)] | None = Field(
        None,
        description="Upper voltage limit of all buses, pu; by default that of the net, 1.1 where it has none.",
    )
    max_loading_percent: Annotated[float, Field(gt=0.0, le=1000.0)] | None = Field(
        None,
        description="Loading limit of all lines and transformers, percent; by default that of the net, or 100.",
    )
    line_capacity_factor: Factor = Field(1.0, description="By what the rating of all lines is multiplied.")
    line_impedance_factor: Factor = Field(1.0, description="By what the impedance of all lines is multiplied.")
    trafo_capacity_factor: Factor = Field(
        1.0, description="By what the rated power of all transformers is multiplied; their impedance in ohm stays."
    )
    on_divergence: Literal["continue", "stop"] = Field(
        "continue", description="What to do when a power flow has no solution: record it and go on, or stop."
    )

    @field_validator("engine")
    @classmethod
    def _is_installed(cls, value: str) -> str:
        return ENGINES.known(value)

    @model_validator(mode="after")
    def _band_is_open(self) -> Self:
        if self.min_vm_pu is not None and self.max_vm_pu is not None and self.min_vm_pu >= self.max_vm_pu:
            raise ValueError(f"min_vm_pu ({self.min_vm_pu:g}) is not below max_vm_pu ({self.max_vm_pu:g})")
        return self


class TimeSettings(Settings):
    """When, and in which steps."""

    start: date = Field(date(2016, 6, 21), description="First day, YYYY-MM-DD; SimBench's year is 2016.")
    periods: Annotated[int, Strict(), Field(ge=1, le=1_000_000)] = Field(96, description="Number of market periods.")
    period_s: Annotated[int, Strict(), Field(ge=MIN_PERIOD_S, le=DAY_S)] = Field(
        900, description="Length of a market period, seconds; must divide the day (900 is 15 minutes)."
    )

    @field_validator("period_s")
    @classmethod
    def _divides_the_day(cls, value: int) -> int:
        if DAY_S % value:
            near = min((s for s in range(MIN_PERIOD_S, DAY_S + 1) if DAY_S % s == 0), key=lambda s: abs(s - value))
            raise ValueError(
                f"{value} s does not divide the day of {DAY_S} s; the nearest length that does is {near} s"
            )
        return value


class MarketSettings(Settings):
    """How peers trade with each other."""

    mechanism: str | None = Field(
        None,
        description="`double_auction` (uniform price, run by a mediator), `bilateral` (equilibrium of bilateral "
        "trading), another shipped one (docs/mechanisms.md), or one's own; by default as `coordination.preset` says, "
        "else `pairwise` (each seller with each buyer) where the DSO gives an auction signals, else `double_auction`.",
    )
    options: dict[str, Any] = Field(
        default_factory=dict, description="Options of the mechanism, e.g. `k: 0.5` for the double auction."
    )
    conduct: str = Field(
        "truthful",
        description="What the mediator does beyond its auction: `truthful` (nothing), `inc_dec` (congests the grid and "
        "sells the relief, docs/strategic-conduct.md), or one's own.",
    )
    conduct_options: dict[str, Any] = Field(
        default_factory=dict, description="Options of the conduct, e.g. `probe: 0.1` for `inc_dec`."
    )

    @field_validator("mechanism")
    @classmethod
    def _is_installed(cls, value: str | None) -> str | None:
        return None if value is None else MECHANISMS.known(value)

    @field_validator("conduct")
    @classmethod
    def _conduct_is_known(cls, value: str) -> str:
        return CONDUCTS.known(value)

    @model_validator(mode="after")
    def _takes_the_options(self) -> Self:
        try:
            construct(CONDUCTS, self.conduct, self.conduct_options)
            if self.mechanism is not None:
                make_mechanism(self.mechanism, **self.options)
        except ScenarioError as error:
            raise ValueError("; ".join(str(fault) for fault in error.faults)) from None
        return self


class CommunicationSettings(Settings):
    """How messages between peers and the operators travel."""

    fidelity: Literal["message", "round"] = Field(
        "message",
        description="`message`: each message travels on its own; `round`: equal messages travel as one batch of "
        "arrays, with the same result. Use `round` for thousands of peers.",
    )
    latency_s: Annotated[int, Strict(), Field(ge=0, le=DAY_S)] = Field(1, description="Time under way, whole seconds.")
    jitter_s: Annotated[int, Strict(), Field(ge=0, le=DAY_S)] = Field(
        0, description="Largest extra time under way, whole seconds; uniform."
    )
    loss: Annotated[float, Field(ge=0.0, le=1.0)] = Field(0.0, description="Share of messages that never arrive.")


def _loaded(source: str, info: ValidationInfo) -> str:
    try:
        load_plugin(source, (info.context or {}).get("base", Path()))
    except ScenarioError as error:
        raise ValueError("; ".join(str(fault) for fault in error.faults)) from None
    return source


Plugin = Annotated[str, Field(min_length=1), AfterValidator(_loaded)]
