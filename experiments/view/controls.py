"""The column of controls: conceptual model, scheme, limits, population, time, faults."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from functools import partial

import numpy as np
import reacton.ipyvuetify as rv
import solara

from peerwatt.agents.policies import POLICIES
from peerwatt.agents.strategies import STRATEGIES
from peerwatt.experiments.view.dials import PRESET_NAMES, takes_threshold, with_share
from peerwatt.experiments.view.screen import Screen
from peerwatt.experiments.view.session import Session
from peerwatt.experiments.view.widgets import block, select
from peerwatt.market.mechanism import MECHANISMS

__all__ = ["control_column"]

LOSS_HOURS = {"0.25": "15 min", "1": "1 h", "3": "3 h", "": "the rest"}
"""For how long messages can be lost on demand, by hours."""


@solara.component
def control_column(screen: Screen, shown: object) -> None:  # noqa: ARG001 - what makes it be built anew
    """All controls; built anew only where something they show has changed, since there are many of them.

    Args:
        screen: what they steer; always the same.
        shown: everything that the controls show of its session.
    """
    with block("section", classes="pw-card"):
        _market(screen)
        _grid(screen)
        _population(screen)
        _time(screen)
        _faults(screen)


@solara.component
def _slider(
    label: str,
    value: float,
    low: float,
    high: float,
    step: float,
    on_value: Callable[[float], None],
    unit: str = "%",
) -> None:
    """A slider that tells its value when it is let go, not while it is dragged."""
    draft, set_draft = solara.use_state(value)
    solara.use_effect(lambda: set_draft(value), [value])

    def told(_widget: object, _event: str, data: float) -> None:
        on_value(float(data))

    with block("div", classes="pw-field"):
        block("span", label, block("output", f"{draft:.3g} {unit}"))
        slider = rv.Slider(
            v_model=draft,
            on_v_model=set_draft,
            min=low,
            max=high,
            step=step,
            dense=True,
            hide_details=True,
            attributes={"aria-label": label},
        )
        rv.use_event(slider, "change", told)


@solara.component
def _whole_number(label: str, value: int, low: int, on_value: Callable[[int], None]) -> None:
    """A whole number that is told when the field is left or Enter is pressed."""
    draft, set_draft = solara.use_state(str(value))
    solara.use_effect(lambda: set_draft(str(value)), [value])

    def told(*_: object) -> None:
        if draft.strip().isdecimal() and int(draft) >= low:
            on_value(int(draft))
        else:
            set_draft(str(value))

    field = rv.TextField(v_model=draft, on_v_model=set_draft, label=label, type="number", dense=True, hide_details=True)
    rv.use_event(field, "change", told)


def _market(screen: Screen) -> None:
    session, turn = screen.session, screen.turn
    dials, base = session.dials, session.base
    block("h3", "Market and grid")
    preset = base.coordination.preset or "" if dials.preset is None else dials.preset
    select("Conceptual model", preset, PRESET_NAMES, lambda key: turn(preset=key, scheme=None, mechanism=None))
    schemes = {"": "none"} | {name: name.replace("_", " ") for name in POLICIES.names()}
    active = dials.active_scheme(base) or ""
    fixed = not dials.respects_grid(base)
    select("Scheme of the DSO", active, schemes, lambda key: turn(scheme=key), off=fixed)
    if takes_threshold(active or None):
        value = dials.threshold_percent
        if value is None:
            value = float(session.scenario.coordination.scheme_options.get("threshold_percent", 80.0))
        _slider("Acts from a loading of", value, 5.0, 100.0, 5.0, lambda v: turn(threshold_percent=v))
    names = {name: name.replace("_", " ") for name in MECHANISMS.names()}
    select("Mechanism", session.scenario.mechanism, names, lambda key: turn(mechanism=key))


def _grid(screen: Screen) -> None:
    block("h3", "Grid")
    limit = screen.session.dials.max_loading_percent or screen.session.base.grid.max_loading_percent or 100.0
    turn = screen.turn
    _slider("Limit of lines and transformers", limit, 5.0, 150.0, 5.0, lambda v: turn(max_loading_percent=v))


def _population(screen: Screen) -> None:
    block("h3", "Peers")
    session = screen.session
    dials, base = session.dials, session.base.population
    for label, key, given in (
        ("with PV", "pv_share", base.pv_share),
        ("with a battery", "storage_share", base.storage_share),
        ("with an EV", "ev_share", base.ev_share),
    ):
        chosen = getattr(dials, key)
        share = given if chosen is None else chosen
        words = label
        if share is None:
            share, words = _own_share(session, key), f"{label}, as the grid has it"
        _slider(words, round(100.0 * share), 0.0, 100.0, 5.0, partial(_turn_share, screen, key))
    block("h3", "Strategies")
    shares = dict(session.scenario.population.strategies)
    total = sum(shares.values())
    for name in STRATEGIES.names():
        share = round(100.0 * shares.get(name, 0.0) / total)
        _slider(name.replace("_", " "), share, 0.0, 100.0, 5.0, partial(_turn_strategy, screen, shares, name))


def _turn_share(screen: Screen, key: str, percent: float) -> None:
    screen.turn(**{key: percent / 100.0})


def _turn_strategy(screen: Screen, shares: dict[str, float], name: str, percent: float) -> None:
    screen.turn(strategies=with_share(shares, name, percent / 100.0))


def _own_share(session: Session, key: str) -> float:
    """Share of the peers that have PV, a battery, or an electric vehicle in the run."""
    if session.simulation is None:
        return 0.0
    population = session.simulation.context.population
    units, n = population.units, len(population)
    if key == "storage_share":
        return float((population.batteries.e_mwh > 0.0).mean())
    if key == "ev_share":
        return float((np.bincount(units.peer[units.is_ev], minlength=n) > 0).mean())
    return float((units.rated_mw(n)[1] > 0.0).mean())


def _time(screen: Screen) -> None:
    block("h3", "Time and chance")
    scenario, turn = screen.session.scenario, screen.turn
    rv.TextField(
        v_model=scenario.time.start.isoformat(),
        label="First day",
        type="date",
        dense=True,
        hide_details=True,
        on_v_model=lambda text: _day(text, screen),
    )
    _whole_number("Periods", scenario.time.periods, 1, lambda value: turn(periods=value))
    _whole_number("Seed", scenario.seed, 0, lambda value: turn(seed=value))
    solara.Checkbox(
        label="after a change go on to this time",
        value=screen.session.look.keep_time,
        on_value=lambda on: screen.look(keep_time=on),
    )


def _day(text: str, screen: Screen) -> None:
    try:
        screen.turn(start=date.fromisoformat(text))
    except ValueError:
        return  # half a date while it is being typed


def _faults(screen: Screen) -> None:
    """Faults: of the whole run, and on demand from now on."""
    block("h3", "Faults")
    session, turn = screen.session, screen.turn
    loss = session.dials.loss if session.dials.loss is not None else session.base.communication.loss
    _slider("Messages lost, whole run", round(100.0 * loss), 0.0, 100.0, 5.0, lambda v: turn(loss=v / 100.0))
    _losses(screen)
    _request(screen)
    if not session.dials.cut:
        block("p", "To cut a line, click on it in the map.", classes="pw-note")
    for line, begin in session.dials.cut:
        block("p", f"{line if isinstance(line, str) else f'line {line}'} is cut from {begin[-5:]}", classes="pw-note")
    for share, begin, end in session.dials.lost:
        until = "to the end" if end is None else f"to {end[-5:]}"
        block("p", f"{100.0 * share:g} % of messages lost from {begin[-5:]} {until}", classes="pw-note")
    for first, last, p_mw in session.dials.asked:
        way = "up" if p_mw > 0.0 else "down"
        block("p", f"the TSO asks for {abs(p_mw):g} MW {way}, periods {first} to {last}", classes="pw-note")
    if session.dials.events() or session.dials.asked:
        mend = {"cut": (), "lost": (), "asked": (), "keep_time": True}
        solara.Button("Mend all", on_click=lambda: turn(**mend), small=True, outlined=True)


def _losses(screen: Screen) -> None:
    """Messages that get lost from now on."""
    look = screen.session.look
    _slider("Lose messages from now on", look.loss_percent, 5.0, 100.0, 5.0, lambda v: screen.look(loss_percent=v))
    with block("div", classes="pw-head"):
        with block("div", style="width:118px"):
            select("for", look.loss_hours, LOSS_HOURS, lambda hours: screen.look(loss_hours=hours))
        off = screen.session.ended
        solara.Button("Lose them", on_click=screen.lose, small=True, outlined=True, disabled=off)


def _request(screen: Screen) -> None:
    """Regulation that the TSO asks for from now on."""
    session, look = screen.session, screen.session.look
    most = _largest_request(session)
    label = "TSO asks from now on, above 0 up"
    _slider(label, look.request_mw, -most, most, most / 20.0, lambda v: screen.look(request_mw=v), "MW")
    with block("div", classes="pw-head"):
        with block("div", style="width:118px"):
            select("asks for", look.request_hours, LOSS_HOURS, lambda hours: screen.look(request_hours=hours))
        solara.Button("Ask", on_click=screen.ask, small=True, outlined=True, disabled=session.ended)


def _largest_request(session: Session) -> float:
    """Half of what all connections can carry, to one digit, MW."""
    if session.simulation is None:
        return 1.0
    total = 0.5 * float(session.simulation.context.population.connection_mw().sum())
    digit = 10.0 ** np.floor(np.log10(total))
    return float(np.ceil(total / digit) * digit)
