"""Seconds from the launch of `peerwatt` to its end, cache warm: help, and a day of the default scenario."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path
from time import perf_counter

from rich.console import Console
from rich.table import Table

ROUNDS = 5


def main() -> None:
    command = str(Path(sys.executable).with_name("peerwatt"))
    table = Table(title=f"wall time of whole processes, best and worst of {ROUNDS}", title_justify="left")
    for column in ("command", "best s", "worst s"):
        table.add_column(column, justify="left" if column == "command" else "right")
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([command, "validate", "lv-village"], check=True, capture_output=True)
        for name in ("--help", "run", "run lv-village-bilateral"):
            spent = []
            for turn in range(ROUNDS):
                out = [] if name == "--help" else ["--out", f"{folder}/{name}-{turn}"]
                begin = perf_counter()
                subprocess.run([command, *name.split(), *out], check=True, capture_output=True)
                spent.append(perf_counter() - begin)
            table.add_row(f"peerwatt {name}", f"{min(spent):.2f}", f"{max(spent):.2f}")
    Console().print(table)


if __name__ == "__main__":
    main()
