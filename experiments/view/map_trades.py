"""Trades of the grid map: arcs from seller to buyer."""

from __future__ import annotations

import numpy as np

from peerwatt.experiments.view.canvas import Canvas, Floats, tip
from peerwatt.experiments.view.drawing import element, kilowatts, number

__all__ = ["MOST_ARCS", "arcs"]

MOST_ARCS = 80
"""How many trades are drawn as arcs at most, the largest."""

PRICES = 6
"""Into how many classes prices are put between the tariffs."""


def arcs(canvas: Canvas) -> list[str]:
    """Trades between buyers and sellers: as wide as their power, coloured by their price between the tariffs."""
    session = canvas.session
    result, simulation = session.result, session.simulation
    if result is None or simulation is None or not len(result.trades):
        return []
    trades, population, tariff = result.trades, simulation.context.population, simulation.context.tariff
    rows = np.argsort(-trades.p_mw, kind="stable")
    if session.look.peer:
        row = simulation.context.row_of.get(session.look.peer, -1)
        rows = rows[(trades.seller[rows] == row) | (trades.buyer[rows] == row)]
    low, high = tariff.feed_in_eur_per_mwh, tariff.supply_eur_per_mwh
    parts = []
    for k in rows[:MOST_ARCS]:
        a, b = (canvas.xy[population.bus[side[k]]] for side in (trades.seller, trades.buyer))
        share = float(np.clip((trades.price_eur_per_mwh[k] - low) / max(high - low, 1e-9), 0.0, 0.999))
        words = tip(
            [
                f"{population.name[trades.seller[k]]} sells to {population.name[trades.buyer[k]]}",
                f"{kilowatts(float(trades.p_mw[k]))} at {trades.price_eur_per_mwh[k]:.1f} EUR/MWh",
            ]
        )
        width, colour = float(1.2 + 5.0 * np.sqrt(trades.p_mw[k] / trades.p_mw.max())), f"var(--p{int(PRICES * share)})"
        bow = element("path", d=_bow(a, b), class_="bow", stroke=colour, stroke_width=width)
        parts.append(element("g", bow + _head(a, b, width, colour), class_="arc", data_tip=words))
    return parts


def _bend(a: Floats, b: Floats) -> Floats:
    """Control point of an arc: to the left of its way, so that both directions can be told apart."""
    dx, dy = b - a
    return np.asarray((a + b) / 2 + 0.22 * np.array([dy, -dx]), dtype=np.float64)


def _head(a: Floats, b: Floats, width: float, colour: str) -> str:
    """The arrow in the middle of an arc, from seller to buyer."""
    x, y = 0.25 * a + 0.5 * _bend(a, b) + 0.25 * b
    angle, size = float(np.degrees(np.arctan2(*(b - a)[::-1]))), 3.5 + width
    path = f"M{number(-size)} {number(-size)}L{number(size)} 0L{number(-size)} {number(size)}Z"
    return element(
        "path",
        d=path,
        fill=colour,
        class_="bow-head",
        transform=f"translate({number(float(x))} {number(float(y))}) rotate({number(angle)})",
    )


def _bow(a: Floats, b: Floats) -> str:
    mx, my = _bend(a, b)
    return f"M{number(a[0])} {number(a[1])}Q{number(mx)} {number(my)} {number(b[0])} {number(b[1])}"
