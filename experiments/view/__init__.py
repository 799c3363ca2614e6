"""The page in which a market is watched and steered: `peerwatt view`.

A panel is a plain function of a `Session`: it returns a `Drawing` (SVG), a `Figure` (plotly) or an `Html`, and needs no
browser to be tested.
"""

from __future__ import annotations

from peerwatt.experiments.report.markup import Figure, figure_layout
from peerwatt.experiments.view.drawing import Drawing, Html
from peerwatt.experiments.view.server import serve
from peerwatt.experiments.view.session import Session

__all__ = ["Drawing", "Figure", "Html", "Session", "figure_layout", "serve"]
