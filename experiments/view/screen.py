"""What the page's controls do: change what is looked at, turn a dial, step, and have the page drawn again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from peerwatt.experiments.view.history import Element
from peerwatt.experiments.view.session import Session

__all__ = ["Screen"]


@dataclass(frozen=True, slots=True, eq=False)
class Screen:
    """A session on a page.

    Attributes:
        session: the run and what the viewer looks at.
        refresh: draws the page again.
    """

    session: Session
    refresh: Callable[[], None]

    def look(self, **choices: Any) -> None:
        """Change what is looked at; values of `Look`."""
        for name, value in choices.items():
            setattr(self.session.look, name, value)
        self.refresh()

    def turn(self, **positions: Any) -> None:
        """Turn dials; values of `Dials`, and `keep_time`."""
        self.session.turn(**positions)
        self.refresh()

    def again(self) -> None:
        """Stop, and start from the beginning."""
        self.session.look.playing = False
        self.session.start()
        self.refresh()

    def step(self) -> None:
        """Simulate a period."""
        self.session.step()
        self.refresh()

    def play(self) -> None:
        """Play, or pause."""
        look = self.session.look
        self.look(playing=not look.playing and not self.session.ended)

    def drawn(self, period: int) -> None:
        """Take note of up to which period the browser has drawn, so that playing does not run ahead of it."""
        self.session.look.drawn = int(period)

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
