"""The cards of the page: a panel each, with the controls that belong to it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import reacton.ipyvuetify as rv
import solara

from peerwatt.experiments.view.grid_map import grid_map
from peerwatt.experiments.view.market_panel import (
    convergence_panel,
    flexibility_panel,
    market_panel,
    order_book_panel,
    rounds_panel,
)
from peerwatt.experiments.view.over_time import element_panel, figures_panel, money_panel
from peerwatt.experiments.view.phases import PHASE_NAMES
from peerwatt.experiments.view.screen import Screen
from peerwatt.experiments.view.sequence_panel import sequence_panel
from peerwatt.experiments.view.session import Session
from peerwatt.experiments.view.stepping import n_shown, next_moment, stops, told
from peerwatt.experiments.view.trades_panel import PAIRS, pairs_panel, trades_panel
from peerwatt.experiments.view.widgets import block, icon_button, select, show

__all__ = ["element_card", "faults_card", "map_card", "over_time_card", "tabs_card"]

_STAGE = {"forecast": "forecast", "p2p": "after trading", "final": "after flexibility", "delivery": "delivery"}

OwnPanel = Callable[[Session], Any]


def faults_card(session: Session) -> None:
    """Why the last action failed; nothing where it did not."""
    if not session.faults:
        return
    with block("div", classes="pw-alarm", role="alert"):
        block("b", "That did not work.")
        for fault in session.faults:
            block("div", fault)
        if len(session.history):
            block("div", "What is shown is the run before.")


def map_card(screen: Screen) -> None:
    """The grid map with its stage and overlay."""
    session, look = screen.session, screen.session.look
    with block("section", classes="pw-card"):
        with block("div", classes="pw-head"):
            block("h2", "Grid")
            stages = {str(stage): _STAGE[stage] for stage in session.scenario.stages}
            with block("div", style="width:190px"):
                select("Stage of the period", look.stage, stages, lambda stage: screen.look(stage=stage))
            refused = "" if session.phases is None else session.phases.refused
            words = f"Balanced only: {refused}" if refused else "The first phase takes a few seconds"
            with block("div", style="width:120px", title=words):
                select("Phases", look.phase, PHASE_NAMES, lambda phase: screen.look(phase=phase), off=bool(refused))
            solara.Checkbox(label="trades as arcs", value=look.arcs, on_value=lambda on: screen.look(arcs=on))
        show(grid_map(session), screen)


def element_card(screen: Screen) -> None:
    """The pinned element's history; nothing without one."""
    session = screen.session
    found, network = session.look.pinned, session.network
    if found is None or network is None:
        return
    names = {"bus": network.buses.name, "line": network.lines.name, "trafo": network.trafos.name}[found.kind]
    name = names[found.position]
    line = name if found.kind != "line" or names.count(name) == 1 else int(network.lines.index[found.position])
    cut = partial(screen.cut, line)

    with block("section", classes="pw-card"):
        with block("div", classes="pw-head"):
            block("h2", name)
            if found.kind == "line" and line not in dict(session.dials.cut):
                solara.Button("Cut this line", on_click=cut, icon_name="mdi-content-cut", small=True, outlined=True)
            block("div", classes="pw-spacer")
            icon_button("mdi-close", "Close", lambda: screen.look(pinned=None))
        show(element_panel(session), screen)


def over_time_card(screen: Screen) -> None:
    """Key figures over time, beside a pinned run."""
    session = screen.session

    def pin() -> None:
        session.pin_run()
        screen.refresh()

    def drop() -> None:
        session.pinned_run = None
        screen.refresh()

    with block("section", classes="pw-card"):
        with block("div", classes="pw-head"):
            block("h2", "Over time")
            solara.Button(
                "Pin this run",
                on_click=pin,
                icon_name="mdi-pin",
                small=True,
                outlined=True,
                disabled=not len(session.history),
            )
            if session.pinned_run is not None:
                block("span", f"dotted: {session.pinned_run.title}", classes="pw-note")
                icon_button("mdi-close", "Forget the pinned run", drop)
        show(figures_panel(session), screen)


def tabs_card(screen: Screen, own: tuple[tuple[str, OwnPanel], ...]) -> None:
    """Panels of which one is shown; only that one is drawn.

    Args:
        screen: the session on the page.
        own: titles and functions of the user's panels.
    """
    panels: list[tuple[str, Callable[[], None]]] = [
        ("Market", partial(_market, screen)),
        ("Trades", partial(_trades, screen)),
        ("Messages", partial(_messages, screen)),
        ("Money", lambda: show(money_panel(screen.session), screen)),
    ]
    panels += [(title, partial(_own, screen, panel)) for title, panel in own]
    shown = min(screen.session.look.tab, len(panels) - 1)
    with block("section", classes="pw-card"):
        rv.Tabs(
            v_model=shown,
            on_v_model=lambda tab: screen.look(tab=tab),
            height=40,
            show_arrows=True,
            class_="pw-tabs",
            children=[rv.Tab(children=[title]) for title, _ in panels],
        )
        panels[shown][1]()


def _own(screen: Screen, panel: OwnPanel) -> None:
    show(panel(screen.session), screen)


def _market(screen: Screen) -> None:
    session = screen.session
    found = [
        ("Supply and demand", market_panel(session)),
        ("Order book at the close", order_book_panel(session)),
        ("Negotiation between peers", convergence_panel(session)),
        ("Rounds with the DSO", rounds_panel(session)),
        ("Flexibility, by price", flexibility_panel(session)),
    ]
    for title, figure in found:
        if figure is not None:
            block("h2", title)
            show(figure, screen)
    if all(figure is None for _, figure in found):
        words = "Nothing was offered in this period." if session.result else "Play or step to see the market."
        block("p", words, classes="pw-note")
    clearing = None if session.result is None else session.result.clearing
    if clearing is not None:
        steps = f" after {clearing.iterations:,} iterations" if clearing.iterations else ""
        reason = f": {clearing.message}" if clearing.message else ""
        style = "pw-note" if clearing.status.solved else "pw-alarm"
        block("p", f"Clearing: {clearing.status.words}{steps}{reason}.", classes=style)


def _trades(screen: Screen) -> None:
    session, look = screen.session, screen.session.look
    names = () if session.simulation is None else session.simulation.context.population.name
    with block("div", classes="pw-head"):
        with block("div", style="width:210px"):
            select(
                "Peer", look.peer, {"": "all", **{name: name for name in names}}, lambda name: screen.look(peer=name)
            )
        with block("div", style="width:230px"):
            select("Pairs by", look.pairs, PAIRS, lambda key: screen.look(pairs=key))
    figure = pairs_panel(session)
    show(figure, screen)
    if figure is None:
        block("p", "Nothing to show of pairs in this period.", classes="pw-note")
    show(trades_panel(session), screen)


def _messages(screen: Screen) -> None:
    session, steps = screen.session, told(screen.session)
    last, shown, go = len(steps), n_shown(session, steps), screen.tell
    later = [count for _, count in stops(session, steps) if count > shown]
    with block("div", classes="pw-head"):
        block("h2", f"Period {session.period - 1}" if session.period else "Messages")
        icon_button("mdi-skip-previous", "To the first message", lambda: go(0), off=not shown)
        icon_button("mdi-chevron-left", "A message back", lambda: go(shown - 1), off=not shown)
        icon_button("mdi-chevron-right", "A message on", lambda: go(shown + 1), off=shown >= last)
        icon_button("mdi-fast-forward", "To the next moment", lambda: go(next_moment(steps, shown)), off=shown >= last)
        on = next(iter(later), last)
        icon_button("mdi-page-next-outline", "To the next stage", lambda: go(on), off=shown >= last)
        icon_button("mdi-skip-next", "All messages", lambda: go(last), off=shown >= last)
        words = "" if shown >= last else f", grid: {_STAGE[session.look.stage]}; other panels show the whole period"
        block("span", f"{shown} of {last} messages{words}", classes="pw-note")
    drawing = sequence_panel(session)
    show(drawing, screen)
    if drawing is None:
        block("p", "Play or step to see who tells whom what.", classes="pw-note")
