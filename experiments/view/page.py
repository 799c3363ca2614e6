"""The page: transport, controls and panels around one session per browser tab."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from threading import Thread
from time import monotonic
from typing import Any

import reacton.ipyvuetify as rv
import solara
import solara.lab

from peerwatt.experiments.view.cards import element_card, faults_card, map_card, over_time_card, tabs_card
from peerwatt.experiments.view.controls import control_column
from peerwatt.experiments.view.facts import tiles
from peerwatt.experiments.view.screen import Screen
from peerwatt.experiments.view.server import opening
from peerwatt.experiments.view.session import Session
from peerwatt.experiments.view.stepping import UNITS, advance, clock
from peerwatt.experiments.view.takealong import take_along
from peerwatt.experiments.view.widgets import block, icon_button, keys, select, show, theme_button

__all__ = ["Layout", "Page"]

SPEEDS = {"1": "1 step/s", "2": "2 steps/s", "5": "5 steps/s", "10": "10 steps/s"}

LEAST_PAUSE_S = 0.02
"""Time between looks at whether the browser has drawn the step."""

MOST_WAIT_S = 2.0
"""Time after which the next step comes although the browser has not told that it drew the last."""


@solara.component
def layout(children: list[Any] = []) -> Any:  # noqa: B006 - Solara fills it
    """The page and nothing around it."""
    return rv.Html(tag="div", children=children)


@solara.component
def page() -> None:
    """Everything in a tab."""
    drawn, set_drawn = solara.use_state(0)
    screen = solara.use_memo(lambda: Screen(_opened(), lambda: set_drawn(lambda count: count + 1), in_background), [])
    session: Session = screen.session
    look = session.look
    solara.use_effect(lambda: session.close, [])

    async def play() -> None:  # a lambda would not be seen to be asynchronous
        await _play(screen)

    solara.lab.use_task(play, dependencies=[look.playing, look.speed])
    solara.Style(Path(__file__).parent / "style.css")
    keys(event_press=screen.press)
    with session.lock, block("div", classes="playing" if look.playing else ""):
        _bar(screen)
        with block("div", classes="pw-body"):
            with block("aside", classes="pw-column pw-side"):
                chosen = (look.keep_time, look.loss_percent, look.loss_hours, look.request_mw, look.request_hours)
                control_column(screen, (session.dials, id(session.simulation), chosen))
                take_along(session)
            with block("main", classes="pw-column"):
                faults_card(session)
                old = " pw-old" if look.computing else ""
                if old:
                    block("div", "Computing the new setting; what is shown is the run before.", classes="pw-computing")
                with block("div", classes=old):
                    show(tiles(session), screen)
                with block("div", classes=f"pw-main pw-wide{old}"):
                    with block("div", classes="pw-column"):
                        map_card(screen)
                        element_card(screen)
                        over_time_card(screen)
                    with block("div", classes="pw-column"):
                        tabs_card(screen, opening().panels)
    del drawn  # what makes this function run again


Layout, Page = layout, page
"""The names under which Solara looks for them."""


def in_background(action: Callable[[], None]) -> None:
    """Run something beside the page, which stays alive; Solara hands its context on to threads."""
    Thread(target=action, daemon=True).start()


def _opened() -> Session:
    begin = opening()
    session = Session(begin.source, begin.scenario, begin.given, begin.case)
    session.start()
    return session


async def _play(screen: Screen) -> None:
    """Step as fast as chosen until paused or over."""
    session = screen.session
    while session.look.playing:
        begin = monotonic()
        await asyncio.to_thread(advance, session)
        if session.faults or not screen.left:
            session.look.playing = False
        screen.refresh()
        while session.look.drawn != session.look.mark and monotonic() - begin < MOST_WAIT_S:
            await asyncio.sleep(LEAST_PAUSE_S)
        await asyncio.sleep(max(0.0, 1.0 / float(session.look.speed) - (monotonic() - begin)))


def _bar(screen: Screen) -> None:
    """Title, clock and transport."""
    session, simulation = screen.session, screen.session.simulation
    look = session.look
    with block("header", classes="pw-bar"):
        block("h1", "peerwatt", block("small", session.scenario.name))
        icon_button("mdi-skip-previous", "Reset: start again from the first period (Home)", screen.again)
        words = "Pause (space)" if look.playing else "Play (space)"
        icon_button("mdi-pause" if look.playing else "mdi-play", words, screen.play, off=not screen.left, main=True)
        off = look.playing or not screen.left
        icon_button("mdi-step-forward", f"Step: one {look.unit} on (right arrow)", screen.step, off=off)
        with block("div", style="width:108px"):
            select("Step by", look.unit, UNITS, screen.step_by)
        with block("div", style="width:108px"):
            select("Speed", look.speed, SPEEDS, lambda speed: screen.look(speed=speed))
        if simulation is not None:
            done = f"{session.period} of {simulation.n_periods} periods"
            block("div", clock(session), block("small", done), classes="pw-clock")
        block("div", classes="pw-spacer")
        theme_button()
    share = 0.0 if simulation is None else 100.0 * session.period / simulation.n_periods
    block("div", classes="pw-progress", style=f"width:{share:.1f}%")
