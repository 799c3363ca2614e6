"""All variants and all key figures at a glance: a heat map of means."""

from __future__ import annotations

import numpy as np

from peerwatt.experiments.paired import ROUNDING
from peerwatt.experiments.report.markup import Figure, Section, array, escape, note
from peerwatt.experiments.sweep.effects import means
from peerwatt.experiments.sweep.report.shown import Floats, Shown, cell_texts, plain_layout, rows_axis
from peerwatt.experiments.wording import number

__all__ = ["MAX_ROWS", "overview_section"]

MAX_ROWS = 32
"""How many variants are shown."""
_WIDE = 14  # letters of a column's name in one line


def overview_section(shown: Shown) -> Section:
    """Means of every key figure by variant, coloured from the lowest to the highest of each figure."""
    table = np.column_stack([means(shown.values[figure]) for figure in shown.figures])[:MAX_ROWS]
    names = shown.marked[:MAX_ROWS]
    share = _normalised(table)
    columns = [_broken(figure) for figure in shown.figures]
    text = [["" if np.isnan(value) else number(value) for value in row] for row in table.tolist()]
    data = [
        {
            "type": "heatmap",
            "z": array(share),
            "text": text,
            "customdata": [[escape(name)] * len(shown.figures) for name in names],
            "hovertemplate": "%{customdata}<br>%{x}<br>mean %{text}<extra></extra>",
            "x": columns,
            "y": list(range(len(names))),
            "colorscale": "var(--sequential)",
            "zmin": 0,
            "zmax": 1,
            "xgap": 2,
            "ygap": 2,
            "hoverongaps": False,
            "colorbar": {
                "thickness": 12,
                "outlinewidth": 0,
                "tickvals": [0, 1],
                "ticktext": ["lowest", "highest"],
            },
        },
        cell_texts(columns, share, text),
    ]
    layout = plain_layout(xaxis={"side": "top", "fixedrange": True, "showgrid": False}, yaxis=rows_axis(names))
    figure = Figure("overview-plot", data, layout, height=110 + 26 * len(names))
    cut = f" The first {MAX_ROWS} of {len(shown.names)} variants." if len(shown.names) > MAX_ROWS else ""
    said = (
        "Means over the replicas that all variants have, if there are any. Colour goes from the lowest to the highest "
    )
    said += f"mean of each column; a column without colour is the same for all variants.{cut}"
    return Section("overview", "Variants and key figures", figure.markup(said) + _only(shown), (figure,))


def _broken(figure: str) -> str:
    """A name in lines of a few words, so that neighbours do not overlap."""
    lines = [""]
    for word in figure.split("_"):
        if len(lines[-1]) + len(word) > _WIDE and lines[-1]:
            lines.append("")
        lines[-1] += f"{word}_"
    return "<br>".join(escape(line) for line in lines).removesuffix("_")


def _normalised(table: Floats) -> Floats:
    """Each column from 0 to 1; NaN where it is the same throughout."""
    low, high = np.fmin.reduce(table, axis=0), np.fmax.reduce(table, axis=0)
    span = np.where(high - low > ROUNDING * np.maximum(np.abs(low), np.abs(high)), high - low, np.nan)
    return np.asarray((table - low) / span)


def _only(shown: Shown) -> str:
    others = len(shown.results.figures) - len(shown.figures)
    return note(f"Runs have {others} key figures more; <code>--kpi NAME</code> shows others.") if others else ""
