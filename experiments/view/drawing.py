"""Pieces of the page's pictures: SVG text, marks of scales, colours by name of the style sheet.

A picture names colours as the style sheet does, `var(--ink)`, so that it is light or dark as the page is.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from peerwatt.experiments.report.markup import escape

__all__ = ["Drawing", "Html", "element", "kilowatts", "loading_class", "nice", "number", "voltage_class"]

LOADING_STEPS = (2.5, 5.0, 10.0, 20.0, 30.0, 40.0, 55.0, 70.0, 85.0)
"""Borders of the classes of loading, percent of the limit; finer where grids mostly are."""

VOLTAGE_STEPS = (-0.05, -0.03, -0.02, -0.01, 0.01, 0.02, 0.03, 0.05)
"""Borders of the classes of voltage, pu from 1."""


@dataclass(frozen=True, slots=True)
class Drawing:
    """An SVG picture.

    Attributes:
        name: identifies it in the page and names the file that it is saved as.
        svg: the picture.
        caption: what it shows, below it.
    """

    name: str
    svg: str
    caption: str = ""


@dataclass(frozen=True, slots=True)
class Html:
    """A piece of page that is no picture: tables, remarks.

    Attributes:
        name: identifies it in the page.
        markup: escaped HTML.
    """

    name: str
    markup: str


def element(tag: str, content: str | Iterable[str] = "", /, **attributes: Any) -> str:
    """An SVG element; an underscore in a name of an attribute is a hyphen, values that are None are left out."""
    parts = []
    for name, value in attributes.items():
        if value is not None:
            text = number(value) if isinstance(value, float) else escape(value).replace("\n", "&#10;")
            parts.append(f' {name.rstrip("_").replace("_", "-")}="{text}"')
    inner = content if isinstance(content, str) else "".join(content)
    return f"<{tag}{''.join(parts)}>{inner}</{tag}>" if inner else f"<{tag}{''.join(parts)}/>"


def number(value: float) -> str:
    """A coordinate with a tenth of a pixel."""
    return f"{value:.1f}".removesuffix(".0")


def nice(value: float) -> float:
    """The next 1, 2 or 5 times a power of ten at or above a value, 1 for nothing."""
    if not np.isfinite(value) or value <= 0.0:
        return 1.0
    power = 10.0 ** np.floor(np.log10(value))
    return float(next(step * power for step in (1.0, 2.0, 5.0, 10.0) if step * power >= value * (1.0 - 1e-9)))


def kilowatts(p_mw: float) -> str:
    """Power in kW, or in MW from one on."""
    if not np.isfinite(p_mw):
        return "not known"
    return f"{p_mw:,.3f} MW" if abs(p_mw) >= 1.0 else f"{1e3 * p_mw:,.2f} kW"


def loading_class(percent_of_limit: NDArray[np.float64]) -> NDArray[np.intp]:
    """Class of each loading, 0 to 9, -1 where it is not known."""
    found = np.searchsorted(LOADING_STEPS, percent_of_limit, side="right")
    return np.where(np.isfinite(percent_of_limit), found, -1)


def voltage_class(vm_pu: NDArray[np.float64]) -> NDArray[np.intp]:
    """Class of each voltage, 0 (low) to 8 (high), -1 where it is not known."""
    found = np.searchsorted(VOLTAGE_STEPS, np.nan_to_num(vm_pu) - 1.0, side="right")
    return np.where(np.isfinite(vm_pu), found, -1)
