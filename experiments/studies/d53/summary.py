"""What the command prints at its end."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich import box
from rich.console import Group
from rich.table import Table
from rich.text import Text

from peerwatt.experiments.studies.d53.model import LEVELS, Level
from peerwatt.experiments.studies.d53.spread import number, table8
from peerwatt.experiments.studies.d53.statements import STATEMENTS, shares, word
from peerwatt.experiments.studies.d53.table import KPIS

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["summary"]

_HEADINGS = ("lines", "overflow, MW", "weighted, MW", "LFM, EUR", "P2P, MW")


def summary(frame: pd.DataFrame, levels: tuple[Level, ...] = LEVELS) -> Group:
    """Table 8 at the first level, and the statements at all.

    Args:
        frame: rows of the study.
        levels: levels of the factors.
    """
    seeds = frame["seed"].nunique()
    text = f"Table 8 of D5.3 and what {seeds} seeds give (bound per pair, W: {levels[0]})"
    return Group(
        Text(text, style="bold"), _table8(frame, levels[0]), Text(), *_statements(frame, levels), _legend(levels)
    )


def _table8(frame: pd.DataFrame, level: Level) -> Table:
    table = _table("scenario", *_HEADINGS, "infeasible")
    for row in table8(frame, level):
        cells = [row.cells[kpi] for kpi in KPIS]
        table.add_row(str(row.scenario), *(cell.published or "-" for cell in cells), "", style="dim")
        table.add_row("  median", *(number(cell.median) for cell in cells), f"{row.infeasible:.1%}")
        table.add_row("  5 %", *(number(cell.low) for cell in cells), "")
        table.add_row("  95 %", *(number(cell.high) for cell in cells), "", end_section=True)
    return table


def _statements(frame: pd.DataFrame, levels: tuple[Level, ...]) -> list[Text | Table]:
    found = [shares(frame, level) for level in levels]
    table = _table("statement of the report", *(str(k + 1) for k in range(len(levels))), "holds in")
    for statement in STATEMENTS:
        values = [each[statement.name].value for each in found]
        table.add_row(statement.text, *(f"{value:.0%}" for value in values), word(values[0]))
    return [Text("Share of the seeds in which each statement holds, by level of the factors", style="bold"), table]


def _legend(levels: tuple[Level, ...]) -> Text:
    named = (f"{k + 1}: bound per pair {each.pair_bound}, W {each.reading}" for k, each in enumerate(levels))
    return Text("; ".join(named), style="dim")


def _table(first: str, *others: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, header_style="dim")
    table.add_column(first, overflow="fold")
    for name in others:
        table.add_column(name, justify="right", overflow="fold")
    return table
