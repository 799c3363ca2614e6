"""Writes docs/engines.md: what each engine represents, and how far it is from pandapower on every shipped case."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandapower

from peerwatt.errors import GridDataError
from peerwatt.grid import GridCase, load_case, make_engine
from peerwatt.grid.batch import Difference, GridStates, difference
from peerwatt.grid.convert import quiet
from peerwatt.grid.netfile import parse_net
from peerwatt.grid.network import Network
from peerwatt.grid.threephase import load_three_phase, make_three_phase_engine
from peerwatt.grid.verify import prepare, set_injections

TARGET = Path(__file__).with_name("engines.md")
VILLAGE = "simbench:1-LV-semiurb4--2-sw"
CASES = ("case33bw", "case69", "case118zh", "rbts2-37", "cigre-mv", "cigre-mv-der", "cigre-lv", "ieee-eu-lv", VILLAGE)
THREE_PHASE = "ieee-european-lv"
N_POINTS = 20
LIMITS = {"vm_pu": 1e-7, "va_degree": 1e-4, "loading_percent": 1e-4, "losses_mw": 1e-6}
"""What an exact engine must keep."""

TEXT = """# Engines

<!-- Written by docs/generate_engines.py; do not edit. -->

An engine turns net injections at the buses into the state of the grid. A scenario names it under `grid.engine`. Each
solves step by step (`solve`) and many rows at once (`solve_batch`).

| engine | what it is | represents exactly | refuses, with the element's name |
|---|---|---|---|
| `power-grid-model` | AC power flow in C++; the default. Steps by Newton-Raphson, batches by iterative current, \
rows that this does not solve by Newton-Raphson again | all that a network of peerwatt can hold: taps, parallel \
systems, derating, magnetising currents, switches, several external grids, shunts, meshes, loads whose power depends \
on the voltage (ZIP) | generators that hold a voltage; impedances that differ by direction |
| `pandapower` | `runpp(trafo_model="pi")`; the slow reference, independent of peerwatt's own model | the same, and \
generators that hold a voltage (without limits of reactive power) | |
| `auto` | `power-grid-model` where that is exact, else `pandapower`, with a warning that names the element \
| as that engine | |
| `lindistflow` | linear, radial grids: squared voltages, flows without losses | nothing; see below | branches that \
close a loop; generators that hold a voltage; ZIP loads |
| `dc` | linear, active power only, that of generators which hold a voltage too | nothing; see below | branches \
without reactance; ZIP loads |

An injection is the power at 1 pu. Where a load depends on the voltage, `injected` of a state is what flows at the
voltage that it has. Where a generator holds the voltage, `q_mvar` of a state has its reactive power besides what was
given. The Jacobian and sensitivities hold generators and refuse ZIP loads; three phases refuse both.

No network, and so no engine, holds yet: three-winding transformers, wards, DC lines, motors and power electronics.
They are refused by name when a network is read.

## What a linear state means

| field | `lindistflow` | `dc` |
|---|---|---|
| `vm_pu` | root of the linear squared voltage | 1 |
| `va_degree` | linear | linear |
| `line.p_from_mw` | sum of the power below, without losses | without losses |
| `line.q_from_mvar` | the same; charging and magnetising currents are those at 1 pu | nan: not known |
| `line.pl_mw` | estimated afterwards from the flows, at 1 pu | 0 |
| `losses_mw` | estimated, with shunts at 1 pu | shunts at 1 pu |
| `line.i_ka`, `line.loading_percent` | of the apparent power at 1 pu | of the active power at 1 pu |
| `slack_p_mw` | what the injections lack, estimated losses included | what the injections and shunts lack |
| `slack_q_mvar` | likewise | nan: not known |
| `converged` | False when a squared voltage is not above 0 | always True: whether AC has a solution is not known |

## Distance from pandapower

The largest difference to `runpp(trafo_model="pi")` over {n} random points of each shipped case: every unit at a random
share, 0 to 1.2, of its power. Rows `"t"` compare pandapower's own default model of transformers with `"pi"`; the last
row is three-phase, against `runpp_3ph` with a base power of 0.01 MVA. pandapower solves to 1e-10 MVA here, as the
engine `pandapower` does: at its default of 1e-8 MVA it stops up to 1e-7 pu away from the solution. Bounds of exact
engines are rounded up to a power of ten.

| case | buses | engine | voltage, pu | angle, degree | loading, percent | losses, MW |
|---|---|---|---|---|---|---|
{table}

For a grid and injections of one's own, `peerwatt.grid.batch.difference` compares any two engines:

```python
import numpy as np

from peerwatt.grid import load_case, make_engine
from peerwatt.grid.batch import difference

network = load_case("case33bw").network
p_mw = -np.random.default_rng(0).uniform(0.0, 0.1, (20, network.n_bus))
linear = make_engine("lindistflow", network).solve_batch(p_mw, p_mw / 3)
exact = make_engine("power-grid-model", network).solve_batch(p_mw, p_mw / 3)
assert difference(linear, exact).vm_pu < 0.01
```
"""


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table."""

    case: str
    n_bus: int
    engine: str
    apart: Difference | None

    def __str__(self) -> str:
        head = f"| `{self.case}` | {self.n_bus} | {self.engine} |"
        if self.apart is None:
            return f"{head} refused: meshed | | | |"
        names = ("vm_pu", "va_degree", "loading_percent", "losses_mw")
        show = power_of_ten if self.engine.startswith("`power-grid-model`") else two_digits
        return f"{head} {' | '.join(show(getattr(self.apart, name)) for name in names)} |"


def rows_of(name: str) -> list[Row]:
    """Compare every engine on one case."""
    case = load_case(name)
    network = case.network
    p_mw, q_mvar = points(case)
    truth = make_engine("pandapower", network).solve_batch(p_mw, q_mvar)
    rows = []
    for engine in ("power-grid-model", "lindistflow", "dc"):
        try:
            apart = difference(make_engine(engine, network).solve_batch(p_mw, q_mvar), truth)
        except GridDataError:
            apart = None
        if engine == "power-grid-model":
            assert_exact(apart, name)
        rows.append(Row(name, network.n_bus, f"`{engine}`", apart))
    if network.n_trafo:
        apart = difference(default_model(network, truth), truth)
        rows.append(Row(name, network.n_bus, '`runpp(trafo_model="t")`', apart))
    return rows


def three_phase_row(name: str) -> Row:
    """Compare the three-phase engines: every phase of a load at a random share."""
    network = load_three_phase(name)
    share = np.random.default_rng(0).uniform(0.0, 1.2, (N_POINTS, network.n_bus, 3))
    made = [make_three_phase_engine(engine, network) for engine in ("power-grid-model", "pandapower")]
    exact, truth = (engine.solve_batch(share * network.p_mw, share * network.q_mvar) for engine in made)
    apart = difference(exact, truth)
    assert_exact(apart, name)
    return Row(name, network.n_bus, "`power-grid-model`, three phases", apart)


def assert_exact(apart: Difference | None, name: str) -> None:
    """An exact engine solves what pandapower solves, and keeps the limits."""
    close = apart is not None and all(getattr(apart, field) < limit for field, limit in LIMITS.items())
    if apart is None or apart.n_disagree or not close:
        raise AssertionError(f"power-grid-model is too far from pandapower on {name}: {apart}")


def points(case: GridCase) -> tuple[np.ndarray, np.ndarray]:
    """Random net injections, (N_POINTS, n_bus) each."""
    units, n_bus = case.units, case.network.n_bus
    share = np.random.default_rng(0).uniform(0.0, 1.2, (N_POINTS, len(units)))
    p_mw, q_mvar = np.zeros((N_POINTS, n_bus)), np.zeros((N_POINTS, n_bus))
    np.add.at(p_mw.T, units.bus, (share * units.p_scale_mw).T)
    np.add.at(q_mvar.T, units.bus, (share * units.q_scale_mvar).T)
    return p_mw, q_mvar


def default_model(network: Network, truth: GridStates) -> GridStates:
    """The same points with pandapower's default model of transformers."""
    from peerwatt.grid.pandapower_engine import read_results

    net = parse_net(network.pandapower_json, network.name)
    states = []
    with quiet():
        prepare(net)
        for state in truth:
            set_injections(net, state.p_mw, state.q_mvar, network.buses.index)
            pandapower.runpp(net, lightsim2grid=False, tolerance_mva=1e-10)
            states.append(read_results(net, network, state.p_mw, state.q_mvar))
    return GridStates.stack(states)


def power_of_ten(value: float) -> str:
    """An upper bound that does not change with the machine."""
    return "< 1e-12" if value < 1e-13 else f"< 1e{math.floor(math.log10(value)) + 1}"


def two_digits(value: float) -> str:
    """A rounded number; what is only rounding errors is 0."""
    return "0" if value < 1e-12 else f"{value:.1e}"


def page() -> str:
    """The whole page."""
    rows = [*(row for name in CASES for row in rows_of(name)), three_phase_row(THREE_PHASE)]
    return TEXT.format(n=N_POINTS, table="\n".join(map(str, rows)))


if __name__ == "__main__":
    TARGET.write_text(page(), encoding="utf-8")
