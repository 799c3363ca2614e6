"""CPU microseconds per power flow: pandapower as a user writes it, lightsim2grid, and the engines of peerwatt.

Everything runs in turns in one process, several rounds, and the best round counts, so that the ratios hold on a
busy machine too. Each solve has other injections; step by step includes the `GridState`, a batch the `GridStates`.
"""

from __future__ import annotations

import copy
import tempfile
import warnings
from collections.abc import Callable
from itertools import cycle
from pathlib import Path
from time import process_time, process_time_ns
from typing import Any

import numpy as np
import pandapower
import pandapower.networks
import pandas as pd
from lightsim2grid.network import init_from_pandapower
from power_grid_model import CalculationMethod, ComponentType, PowerGridModel
from rich.console import Console
from rich.table import Table

from peerwatt.grid import Network, case_from_net, engine, load_case
from peerwatt.grid.convert import convert_net
from peerwatt.grid.netfile import parse_net
from peerwatt.grid.pgm_engine import PgmEngine
from peerwatt.grid.state import GridState
from peerwatt.grid.threephase import ThreePhaseNetwork, load_three_phase
from peerwatt.grid.threephase_pgm import PgmThreePhase, _input_data
from peerwatt.sim.model import Simulation
from peerwatt.sim.scenario import Scenario

ROUNDS, BATCH, PHASE_BATCH = 5, 1000, 100
WAYS = ("runpp", "recycle", "runpp+ls2g", "ls2g", "pgm step", "step", "in a day", "pgm batch", "batch")
RATIOS = {
    "runpp / step": ("runpp", "step"),
    "runpp / in a day": ("runpp", "in a day"),
    "runpp / batch": ("runpp", "batch"),
    "recycle / step": ("recycle", "step"),
    "runpp+ls2g / step": ("runpp+ls2g", "step"),
    "ls2g / step": ("ls2g", "step"),
    "ls2g / batch": ("ls2g", "batch"),
    "step / pgm step": ("step", "pgm step"),
    "batch / pgm batch": ("batch", "pgm batch"),
}
NOTES = """runpp: as a user of pandapower writes it, with new loads each time; for three phases runpp_3ph.
recycle: the same, with recycle={"bus_pq": True, "trafo": False, "gen": False}; not for three phases.
runpp+ls2g: runpp(lightsim2grid=True); it refuses two external grids (179 buses) and three phases.
ls2g: lightsim2grid's own update_loads_p, update_loads_q and ac_pf, from the voltages of one runpp;
      left out where they are not those of runpp (179 buses).
pgm: power-grid-model's own public call, voltages of the nodes only: update and Newton-Raphson, which describes
     its buffers anew in each call; or a batch by iterative current, for three phases by Newton-Raphson too.
step, batch: peerwatt, with all flows, loadings and losses.
in a day: step, inside a run of 96 periods of agents, market, batteries, settlement and records."""

Way = Callable[[], object]


def main() -> None:
    warnings.simplefilter("ignore")
    console = Console(width=150)
    found = {name: measure(make(), name) for name, make in GRIDS.items()}
    found["907, 3 phases"] = measure_three_phase()
    times = Table(
        title=f"CPU us per power flow, best of {ROUNDS} rounds; batch of {BATCH:,}, of three phases {PHASE_BATCH}",
        title_justify="left",
    )
    ratios = Table(title="Ratios", title_justify="left")
    for table, columns in ((times, WAYS), (ratios, tuple(RATIOS))):
        for column in ("buses", *columns):
            table.add_column(column, justify="right")
    for name, us in found.items():
        times.add_row(name, *(f"{us[way]:,.0f}" if way in us else "-" for way in WAYS))
        pairs = [(us.get(a), us.get(b)) for a, b in RATIOS.values()]
        ratios.add_row(name, *(ratio(a / b) if a and b else "-" for a, b in pairs))
    console.print(times, ratios, NOTES)


def ratio(value: float) -> str:
    return f"{value:.2f}" if value < 10.0 else f"{value:.0f}"


def library(name: str) -> Callable[[], Any]:
    return lambda: parse_net(load_case(name).network.pandapower_json, name)


def synthetic(n_bus: int = 1202, n_feeder: int = 12) -> Any:
    """A radial 20 kV grid of random trees."""
    rng = np.random.default_rng(0)
    net = pandapower.create_empty_network()
    top, root = pandapower.create_bus(net, 110.0), pandapower.create_bus(net, 20.0)
    pandapower.create_ext_grid(net, top)
    pandapower.create_transformer(net, top, root, "25 MVA 110/20 kV")
    for _ in range(n_feeder):
        feeder = [root]
        for _ in range((n_bus - 2) // n_feeder):
            bus = pandapower.create_bus(net, 20.0)
            parent = feeder[-1] if rng.random() < 0.7 else int(rng.choice(feeder))
            length_km = float(rng.uniform(0.1, 0.5))
            pandapower.create_line(net, parent, bus, length_km, "NA2XS2Y 1x185 RM/25 12/20 kV")
            pandapower.create_load(net, bus, 0.01, 0.003)
            feeder.append(bus)
    return net


GRIDS: dict[str, Callable[[], Any]] = {
    "33": library("case33bw"),
    "69": library("case69"),
    "179": pandapower.networks.mv_oberrhein,
    "1,202": synthetic,
}
IN_A_DAY = ("69", "1,202")


def measure(net: Any, name: str) -> dict[str, float]:
    """CPU us of every way that solves this network."""
    given = copy.deepcopy(net)
    network = convert_net(net, name)
    factor, p_mw, q_mvar = injections(net, network)
    solver = PgmEngine(network)
    ways = {
        "runpp": (plain(net, factor), 10),
        "recycle": (plain(net, factor, recycle={"bus_pq": True, "trafo": False, "gen": False}), 10),
        "pgm step": (own_step(solver, p_mw, q_mvar), 200),
        "step": (rows(solver.solve, p_mw, q_mvar), 200),
        "pgm batch": (own_batch(solver, p_mw, q_mvar), 1),
        "batch": (lambda: solver.solve_batch(p_mw, q_mvar), 1),
    }
    if len(net.ext_grid) == 1:
        ways["runpp+ls2g"] = (plain(net, factor, lightsim2grid=True), 10)
        ways["ls2g"] = (lightsim(net, factor), 200)
    us = in_turns(ways)
    if name in IN_A_DAY:
        with tempfile.TemporaryDirectory() as folder:
            us["in a day"] = min(day_of(given, Path(folder) / str(turn)) for turn in range(2))
    return us


def measure_three_phase() -> dict[str, float]:
    """The same for the unbalanced European feeder."""
    from pandapower.networks import ieee_european_lv_asymmetric

    network = load_three_phase("ieee-european-lv")
    solver = PgmThreePhase(network)
    factor = np.random.default_rng(1).uniform(0.2, 1.2, (PHASE_BATCH, network.n_bus, 1))
    p_mw, q_mvar = factor * network.p_mw, factor * network.q_mvar
    net = ieee_european_lv_asymmetric("on_peak_566")
    return in_turns(
        {
            "runpp": (plain_three_phase(net), 2),
            "pgm step": (own_three_phase(network, p_mw, q_mvar), 10),
            "step": (rows(solver.solve, p_mw, q_mvar), 10),
            "pgm batch": (own_batch_three_phase(network, p_mw, q_mvar), 1),
            "batch": (lambda: solver.solve_batch(p_mw, q_mvar), 1),
        },
        PHASE_BATCH,
    )


def in_turns(ways: dict[str, tuple[Way, int]], batch: int = BATCH) -> dict[str, float]:
    """CPU us per power flow of each way, which is called that many times in a round; the first round warms up."""
    us = dict.fromkeys(ways, np.inf)
    for turn in range(ROUNDS + 1):
        for way, (call, repeat) in ways.items():
            begin = process_time()
            for _ in range(repeat):
                call()
            spent = (process_time() - begin) * 1e6 / repeat / (batch if "batch" in way else 1)
            us[way] = min(us[way], spent) if turn else np.inf
    return us


def injections(net: Any, network: Network) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Factors of the loads, (BATCH, n_load), and the net injections at the buses that they make."""
    rng = np.random.default_rng(1)
    net.sgen["in_service"] = False
    factor = rng.uniform(0.2, 1.2, (BATCH, len(net.load)))
    position = network.buses.index.searchsorted(net.load.bus)
    power = []
    for column in ("p_mw", "q_mvar"):
        at_bus = np.zeros((BATCH, network.n_bus))
        np.subtract.at(at_bus.T, position, (factor * (net.load[column] * net.load.scaling).to_numpy()).T)
        power.append(at_bus)
    return factor, power[0], power[1]


def rows(solve: Callable[[np.ndarray, np.ndarray], Any], p_mw: np.ndarray, q_mvar: np.ndarray) -> Way:
    """Solve the next row."""
    row = cycle(range(len(p_mw)))

    def call() -> None:
        k = next(row)
        assert solve(p_mw[k], q_mvar[k]).converged

    return call


def plain(net: Any, factor: np.ndarray, **options: Any) -> Way:
    """What a user of pandapower writes."""
    base_p, base_q, row = net.load.p_mw.copy(), net.load.q_mvar.copy(), cycle(range(BATCH))
    options = {"lightsim2grid": False, **options}

    def call() -> None:
        k = next(row)
        net.load["p_mw"], net.load["q_mvar"] = base_p * factor[k], base_q * factor[k]
        pandapower.runpp(net, **options)

    return call


def plain_three_phase(net: Any) -> Way:
    """What a user of pandapower writes for three phases."""
    columns = [f"{power}_{phase}_{unit}" for phase in "abc" for power, unit in (("p", "mw"), ("q", "mvar"))]
    base, rng = net.asymmetric_load[columns].copy(), np.random.default_rng(1)

    def call() -> None:
        net.asymmetric_load[columns] = base.mul(rng.uniform(0.2, 1.2, len(base)), axis=0)
        pandapower.runpp_3ph(net)

    return call


def lightsim(net: Any, factor: np.ndarray) -> Way:
    """What a user of lightsim2grid writes."""
    pandapower.runpp(net, lightsim2grid=False)
    grid = init_from_pandapower(net)
    start = net.res_bus.vm_pu.to_numpy() * np.exp(1j * np.radians(net.res_bus.va_degree.to_numpy()))
    np.testing.assert_allclose(grid.ac_pf(start.copy(), 20, 1e-8), start, rtol=0, atol=1e-6)
    base_p, base_q, row = net.load.p_mw.to_numpy(), net.load.q_mvar.to_numpy(), cycle(range(BATCH))
    every = np.ones(len(base_p), dtype=np.bool_)

    def call() -> None:
        k = next(row)
        grid.update_loads_p(every, (base_p * factor[k]).astype(np.float32))
        grid.update_loads_q(every, (base_q * factor[k]).astype(np.float32))
        assert len(grid.ac_pf(start.copy(), 20, 1e-8))

    return call


def own_step(solver: PgmEngine, p_mw: np.ndarray, q_mvar: np.ndarray) -> Way:
    """What a user of power-grid-model writes."""
    model = PowerGridModel(input_data=solver._input)
    p_w, q_var, row = *in_watt(solver, p_mw, q_mvar), cycle(range(BATCH))

    def call() -> None:
        k = next(row)
        model.update(update_data={ComponentType.sym_gen: {"p_specified": p_w[k], "q_specified": q_var[k]}})
        model.calculate_power_flow(output_component_types={ComponentType.node: ["u_pu", "u_angle"]})

    return call


def own_batch(solver: PgmEngine, p_mw: np.ndarray, q_mvar: np.ndarray) -> Way:
    model = PowerGridModel(input_data=solver._input)
    p_w, q_var = in_watt(solver, p_mw, q_mvar)

    def call() -> None:
        model.calculate_power_flow(
            calculation_method=CalculationMethod.iterative_current,
            update_data={ComponentType.sym_gen: {"p_specified": p_w, "q_specified": q_var}},
            error_tolerance=1e-11,
            max_iterations=50,
            output_component_types={ComponentType.node: ["u_pu", "u_angle"]},
        )

    return call


def in_watt(solver: PgmEngine, p_mw: np.ndarray, q_mvar: np.ndarray) -> list[np.ndarray]:
    return [np.ascontiguousarray(1e6 * solver._injections.to_nodes_batch(power)) for power in (p_mw, q_mvar)]


def own_three_phase(network: ThreePhaseNetwork, p_mw: np.ndarray, q_mvar: np.ndarray) -> Way:
    model, row = PowerGridModel(input_data=_input_data(network)), cycle(range(len(p_mw)))
    p_w, q_var = (phases_in_watt(network, power) for power in (p_mw, q_mvar))

    def call() -> None:
        k = next(row)
        model.update(update_data={ComponentType.asym_gen: {"p_specified": p_w[k], "q_specified": q_var[k]}})
        model.calculate_power_flow(symmetric=False, output_component_types={ComponentType.node: ["u_pu", "u_angle"]})

    return call


def own_batch_three_phase(network: ThreePhaseNetwork, p_mw: np.ndarray, q_mvar: np.ndarray) -> Way:
    model = PowerGridModel(input_data=_input_data(network))
    p_w, q_var = (phases_in_watt(network, power) for power in (p_mw, q_mvar))

    def call() -> None:
        model.calculate_power_flow(
            symmetric=False,
            update_data={ComponentType.asym_gen: {"p_specified": p_w, "q_specified": q_var}},
            output_component_types={ComponentType.node: ["u_pu", "u_angle"]},
        )

    return call


def phases_in_watt(network: ThreePhaseNetwork, power: np.ndarray) -> np.ndarray:
    node = network.grid.admittances.bus_node
    total = np.zeros((len(power), network.grid.admittances.n_node, 3))
    np.add.at(total, (slice(None), node[node >= 0]), 1e6 * power[:, node >= 0])
    return total


def day_of(net: Any, folder: Path) -> float:
    """CPU us per power flow in a day of trading, on a copy of a network with a PV plant at every third load."""
    net = copy.deepcopy(net)
    net.load["name"] = [f"load {k}" for k in range(len(net.load))]
    roofs = net.load[::3]
    pandapower.create_sgens(net, roofs.bus, roofs.p_mw, name=[f"roof {k}" for k in range(len(roofs))], type="PV")
    rng, sun = np.random.default_rng(2), np.maximum(0.0, np.sin(np.linspace(-np.pi / 2, 1.5 * np.pi, 96)))
    profiles: dict[str, Any] = {"time": pd.date_range("2030-06-01", periods=96, freq="15min")}
    for name, p_mw in zip(net.load.name, net.load.p_mw, strict=True):
        profiles[f"load.{name}.p_mw"] = p_mw * rng.uniform(0.2, 1.0, 96)
    for name, p_mw in zip(net.sgen.name, net.sgen.p_mw, strict=True):
        profiles[f"sgen.{name}.p_mw"] = p_mw * sun
    case = case_from_net(net, pd.DataFrame(profiles), "day")
    scenario = Scenario().replace({"time.start": "2030-06-01", "time.periods": 96, "grid.engine": "timed"})
    Timed.spent = Timed.solved = 0
    with Simulation(scenario, folder, case=case) as simulation:
        simulation.run()
    return Timed.spent / Timed.solved / 1e3


@engine("timed")
class Timed(PgmEngine):
    """The default engine with a stop watch."""

    name = "timed"
    spent = solved = 0

    def solve(self, p_mw: np.ndarray, q_mvar: np.ndarray) -> GridState:
        """Solve, and count the nanoseconds of CPU."""
        begin = process_time_ns()
        state = super().solve(p_mw, q_mvar)
        Timed.spent += process_time_ns() - begin
        Timed.solved += 1
        return state


if __name__ == "__main__":
    main()
