"""What the study runs: the paper's scenarios as changes to the benchmark day.

In scenarios 4 and 5 generation must run at its forecast ("the RES do not have flexibility"), and the TSO asks for what
the benchmark spills. With its flexibility and the same request the dispatch of scenario 4 is the same:
run `4 flexible`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

__all__ = ["BASE", "HOUR", "HOURS", "MUST_RUN", "RUNS", "TSO_PRICE", "Run", "requests"]

BASE = "tso-dso"
"""Shipped scenario of the benchmark day."""

HOUR = 12
"""The hour of scenario 5, counted from 1."""

HOURS = 24
"""Length of a run."""

TSO_PRICE = 3.1
"""What the TSO pays at most, EUR/MWh: more than wind and sun cost (3.01), less than a load's last MWh is worth (3.2).

So its virtual load takes what nobody else wants. In the paper it has no utility, and no price either.
"""

_SPILL = 1e-3  # MW, below which nothing is asked for

MUST_RUN: dict[str, Any] = {"population.costs.pv.low": 1.0, "population.costs.wind.low": 1.0}
"""Wind and sun have no flexibility."""


@dataclass(frozen=True, slots=True)
class Run:
    """One run of a scenario.

    Attributes:
        name: scenario of the paper, with `before` where the market disregards what is short.
        text: what it is.
        changes: to the benchmark.
        asked: whether the TSO asks for the spill of the benchmark.
        only: the one hour that counts, counted from 1; None for the whole day. The hours before it are run too.
    """

    name: str
    text: str
    changes: Mapping[str, Any] = field(default_factory=dict)
    asked: bool = False
    only: int | None = None

    def scenario_changes(self, spill_mw: Sequence[float]) -> dict[str, Any]:
        """All changes to the benchmark.

        Args:
            spill_mw: what the benchmark does not use of wind and sun, by hour.
        """
        asked = {"tso.requests": requests(spill_mw), "tso.price_eur_per_mwh": TSO_PRICE} if self.asked else {}
        return {"time.periods": self.only or HOURS, **self.changes, **asked, "name": f"tso-dso {self.name}"}


def requests(spill_mw: Sequence[float]) -> list[dict[str, Any]]:
    """The TSO's requests, an hour each."""
    return [
        {"from_period": hour, "to_period": hour, "p_mw": round(float(p_mw), 6)}
        for hour, p_mw in enumerate(spill_mw)
        if p_mw > _SPILL
    ]


_SMALL_TRAFO = {"grid.trafo_capacity_factor": 1.0 / 3.0}
_THIN_LINES = {"grid.line_capacity_factor": 0.5}
_LONG_LINES = {"grid.line_impedance_factor": 3.0}
_EXTREME = {**MUST_RUN, "grid.line_capacity_factor": 0.5, "grid.line_impedance_factor": 5.0}


def _preset(name: str, **options: Any) -> dict[str, Any]:
    chosen: dict[str, Any] = {"coordination.preset": name}
    if options:
        chosen["coordination.scheme_options"] = options
    return chosen


RUNS: tuple[Run, ...] = (
    Run("benchmark", "the grid does not count"),
    Run("1 before", "transformer with a third of its capacity", _SMALL_TRAFO),
    Run("1", "the same with P2P_Cong", {**_SMALL_TRAFO, **_preset("p2p_cong")}),
    Run("2 before", "lines with half of their capacity", _THIN_LINES),
    Run("2", "the same with P2P_Cong", {**_THIN_LINES, **_preset("p2p_cong")}),
    Run("3 before", "lines with three times their impedance", _LONG_LINES),
    Run("3", "the same with P2P_Volt", {**_LONG_LINES, **_preset("p2p_volt", reactive=False)}),
    Run("3 reactive", "and with control of reactive power", {**_LONG_LINES, **_preset("p2p_volt", reactive=True)}),
    Run("4", "P2P_Freq: the TSO asks for what the benchmark spills", {**MUST_RUN, **_preset("p2p_freq")}, asked=True),
    Run("4 flexible", "the same, with wind and sun that need not run", _preset("p2p_freq"), asked=True),
    Run("5 before", "scenario 4, lines half as strong and five times as long", {**_EXTREME, **_preset("p2p_freq")},
        asked=True, only=HOUR),
    # The least penalty of the usual search, 2.5 EUR/MWh, is nearly the price of wind and sun: too much here.
    Run("5", "the same with P2P_Full", {**_EXTREME, **_preset("p2p_full", c_eur_per_mwh=0.1)}, asked=True, only=HOUR),
)  # fmt: skip
"""All runs, the benchmark first."""
