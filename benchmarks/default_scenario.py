"""Periods per second of the default scenario beside a plain loop of pandapower's `runpp`.

The plain loop only solves: one `runpp` for each stage of each period, on the same grid, with the injections that
the scenario had. peerwatt's day has agents, messages, a market, batteries, settlement, records on disk and three
stages of AC power flow in every period. Both are measured in turns in one process.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from time import perf_counter

import pandapower
from rich.console import Console
from rich.table import Table

from peerwatt.grid.convert import quiet
from peerwatt.grid.verify import prepare, set_injections
from peerwatt.sim.model import Simulation
from peerwatt.sim.results import Results
from peerwatt.sim.scenario import Scenario

ROUNDS = 3
PLAIN_PERIODS = 12


def day(scenario: Scenario, directory: Path) -> float:
    """Seconds per period of a whole day, set-up not counted."""
    with Simulation(scenario, directory) as simulation:
        begin = perf_counter()
        simulation.run()
        return (perf_counter() - begin) / scenario.time.periods


def plain_loop(results: Results) -> float:
    """Seconds per period of `runpp` alone, as a user writes it, for some periods around noon."""
    net = pandapower.from_json(str(results.path / "network.json"))
    prepare(net)
    first = 48 - PLAIN_PERIODS // 2
    stages = [
        (table.p_mw.to_numpy(), table.q_mvar.to_numpy(), table.bus.to_numpy())
        for (period, _), table in results.bus.groupby(["period", "stage"], observed=True)
        if first <= period < first + PLAIN_PERIODS
    ]
    spent = 0.0
    with quiet():
        for p_mw, q_mvar, bus in stages:
            set_injections(net, p_mw, q_mvar, bus)
            begin = perf_counter()
            pandapower.runpp(net, trafo_model="pi", lightsim2grid=False)
            spent += perf_counter() - begin
    return spent / PLAIN_PERIODS


def main() -> None:
    base = Scenario.load("lv-village")
    variants = {
        "auction, every message on its own": base,
        "auction, messages in batches": base.replace({"communication.fidelity": "round"}),
        "bilateral, every message on its own": base.replace({"market.mechanism": "bilateral"}),
    }
    best: dict[str, float] = {}
    plain = float("inf")
    with tempfile.TemporaryDirectory() as folder:
        for turn in range(ROUNDS):
            for name, scenario in variants.items():
                directory = Path(folder) / f"{turn} {name}"
                best[name] = min(best.get(name, float("inf")), day(scenario, directory))
            plain = min(plain, plain_loop(Results(directory)))
    table = Table(title=f"{base.grid.case}, {base.time.periods} periods, best of {ROUNDS}", title_justify="left")
    for column in ("what is done in a period", "ms per period", "periods/s", "ratio"):
        table.add_column(column, justify="left" if column.startswith("what") else "right")
    table.add_row("plain loop: runpp, three stages", f"{plain * 1e3:.2f}", f"{1 / plain:.0f}", "1.0")
    for name, seconds in best.items():
        table.add_row(f"peerwatt: {name}", f"{seconds * 1e3:.2f}", f"{1 / seconds:.0f}", f"{plain / seconds:.1f}")
    Console().print(table)


if __name__ == "__main__":
    main()
