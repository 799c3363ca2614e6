"""What shows a picture in the browser: an SVG that changes in place, a plotly figure, a piece of HTML."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import reacton.ipyvuetify as rv
import solara

from peerwatt.experiments.report.markup import Figure
from peerwatt.experiments.view.drawing import Drawing, Html
from peerwatt.experiments.view.screen import Screen

__all__ = ["PLOTLY", "Shown", "block", "icon_button", "keys", "select", "show", "theme_button"]

PLOTLY = "/peerwatt/plotly.min.js"
"""Where the server has plotly's script."""

Shown = Drawing | Figure | Html | None
"""What a panel may return."""


@solara.component_vue("picture.vue")
def _picture(
    svg: str,
    name: str,
    caption: str,
    frame: str,
    mark: int,
    event_pick: Callable[[str], None],
    event_resize: Callable[[int], None],
    event_drawn: Callable[[int], None],
) -> None:
    """An SVG; see the Vue file."""


@solara.component_vue("plot.vue")
def _plot(figure: str, name: str, height: int, script: str, event_pick: Callable[[str], None]) -> None:
    """A plotly figure; see the Vue file."""


@solara.component_vue("theme.vue")
def theme_button() -> None:
    """Light, dark, or as the system has it; Solara's own page cannot start with the last."""


@solara.component_vue("keys.vue")
def keys(event_press: Callable[[str], None]) -> None:
    """Keys that play and step, where no field has the focus."""


def show(shown: Shown, screen: Screen) -> None:
    """Put a picture where the page is being built.

    Args:
        shown: what a panel returned; nothing for None.
        screen: told of clicks on elements of the grid, and of the picture's width.
    """
    if isinstance(shown, Drawing):
        name = shown.name
        _picture(
            svg=shown.svg,
            name=name,
            caption=shown.caption,
            frame=screen.session.frame,
            mark=screen.session.look.mark,
            event_pick=screen.pick,
            event_resize=lambda width: screen.resize(name, int(width)),
            event_drawn=screen.drawn,
        )
    elif isinstance(shown, Figure):
        # As text: Reacton would look for elements in every number of it.
        figure = json.dumps({"data": shown.data, "layout": shown.layout})
        _plot(figure=figure, name=shown.name, height=shown.height, script=PLOTLY, event_pick=screen.pick)
    elif isinstance(shown, Html):
        solara.HTML(unsafe_innerHTML=shown.markup, classes=["pw-html"])


def block(tag: str, *children: Any, classes: str = "", **attributes: str) -> Any:
    """An HTML element; usable with `with`."""
    return rv.Html(tag=tag, class_=classes, children=list(children), attributes=attributes)


def icon_button(icon: str, words: str, on_click: Callable[[], Any], *, off: bool = False, main: bool = False) -> None:
    """A round button.

    Args:
        icon: name of a Material Design icon.
        words: what it does, for the pointer and for screen readers.
        on_click: called when it is pressed.
        off: whether it cannot be used now.
        main: whether it stands out.
    """
    solara.Button(
        icon_name=icon,
        on_click=on_click,
        disabled=off,
        icon=True,
        color="primary" if main else None,
        attributes={"aria-label": words, "title": words},
    )


def select(
    label: str, value: str, items: dict[str, str], on_value: Callable[[str], None], *, off: bool = False
) -> None:
    """A drop-down list.

    Args:
        label: what is chosen.
        value: key of the chosen item.
        items: texts by key.
        on_value: called with the key of what was chosen.
        off: whether it cannot be used now.
    """
    rv.Select(
        label=label,
        v_model=value,
        on_v_model=on_value,
        items=[{"text": text, "value": key} for key, text in items.items()],
        dense=True,
        hide_details=True,
        disabled=off,
        menu_props={"maxHeight": 420},
    )
