"""The command `peerwatt sweep`: progress, table, files."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING

from rich.console import Console

from peerwatt.experiments.compare_command import print_whole
from peerwatt.experiments.comparison_table import failed_lines
from peerwatt.experiments.pool import Pool
from peerwatt.experiments.replica import Lockstep
from peerwatt.experiments.sweep.analysis import Analysis
from peerwatt.experiments.sweep.experiment import Experiment
from peerwatt.experiments.sweep.run import Progress, sweep
from peerwatt.registry import nearest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from peerwatt.experiments.comparison import Comparison

__all__ = ["run_sweep", "shown"]

_EVERY_S = 5.0


def run_sweep(
    source: str,
    replicas: int | None,
    pool: Pool,
    out: Path | None,
    *,
    rerun_failed: bool,
    recompute: bool,
    lockstep: Lockstep = Lockstep.AUTO,
) -> bool:
    """Run an experiment, print what came out.

    Args:
        source: name or path of the experiment.
        replicas: in place of the file's.
        pool: where to run.
        out: results directory; by default ``results/<name of the experiment>``, so that the same command resumes.
        rerun_failed: run those again that failed.
        recompute: throw away what is there.
        lockstep: whether the replicas of a variant run together.

    Returns:
        Whether no unit has failed.
    """
    experiment = Experiment.load(source, replicas=replicas)
    directory = out or Path("results") / experiment.name
    console = Console(highlight=False, markup=False)
    with shown(console) as show:
        comparison = sweep(
            experiment,
            directory,
            pool=pool,
            rerun_failed=rerun_failed,
            recompute=recompute,
            lockstep=lockstep,
            on_unit=show,
        )
    for label, text in comparison.about.items():
        console.print(f"{label.capitalize()}: {text}", soft_wrap=True)
    analysis = Analysis.of(comparison, experiment.kpis)
    print_whole(analysis.as_table(), console)
    console.print(analysis.caption(), soft_wrap=True)
    for line in _unknown(comparison, experiment.kpis):
        console.print(f"Note: {line}", soft_wrap=True)
    for line in failed_lines(comparison):
        console.print(f"Failed: {line}", style="red", soft_wrap=True)
    if comparison.failed:
        console.print(f"{len(comparison.failed)} of {len(comparison.outcomes)} failed; again with --rerun-failed")
    console.print(f"\nFiles: {directory}")
    return not comparison.failed


def _unknown(comparison: Comparison, kpis: tuple[str, ...]) -> list[str]:
    """Key figures that were asked for and that no run has."""
    known = sorted({key for outcome in comparison.outcomes for key in outcome.kpi})
    return [f"no run has a figure '{kpi}'; {nearest(kpi, known)}" for kpi in kpis if known and kpi not in known]


@contextmanager
def shown(console: Console) -> Iterator[Callable[[Progress], None]]:
    """Show progress: a bar in a terminal or notebook, else a line every few seconds, as for a log file.

    Args:
        console: where to.
    """
    if console.is_terminal or console.is_jupyter:
        with _bar(console) as show:
            yield show
    else:
        yield _Lines(console)


@contextmanager
def _bar(console: Console) -> Iterator[Callable[[Progress], None]]:
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    columns = (
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]} /s"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[failed]} failed"),
    )
    begin = perf_counter()
    with Bar(*columns, console=console) as bar:
        task = bar.add_task("", total=None, rate="-", failed=0)

        def show(progress: Progress) -> None:
            rate = progress.computed / max(perf_counter() - begin, 1e-9)
            bar.update(
                task,
                completed=progress.done,
                total=progress.total,
                rate=f"{rate:.1f}" if progress.computed else "-",
                failed=progress.failed,
            )

        yield show


class _Lines:
    """Progress as lines of text.

    Args:
        console: where to.
    """

    def __init__(self, console: Console) -> None:
        self._console, self._last, self._computed = console, -_EVERY_S, 0

    def __call__(self, progress: Progress) -> None:
        now = perf_counter()
        if now - self._last < _EVERY_S and progress.done < progress.total:
            return
        rate = (progress.computed - self._computed) / max(now - self._last, 1e-9)  # since the line before
        self._last, self._computed = now, progress.computed
        left = f"{(progress.total - progress.done) / rate:.0f} s left" if rate else "- s left"
        self._console.print(
            f"{progress.done}/{progress.total} done, {rate:.1f} /s, {left}, {progress.failed} failed", soft_wrap=True
        )
