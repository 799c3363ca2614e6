"""Variants against the reference: paired differences, their intervals, how large they are, and which are there at all.

Many comparisons find differences by chance; p-values are adjusted so that the expected share of false findings among
those below a level is at most that level, whatever the dependence between them (Benjamini and Yekutieli, 2001).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from peerwatt.experiments.comparison_table import failed_lines
from peerwatt.experiments.paired import CONFIDENCE, Paired, paired
from peerwatt.experiments.wording import number

if TYPE_CHECKING:
    from rich.table import Table

    from peerwatt.experiments.comparison import Comparison

__all__ = ["HEAD", "Analysis", "Row", "cells"]

CORRECTION = "Benjamini-Yekutieli false discovery rate"
HEAD = ("key figure", "variant", "mean", "difference", "d", "p adjusted", "n")
_FIELDS = ("mean", "mean_half_width", "n", "difference", "half_width", "effect", "p_value")


@dataclass(frozen=True, slots=True)
class Row:
    """One key figure of one variant.

    Attributes:
        kpi: name of the figure.
        variant: name of the variant.
        found: its statistics.
        p_adjusted: p-value with all others of the analysis in mind; NaN where there is none.
    """

    kpi: str
    variant: str
    found: Paired
    p_adjusted: float = np.nan


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
        found = [Row(kpi, name, each) for kpi in kpis for name, each in paired(comparison, kpi).items()]
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
        for name in HEAD:
            table.add_column(name, justify="left" if name in HEAD[:2] else "right", no_wrap=True)
        last = ""
        for row in self.rows:
            table.add_row("" if row.kpi == last else row.kpi, *cells(row))
            last = row.kpi
        return table

    def caption(self) -> str:
        """How to read the table."""
        first, n = self.comparison.variants[0], self.comparison.replicas
        return (
            f"{n} replicas; paired difference to {first} with its {CONFIDENCE:.0%} t interval, Cohen's d of the "
            f"differences, p-value of the paired t test adjusted for {self.n_tests} comparisons ({CORRECTION})."
        )

    @property
    def n_tests(self) -> int:
        """How many comparisons were made."""
        return sum(bool(np.isfinite(row.found.p_value)) for row in self.rows)

    def as_markdown(self) -> str:
        """The rows as a page."""
        lines = [f"# {self.comparison.about.get('experiment', 'Sweep')}", ""]
        lines += [f"- {label}: {text}" for label, text in self.comparison.about.items()]
        lines += ["", self.caption(), "", f"| {' | '.join(HEAD)} |", "|---|---|" + "---:|" * (len(HEAD) - 2)]
        lines += [f"| {row.kpi} | {' | '.join(cell.replace('|', '/') for cell in cells(row))} |" for row in self.rows]
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
                | {"p_adjusted": _known(row.p_adjusted)}
                for row in self.rows
            ],
            "failed": failed_lines(self.comparison),
        }


def cells(row: Row) -> tuple[str, str, str, str, str, str]:
    """Variant and figures in words."""
    found, difference = row.found, "-"
    if np.isfinite(found.difference):
        difference = f"{'+' if found.difference > 0.0 else ''}{number(found.difference)}"
        if np.isfinite(found.half_width):
            difference += f" ± {number(found.half_width)}"
    p_value = "-" if np.isnan(row.p_adjusted) else "<0.001" if row.p_adjusted < 0.001 else f"{row.p_adjusted:.3f}"
    effect = "-" if np.isnan(found.effect) else f"{found.effect:+.2f}"
    mean = number(found.mean) if found.n else "-"
    return row.variant, mean, difference, effect, p_value, str(found.n)


def _known(value: float) -> float | None:
    return value if np.isfinite(value) else None
