"""Who pays whom: flows of money between groups, and what every peer paid."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from peerwatt.experiments.report.markup import Figure, Section, Spec, escape, figure_layout, note, table
from peerwatt.experiments.wording import costs, money
from peerwatt.sim.columns import codes, numbers, strings
from peerwatt.sim.kpi import GROUPS
from peerwatt.sim.results import Results

__all__ = ["MAX_ROWS", "accounts_section"]

MAX_GROUPS = 30
"""How many accounts the figure has at most; with more, those that are no group of peers are joined."""

MAX_ROWS = 200
"""How many peers the table lists at most."""

REASONS = {"p2p": "c1", "supply": "c2", "feed_in": "c5", "network_fee": "c3", "imbalance": "c4"}
"""Colour of a flow of money, by its reason; all others are grey."""

Floats = NDArray[np.float64]


def accounts_section(results: Results) -> Section:
    """Flows of money between groups, cost by group and by peer."""
    figures: tuple[Figure, ...] = ()
    parts = []
    if "settlement" in results.tables:
        figures, flows = _flows(results)
        parts.append(flows)
    else:
        parts.append(note("Payments were not recorded (add settlement to record: in the scenario)."))
    if rows := costs(results):
        head = ["Group", "peers", "cost EUR", "without trading EUR", "saving EUR", "saving %"]
        cells = [
            [
                r.group,
                f"{r.count:,}",
                *(money(eur) for eur in (r.cost_eur, r.reference_eur, r.saving_eur)),
                "–" if r.saving_percent is None else f"{r.saving_percent:.1f}",
            ]
            for r in rows
        ]
        parts.append(f"<h3>By group</h3>{table(head, cells, last='total')}")
    parts.append(_peers_table(results))
    return Section("accounts", "Who pays whom", "".join(parts), figures)


def _groups(results: Results) -> dict[str, str]:
    """Group of every peer, by name."""
    if "peer" not in results.tables:
        return {}
    peer = results.arrow("peer", ["agent", "kind"])
    kinds = [GROUPS.get(kind, "peers") for kind in strings(peer, "kind")]
    return dict(zip(strings(peer, "agent"), kinds, strict=True))


def _flows(results: Results) -> tuple[tuple[Figure, ...], str]:
    rows = results.arrow("settlement", ["payer", "payee", "reason", "amount_eur"])
    amount = np.nan_to_num(numbers(rows, "amount_eur"))
    if not amount.sum() > 0.0:
        return (), note("No money changed hands.")
    total = _totals(rows, amount, _groups(results))
    if not total:
        return (), note("Less than a cent changed hands.")
    figure = _sankey(total)
    caption = "Payments over the whole run in EUR, payers on the left, payees on the right."
    return (figure,), _reason_legend(total) + figure.markup(caption)


def _totals(rows: pa.Table, amount: Floats, group_of: dict[str, str]) -> dict[tuple[str, str, str], float]:
    """EUR by group of payer, group of payee and reason, largest first, without what is less than a cent."""
    (a, payers), (b, payees), (c, reasons) = (codes(rows, key) for key in ("payer", "payee", "reason"))
    sides = [[group_of.get(name, name) for name in names] for names in (payers, payees)]
    groups = list(dict.fromkeys(sides[0] + sides[1]))
    if len(groups) > MAX_GROUPS:  # accounts that are no peers, e.g. when table peer was not recorded
        sides = [["others" if name not in GROUPS.values() else name for name in side] for side in sides]
        groups = list(dict.fromkeys(sides[0] + sides[1]))
    payer, payee = (np.array([groups.index(name) for name in side], dtype=np.intp) for side in sides)
    shape = (len(groups), len(groups), len(reasons))
    flat = np.ravel_multi_index((payer[a], payee[b], c), shape)
    cube = np.bincount(flat, weights=amount, minlength=int(np.prod(shape))).reshape(shape)
    total = {(groups[i], groups[j], reasons[k]): float(cube[i, j, k]) for i, j, k in np.argwhere(cube > 0.005).tolist()}
    return dict(sorted(total.items(), key=lambda item: -item[1]))


def _sankey(total: dict[tuple[str, str, str], float]) -> Figure:
    payers = list(dict.fromkeys(payer for payer, _, _ in total))
    payees = list(dict.fromkeys(payee for _, payee, _ in total))
    paid = [sum(eur for flow, eur in total.items() if flow[0] == name) for name in payers]
    received = [sum(eur for flow, eur in total.items() if flow[1] == name) for name in payees]
    labels = [f"{escape(n)}  {money(eur)}" for n, eur in zip(payers + payees, paid + received, strict=True)]
    trace: Spec = {
        "type": "sankey",
        "arrangement": "snap",
        "valuesuffix": " EUR",
        "valueformat": ",.2f",
        "textfont": {"color": "var(--ink)", "size": 14, "shadow": "none"},
        "node": {
            "label": labels,
            "x": [0.001] * len(payers) + [0.999] * len(payees),
            "y": _centres(paid) + _centres(received),
            "color": ["var(--muted)"] * len(labels),
            "line": {"width": 0},
            "pad": 22,
            "thickness": 14,
            "hovertemplate": "%{label} EUR<extra></extra>",
        },
        "link": {
            "source": [payers.index(payer) for payer, _, _ in total],
            "target": [len(payers) + payees.index(payee) for _, payee, _ in total],
            "value": list(total.values()),
            "color": [f"var(--{REASONS.get(reason, 'other')}-soft)" for _, _, reason in total],
            "customdata": [escape(_worded(reason)) for _, _, reason in total],
            "hovertemplate": "%{customdata}: %{value}<extra></extra>",
        },
    }
    layout = figure_layout(margin={"l": 16, "r": 16, "t": 16, "b": 16})
    return Figure("accounts-plot", [trace], layout, height=max(320, 90 * max(len(payers), len(payees))))


def _centres(sizes: list[float]) -> list[float]:
    """Where nodes of the given sizes are centred on a side of the figure, from 0 to 1."""
    ends = np.cumsum(sizes) / sum(sizes)
    return [float(min(0.999, max(0.001, y))) for y in ends - np.array(sizes) / sum(sizes) / 2.0]


def _worded(reason: str) -> str:
    return {"p2p": "P2P trades", "feed_in": "feed-in"}.get(reason, reason.replace("_", " "))


def _reason_legend(total: dict[tuple[str, str, str], float]) -> str:
    items = []
    for reason in dict.fromkeys(reason for _, _, reason in total):
        eur = sum(value for flow, value in total.items() if flow[2] == reason)
        color = REASONS.get(reason, "other")
        items.append(
            f'<li><span class="chip" style="background:var(--{color}-soft)"></span>'
            f"{escape(_worded(reason))} <b>{money(eur)} EUR</b></li>"
        )
    return f'<ul class="legend">{"".join(items)}</ul>'


def _peers_table(results: Results) -> str:
    if "agent" not in results.tables:
        return note("What each peer paid was not recorded (add agent to record: in the scenario).")
    columns = ["payment_eur", "utility_eur", "reference_payment_eur"]
    rows = results.arrow("agent", ["agent", *columns])
    agent, names = codes(rows, "agent")
    if not names:
        return ""
    payment, utility, reference = (
        np.bincount(agent, weights=np.nan_to_num(numbers(rows, column))) for column in columns
    )
    saving = reference - payment + utility
    group_of = _groups(results)
    order = np.argsort(-np.abs(saving), kind="stable")[:MAX_ROWS]
    order = order[np.argsort(-saving[order], kind="stable")]
    head = ["Peer", "group", "payment EUR", "value added EUR", "without trading EUR", "saving EUR"]
    cells = [
        [names[i], group_of.get(names[i], "")]
        + [money(float(values[i])) for values in (payment, utility, reference, saving)]
        for i in order
    ]
    kept = f" The {MAX_ROWS} largest savings and losses of {len(names):,} peers." if len(names) > MAX_ROWS else ""
    text = f"Negative payments are income. Saving = without trading − payment + value added.{kept}"
    return (
        f"<details><summary>By peer ({min(len(names), MAX_ROWS):,})</summary>"
        f"{note(text)}{table(head, cells, texts=2)}</details>"
    )
