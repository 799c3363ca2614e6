"""The command `peerwatt report`: of a sweep, or of a single run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from peerwatt.errors import Fault, ResultsError

__all__ = ["report_directory"]


def report_directory(
    path: Path, out: Path | None, *, figures: Sequence[str], reference: str, pareto: Sequence[str]
) -> list[str]:
    """Write the report of a results directory.

    Args:
        path: directory of a sweep or of a run.
        out: directory for the files; by default the same.
        figures: key figures that are shown, of a sweep.
        reference: variant that the others are compared to, of a sweep.
        pareto: figure to be high and figure to be low, of a sweep.

    Returns:
        What was done, in lines.

    Raises:
        ResultsError: it is neither, or cannot be reported.
    """
    from peerwatt.experiments.sweep.results import SweepResults, is_sweep

    if is_sweep(path):
        from peerwatt.experiments.sweep.report.page import write_sweep_report

        results = SweepResults(path)
        page = write_sweep_report(results, out, figures=figures, reference=reference, pareto=pareto)
        failed = f", {results.failed:,} of them failed" if results.failed else ""
        return [f"{results.done:,} of {results.total:,} runs are done{failed}", f"Report: {page}"]
    if not (path / "topology.json").is_file():
        problem = "holds neither a sweep nor a run" if path.is_dir() else "there is no such directory"
        raise ResultsError(Fault(str(path), problem, "give what 'peerwatt sweep' or 'peerwatt run' wrote"))
    given = [name for name, value in (("--kpi", figures), ("--reference", reference), ("--pareto", pareto)) if value]
    if given:
        raise ResultsError(Fault(", ".join(given), f"{path} is a single run, not a sweep", "leave it out"))
    return [f"Report: {_of_a_run(path, out)}"]


def _of_a_run(path: Path, out: Path | None) -> Path:
    from peerwatt.experiments.report import write_report
    from peerwatt.sim.results import Results

    results = Results(path)
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
    return write_report(results, None if out is None else out / "report.html")
