"""What the page's controls do: change what is looked at, turn a dial, step, and have the page drawn again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from peerwatt.experiments.view.history import Element
from peerwatt.experiments.view.session import Session
from peerwatt.experiments.view.stepping import advance, go_to, told

__all__ = ["MESSAGES_TAB", "Screen"]

MESSAGES_TAB = 2
"""Number of the panel of messages behind the tabs."""


def _at_once(action: Callable[[], None]) -> None:
    action()


@dataclass(frozen=True, slots=True, eq=False)
class Screen:
    """A session on a page.

    Attributes:
        session: the run and what the viewer looks at.
        refresh: draws the page again.
        run: runs what takes a while; what is shown until then is marked as old.
    """

    session: Session
    refresh: Callable[[], None]
    run: Callable[[Callable[[], None]], None] = _at_once

    @property
    def left(self) -> bool:
        """Whether there is something left to step."""
        return not self.session.ended or self.session.look.told is not None

    def look(self, **choices: Any) -> None:
        """Change what is looked at; values of `Look`."""
        for name, value in choices.items():
            setattr(self.session.look, name, value)
        self.refresh()

    def turn(self, **positions: Any) -> None:
        """Turn dials; values of `Dials`, and `keep_time`."""
        self._compute(partial(self.session.turn, **positions))

    def again(self) -> None:
        """Stop, and start from the beginning."""
        self.session.look.playing = False
        self._compute(self.session.start)

    def step(self) -> None:
        """Go on by a period, a stage or a message."""
        advance(self.session)
        self.refresh()

    def tell(self, count: int) -> None:
        """Show a number of messages of the period, and the grid as it was by then."""
        go_to(self.session, told(self.session), count)
        self.refresh()

    def step_by(self, unit: str) -> None:
        """Choose by what to step; messages come with their panel."""
        session = self.session
        if unit == "period":
            go_to(session, steps := told(session), len(steps))
        self.look(unit=unit, tab=MESSAGES_TAB if unit == "message" else session.look.tab)

    def lose(self) -> None:
        """Lose messages from now on, as many and for as long as chosen."""
        look = self.session.look
        hours = float(look.loss_hours) if look.loss_hours else None
        self._compute(partial(self.session.lose, look.loss_percent / 100.0, hours))

    def ask(self) -> None:
        """Let the TSO ask for regulation from now on, as much and for as long as chosen."""
        look = self.session.look
        hours = float(look.request_hours) if look.request_hours else None
        self._compute(partial(self.session.ask, look.request_mw, hours))

    def cut(self, line: str | int) -> None:
        """Cut a line from now on."""
        self._compute(partial(self.session.cut, line))

    def _compute(self, action: Callable[[], Any]) -> None:
        """Make a new run, with the figures of the one before marked as old until it is there."""
        self.session.look.computing += 1
        self.refresh()
        self.run(partial(self._computed, action))

    def _computed(self, action: Callable[[], Any]) -> None:
        try:
            action()
        finally:
            self.session.look.computing -= 1
            self.refresh()

    def play(self) -> None:
        """Play, or pause."""
        look = self.session.look
        self.look(playing=not look.playing and self.left)

    def drawn(self, mark: int) -> None:
        """Take note of what the browser has drawn, so that playing does not run ahead of it."""
        self.session.look.drawn = int(mark)

    def pick(self, key: str) -> None:
        """Pin an element of the map; once more lets it go."""
        found = Element.of(key)
        self.look(pinned=None if found == self.session.look.pinned else found)

    def resize(self, name: str, width: int) -> None:
        """Take note of the width of a picture, and draw it anew."""
        self.session.look.width[name] = width
        self.refresh()

    def press(self, key: str) -> None:
        """A key was pressed outside all fields: space plays, the right arrow steps, Home starts again."""
        actions = {" ": self.play, "ArrowRight": self.step, "Home": self.again}
        if key in actions:
            actions[key]()
