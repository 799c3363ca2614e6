"""Where the TSO's requests for frequency regulation come from: given beforehand, or by the frequency itself.

Marques et al., section IV-B: the TSO asks for regulation by a virtual load before the power transformer, positive for
regulation up, when peers are to feed in more, and negative for regulation down. The paper gives the requests;
`FrequencyLoop` makes them of the imbalance that a period ended with:

    before_k  = forecast error of the area_k + imbalance of the rest of the system_k
    after_k   = before_k + regulation that the area has provided_k      ->  frequency of period k
    request_k+1 = -share before_k, at most the cap, where before_k alone takes the frequency out of the dead band

A request is of the imbalance before regulation: of the one after, what helps would be given up the next period, and
the frequency would be out of its band every other one. The TSO need not be told it: the frequency rises with the
balance, so that it tells the one after, and what was bought is known.

A request comes one period late. Where imbalances last, with correlation phi from one period to the next, a share s
leaves sqrt(1 + s^2 - 2 s phi) of their standard deviation (without dead band and cap): least for s = phi, and more
than without regulation for s above 2 phi.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Protocol

import numpy as np
from pydantic import AfterValidator, Field, model_validator

from peerwatt.agents.settings import Correlation, Price, Settings
from peerwatt.grid.frequency import FrequencyModel, extreme_deviation_hz, steady_deviation_hz

__all__ = [
    "FrequencyLoop",
    "FrequencyRecord",
    "FrequencySettings",
    "GivenRequests",
    "RegulationRequest",
    "RegulationSource",
    "TsoSettings",
    "regulation_source",
]

_USUAL = FrequencyModel()


def _not_nothing(p_mw: float) -> float:
    if p_mw == 0.0:
        raise ValueError("asks for nothing; above 0 for regulation up, below 0 for down")
    return p_mw


RequestedPower = Annotated[float, Field(ge=-10_000.0, le=10_000.0, allow_inf_nan=False), AfterValidator(_not_nothing)]
Seconds = Annotated[float, Field(gt=0.0, le=1_000.0)]
Deviation = Annotated[float, Field(ge=0.0, le=5.0)]


class RegulationRequest(Settings):
    """Regulation that the TSO asks for in a stretch of periods."""

    from_period: int = Field(ge=0, description="First period, counted from 0 at the start of the run.")
    to_period: int = Field(ge=0, description="Last period; it belongs to the request.")
    p_mw: RequestedPower = Field(
        description="The virtual load, MW: above 0 for regulation up (peers feed in more or draw less), below 0 for "
        "regulation down."
    )
    price_eur_per_mwh: Price | None = Field(
        None, description="Limit price of this request, EUR/MWh; by default that of the section for its direction."
    )

    @model_validator(mode="after")
    def _ends_after_it_begins(self) -> RegulationRequest:
        if self.to_period < self.from_period:
            raise ValueError(f"to_period ({self.to_period}) is before from_period ({self.from_period})")
        return self


class FrequencySettings(Settings):
    """The synchronous system that the grid hangs on, and when the TSO asks for regulation."""

    system_mw: Annotated[float, Field(gt=0.0, le=10_000_000.0)] = Field(
        _USUAL.system_mw, description="Load of the synchronous system, and rated power of the plants that run, MW."
    )
    nominal_hz: Annotated[float, Field(gt=0.0, le=1_000.0)] = Field(
        _USUAL.nominal_hz, description="Nominal frequency, Hz."
    )
    inertia_s: Seconds = Field(_USUAL.inertia_s, description="Inertia constant H, s, of `system_mw`.")
    damping: Annotated[float, Field(gt=0.0, le=10.0)] = Field(
        _USUAL.damping, description="Share of the load that goes per share of the frequency (1: 1 percent each)."
    )
    droop_percent: Annotated[float, Field(gt=0.0, le=1_000.0)] = Field(
        _USUAL.droop_percent,
        description="Deviation of the frequency, percent, that calls `system_mw` of primary control.",
    )
    governor_s: Seconds = Field(_USUAL.governor_s, description="Time constant of governors and turbines, s.")
    governor_deadband_hz: Deviation = Field(
        _USUAL.governor_deadband_hz, description="Deviation up to which governors do nothing, Hz."
    )
    reserve_mw: Annotated[float, Field(ge=0.0, le=10_000_000.0)] = Field(
        _USUAL.reserve_mw, description="Most primary control power in either direction, MW."
    )
    deadband_hz: Deviation = Field(
        0.05, description="Quasi-steady deviation, Hz, up to which the TSO does not ask for regulation."
    )
    share: Annotated[float, Field(gt=0.0, le=1.0)] = Field(
        0.2,
        description="Share of the system's imbalance that the TSO asks this area for, above 0 to 1; more than twice "
        "the correlation of the imbalance does harm, as requests come one period late.",
    )
    most_mw: Annotated[float, Field(gt=0.0, le=10_000.0)] = Field(
        5.0, description="Most that the TSO asks this area for in either direction, MW."
    )
    system_imbalance_std_mw: Annotated[float, Field(ge=0.0, le=1_000_000.0)] = Field(
        10.0, description="Standard deviation of the imbalance of the rest of the system, MW."
    )
    system_imbalance_correlation: Correlation = Field(
        0.9, description="Correlation of that imbalance between consecutive periods, 0 to below 1."
    )

    def model(self) -> FrequencyModel:
        """The physical part."""
        return FrequencyModel(
            system_mw=self.system_mw,
            nominal_hz=self.nominal_hz,
            inertia_s=self.inertia_s,
            damping=self.damping,
            droop_percent=self.droop_percent,
            governor_s=self.governor_s,
            governor_deadband_hz=self.governor_deadband_hz,
            reserve_mw=self.reserve_mw,
        )


class TsoSettings(Settings):
    """What the TSO asks the peers for; without requests and without `frequency` it asks for nothing."""

    requests: tuple[RegulationRequest, ...] = Field(
        (), description="Regulation that is asked for whatever happens; stretches of periods that do not overlap."
    )
    frequency: FrequencySettings | None = Field(
        None, description="The frequency decides what is asked for, in place of `requests`; none is off."
    )
    price_eur_per_mwh: Price = Field(
        150.0, description="What the TSO pays at most for 1 MWh of regulation up, EUR/MWh."
    )
    price_down_eur_per_mwh: Price = Field(
        0.0,
        description="What the TSO wants at least for 1 MWh that peers take as regulation down, EUR/MWh; below 0 it "
        "pays them.",
    )

    @model_validator(mode="after")
    def _says_one_thing_at_a_time(self) -> TsoSettings:
        if self.requests and self.frequency is not None:
            raise ValueError(
                "requests and frequency are both given: a period has one virtual load, and it is either given or "
                "follows the frequency; leave one of them out"
            )
        clashes = _overlaps(self.requests)
        if clashes:
            raise ValueError("; ".join([*clashes, "a period has one virtual load"]))
        return self

    @property
    def active(self) -> bool:
        """Whether the TSO asks for anything at all."""
        return bool(self.requests) or self.frequency is not None

    def price_of(self, p_mw: float) -> float:
        """The TSO's limit price for a virtual load, EUR/MWh."""
        return self.price_down_eur_per_mwh if p_mw < 0.0 else self.price_eur_per_mwh


def _overlaps(requests: Sequence[RegulationRequest]) -> list[str]:
    """Requests that share a period, two at a time, by their number in the list."""
    order = sorted(range(len(requests)), key=lambda number: requests[number].from_period)
    found = []
    for longest, number in zip(_longest_so_far(requests, order), order[1:], strict=False):
        if requests[number].from_period <= requests[longest].to_period:
            names = (f"requests.{each} ({_stretch(requests[each])})" for each in sorted((longest, number)))
            found.append(f"{' and '.join(names)} overlap")
    return found


def _longest_so_far(requests: Sequence[RegulationRequest], order: Sequence[int]) -> list[int]:
    """For each place in an order, who up to there ends last."""
    ends: list[int] = []
    for number in order:
        ends.append(max([*ends[-1:], number], key=lambda each: requests[each].to_period))
    return ends


def _stretch(request: RegulationRequest) -> str:
    return f"periods {request.from_period} to {request.to_period}"


@dataclass(frozen=True, slots=True)
class FrequencyRecord:
    """The frequency of one period, with and without the regulation that peers provided; nan where nobody models it.

    Attributes:
        period: number of the period.
        imbalance_mw: generation less load of the system before regulation.
        provided_mw: regulation that peers provided, positive up.
        deviation_hz: quasi-steady deviation, regulation and primary control included.
        deviation_without_hz: what it would have been with primary control alone.
        nadir_hz: the deviation furthest from 0 on the way there, from that of the period before.
        request_mw: the virtual load of the next period.
    """

    period: int
    imbalance_mw: float
    provided_mw: float
    deviation_hz: float
    deviation_without_hz: float
    nadir_hz: float
    request_mw: float


class RegulationSource(Protocol):
    """Says what the TSO asks for, and is told what came of it."""

    def request(self, period: int) -> tuple[float, float]:
        """The virtual load of a period, MW, positive for regulation up, and the TSO's limit price, EUR/MWh."""

    def note(self, period: int, area_imbalance_mw: float, provided_mw: float) -> FrequencyRecord:
        """Told once per period, in order, after delivery.

        Args:
            period: number of the period.
            area_imbalance_mw: what the area has fed in less what it was scheduled to, with the regulation that it
                sold in the schedule: a provider that does not deliver is part of it.
            provided_mw: by how much the request has raised the scheduled feed-in, positive for regulation up. What
                would have been fed in anyway is no help to the system, whoever buys it.
        """


class GivenRequests:
    """Requests that are known beforehand, as those of Marques et al., figure 10.

    Args:
        settings: the requests and their prices.
    """

    def __init__(self, settings: TsoSettings) -> None:
        self._settings = settings
        self._requests = sorted(settings.requests, key=lambda request: request.from_period)
        self._begins = [request.from_period for request in self._requests]

    def request(self, period: int) -> tuple[float, float]:
        """What was given for the period, else nothing."""
        row = bisect_right(self._begins, period) - 1
        if row < 0 or period > self._requests[row].to_period:
            return 0.0, self._settings.price_of(0.0)
        request = self._requests[row]
        own = request.price_eur_per_mwh
        return request.p_mw, self._settings.price_of(request.p_mw) if own is None else own

    def note(self, period: int, area_imbalance_mw: float, provided_mw: float) -> FrequencyRecord:
        """Without a system there is no frequency; the imbalance is that of the area."""
        following = self.request(period + 1)[0]
        return FrequencyRecord(period, area_imbalance_mw, provided_mw, math.nan, math.nan, math.nan, following)


class FrequencyLoop:
    """Requests that follow the frequency, one period behind it.

    Within a period the imbalance is constant and primary control alone acts: the deviation is the quasi-steady one.

    Args:
        settings: the system, and when to ask for how much.
        tso: the prices.
        rng: stream of its own; one normal draw per period, whatever the settings.
    """

    def __init__(self, settings: FrequencySettings, tso: TsoSettings, rng: np.random.Generator) -> None:
        self._settings, self._tso, self._rng = settings, tso, rng
        self._model = settings.model()
        self._rest: list[float] = []  # imbalance of the rest of the system, in standard deviations, by period
        self._balance_mw = 0.0  # of the period before, regulation included
        self._next = (0, 0.0)  # period and request

    def request(self, period: int) -> tuple[float, float]:
        """What the period before calls for; nothing where it has not been noted."""
        p_mw = self._next[1] if self._next[0] == period else 0.0
        return p_mw, self._tso.price_of(p_mw)

    def note(self, period: int, area_imbalance_mw: float, provided_mw: float) -> FrequencyRecord:
        """The frequency of the period, and the request of the next one."""
        before = area_imbalance_mw + self._settings.system_imbalance_std_mw * self._rest_at(period)
        after = before + provided_mw
        without, deviation = (float(each) for each in steady_deviation_hz(self._model, [before, after]))
        furthest = float(extreme_deviation_hz(self._model, after, self._balance_mw))
        most = self._settings.most_mw
        outside = abs(without) > self._settings.deadband_hz
        request = min(max(-self._settings.share * before, -most), most) if outside else 0.0
        self._balance_mw, self._next = after, (period + 1, request)
        return FrequencyRecord(period, before, provided_mw, deviation, without, furthest, request)

    def _rest_at(self, period: int) -> float:
        """The first-order autoregressive process at a period, the same whatever was asked for before."""
        phi = self._settings.system_imbalance_correlation
        while len(self._rest) <= period:
            drawn = float(self._rng.standard_normal())
            # The first is drawn from the stationary distribution.
            self._rest.append(phi * self._rest[-1] + math.sqrt(1.0 - phi**2) * drawn if self._rest else drawn)
        return self._rest[period]


def regulation_source(settings: TsoSettings, rng: np.random.Generator) -> RegulationSource:
    """Who decides what the TSO asks for.

    Args:
        settings: the section of the scenario.
        rng: stream of the rest of the system's imbalance; unused where requests are given.
    """
    if settings.frequency is None:
        return GivenRequests(settings)
    return FrequencyLoop(settings.frequency, settings, rng)
