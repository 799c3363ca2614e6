"""CPU seconds per replica of a Monte Carlo study: a plain loop, one by one, in processes, in lockstep.

A day of 96 periods on `case69` with 50 drawn peers, some with PV and batteries, AC power flow at three stages. The
plain loop is what a user writes with pandapower and joblib, with the market functions of peerwatt; each stage is a
`pandapower.runpp`. All ways take turns in processes of their own, and the best turn counts, so that the ratios hold on
a busy machine too. `--replicas 1000` is for the peak of memory.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import warnings
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from time import perf_counter, process_time
from typing import Any

import numpy as np
from numpy.typing import NDArray

DAY, N_PEERS, PERIOD_H = "2016-06-21", 50, 0.25
SUPPLY, FEED_IN = 300.0, 80.0
MECHANISMS = ("double_auction", "bilateral")
WANTED = {  # least ratio of CPU seconds, plain loop over way
    ("double_auction", "one by one"): 10.0,
    ("double_auction", "lockstep"): 100.0,
    ("bilateral", "lockstep"): 40.0,
}
ROUNDS = 3

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Cost:
    """What some replicas took, per replica, and the peak of memory of the process.

    Attributes:
        cpu_s: CPU seconds.
        wall_s: seconds on the clock.
        peak_mib: most resident memory, MiB.
    """

    cpu_s: float
    wall_s: float
    peak_mib: float


# --- the case: case69 with a PV plant at every second bus, and a summer's day of made-up profiles ---


def write_case(folder: Path) -> None:
    """Write the grid and its profiles."""
    import pandapower
    import pandas as pd

    from peerwatt.grid.cases import load_case
    from peerwatt.grid.netfile import parse_net

    net = parse_net(load_case("case69").network.pandapower_json, "case69")
    net.load["name"] = [f"load {i}" for i in range(len(net.load))]
    for row in net.load.index[::2]:
        bus, p_mw = int(net.load.bus[row]), float(net.load.p_mw[row])
        pandapower.create_sgen(net, bus, p_mw=p_mw, name=f"pv {row}", type="PV")
    pandapower.to_json(net, str(folder / "case69-pv.json"))
    rng, hour = np.random.default_rng(0), np.arange(96) * PERIOD_H
    evening = 0.35 + 0.25 * np.exp(-(((hour - 8.0) / 2.0) ** 2)) + 0.5 * np.exp(-(((hour - 19.0) / 2.5) ** 2))
    sun = np.maximum(np.sin(np.pi * (hour - 5.0) / 16.0), 0.0) ** 1.5
    columns: dict[str, Any] = {"time": pd.date_range(DAY, periods=96, freq="900s")}
    for table, shape in (("load", evening), ("sgen", sun)):
        for name, p_mw in zip(net[table].name, net[table].p_mw, strict=True):
            columns[f"{table}.{name}.p_mw"] = p_mw * shape * rng.uniform(0.8, 1.2, 96)
    pd.DataFrame(columns).to_csv(folder / "profiles.csv", index=False)


def scenario(folder: Path, mechanism: str) -> dict[str, Any]:
    """The changes to the default scenario."""
    return {
        "name": "montecarlo",
        "grid.case": str(folder / "case69-pv.json"),
        "grid.profiles": str(folder / "profiles.csv"),
        "time.start": DAY,
        "population.size": N_PEERS,
        "population.storage_share": 0.3,
        "market.mechanism": mechanism,
        "communication.fidelity": "round",
    }


# --- the ways ---


def plain(folder: Path, mechanism: str, first: int, n: int) -> None:
    """The loop that a user writes."""
    from joblib import Parallel, delayed

    Parallel(n_jobs=1)(delayed(plain_replica)(folder, mechanism, replica) for replica in range(first, first + n))


def plain_replica(folder: Path, mechanism: str, replica: int) -> dict[str, float]:
    """One replica: who there is, then period by period forecast, batteries, market, meters and three power flows."""
    import pandapower
    import pandas as pd

    net = pandapower.from_json(str(folder / "case69-pv.json"))
    profiles = pd.read_csv(folder / "profiles.csv")
    rng = np.random.default_rng(replica)
    drawn = np.sort(rng.integers(len(net.load), size=N_PEERS))
    scale = len(net.load) / N_PEERS
    load = profiles[[f"load.{name}.p_mw" for name in net.load.name.to_numpy()[drawn]]].to_numpy() * scale
    q_share = (net.load.q_mvar / net.load.p_mw).to_numpy()[drawn]
    plants = dict(zip(net.sgen.bus, net.sgen.name, strict=True))
    nothing = np.zeros(len(profiles))
    names = [plants.get(bus) for bus in net.load.bus.to_numpy()[drawn]]
    sun = np.stack([nothing if name is None else profiles[f"sgen.{name}.p_mw"] * scale for name in names], axis=1)
    capacity = np.where(rng.random(N_PEERS) < 0.3, 0.01, 0.0)
    soc, net.sgen["in_service"] = np.zeros(N_PEERS), False
    found = {"welfare_eur": 0.0, "volume_mwh": 0.0, "losses_mwh": 0.0, "cost_eur": 0.0, "min_vm_pu": np.inf}
    for period in range(len(profiles)):
        real_load, real_sun = load[period], sun[period]
        seen = real_sun * np.maximum(1.0 + 0.1 * rng.standard_normal(N_PEERS), 0.0)
        usual = seen - real_load * np.maximum(1.0 + 0.05 * rng.standard_normal(N_PEERS), 0.0)
        limit = np.minimum(np.abs(usual), 0.005)
        battery = np.where(
            usual > 0.0, -np.minimum(limit, (capacity - soc) / PERIOD_H), np.minimum(limit, soc / PERIOD_H)
        )
        soc -= battery * PERIOD_H
        firm = usual + battery
        clearing = cleared(mechanism, firm, rng)
        meter = real_sun - real_load + battery
        for schedule in (firm, firm, meter):
            net.load["p_mw"] = np.bincount(drawn, -schedule, len(net.load))
            net.load["q_mvar"] = np.bincount(drawn, real_load * q_share, len(net.load))
            pandapower.runpp(net)
        left = meter - clearing.trades.net_mw(N_PEERS)
        found["welfare_eur"] += clearing.social_welfare_eur
        found["volume_mwh"] += clearing.trades.volume_mw * PERIOD_H
        found["cost_eur"] += float(-(left * np.where(left < 0.0, SUPPLY, FEED_IN)).sum()) * PERIOD_H
        found["losses_mwh"] += float(net.res_line.pl_mw.sum()) * PERIOD_H
        found["min_vm_pu"] = min(found["min_vm_pu"], float(net.res_bus.vm_pu.min()))
    return found


def cleared(mechanism: str, firm: Floats, rng: np.random.Generator) -> Any:
    """The market of a period, truthful."""
    from peerwatt.market.auction import double_auction
    from peerwatt.market.bilateral import bilateral
    from peerwatt.market.book import QuadraticBook, StepBook, all_pairs

    price = np.where(firm > 0.0, FEED_IN, SUPPLY)
    if mechanism == "double_auction":
        return double_auction(StepBook(np.arange(N_PEERS), firm, price, N_PEERS, PERIOD_H), rng)
    low, high = np.minimum(firm, 0.0), np.maximum(firm, 0.0)
    seller, buyer = all_pairs(low, high)
    nothing = np.zeros(len(seller))
    return bilateral(QuadraticBook(low, high, 0.0 * price, price, seller, buyer, nothing, nothing, PERIOD_H))


def one_by_one(folder: Path, mechanism: str, first: int, n: int) -> None:
    """Each replica a simulation of its own, down to its key figures."""
    from peerwatt.experiments.replica import attempt

    chosen, case = loaded(folder, mechanism)
    for replica in range(first, first + n):
        outcome = attempt("", replica, chosen, lambda: case)
        assert not outcome.error, outcome.error


def in_lockstep(folder: Path, mechanism: str, first: int, n: int) -> None:
    """All replicas together."""
    from peerwatt.sim.lockstep import run_lockstep

    chosen, case = loaded(folder, mechanism)
    run_lockstep(chosen, range(first, first + n), case)


def loaded(folder: Path, mechanism: str) -> tuple[Any, Any]:
    """The scenario and its grid."""
    from peerwatt.experiments.replica import RECORD
    from peerwatt.sim.assembly import load_grid
    from peerwatt.sim.scenario import Scenario

    chosen = Scenario().replace(scenario(folder, mechanism), record=RECORD)
    return chosen, load_grid(chosen)


def swept(folder: Path, mechanism: str, lockstep: str, n: int, jobs: int) -> float:
    """Replicas per second of `peerwatt sweep`, from its start to its last file."""
    from peerwatt.experiments.pool import Pool
    from peerwatt.experiments.replica import Lockstep
    from peerwatt.experiments.sweep.experiment import Experiment
    from peerwatt.experiments.sweep.run import sweep
    from peerwatt.sim.scenario import Scenario

    base = folder / "scenario.yaml"
    base.write_text(Scenario().replace(scenario(folder, mechanism)).to_yaml(), encoding="utf-8")
    factors = {"market.mechanism": [mechanism]}
    experiment = Experiment.model_validate({"base": str(base), "factors": factors, "replicas": n})
    begin = perf_counter()
    with tempfile.TemporaryDirectory() as out:
        comparison = sweep(experiment, Path(out) / "sweep", pool=Pool(jobs=jobs), lockstep=Lockstep(lockstep))
        assert not comparison.failed, comparison.failed[0].error
    return n / (perf_counter() - begin)


WAYS: dict[str, Callable[[Path, str, int, int], None]] = {
    "plain loop": plain,
    "one by one": one_by_one,
    "lockstep": in_lockstep,
}


def measured(way: str, folder: Path, mechanism: str, first: int, n: int) -> Cost:
    """What a way takes; called in a process of its own, where a replica before has loaded all that is needed."""
    warnings.simplefilter("ignore")
    WAYS[way](folder, mechanism, 0, 1)
    cpu, wall = process_time(), perf_counter()
    WAYS[way](folder, mechanism, first, n)
    cpu, wall = process_time() - cpu, perf_counter() - wall
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024.0  # KiB on Linux
    return Cost(cpu / n, wall / n, peak)


def main() -> None:
    from rich.console import Console
    from rich.table import Table

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--replicas", type=int, default=128, help="of lockstep in each turn; the others run fewer")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--mechanisms", nargs="+", choices=MECHANISMS, default=MECHANISMS)
    asked = parser.parse_args()
    sizes = {"plain loop": 1, "one by one": 4, "lockstep": asked.replicas}
    console, missed = Console(width=110), []
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        warnings.simplefilter("ignore")
        write_case(folder)
        for mechanism in asked.mechanisms:
            table = Table(title=f"{mechanism}: per replica, best of {asked.rounds} turns", title_justify="left")
            for column in ("way", "replicas", "CPU s", "replicas/s", "times the plain loop", "wanted", "peak MiB"):
                table.add_column(column, justify="left" if column == "way" else "right")
            best = turns(folder, mechanism, sizes, asked.rounds)
            for way, cost in best.items():
                ratio, wanted = best["plain loop"].cpu_s / cost.cpu_s, WANTED.get((mechanism, way))
                aim = "" if wanted is None else f"{wanted:.0f}"
                missed += [f"{mechanism}, {way}"] if wanted is not None and ratio < wanted else []
                numbers = (f"{cost.cpu_s:.4f}", f"{1.0 / cost.wall_s:.2f}", f"{ratio:.1f}", aim, f"{cost.peak_mib:.0f}")
                table.add_row(way, str(sizes[way]), *numbers)
            for name, how, n in (("sweep, one by one", "never", 16), ("sweep, lockstep", "always", asked.replicas)):
                rate = swept(folder, mechanism, how, n, jobs=2)
                table.add_row(f"{name}, 2 processes", str(n), "", f"{rate:.2f}")
            console.print(table)
    console.print("all as wanted" if not missed else f"less than wanted: {'; '.join(missed)}")


def turns(folder: Path, mechanism: str, sizes: dict[str, int], rounds: int) -> dict[str, Cost]:
    """The best turn of each way."""
    best: dict[str, Cost] = {}
    for turn in range(rounds):
        for way, n in sizes.items():
            with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
                cost = pool.submit(measured, way, folder, mechanism, 1 + turn * n, n).result()
            best[way] = min(best.get(way, cost), cost, key=lambda each: each.cpu_s)
    return best


if __name__ == "__main__":
    main()
