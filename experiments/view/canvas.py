"""What the parts of the grid map share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from peerwatt.experiments.view.drawing import element
from peerwatt.experiments.view.session import Session
from peerwatt.grid.network import Network
from peerwatt.grid.state import GridState

if TYPE_CHECKING:
    from peerwatt.grid.threephase_state import ThreePhaseState

__all__ = ["Canvas", "Floats", "pickable", "tip"]

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Canvas:
    """What all parts of the map share.

    Attributes:
        session: what is looked at.
        network: the grid.
        state: what it does, of one phase where one is shown; None before the first period.
        phases: all phases where one is shown, else None.
        xy: pixels of the buses, (n_bus, 2).
        full_mw: flow that is drawn at the widest.
        crowding: 1 where buses have room, less where there are many; discs shrink with it.
    """

    session: Session
    network: Network
    state: GridState | None
    phases: ThreePhaseState | None
    xy: Floats
    full_mw: float
    crowding: float

    @property
    def phase(self) -> int:
        """Number of the phase that is shown; 0 where the balanced grid is."""
        return max("abc".find(self.session.look.phase), 0)

    @property
    def on_phase(self) -> Floats | None:
        """Which share of each peer is on each phase, (n_peers, 3); None where the balanced grid is shown."""
        return None if self.phases is None or self.session.phases is None else self.session.phases.shares()

    def pinned(self, kind: str, position: int) -> bool:
        """Whether an element is the pinned one."""
        found = self.session.look.pinned
        return found is not None and (found.kind, found.position) == (kind, position)


def tip(lines: list[str]) -> str:
    """Lines of text for the pointer, without empty ones."""
    return "\n".join(line for line in lines if line)


def pickable(key: str, words: list[str], parts: list[str], kind: str) -> str:
    """Parts of the map that can be pointed at, clicked and reached by keyboard.

    Args:
        key: key of the element, see `Element`.
        words: what the pointer tells.
        parts: SVG.
        kind: class in the style sheet.
    """
    text = tip(words)
    return element(
        "g",
        parts,
        class_=kind,
        data_key=key,
        data_tip=text,
        tabindex=0,
        role="button",
        aria_label=text.replace("\n", ", "),
    )
