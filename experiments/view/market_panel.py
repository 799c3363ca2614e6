"""The market of the period before: supply and demand with the clearing point, or what a negotiation came to."""

from __future__ import annotations

import numpy as np

from peerwatt.experiments.report.markup import Figure, Spec, escape, figure_layout
from peerwatt.experiments.view.session import Session
from peerwatt.market.book import StepBook
from peerwatt.market.continuous import ContinuousDoubleAuction
from peerwatt.market.merit_order import curves
from peerwatt.sim.rows import PRODUCT_WORDS

__all__ = ["convergence_panel", "flexibility_panel", "market_panel", "order_book_panel", "rounds_panel"]


_LEAST_MW = 1e-9  # less than this of a step is nothing


def market_panel(session: Session) -> Figure | None:
    """Supply, demand and the clearing point against the tariffs; trades by price where offers are curves."""
    result, simulation = session.result, session.simulation
    if result is None or simulation is None or result.bids is None:
        return None
    bids, tariff = result.bids, simulation.context.tariff
    by_steps = not np.any(bids.cost_a)
    data = _curves(session) if by_steps else _by_price(session)
    widest = max((max(trace["x"], default=0.0) for trace in data), default=0.0) or 1.0
    for price, word in ((tariff.supply_eur_per_mwh, "supplier sells"), (tariff.feed_in_eur_per_mwh, "supplier buys")):
        data.append(_level(widest, price, word))
    clearing = result.clearing
    if clearing is not None and len(result.trades):
        p_mw = result.trades.p_mw
        mean = float(p_mw @ result.trades.price_eur_per_mwh / p_mw.sum())
        data.append(_point(1e3 * float(p_mw.sum()), mean))
    layout = figure_layout(
        margin={"l": 58, "r": 12, "t": 8, "b": 44},
        xaxis={"title": {"text": "power, kW"}, "rangemode": "tozero"},
        yaxis={"title": {"text": "EUR/MWh"}},
        hovermode="closest",
    )
    return Figure("market", data, layout, height=330)


def _curves(session: Session) -> list[Spec]:
    result, simulation = session.result, session.simulation
    if result is None or simulation is None or result.bids is None:
        return []
    bids = result.bids
    peers = bids.peer >= 0
    book = StepBook(
        bids.peer[peers],
        (bids.p_min_mw + bids.p_max_mw)[peers],
        bids.cost_b[peers],
        len(simulation.context.population),
        result.period_h,
    )
    found = curves(book)
    return [
        _curve("supply", 1e3 * found.supply_mw, found.supply_eur_per_mwh, "c3", "solid"),
        _curve("demand", 1e3 * found.demand_mw, found.demand_eur_per_mwh, "c2", "dash"),
    ]


def _curve(name: str, x: np.ndarray, y: np.ndarray, colour: str, dash: str) -> Spec:
    line = {"color": f"var(--{colour})", "width": 2.4, "dash": dash}
    return {
        "type": "scatter",
        "mode": "lines",
        "name": name,
        "x": x.tolist(),
        "y": y.tolist(),
        "line": line,
        "hovertemplate": "%{x:.2f} kW at %{y:.1f} EUR/MWh",
    }


def _by_price(session: Session) -> list[Spec]:
    """Trades by falling price, as wide as their power."""
    result = session.result
    if result is None:
        return []
    order = np.argsort(-result.trades.price_eur_per_mwh, kind="stable")
    power, price = 1e3 * result.trades.p_mw[order], result.trades.price_eur_per_mwh[order]
    x = np.repeat(np.concatenate(([0.0], power.cumsum())), 2)[1:-1]
    return [
        _curve("trades by price", x, price.repeat(2), "c1", "solid")
        | {"fill": "tozeroy", "fillcolor": "var(--c1-faint)"}
    ]


def _level(widest: float, price: float, word: str) -> Spec:
    return {
        "type": "scatter",
        "mode": "lines",
        "name": f"{word} at {price:g}",
        "x": [0.0, widest],
        "y": [price, price],
        "line": {"color": "var(--muted)", "width": 1.2, "dash": "dot"},
        "hoverinfo": "name",
    }


def _point(volume_kw: float, price: float) -> Spec:
    return {
        "type": "scatter",
        "mode": "markers+text",
        "name": "cleared",
        "x": [volume_kw],
        "y": [price],
        "text": [f"<b>{volume_kw:.1f} kW at {price:.1f}</b>"],
        "textposition": "top right" if volume_kw < 40.0 else "top left",
        "marker": {
            "color": "var(--c1)",
            "size": 12,
            "symbol": "diamond",
            "line": {"color": "var(--surface)", "width": 2},
        },
        "hovertemplate": "%{x:.2f} kW at %{y:.1f} EUR/MWh<extra>cleared</extra>",
    }


def order_book_panel(session: Session) -> Figure | None:
    """What rests in the book of a continuous market once it has closed, by price, and what was traded; None elsewhere.

    Bids add up from the highest price down, asks from the lowest up, as who comes next would meet them.
    """
    result, simulation = session.result, session.simulation
    if result is None or simulation is None or simulation.settings.mechanism != ContinuousDoubleAuction.name:
        return None
    bids, clearing = result.bids, result.clearing
    if bids is None or clearing is None or not clearing.accepted_mw.size:
        return None
    own = np.flatnonzero(bids.peer >= 0)
    left = bids.p_min_mw[own] + bids.p_max_mw[own] - clearing.accepted_mw
    data = [
        _resting(left, bids.cost_b[own], sells=sells, name=name, colour=colour)
        for sells, name, colour in ((False, "bids left", "c2"), (True, "asks left", "c3"))
    ]
    trades = result.trades
    data.append(
        {
            "type": "scatter",
            "mode": "markers",
            "name": "trades",
            "x": trades.price_eur_per_mwh.tolist(),
            "y": (1e3 * trades.p_mw).tolist(),
            "marker": {"color": "var(--c1)", "size": 8, "symbol": "diamond-open", "line": {"width": 1.6}},
            "hovertemplate": "%{y:.2f} kW at %{x:.1f} EUR/MWh",
        }
    )
    layout = figure_layout(
        margin={"l": 58, "r": 12, "t": 8, "b": 44},
        xaxis={"title": {"text": "EUR/MWh"}},
        yaxis={"title": {"text": "power, kW"}, "rangemode": "tozero"},
        hovermode="closest",
    )
    return Figure("order-book", data, layout, height=260)


def _resting(left_mw: np.ndarray, price: np.ndarray, *, sells: bool, name: str, colour: str) -> Spec:
    """One side of the book, added up from its best price."""
    rows = np.flatnonzero(left_mw > _LEAST_MW if sells else left_mw < -_LEAST_MW)
    rows = rows[np.argsort(price[rows] if sells else -price[rows], kind="stable")]
    return {
        "type": "scatter",
        "mode": "lines+markers",
        "name": name,
        "x": price[rows].tolist(),
        "y": (1e3 * np.abs(left_mw[rows]).cumsum()).tolist(),
        "line": {"color": f"var(--{colour})", "width": 2, "shape": "hv", "dash": "solid" if sells else "dash"},
        "marker": {"size": 4},
        "fill": "tozeroy",
        "fillcolor": "var(--c1-faint)" if sells else "var(--c2-faint)",
        "hovertemplate": "%{y:.2f} kW up to %{x:.1f} EUR/MWh" if sells else "%{y:.2f} kW down to %{x:.1f} EUR/MWh",
    }


def convergence_panel(session: Session) -> Figure | None:
    """How the rounds of a negotiation approached each other; None where there was none."""
    result = session.result
    found = None if result is None or result.clearing is None else result.clearing.convergence
    if found is None or not found.primal_residual.size:
        return None
    rounds = np.arange(1, found.primal_residual.size + 1).tolist()
    data: list[Spec] = [
        {
            "type": "scatter",
            "mode": "lines",
            "name": name,
            "x": rounds,
            "y": np.maximum(values, 1e-12).tolist(),
            "line": {"color": f"var(--{colour})", "width": 2, "dash": dash},
        }
        for name, values, colour, dash in (
            ("powers differ", found.primal_residual, "c1", "solid"),
            ("prices differ", found.dual_residual, "c2", "dash"),
        )
    ]
    layout = figure_layout(
        margin={"l": 58, "r": 12, "t": 8, "b": 44},
        xaxis={"title": {"text": "round of proposals"}},
        yaxis={"type": "log", "title": {"text": "residual"}, "exponentformat": "power"},
    )
    return Figure("convergence", data, layout, height=230)


def rounds_panel(session: Session) -> Figure | None:
    """What each round of negotiation with the DSO left above the limits; None where there was one at most."""
    result = session.result
    if result is None or len(result.rounds) < 2:
        return None
    x = [f"{each.cycle + 1}.{each.number + 1}" for each in result.rounds]
    overflow = [None if np.isnan(each.overflow_sum_mw) else 1e3 * each.overflow_sum_mw for each in result.rounds]
    blocked = [0 if each.signals is None else int(each.signals.blocked.sum()) for each in result.rounds]
    data: list[Spec] = [
        {"type": "bar", "name": "flow above limits, kW", "x": x, "y": overflow, "marker": {"color": "var(--c4)"}},
        {
            "type": "scatter",
            "mode": "lines+markers",
            "name": "blocked pairs",
            "x": x,
            "y": blocked,
            "yaxis": "y2",
            "line": {"color": "var(--c1)", "width": 2, "dash": "dash"},
        },
    ]
    layout = figure_layout(
        margin={"l": 58, "r": 52, "t": 8, "b": 44},
        xaxis={"type": "category", "title": {"text": "cycle.round"}},
        yaxis={"title": {"text": "kW"}, "rangemode": "tozero"},
        yaxis2={"overlaying": "y", "side": "right", "rangemode": "tozero", "showgrid": False},
    )
    return Figure("rounds", data, layout, height=220)


def flexibility_panel(session: Session) -> Figure | None:
    """Merit order of the last flexibility market: what was offered, and which part was activated; None without."""
    result, simulation = session.result, session.simulation
    if result is None or simulation is None or not (result.flexibility or result.capacity):
        return None
    last = result.flexibility[-1] if result.flexibility else result.capacity[-1]
    order = np.argsort(last.bid_eur_per_mwh, kind="stable")
    order = order[last.offered_mw[order] > 1e-9]
    if not order.size:
        return None
    context = simulation.context
    names = [*context.population.name, "supplier", "dso", "market", *(each.name for each in context.outside)]
    words = [
        escape(f"{names[account]}: {PRODUCT_WORDS[1 + product].replace('_', ' ')}")
        for account, product in zip(last.account[order].tolist(), last.product[order].tolist(), strict=True)
    ]
    offered = 1e3 * last.offered_mw[order]
    shared: Spec = {
        "type": "bar",
        "x": (offered.cumsum() - offered).tolist(),
        "y": last.bid_eur_per_mwh[order].tolist(),
    }
    shared |= {
        "offset": 0,
        "customdata": words,
        "hovertemplate": "%{customdata}<br>%{width:.2f} kW at %{y:.1f} EUR/MWh",
    }
    outlined = {"color": "var(--c1-faint)", "line": {"color": "var(--c1)", "width": 0.6}}
    hatched = {"color": "var(--c2)", "pattern": {"shape": "/", "bgcolor": "var(--c2)", "fgcolor": "var(--surface)"}}
    activated: list[float | None] = [1e3 * p if p > 1e-9 else None for p in last.activated_mw[order].tolist()]
    data = [
        shared | {"name": "offered", "width": offered.tolist(), "marker": outlined},
        shared | {"name": "activated", "width": activated, "marker": hatched},
    ]
    layout = figure_layout(
        margin={"l": 58, "r": 12, "t": 8, "b": 44},
        xaxis={"title": {"text": "flexibility by rising price, kW"}},
        yaxis={"title": {"text": "EUR/MWh"}},
        barmode="overlay",
        hovermode="closest",
    )
    return Figure("flexibility", data, layout, height=260)
