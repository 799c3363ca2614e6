"""The command `peerwatt compare`: progress, table, files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.measure import Measurement
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from peerwatt.errors import Fault, ResultsError
from peerwatt.experiments.compare import compare, read_variants
from peerwatt.experiments.comparison import Comparison

__all__ = ["print_whole", "run_comparison", "write_comparison"]

_WIDEST = 1000  # columns


def run_comparison(
    names: Sequence[str],
    scenario: str,
    grid: str | None,
    changes: dict[str, Any],
    replicas: int,
    jobs: int | None,
    out: Path | None,
) -> bool:
    """Compare, print, and write.

    Args:
        names: variants, as `read_variants` takes them.
        scenario: what they share.
        grid: case in place of the scenario's.
        changes: further values by key path.
        replicas: how often.
        jobs: runs at a time.
        out: directory for the files; by default a new one below ``results/``.

    Returns:
        Whether every run came to its end.
    """
    from peerwatt.sim.running import results_directory

    variants = read_variants(names)
    console = Console(highlight=False, markup=False)
    with results_directory("compare", out) as directory:
        refuse_used(directory)
        bar = Progress(
            TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), console=console
        )
        with bar:
            task = bar.add_task("runs", total=len(variants) * replicas)
            comparison = compare(
                variants,
                scenario,
                grid=grid,
                replicas=replicas,
                changes=changes,
                jobs=jobs,
                on_outcome=lambda _: bar.advance(task),
            )
        write_comparison(comparison, directory)
    _show(comparison, console)
    console.print(f"\nFiles: {directory}")
    return not comparison.failed


def refuse_used(directory: Path) -> None:
    """Comparisons are never overwritten.

    Raises:
        ResultsError: the directory holds one already.
    """
    if (directory / "compare.parquet").exists():
        raise ResultsError(Fault(str(directory), "holds a comparison already", "choose another with --out"))


def write_comparison(comparison: Comparison, directory: Path) -> None:
    """Write `compare.parquet`, `compare.json` and `compare.md`.

    Args:
        comparison: what to write.
        directory: where; made if it does not exist.

    Raises:
        ResultsError: the directory holds a comparison already, or cannot be written.
    """
    import json

    import pyarrow as pa
    import pyarrow.parquet as pq

    from peerwatt.experiments.comparison_table import as_document, as_markdown

    refuse_used(directory)
    names = list(dict.fromkeys(name for outcome in comparison.outcomes for name in outcome.kpi))
    rows = [
        {
            "variant": each.variant,
            "replica": each.replica,
            "error": each.error,
            "unsolved": each.unsolved,
            **dict.fromkeys(names),
            **each.kpi,
        }
        for each in comparison.outcomes
    ]
    try:
        directory.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.Table.from_pylist(rows), directory / "compare.parquet")
        (directory / "compare.json").write_text(json.dumps(as_document(comparison), indent=1), encoding="utf-8")
        (directory / "compare.md").write_text(as_markdown(comparison), encoding="utf-8")
    except OSError as error:
        fault = Fault(str(directory), f"cannot be written: {error.strerror or error}", "choose another with --out")
        raise ResultsError(fault) from None


def _show(comparison: Comparison, console: Console) -> None:
    from peerwatt.experiments.comparison_table import as_table, failed_lines, hints

    for label, text in comparison.about.items():
        console.print(f"{label.capitalize()}: {text}", soft_wrap=True)
    for text in comparison.assumed:
        console.print(f"Assumed: {text}", soft_wrap=True)
    print_whole(as_table(comparison), console)
    for line in failed_lines(comparison):
        console.print(f"Failed: {line}", style="red", soft_wrap=True)
    for line in hints(comparison):
        console.print(f"Note: {line}", soft_wrap=True)


def print_whole(table: Table, console: Console) -> None:
    """Print a table in its whole width: a cut one is of no use.

    Args:
        table: the table.
        console: where to, if it is wide enough.
    """
    wide = Console(width=_WIDEST)
    width = Measurement.get(wide, wide.options, table).maximum
    Console(file=console.file, width=max(console.width, width), highlight=False, markup=False).print(table)
