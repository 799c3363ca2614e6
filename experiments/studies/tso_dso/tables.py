"""Tables I to V: the paper, the study, and the difference."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from importlib.resources import files
from pathlib import Path

from peerwatt.experiments.studies.tso_dso.study import Study

__all__ = [
    "ALPHAS",
    "QUANTITIES",
    "TABLES",
    "Row",
    "Table",
    "loss_ratios",
    "markdown",
    "published",
    "tables",
    "write_tables",
]

ALPHAS = (69.0, 104.0)
"""Prices of extra flexibility, EUR/MWh, that tables III and I imply; no single value fits both."""

QUANTITIES = {
    "res_flexibility_percent": "RES flex., %",
    "line_loading_percent": "line loading, %",
    "max_vm_pu": "voltage, pu",
    "grid_mwh": "grid, MWh",
    "chp_mwh": "CHP, MWh",
    "wind_mwh": "wind, MWh",
    "pv_mwh": "PV, MWh",
    "consumption_mwh": "consumption, MWh",
    "virtual_mwh": "virtual load, MWh",
    "losses_percent": "losses, %",
    **{f"welfare_{alpha:g}_eur": f"SW, alpha {alpha:g}, EUR" for alpha in ALPHAS},
    "welfare_eur": "SW without alpha, EUR",
}
"""Rows of the tables and their headings."""

TABLES = {
    "I": ("benchmark", "1"),
    "II": ("benchmark", "2"),
    "III": ("benchmark", "3", "3 reactive"),
    "IV": ("benchmark", "4"),
    "V": ("4 hour 12", "5 before", "5"),
}
"""Columns of the tables: runs."""

_ROWS = {
    "V": [name for name in QUANTITIES if not name.startswith("welfare_") or name == "welfare_eur"],
    "IV": [
        "grid_mwh",
        "chp_mwh",
        "wind_mwh",
        "pv_mwh",
        "consumption_mwh",
        "virtual_mwh",
        "losses_percent",
        "welfare_eur",
    ],
}
_DAY = [name for name in QUANTITIES if name.endswith(("_mwh", "_eur", "losses_percent")) and name != "virtual_mwh"]

_HOURLY = {"5 before": "5 before", "5": "5", "4 hour 12": "4"}  # columns of Table V, and the run of each


@dataclass(frozen=True, slots=True)
class Row:
    """One number.

    Attributes:
        table: of the paper, in Roman numerals.
        run: column.
        quantity: row.
        paper: what is printed, None where nothing is.
        here: what the study has.
    """

    table: str
    run: str
    quantity: str
    paper: float | None
    here: float

    @property
    def difference_percent(self) -> float | None:
        """By how much the study is above the paper; None without a number to compare with, or where that is 0."""
        return None if not self.paper else 100.0 * (self.here / self.paper - 1.0)

    def cells(self) -> tuple[str, str, str]:
        """The paper's number, the study's and the difference, as they are shown."""
        digits = 3 if self.quantity == "max_vm_pu" else 1 if self.quantity.endswith("_eur") else 2
        difference = self.difference_percent
        return (
            "-" if self.paper is None else f"{self.paper:.{digits}f}",
            f"{round(self.here, digits) + 0.0:.{digits}f}",  # no minus zero
            "-" if difference is None else f"{round(difference, 1) + 0.0:+.1f}",
        )


@dataclass(frozen=True, slots=True)
class Table:
    """A table of the paper.

    Attributes:
        name: in Roman numerals.
        rows: its numbers, column by column.
    """

    name: str
    rows: tuple[Row, ...]

    @property
    def runs(self) -> tuple[str, ...]:
        """Its columns."""
        return TABLES[self.name]

    def heads(self) -> Iterator[str]:
        """Headings of the columns: of each run the paper's number, the study's and the difference in percent."""
        for run in self.runs:
            yield from (f"{run}: paper", "here", "%") if self._printed(run) else (f"{run}: here",)

    def lines(self) -> Iterator[tuple[str, list[str]]]:
        """Heading and cells of every row."""
        for quantity, heading in QUANTITIES.items():
            found = [row for row in self.rows if row.quantity == quantity]
            texts = [text for row in found for text in (row.cells() if self._printed(row.run) else row.cells()[1:2])]
            if found:
                yield heading, texts

    def _printed(self, run: str) -> bool:
        """Whether the paper has numbers of a run."""
        return any(row.paper is not None for row in self.rows if row.run == run)


def tables(study: Study) -> tuple[Table, ...]:
    """Tables I to V."""
    paper = _paper()
    found = {run: _values(study, run) for runs in TABLES.values() for run in runs}
    return tuple(
        Table(
            name,
            tuple(
                Row(name, run, quantity, paper.get((run, _printed_as(quantity))), found[run][quantity])
                for run in runs
                for quantity in _ROWS.get(name, _DAY)
            ),
        )
        for name, runs in TABLES.items()
    )


def _printed_as(quantity: str) -> str:
    return "welfare_eur" if quantity.startswith("welfare_") else quantity


def _totals(study: Study, run: str) -> dict[str, float]:
    return study.hour(_HOURLY[run]) if run in _HOURLY else study.day(run)


def _values(study: Study, run: str) -> dict[str, float]:
    values = _totals(study, run)
    extra = {f"welfare_{alpha:g}_eur": values["welfare_eur"] - alpha * values["extra_mwh"] for alpha in ALPHAS}
    return {**values, **extra, "losses_percent": values["losses hourly lines"]}


def published(run: str) -> dict[str, float]:
    """What is printed of a run, by quantity."""
    return {quantity: value for (name, quantity), value in _paper().items() if name == run}


def _paper() -> dict[tuple[str, str], float]:
    """What is printed, by run and quantity."""
    text = files("peerwatt.experiments.studies.tso_dso").joinpath("paper.csv").read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    return {(row["run"], row["quantity"]): float(row["value"]) for row in csv.DictReader(lines)}


def loss_ratios(study: Study, definition: str) -> dict[str, float]:
    """Losses by a definition, as a multiple of the paper's, by run.

    Args:
        study: what was run.
        definition: of `LOSSES`.
    """
    ratios = {}
    for (run, quantity), printed in _paper().items():
        if quantity == "losses_percent":
            ratios[run] = _totals(study, run)[f"losses {definition}"] / printed
    return ratios


# --- written ---


def write_tables(found: tuple[Table, ...], directory: Path) -> None:
    """Write them as ``tables.csv``, ``tables.json`` and ``tables.md``."""
    rows = [asdict(row) | {"difference_percent": row.difference_percent} for table in found for row in table.rows]
    with (directory / "tables.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    (directory / "tables.json").write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    text = "\n\n".join(f"## Table {table.name}\n\n{markdown(table)}" for table in found)
    (directory / "tables.md").write_text(text + "\n", encoding="utf-8")


def markdown(table: Table) -> str:
    """A table in Markdown."""
    heads = list(table.heads())
    lines = [_line("", *heads), _line("---", *("---:" for _ in heads))]
    lines += [_line(heading, *texts) for heading, texts in table.lines()]
    return "\n".join(lines)


def _line(*texts: str) -> str:
    return f"| {' | '.join(texts)} |"
