"""Scenarios: everything that a run depends on, in one immutable value with a YAML form.

Each field's description becomes the documentation of the file and its JSON Schema (`peerwatt schema`).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from datetime import datetime, timedelta
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Self

import yaml
from pydantic import Field, PrivateAttr, Strict, field_validator, model_validator

from peerwatt.agents.conducts import CONDUCTS, Conduct, Truthful
from peerwatt.agents.coordination import CoordinationSettings, Design, LfmSettings, Participant, Sequence, Service
from peerwatt.agents.policies import IterativePolicy
from peerwatt.agents.regulation import TsoSettings
from peerwatt.agents.settings import ForecastSettings, PopulationSettings, Settings, TariffSettings
from peerwatt.agents.timetable import Timetable
from peerwatt.errors import Fault, ScenarioError
from peerwatt.grid.cases import resolved_case
from peerwatt.market.mechanism import BookKind, Mechanism, make_mechanism
from peerwatt.market.negotiation import Negotiating
from peerwatt.registry import construct, nearest
from peerwatt.sim.events import Event
from peerwatt.sim.plugins import load_plugin, plugin_digest, resolved_plugin
from peerwatt.sim.reading import read_document, set_path
from peerwatt.sim.settings import CommunicationSettings, GridSettings, MarketSettings, Plugin, TimeSettings
from peerwatt.sim.tables import STAGES, TABLES, Stage
from peerwatt.validation import validated

__all__ = ["Scenario", "shipped_scenarios"]

_LEAST_PROPOSALS = 20  # in which a negotiation can come to anything


class Scenario(Settings):
    """Everything that a run depends on.

    Read one with `Scenario.load`, change it with `scenario.replace(**{"population.pv_share": 0.6})`.
    """

    name: str = Field(
        "scenario",
        max_length=80,
        pattern=r"^[\w][\w .+-]*$",
        description="Short name: letters, digits, spaces and . _ + -; names the results directory.",
    )
    description: str = Field("", description="What it shows, for the report.")
    plugins: tuple[Plugin, ...] = Field(  # before all that may name what they register
        (),
        description="Python files, relative to the scenario file, or modules that can be imported, whose code is run "
        "first: strategies, mechanisms, policies and engines that it registers can be named (docs/own-strategy.md).",
    )
    grid: GridSettings = GridSettings()
    time: TimeSettings = TimeSettings()
    population: PopulationSettings = PopulationSettings()
    market: MarketSettings = MarketSettings()
    coordination: CoordinationSettings = CoordinationSettings()
    flexibility: LfmSettings = LfmSettings()
    tso: TsoSettings = TsoSettings()
    tariff: TariffSettings = TariffSettings()
    forecast: ForecastSettings = ForecastSettings()
    communication: CommunicationSettings = CommunicationSettings()
    events: tuple[Event, ...] = Field(
        (), description="What happens on the way: `line_outage`, `tap_stuck`, `measurement_noise`, `message_loss`."
    )
    record: tuple[str, ...] = Field(
        tuple(name for name in TABLES if name != "peer"), description="Tables to write; `peer` and `period` always are."
    )
    seed: Annotated[int, Strict(), Field(ge=0, lt=2**63)] = Field(1, description="Root seed of all random streams.")

    _base: Path = PrivateAttr(default=Path())

    @field_validator("record", "plugins", mode="before")
    @classmethod
    def _one_is_a_list_too(cls, value: Any) -> Any:
        return (value,) if isinstance(value, str) else value

    @field_validator("record")
    @classmethod
    def _tables_exist(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for name in value:
            if name not in TABLES:
                raise ValueError(f"'{name}' is not a table; tables: {', '.join(TABLES)}")
        return tuple(name for name in TABLES if name in value)

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        try:
            design = self.design()
            timetable = Timetable.of(design, self.time.period_s, tso=self.tso.active)
            if isinstance(design.policy(), IterativePolicy):
                self._leaves_time(timetable)
        except ScenarioError as error:
            raise ValueError("; ".join(str(fault) for fault in error.faults)) from None
        participants = self.participants
        if design.lfm and set(participants) <= {Participant.OUTSIDE} and not self.flexibility.outside:
            raise ValueError(
                "flexibility.participants: nobody can offer flexibility; let `peers` take part, or give resources in "
                "flexibility.outside"
            )
        if design.lfm and Participant.MEDIATOR in participants and self.build_mechanism().book is not BookKind.STEPS:
            raise ValueError(
                f"flexibility.participants: mediator, but in bilateral trading (market.mechanism '{self.mechanism}') "
                "there is none"
            )
        if Participant.MEDIATOR in participants and Participant.PEERS in participants:
            raise ValueError("flexibility.participants: peers and mediator: the same flexibility would be sold twice")
        if self.market.conduct != "truthful" and self.build_mechanism().book is not BookKind.STEPS:
            raise ValueError(
                f"market.conduct: {self.market.conduct} is a mediator's, but in bilateral trading (market.mechanism "
                f"'{self.mechanism}') there is none"
            )
        if self.market.conduct != "truthful" and design.lfm and design.sequence is Sequence.ITERATIVE:
            raise ValueError(
                f"market.conduct: {self.market.conduct} with coordination.sequence iterative: what the flexibility "
                "market has undone would be scheduled again in the next cycle; choose p2p_first"
            )
        if self.flexibility.outside and not design.lfm:
            raise ValueError(
                "flexibility.outside: resources without a flexibility market; set coordination.lfm to true"
            )
        return self

    def _leaves_time(self, timetable: Timetable) -> None:
        """Whether what the DSO says in a round is there before the market calls in it, and peers can negotiate then.

        Raises:
            ScenarioError: it is not, or they can not.
        """
        link, rounds = self.communication, timetable.rounds
        late_s, problem = link.latency_s + link.jitter_s, ""
        gap_s, open_s = (
            min(each) for each in zip(*((r.call_s - r.signal_s, r.gate_s - r.call_s) for r in rounds), strict=True)
        )
        if gap_s <= late_s:
            problem = f"messages take up to {late_s} s, but a round leaves {gap_s} s for them"
        elif isinstance(self.build_mechanism(), Negotiating) and open_s < _LEAST_PROPOSALS * max(late_s, 1):
            problem = f"a round leaves {open_s} s to negotiate, less than {_LEAST_PROPOSALS} proposals take"
        if problem:
            raise ScenarioError(Fault("coordination.rounds", problem, "take fewer rounds or longer periods"))

    @property
    def mechanism(self) -> str:
        """Name of the mechanism, the preset's if the market names none."""
        return self.market.mechanism or self.coordination.default_mechanism

    def build_mechanism(self) -> Mechanism:
        """Make the mechanism."""
        return make_mechanism(self.mechanism, **self.market.options)

    def build_conduct(self) -> Conduct:
        """Make the mediator's conduct; truthful where it could not sell what it undoes, since then it cannot gain.

        It cannot where it does not take part in the flexibility market, or where that market starts from the state
        before trading (sequences `lfm_first` and `unrelated`).
        """
        design = self.design()
        sells = design.lfm and Participant.MEDIATOR in self.participants and design.sequence is Sequence.P2P_FIRST
        return construct(CONDUCTS, self.market.conduct, self.market.conduct_options) if sells else Truthful()

    def design(self) -> Design:
        """How market and grid are brought together."""
        return self.coordination.design(self.mechanism, self.build_mechanism())

    @property
    def participants(self) -> tuple[Participant, ...]:
        """Who may offer flexibility."""
        return self.flexibility.participants or self.coordination.default_participants

    @property
    def stages(self) -> tuple[str, ...]:
        """Stages of a period; `final` only where flexibility is bought or capacity traded."""
        design = self.design()
        flexible = design.lfm or design.service is Service.EXPLICIT
        return tuple(stage for stage in STAGES if stage is not Stage.FINAL or flexible)

    @classmethod
    def load(cls, source: str | Path = "lv-village", changes: Mapping[str, Any] | None = None) -> Scenario:
        """Read a scenario.

        Args:
            source: name of a shipped scenario, or path of a YAML file.
            changes: values by key path, as `replace` takes them.

        Raises:
            ScenarioError: nothing is found, or something in it is wrong; all faults at once.
        """
        path = _find(source)
        document = read_document(path)
        _change(document, changes or {})
        document.setdefault("name", path.stem)
        return validated(cls, document, str(source), context={"base": path.parent}).at(path.parent)

    def replace(self, changes: Mapping[str, Any] | None = None, /, **more: Any) -> Scenario:
        """Return a scenario with some values changed.

        Args:
            changes: values by key path, e.g. ``{"population.pv_share": 0.6, "time.periods": 8}``.
            **more: the same for keys at the top, e.g. ``seed=2``.

        Raises:
            ScenarioError: an unknown key or a wrong value.
        """
        document = self.model_dump(mode="json")
        _change(document, {**(changes or {}), **more})
        return validated(Scenario, document, self.name, context={"base": self._base}).at(self._base)

    def to_yaml(self) -> str:
        """The scenario as YAML with every default written out."""
        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False, allow_unicode=True)

    def resolved(self) -> Scenario:
        """The scenario with paths that do not depend on where it is read."""
        profiles = self.grid.profiles
        if profiles is not None:
            profiles = profiles.model_copy(update={"file": (self._base / profiles.file).resolve()})
        case = resolved_case(self.grid.case, self._base)
        plugins = tuple(resolved_plugin(each, self._base) for each in self.plugins)
        grid = self.grid.model_copy(update={"case": case, "profiles": profiles})
        return self.model_copy(update={"grid": grid, "plugins": plugins})

    def load_plugins(self) -> None:
        """Run the code of its plug-ins where that has not been done, e.g. as it comes from another process.

        Raises:
            ScenarioError: one is not there, or raised.
        """
        for source in self.plugins:
            load_plugin(source, self._base)

    def digest(self) -> str:
        """Hash of everything that decides the result, the code of plug-ins too; the name and the description do not."""
        document = self.model_dump(mode="json", exclude={"name", "description"})
        document["plugins"] = [plugin_digest(source, self._base) for source in self.plugins]
        return hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()[:16]

    @property
    def base(self) -> Path:
        """Directory that relative paths in it refer to."""
        return self._base

    def at(self, base: Path) -> Scenario:
        """Return the scenario with another directory for its relative paths."""
        other = self.model_copy()
        other._base = base
        return other

    @property
    def start(self) -> datetime:
        """Begin of the first period."""
        return datetime.combine(self.time.start, datetime.min.time())

    @property
    def end(self) -> datetime:
        """End of the last period."""
        return self.start + timedelta(seconds=self.time.periods * self.time.period_s)


def shipped_scenarios() -> dict[str, Path]:
    """Files of the scenarios that come with peerwatt, by name."""
    folder = Path(str(resources.files("peerwatt"))) / "experiments" / "scenarios"
    return {path.stem: path for path in sorted(folder.glob("*.yaml"))}


def _change(document: dict[str, Any], changes: Mapping[str, Any]) -> None:
    """Set values by key path; where profiles are a path alone, keys beside it can be set too."""
    for path, value in changes.items():
        grid = document.get("grid")
        if (
            path.startswith("grid.profiles.")
            and isinstance(grid, dict)
            and isinstance(grid.get("profiles"), str | Path)
        ):
            grid["profiles"] = {"file": grid["profiles"]}
        set_path(document, path, value)


def _find(source: str | Path) -> Path:
    """A file that exists, else a shipped scenario."""
    path, shipped = Path(source), shipped_scenarios()
    try:
        if path.is_file():
            return path
    except OSError as error:
        raise ScenarioError(Fault(f"{source!s:.80}", f"cannot be opened: {error.strerror}", "")) from None
    if str(source) in shipped:
        return shipped[str(source)]
    if path.is_dir():
        raise ScenarioError(Fault(str(source), "is a directory", "name the scenario file in it"))
    remedy = f"{nearest(str(source), list(shipped))} or the path of a YAML file"
    raise ScenarioError(Fault(str(source), "there is no such scenario or file", remedy))
