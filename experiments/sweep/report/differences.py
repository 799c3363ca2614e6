"""Paired differences to the reference: intervals, how large they are, and which are there at all."""

from __future__ import annotations

import numpy as np

from peerwatt.experiments.comparison import MARK
from peerwatt.experiments.paired import CONFIDENCE
from peerwatt.experiments.report.markup import Figure, Section, Spec, array, escape, note, table
from peerwatt.experiments.sweep.analysis import Row, cells
from peerwatt.experiments.sweep.report.shown import Shown, heading, plain_layout, rows_axis, side_by_side

__all__ = ["differences_section"]

LEVEL = 0.05
"""Adjusted p-values below it are drawn filled."""
MAX_ROWS = 24
"""How many variants are drawn, per key figure."""


def differences_section(shown: Shown) -> Section:
    """A figure per key figure, and the table of all."""
    title = "Differences to the reference"
    figures, parts = [], []
    for place, name in enumerate(shown.figures):
        rows = [row for row in shown.analysis.rows if row.kpi == name and np.isfinite(row.found.difference)]
        if not rows:
            parts.append(heading(name) + note("There is no pair of runs to take a difference of."))
            continue
        if not any(row.found.difference or row.found.half_width for row in rows):
            parts.append(heading(name) + note("It is the same in every pair of runs."))
            continue
        drawn = sorted(rows, key=lambda row: -abs(row.found.difference))[:MAX_ROWS] if len(rows) > MAX_ROWS else rows
        figures.append(Figure(f"difference-{place}", _data(drawn), _layout(drawn), height=70 + 26 * len(drawn)))
        cut = f"The {MAX_ROWS} largest of {len(rows)}." if len(rows) > MAX_ROWS else ""
        parts.append(heading(name) + figures[-1].markup(cut))
    reading = (
        f"Each variant less <b>{escape(shown.reference)}</b>, replica by replica, with its {CONFIDENCE:.0%} t "
        f"interval. Filled: p adjusted below {LEVEL:g}; open: the difference may be chance."
    )
    if shown.drawn and not shown.results.experiment.reference:
        reading += " The reference is merely the first point that was drawn; what the factors do says more."
    if shown.flaws:
        reading += f" Open with {MARK}: on one of both sides some periods have no result."
    rows_of_table = [[row.kpi, *shown.analysis.cells(row)] for row in shown.analysis.rows]
    every = f"<details><summary>Table of all differences</summary>{note(escape(shown.analysis.caption()))}"
    every += f"{table(shown.analysis.head, rows_of_table, texts=2)}</details>"
    return Section("differences", title, note(reading) + side_by_side(parts) + every, tuple(figures))


def _data(rows: list[Row]) -> list[Spec]:
    sure = [bool(row.p_adjusted < LEVEL) and not row.unsolved for row in rows]
    half = np.array([row.found.half_width for row in rows])
    texts = [
        f"{escape(row.variant)}<br>{escape(cell[2])}<br>d {escape(cell[3])}, p adjusted {escape(cell[4])}, n {cell[5]}"
        + (f"<br>{escape(row.unsolved)}" if row.unsolved else "")
        for row, cell in ((row, cells(row)) for row in rows)
    ]
    return [
        {
            "type": "scatter",
            "mode": "markers",
            "x": array(np.array([row.found.difference for row in rows])),
            "y": list(range(len(rows))),
            "error_x": {"array": np.nan_to_num(half).tolist(), "color": "var(--c1)", "thickness": 1.8, "width": 4},
            "marker": {
                "size": 9,
                "symbol": ["circle" if each else "circle-open" for each in sure],
                "color": "var(--c1)",
                "line": {"width": 1.8, "color": "var(--c1)"},
            },
            "text": texts,
            "hovertemplate": "%{text}<extra></extra>",
        }
    ]


def _layout(rows: list[Row]) -> Spec:
    line = {"color": "var(--ink)", "width": 1.2}
    zero = {"type": "line", "yref": "paper", "y0": 0, "y1": 1, "x0": 0, "x1": 0, "line": line, "layer": "below"}
    middle = np.array([row.found.difference for row in rows])
    half = np.nan_to_num([row.found.half_width for row in rows])
    low, high = min(0.0, float((middle - half).min())), max(0.0, float((middle + half).max()))
    aside = 0.05 * (high - low)
    x = {"range": [low - aside, high + aside], "zeroline": False}
    return plain_layout(
        yaxis=rows_axis([f"{MARK} {row.variant}" if row.unsolved else row.variant for row in rows]),
        xaxis=x,
        shapes=[zero],
    )
