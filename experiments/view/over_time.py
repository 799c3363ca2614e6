"""Key figures over time beside a pinned earlier run; money by role; the history of a pinned element."""

from __future__ import annotations

from typing import Any

import numpy as np

from peerwatt.experiments.report.markup import Figure, Spec, escape, figure_layout
from peerwatt.experiments.view.history import MONEY, Element, History
from peerwatt.experiments.view.session import Session
from peerwatt.grid.network import Network

__all__ = ["element_panel", "figures_panel", "money_panel"]

_ROWS = (
    ("EUR/MWh", (("price_eur_per_mwh", "c1", 1.0),)),
    ("kWh", (("traded_mwh", "c1", 1e3), ("exchange_mwh", "c2", 1e3))),
    ("loading, % of limit", (("max_occupancy_percent", "c4", 1.0),)),
    ("voltage, pu", (("min_vm_pu", "c5", 1.0), ("max_vm_pu", "c3", 1.0))),
)
_NAMES = {
    "price_eur_per_mwh": "P2P price",
    "traded_mwh": "traded between peers",
    "exchange_mwh": "net import",
    "max_occupancy_percent": "highest loading",
    "min_vm_pu": "lowest voltage",
    "max_vm_pu": "highest voltage",
}
_DASH = ("solid", "dash")


def figures_panel(session: Session) -> Figure | None:
    """Price, energy, loading and voltage over time; the pinned run is thin and dotted."""
    simulation = session.simulation
    if simulation is None:
        return None
    tariff = simulation.context.tariff
    data: list[Spec] = []
    layout = figure_layout(
        margin={"l": 58, "r": 12, "t": 8, "b": 30},
        grid={"rows": len(_ROWS), "columns": 1, "pattern": "independent", "ygap": 0.12},
        xaxis=_time_axis(session),
        legend={"orientation": "h", "x": 0, "y": 1.01, "yanchor": "bottom"},
        hoversubplots="axis",
    )
    for row, (unit, series) in enumerate(_ROWS):
        axis = "y" if row == 0 else f"y{row + 1}"
        layout[axis.replace("y", "yaxis")] = {"title": {"text": unit, "font": {"size": 12}}, "domain": _domain(row)}
        for k, (name, colour, factor) in enumerate(series):
            for history, pinned in ((session.history, False), (session.pinned_run, True)):
                if history is not None:
                    data.append(_series(history, name, colour, factor, axis, k, pinned=pinned))
    for price, word in ((tariff.supply_eur_per_mwh, "supplier sells"), (tariff.feed_in_eur_per_mwh, "supplier buys")):
        data.append(_level(session, price, word))
    layout["xaxis"]["anchor"] = f"y{len(_ROWS)}"
    return Figure("over-time", data, layout, height=470)


def _domain(row: int) -> list[float]:
    height = 1.0 / len(_ROWS)
    return [1.0 - (row + 1) * height + 0.025, 1.0 - row * height - 0.015]


def _time_axis(session: Session) -> Spec:
    axis: Spec = {"type": "date", "domain": [0, 1]}
    if session.simulation is not None:
        settings = session.simulation.settings
        axis["range"] = [f"{settings.start:%Y-%m-%d %H:%M}", f"{settings.end:%Y-%m-%d %H:%M}"]
    return axis


def _series(history: History, name: str, colour: str, factor: float, axis: str, k: int, *, pinned: bool) -> Spec:
    values = np.array(history.series[name]) * factor
    text = f"{_NAMES[name]}{f' ({history.title}, pinned)' if pinned else ''}"
    return {
        "type": "scatter",
        "mode": "lines" if len(values) > 1 else "markers",
        "name": escape(text),
        "x": history.times,
        "y": _gaps(values),
        "yaxis": axis,
        "opacity": 0.75 if pinned else 1.0,
        "line": {"color": f"var(--{colour})", "width": 1.3 if pinned else 2.2, "dash": "dot" if pinned else _DASH[k]},
        "showlegend": not pinned,
        "hovertemplate": "%{y:.4~g}",
    }


def _gaps(values: Any) -> list[float | None]:
    """Numbers for JSON; what is not known is a gap."""
    return [None if not np.isfinite(value) else float(value) for value in values]


def _level(session: Session, price: float, word: str) -> Spec:
    axis = _time_axis(session)["range"]
    line = {"color": "var(--muted)", "width": 1, "dash": "dash"}
    return {
        "type": "scatter",
        "mode": "lines",
        "name": word,
        "x": axis,
        "y": [price, price],
        "line": line,
        "showlegend": False,
        "hovertemplate": f"{word} at {price:g}<extra></extra>",
    }


def money_panel(session: Session) -> Figure | None:
    """What each role has received less paid since the start, beside the pinned run."""
    if not session.history.money:
        return None
    names, widest = {"mediator": "market", "dso": "DSO"}, 1e-2
    labels = [names.get(role, role) for role in MONEY]
    data: list[Spec] = []
    for history, pinned in ((session.history, False), (session.pinned_run, True)):
        if history is None or not history.money:
            continue
        at = min(len(history), len(session.history)) - 1
        values = history.money[at].tolist()
        widest = max(widest, *(abs(value) for value in values))
        data.append(
            {
                "type": "bar",
                "orientation": "h",
                "name": escape(f"{history.title}, pinned" if pinned else history.title),
                "y": labels,
                "x": values,
                "text": [f"{value:,.2f}" for value in values],
                "textposition": "outside",
                "cliponaxis": False,
                "marker": {
                    "color": "var(--c6)" if pinned else "var(--c1)",
                    "pattern": {"shape": "/" if pinned else ""},
                },
                "hovertemplate": "%{y}: %{x:.2f} EUR",
            }
        )
    layout = figure_layout(
        margin={"l": 70, "r": 12, "t": 8, "b": 36},
        xaxis={
            "title": {"text": "received less paid since the start, EUR"},
            "zeroline": True,
            "range": [-1.3 * widest, 1.3 * widest],  # leaves room for the numbers beside the bars
        },
        yaxis={"autorange": "reversed"},
        hovermode="closest",
        bargap=0.3,
        showlegend=len(data) > 1,
    )
    return Figure("money", data, layout, height=280)


def element_panel(session: Session) -> Figure | None:
    """History of the pinned element, above its limits as dashed lines; None without one."""
    found, network = session.look.pinned, session.network
    if found is None or network is None:
        return None
    data: list[Spec] = []
    layout = figure_layout(margin={"l": 58, "r": 12, "t": 6, "b": 30}, xaxis=_time_axis(session), showlegend=False)
    for history, pinned in ((session.history, False), (session.pinned_run, True)):
        if history is not None:
            values = history.of_element(found, network.n_line)
            data += [_quantity(history, k, *item, pinned=pinned) for k, item in enumerate(values.items())]
    for k, name in enumerate(session.history.of_element(found, network.n_line)):
        axis = {"title": {"text": name, "font": {"size": 12}}, "domain": [0.54, 1.0] if k == 0 else [0.0, 0.44]}
        layout["yaxis" if k == 0 else "yaxis2"] = axis
    limit: Spec = {"type": "line", "xref": "paper", "x0": 0, "x1": 1}
    limit["line"] = {"color": "var(--over)", "width": 1.2, "dash": "dash"}
    layout["shapes"] = [limit | {"y0": value, "y1": value} for value in _limits(network, found)]
    layout["xaxis"]["anchor"] = "y2"
    return Figure(f"element-{found.kind}", data, layout, height=270)


def _quantity(history: History, k: int, name: str, values: Any, *, pinned: bool) -> Spec:
    dash = "dot" if pinned else "solid"
    return {
        "type": "scatter",
        "mode": "lines" if len(values) > 1 else "markers",
        "name": escape(f"{name} (pinned)" if pinned else name),
        "x": history.times,
        "y": _gaps(values),
        "yaxis": "y" if k == 0 else "y2",
        "line": {"color": f"var(--c{k + 1})", "width": 1.3 if pinned else 2.2, "dash": dash},
        "hovertemplate": "%{y:.4~g}",
    }


def _limits(network: Network, found: Element) -> list[float]:
    """Voltage band of a bus, limit of a branch, of which its loading is a share."""
    if found.kind == "bus":
        return [float(each[found.position]) for each in (network.buses.min_vm_pu, network.buses.max_vm_pu)]
    return [100.0]
