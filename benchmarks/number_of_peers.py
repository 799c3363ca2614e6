"""Cost of a period against the number of peers: 50, 500 and 5,000 on one grid, double auction."""

from __future__ import annotations

import tempfile
from pathlib import Path
from time import perf_counter

from rich.console import Console
from rich.table import Table

from peerwatt.sim.model import Simulation
from peerwatt.sim.scenario import Scenario

SIZES = (50, 500, 5_000)
PERIODS = 48
ROUNDS = 3


def seconds_per_period(size: int, directory: Path) -> float:
    """Seconds per period from six in the morning, records on disk included."""
    scenario = Scenario.load("lv-village").replace(
        {
            "population.size": size,
            "population.peers": {},
            "population.pv_share": 0.4,
            "communication.fidelity": "round",
            "time.periods": 24 + PERIODS,
        }
    )
    with Simulation(scenario, directory) as simulation:
        for _ in range(24):
            simulation.step()
        begin = perf_counter()
        simulation.run()
        return (perf_counter() - begin) / PERIODS


def main() -> None:
    best = dict.fromkeys(SIZES, float("inf"))
    with tempfile.TemporaryDirectory() as folder:
        for turn in range(ROUNDS):
            for size in SIZES:
                best[size] = min(best[size], seconds_per_period(size, Path(folder) / f"{turn}-{size}"))
    table = Table(title=f"lv-village, double auction, rounds, best of {ROUNDS}", title_justify="left")
    for column in ("peers", "ms per period", "us per peer and period", "ratio to 50 peers"):
        table.add_column(column, justify="right")
    for size, seconds in best.items():
        table.add_row(
            f"{size:,}", f"{seconds * 1e3:.2f}", f"{seconds * 1e6 / size:.1f}", f"{seconds / best[SIZES[0]]:.1f}"
        )
    Console().print(table)


if __name__ == "__main__":
    main()
