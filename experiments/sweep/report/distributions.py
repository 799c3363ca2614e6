"""How each key figure is distributed over the replicas: boxes by variant, or a histogram where there are many."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np

from peerwatt.experiments.report.markup import Figure, Section, Spec, array, escape, note
from peerwatt.experiments.sweep.report.shown import Floats, Shown, heading, plain_layout, rows_axis, side_by_side

__all__ = ["MAX_BOXES", "distributions_section"]

MAX_BOXES = 24
"""How many variants have a box of their own."""
MAX_POINTS = 2000
"""How many single runs are drawn beside boxes, per key figure."""


def distributions_section(shown: Shown) -> Section:
    """A figure per key figure."""
    boxes = len(shown.names) <= MAX_BOXES
    figures, parts = [], []
    for place, name in enumerate(shown.figures):
        values = shown.values[name]
        data, layout, height = _boxes(shown, values) if boxes else _histogram(values)
        figures.append(Figure(f"distribution-{place}", data, layout, height=height))
        parts.append(heading(name) + figures[-1].markup())
    said = (
        "Each dot is a run. Boxes hold the middle half of the runs, with the median as a line and the mean as a "
        "diamond; whiskers reach the lowest and the highest run. Dotted: the mean of the reference."
        if boxes
        else f"All runs of all {len(shown.names)} variants."
    )
    return Section("distributions", "Distributions", note(said) + side_by_side(parts), tuple(figures))


def _boxes(shown: Shown, values: Floats) -> tuple[list[Spec], Spec, int]:
    known = [row[np.isfinite(row)] for row in values]
    there = [number for number, row in enumerate(known) if row.size]
    quantiles = np.array([np.quantile(known[k], (0.0, 0.25, 0.5, 0.75, 1.0)) for k in there]).reshape(-1, 5).T
    names = ("lowerfence", "q1", "median", "q3", "upperfence")
    box: dict[str, Any] = {
        "type": "box",
        "orientation": "h",
        "y": there,
        **{name: row.tolist() for name, row in zip(names, quantiles, strict=True)},
        "width": 0.6,
        "line": {"color": "var(--c1)", "width": 1.5},
        "fillcolor": "var(--c1-faint)",
        "hoverinfo": "x",
    }
    means = {
        "type": "scatter",
        "mode": "markers",
        "y": there,
        "x": [float(known[k].mean()) for k in there],
        "marker": {"symbol": "diamond", "size": 8, "color": "var(--ink)"},
        "text": [f"{escape(shown.marked[k])}<br>{known[k].size} runs" for k in there],
        "hovertemplate": "%{text}<br>mean %{x:.4~g}<extra></extra>",
    }
    layout = plain_layout(yaxis=rows_axis(shown.marked), xaxis={}, shapes=_reference(shown, values))
    return [box, *_points(shown, values), means], layout, 70 + 28 * len(shown.names)


def _points(shown: Shown, values: Floats) -> list[Spec]:
    """Single runs, moved up and down a little by the replica."""
    if np.isfinite(values).sum() > MAX_POINTS:
        return []
    variant, replica = np.nonzero(np.isfinite(values))
    aside = 0.22 * (2.0 * np.modf(replica * 0.618034)[0] - 1.0)  # the golden ratio spreads any number of them
    return [
        {
            "type": "scatter",
            "mode": "markers",
            "x": array(values[variant, replica]),
            "y": array(variant + aside),
            "marker": {"size": 5, "color": "var(--c1-soft)"},
            "text": [f"{escape(shown.marked[k])}<br>replica {r}" for k, r in zip(variant, replica, strict=True)],
            "hovertemplate": "%{text}<br>%{x:.4~g}<extra></extra>",
        }
    ]


def _reference(shown: Shown, values: Floats) -> list[Spec]:
    row = values[shown.names.index(shown.reference)]
    known = row[np.isfinite(row)]
    if not known.size:
        return []
    x = float(known.mean())
    line = {"color": "var(--muted)", "width": 1.2, "dash": "dot"}
    return [{"type": "line", "yref": "paper", "y0": 0, "y1": 1, "x0": x, "x1": x, "line": line, "layer": "below"}]


def _histogram(values: Floats) -> tuple[list[Spec], Spec, int]:
    known = values[np.isfinite(values)]
    if known.size:
        count, edges = np.histogram(known, bins="auto" if np.ptp(known) > 0.0 else 1)
        if count.size > 80:
            count, edges = np.histogram(known, bins=80)
    else:
        count, edges = np.zeros(0, dtype=np.intp), np.zeros(1)
    bars = {
        "type": "bar",
        "x": array((edges[1:] + edges[:-1]) / 2.0),
        "y": count.tolist(),
        "width": array(np.diff(edges)),
        "marker": {"color": "var(--c1-soft)", "line": {"color": "var(--c1)", "width": 1}},
        "customdata": [f"{a:.4g} to {b:.4g}" for a, b in pairwise(edges.tolist())],
        "hovertemplate": "%{customdata}: %{y} runs<extra></extra>",
    }
    layout = plain_layout(xaxis={}, yaxis={"title": {"text": "runs"}, "rangemode": "tozero"}, bargap=0)
    return [bars], layout, 300
