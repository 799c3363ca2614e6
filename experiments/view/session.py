"""One browser tab: a scenario with its controls, the run of it, and what the viewer has chosen to look at.

Nothing here knows of a browser, so that everything the page does can be tested without one.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from peerwatt.errors import InputError, PeerwattError
from peerwatt.experiments.view.dials import Dials
from peerwatt.experiments.view.history import Element, History
from peerwatt.experiments.view.layout import Fitted, fitted
from peerwatt.grid.cases import GridCase
from peerwatt.grid.network import Network
from peerwatt.grid.state import GridState
from peerwatt.sim.model import Simulation
from peerwatt.sim.period import PeriodResult
from peerwatt.sim.scenario import Scenario
from peerwatt.sim.tables import Stage

__all__ = ["Look", "Session"]


@dataclass(slots=True)
class Look:
    """What the viewer has chosen to look at; nothing of it changes the run.

    Attributes:
        stage: stage of the period that the map shows.
        pinned: element whose history is shown.
        arcs: whether trades are drawn over the map.
        peer: name of the peer that trades are filtered by, empty for all.
        pairs: what the matrix of pairs shows: `power`, `price`, `blocked` or `incentive`.
        told: how many steps of the sequence are shown; None for all.
        keep_time: whether a run that a control has changed goes on to the time of the one before.
        playing: whether periods follow one another by themselves.
        speed: periods per second when they do, as text.
        drawn: number of periods that were done when the browser drew last.
        tab: number of the panel that is shown of those behind tabs.
        width: width of a panel by its name, pixels.
    """

    stage: str = Stage.DELIVERY
    pinned: Element | None = None
    arcs: bool = False
    peer: str = ""
    pairs: str = "power"
    told: int | None = None
    keep_time: bool = False
    playing: bool = False
    speed: str = "5"
    drawn: int = 0
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
        pinned_run: history of an earlier run to compare with.
        faults: why the last action failed, line by line; empty if it did not.
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
        self.faults: list[str] = []
        self._placed: tuple[Network, Fitted] | None = None
        self._lock = threading.RLock()

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
        if self.result is None or not self.stages:
            return None
        stage = self.look.stage if self.look.stage in self.stages else self.stages[-1]
        return self.result.states[stage]

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
        with self._lock:
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
        with self._lock:
            self.faults = []
            try:
                simulation = Simulation(self.base.replace(self.dials.changes(self.base)), case=self.case)
            except PeerwattError as error:
                self.faults = _lines(error)
                return False
            self.close()
            self.simulation = simulation
            self.history = History(self._title(simulation))
            self.look.told = None
            if self.look.stage not in simulation.settings.stages:
                self.look.stage = Stage.DELIVERY
            return True

    @property
    def period(self) -> int:
        """Number of periods that are done."""
        return 0 if self.simulation is None else self.simulation.period

    def step(self) -> bool:
        """Simulate a period; returns whether it was."""
        with self._lock:
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
            return True

    def cut(self, line: str) -> bool:
        """Cut a line from the next period on; the run is repeated up to now, so that the scenario has it too."""
        if self.simulation is None:
            return False
        begin = f"{self.simulation.now:%Y-%m-%d %H:%M}"
        return self.turn(keep_time=True, cut=(*self.dials.cut, (line, begin)))

    def restore(self) -> bool:
        """Take back all cuts."""
        return self.turn(keep_time=True, cut=())

    def pin_run(self) -> None:
        """Keep the run so far to compare with."""
        self.pinned_run = self.history if len(self.history) else None

    def close(self) -> None:
        """Release the run."""
        with self._lock:
            if self.simulation is not None:
                self.simulation.close()
                self.simulation = None

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
