"""How profiles are written: the unit of their values and what their times mean."""

from __future__ import annotations

from typing import Annotated, Literal, Self
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, NaiveDatetime, Strict, model_validator

__all__ = ["DAY_S", "EPOCH_FORMATS", "ProfileFormat", "Unit"]

DAY_S = 86_400

EPOCH_FORMATS: dict[str, Literal["s", "ms"]] = {"seconds since 1970": "s", "milliseconds since 1970": "ms"}
"""Values of `time_format` that are no strftime pattern, and pandas' unit for each."""

Unit = Literal[
    "MW",
    "kW",
    "W",
    "MWh per step",
    "kWh per step",
    "Wh per step",
    "pu",
    "MWh meter reading",
    "kWh meter reading",
    "Wh meter reading",
]

_PREFIX = {"M": 1.0, "k": 1e-3, "W": 1e-6}


def _known_zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (KeyError, OSError, ValueError):  # a name that is none may be a path that cannot be opened
        raise ValueError(f"'{name}' is no time zone; write UTC, or e.g. Europe/Berlin") from None
    return name


def _known_pattern(text: str) -> str:
    if text not in EPOCH_FORMATS and "%" not in text:
        words = ", ".join(f"'{each}'" for each in EPOCH_FORMATS)
        raise ValueError(f"'{text}' is no time format; write a pattern such as '%d.%m.%Y %H:%M', or {words}")
    return text


def _divides_the_day(step_s: int) -> int:
    if DAY_S % step_s:
        raise ValueError(f"{step_s} s does not divide the day of {DAY_S} s")
    return step_s


class ProfileFormat(BaseModel):
    """How the profiles of a grid are written; without any key in MW, with times that are recognised."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)

    unit: Unit | None = Field(
        None,
        description="Unit of the values (Mvar, kvar and so on for reactive power). `pu` is a share of the element's "
        "`p_mw` or `q_mvar` in the net; a meter reading is the energy counted so far. By default MW, and then values "
        "that fit another unit much better are refused; where it is given they are warned of.",
    )
    time_column: Annotated[str, Field(min_length=1)] | None = Field(
        None, description="Header of the column of times; by default `time`, or another that says so."
    )
    time_format: Annotated[str, Field(min_length=1), AfterValidator(_known_pattern)] | None = Field(
        None,
        description="How times are written: a strftime pattern such as `%d.%m.%Y %H:%M`, `seconds since 1970` or "
        "`milliseconds since 1970`; by default ISO 8601 or another form that can mean one thing only.",
    )
    time_zone: Annotated[str, AfterValidator(_known_zone)] | None = Field(
        None,
        description="Zone of the times, e.g. `Europe/Berlin`. The simulation then runs in its standard time: the hour "
        "of summer time is taken off, so that all days have 24 h. By default times are taken as they stand.",
    )
    start: NaiveDatetime | None = Field(
        None, description="When the first row begins, for profiles without times; needs `step_s`."
    )
    step_s: Annotated[int, Strict(), Field(ge=1, le=DAY_S), AfterValidator(_divides_the_day)] | None = Field(
        None, description="Length of a row, seconds, for profiles without times; needs `start`."
    )

    @model_validator(mode="after")
    def _times_are_said_once(self) -> Self:
        if (self.start is None) != (self.step_s is None):
            missing, given = ("start", "step_s") if self.start is None else ("step_s", "start")
            raise ValueError(f"{given} needs {missing}: both are for profiles without times")
        said = [key for key in ("time_column", "time_format", "time_zone") if getattr(self, key) is not None]
        if self.start is not None and said:
            raise ValueError(f"start is for profiles without times, {said[0]} for those with; leave one out")
        return self

    @property
    def unit_or_mw(self) -> Unit:
        """Unit of the values."""
        return self.unit or "MW"

    @property
    def per_unit(self) -> bool:
        """Whether values are shares of the net's power."""
        return self.unit == "pu"

    @property
    def counts(self) -> bool:
        """Whether values are readings of a meter, whose differences are energy."""
        return self.unit_or_mw.endswith("reading")

    def key(self) -> str:
        """Text that is the same for the same reading of a file."""
        return self.model_dump_json(include=set(ProfileFormat.model_fields))

    def to_mw(self, step_s: int) -> float:
        """By what values (of meters their differences) are multiplied to be MW or Mvar; 1 for `pu`.

        Args:
            step_s: length of a row.
        """
        unit = self.unit_or_mw
        if unit == "pu":
            return 1.0
        return _PREFIX[unit[0]] * (3600.0 / step_s if "Wh" in unit else 1.0)
