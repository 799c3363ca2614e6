"""Trades of the period before: the largest as a table, and every pair as a cell of a matrix."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from peerwatt.agents.policies import Signals
from peerwatt.experiments.report.markup import Figure, Spec, array, escape, figure_layout, note, table
from peerwatt.experiments.view.drawing import Html
from peerwatt.experiments.view.session import Session

__all__ = ["PAIRS", "pairs_panel", "trades_panel"]

MOST_ROWS = 60
"""How many trades the table has at most."""

PAIRS = {
    "power": "power, kW",
    "price": "price, EUR/MWh",
    "blocked": "blocked",
    "incentive": "cost of the pair, EUR/MWh",
}
"""What the matrix of pairs can show."""

Floats = NDArray[np.float64]


def trades_panel(session: Session) -> Html | None:
    """The largest trades, of one peer where one is chosen."""
    result, simulation = session.result, session.simulation
    if result is None or simulation is None:
        return None
    trades, names = result.trades, simulation.context.population.name
    order = np.argsort(-trades.p_mw, kind="stable")
    if session.look.peer:
        row = simulation.context.row_of.get(session.look.peer, -1)
        order = order[(trades.seller[order] == row) | (trades.buyer[order] == row)]
    if not order.size:
        who = escape(f"{session.look.peer} has not traded" if session.look.peer else "Nothing was traded")
        return Html("trades", f'<p class="pw-note">{who} in this period.</p>')
    head = ["Seller", "buyer", "kW", "EUR/MWh", "fee EUR/MWh"]
    cells = [
        [
            names[trades.seller[k]],
            names[trades.buyer[k]],
            f"{1e3 * trades.p_mw[k]:.2f}",
            f"{trades.price_eur_per_mwh[k]:.1f}",
            f"{result.fee_eur_per_mwh[k]:.1f}",
        ]
        for k in order[:MOST_ROWS]
    ]
    more = note(f"The {MOST_ROWS} largest of {order.size:,}.") if order.size > MOST_ROWS else ""
    return Html("trades", f'<div class="pw-table">{table(head, cells, texts=2)}</div>{more}')


def pairs_panel(session: Session) -> Figure | None:
    """Every pair of peers that has traded, or that the DSO has told something about, as a cell; None where none."""
    result, simulation = session.result, session.simulation
    if result is None or simulation is None:
        return None
    shown, n = session.look.pairs, len(simulation.context.population)
    signals = next((each.signals for each in reversed(result.rounds) if each.signals is not None), None)
    matrix = np.full((n, n), np.nan)
    trades = result.trades
    if shown == "power":
        matrix[trades.seller, trades.buyer] = 1e3 * trades.p_mw
    elif shown == "price":
        matrix[trades.seller, trades.buyer] = trades.price_eur_per_mwh
    elif signals is not None:
        matrix = _told(signals, shown)
    rows, columns = (np.flatnonzero(np.isfinite(matrix).any(axis=axis)) for axis in (1, 0))
    if session.look.peer:
        own = simulation.context.row_of.get(session.look.peer, -1)
        matrix = np.where((np.arange(n)[:, None] == own) | (np.arange(n)[None] == own), matrix, np.nan)
    if not rows.size:
        return None
    names = simulation.context.population.name
    sellers, buyers = ([names[i] for i in each] for each in (rows, columns))
    return _heat_map(matrix[np.ix_(rows, columns)], sellers, buyers, shown)


def _told(signals: Signals, shown: str) -> Floats:
    """What the DSO told of each pair; NaN where nothing; (n_peers, n_peers)."""
    if shown == "blocked":
        return np.where(signals.blocked, 1.0, np.nan)
    cost = signals.seller_cost + signals.buyer_cost
    return np.where(cost != 0.0, cost, np.nan)


def _heat_map(z: Floats, sellers: list[str], buyers: list[str], shown: str) -> Figure:
    largest = float(np.nanmax(np.abs(z), initial=0.0)) or 1.0
    trace: Spec = {
        "type": "heatmap",
        "z": array(z),
        "x": [escape(_short(name)) for name in buyers],
        "y": [escape(_short(name)) for name in sellers],
        "colorscale": "var(--diverging)" if shown == "incentive" else "var(--sequential)",
        "zmin": -largest if shown == "incentive" else 0.0,
        "zmax": largest,
        "xgap": 1,
        "ygap": 1,
        "hoverongaps": False,
        "showscale": shown != "blocked",
        "colorbar": {"title": {"text": PAIRS[shown].rpartition(", ")[2]}, "thickness": 12, "outlinewidth": 0},
        "hovertemplate": "%{y} to %{x}" + (" is blocked" if shown == "blocked" else ": %{z:.2f}") + "<extra></extra>",
    }
    if shown == "blocked":
        trace |= {"text": [["×" if np.isfinite(cell) else "" for cell in row] for row in z], "texttemplate": "%{text}"}
    side: Spec = {
        "type": "category",
        "automargin": True,
        "showgrid": False,
        "ticks": "",
        "tickfont": {"size": 10},
        "dtick": 1,
    }
    layout = figure_layout(
        margin={"l": 60, "r": 12, "t": 8, "b": 60},
        xaxis=side | {"title": {"text": "buyer"}, "tickangle": -60},
        yaxis=side | {"title": {"text": "seller"}, "autorange": "reversed"},
        hovermode="closest",
    )
    return Figure(f"pairs-{shown}", [trace], layout, height=int(min(620, 170 + 17 * max(6, len(sellers)))))


def _short(name: str) -> str:
    """The last two words of a name, which is what tells peers of one feeder apart."""
    return " ".join(name.split()[-2:])
