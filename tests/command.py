"""The command line without a process of its own, whose imports take longer than most commands."""

from __future__ import annotations

import contextlib
import io
import signal
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from peerwatt.experiments.cli import main


@dataclass(frozen=True, slots=True)
class Ended:
    """What a command leaves behind; names as of `subprocess.CompletedProcess`."""

    returncode: int
    stdout: str
    stderr: str


def peerwatt(*arguments: object, cwd: Path | None = None) -> Ended:
    """Run `peerwatt` with these arguments in a directory, 80 columns wide as into a pipe."""
    out, err, status = io.StringIO(), io.StringIO(), 0
    at_end = signal.getsignal(signal.SIGTERM)
    try:
        with (
            pytest.MonkeyPatch.context() as patch,
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
        ):
            patch.setattr(sys, "argv", ["peerwatt", *map(str, arguments)])
            patch.setenv("COLUMNS", "80")
            if cwd is not None:
                patch.chdir(cwd)
            main()
    except SystemExit as ended:
        status = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    finally:
        signal.signal(signal.SIGTERM, at_end)
    return Ended(status, out.getvalue(), err.getvalue())
