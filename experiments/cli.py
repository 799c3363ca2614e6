"""The command line. Commands import what they need when they run, so that help is there at once."""

from __future__ import annotations

import io
import json
import signal
import sys
import traceback
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from peerwatt import __version__
from peerwatt.errors import InputError, PeerwattError, counted
from peerwatt.experiments.pool import Backend, Pool
from peerwatt.experiments.replica import Lockstep
from peerwatt.experiments.studies.cli import studies

if TYPE_CHECKING:
    from rich.console import Console
    from rich.status import Status

    from peerwatt.sim.model import Simulation
    from peerwatt.sim.scenario import Scenario

__all__ = ["app", "main"]

INTERRUPTED = 130

app = typer.Typer(
    name="peerwatt",
    help="Simulate peer-to-peer electricity markets on real distribution grids.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

app.add_typer(studies)

Source = Annotated[str, typer.Argument(metavar="NAME|FILE", help="Shipped scenario, or path of a scenario file.")]
Overrides = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Change one value of the scenario, e.g. population.pv_share=0.6; repeatable.",
    ),
]


def main() -> None:
    """Run the command line; errors become one message and an exit status."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal that has no "×" gets a "?"
    signal.signal(signal.SIGTERM, _terminate)
    try:
        app()
    except PeerwattError as error:
        _complain(error)
        sys.exit(error.exit_status)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    except OSError as error:
        typer.echo(f"peerwatt: {error.filename or 'output'}: {error.strerror or error}", err=True)
        sys.exit(1)


def _terminate(*_: object) -> None:
    """End as on Ctrl-C, so that what was computed is written."""
    raise KeyboardInterrupt


@app.callback(invoke_without_command=True)
def _root(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version and leave.")] = False,  # noqa: FBT002
) -> None:
    if version:
        typer.echo(f"peerwatt {__version__}")
        raise typer.Exit
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


@app.command()
def run(
    source: Source = "lv-village",
    overrides: Overrides = None,
    periods: Annotated[int | None, typer.Option(min=1, help="Number of market periods.")] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Root seed of all random draws.")] = None,
    out: Annotated[Path | None, typer.Option(help="Results directory; by default a new one below results/.")] = None,
) -> None:
    """Simulate a scenario; print a summary, leave results and a report."""
    from rich.console import Console

    console = Console(highlight=False, markup=False)
    console.print(f"peerwatt {__version__}: reading scenario {source} ...")
    scenario = _scenario(source, overrides, {"time.periods": periods, "seed": seed})
    directory = _simulate(scenario, out, console)

    from peerwatt.experiments.report import write_report
    from peerwatt.experiments.summary import summary
    from peerwatt.sim.results import Results

    results = Results(directory)
    report = write_report(results)
    console.print()
    console.print(summary(results, report))


@app.command()
def examples() -> None:
    """List the scenarios that come with peerwatt."""
    from rich.console import Console
    from rich.table import Table

    from peerwatt.sim.scenario import Scenario, shipped_scenarios

    table = Table(box=None, padding=(0, 2, 0, 0))
    for column in ("name", "grid", "market", "what it shows"):
        table.add_column(column, no_wrap=column == "name")
    for name in shipped_scenarios():
        scenario = Scenario.load(name)
        table.add_row(name, scenario.grid.case, scenario.mechanism, scenario.description)
    console = Console(highlight=False, markup=False)
    console.print(table)
    console.print("\nRun one with: peerwatt run NAME")


@app.command()
def validate(source: Source, overrides: Overrides = None) -> None:
    """Check a scenario with its grid and profiles, without running it."""
    from rich.console import Console

    console = Console(highlight=False, markup=False)
    scenario = _scenario(source, overrides, {})
    with _loading(scenario, console):
        from peerwatt.sim.model import Simulation

        simulation = Simulation(scenario)
    with simulation:
        peers, network = len(simulation.peers), simulation.case.network
        inventory = simulation.inventory()
    from peerwatt.experiments.understood import as_rich, listings

    for listing in listings(inventory):
        console.print(as_rich(listing))
        console.print()
    for warning in counted(simulation.warnings):
        console.print(f"warning: {warning}", soft_wrap=True)
    console.print(
        f"{source}: valid; {peers} peers, {network.n_bus} buses, {network.n_line} lines, "
        f"{scenario.time.periods} periods of {scenario.time.period_s} s from {scenario.start:%Y-%m-%d}"
    )


@app.command()
def view(
    source: Source = "lv-village",
    overrides: Overrides = None,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0 for any that is free.")] = 8765,
    host: Annotated[
        str, typer.Option(metavar="ADDRESS", help="Where to listen; others reach all but local addresses.")
    ] = "127.0.0.1",
) -> None:
    """Watch and steer a market in the browser; ends with Ctrl-C."""
    from peerwatt.experiments.view.command import run_view

    run_view(source, overrides or [], host, port)


@app.command()
def clear(
    book: Annotated[Path, typer.Argument(metavar="BOOK.json", help="Order book; `peerwatt schema book` has its form.")],
    mechanism: Annotated[str, typer.Option(metavar="NAME", help="Market mechanism.")] = "bilateral",
    option: Annotated[
        list[str] | None, typer.Option(metavar="KEY=VALUE", help="Option of the mechanism, e.g. k=0.5; repeatable.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed for ties.")] = 0,
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="Write the result as JSON.")] = None,
) -> None:
    """Clear one order book from a file and print the trades.

    Ends with 0 when cleared (or when there is nobody to trade), 2 when the book is refused, 3 when its bounds
    cannot be met, 1 when the solver did not converge.
    """
    from rich.console import Console

    from peerwatt.experiments.clearing import EXIT_STATUS, clear_file
    from peerwatt.sim.reading import parse_overrides

    cleared = clear_file(book, mechanism, parse_overrides(option or [], "--option", "k=0.5"), seed=seed)
    console = Console(highlight=False, markup=False)
    console.print(cleared.summary())
    if out is not None:
        cleared.write(out)
        console.print(f"Result: {out}")
    raise typer.Exit(EXIT_STATUS[cleared.clearing.status])


@app.command()
def compare(
    variants: Annotated[
        list[str],
        typer.Argument(metavar="NAME...", help="cm1, cm2, cm3-v1, ..., or your own as name:key=value,key=value."),
    ],
    scenario: Annotated[str, typer.Option(metavar="NAME|FILE", help="What all variants share.")] = "lv-village",
    grid: Annotated[str | None, typer.Option(metavar="CASE", help="Grid in place of the scenario's.")] = None,
    overrides: Overrides = None,
    replicas: Annotated[int, typer.Option(min=1, help="How often, each time with other draws.")] = 1,
    periods: Annotated[int | None, typer.Option(min=1, help="Number of market periods.")] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Root seed of all random draws.")] = None,
    jobs: Annotated[int | None, typer.Option(min=1, help="Runs at a time; by default one per processor.")] = None,
    out: Annotated[Path | None, typer.Option(help="Directory; by default a new one below results/.")] = None,
) -> None:
    """Compare conceptual models and schemes on the same draws; print their key figures side by side.

    Ends with 1 when a run failed; the others are shown.
    """
    from peerwatt.experiments.compare_command import run_comparison
    from peerwatt.sim.reading import parse_overrides

    changes = parse_overrides(overrides or [])
    changes |= {key: value for key, value in {"time.periods": periods, "seed": seed}.items() if value is not None}
    if not run_comparison(variants, scenario, grid, changes, replicas, jobs, out):
        raise typer.Exit(1)


@app.command()
def sequence(
    results: Annotated[Path, typer.Argument(metavar="RESULTS", help="Results directory of a run.")],
    period: Annotated[int, typer.Option(min=0, help="Number of the market period.")] = 0,
    mermaid: Annotated[Path | None, typer.Option(metavar="FILE", help="Write it as a Mermaid diagram.")] = None,
) -> None:
    """Print who told whom what, and when, in one period of a run."""
    from rich.console import Console

    from peerwatt.experiments.sequence import as_mermaid, as_table, steps
    from peerwatt.sim.results import Results

    told = steps(Results(results), period)
    Console(highlight=False, markup=False).print(as_table(told, period))
    if mermaid is not None:
        mermaid.write_text(as_mermaid(told), encoding="utf-8")
        typer.echo(f"Diagram: {mermaid}")


@app.command()
def sweep(
    experiment: Annotated[
        str, typer.Argument(metavar="NAME|FILE", help="Shipped experiment, or path; `peerwatt schema experiment`.")
    ],
    replicas: Annotated[int | None, typer.Option(min=1, help="How often, in place of the file's.")] = None,
    jobs: Annotated[int | None, typer.Option(min=1, help="Runs at a time; by default one per processor.")] = None,
    backend: Annotated[Backend, typer.Option(help="What runs them.")] = Backend.LOKY,
    address: Annotated[str, typer.Option(help="Scheduler of a Dask or Ray cluster that is there.")] = "",
    out: Annotated[Path | None, typer.Option(help="Results directory; by default results/NAME.")] = None,
    rerun_failed: Annotated[bool, typer.Option("--rerun-failed", help="Run what failed again.")] = False,  # noqa: FBT002
    recompute: Annotated[bool, typer.Option("--recompute", help="Throw away what is there.")] = False,  # noqa: FBT002
    lockstep: Annotated[Lockstep, typer.Option(help="Whether replicas of a variant run together.")] = Lockstep.AUTO,
) -> None:
    """Run many replicas of many variants, as an experiment file says; the same command again resumes.

    Ends with 1 when a run failed; the others are kept and shown.
    """
    from peerwatt.experiments.sweep.command import run_sweep

    pool = Pool(backend, jobs, address)
    again = {"rerun_failed": rerun_failed, "recompute": recompute}
    if not run_sweep(experiment, replicas, pool, out, **again, lockstep=lockstep):
        raise typer.Exit(1)


@app.command()
def report(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="Results directory of a sweep, or of a run.")],
    kpi: Annotated[list[str] | None, typer.Option(metavar="NAME", help="Key figure to show; repeatable.")] = None,
    reference: Annotated[str, typer.Option(metavar="VARIANT", help="What the others are compared to.")] = "",
    pareto: Annotated[
        tuple[str, str] | None,
        typer.Option(metavar="HIGH LOW", help="Figure to be high and figure to be low, or sums such as a+b."),
    ] = None,
    out: Annotated[Path | None, typer.Option(metavar="DIR", help="Where to; by default the same directory.")] = None,
) -> None:
    """Write the report of a sweep, finished or not, as one HTML file with its table of runs; or that of a run."""
    from peerwatt.experiments.sweep.report.command import report_directory

    for line in report_directory(directory, out, figures=kpi or [], reference=reference, pareto=pareto or ()):
        typer.echo(line)


class Document(StrEnum):
    """Kinds of input files."""

    SCENARIO = "scenario"
    BOOK = "book"
    EXPERIMENT = "experiment"


@app.command()
def schema(
    document: Annotated[Document, typer.Argument(help="Which kind of file.")] = Document.SCENARIO,
) -> None:
    """Print the JSON Schema of scenario files, order books or experiment files, for editors."""
    if document is Document.BOOK:
        from peerwatt.market.bookfile import BookFile

        text = BookFile.model_json_schema()
    elif document is Document.EXPERIMENT:
        from peerwatt.experiments.sweep.experiment import Experiment

        text = Experiment.model_json_schema()
    else:
        from peerwatt.sim.scenario import Scenario

        text = Scenario.model_json_schema()
    typer.echo(json.dumps(text, indent=2))


def _scenario(source: str, overrides: list[str] | None, named: dict[str, int | None]) -> Scenario:
    from peerwatt.sim.reading import parse_overrides
    from peerwatt.sim.scenario import Scenario

    changes = parse_overrides(overrides or [])
    changes |= {key: value for key, value in named.items() if value is not None}
    return Scenario.load(source, changes)


def _loading(scenario: Scenario, console: Console) -> Status:
    from rich.text import Text

    return console.status(Text(f"Loading {scenario.grid.case} (the first time takes about ten seconds) ..."))


def _simulate(scenario: Scenario, out: Path | None, console: Console) -> Path:
    """Run with a progress bar; return the results directory."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    with _loading(scenario, console):
        from peerwatt.sim.model import Simulation
        from peerwatt.sim.running import results_directory

        with results_directory(scenario.name, out) as directory:
            simulation = Simulation(scenario, directory)
    with simulation:
        bar = Progress(
            TextColumn("{task.fields[clock]}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]} periods/s"),
            TimeRemainingColumn(),
            console=console,
        )
        task = bar.add_task("", total=simulation.n_periods, clock=f"{simulation.now:%Y-%m-%d %H:%M}", rate="-")

        def show(simulation: Simulation) -> None:
            rate = bar.tasks[0].finished_speed or bar.tasks[0].speed
            bar.update(
                task,
                advance=1,
                clock=f"{simulation.now:%Y-%m-%d %H:%M}",
                rate=f"{rate:.0f}" if rate else "-",
            )

        try:
            with bar:
                simulation.run(show)
        except (KeyboardInterrupt, PeerwattError):
            console.print(f"Stopped after {simulation.period} periods; what was computed is kept in {directory}")
            raise
    return directory


def _complain(error: PeerwattError) -> None:
    """Say what is wrong, every fault on a line of its own."""
    if isinstance(error, InputError):
        lines = [str(fault) for fault in counted(error.faults)]
    else:
        lines = [str(error)]
        if error.__cause__ is not None and (frames := traceback.extract_tb(error.__cause__.__traceback__)):
            lines.append(f"raised in {frames[-1].filename}, line {frames[-1].lineno}: {frames[-1].line}")
    for line in lines:
        typer.echo(f"peerwatt: {line}", err=True)
