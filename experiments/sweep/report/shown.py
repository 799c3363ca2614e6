"""What all sections of the report show: key figures by variant and replica, and their names in words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from peerwatt.errors import Fault, ResultsError
from peerwatt.experiments.comparison import MARK
from peerwatt.experiments.comparison_table import SECTIONS, failed_lines
from peerwatt.experiments.report.markup import Spec, escape, figure_layout
from peerwatt.experiments.sweep.analysis import Analysis
from peerwatt.experiments.sweep.results import SweepResults

__all__ = [
    "Floats",
    "Shown",
    "cell_texts",
    "heading",
    "label",
    "plain_layout",
    "rows_axis",
    "short",
    "side_by_side",
]

Floats = np.ndarray[Any, np.dtype[np.float64]]

_LABELS = {key: label for labels in SECTIONS.values() for key, label in labels.items()}
_LONGEST = 36  # characters of a name beside a figure
_FLAWS = 12  # variants with periods without a result that are named one by one
_FAILURES = 12  # that an error lists
_DARK = 0.46  # place on the colour scale from which the page's own colour is read better than the ink


@dataclass(frozen=True, slots=True)
class Shown:
    """A sweep, as far as it is shown.

    Attributes:
        results: all of it.
        figures: key figures.
        analysis: their paired differences; its comparison has the reference first.
        values: of each figure, by variant in the order of the design and by replica, NaN where there is none.
        flaws: of variants that have periods without a result, what has none in how many.
    """

    results: SweepResults
    figures: tuple[str, ...]
    analysis: Analysis
    values: dict[str, Floats]
    flaws: dict[str, str]

    @classmethod
    def of(cls, results: SweepResults, figures: Sequence[str], reference: str, further: Sequence[str] = ()) -> Shown:
        """Read what is shown.

        Args:
            results: the sweep.
            figures: key figures; without any, those of the experiment.
            reference: name of the variant that is compared to; by default the experiment's.
            further: key figures whose values are needed besides.

        Raises:
            ResultsError: no run has finished, or there is no such figure or variant.
        """
        _check_finished(results)
        if figures:
            results.check_figures(figures, "--kpi")
        names = tuple(dict.fromkeys(figures)) or tuple(
            each for each in results.experiment.kpis if each in results.figures
        )
        if not names:
            known = ", ".join(results.figures[:8])
            problem = "no run has a key figure of the experiment"
            raise ResultsError(Fault(str(results.path), problem, f"name others with --kpi, e.g. {known}"))
        every = tuple(dict.fromkeys((*names, *(each for each in further if each in results.figures))))
        analysis = results.analysis(names, reference)
        values = {key: _grid(results, key) for key in every}
        return cls(results, names, analysis, values, analysis.comparison.unsolved)

    @property
    def names(self) -> tuple[str, ...]:
        """Variants in the order of the design."""
        return self.results.variants

    @property
    def marked(self) -> tuple[str, ...]:
        """The same, with the `MARK` where periods have no result."""
        return tuple(self.mark(name) for name in self.names)

    def mark(self, name: str) -> str:
        """A variant's name, with the `MARK` where periods have no result; before it, as long names are cut."""
        return f"{MARK} {name}" if name in self.flaws else name

    def flawed_levels(self, factor: str) -> set[str]:
        """Levels of a factor that some variant with periods without a result has."""
        return {
            point[factor][0] for name, point in zip(self.names, self.results.design, strict=True) if name in self.flaws
        }

    @property
    def alarm(self) -> str:
        """Which variants have periods without a result, as markup; empty where none has."""
        if not self.flaws:
            return ""
        lines = [f"{MARK} {escape(name)}: {escape(text)}" for name, text in list(self.flaws.items())[:_FLAWS]]
        more = f"<br>and {len(self.flaws) - _FLAWS} variants more" if len(self.flaws) > _FLAWS else ""
        said = "Some periods have no result; what differs from or between these variants may come from there:"
        return f'<p class="alarm">{said}<br>{"<br>".join(lines)}{more}</p>'

    @property
    def reference(self) -> str:
        """Variant that the others are compared to."""
        return self.analysis.comparison.variants[0]

    @property
    def drawn(self) -> bool:
        """Whether the points of the design were drawn."""
        return self.results.experiment.design.method != "full_factorial"


def _check_finished(results: SweepResults) -> None:
    where, again = str(results.path), "the sweep's command again computes what is missing"
    if not results.done:
        raise ResultsError(Fault(where, f"no run has finished yet, of {results.total}", again))
    if results.failed == results.done:
        lines = failed_lines(results.comparison(()))
        first = Fault(
            where, f"all {results.done} runs failed, of {results.total}", "mend the scenario, then run it again"
        )
        others = [Fault("", f"and {len(lines) - _FAILURES} variants more")] if len(lines) > _FAILURES else []
        raise ResultsError([first, *(Fault("failed", line) for line in lines[:_FAILURES]), *others])


def _grid(results: SweepResults, figure: str) -> Floats:
    """One key figure, (n_variants, n_replicas)."""
    import pyarrow as pa

    rows = results.runs.arrow(["variant", "replica", figure])
    column = rows["variant"].combine_chunks()
    column = column if pa.types.is_dictionary(column.type) else column.dictionary_encode()
    place = {name: number for number, name in enumerate(results.variants)}
    code = np.array([place[name] for name in column.dictionary.to_pylist()], dtype=np.intp)
    found = np.full((len(place), results.replicas), np.nan)
    at = code[column.indices.to_numpy(zero_copy_only=False)]
    found[at, rows["replica"].to_numpy()] = rows[figure].to_numpy(zero_copy_only=False)
    return found


def short(name: str) -> str:
    """A name that fits beside a figure, escaped."""
    if len(name) > _LONGEST:
        half = _LONGEST // 2
        name = f"{name[: half - 1].rstrip()} … {name[-half:].lstrip()}"
    return escape(name)


def label(figure: str) -> str:
    """A key figure in words."""
    said = _LABELS.get(figure, "")
    return said[:1].upper() + said[1:]


def heading(figure: str) -> str:
    """Heading of a key figure: in words, and its name."""
    said = label(figure)
    code = f"<code>{escape(figure)}</code>"
    return f"<h3>{escape(said)} {code}</h3>" if said else f"<h3>{code}</h3>"


def rows_axis(names: Sequence[str]) -> Spec:
    """A vertical axis with a name at each whole number, from the top."""
    return {
        "tickvals": list(range(len(names))),
        "ticktext": [short(name) for name in names],
        "range": [len(names) - 0.4, -0.6],
        "showgrid": False,
        "zeroline": False,
        "fixedrange": True,
    }


def plain_layout(**changes: Any) -> Spec:
    """Layout of a figure whose marks are looked at one by one."""
    return figure_layout(hovermode="closest", showlegend=False, margin={"l": 8, "r": 16, "t": 8, "b": 40}, **changes)


def cell_texts(x: Sequence[str], share: Floats, text: Sequence[Sequence[str]]) -> Spec:
    """Figures in the cells of a heat map that is coloured by `--sequential`, in what can be read on each colour.

    Args:
        x: columns; rows are whole numbers.
        share: place on the colour scale, NaN where a cell has no colour; (n_rows, n_columns).
        text: of each cell.
    """
    rows, columns = np.indices(share.shape)
    return {
        "type": "scatter",
        "mode": "text",
        "x": [x[k] for k in columns.ravel().tolist()],
        "y": rows.ravel().tolist(),
        "text": [each for row in text for each in row],
        "textfont": {"color": ["var(--page)" if each > _DARK else "var(--ink)" for each in share.ravel()]},
        "hoverinfo": "skip",
    }


def side_by_side(parts: Sequence[str]) -> str:
    """Figures in as many columns as fit."""
    return f'<div class="side">{"".join(f"<div>{part}</div>" for part in parts)}</div>'
