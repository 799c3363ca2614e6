"""What the command prints at its end."""

from __future__ import annotations

from rich import box
from rich.console import Group
from rich.table import Table as Printed
from rich.text import Text

from peerwatt.experiments.studies.tso_dso.study import Study
from peerwatt.experiments.studies.tso_dso.tables import Table

__all__ = ["summary"]


def summary(study: Study, found: tuple[Table, ...]) -> Group:
    """The tables, and how every hour ended.

    Args:
        study: what was run.
        found: its tables.
    """
    note = Text("The benchmark is matched by construction: the day is reconstructed from these numbers.", style="dim")
    parts = [part for table in found for part in (Text(f"Table {table.name}", style="bold"), _printed(table))]
    return Group(*parts, note, Text(), *(Text(line) for line in solved(study)))


def solved(study: Study) -> list[str]:
    """A line for each run with a model of the paper that sends the market back: hours, and what they took."""
    lines = []
    for run in study.seconds:
        rows = study.of(run)
        rows = rows[rows["limits_met"].notna()]
        if rows.empty:
            continue
        acted = rows[rows["rounds"] > 1]["hour"].tolist()
        unsolved = rows[~rows["limits_met"].astype(bool)]["hour"].tolist()
        text = f"Scenario {run}: measures in hours {hours(acted)}; "
        lines.append(text + (f"unsolved in hours {hours(unsolved)}" if unsolved else "all limits hold"))
    return lines


def hours(numbers: list[int]) -> str:
    """Hours in words: ``1 to 6, 9``."""
    spans: list[list[int]] = []
    for number in numbers:
        if spans and spans[-1][1] == number - 1:
            spans[-1][1] = number
        else:
            spans.append([number, number])
    return ", ".join(f"{first}" if first == last else f"{first} to {last}" for first, last in spans) or "none"


def _printed(table: Table) -> Printed:
    printed = Printed(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, show_edge=False, header_style="dim")
    printed.add_column("", no_wrap=True)
    for text in table.heads():
        printed.add_column(_narrow(text), justify="right", no_wrap=True)
    for heading, texts in table.lines():
        printed.add_row(heading, *texts)
    return printed


def _narrow(head: str) -> str:
    return head.replace("benchmark", "bench").replace(" hour 12", "").replace("5 before", "before").replace(": ", ":\n")
