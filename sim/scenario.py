"""Scenarios: everything that a run depends on, in one immutable value with a YAML form.

Each field's description becomes the documentation of the file and its JSON Schema (`peerwatt schema`).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from datetime import date, datetime, timedelta
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import AfterValidator, Field, PrivateAttr, Strict, ValidationInfo, field_validator, model_validator

from peerwatt.agents.conducts import CONDUCTS, Conduct, Truthful
from peerwatt.agents.coordination import CoordinationSettings, Design, LfmSettings, Participant, Sequence, Service
from peerwatt.agents.policies import IterativePolicy
from peerwatt.agents.regulation import TsoSettings
from peerwatt.agents.settings import ForecastSettings, PopulationSettings, Settings, TariffSettings
from peerwatt.agents.timetable import Timetable
from peerwatt.errors import Fault, ScenarioError
from peerwatt.grid.cases import resolved_case
from peerwatt.grid.engine import ENGINES
from peerwatt.market.mechanism import MECHANISMS, BookKind, Mechanism, make_mechanism
from peerwatt.registry import construct, nearest
from peerwatt.sim.events import Event
from peerwatt.sim.plugins import load_plugin, plugin_digest, resolved_plugin
from peerwatt.sim.reading import read_document, set_path
from peerwatt.sim.tables import STAGES, TABLES, Stage
from peerwatt.validation import validated

__all__ = [
    "CommunicationSettings",
    "GridSettings",
    "MarketSettings",
    "Scenario",
    "TimeSettings",
    "shipped_scenarios",
]

DAY_S = 86_400
MIN_PERIOD_S = 60


Factor = Annotated[float, Field(gt=0.0, le=1000.0)]


class GridSettings(Settings):
    """Which grid, and what it may carry."""

    case: str = Field(
        "simbench:1-LV-semiurb4--2-sw",
        min_length=1,
        description="`simbench:CODE` for a SimBench grid with its year of profiles, or the path of a pandapower net "
        "as JSON, relative to the scenario file.",
    )
    profiles: Path | None = Field(
        None,
        description="CSV or Parquet file with a column `time` and columns such as `load.House 3.p_mw`, in MW; relative "
        "to the scenario file. Without it the loads of a JSON net stay as they are.",
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
        "else `double_auction`.",
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
        """Whether what the DSO says in a round is there before the market calls in it.

        Raises:
            ScenarioError: it is not.
        """
        link, gap_s = self.communication, min(each.call_s - each.signal_s for each in timetable.rounds)
        if gap_s <= link.latency_s + link.jitter_s:
            problem = f"messages take up to {link.latency_s + link.jitter_s} s, but a round leaves {gap_s} s for them"
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
        return self.coordination.design(self.mechanism, self.build_mechanism().book)

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
        for key, value in (changes or {}).items():
            set_path(document, key, value)
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
        for path, value in {**(changes or {}), **more}.items():
            set_path(document, path, value)
        return validated(Scenario, document, self.name, context={"base": self._base}).at(self._base)

    def to_yaml(self) -> str:
        """The scenario as YAML with every default written out."""
        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False, allow_unicode=True)

    def resolved(self) -> Scenario:
        """The scenario with paths that do not depend on where it is read."""
        profiles = None if self.grid.profiles is None else (self._base / self.grid.profiles).resolve()
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
