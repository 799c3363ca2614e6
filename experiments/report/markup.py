"""Pieces of the page: escaped text, tables, figures as plotly's JSON."""

from __future__ import annotations

import base64
import html
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Figure", "Section", "array", "escape", "figure_layout", "note", "packed", "script_json", "table"]

Spec = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Figure:
    """A plotly figure in the page.

    Attributes:
        name: identifier in the page.
        data: plotly traces; a value such as ``var(--ink)`` is looked up in the page's style sheet.
        layout: plotly layout, the same way.
        height: in pixels.
    """

    name: str
    data: list[Spec]
    layout: Spec
    height: int = 420

    def markup(self, caption: str = "") -> str:
        """The element that the figure is drawn into."""
        below = f"<figcaption>{caption}</figcaption>" if caption else ""
        style = f"height:{self.height}px"
        return f'<figure><div class="plot" id="{self.name}" style="{style}"></div>{below}</figure>'


@dataclass(frozen=True, slots=True)
class Section:
    """A part of the page: heading, markup, and the figures and data that the markup refers to."""

    name: str
    title: str
    body: str
    figures: tuple[Figure, ...] = ()
    data: Spec = field(default_factory=dict)


def escape(text: object) -> str:
    """Text made safe for the page and for plotly's labels."""
    return html.escape(str(text), quote=True)


def note(text: str) -> str:
    """A remark in place of, or about, a figure; markup is taken as it is."""
    return f'<p class="note">{text}</p>'


def table(head: Sequence[str], rows: Iterable[Sequence[object]], *, texts: int = 1, last: str = "") -> str:
    """A table whose first ``texts`` columns are text and whose others are numbers; cells are escaped.

    Args:
        head: column titles.
        rows: cells.
        texts: how many columns, from the left, are text.
        last: class of the last row, e.g. ``total``.
    """

    def cells(row: Sequence[object], tag: str) -> str:
        kinds = ("" if i < texts else ' class="number"' for i in range(len(row)))
        return "".join(f"<{tag}{k}>{escape(c)}</{tag}>" for c, k in zip(row, kinds, strict=True))

    lines = [f"<tr>{cells(row, 'td')}</tr>" for row in rows]
    if last and lines:
        lines[-1] = lines[-1].replace("<tr>", f'<tr class="{last}">', 1)
    return (
        f'<div class="scroll"><table><thead><tr>{cells(head, "th")}</tr></thead>'
        f"<tbody>{''.join(lines)}</tbody></table></div>"
    )


def array(values: NDArray[np.float64]) -> Spec:
    """Numbers as plotly's typed array; NaN is a gap."""
    spec: Spec = {"dtype": "f8", "bdata": _base64(values, "<f8")}
    if values.ndim == 2:
        spec["shape"] = f"{values.shape[0]},{values.shape[1]}"
    return spec


def packed(values: NDArray[np.float64]) -> str:
    """Numbers in single precision as base64, for the page's own script."""
    return _base64(values, "<f4")


def _base64(values: NDArray[np.float64], dtype: str) -> str:
    return base64.b64encode(np.ascontiguousarray(values, dtype=dtype).tobytes()).decode("ascii")


def script_json(value: object) -> str:
    """JSON that can stand inside a ``<script>`` element."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def figure_layout(**changes: Any) -> Spec:
    """Layout that all figures share, with changes."""
    layout: Spec = {
        "font": {"family": "var(--font)", "size": 13, "color": "var(--ink)"},
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "margin": {"l": 64, "r": 24, "t": 16, "b": 44},
        "hoverlabel": {
            "bgcolor": "var(--surface)",
            "bordercolor": "var(--line)",
            "font": {"family": "var(--font)", "size": 13, "color": "var(--ink)"},
            "align": "left",
        },
        "legend": {"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom", "xanchor": "left"},
        "hovermode": "x unified",
    }
    return layout | changes
