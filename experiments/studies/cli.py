"""The commands below `peerwatt study`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["studies"]

studies = typer.Typer(
    name="study",
    help="Run a study: many seeds of one question, with its tables and figures.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@studies.callback()
def _root() -> None:
    pass


@studies.command()
def d53(
    seeds: Annotated[int, typer.Option(min=1, help="How many seeds, each through all scenarios.")] = 200,
    first_seed: Annotated[int, typer.Option(min=0, help="The first of them.")] = 0,
    jobs: Annotated[int, typer.Option(min=0, help="Processes; 0 for as many as there are processors.")] = 0,
    out: Annotated[
        Path | None,
        typer.Option(help="Results directory; seeds that are there are not run again. By default a new one."),
    ] = None,
    docs: Annotated[Path | None, typer.Option(metavar="DIR", help="Write the page with its figures there.")] = None,
    variations: Annotated[
        int, typer.Option(min=0, metavar="N", help="Vary the model, one number at a time, with N seeds each.")
    ] = 0,
) -> None:
    """P2P trading before a flexibility market: chapter 5 of EUniversal D5.3 over many seeds."""
    from rich.console import Console

    from peerwatt.experiments.studies.d53.command import run_command
    from peerwatt.experiments.studies.d53.study import StudyPlan

    plan = StudyPlan(seeds=seeds, first_seed=first_seed, jobs=jobs)
    run_command(plan, out, docs, variations, Console(highlight=False, markup=False))


@studies.command("tso-dso")
def tso_dso(
    out: Annotated[Path | None, typer.Option(help="Results directory; by default a new one.")] = None,
    docs: Annotated[Path | None, typer.Option(metavar="DIR", help="Write the page with its figures there.")] = None,
    *,
    sensitivity: Annotated[bool, typer.Option(help="Vary what the paper leaves open, one choice at a time.")] = False,
) -> None:
    """P2P flexibility markets between TSO and DSO: section V of Marques et al., its tables and figures."""
    from rich.console import Console

    from peerwatt.experiments.studies.tso_dso.command import run_command

    run_command(out, docs, Console(highlight=False, markup=False), sensitivity=sensitivity)
