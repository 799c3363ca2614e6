"""One browser tab: a scenario with its controls, the run of it, and what the viewer has chosen to look at.

Nothing here knows of a browser, so that everything the page does can be tested without one.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from peerwatt.errors import InputError, PeerwattError
from peerwatt.experiments.view.dials import Dials
from peerwatt.experiments.view.history import Element, History
from peerwatt.experiments.view.layout import Fitted, fitted
from peerwatt.experiments.view.phases import Phases
from peerwatt.grid.cases import GridCase
from peerwatt.grid.network import Network
from peerwatt.grid.state import GridState
from peerwatt.sim.model import Simulation
from peerwatt.sim.period import PeriodResult
from peerwatt.sim.scenario import Scenario
from peerwatt.sim.tables import Stage

if TYPE_CHECKING:
    from peerwatt.grid.threephase_state import ThreePhaseState

__all__ = ["Look", "Session"]


@dataclass(slots=True)
class Look:
    """What the viewer has chosen to look at; nothing of it changes the run.

    Attributes:
        stage: stage of the period that the map shows.
        phase: `a`, `b` or `c` where the map shows one phase, empty for the balanced grid.
        pinned: element whose history is shown.
        arcs: whether trades are drawn over the map.
        peer: name of the peer that trades are filtered by, empty for all.
        pairs: what the matrix of pairs shows: `power`, `price`, `blocked` or `incentive`.
        told: how many messages of the period are shown; None for all.
        unit: by what the run is stepped: `period`, `stage` or `message`.
        keep_time: whether a run that a control has changed goes on to the time of the one before.
        playing: whether steps follow one another by themselves.
        speed: steps per second when they do, as text.
        computing: how many new runs are being made; what is shown is of the one before.
        mark: counts what is to be drawn, one for each step.
        drawn: mark of what the browser drew last.
        loss_percent: share of messages that the next fault loses.
        loss_hours: for how long it does, as text; empty for the rest of the run.
        request_mw: what the TSO asks for next, positive for regulation up.
        request_hours: for how long, as text; empty for the rest of the run.
        tab: number of the panel that is shown of those behind tabs.
        width: width of a panel by its name, pixels.
    """

    stage: str = Stage.DELIVERY
    pinned: Element | None = None
    phase: str = ""
    arcs: bool = False
    peer: str = ""
    pairs: str = "power"
    told: int | None = None
    unit: str = "period"
    keep_time: bool = False
    playing: bool = False
    speed: str = "5"
    computing: int = 0
    mark: int = 0
    drawn: int = 0
    loss_percent: float = 50.0
    loss_hours: str = "1"
    request_mw: float = 0.0
    request_hours: str = "1"
    tab: int = 0
    width: dict[str, int] = field(default_factory=dict)


class Session:
    """A run that can be stepped and steered.

    Args:
        source: name or path of the scenario, for the command line.
        base: the scenario that the page was opened with.
        given: what was changed of the scenario to have it, by key path, for the command line.
        case: a grid in place of the scenario's.

    Attributes:
        dials: positions of the controls.
        look: what the viewer looks at.
        simulation: the run, None while none could be made.
        history: what it has come to.
        phases: what the run is in three phases.
        pinned_run: history of an earlier run to compare with.
        faults: why the last action failed, line by line; empty if it did not.
        lock: held by whoever changes the run, or draws it.
    """

    def __init__(
        self, source: str, base: Scenario, given: Mapping[str, Any] | None = None, case: GridCase | None = None
    ) -> None:
        self.source = source
        self.base = base
        self.given = dict(given or {})
        self.case = case
        self.dials = Dials()
        self.look = Look()
        self.simulation: Simulation | None = None
        self.history = History("")
        self.pinned_run: History | None = None
        self.phases: Phases | None = None
        self.faults: list[str] = []
        self._placed: tuple[Network, Fitted] | None = None
        self.lock = threading.RLock()

    @property
    def scenario(self) -> Scenario:
        """The scenario of the run, the one opened where there is none."""
        return self.base if self.simulation is None else self.simulation.settings

    @property
    def result(self) -> PeriodResult | None:
        """The period before."""
        return None if self.simulation is None else self.simulation.last

    @property
    def network(self) -> Network | None:
        """The grid as it is in the period before: with lines that are cut out of service."""
        return None if self.simulation is None else self.simulation.context.network

    def placed(self, width: float) -> Fitted | None:
        """Where the buses are drawn in a panel of this width; worked out once per grid and width."""
        if self.simulation is None:
            return None
        network = self.simulation.case.network
        if self._placed is None or self._placed[0] is not network or self._placed[1].width != width:
            self._placed = network, fitted(network, width)
        return self._placed[1]

    @property
    def stages(self) -> list[str]:
        """Stages that the period before has reached."""
        return [] if self.result is None else [str(stage) for stage in Stage if stage in self.result.states]

    @property
    def state(self) -> GridState | None:
        """State of the grid at the chosen stage, the last one that was reached where that was not."""
        return None if self.result is None or self._stage is None else self.result.states[self._stage]

    @property
    def _stage(self) -> str | None:
        """The chosen stage, the last one that was reached where that was not."""
        stages = self.stages
        return (self.look.stage if self.look.stage in stages else stages[-1]) if stages else None

    @property
    def by_phase(self) -> ThreePhaseState | None:
        """State at the chosen stage in three phases; None where the balanced grid is shown, or no phase can be."""
        if not self.look.phase or self.phases is None or self.result is None or self._stage is None:
            return None
        state = self.phases.state(self.result, self._stage)
        if state is None:
            self.look.phase = ""
        return state

    @property
    def ended(self) -> bool:
        """Whether there is nothing left to step."""
        return self.simulation is None or not self.simulation.running

    def turn(self, *, keep_time: bool | None = None, **positions: Any) -> bool:
        """Turn controls and start again with the same seed; a run that cannot be made leaves the one before.

        Args:
            keep_time: whether to go on to the period that the run before had reached; as the viewer likes it if None.
            **positions: new values of `Dials`.

        Returns:
            Whether there is a new run.
        """
        with self.lock:
            before = 0 if self.simulation is None else self.simulation.period
            self.dials = replace(self.dials, **positions)
            if not self.start():
                return False
            going_on = self.look.keep_time if keep_time is None else keep_time
            while going_on and not self.ended and self.period < before and self.step():
                pass
            return True

    def start(self) -> bool:
        """Start the run from the beginning; returns whether there is one."""
        with self.lock:
            self.faults = []
            try:
                simulation = Simulation(self.base.replace(self.dials.changes(self.base)), case=self.case)
            except PeerwattError as error:
                self.faults = _lines(error)
                return False
            self.close()
            self.simulation = simulation
            self.history = History(self._title(simulation))
            self.phases = Phases(simulation)
            self.look.told = None
            self.look.mark += 1
            if self.phases.refused:
                self.look.phase = ""
            if self.look.stage not in simulation.settings.stages:
                self.look.stage = Stage.DELIVERY
            return True

    @property
    def period(self) -> int:
        """Number of periods that are done."""
        return 0 if self.simulation is None else self.simulation.period

    @property
    def frame(self) -> str:
        """What is shown: the number of periods that are done, and how many messages of the last one if not all."""
        return str(self.period) if self.look.told is None else f"{self.period}+{self.look.told}"

    def step(self) -> bool:
        """Simulate a period; returns whether it was."""
        with self.lock:
            simulation = self.simulation
            if simulation is None or not simulation.running:
                return False
            time = f"{simulation.now:%Y-%m-%d %H:%M}"
            try:
                simulation.step()
            except Exception as error:  # a user's strategy may raise anything; the page stays alive
                self.faults = (
                    _lines(error) if isinstance(error, PeerwattError) else [f"{type(error).__name__}: {error}"]
                )
                return False
            self.history.add(simulation, time)
            self.look.told = None
            self.look.mark += 1
            if self.look.unit != "period":
                self.look.stage = Stage.DELIVERY
            return True

    def cut(self, line: str | int) -> bool:
        """Cut a line from the next period on; the run is repeated up to now, so that the scenario has it too.

        Args:
            line: its name, or its index where several have the name.
        """
        if self.simulation is None:
            return False
        begin = f"{self.simulation.now:%Y-%m-%d %H:%M}"
        return self.turn(keep_time=True, cut=(*self.dials.cut, (line, begin)))

    def lose(self, share: float, hours: float | None) -> bool:
        """Lose messages from the next period on; the run is repeated up to now, so that the scenario has it too.

        Args:
            share: which share of the messages to and from peers is lost, 0 to 1.
            hours: for how long; for the rest of the run if None.
        """
        if self.simulation is None:
            return False
        begin = self.simulation.now
        end = None if hours is None else f"{begin + timedelta(hours=hours):%Y-%m-%d %H:%M}"
        return self.turn(keep_time=True, lost=(*self.dials.lost, (share, f"{begin:%Y-%m-%d %H:%M}", end)))

    def ask(self, p_mw: float, hours: float | None) -> bool:
        """Let the TSO ask for regulation from the next period on, in place of what it would have asked for then.

        Args:
            p_mw: virtual load, positive for regulation up; 0 asks for nothing.
            hours: for how long; for the rest of the run if None.
        """
        simulation = self.simulation
        if simulation is None:
            return False
        first, length_s = simulation.period, simulation.settings.time.period_s
        last = simulation.n_periods - 1
        if hours is not None:
            last = min(last, first + max(round(3600.0 * hours / length_s), 1) - 1)
        before = [(a, min(b, first - 1), p) for a, b, p in self.dials.asked if a < first]
        return self.turn(keep_time=True, asked=(*before, *([(first, last, p_mw)] if p_mw else [])))

    def restore(self) -> bool:
        """Take back all faults and what the TSO was made to ask for."""
        return self.turn(keep_time=True, cut=(), lost=(), asked=())

    def pin_run(self) -> None:
        """Keep the run so far to compare with."""
        self.pinned_run = self.history if len(self.history) else None

    def close(self) -> None:
        """Release the run."""
        with self.lock:
            if self.simulation is not None:
                self.simulation.close()
                self.simulation = self.phases = None

    def _title(self, simulation: Simulation) -> str:
        """What distinguishes the run."""
        settings = simulation.settings
        parts = [settings.coordination.preset or settings.mechanism, settings.design().scheme or ""]
        parts += [
            f"{key.rpartition('.')[2]} {value}"
            for key, value in self.dials.changes(self.base).items()
            if key not in _IN_TITLE and isinstance(value, int | float)
        ]
        return ", ".join(part for part in parts if part).replace("_", " ")


_IN_TITLE = ("coordination.preset", "coordination.scheme")


def _lines(error: PeerwattError) -> list[str]:
    return [str(fault) for fault in error.faults] if isinstance(error, InputError) else [str(error)]
