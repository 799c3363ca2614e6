"""Variants against the reference: paired differences, their intervals, how large they are, and which are there at all.

Many comparisons find differences by chance; p-values are adjusted so that the expected share of false findings among
those below a level is at most that level, whatever the dependence between them (Benjamini and Yekutieli, 2001).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from peerwatt.experiments.comparison import MARK
from peerwatt.experiments.comparison_table import failed_lines
from peerwatt.experiments.paired import CONFIDENCE, Paired, paired
from peerwatt.experiments.wording import number

if TYPE_CHECKING:
    from rich.table import Table

    from peerwatt.experiments.comparison import Comparison

__all__ = ["HEAD", "Analysis", "Row", "cells"]

CORRECTION = "Benjamini-Yekutieli false discovery rate"
HEAD = ("key figure", "variant", "mean", "difference", "d", "p adjusted", "n")
UNSOLVED = "without a result"
"""Head of a further column where some variant has periods without a result."""
_UNLIKE = f" {MARK}: some periods have no result; what differs may come from there, whatever p says."
_FIELDS = ("mean", "mean_half_width", "n", "difference", "half_width", "effect", "p_value")


@dataclass(frozen=True, slots=True)
class Row:
    """One key figure of one variant.

    Attributes:
        kpi: name of the figure.
        variant: name of the variant.
        found: its statistics.
        p_adjusted: p-value with all others of the analysis in mind; NaN where there is none.
        own: what has no result in how many of its periods, in words; empty where everything has one.
        reference: the same of the variant that it is compared to; empty of that itself.
    """

    kpi: str
    variant: str
    found: Paired
    p_adjusted: float = np.nan
    own: str = ""
    reference: str = ""

    @property
    def unsolved(self) -> str:
        """What keeps the comparison from being one of like with like, in words; empty where nothing does."""
        return "; ".join(part for part in (self.own, self.reference and f"reference: {self.reference}") if part)


@dataclass(frozen=True, slots=True)
class Analysis:
    """All rows, by key figure and variant.

    Attributes:
        comparison: the units.
        rows: the reference first in each key figure.
    """

    comparison: Comparison
    rows: tuple[Row, ...]

    @classmethod
    def of(cls, comparison: Comparison, kpis: tuple[str, ...]) -> Analysis:
        """Analyse.

        Args:
            comparison: the units.
            kpis: key figures; those that no unit has are left out.
        """
        flaws, first = comparison.unsolved, comparison.variants[0]
        of_first = flaws.get(first, "")
        found = [
            Row(kpi, name, each, own=flaws.get(name, ""), reference="" if name == first else of_first)
            for kpi in kpis
            for name, each in paired(comparison, kpi).items()
        ]
        rows = [row for row in found if any(other.found.n for other in found if other.kpi == row.kpi)]
        p_value = np.array([row.found.p_value for row in rows])
        known = np.isfinite(p_value)
        if known.any():
            from scipy.stats import false_discovery_control

            p_value[known] = false_discovery_control(p_value[known], method="by")
        adjusted = (replace(row, p_adjusted=p) for row, p in zip(rows, p_value.tolist(), strict=True))
        return cls(comparison, tuple(adjusted))

    def as_table(self) -> Table:
        """The rows for the terminal."""
        from rich import box
        from rich.table import Table

        table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
        for name in self.head:
            table.add_column(name, justify="left" if name in (*HEAD[:2], UNSOLVED) else "right", no_wrap=True)
        last = ""
        for row in self.rows:
            style = "red" if row.unsolved else ""
            table.add_row("" if row.kpi == last else row.kpi, *self.cells(row), style=style)
            last = row.kpi
        return table

    @property
    def head(self) -> tuple[str, ...]:
        """Heads of the table's columns."""
        return (*HEAD, UNSOLVED) if self.comparison.unsolved else HEAD

    def cells(self, row: Row) -> tuple[str, ...]:
        """A row of the table without the key figure's name."""
        return (*cells(row), row.unsolved) if self.comparison.unsolved else cells(row)

    def caption(self) -> str:
        """How to read the table."""
        first, n = self.comparison.variants[0], self.comparison.replicas
        return (
            f"{n} replicas; paired difference to {first} with its {CONFIDENCE:.0%} t interval, Cohen's d of the "
            f"differences, p-value of the paired t test adjusted for {self.n_tests} comparisons ({CORRECTION})."
            + (_UNLIKE if self.comparison.unsolved else "")
        )

    @property
    def n_tests(self) -> int:
        """How many comparisons were made."""
        return sum(bool(np.isfinite(row.found.p_value)) for row in self.rows)

    def as_markdown(self) -> str:
        """The rows as a page."""
        lines = [f"# {self.comparison.about.get('experiment', 'Sweep')}", ""]
        lines += [f"- {label}: {text}" for label, text in self.comparison.about.items()]
        lines += ["", self.caption(), "", f"| {' | '.join(self.head)} |", "|---|---|" + "---:|" * (len(self.head) - 2)]
        lines += [
            f"| {row.kpi} | {' | '.join(cell.replace('|', '/') for cell in self.cells(row))} |" for row in self.rows
        ]
        if failures := failed_lines(self.comparison):
            lines += ["", "Failed:", "", *(f"- {line}" for line in failures)]
        return "\n".join(lines) + "\n"

    def as_document(self) -> dict[str, Any]:
        """The rows for JSON; what is not known is null."""
        return {
            "about": self.comparison.about,
            "replicas": self.comparison.replicas,
            "reference": self.comparison.variants[0],
            "confidence": CONFIDENCE,
            "correction": CORRECTION,
            "rows": [
                {"kpi": row.kpi, "variant": row.variant}
                | {name: _known(getattr(row.found, name)) for name in _FIELDS}
                | {"p_adjusted": _known(row.p_adjusted), "unsolved": row.unsolved}
                for row in self.rows
            ],
            "failed": failed_lines(self.comparison),
            "unsolved": self.comparison.unsolved,
        }


def cells(row: Row) -> tuple[str, str, str, str, str, str]:
    """Variant and figures in words, with the `MARK` where periods have no result, and p-values then in brackets."""
    found, difference = row.found, "-"
    if np.isfinite(found.difference):
        difference = f"{'+' if found.difference > 0.0 else ''}{number(found.difference)}"
        if np.isfinite(found.half_width):
            difference += f" ± {number(found.half_width)}"
        difference += f" {MARK}" if row.unsolved else ""
    p_value = "-" if np.isnan(row.p_adjusted) else "<0.001" if row.p_adjusted < 0.001 else f"{row.p_adjusted:.3f}"
    p_value = f"({p_value}) {MARK}" if row.unsolved and p_value != "-" else p_value
    effect = "-" if np.isnan(found.effect) else f"{found.effect:+.2f}"
    mean = f"{number(found.mean)}{f' {MARK}' if row.own else ''}" if found.n else "-"
    return row.variant, mean, difference, effect, p_value, str(found.n)


def _known(value: float) -> float | None:
    return value if np.isfinite(value) else None
