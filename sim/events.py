"""Things that happen during a run: lines fail, taps get stuck, measurements are noisy, messages get lost.

    events:
      - {kind: line_outage, line: LV4.101 Line 35, begin: 2016-06-21 11:00, end: 2016-06-21 13:00}
      - {kind: tap_stuck, trafo: MV1.101-LV4.101-Trafo 1, tap_pos: -2, begin: 2016-06-21 06:00}
      - {kind: measurement_noise, vm_pu: 0.002, loading_percent: 1.0}
      - {kind: message_loss, loss: 0.5, begin: 2016-06-21 12:00, end: 2016-06-21 14:00}

A line or a transformer is named, or given by its index where several have its name: `line: 35`. An event acts in the
periods that start at or after its begin and before its end.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from peerwatt.agents.settings import Element, Settings

__all__ = ["Event", "LineOutage", "MeasurementNoise", "MessageLoss", "TapStuck"]


class _Event(Settings):
    """When something happens."""

    begin: datetime | None = Field(None, description="When it begins, YYYY-MM-DD HH:MM; by default with the run.")
    end: datetime | None = Field(None, description="When it ends; by default with the run.")

    @model_validator(mode="after")
    def _ends_after_it_begins(self) -> Self:
        if self.begin is not None and self.end is not None and self.end <= self.begin:
            raise ValueError(f"end ({self.end}) is not after begin ({self.begin})")
        return self

    def acts(self, time: datetime) -> bool:
        """Whether it acts in a period that starts at a time."""
        return (self.begin is None or self.begin <= time) and (self.end is None or time < self.end)


class LineOutage(_Event):
    """A line is out of service; who loses the way to the external grid has no supply."""

    kind: Literal["line_outage"] = Field("line_outage", description="`line_outage`")
    line: Element = Field(description="Name or index of the line.")


class TapStuck(_Event):
    """The tap changer of a transformer is stuck in a position."""

    kind: Literal["tap_stuck"] = Field("tap_stuck", description="`tap_stuck`")
    trafo: Element = Field(description="Name or index of the transformer.")
    tap_pos: int = Field(description="Position of the tap.")
    changer: Literal[1, 2] = Field(1, description="1 for pandapower's `tap_pos`, 2 for a second changer's `tap2_pos`.")


class MeasurementNoise(_Event):
    """What the DSO tells the peers of their connection points is measured with an error."""

    kind: Literal["measurement_noise"] = Field("measurement_noise", description="`measurement_noise`")
    vm_pu: Annotated[float, Field(ge=0.0, le=0.5)] = Field(0.0, description="Standard deviation of voltages, pu.")
    loading_percent: Annotated[float, Field(ge=0.0, le=100.0)] = Field(
        0.0, description="Standard deviation of loadings, percent."
    )


class MessageLoss(_Event):
    """Messages to and from peers get lost, a larger share of them than `communication.loss` says."""

    kind: Literal["message_loss"] = Field("message_loss", description="`message_loss`")
    loss: Annotated[float, Field(ge=0.0, le=1.0)] = Field(1.0, description="Share of messages that never arrive.")


Event = Annotated[LineOutage | TapStuck | MeasurementNoise | MessageLoss, Field(discriminator="kind")]
