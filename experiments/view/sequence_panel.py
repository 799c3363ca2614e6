"""Messages of the current period as a sequence diagram that fills step by step."""

from __future__ import annotations

from peerwatt.experiments.report.markup import escape
from peerwatt.experiments.sequence import Lifeline, Step
from peerwatt.experiments.view.drawing import Drawing, element, number
from peerwatt.experiments.view.session import Session
from peerwatt.experiments.view.stepping import n_shown, told

__all__ = ["sequence_panel"]

ROW = 30.0
"""Height of a step, pixels."""

TOP = 44.0
GUTTER = 62.0


def sequence_panel(session: Session) -> Drawing | None:
    """The sequence diagram; steps after the chosen one are faint."""
    steps = told(session)
    if not steps:
        return None
    width = float(session.look.width.get("messages", 760))
    lines = sorted({line for step in steps for line in (step.sender, step.receiver)})
    room = (width - GUTTER) / len(lines)
    x = {line: GUTTER + room * (i + 0.5) for i, line in enumerate(lines)}
    height = TOP + ROW * len(steps) + 16.0
    shown = n_shown(session, steps)
    parts = [_lifeline(line, x[line], height, room) for line in lines]
    before = None
    for i, step in enumerate(steps):
        y = TOP + ROW * (i + 0.75)
        state = "pw-later" if i >= shown else "pw-now" if session.look.told is not None and i == shown - 1 else ""
        if step.time_s != before:
            before = step.time_s
            parts.append(element("text", _clock(step.time_s), x=4.0, y=y + 4.0, class_=f"pw-time {state}"))
        parts.append(_arrow(step, x[step.sender], x[step.receiver], y, state))
    svg = element(
        "svg",
        parts,
        xmlns="http://www.w3.org/2000/svg",
        viewBox=f"0 0 {number(width)} {number(height)}",
        role="img",
        aria_label="Messages of the period",
    )
    return Drawing("messages", svg)


def _clock(time_s: int) -> str:
    return f"{time_s // 60}:{time_s % 60:02d} min" if time_s >= 60 else f"{time_s} s"


def _lifeline(line: Lifeline, x: float, height: float, room: float) -> str:
    width = min(room - 10.0, 16.0 + 7.4 * len(line.label))
    return (
        element("line", x1=x, x2=x, y1=30.0, y2=height - 4.0, class_="pw-life")
        + element("rect", x=x - width / 2, y=6.0, width=width, height=24.0, rx=5.0, class_="pw-role")
        + element("text", escape(line.label), x=x, y=22.0, text_anchor="middle")
    )


def _arrow(step: Step, a: float, b: float, y: float, state: str) -> str:
    lost = step.lost == step.n
    side = 1.0 if b >= a else -1.0
    if a == b:
        path, tip, at = f"M{number(a)} {number(y - 5)}h34v12h-26", (a + 6.0, y + 7.0, -1.0), a + 40.0
    else:
        end = b - side * (26.0 if lost else 8.0)
        path, tip, at = f"M{number(a)} {number(y)}H{number(end)}", (end + side * 8.0, y, side), (a + b) / 2
    tx, ty, way = tip
    if lost:
        head = element("path", d=f"M{number(tx - 5)} {number(ty - 5)}l10 10m0-10l-10 10", class_="cross")
    else:
        back = tx - 9.0 * way
        head = element(
            "path",
            d=f"M{number(tx)} {number(ty)}L{number(back)} {number(ty - 4.5)}V{number(ty + 4.5)}Z",
            class_="pw-msg-head",
        )
    count = f" × {step.n:,}" if step.n > 1 else ""
    missing = element("tspan", f"  {step.lost:,} lost", class_="pw-lost-text") if step.lost else ""
    label = element(
        "text",
        escape(step.kind + count) + missing,
        x=at,
        y=y - 5.0,
        class_="pw-words",
        text_anchor="start" if a == b else "middle",
    )
    delay = f"\narrives {step.delay_s} s later" if step.delay_s else ""
    words = f"{step.sender.label} to {step.receiver.label}: {step.kind}\n{step.about}{delay}"
    return element(
        "g",
        [element("path", d=path, class_="pw-msg"), head, label],
        class_=f"{state} {'pw-lost' if lost else ''}".strip() or None,
        data_tip=words,
    )
