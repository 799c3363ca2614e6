"""The command `peerwatt study d53`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from peerwatt.experiments.studies.d53.study import StudyPlan, run_study
from peerwatt.experiments.studies.d53.summary import summary

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.console import Console

__all__ = ["run_command"]


def run_command(plan: StudyPlan, out: Path | None, docs: Path | None, variations: int, console: Console) -> None:
    """Run the study, print its tables, write its page.

    Args:
        plan: what to run.
        out: results directory; a new one below ``results/`` if None.
        docs: directory of the page and its pictures; none are written if None.
        variations: seeds of every variation of the model; none are run if 0.
        console: where to print.
    """
    from peerwatt.sim.running import results_directory

    with results_directory("d53", out) as directory:
        try:
            with _progress(console, "seeds") as show:
                frame = run_study(plan, directory, show)
        except KeyboardInterrupt:
            console.print(f"Stopped; seeds that are done are kept. To go on: --out {directory}")
            raise
    console.print(summary(frame, plan.levels))
    found = {}
    if variations:
        from peerwatt.experiments.studies.d53.variations import run_variations

        with _progress(console, "variations of the model") as show:
            found = run_variations(variations, plan.jobs, show)
    console.print(f"Results: {directory / 'runs.parquet'}")
    if docs is not None:
        from peerwatt.experiments.studies.d53.page import write_page

        console.print(f"Page: {write_page(frame, plan, docs, found, variations)}")


@contextmanager
def _progress(console: Console, what: str) -> Iterator[Callable[[int, int], None]]:
    """A bar; what it yields is told how much is done, and of how much."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    bar = Progress(TextColumn(what), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), console=console)
    task = bar.add_task("", total=None)
    with bar:
        yield lambda done, of: bar.update(task, completed=done, total=of)
