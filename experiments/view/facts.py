"""The run so far in a row of figures."""

from __future__ import annotations

import numpy as np

from peerwatt.experiments.report.markup import escape
from peerwatt.experiments.view.drawing import Html
from peerwatt.experiments.view.history import uncleared
from peerwatt.experiments.view.session import Session
from peerwatt.experiments.wording import Fact, energy, money

__all__ = ["facts", "tiles"]


def facts(session: Session) -> list[Fact]:
    """Key figures since the start, and of the grid in the period before."""
    history = session.history
    if not len(history):
        return []
    traded, last = history.total("traded_mwh"), {name: values[-1] for name, values in history.series.items()}
    volume, price = (np.array(history.series[name]) for name in ("traded_mwh", "price_eur_per_mwh"))
    mean = f"at {np.nansum(volume * price) / traded:.1f} EUR/MWh" if traded > 0.0 else "no trades yet"
    violated = int(history.total("violations"))
    now, dead = last["violations"], int(last["unsupplied"])
    cut = [Fact("Without supply", f"{dead:,} {'peer' if dead == 1 else 'peers'}", "now", alarm=True)] if dead else []
    return [
        Fact("Traded so far", energy(traded), mean),
        *_uncleared(session),
        Fact("Saved by peers", f"{money(history.total('saved_eur'))} EUR", "against no trading"),
        *cut,
        Fact("Highest loading", _known(last["max_occupancy_percent"], "{:.1f} %"), "of its limit, now"),
        Fact("Voltage", _known(last["min_vm_pu"], "{:.3f}") + "–" + _known(last["max_vm_pu"], "{:.3f}"), "pu, now"),
        Fact("Limits violated", _known(now, "{:.0f}"), f"now; {violated:,} in all", alarm=bool(now > 0.0)),
        Fact("Messages", f"{last['messages']:,.0f}", f"now; {history.total('messages'):,.0f} in all"),
    ]


def _uncleared(session: Session) -> list[Fact]:
    """Periods so far in which a market had no result; nothing while there are none."""
    count = int(np.count_nonzero(session.history.series["uncleared"]))
    if not count:
        return []
    now = [] if session.result is None else uncleared(session.result)
    value = f"{count:,} of {len(session.history):,} periods"
    return [Fact("Not cleared", value, f"now: {' and '.join(now)}" if now else "not now", alarm=True)]


def tiles(session: Session) -> Html:
    """The figures as a row of tiles."""
    found = facts(session)
    if not found:
        text = "Press play or step; click on a line or bus of the map for its history."
        return Html("tiles", f'<p class="pw-note">{text}</p>')
    cells = "".join(
        f'<div class="pw-tile{" alarm" if fact.alarm else ""}"><dt>{escape(fact.label)}</dt>'
        f"<dd>{escape(fact.value)}<small>{escape(fact.remark)}</small></dd></div>"
        for fact in found
    )
    return Html("tiles", f'<dl class="pw-card pw-tiles">{cells}</dl>')


def _known(value: float, form: str) -> str:
    return form.format(value) if np.isfinite(value) else "not known"
