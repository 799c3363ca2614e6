"""Prices and volumes over time, and who traded with whom."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from peerwatt.experiments.report.markup import Figure, Section, Spec, array, escape, figure_layout, note, table
from peerwatt.experiments.report.periods import Periods
from peerwatt.experiments.wording import tariff, when
from peerwatt.market.clearing import Status
from peerwatt.sim.columns import at_stage, codes, numbers, strings
from peerwatt.sim.results import Results
from peerwatt.sim.status import MARKET
from peerwatt.sim.tables import Stage

__all__ = ["MAX_PARTIES", "market_section", "trades_section"]

MAX_PARTIES = 60
"""How many sellers and how many buyers the heat map has at most."""

MAX_UNCLEARED = 50
"""How many periods without a cleared market are listed."""

Floats = NDArray[np.float64]


def market_section(results: Results, periods: Periods) -> Section:
    """Price against the tariffs; energy traded, consumed, fed in and exchanged."""
    if "period" not in results.tables or not periods.done:
        return Section("market", "Prices and volumes", note("No period was recorded."))
    rows = results.arrow("period")
    market, grid = at_stage(rows, Stage.P2P), at_stage(rows, Stage.DELIVERY)
    x = periods.stamps()
    volume = periods.column(market, "p2p_volume_mwh")
    curves = {"Net exchange (import +)": periods.column(grid, "slack_p_mw") * periods.hours}
    if "agent" in results.tables:
        curves = _peers_energy(results, periods) | curves
    factor, unit = _energy_unit([volume, *curves.values()], periods)
    data = [*_tariff_traces(results, periods, x), _price_trace(market, periods, x, "", "P2P price")]
    if np.nansum(periods.column(market, "p2p_surplus_eur")) > 0.0:
        data[-1]["name"] = "P2P price, sellers"
        data.append(_price_trace(market, periods, x, "buyer_", "P2P price, buyers"))
    data.append(_bars(x, periods.summed(volume) * factor, unit))
    styles = [("var(--c2)", "solid"), ("var(--c5)", "solid"), ("var(--ink)", "dot")][-len(curves) :]
    for (name, values), (color, dash) in zip(curves.items(), styles, strict=True):
        data.append(_curve(name, x, periods.summed(values) * factor, color, dash, unit))
    failed = _uncleared(market)
    if failed.num_rows:
        data.append(_uncleared_marks(periods, failed))
    figure = Figure("market-plot", data, _market_layout(unit, periods), height=560)
    remarks = ["Top: price of peer-to-peer trades between the two tariffs that bound it."]
    remarks.append(f"Bottom: energy per {periods.step}; traded energy is part of consumption and feed-in.")
    if not np.nansum(volume) > 0.0:
        remarks.insert(0, "No energy was traded between peers.")
    body = figure.markup(" ".join([*remarks, periods.thinned])) + _uncleared_list(results, failed)
    return Section("market", "Prices and volumes", body, (figure,))


def _uncleared(market: pa.Table) -> pa.Table:
    """Rows of table `period`, stage p2p, whose market has no result."""
    bad = [bool(text) and not Status(text).solved for text in strings(market, MARKET.column)]
    return market.filter(pa.array(bad, pa.bool_()))


def _uncleared_marks(periods: Periods, failed: pa.Table) -> Spec:
    every = numbers(failed, "period").astype(np.intp)
    step = max(1, every.size // 500)
    return {
        "type": "scatter",
        "mode": "markers",
        "name": "Not cleared",
        "x": periods.stamps(every[::step]),
        "y": [0.5] * every[::step].size,
        "yaxis": "y3",
        "marker": {"symbol": "x", "size": 9, "color": "var(--alarm)"},
        "text": [Status(text).words for text in strings(failed, MARKET.column)[::step]],
        "hovertemplate": "%{text}",
    }


def _uncleared_list(results: Results, failed: pa.Table) -> str:
    if not failed.num_rows:
        return ""
    rows = zip(
        failed["period"].to_pylist(), strings(failed, MARKET.column), failed["iterations"].to_pylist(), strict=True
    )
    cells = [
        [when(results.manifest, period), Status(status).words, "-" if steps is None else f"{steps:,}"]
        for period, status, steps in rows
    ]
    rest = f" The first {MAX_UNCLEARED} are listed." if len(cells) > MAX_UNCLEARED else ""
    text = f"The market was not cleared in {len(cells):,} periods, in which nobody traded.{rest}"
    listed = table(["Period", "status", "iterations"], cells[:MAX_UNCLEARED], texts=2)
    return f'<h3>Periods without a market</h3><p class="alarm">{text}</p>{listed}'


def _peers_energy(results: Results, periods: Periods) -> dict[str, Floats]:
    rows = results.arrow("agent", ["period", "p_mw"])
    period, p_mw = numbers(rows, "period").astype(np.intp), np.nan_to_num(numbers(rows, "p_mw"))
    return {
        "Net consumption of peers": periods.totals(period, np.maximum(-p_mw, 0.0)) * periods.hours,
        "Net feed-in of peers": periods.totals(period, np.maximum(p_mw, 0.0)) * periods.hours,
    }


def _energy_unit(mwh: list[Floats], periods: Periods) -> tuple[float, str]:
    largest = max((float(np.nanmax(np.abs(v), initial=0.0)) for v in mwh if np.isfinite(v).any()), default=0.0)
    return (1e3, "kWh") if largest * periods.bin < 1.0 else (1.0, "MWh")


def _price_trace(market: Any, periods: Periods, x: list[str], side: str, name: str) -> Spec:
    price, volume = (periods.column(market, c) for c in (f"p2p_{side}price_eur_per_mwh", "p2p_volume_mwh"))
    color = "var(--c4)" if side else "var(--c1)"
    weight = np.where(np.isfinite(price), np.nan_to_num(volume), np.nan)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = periods.summed(price * weight) / periods.summed(weight)
    return {
        "type": "scatter",
        "mode": "lines+markers",
        "name": name,
        "x": x,
        "y": array(mean),
        "line": {"color": color, "width": 2},
        "marker": {"color": color, "size": 4},
        "hovertemplate": "%{y:.1f} EUR/MWh",
    }


def _tariff_traces(results: Results, periods: Periods, x: list[str]) -> list[Spec]:
    traces = []
    for key, name, dash in (
        ("supply_eur_per_mwh", "Supply tariff", "dash"),
        ("feed_in_eur_per_mwh", "Feed-in tariff", "dashdot"),
    ):
        value = tariff(results, key)
        if isinstance(value, list) and len(value) >= periods.done:
            y = np.array(value[: periods.done], dtype=float)[periods.starts]
        elif isinstance(value, int | float):
            y = np.full(len(x), float(value))
        else:
            continue
        line = {"color": "var(--muted)", "width": 1.5, "dash": dash, "shape": "hv"}
        template = "%{y:.1f} EUR/MWh"
        traces.append(
            {"type": "scatter", "mode": "lines", "name": name, "x": x, "y": array(y), "line": line}
            | {"hovertemplate": template}
        )
    return traces


def _bars(x: list[str], y: Floats, unit: str) -> Spec:
    return {
        "type": "bar",
        "name": "Traded between peers",
        "x": x,
        "y": array(np.nan_to_num(y)),
        "yaxis": "y2",
        "marker": {"color": "var(--c1)", "line": {"width": 0}, "opacity": 0.75},
        "hovertemplate": f"%{{y:.2f}} {unit}",
    }


def _curve(name: str, x: list[str], y: Floats, color: str, dash: str, unit: str) -> Spec:
    return {
        "type": "scatter",
        "mode": "lines",
        "name": name,
        "x": x,
        "y": array(y),
        "yaxis": "y2",
        "line": {"color": color, "width": 2, "dash": dash},
        "hovertemplate": f"%{{y:.2f}} {unit}",
    }


def _market_layout(unit: str, periods: Periods) -> Spec:
    return figure_layout(
        xaxis={"type": "date", "anchor": "y2", "domain": [0, 1]},
        yaxis={"title": {"text": "EUR/MWh"}, "domain": [0.56, 0.955], "rangemode": "tozero"},
        yaxis2={"title": {"text": f"{unit} per {periods.step}"}, "domain": [0, 0.48]},
        yaxis3={"visible": False, "range": [0, 1], "domain": [0.955, 1], "fixedrange": True},
        bargap=0.15,
    )


def trades_section(results: Results, periods: Periods) -> Section:
    """Heat map of the energy that each seller sold to each buyer."""
    title = "Who traded with whom"
    if "trade" not in results.tables:
        return Section("trades", title, note("Trades were not recorded (add trade to record: in the scenario)."))
    rows = results.arrow("trade", ["seller", "buyer", "p_mw"], [("product", "==", "energy")])
    energy = np.nan_to_num(numbers(rows, "p_mw")) * periods.hours
    if not energy.sum() > 0.0:
        return Section("trades", title, note("No energy was traded between peers."))
    sellers, buyers = codes(rows, "seller"), codes(rows, "buyer")
    shape = (len(sellers[1]), len(buyers[1]))
    flat = sellers[0] * shape[1] + buyers[0]
    total = np.bincount(flat, weights=energy, minlength=shape[0] * shape[1])
    matrix = total.astype(np.float64).reshape(shape)
    by_seller, by_buyer = _largest(matrix.sum(axis=1)), _largest(matrix.sum(axis=0))
    shown = matrix[np.ix_(by_seller, by_buyer)]
    factor, unit = (1e3, "kWh") if shown.max() < 1.0 else (1.0, "MWh")
    names = [sellers[1][i] for i in by_seller], [buyers[1][i] for i in by_buyer]
    figure = _heat_map(np.where(shown > 0.0, shown * factor, np.nan), *names, unit)
    return Section("trades", title, figure.markup(_trades_caption(matrix, shown)), (figure,))


def _largest(total: Floats) -> NDArray[np.intp]:
    order = np.argsort(-total, kind="stable")
    return order[total[order] > 0.0][:MAX_PARTIES]


def _trades_caption(matrix: Floats, shown: Floats) -> str:
    remark = "Energy over the whole run; those who traded most come first, empty cells did not trade."
    (sellers, buyers), total = (int((matrix.sum(axis=a) > 0.0).sum()) for a in (1, 0)), matrix.sum()
    if sellers > MAX_PARTIES or buyers > MAX_PARTIES:
        remark += (
            f" Shown are the {shown.shape[0]} largest of {sellers:,} sellers and the {shown.shape[1]} largest"
            f" of {buyers:,} buyers, {100.0 * shown.sum() / total:.0f} % of the traded energy."
        )
    return remark


def _heat_map(z: Floats, sellers: list[str], buyers: list[str], unit: str) -> Figure:
    trace: Spec = {
        "type": "heatmap",
        "z": array(z),
        "x": [escape(name) for name in buyers],
        "y": [escape(name) for name in sellers],
        "colorscale": "var(--sequential)",
        "xgap": 1,
        "ygap": 1,
        "zmin": 0,
        "hoverongaps": False,
        "colorbar": {"title": {"text": unit}, "thickness": 14, "outlinewidth": 0},
        "hovertemplate": f"%{{y}} to %{{x}}: %{{z:.2f}} {unit}<extra></extra>",
    }
    side: Spec = {
        "type": "category",
        "automargin": True,
        "showgrid": False,
        "ticks": "",
        "tickfont": {"size": 11},
    }
    layout = figure_layout(
        xaxis=side | {"title": {"text": "buyer"}, "tickangle": -60, "dtick": 1},
        yaxis=side | {"title": {"text": "seller"}, "autorange": "reversed", "dtick": 1},
        hovermode="closest",
    )
    return Figure("trades-plot", [trace], layout, height=min(1100, 190 + 17 * max(8, len(sellers))))
