"""Voltage band, highest loading and losses over time, and the power flows that failed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from peerwatt.experiments.report.markup import (
    Figure,
    Section,
    Spec,
    array,
    escape,
    figure_layout,
    note,
    table,
)
from peerwatt.experiments.report.periods import Periods
from peerwatt.experiments.wording import when
from peerwatt.sim.columns import at_stage, numbers
from peerwatt.sim.results import Results
from peerwatt.sim.tables import Stage

__all__ = ["limits_section"]

MAX_FAILURES = 50
"""How many failed power flows are listed."""

Floats = NDArray[np.float64]


def limits_section(results: Results, periods: Periods) -> Section:
    """State of the grid against its limits, stage delivery."""
    title = "Voltage, loading and losses"
    if "period" not in results.tables or not periods.done:
        return Section("limits", title, note("No period was recorded."))
    every = results.arrow("period")
    rows = at_stage(every, Stage.DELIVERY)
    x = periods.stamps()
    low, high = (periods.column(rows, name) for name in ("min_vm_pu", "max_vm_pu"))
    loading = periods.highest(periods.column(rows, "max_occupancy_percent"))
    losses = periods.summed(periods.column(rows, "losses_mw") * periods.hours) * 1e3
    limits = _voltage_limits(results)
    data = [
        *_band(x, periods.lowest(low), periods.highest(high)),
        _line("Highest loading", x, loading, "y2", "var(--c2)", "%{y:.1f} %"),
        _line("Losses", x, losses, "y3", "var(--c3)", "%{y:.3f} kWh"),
    ]
    failed = np.flatnonzero(periods.column(rows, "converged") == 0.0)
    if failed.size:
        data.append(_failed_marks(periods, failed, rows))
    layout = _layout(limits)
    figure = Figure("limits-plot", data, layout, height=640)
    caption = "State at delivery: lowest and highest voltage of all buses, highest loading of all lines and "
    caption += f"transformers as a share of its limit, losses per {periods.step}. Dashed: limits. {periods.thinned}"
    return Section("limits", title, figure.markup(caption) + _failures(results, every), (figure,))


def _voltage_limits(results: Results) -> list[float]:
    """The narrowest band of all buses; empty where none is set."""
    buses = results.topology.get("buses", ())
    lows = [bus["min_vm_pu"] for bus in buses if bus.get("min_vm_pu") is not None]
    highs = [bus["max_vm_pu"] for bus in buses if bus.get("max_vm_pu") is not None]
    found = ([max(lows)] if lows else []) + ([min(highs)] if highs else [])
    return [float(limit) for limit in found if np.isfinite(limit)]


def _band(x: list[str], low: Floats, high: Floats) -> list[Spec]:
    upper = _line("Highest voltage", x, high, "y", "var(--c1)", "%{y:.4f} pu")
    lower = _line("Lowest voltage", x, low, "y", "var(--c1)", "%{y:.4f} pu")
    lower["line"]["dash"] = "dot"
    if np.isfinite(low).all() and np.isfinite(high).all():  # plotly would fill across a gap
        lower |= {"fill": "tonexty", "fillcolor": "var(--c1-faint)"}
    return [upper, lower]


def _line(name: str, x: list[str], y: Floats, axis: str, color: str, template: str) -> Spec:
    alone = len(x) < 3
    return {
        "type": "scatter",
        "mode": "lines+markers" if alone else "lines",
        "name": name,
        "x": x,
        "y": array(y),
        "yaxis": axis,
        "line": {"color": color, "width": 2},
        "hovertemplate": template,
    }


def _failed_marks(periods: Periods, failed: NDArray[np.intp], rows: pa.Table) -> Spec:
    reasons = dict(zip(rows.column("period").to_pylist(), rows.column("reason").to_pylist(), strict=True))
    shown = failed[:: max(1, failed.size // 500)]
    return {
        "type": "scatter",
        "mode": "markers",
        "name": "No solution",
        "x": periods.stamps(shown),
        "y": [0.5] * shown.size,
        "yaxis": "y4",
        "marker": {"symbol": "x", "size": 9, "color": "var(--alarm)"},
        "text": [escape(reasons.get(int(period)) or "no reason recorded") for period in shown],
        "hovertemplate": "%{text}",
    }


def _layout(limits: list[float]) -> Spec:
    lines = [_limit("y", value) for value in limits] + [_limit("y2", 100.0)]
    hidden = {"visible": False, "range": [0, 1], "domain": [0.955, 1], "fixedrange": True}
    return figure_layout(
        xaxis={"type": "date", "anchor": "y3"},
        yaxis={"title": {"text": "voltage, pu"}, "domain": [0.63, 0.955]},
        yaxis2={"title": {"text": "loading, % of limit"}, "domain": [0.32, 0.57], "rangemode": "tozero"},
        yaxis3={"title": {"text": "losses, kWh"}, "domain": [0, 0.26], "rangemode": "tozero"},
        yaxis4=hidden,
        shapes=lines,
    )


def _limit(axis: str, value: float) -> Spec:
    line: dict[str, Any] = {"color": "var(--ink)", "width": 1.2, "dash": "dash"}
    return {
        "type": "line",
        "xref": "paper",
        "x0": 0,
        "x1": 1,
        "yref": axis,
        "y0": value,
        "y1": value,
        "line": line,
    }


def _failures(results: Results, rows: pa.Table) -> str:
    bad = rows.filter(pa.array(numbers(rows, "converged") == 0.0)).select(["period", "stage", "reason"])
    if not bad.num_rows:
        return ""
    cells = [
        [when(results.manifest, row["period"]), row["stage"], row["reason"] or "no reason recorded"]
        for row in bad.slice(0, MAX_FAILURES).to_pylist()
    ]
    rest = f" The first {MAX_FAILURES} are listed." if bad.num_rows > MAX_FAILURES else ""
    text = f"{bad.num_rows:,} power flows had no solution; their period has no grid state at that stage.{rest}"
    listed = table(["Period", "stage", "reason"], cells, texts=3)
    return f'<h3>Failed power flows</h3><p class="alarm">{text}</p>{listed}'
