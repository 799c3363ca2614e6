"""The grid map: lines by loading and flow, buses by voltage, peers by kind and net power, trades as arcs.

What a limit is violated by never rests on colour alone: such lines are dashed within a casing, such buses stand in
a diamond, and both carry their number.
"""

from __future__ import annotations

import numpy as np

from peerwatt.experiments.report.markup import escape
from peerwatt.experiments.view.canvas import Canvas, Floats
from peerwatt.experiments.view.drawing import Drawing, element, nice, number
from peerwatt.experiments.view.layout import Fitted
from peerwatt.experiments.view.legend import legend
from peerwatt.experiments.view.map_branches import lines, trafos
from peerwatt.experiments.view.map_buses import buses
from peerwatt.experiments.view.map_trades import arcs
from peerwatt.experiments.view.phases import SINGLE_PHASE_MW, as_balanced
from peerwatt.experiments.view.session import Session

__all__ = ["grid_map"]

ROOMY = 80.0
"""Mean distance between buses from which signs need not shrink, pixels."""

FLAG = 20.0
"""Height of a flag with its distance to the next, pixels."""

LABELS = 6
"""How many violated lines, transformers, and how many buses, carry a number at most: the worst."""


def grid_map(session: Session) -> Drawing | None:
    """The map of the grid at the chosen stage of the period before; None where there is no run."""
    network, where = session.network, session.placed(float(session.look.width.get("map", 900)))
    if network is None or where is None:
        return None
    width, height = where.width, where.height
    crowding = min(1.0, float(np.sqrt(width * height / network.n_bus)) / ROOMY)
    phases, state = session.by_phase, session.state
    full_mw = nice(session.history.largest_flow_mw)
    if phases is not None and state is not None:
        state = as_balanced(phases, session.look.phase, state)
        flows = np.abs(np.concatenate((state.line.p_from_mw, state.trafo.p_from_mw)))
        full_mw = nice(max(session.history.largest_flow_mw / 3.0, float(np.nanmax(flows, initial=0.0))))
    canvas = Canvas(session, network, state, phases, where.xy, full_mw, crowding)
    key, bottom = legend(width, height, canvas.full_mw, _tariffs(session))
    parts = [
        element("g", lines(canvas), class_="lines"),
        element("g", trafos(canvas), class_="trafos"),
        element("g", arcs(canvas) if session.look.arcs else "", class_="arcs"),
        element("g", buses(canvas), class_="buses"),
        element("g", _marks(canvas), class_="marks"),
        key,
        _north(where),
        _failure(canvas, width),
    ]
    svg = element(
        "svg",
        parts,
        xmlns="http://www.w3.org/2000/svg",
        viewBox=f"0 0 {number(width)} {number(bottom)}",
        role="group",
        aria_label="Map of the grid",
    )
    return Drawing("map", svg, _caption(canvas))


def _caption(canvas: Canvas) -> str:
    """What one phase is, and what is not of it; empty for the balanced grid."""
    state, phases, model = canvas.state, canvas.phases, canvas.session.phases
    if state is None or phases is None or model is None:
        return ""
    words = ["This is one phase; trading and limits are those of the balanced run."]
    if phases.converged:
        vuf, highest = phases.vuf_percent, 100.0 * np.concatenate(state.occupancy(canvas.network))
        worst = int(np.nanargmax(vuf))
        words.append(
            f"Voltage {np.nanmin(state.vm_pu):.3f} to {np.nanmax(state.vm_pu):.3f} pu, highest loading "
            f"{np.nanmax(highest):.1f} % of its limit; unbalance (VUF) up to {vuf[worst]:.2f} %, at "
            f"{canvas.network.buses.name[worst]}."
        )
    who = f"peers up to {1e3 * SINGLE_PHASE_MW:g} kW are on one, drawn by seed, others on three"
    words.append(f"Phases of the peers: {who if model.drawn else 'those of the network'}.")
    return " ".join(words)


def _tariffs(session: Session) -> tuple[float, float] | None:
    """Prices between which arcs are coloured, where there are arcs."""
    if session.simulation is None or not session.look.arcs:
        return None
    tariff = session.simulation.context.tariff
    return tariff.feed_in_eur_per_mwh, tariff.supply_eur_per_mwh


def _north(where: Fitted) -> str:
    """A small arrow to the north, where the coordinates are the grid's own."""
    if where.north is None:
        return ""
    angle = float(np.degrees(np.arctan2(where.north[1], where.north[0])))
    arrow = element("path", d="M-9 0H7M7 0L1 -4M7 0L1 4", class_="north", transform=f"rotate({number(angle)})")
    text = element("text", "N", x=-16.0 * where.north[0], y=-16.0 * where.north[1] + 4.0, text_anchor="middle")
    return element("g", arrow + text, class_="legend", transform="translate(26 26)")


def _failure(canvas: Canvas, width: float) -> str:
    state = canvas.state
    if state is None or state.converged:
        return ""
    text = element(
        "text",
        escape(f"The power flow has no solution: {state.reason}"[:110]),
        x=width / 2,
        y=24.0,
        class_="alarm",
        text_anchor="middle",
    )
    return element("g", text, class_="failure")


def _marks(canvas: Canvas) -> list[str]:
    """Signs at what violates a limit, and numbers at the worst."""
    state, network = canvas.state, canvas.network
    if state is None or not state.converged:
        return []
    found, flags, parts = state.violations(network), _Flags(), []
    line, trafo = state.occupancy(network)
    for mask, table, occupancy, ends in (
        (found.line_mask, network.lines, line, ("from_bus", "to_bus")),
        (found.trafo_mask, network.trafos, trafo, ("hv_bus", "lv_bus")),
    ):
        over = np.where(mask, occupancy, 0.0)
        for i in np.argsort(-over, kind="stable")[: min(LABELS, int(mask.sum()))]:
            a, b = (canvas.xy[getattr(table, end)[i]] for end in ends)
            parts.append(flags.at((a + b) / 2, f"⚠ {100.0 * over[i]:.0f} % of limit"))
    outside = np.flatnonzero(found.low_voltage | found.high_voltage)
    for rank, bus in enumerate(outside[np.argsort(-np.abs(state.vm_pu[outside] - 1.0), kind="stable")]):
        x, y = canvas.xy[bus]
        parts.append(element("path", d=f"M{number(x)} {number(y - 15)}l15 15l-15 15l-15 -15Z", class_="diamond"))
        if rank < LABELS:
            sign = "▲" if found.high_voltage[bus] else "▼"
            parts.append(flags.at(canvas.xy[bus] + (0.0, -8.0), f"{sign} {state.vm_pu[bus]:.3f}"))
    return parts


class _Flags:
    """Small boxes with numbers, each moved up until it hides none before it."""

    def __init__(self) -> None:
        self._taken: list[tuple[float, float, float]] = []

    def at(self, where: Floats, text: str) -> str:
        """A box above a place."""
        x, y, width = float(where[0]), float(where[1]) - 22.0, 12.0 + 7.2 * len(text)
        while any(abs(x - left) < (width + size) / 2 and abs(y - top) < FLAG for left, top, size in self._taken):
            y -= FLAG
        self._taken.append((x, y, width))
        leader = element("line", x1=x, y1=y, x2=x, y2=float(where[1]), class_="leader")
        box = element("rect", x=x - width / 2, y=y - 9.0, width=width, height=19.0, rx=4.0, class_="flag")
        return leader + box + element("text", escape(text), x=x, y=y + 5.0, class_="flag-text", text_anchor="middle")
