"""Stepping through a run by message, by stage or by period: the messages of a period, and what is reached with them.

A period is simulated as a whole, by the event clock; stepping inside it tells its messages in the order of that clock,
and shows the grid at the stage that was reached by then.
"""

from __future__ import annotations

from datetime import timedelta

from peerwatt.agents.coordination import Service
from peerwatt.experiments.sequence import Step, grouped
from peerwatt.experiments.view.session import Session
from peerwatt.sim.tables import Stage

__all__ = ["UNITS", "advance", "clock", "go_to", "n_shown", "next_moment", "stops", "told"]

UNITS = {"period": "period", "stage": "stage", "message": "message"}
"""By what the run can be stepped and played."""

Steps = tuple[Step, ...]


def told(session: Session) -> Steps:
    """Messages of the period before, grouped; none before the first period."""
    result, simulation = session.result, session.simulation
    if result is None or simulation is None:
        return ()
    rows = (
        (
            m.sender,
            m.receiver,
            m.kind,
            float(m.time_s),
            float(m.delivered_s) if m.delivered_s >= 0 else float("nan"),
            float(m.n),
        )
        for m in result.messages
    )
    return grouped(rows, simulation.context.population.name, result.period * float(simulation.settings.time.period_s))


def n_shown(session: Session, steps: Steps) -> int:
    """How many steps of the period are shown."""
    return len(steps) if session.look.told is None else min(session.look.told, len(steps))


def next_moment(steps: Steps, done: int) -> int:
    """How many steps are shown once all of the next moment are.

    Args:
        steps: all steps.
        done: how many are shown now.
    """
    if done >= len(steps):
        return len(steps)
    later = (i for i in range(done, len(steps)) if steps[i].time_s > steps[done].time_s)
    return next(later, len(steps))


def stops(session: Session, steps: Steps) -> list[tuple[str, int]]:
    """Stages that the period before has reached, by time, each with the number of messages that led to it."""
    result, simulation = session.result, session.simulation
    if result is None or simulation is None:
        return []
    timetable, design = simulation.context.timetable, simulation.context.design
    done = {(each.cycle, each.number) for each in result.rounds}
    checks = [each.check_s for each in timetable.rounds if (each.cycle, each.number) in done]
    traded = max(checks, default=0)
    bought = max([each.gate_s for each in timetable.windows] + [each.check_s for each in timetable.rounds])
    explicit = design.service is Service.EXPLICIT  # capacity is traded, no energy
    at = {Stage.FORECAST: 0, Stage.P2P: 0 if explicit else traded, Stage.FINAL: traded + 1 if explicit else bought + 1}
    found = [(at[stage], str(stage)) for stage in at if stage in result.states]
    counts = [(stage, sum(step.time_s < time_s for step in steps)) for time_s, stage in sorted(found, key=_time)]
    return [*counts, (str(Stage.DELIVERY), len(steps))]


def _time(item: tuple[int, str]) -> int:
    return item[0]


def go_to(session: Session, steps: Steps, count: int) -> None:
    """Show a number of messages of the period, and the grid at the stage that was reached with them."""
    look, count = session.look, max(0, min(count, len(steps)))
    look.mark += 1
    reached = [stage for stage, needed in stops(session, steps) if needed <= count]
    look.told = None if count == len(steps) else count
    if reached:
        look.stage = reached[-1]


def advance(session: Session) -> bool:
    """Go on by a period, a stage or a message, as the viewer has chosen; returns whether there was something left."""
    unit, steps = session.look.unit, told(session)
    done = n_shown(session, steps)
    if unit == "period" or done >= len(steps):
        if not session.step():
            return False
        if unit == "period":
            return True
        steps = told(session)
        first = stops(session, steps)[0][1] if unit == "stage" else 1
        go_to(session, steps, first)
    elif unit == "stage":
        go_to(session, steps, next(count for _, count in stops(session, steps) if count > done))
    else:
        go_to(session, steps, done + 1)
    return True


def clock(session: Session) -> str:
    """Simulated time: the end of what is shown, to the second inside a period."""
    simulation, look = session.simulation, session.look
    if simulation is None:
        return ""
    if look.told is None or session.result is None:
        return f"{simulation.now:%a %Y-%m-%d %H:%M}"
    steps = told(session)
    begin = simulation.now - timedelta(seconds=simulation.settings.time.period_s)
    passed = steps[look.told - 1].time_s if look.told else 0
    return f"{begin + timedelta(seconds=passed):%a %Y-%m-%d %H:%M:%S}"
