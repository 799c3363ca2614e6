"""What each factor does: tornados of effects, and the two strongest factors together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from peerwatt.experiments.comparison import MARK
from peerwatt.experiments.paired import CONFIDENCE, ROUNDING
from peerwatt.experiments.report.markup import Figure, Section, Spec, array, escape, note, table
from peerwatt.experiments.sweep.effects import (
    LINEAR,
    MAIN,
    SRRC,
    Effect,
    Effects,
    main_effects,
    means,
    regression_effects,
)
from peerwatt.experiments.sweep.report.shown import (
    Floats,
    Shown,
    cell_texts,
    heading,
    plain_layout,
    rows_axis,
    short,
    side_by_side,
)
from peerwatt.experiments.wording import number

__all__ = ["factors_section"]

_TITLE = "What each factor does"
_LETTER = 0.022  # width of a letter as a share of the figure's
_HEAD = ("key figure", "factor", "effect", "from", "to", "additive model explains")


def factors_section(shown: Shown) -> Section:
    """A tornado per key figure, and a map of its two strongest factors."""
    levels = {key: [point[key][0] for point in shown.results.design] for key in shown.results.experiment.factors}
    columns = shown.results.factors
    flawed = {factor: shown.flawed_levels(factor) for factor in levels}
    figures, parts, rows = [], [], []
    ranked = False
    for place, name in enumerate(shown.figures):
        values = shown.values[name]
        found = regression_effects(values, columns) if shown.drawn else _marked(main_effects(values, levels), flawed)
        if not found.effects or not any(each.size for each in found.effects):
            parts.append(heading(name) + note(_nothing(shown, values)))
            continue
        ranked |= found.method == SRRC
        tornado = Figure(f"tornado-{place}", *_tornado(found), height=80 + 40 * len(found.effects))
        figures.append(tornado)
        parts.append(heading(name) + tornado.markup(f"On ranks: {found.method}." if found.method == SRRC else ""))
        rows += [[name, *row] for row in _rows(found)]
        if len(found.effects) > 1:
            two = [each.factor for each in found.effects[:2]]
            map_of = _scatter if shown.drawn else _map
            figures.append(map_of(f"two-{place}", shown, two, values))
            parts.append(figures[-1].markup(f"{escape(two[0])} and {escape(two[1])}: mean of {escape(name)}."))
        else:
            parts.append("")
    every = f"<details><summary>Table of effects</summary>{table(_HEAD, rows, texts=2)}</details>" if rows else ""
    body = note(_reading(shown, ranked=ranked)) + shown.alarm + side_by_side(parts) + every
    return Section("factors", _TITLE, body, tuple(figures))


def _marked(found: Effects, flawed: Mapping[str, set[str]]) -> Effects:
    """Effects whose levels have the `MARK` where some variant with that level has periods without a result."""

    def mark(factor: str, level: str) -> str:
        return f"{MARK} {level}" if level in flawed[factor] else level

    marked = (replace(e, low=mark(e.factor, e.low), high=mark(e.factor, e.high)) for e in found.effects)
    return replace(found, effects=tuple(marked))


def _reading(shown: Shown, *, ranked: bool) -> str:
    if not shown.drawn:
        return (
            "Main effects, the largest on top: from the level with the lowest to the level with the highest mean, over "
            f"all levels of the other factors. The table has the {CONFIDENCE:.0%} interval of each, which allows for "
            "the two having been picked among all levels by what came out. What holds 0 may be chance; one in twenty "
            "factors that do nothing has one without 0, and a size is too large rather than too small."
        )
    said = (
        "Standardised regression coefficients, the largest on top: by how many standard deviations a key figure "
        "changes with one standard deviation of a factor; of a factor without numbers the size only, without a sign. "
        "They have no intervals: with N points one of a factor that does nothing is beyond two by the root of N, "
        "either way, in one of twenty cases."
    )
    if ranked:
        said += f" Where a straight line explains less than {LINEAR:.0%} of the variance, those of ranks."
    return said


def _nothing(shown: Shown, values: Floats) -> str:
    known = values[np.isfinite(values)]
    if not known.size:
        return "No run has it."
    own = means(values)
    if np.ptp(own[np.isfinite(own)]) <= ROUNDING * np.abs(known).max():
        return "No factor changes it."
    few = "Too few points" if shown.drawn else "Too many variants without a run"
    return f"{few} to tell the factors from each other."


def _tornado(found: Effects) -> tuple[list[Spec], Spec]:
    return _bars(found) if found.method == MAIN else _signed(found)


def _bars(found: Effects) -> tuple[list[Spec], Spec]:
    """Bars from the lowest mean over the mean of all to the highest, with the levels' names at their ends."""
    y = list(range(len(found.effects)))
    low = np.array([each.low_mean for each in found.effects])
    high = np.array([each.high_mean for each in found.effects])
    hover = [
        f"{escape(each.factor)}<br>{escape(each.low)}: {number(each.low_mean)}<br>{escape(each.high)}: "
        f"{number(each.high_mean)}<br>effect {_said(each.size, each.half_width)}"
        for each in found.effects
    ]
    bars: list[Spec] = [
        {
            "type": "bar",
            "orientation": "h",
            "y": y,
            "base": found.mean,
            "x": array(end - found.mean),
            "width": 0.5,
            "marker": {"color": color},
            "text": hover,
            "textposition": "none",
            "hovertemplate": "%{text}<extra></extra>",
        }
        for end, color in ((low, "var(--c2)"), (high, "var(--c1)"))
    ]
    for ends, side, names in ((low, "left", "low"), (high, "right", "high")):
        bars.append(
            {
                "type": "scatter",
                "mode": "text",
                "x": array(ends),
                "y": y,
                "text": [f" {short(getattr(each, names))} " for each in found.effects],
                "textposition": f"middle {side}",
                "textfont": {"size": 12},
                "hoverinfo": "skip",
            }
        )
    return bars, _layout(found, {"range": _with_room(found, low, high), "zeroline": False}, at=found.mean)


def _with_room(found: Effects, low: Floats, high: Floats) -> list[float]:
    """A range in which the names of levels fit beside the bars, by their number of letters."""
    left, right = (
        _LETTER * max(len(short(getattr(each, end))) + 2 for each in found.effects) for end in ("low", "high")
    )
    span = max(float(high.max() - low.min()), 1e-12) / max(0.2, 1.0 - left - right)
    return [float(low.min()) - span * left, float(high.max()) + span * right]


def _signed(found: Effects) -> tuple[list[Spec], Spec]:
    size = np.array([each.size for each in found.effects])
    colors = ["var(--c1)" if value >= 0.0 else "var(--c2)" for value in size]
    bar: Spec = {
        "type": "bar",
        "orientation": "h",
        "y": list(range(size.size)),
        "x": array(size),
        "width": 0.5,
        "marker": {"color": colors},
        "text": [_coefficient(each, digits=2) for each in found.effects],
        "textposition": "outside",
        "cliponaxis": False,
        "hovertemplate": "%{text}<extra></extra>",
    }
    return [bar], _layout(found, {"range": [-1.25, 1.25], "tickvals": [-1, -0.5, 0, 0.5, 1]}, at=0.0)


def _layout(found: Effects, x: Spec, at: float) -> Spec:
    line = {"color": "var(--ink)", "width": 1.2}
    mark = {"type": "line", "yref": "paper", "y0": 0, "y1": 1, "x0": at, "x1": at, "line": line}
    return plain_layout(
        yaxis=rows_axis([each.factor for each in found.effects]), xaxis=x, shapes=[mark], barmode="overlay"
    )


def _rows(found: Effects) -> list[list[str]]:
    share = "-" if np.isnan(found.explained) else f"{found.explained:.0%}"
    if found.method != MAIN:
        return [[each.factor, _coefficient(each, digits=3), "", "", share] for each in found.effects]
    return [
        [
            each.factor,
            _said(each.size, each.half_width),
            _end(each.low, each.low_mean),
            _end(each.high, each.high_mean),
            share,
        ]
        for each in found.effects
    ]


def _coefficient(effect: Effect, *, digits: int) -> str:
    size = round(effect.size, digits) + 0.0  # no -0
    return f"{size:{'+' if effect.signed and size else ''}.{digits}f}"


def _end(level: str, value: float) -> str:
    return f"{level} ({number(value)})"


def _said(size: float, half_width: float) -> str:
    return number(size) if np.isnan(half_width) else f"{number(size)} ± {number(half_width)}"


def _map(name: str, shown: Shown, two: list[str], values: Floats) -> Figure:
    """Heat map of two factors: means over all levels of the others."""
    levels = [list(shown.results.experiment.factors[key].levels) for key in two]
    at = np.array(
        [[names.index(point[key][0]) for key, names in zip(two, levels, strict=True)] for point in _points(shown)]
    )
    own = means(values)
    z = np.full((len(levels[0]), len(levels[1])), np.nan)
    for i, j in np.ndindex(*z.shape):
        cell = own[(at[:, 0] == i) & (at[:, 1] == j)]
        z[i, j] = cell[np.isfinite(cell)].mean() if np.isfinite(cell).any() else np.nan
    x, text = (
        [short(level) for level in levels[1]],
        [["" if np.isnan(v) else number(v) for v in row] for row in z.tolist()],
    )
    data: list[Spec] = [
        {
            "type": "heatmap",
            "z": array(z),
            "x": x,
            "y": list(range(len(levels[0]))),
            "text": text,
            "hovertemplate": "%{x}<br>mean %{text}<extra></extra>",
            "colorscale": "var(--sequential)",
            "showscale": False,
            "xgap": 2,
            "ygap": 2,
            "hoverongaps": False,
        },
        cell_texts(x, (z - np.nanmin(z)) / max(float(np.nanmax(z) - np.nanmin(z)), 1e-300), text),
    ]
    axis = {"type": "category", "fixedrange": True, "showgrid": False}
    return Figure(name, data, plain_layout(xaxis=axis, yaxis=rows_axis(levels[0])), height=90 + 34 * len(levels[0]))


def _scatter(name: str, shown: Shown, two: list[str], values: Floats) -> Figure:
    """Every point by two factors, coloured by the mean of the figure."""
    columns = shown.results.factors
    own = means(values)
    known = np.isfinite(own)
    pick = [[value for value, there in zip(columns[key], known, strict=True) if there] for key in two]
    data: list[Spec] = [
        {
            "type": "scatter",
            "mode": "markers",
            "x": pick[0],
            "y": pick[1],
            "marker": {
                "size": 10,
                "color": array(own[known]),
                "colorscale": "var(--sequential)",
                "line": {"width": 1, "color": "var(--muted)"},
                "colorbar": {"thickness": 12, "outlinewidth": 0},
            },
            "text": [f"{escape(n)}<br>mean {number(v)}" for n, v, k in zip(shown.names, own, known, strict=True) if k],
            "hovertemplate": "%{text}<br>%{x}, %{y}<extra></extra>",
        }
    ]
    axes = {"xaxis": {"title": {"text": escape(two[0])}}, "yaxis": {"title": {"text": escape(two[1])}}}
    return Figure(name, data, plain_layout(**axes), height=300)


def _points(shown: Shown) -> list[dict[str, tuple[str, object]]]:
    return shown.results.design
