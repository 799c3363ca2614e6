"""The paper's figures 7 to 10: what is worst in every hour, before and after."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from peerwatt.experiments.studies.tso_dso.study import Study

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["FIGURES", "draw_figures"]

FIGURES = {
    "tso-dso-figure7.svg": "Figure 7: loading of the transformer, scenario 1",
    "tso-dso-figure8.svg": "Figure 8: highest loading of a line, scenario 2",
    "tso-dso-figure9.svg": "Figure 9: lowest and highest voltage, scenario 3",
    "tso-dso-figure10.svg": "Figure 10: virtual load, scenario 4",
}
"""Files of the figures and what they are in the paper."""

_INK, _BEFORE, _AFTER, _MORE = "#333333", "#b0b7c3", "#2a6f97", "#c1121f"


def draw_figures(study: Study, directory: Path) -> None:
    """Draw all figures.

    Args:
        study: what was run.
        directory: where the files go.
    """
    import matplotlib as mpl
    from matplotlib.figure import Figure

    style: dict[Any, Any] = {
        "svg.hashsalt": "peerwatt",
        "font.size": 9,
        "axes.spines.top": False,
        "axes.spines.right": False,
    }
    drawings = (_transformer, _lines, _voltages, _virtual_load)
    with mpl.rc_context(style):
        for (name, title), draw in zip(FIGURES.items(), drawings, strict=True):
            figure = Figure(figsize=(8.5, 3.4), layout="constrained")
            axes = figure.subplots()
            draw(axes, study)
            axes.set_title(title, loc="left", fontsize=10)
            axes.set(xlabel="hour", xlim=(0.3, 24.7), xticks=range(1, 25))
            _legend(figure, axes)
            figure.savefig(directory / name, metadata={"Date": None})


def _legend(figure: Figure, axes: Axes) -> None:
    if axes.get_legend_handles_labels()[0]:
        figure.legend(ncols=5, frameon=False, fontsize=8, loc="outside lower center")


def _transformer(axes: Axes, study: Study) -> None:
    _bars(axes, study, "1", "trafo_loading_percent", "P2P_Cong")


def _lines(axes: Axes, study: Study) -> None:
    _bars(axes, study, "2", "line_loading_percent", "P2P_Cong")


def _bars(axes: Axes, study: Study, run: str, column: str, model: str) -> None:
    """Before and after, side by side, with the limit."""
    for name, aside, color, label in (
        (f"{run} before", -0.2, _BEFORE, "before"),
        (run, 0.2, _AFTER, f"after {model}"),
    ):
        rows = study.of(name)
        axes.bar(rows["hour"] + aside, rows[column], 0.4, color=color, label=label)
    axes.axhline(100.0, color=_INK, linewidth=0.8, linestyle="--", label="limit")
    axes.set_ylabel("loading, %")


def _voltages(axes: Axes, study: Study) -> None:
    series = (
        ("3 before", _BEFORE, "s", "before"),
        ("3", _AFTER, "o", "after P2P_Volt"),
        ("3 reactive", _MORE, "^", "after, with reactive power"),
    )
    for name, color, marker, label in series:
        rows = study.of(name)
        axes.plot(rows["hour"], rows["min_vm_pu"], marker, color=color, markersize=5, label=label)
        axes.plot(rows["hour"], rows["max_vm_pu"], marker, color=color, markersize=5, fillstyle="none")
    for limit in (0.95, 1.05):
        axes.axhline(limit, color=_INK, linewidth=0.8, linestyle="--", label="limits" if limit < 1.0 else "_")
    axes.set(ylabel="voltage, pu (filled: lowest, hollow: highest)", ylim=(0.90, 1.06))
    axes.yaxis.label.set_fontsize(8)


def _virtual_load(axes: Axes, study: Study) -> None:
    rows = study.of("4")
    virtual = rows["virtual_mwh"].to_numpy()
    axes.bar(rows["hour"], virtual, 0.6, color=_AFTER)
    for hour in np.flatnonzero(virtual > 0.0):
        axes.annotate(f"{virtual[hour]:.2f}", (hour + 1, virtual[hour]), ha="center", va="bottom", fontsize=8)
    axes.set_ylabel("virtual load, MW")
