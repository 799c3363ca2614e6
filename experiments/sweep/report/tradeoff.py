"""Two key figures against each other: which variants no other beats in both."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from peerwatt.errors import Fault, ResultsError
from peerwatt.experiments.paired import CONFIDENCE, ROUNDING, half_width
from peerwatt.experiments.report.markup import Figure, Section, Spec, array, escape, note
from peerwatt.experiments.sweep.effects import means, shared
from peerwatt.experiments.sweep.report.shown import Floats, Shown, plain_layout, short
from peerwatt.experiments.sweep.results import SweepResults
from peerwatt.experiments.wording import number

__all__ = ["PARETO", "front", "parts_of", "tradeoff_section"]

PARETO = ("social_welfare_eur", "congestion_violations+voltage_violations")
"""What is to be high, and what is to be low, where nobody says otherwise."""
MAX_LABELS = 16
_TITLE = "Trade-off"


def parts_of(results: SweepResults, pair: Sequence[str], where: str = "--pareto") -> list[list[str]]:
    """The key figures of a pair; each may be a sum ``a+b``.

    Args:
        results: the sweep.
        pair: what is to be high, what is to be low.
        where: option for messages.

    Raises:
        ResultsError: no run has one of them; all at once.
    """
    parts = [[each.strip() for each in name.split("+")] for name in pair]
    if len(parts) != 2:
        raise ResultsError(Fault(where, f"{len(parts)} key figures", "give one to be high and one to be low"))
    results.check_figures([each for names in parts for each in names], where)
    return parts


def front(high: Floats, low: Floats) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """Which variants no other one beats in both figures, or in one at the same other (Pareto front).

    Args:
        high: figure that is to be high, NaN where there is none; (n,).
        low: figure that is to be low, likewise.
    """
    known = np.isfinite(high) & np.isfinite(low)
    kept = np.zeros(high.size, dtype=np.bool_)
    order = [k for k in np.lexsort((low, -high)).tolist() if known[k]]  # the highest first, of equal ones the lowest
    best, best_high = np.inf, np.nan
    for k in order:
        if low[k] < best or (low[k] == best and high[k] == best_high):
            kept[k] = True
            best, best_high = float(low[k]), float(high[k])
    return kept


def tradeoff_section(shown: Shown, pair: Sequence[str]) -> Section:
    """Means of two key figures, with the front.

    Args:
        shown: the sweep.
        pair: what is to be high, what is to be low.
    """
    parts = [[each.strip() for each in name.split("+")] for name in pair]
    missing = [each for names in parts for each in names if each not in shown.values]
    if missing:
        return Section("tradeoff", _TITLE, note(f"No run has {escape(', '.join(missing))}; choose with --pareto."))
    sums = [np.sum([shown.values[each] for each in names], axis=0) for names in parts]
    there = np.isfinite(sums[0]) & np.isfinite(sums[1])
    high, low = (shared(np.where(there, each, np.nan)) for each in sums)
    kept = front(_rounded(means(high)), _rounded(means(low)))
    data = [_marks(shown, high, low, kept, wanted=False), _stairs(means(high), means(low), kept)]
    data.append(_marks(shown, high, low, kept, wanted=True))
    layout = plain_layout(
        xaxis={"title": {"text": f"{escape(' + '.join(parts[1]))}  (low is good)"}},
        yaxis={"title": {"text": f"{escape(' + '.join(parts[0]))}  (high is good)"}},
    ) | {"showlegend": True, "margin": {"l": 8, "r": 16, "t": 36, "b": 44}}
    figure = Figure("tradeoff-plot", data, layout, height=460)
    caption = (
        f"Means over the replicas that all variants have, if any, with their own {CONFIDENCE:.0%} t intervals. A "
        "variant is on the Pareto front when no other one is at least as good in both and better in one. The front is "
        "that of the means: where intervals overlap, other replicas may give another one."
    )
    known = means(low)[np.isfinite(means(low))]
    alike = not known.size or np.ptp(known) == 0.0
    said = note(f"There is nothing to trade off: {escape(' + '.join(parts[1]))} is the same for all.") if alike else ""
    return Section("tradeoff", _TITLE, said + figure.markup(caption), (figure,))


def _rounded(values: Floats) -> Floats:
    """Values that differ by a solver's rounding become the same."""
    known = np.abs(values[np.isfinite(values)])
    step = ROUNDING * float(known.max(initial=0.0))
    return np.round(values / step) * step if step else values


def _marks(shown: Shown, high: Floats, low: Floats, kept: np.ndarray, *, wanted: bool) -> Spec:
    pick = np.flatnonzero((kept == wanted) & np.isfinite(means(high)) & np.isfinite(means(low)))
    halves = [[half_width(row[np.isfinite(row)]) for row in values[pick]] for values in (low, high)]
    barred = wanted or pick.size <= MAX_LABELS  # of more, bars would hide the marks
    names = [escape(shown.marked[k]) for k in pick]
    color = "var(--c2)" if wanted else "var(--c1)"
    texts = [
        f"{name}<br>{number(y)} ({'±' + number(b) if np.isfinite(b) else 'one run'})<br>{number(x)}"
        for name, y, x, b in zip(names, means(high)[pick], means(low)[pick], halves[1], strict=True)
    ]
    bars = {"color": color, "thickness": 1.2, "width": 3}
    labelled = wanted and pick.size <= MAX_LABELS
    return {
        "type": "scatter",
        "mode": "markers+text" if labelled else "markers",
        "name": "on the front" if wanted else "beaten",
        "x": array(means(low)[pick]),
        "y": array(means(high)[pick]),
        "error_x": {"array": np.nan_to_num(halves[0]).tolist(), "visible": barred, **bars},
        "error_y": {"array": np.nan_to_num(halves[1]).tolist(), "visible": barred, **bars},
        "marker": {"size": 11 if wanted else 8, "symbol": "diamond" if wanted else "circle-open", "color": color},
        "text": [short(shown.marked[k]) for k in pick] if labelled else None,
        "textposition": "top right",
        "customdata": texts,
        "hovertemplate": "%{customdata}<extra></extra>",
    }


def _stairs(high: Floats, low: Floats, kept: np.ndarray) -> Spec:
    order = np.flatnonzero(kept)[np.argsort(low[kept], kind="stable")]
    return {
        "type": "scatter",
        "mode": "lines",
        "x": array(low[order]),
        "y": array(high[order]),
        "line": {"shape": "hv", "color": "var(--c2)", "width": 1.5, "dash": "dash"},
        "hoverinfo": "skip",
        "showlegend": False,
    }
