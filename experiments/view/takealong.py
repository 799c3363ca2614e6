"""What a viewer takes along: the scenario with these settings, the command line, the results so far."""

from __future__ import annotations

import io
import tempfile
import zipfile
from pathlib import Path

import solara

from peerwatt.experiments.view.dials import command
from peerwatt.experiments.view.session import Session
from peerwatt.experiments.view.widgets import block
from peerwatt.grid.cases import GridCase
from peerwatt.sim.model import Simulation
from peerwatt.sim.scenario import Scenario

__all__ = ["batch_command", "results_archive", "take_along"]


def batch_command(session: Session) -> str:
    """The command line that repeats the run in batch."""
    return command(session.source, {**session.given, **session.dials.changes(session.base)})


def results_archive(scenario: Scenario, periods: int, case: GridCase | None = None) -> bytes:
    """The results of the first periods as a ZIP file: the run repeated and recorded, which gives the same numbers.

    Args:
        scenario: what was simulated.
        periods: how many periods of it.
        case: a grid in place of the scenario's.
    """
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / scenario.name
        with Simulation(scenario, out, case) as simulation:
            for _ in range(periods):
                simulation.step()
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
            for file in sorted(out.rglob("*")):
                if file.is_file():
                    archive.write(file, file.relative_to(out.parent))
    return packed.getvalue()


def take_along(session: Session) -> None:
    """Downloads, and the command line to copy."""
    scenario, periods = session.scenario, session.period
    with block("section", classes="pw-card"):
        block("h3", "Take it along")
        solara.FileDownload(
            scenario.to_yaml, f"{scenario.name}.yaml", label="Scenario (YAML)", mime_type="application/yaml"
        )
        if periods:
            solara.FileDownload(
                lambda: results_archive(scenario, periods, session.case),
                f"{scenario.name}.zip",
                label=f"Results of {periods} periods",
                mime_type="application/zip",
            )
        block("p", "Repeat it in batch:", classes="pw-note")
        block("div", batch_command(session), classes="pw-code")
