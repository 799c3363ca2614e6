"""The report's figures 20 to 25, and its Table 8, as distributions over the seeds."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from peerwatt.experiments.studies.d53.model import Level, Scenario
from peerwatt.experiments.studies.d53.table import KPIS, at_level, published

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    from peerwatt.market.book import FloatArray

__all__ = ["FIGURES", "draw_figures"]

FIGURES = {
    "d53-figure20.svg": (Scenario.START, "Figure 20: occupancy of all lines before the LFM, scenario 0"),
    "d53-figure22.svg": (Scenario.FREE, "Figure 22: occupancy of all lines before the LFM, scenario 1"),
    "d53-figure23.svg": (Scenario.HEAVY, "Figure 23: occupancy of all lines before the LFM, scenario 0'"),
    "d53-figure24.svg": (Scenario.BLOCKED, "Figure 24: occupancy of all lines before the LFM, scenario 2"),
    "d53-figure25.svg": (Scenario.INCENTIVES_80, "Figure 25: occupancy of all lines before the LFM, scenario 3 (80 %)"),
}
"""Files of the figures by line, the scenario that each shows, and what it is in the report."""

HISTOGRAM, TABLE8 = "d53-figure21.svg", "d53-table8.svg"

_INK, _SEEN, _PAPER, _START = "#333333", "#2a6f97", "#c1121f", "#8d99ae"
_MOST = 2.2  # occupancy at which the axes end


def draw_figures(frame: pd.DataFrame, level: Level, directory: Path) -> None:
    """Draw all figures at one level.

    Args:
        frame: rows of the study.
        level: of the factors.
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
    chosen = at_level(frame, level.pair_bound, level.reading)
    loading = {scenario: _loading(chosen, scenario) for scenario in Scenario}
    with mpl.rc_context(style):
        for name, (scenario, title) in FIGURES.items():
            figure = Figure(figsize=(8.5, 4.2), layout="constrained")
            _by_line(figure, loading[scenario], None if scenario is Scenario.START else loading[Scenario.START], title)
            _save(figure, directory / name)
        figure = Figure(figsize=(8.5, 3.2), layout="constrained")
        _histogram(figure, loading[Scenario.START])
        _save(figure, directory / HISTOGRAM)
        figure = Figure(figsize=(8.5, 7.5), layout="constrained")
        _table8(figure, chosen)
        _save(figure, directory / TABLE8)


def _save(figure: Figure, path: Path) -> None:
    figure.savefig(path, dpi=150, metadata={"Date": None})


def _loading(frame: pd.DataFrame, scenario: Scenario) -> FloatArray:
    """Occupancies, (n_seeds, n_lines)."""
    values: FloatArray = np.stack(frame[frame["scenario"] == scenario]["loading"].to_list())
    return values


def _by_line(figure: Figure, loading: FloatArray, start: FloatArray | None, title: str) -> None:
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    line = np.arange(1, loading.shape[1] + 1)
    outer, inner = np.quantile(loading, (0.05, 0.95), axis=0), np.quantile(loading, (0.25, 0.75), axis=0)
    upper.bar(line, outer[1] - outer[0], 0.8, outer[0], color=_SEEN, alpha=0.25, label="5 to 95 % of the seeds")
    upper.bar(line, inner[1] - inner[0], 0.8, inner[0], color=_SEEN, alpha=0.55, label="25 to 75 %")
    upper.plot(line, np.median(loading, axis=0), "_", color=_INK, markersize=5, label="median")
    if start is not None:
        upper.plot(line, np.median(start, axis=0), ".", color=_PAPER, markersize=3, label="median of scenario 0")
    upper.axhline(1.0, color=_INK, linewidth=0.8)
    upper.set(ylabel="occupancy", ylim=(0.0, min(max(1.3, float(outer[1].max()) * 1.05), _MOST)))
    upper.set_title(title, loc="left", fontsize=10)
    figure.legend(ncols=4, frameon=False, fontsize=8, loc="outside lower center")
    lower.bar(line, (loading > 1.0 + 1e-6).mean(axis=0), 0.8, color=_PAPER)
    lower.set(ylabel="congested in\n... of seeds", xlabel="line", ylim=(0.0, 1.0), xlim=(0.0, line[-1] + 1))
    lower.yaxis.set_major_formatter(_percent)


def _percent(value: float, _: int) -> str:
    return f"{value:.0%}"


def _histogram(figure: Figure, loading: FloatArray) -> None:
    axes = figure.subplots()
    edges = np.arange(0.1, 1.31, 0.1)
    counts = np.stack([np.histogram(row, edges)[0] for row in loading])
    low, median, high = np.quantile(counts, (0.05, 0.5, 0.95), axis=0)
    axes.bar(edges[:-1], median, 0.09, align="edge", color=_SEEN, alpha=0.6, label="median number of lines")
    middle = edges[:-1] + 0.045
    axes.errorbar(
        middle, median, (median - low, high - median), fmt="none", ecolor=_INK, label="5 to 95 % of the seeds"
    )
    axes.set(xlabel="occupancy", ylabel="lines")
    axes.set_title("Figure 21: distribution of the occupancies, scenario 0", loc="left", fontsize=10)
    axes.legend(frameon=False)


def _table8(figure: Figure, frame: pd.DataFrame) -> None:
    all_axes: NDArray[np.object_] = np.atleast_1d(figure.subplots(len(KPIS), 1, sharex=True))
    for axes, (kpi, heading) in zip(all_axes, KPIS.items(), strict=True):
        _strip(axes, frame, kpi, heading)
    all_axes[0].legend(frameon=False, ncols=2, fontsize=8, loc="upper right")
    all_axes[0].set_title("Table 8: every seed, and the report's one case", loc="left", fontsize=10)
    names = [str(scenario) for scenario in Scenario]
    all_axes[-1].set_xticks(range(len(names)), names)
    all_axes[-1].set_xlabel("scenario")


def _strip(axes: Axes, frame: pd.DataFrame, kpi: str, heading: str) -> None:
    """One key figure: a point per seed, quartiles, and the report's number, on a scale linear near 0."""
    report = published()
    for k, scenario in enumerate(Scenario):
        values = frame[frame["scenario"] == scenario][kpi].dropna().to_numpy(dtype=np.float64)
        if values.size:
            aside = k + 0.5 * (np.arange(values.size) / values.size - 0.5)
            label = "a seed" if k == 0 else None
            axes.plot(aside, values, ".", color=_SEEN, markersize=2, alpha=0.5, label=label, rasterized=True)
            axes.plot([k - 0.3, k + 0.3], [np.median(values)] * 2, color=_INK, linewidth=1.5)
        try:
            axes.plot(
                k, float(report[scenario][kpi]), "D", color=_PAPER, markersize=4, label="D5.3" if k == 0 else None
            )
        except ValueError:
            axes.annotate(report[scenario][kpi], (k, 0.0), color=_PAPER, fontsize=8, ha="center", va="bottom")
    axes.set_yscale("symlog", linthresh={"n_congested": 10.0, "lfm_cost_eur": 1.0}.get(kpi, 0.1))
    axes.set_ylim(bottom=0.0)
    axes.set_ylabel(heading.replace(", ", "\n"), fontsize=8)
    axes.grid(axis="y", color=_START, alpha=0.3, linewidth=0.5)
