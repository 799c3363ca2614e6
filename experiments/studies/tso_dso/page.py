"""Writes the page of the study: tables, figures, and which choice decides."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from peerwatt.experiments.studies.tso_dso.figures import FIGURES
from peerwatt.experiments.studies.tso_dso.hours import LOSSES
from peerwatt.experiments.studies.tso_dso.prose import PAGE
from peerwatt.experiments.studies.tso_dso.runs import TSO_PRICE
from peerwatt.experiments.studies.tso_dso.study import Study
from peerwatt.experiments.studies.tso_dso.summary import hours, solved
from peerwatt.experiments.studies.tso_dso.tables import ALPHAS, Table, loss_ratios, markdown

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["write_page"]

_PAGE = "tso-dso.md"

_VARIED = {
    "grid_mwh": ("grid, MWh", 2),
    "chp_mwh": ("CHP", 2),
    "wind_mwh": ("wind", 2),
    "pv_mwh": ("PV", 2),
    "consumption_mwh": ("consumption", 2),
    "extra_mwh": ("extra flexibility, MWh", 2),
    "most_load_flexibility_percent": ("largest of loads, %", 0),
    "most_res_flexibility_percent": ("of RES, %", 0),
    "welfare_eur": ("SW without alpha, EUR", 0),
    "unsolved": ("unsolved hours", 0),
    "rounds": ("rounds", 0),
}


def write_page(
    study: Study, found: tuple[Table, ...], varied: pd.DataFrame | None, pictures: Path, directory: Path
) -> Path:
    """Write the page, and its pictures beside it.

    Args:
        study: what was run.
        found: its tables.
        varied: rows of the variations, None where they were not run.
        pictures: where the figures are.
        directory: where they go.

    Returns:
        The page.
    """
    directory.mkdir(parents=True, exist_ok=True)
    for name in FIGURES:
        shutil.copyfile(pictures / name, directory / name)
    days = {run: value for run, value in study.seconds.items() if run != "benchmark"}
    slowest = max(days, key=lambda run: days[run])
    congested = study.of("2 before")
    text = PAGE.format(
        seconds=sum(study.seconds.values()),
        slowest=days[slowest],
        slowest_run=slowest,
        loading=study.seconds["benchmark"],
        solved="\n".join(f"- {line}." for line in solved(study)),
        tables="\n\n".join(f"### Table {table.name}\n\n{markdown(table)}" for table in found),
        congested=hours(congested[congested["n_congested"] > 0]["hour"].tolist()),
        kept=study.hour("5")["virtual_mwh"],
        price=TSO_PRICE,
        flexible_mwh=study.day("4 flexible")["virtual_mwh"],
        provided_mwh=float(study.of("4")["provided_mwh"].sum()),
        flexible_provided_mwh=float(study.of("4 flexible")["provided_mwh"].sum()),
        losses=_losses(study),
        figures="\n\n".join(f"![{title}]({name})" for name, title in FIGURES.items()),
        variations=_variations(varied),
    )
    path = directory / _PAGE
    part = path.with_name(f"{_PAGE}.part")
    part.write_text(text, encoding="utf-8")
    part.replace(path)
    return path


def _losses(study: Study) -> str:
    found = {name: loss_ratios(study, name) for name in LOSSES}
    runs = list(next(iter(found.values())))
    lines = [_row("", *runs), _row("---", *("---:" for _ in runs))]
    lines += [_row(text, *(f"{found[name][run]:.2f}" for run in runs)) for name, text in LOSSES.items()]
    return "\n".join(lines)


def _variations(varied: pd.DataFrame | None) -> str:
    if varied is None:
        return "Not run; the option `--sensitivity` adds them."
    heads = [text for text, _ in _VARIED.values()] + [f"SW, alpha {ALPHAS[0]:g}"]
    lines = [_row("scenario", "variation", *heads), _row("---", "---", *("---:" for _ in heads))]
    for row in varied.to_dict("records"):
        values = [f"{row[name] + 0.0:,.{digits}f}" for name, (_, digits) in _VARIED.items()]
        with_alpha = row["welfare_eur"] - ALPHAS[0] * row["extra_mwh"]
        lines.append(_row(str(row["run"]), str(row["variation"]), *values, f"{with_alpha:,.0f}"))
    return "\n".join(lines)


def _row(*texts: str) -> str:
    return f"| {' | '.join(texts)} |"
