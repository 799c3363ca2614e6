"""Lines and transformers of the grid map: coloured by loading, as wide as their flow, with an arrow along it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from peerwatt.experiments.view.canvas import Canvas, Floats, pickable
from peerwatt.experiments.view.drawing import element, kilowatts, loading_class, number
from peerwatt.grid.state import BranchState

__all__ = ["lines", "trafos"]

WIDEST, NARROWEST = 11.0, 1.6
"""Width of a line that carries the largest flow of the scale, and of one without flow, pixels."""

SHORTEST = 20.0
"""Length below which a line has no room for an arrow, pixels."""


@dataclass(frozen=True, slots=True)
class _Branch:
    """What is drawn of a branch.

    Attributes:
        name: its name.
        on: whether it is in service.
        p_mw: flow at the from side, NaN where nothing is known.
        loading: percent of its rating.
        limit: its limit, percent of its rating.
    """

    name: str
    on: bool
    p_mw: float
    loading: float
    limit: float

    @property
    def known(self) -> bool:
        """Whether there is a state of it."""
        return self.on and bool(np.isfinite(self.p_mw))

    @property
    def over(self) -> bool:
        """Whether it is above its limit."""
        return self.on and self.loading > self.limit

    @property
    def occupancy_percent(self) -> float:
        """Loading as a share of the limit."""
        return 100.0 * self.loading / self.limit

    @property
    def colour(self) -> str:
        """Colour by loading as a share of the limit."""
        if not self.known:
            return "var(--muted)"
        return "var(--over)" if self.over else f"var(--l{loading_class(np.array([self.occupancy_percent]))[0]})"

    def words(self, *more: str) -> list[str]:
        """What the pointer tells."""
        if not self.on:
            return [self.name, "out of service"]
        if not self.known:
            return [self.name, "loading not known"]
        limit = "its limit" if self.limit == 100.0 else f"its limit ({self.limit:g} % of the rating)"
        return [self.name, f"loading {self.occupancy_percent:.1f} % of {limit}", *more]


def _branch(canvas: Canvas, kind: str, i: int, name: str) -> _Branch:
    table = canvas.network.lines if kind == "line" else canvas.network.trafos
    state: BranchState | None = None if canvas.state is None else getattr(canvas.state, kind)
    p_mw, loading = (np.nan, np.nan) if state is None else (state.p_from_mw[i], state.loading_percent[i])
    return _Branch(name, bool(table.in_service[i]), float(p_mw), float(loading), float(table.max_loading_percent[i]))


def _by_phase(canvas: Canvas, kind: str, i: int) -> list[str]:
    """Loading of all phases, where one is shown."""
    if canvas.phases is None:
        return []
    table = canvas.network.lines if kind == "line" else canvas.network.trafos
    loading = 100.0 * getattr(canvas.phases, kind).loading_percent[i] / table.max_loading_percent[i]
    return [f"phases A / B / C: {' / '.join(f'{each:.1f}' for each in loading)} %"]


def lines(canvas: Canvas) -> list[str]:
    """All lines."""
    table, parts = canvas.network.lines, []
    for i in range(len(table)):
        branch = _branch(canvas, "line", i, table.name[i])
        a, b = canvas.xy[table.from_bus[i]], canvas.xy[table.to_bus[i]]
        if branch.known and branch.p_mw < 0.0:
            a, b = b, a
        words = branch.words(f"flow {kilowatts(abs(branch.p_mw))}", *_by_phase(canvas, "line", i))
        drawn = _line(branch, a, b, branch.p_mw / canvas.full_mw, pinned=canvas.pinned("line", i))
        parts.append(pickable(f"line:{i}", words, drawn, "branch"))
    return parts


def _line(branch: _Branch, a: Floats, b: Floats, share: float, *, pinned: bool) -> list[str]:
    """A line from a to b, which is where power flows; `share` is its flow over the largest of the scale."""
    share = min(abs(share), 1.0) if branch.known else 0.0
    width = NARROWEST + (WIDEST - NARROWEST) * share
    ends = {"x1": float(a[0]), "y1": float(a[1]), "x2": float(b[0]), "y2": float(b[1])}
    state = "" if branch.on else " out"
    state += " over" if branch.over else ""
    parts = [
        element("line", class_="hit", **ends),
        element("line", class_="pin", stroke_width=width + 8.0, **ends) if pinned else "",
        element("line", class_="casing", stroke_width=width + 5.0, **ends) if branch.over else "",
        element("line", class_=f"wire{state}", stroke=branch.colour, stroke_width=width, **ends),
        element("line", class_="run", stroke_width=max(width * 0.3, 1.0), **ends) if share > 0.1 else "",
    ]
    if share > 0.01:
        parts.append(_arrow(a, b, width))
    if not branch.on:
        x, y = (float(value) for value in (a + b) / 2)
        parts.append(element("path", d=f"M{number(x - 6)} {number(y - 6)}l12 12m0-12l-12 12", class_="cross"))
    return parts


def _arrow(a: Floats, b: Floats, width: float) -> str:
    """A chevron at the middle of a line that points to b."""
    (x, y), way = (a + b) / 2, b - a
    if np.linalg.norm(way) < SHORTEST:
        return ""
    angle, size = float(np.degrees(np.arctan2(way[1], way[0]))), 3.2 + 0.62 * width
    path = f"M{number(-size)} {number(-size)}L{number(size)} 0L{number(-size)} {number(size)}L{number(-0.4 * size)} 0Z"
    at = f"translate({number(float(x))} {number(float(y))}) rotate({number(angle)})"
    return element("path", d=path, class_="arrow", transform=at)


def trafos(canvas: Canvas) -> list[str]:
    """All transformers: two windings across the wire."""
    table, parts = canvas.network.trafos, []
    for i in range(len(table)):
        branch = _branch(canvas, "trafo", i, table.name[i] or f"transformer {i}")
        a, b = canvas.xy[table.hv_bus[i]], canvas.xy[table.lv_bus[i]]
        side = "from" if branch.p_mw >= 0.0 else "to"
        flow = f"{kilowatts(abs(branch.p_mw))} {side} the upper voltage"
        words = branch.words(flow, f"{1e3 * table.sn_mva[i]:g} kVA", *_by_phase(canvas, "trafo", i))
        parts.append(pickable(f"trafo:{i}", words, _windings(branch, a, b, pinned=canvas.pinned("trafo", i)), "branch"))
    return parts


def _windings(branch: _Branch, a: Floats, b: Floats, *, pinned: bool) -> list[str]:
    middle, way = (a + b) / 2, (b - a) / max(float(np.linalg.norm(b - a)), 1e-6)
    state = "winding over" if branch.over else "winding"
    rings = [
        element("circle", cx=float(at[0]), cy=float(at[1]), r=10.0, class_=state, stroke=branch.colour)
        for at in (middle - 6.0 * way, middle + 6.0 * way)
    ]
    ends = {"x1": float(a[0]), "y1": float(a[1]), "x2": float(b[0]), "y2": float(b[1])}
    wire = element("line", class_="wire", stroke=branch.colour, stroke_width=3.0, **ends)
    pin = element("circle", cx=float(middle[0]), cy=float(middle[1]), r=22.0, class_="pin") if pinned else ""
    return [wire, pin, *rings]
