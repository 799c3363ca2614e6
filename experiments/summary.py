"""The table at the end of a run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from rich import box
from rich.console import Group
from rich.constrain import Constrain
from rich.table import Table
from rich.text import Text

from peerwatt.experiments.wording import (
    GroupCost,
    costs,
    duration,
    facts,
    length,
    money,
    state,
    where_time_went,
)

if TYPE_CHECKING:
    from peerwatt.sim.results import Results

__all__ = ["summary"]

WIDTH = 90


def summary(results: Results, report: Path | None = None) -> Constrain:
    """Say what came out of a run, in at most 90 columns.

    Args:
        results: the run's results.
        report: where its report is; by default ``report.html`` in its directory, if there.

    Returns:
        What rich can print.
    """
    if report is None and (results.path / "report.html").is_file():
        report = results.path / "report.html"
    parts: list[Text | Table] = [_title(results), Text(), _outcome(results)]
    if results.warnings:
        parts += [Text(), _warnings(results)]
    if rows := costs(results):
        parts += [Text(), _costs_table(rows)]
    return Constrain(Group(*parts, Text(), _footer(results, report)), WIDTH)


def _title(results: Results) -> Text:
    manifest = results.manifest
    ending = state(manifest)
    start = str(manifest.get("start", ""))[:16].replace("T", " ")
    about = [
        f"{int(manifest.get('periods_done', 0)):,} × {length(float(manifest['period_s']))} from {start}",
        str(manifest.get("mechanism", "")),
        f"seed {manifest.get('seed')}",
    ]
    title = Text.assemble(
        (str(manifest.get("name", "")), "bold"), ("  " + " · ".join(part for part in about if part), "dim")
    )
    title.append(f"\n{ending.value}", style="bold red" if ending.alarm else "green")
    if ending.remark:
        title.append(f" ({ending.remark})")
    return title


def _outcome(results: Results) -> Table:
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(style="dim", overflow="fold")
    for fact in facts(results):
        value = Text(fact.value, style="bold red" if fact.alarm else "bold")
        table.add_row(Text(fact.label), value, Text(fact.remark))
    return table


def _warnings(results: Results) -> Table:
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True, style="bold yellow")
    table.add_column(overflow="fold")
    for warning in results.warnings:
        table.add_row("Warning", Text(warning))
    return table


def _costs_table(rows: list[GroupCost]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 2, 0, 0), pad_edge=False, header_style="dim")
    table.add_column("Cost of", no_wrap=True)
    for name in ("peers", "EUR", "without trading", "saving", "percent"):
        table.add_column(name, justify="right", no_wrap=True)
    for row in rows:
        percent = "" if row.saving_percent is None else f"{row.saving_percent:+.1f} %"
        cells = [
            f"{row.count:,}",
            money(row.cost_eur),
            money(row.reference_eur),
            money(row.saving_eur),
            percent,
        ]
        table.add_row(row.group, *cells, style="bold" if row.group == "all peers" else "")
    return table


def _footer(results: Results, report: Path | None) -> Table:
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True, style="dim")
    table.add_column(overflow="fold")
    if parts := where_time_went(results.manifest):
        table.add_row("Time", Text(" · ".join(f"{name} {duration(seconds)}" for name, seconds in parts)))
    table.add_row("Results", Text(str(results.path)))
    if report is not None:
        table.add_row("Report", Text(str(report)))
    return table
