"""The page and the tables of a sweep's report."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path

from peerwatt.errors import Fault, ResultsError
from peerwatt.experiments.comparison_table import failed_lines
from peerwatt.experiments.report.document import document, write_document
from peerwatt.experiments.report.markup import Section, escape, note, table
from peerwatt.experiments.sweep.report.differences import differences_section
from peerwatt.experiments.sweep.report.distributions import distributions_section
from peerwatt.experiments.sweep.report.factors import factors_section
from peerwatt.experiments.sweep.report.overview import overview_section
from peerwatt.experiments.sweep.report.shown import Shown
from peerwatt.experiments.sweep.report.tradeoff import PARETO, parts_of, tradeoff_section
from peerwatt.experiments.sweep.results import SweepResults
from peerwatt.experiments.sweep.store import REPORT
from peerwatt.experiments.wording import Fact

__all__ = ["write_sweep_report"]


def write_sweep_report(
    results: SweepResults,
    out: Path | None = None,
    *,
    figures: Sequence[str] = (),
    reference: str = "",
    pareto: Sequence[str] = (),
) -> Path:
    """Write `report.html`, one file that works without a network, and all runs as `runs.csv` and `runs.parquet`.

    Args:
        results: the sweep, whether all of it is there or not.
        out: directory for the files, made if it is not there; by default that of the sweep.
        figures: key figures that are shown; by default those of the experiment.
        reference: name of the variant that the others are compared to; by default the experiment's.
        pareto: two key figures, or sums ``a+b`` of some: what is to be high, what is to be low; by default welfare and
            violations.

    Returns:
        The page.

    Raises:
        ResultsError: no run has finished, there is no such figure or variant, or the files cannot be written.
    """
    further = [each for name in PARETO for each in name.split("+")]
    if results.done > results.failed and pareto:
        further = [each for names in parts_of(results, pareto) for each in names]
    shown = Shown.of(results, figures, reference, further)
    folder = results.path if out is None else Path(out)
    sections = [
        overview_section(shown),
        distributions_section(shown),
        differences_section(shown),
        factors_section(shown),
        tradeoff_section(shown, pareto or PARETO),
        *_failures(shown),
        _origin(shown),
    ]
    style = files("peerwatt.experiments.sweep.report").joinpath("page.css").read_text(encoding="utf-8")
    page = document(results.experiment.name, _header(shown), sections, style)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _write_tables(results, folder)
        write_document(folder / REPORT[0], page)
    except OSError as error:
        fault = Fault(str(folder), f"cannot be written: {error.strerror or error}", "choose another with --out")
        raise ResultsError(fault) from None
    return folder / REPORT[0]


def _write_tables(results: SweepResults, folder: Path) -> None:
    """The runs, piece by piece, as CSV and Parquet."""
    import pyarrow as pa
    import pyarrow.csv as pacsv
    import pyarrow.parquet as pq

    schema = results.runs.schema
    plain = pa.schema(
        [f.with_type(f.type.value_type) if pa.types.is_dictionary(f.type) else f for f in schema]
    )  # CSV has no dictionaries
    partial = [folder / f".{name}.tmp" for name in REPORT[1:]]
    try:
        with (
            pacsv.CSVWriter(partial[0], plain) as text,
            pq.ParquetWriter(partial[1], schema, compression="zstd") as parquet,
        ):
            for batch in results.runs.batches():
                text.write_table(pa.Table.from_batches([batch]).cast(plain))
                parquet.write_batch(batch)
        for path, name in zip(partial, REPORT[1:], strict=True):
            path.replace(folder / name)
    finally:
        for path in partial:
            path.unlink(missing_ok=True)


def _header(shown: Shown) -> str:
    results, experiment = shown.results, shown.results.experiment
    tiles = "".join(
        f'<div class="tile{" alarm" if fact.alarm else ""}"><dt>{escape(fact.label)}</dt>'
        f"<dd>{escape(fact.value)}<small>{escape(fact.remark)}</small></dd></div>"
        for fact in _facts(shown)
    )
    design = experiment.design.method.replace("_", " ")
    about = [f"base {experiment.base}", design, f"seed {experiment.seed}", f"compared to {shown.reference}"]
    lead = f'<p class="lead">{escape(experiment.description)}</p>' if experiment.description else ""
    alarm = ""
    if results.done < results.total:
        said = f"{results.done:,} of {results.total:,} runs are done; the sweep's command again computes the others."
        alarm = f'<p class="alarm">{escape(said)} What is below is of those that are done.</p>'
    spans = "".join(f"<span>{escape(text)}</span>" for text in about)
    about_it = f'{lead}<p class="about">{spans}</p>{alarm}{shown.alarm}'
    return f'<h1>{escape(experiment.name)}</h1>{about_it}<dl class="tiles">{tiles}</dl>'


def _facts(shown: Shown) -> list[Fact]:
    results = shown.results
    factors = results.experiment.factors
    few = min(int(row.found.n) for row in shown.analysis.rows) if shown.analysis.rows else 0
    return [
        Fact("Runs", f"{results.done:,} of {results.total:,}", f"{results.failed:,} failed", results.failed > 0),
        Fact("Variants", f"{len(shown.names):,}", f"of {len(factors)} factor{'s' if len(factors) != 1 else ''}"),
        Fact("Replicas", f"{results.replicas:,}", f"each figure in at least {few:,}" if few < results.replicas else ""),
        Fact("Comparisons", f"{shown.analysis.n_tests:,}", "p adjusted for all of them"),
    ]


def _failures(shown: Shown) -> list[Section]:
    lines = failed_lines(shown.analysis.comparison)
    if not lines:
        return []
    items = "".join(f"<li>{escape(line)}</li>" for line in lines)
    said = "They are in no figure above. <code>--rerun-failed</code> tries them again."
    return [Section("failed", "Failed runs", f"{note(said)}<ul>{items}</ul>")]


def _origin(shown: Shown) -> Section:
    results = shown.results
    rows = [
        [key, ", ".join(factor.levels) if factor.levels else str(factor.distribution)]
        for key, factor in results.experiment.factors.items()
    ]
    versions = {"peerwatt": "", **results.manifest.get("versions", {})}
    columns = [table(["Factor", "levels or distribution"], rows, texts=2)]
    columns.append(table(["Made with", "version"], list(versions.items())))
    body = (
        f"<p>All runs with all key figures are in <code>{REPORT[1]}</code> and <code>{REPORT[2]}</code>, one row each."
        f'</p><div class="columns">{"".join(f"<div>{each}</div>" for each in columns)}</div>'
    )
    return Section("origin", "Where this comes from", body)
