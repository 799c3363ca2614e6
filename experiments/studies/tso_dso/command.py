"""The command `peerwatt study tso-dso`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from peerwatt.errors import Fault, ResultsError
from peerwatt.experiments.studies.tso_dso.study import Study, run_study
from peerwatt.experiments.studies.tso_dso.summary import summary
from peerwatt.experiments.studies.tso_dso.tables import tables, write_tables

if TYPE_CHECKING:
    import pandas as pd
    from rich.console import Console

__all__ = ["run_command"]


def run_command(out: Path | None, docs: Path | None, console: Console, *, sensitivity: bool) -> None:
    """Run the study, print its tables, write them, the hours and the figures.

    Args:
        out: results directory; a new one below ``results/`` if None.
        docs: directory of the page and its pictures; none are written if None.
        console: where to print.
        sensitivity: whether to vary what the paper leaves open.

    Raises:
        ResultsError: the directory cannot be written to.
    """
    from peerwatt.experiments.studies.tso_dso.figures import draw_figures
    from peerwatt.sim.running import results_directory

    with results_directory("tso-dso", out) as directory:
        _make(directory)
        with _progress(console, "runs") as show:
            study = run_study(show)
    found = tables(study)
    console.print(summary(study, found))
    varied = _varied(study, directory, console) if sensitivity else None
    write_tables(found, directory)
    study.hours.to_csv(directory / "hours.csv", index=False)
    draw_figures(study, directory)
    console.print(f"Results: {directory}")
    if docs is not None:
        from peerwatt.experiments.studies.tso_dso.page import write_page

        console.print(f"Page: {write_page(study, found, varied, directory, docs)}")


def _make(directory: Path) -> None:
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ResultsError(Fault(str(directory), f"cannot be made: {error.strerror}", "choose another")) from None


def _varied(study: Study, directory: Path, console: Console) -> pd.DataFrame:
    """Run the variations and keep their rows."""
    from peerwatt.experiments.studies.tso_dso.sensitivity import run_variations

    with _progress(console, "variations") as show:
        varied = run_variations(study, show)
    varied.to_csv(directory / "sensitivity.csv", index=False)
    return varied


@contextmanager
def _progress(console: Console, what: str) -> Iterator[Callable[[int, int], None]]:
    """A bar; what it yields is told how much is done, and of how much."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    bar = Progress(TextColumn(what), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), console=console)
    task = bar.add_task("", total=None)
    with bar:
        yield lambda done, of: bar.update(task, completed=done, total=of)
