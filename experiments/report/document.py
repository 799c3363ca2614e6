"""A page of sections, style and script in one file that loads nothing else."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from pathlib import Path
from string import Template

from peerwatt.experiments.report.markup import Section, escape, script_json

__all__ = ["document", "write_document"]


def document(title: str, header: str, sections: Sequence[Section], style: str = "") -> str:
    """Put a page together.

    Args:
        title: of the window.
        header: markup above the sections.
        sections: in their order.
        style: rules besides those that all pages share.
    """
    from plotly.offline import get_plotlyjs

    figures = [figure for section in sections for figure in section.figures]
    data: dict[str, object] = {"figures": [{"id": f.name, "data": f.data, "layout": f.layout} for f in figures]}
    for section in sections:
        data |= section.data
    return Template(_asset("page.html")).substitute(
        title=escape(title),
        style=_asset("page.css") + style,
        header=header,
        navigation="".join(f'<a href="#{s.name}">{escape(s.title)}</a>' for s in sections),
        sections="".join(f'<section id="{s.name}"><h2>{escape(s.title)}</h2>{s.body}</section>' for s in sections),
        plotly=get_plotlyjs(),
        data=script_json(data),
        script=_asset("page.js"),
    )


def write_document(target: Path, text: str) -> None:
    """Write a page beside its place and rename it, so that it is always whole."""
    partial = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        partial.write_text(text, encoding="utf-8")
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)


@cache
def _asset(name: str) -> str:
    return files("peerwatt.experiments.report").joinpath(name).read_text(encoding="utf-8")
