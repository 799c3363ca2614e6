"""The page's controls: what of a scenario can be turned while watching, and what turning means for its keys."""

from __future__ import annotations

import inspect
import json
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Any

from peerwatt.agents.coordination import PRESETS, Service
from peerwatt.agents.policies import POLICIES
from peerwatt.market.mechanism import MECHANISMS
from peerwatt.sim.scenario import Scenario

__all__ = ["PRESET_NAMES", "Dials", "command", "takes_threshold", "with_share"]

PRESET_NAMES = {
    "": "as the scenario says",
    "cm1": "CM1  auction, LFM beside it",
    "cm2": "CM2  bilateral, LFM beside it",
    "cm3-v1": "CM3 v1  auction by signals",
    "cm3-v2": "CM3 v2  auction by signals, LFM",
    "cm4": "CM4  bilateral by signals, LFM",
    "cm5": "CM5  capacity for the DSO",
    "p2p_cong": "P2P_Cong  until nothing is congested",
    "p2p_volt": "P2P_Volt  until voltages hold",
    "p2p_freq": "P2P_Freq  the TSO asks, the DSO checks",
    "p2p_full": "P2P_Full  TSO and DSO together",
}
"""Conceptual models in words; the key of none is empty."""

_PRESET_DECIDES = ("product", "service", "scheme", "lfm", "sequence")


@dataclass(frozen=True, slots=True)
class Dials:
    """Positions of the controls; None where the scenario's own value holds.

    Attributes:
        preset: conceptual model, empty for the scenario's own coordination.
        scheme: policy of the DSO, where trades respect the grid.
        threshold_percent: loading at which the scheme begins to act.
        mechanism: how the market clears.
        max_loading_percent: limit of lines and transformers.
        pv_share, storage_share, ev_share: share of the peers with PV, with a battery, with an electric vehicle.
        strategies: shares of trading strategies.
        start: first day.
        periods: number of periods.
        seed: root seed.
        loss: share of messages that are lost during the whole run.
        cut: lines that are cut, by name or index, with the time at which each is.
        asked: what the TSO asks for: first and last period, MW, positive for regulation up.
        lost: shares of messages that are lost for a while, each with its begin and its end, None for that of the run.
    """

    preset: str | None = None
    scheme: str | None = None
    threshold_percent: float | None = None
    mechanism: str | None = None
    max_loading_percent: float | None = None
    pv_share: float | None = None
    storage_share: float | None = None
    ev_share: float | None = None
    strategies: dict[str, float] | None = None
    start: date | None = None
    periods: int | None = None
    seed: int | None = None
    loss: float | None = None
    cut: tuple[tuple[str | int, str], ...] = field(default=())
    lost: tuple[tuple[float, str, str | None], ...] = field(default=())
    asked: tuple[tuple[int, int, float], ...] = field(default=())

    def changes(self, base: Scenario) -> dict[str, Any]:
        """Values by key path that make a scenario what the controls say; only those that differ from its own.

        Args:
            base: the scenario that the page was opened with.
        """
        wanted = self._coordination(base)
        simple = {
            "grid.max_loading_percent": self.max_loading_percent,
            "population.pv_share": self.pv_share,
            "population.storage_share": self.storage_share,
            "population.ev_share": self.ev_share,
            "population.strategies": self.strategies,
            "time.start": None if self.start is None else self.start.isoformat(),
            "time.periods": self.periods,
            "communication.loss": self.loss,
            "seed": self.seed,
        }
        wanted |= {key: value for key, value in simple.items() if value is not None}
        document = base.model_dump(mode="json")
        if faults := self.events():
            wanted["events"] = [*document["events"], *faults]
        if requests := self.requests():
            wanted["tso.requests"] = [*document["tso"]["requests"], *requests]
        return {key: value for key, value in wanted.items() if _at(document, key) != value}

    def events(self) -> list[dict[str, Any]]:
        """Faults on demand as a scenario's events."""
        found: list[dict[str, Any]] = []
        for line, begin in self.cut:
            found.append({"kind": "line_outage", "line": line, "begin": begin})
        for loss, begin, end in self.lost:
            ends = {} if end is None else {"end": end}
            found.append({"kind": "message_loss", "loss": loss, "begin": begin, **ends})
        return found

    def requests(self) -> list[dict[str, Any]]:
        """What the TSO asks for on demand, as a scenario's requests."""
        return [{"from_period": first, "to_period": last, "p_mw": p_mw} for first, last, p_mw in self.asked]

    def _coordination(self, base: Scenario) -> dict[str, Any]:
        wanted: dict[str, Any] = {}
        if self.preset:
            wanted = {f"coordination.{key}": None for key in _PRESET_DECIDES}
            wanted |= {"coordination.preset": self.preset, "coordination.scheme_options": {}}
            wanted |= {"market.mechanism": None, "market.options": {}, "flexibility.participants": None}
        if self.mechanism:
            wanted |= {"market.mechanism": self.mechanism, "market.options": _needed(self.mechanism, base)}
        scheme = self.scheme
        if scheme is not None:
            wanted["coordination.scheme"] = scheme or None
            wanted["coordination.scheme_options"] = {}
            if not self.preset and base.coordination.preset is None:
                wanted["coordination.service"] = str(Service.IMPLICIT if scheme else Service.NONE)
        if self.threshold_percent is not None and takes_threshold(self.active_scheme(base)):
            options = {} if self.preset or scheme else base.coordination.scheme_options
            wanted["coordination.scheme_options"] = {**options, "threshold_percent": self.threshold_percent}
        return wanted

    def active_scheme(self, base: Scenario) -> str | None:
        """The scheme that is in force with these positions."""
        if self.scheme is not None:
            return self.scheme or None
        if self.preset:
            return PRESETS[self.preset].scheme
        return base.design().scheme

    def respects_grid(self, base: Scenario) -> bool:
        """Whether a scheme can be chosen: without a preset always, else where the preset has one."""
        preset = self.preset or base.coordination.preset
        return not preset or PRESETS[preset].service is Service.IMPLICIT


def _needed(mechanism: str, base: Scenario) -> dict[str, float]:
    """Options that a mechanism cannot do without and that are tariffs: those of the scenario."""
    needed = [
        name
        for name, parameter in inspect.signature(MECHANISMS.get(mechanism)).parameters.items()
        if parameter.default is parameter.empty
    ]
    return {name: float(getattr(base.tariff, name)) for name in needed if hasattr(base.tariff, name)}


def takes_threshold(scheme: str | None) -> bool:
    """Whether a scheme has a threshold to set."""
    return scheme is not None and "threshold_percent" in inspect.signature(POLICIES.get(scheme)).parameters


def with_share(shares: Mapping[str, float], name: str, share: float) -> dict[str, float]:
    """Shares of strategies in which one has this share, and the others keep their proportions.

    Args:
        shares: shares of all strategies in use, of any sum.
        name: whose share is set.
        share: its new share, 0 to 1.
    """
    rest = {key: value for key, value in shares.items() if key != name}
    total = sum(rest.values())
    if total == 0.0 or share >= 1.0:
        return {name: 1.0}
    found = {key: round((1.0 - share) * value / total, 4) for key, value in rest.items()} | {name: round(share, 4)}
    return {key: value for key, value in sorted(found.items()) if value > 0.0}


def command(source: str, changes: dict[str, Any], out: str = "") -> str:
    """The command line that runs a scenario with changes in batch.

    Args:
        source: name or path of the scenario.
        changes: values by key path.
        out: results directory, the default if empty.
    """
    words = ["peerwatt", "run", source]
    for key, value in changes.items():
        words += ["--set", f"{key}={value if isinstance(value, str) else json.dumps(value)}"]
    if out:
        words += ["--out", out]
    return shlex.join(words)


def _at(document: dict[str, Any], path: str) -> Any:
    """Value at a key path of a document that has all keys."""
    node: Any = document
    for key in path.split("."):
        node = node[key]
    return node
