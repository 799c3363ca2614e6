"""The legend below the grid map."""

from __future__ import annotations

from peerwatt.experiments.view.drawing import LOADING_STEPS, VOLTAGE_STEPS, element, kilowatts, number

__all__ = ["legend"]


def legend(width: float, height: float, full_mw: float, tariffs: tuple[float, float] | None) -> tuple[str, float]:
    """What the map's colours, widths and signs mean, along its lower edge.

    Args:
        width: width of the map above.
        height: its height.
        full_mw: flow that is drawn at the widest.
        tariffs: prices between which trades are coloured; None where no trades are drawn.

    Returns:
        The legend, and the lower edge of it.
    """
    top = height + 14.0
    parts = _loading(12.0, top) + _flow(12.0 + 10 * 17 + 34.0, top, full_mw)
    if tariffs is not None:
        ends = [(0, f"{tariffs[0]:g}"), (6, f"{tariffs[1]:g}")]
        parts += _scale(350.0, top, "price of a trade, EUR/MWh", [f"var(--p{i})" for i in range(6)], ends)
    parts += _voltage(width - 9 * 17 - 12.0, top)
    signs, bottom = _signs(top + 40.0, width)
    return element("g", parts + signs, class_="legend"), bottom


def _scale(x: float, y: float, title: str, colours: list[str], ticks: list[tuple[int, str]]) -> str:
    parts = [element("text", title, x=x, y=y - 2.0, class_="heading")]
    parts += [
        element("rect", x=x + 17.0 * i, y=y + 3.0, width=17.0, height=8.0, fill=colour)
        for i, colour in enumerate(colours)
    ]
    parts += [element("text", text, x=x + 17.0 * i, y=y + 22.0, text_anchor="middle") for i, text in ticks]
    return "".join(parts)


def _loading(x: float, y: float) -> str:
    ticks = [(0, "0")] + [(i + 1, f"{LOADING_STEPS[i]:g}") for i in (2, 4, 6)] + [(10, "100")]
    return _scale(x, y, "loading, % of the limit", [f"var(--l{i})" for i in range(10)], ticks)


def _voltage(x: float, y: float) -> str:
    ticks = [(i + 1, f"{1.0 + VOLTAGE_STEPS[i]:.2f}") for i in (0, 2, 5, 7)]
    return _scale(x, y, "voltage, pu", [f"var(--v{i})" for i in range(9)], ticks)


def _flow(x: float, y: float, full_mw: float) -> str:
    wedge = element("path", d=f"M{x} {y + 7}l80 -5.5v11z", fill="var(--muted)")
    return (
        element("text", "flow", x=x, y=y - 2.0, class_="heading")
        + wedge
        + element("text", "0", x=x, y=y + 22.0, text_anchor="middle")
        + element(
            "text",
            kilowatts(full_mw).replace(".00 ", " ").replace(".000 ", " "),
            x=x + 80.0,
            y=y + 22.0,
            text_anchor="middle",
        )
    )


def _signs(y: float, width: float) -> tuple[str, float]:
    """Signs of buses by kind, of feeding in and drawing, of violated limits; and their lower edge."""
    signs = (
        ("consumer", 76, '<circle r="6" class="node"/>'),
        ("prosumer", 76, '<path d="M0 -8L7 -2V6H-7V-2Z" class="node"/>'),
        ("producer", 76, '<path d="M0 -7L7 6H-7Z" class="node"/>'),
        ("several kinds", 100, '<path d="M-8 0L-4 -7H4L8 0L4 7H-4Z" class="node"/>'),
        ("external grid", 104, '<path d="M-7 -7H7V7H-7ZM-7 7L7 -7M-7 0L0 -7M0 7L7 0" class="node"/>'),
        ("feeds in", 70, '<circle r="8" class="halo feeds"/>'),
        ("draws", 58, '<circle r="7" class="halo draws"/>'),
        ("limit violated", 100, '<path d="M0 -8l8 8l-8 8l-8 -8Z" class="diamond"/>'),
        ("no supply", 76, '<path d="M-6 -6L6 6M6 -6L-6 6" class="dead"/>'),
        ("cut", 40, '<path d="M-5 -5l10 10m0-10l-10 10" class="cross"/>'),
    )
    parts, left = [], 20.0
    for label, room, sign in signs:
        if left + room > width:
            left, y = 20.0, y + 20.0
        parts.append(element("g", sign, transform=f"translate({number(left)} {number(y - 4.0)})"))
        parts.append(element("text", label, x=left + 13.0, y=y))
        left += room + 22.0
    return "".join(parts), y + 10.0
