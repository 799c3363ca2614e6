"""CPU microseconds per power flow: pandapower as a user writes it, and the engines of peerwatt.

Everything runs in turns in one process, several rounds, and the best round counts, so that the ratios hold on a
busy machine too. Each solve has other injections; step by step includes the `GridState`, a batch the `GridStates`.
"""

from __future__ import annotations

import importlib.util
import warnings
from collections.abc import Callable
from itertools import cycle
from time import process_time

import numpy as np
import pandapower
import pandapower.networks
from power_grid_model import CalculationMethod, ComponentType, PowerGridModel
from rich.console import Console
from rich.table import Table

from peerwatt.errors import PeerwattError
from peerwatt.grid import Network, load_case
from peerwatt.grid.convert import convert_net
from peerwatt.grid.netfile import parse_net
from peerwatt.grid.pgm_engine import PgmEngine

ROUNDS, BATCH = 5, 1000
CONSOLE = Console(width=150)
COLUMNS = (
    "buses",
    "runpp",
    "recycle",
    "lightsim2grid",
    "pgm step",
    "step",
    "pgm batch",
    "batch",
    "runpp/step",
    "runpp/batch",
    "layer step",
    "layer batch",
)


def main() -> None:
    warnings.simplefilter("ignore")
    table = Table(title=f"CPU us per power flow, best of {ROUNDS} rounds; batch of {BATCH}", title_justify="left")
    for column in COLUMNS:
        table.add_column(column, justify="right")
    for name, make in GRIDS.items():
        try:
            net = make()
        except (PeerwattError, ImportError) as error:
            CONSOLE.print(f"{name} left out: {error}")
            continue
        table.add_row(*measure(net, name))
    CONSOLE.print(table)
    CONSOLE.print(
        "pgm: power-grid-model's own public call, node voltages only: update and Newton-Raphson, or a batch with\n"
        "iterative current. layer: what peerwatt's own call, with flows, loadings and losses, takes beside it."
    )
    if importlib.util.find_spec("lightsim2grid") is None:
        CONSOLE.print("lightsim2grid is not installed, so it is left out.")


def library(name: str) -> Callable[[], object]:
    return lambda: parse_net(load_case(name).network.pandapower_json, name)


def synthetic(n_bus: int = 1200, n_feeder: int = 12) -> object:
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


GRIDS: dict[str, Callable[[], object]] = {
    "33": library("case33bw"),
    "69": library("case69"),
    "179": pandapower.networks.mv_oberrhein,
    "1,200": synthetic,
}


def measure(net: object, name: str) -> list[str]:
    network = convert_net(net, name)  # type: ignore[arg-type]
    factor, p_mw, q_mvar = injections(net, network)
    engine = PgmEngine(network)
    row = cycle(range(BATCH))

    def step() -> None:
        k = next(row)
        assert engine.solve(p_mw[k], q_mvar[k]).converged

    ways = {
        "runpp": (plain(net, factor), 10),
        "recycle": (plain(net, factor, recycle={"bus_pq": True, "trafo": False, "gen": False}), 10),
        "pgm step": (own_step(engine, p_mw, q_mvar), 200),
        "step": (step, 200),
        "pgm batch": (own_batch(engine, p_mw, q_mvar), 1),
        "batch": (lambda: engine.solve_batch(p_mw, q_mvar), 1),
    }
    if importlib.util.find_spec("lightsim2grid") is not None:
        ways["lightsim2grid"] = (plain(net, factor, lightsim2grid=True), 10)
    us = dict.fromkeys(ways, np.inf)
    for turn in range(ROUNDS + 1):
        for way, (call, repeat) in ways.items():
            begin = process_time()
            for _ in range(repeat):
                call()
            if turn:  # the first warms up
                spent = (process_time() - begin) * 1e6 / repeat / (BATCH if "batch" in way else 1)
                us[way] = min(us[way], spent)
    shown = [f"{us[way]:,.0f}" if way in us else "-" for way in COLUMNS[1:8]]
    ratios = [f"{us['runpp'] / us['step']:.0f}x", f"{us['runpp'] / us['batch']:.0f}x"]
    layers = [f"{us[way] / us[f'pgm {way}'] - 1:+.0%}" for way in ("step", "batch")]
    return [str(network.n_bus), *shown, *ratios, *layers]


def injections(net, network: Network):  # type: ignore[no-untyped-def]
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
    return factor, *power


def plain(net, factor, **options):  # type: ignore[no-untyped-def]
    """What a user of pandapower writes."""
    base_p, base_q, row = net.load.p_mw.copy(), net.load.q_mvar.copy(), cycle(range(BATCH))
    options = {"lightsim2grid": False, **options}

    def call() -> None:
        k = next(row)
        net.load["p_mw"], net.load["q_mvar"] = base_p * factor[k], base_q * factor[k]
        pandapower.runpp(net, **options)

    return call


def own_step(engine: PgmEngine, p_mw, q_mvar):  # type: ignore[no-untyped-def]
    model = PowerGridModel(input_data=engine._input)
    p_w, q_var, row = *in_watt(engine, p_mw, q_mvar), cycle(range(BATCH))

    def call() -> None:
        k = next(row)
        model.update(update_data={ComponentType.sym_gen: {"p_specified": p_w[k], "q_specified": q_var[k]}})
        model.calculate_power_flow(output_component_types={ComponentType.node: ["u_pu", "u_angle"]})

    return call


def own_batch(engine: PgmEngine, p_mw, q_mvar):  # type: ignore[no-untyped-def]
    model = PowerGridModel(input_data=engine._input)
    p_w, q_var = in_watt(engine, p_mw, q_mvar)

    def call() -> None:
        model.calculate_power_flow(
            calculation_method=CalculationMethod.iterative_current,
            update_data={ComponentType.sym_gen: {"p_specified": p_w, "q_specified": q_var}},
            error_tolerance=1e-11,
            max_iterations=50,
            output_component_types={ComponentType.node: ["u_pu", "u_angle"]},
        )

    return call


def in_watt(engine: PgmEngine, p_mw, q_mvar):  # type: ignore[no-untyped-def]
    return tuple(np.ascontiguousarray(1e6 * engine._injections.to_nodes_batch(power)) for power in (p_mw, q_mvar))


if __name__ == "__main__":
    main()
