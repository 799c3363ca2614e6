"""Buses of the grid map: by voltage, with the sign of who is there and how much they feed in or draw."""

from __future__ import annotations

import numpy as np

from peerwatt.agents.population import KINDS
from peerwatt.experiments.view.canvas import Canvas, Floats, pickable
from peerwatt.experiments.view.drawing import element, kilowatts, nice, number, voltage_class
from peerwatt.experiments.view.history import unsupplied
from peerwatt.grid.threephase_state import vuf_percent
from peerwatt.sim.tables import Stage

__all__ = ["NO_SUPPLY", "buses"]

_POWER = {Stage.FORECAST: "p_forecast_mw", Stage.P2P: "p_p2p_mw"}

MOST_PEERS = 6
"""How many peers of a bus are listed at most."""


NO_SUPPLY = "M-11 -11L11 11M11 -11L-11 11"
"""What is drawn over a bus whose peers have no supply."""


def _power(canvas: Canvas) -> Floats:
    """Net power of each peer at the chosen stage, (n_peers,), zero before the first period."""
    result, simulation = canvas.session.result, canvas.session.simulation
    if result is None or simulation is None:
        return np.zeros(0 if simulation is None else len(simulation.peers))
    stage = Stage(canvas.session.look.stage)
    power: Floats = getattr(result, _POWER.get(stage, "p_delivered_mw"))
    return np.nan_to_num(power) * (1.0 if canvas.on_phase is None else canvas.on_phase[:, canvas.phase])


def buses(canvas: Canvas) -> list[str]:
    """All buses."""
    simulation, network = canvas.session.simulation, canvas.network
    if simulation is None:
        return []
    population = simulation.context.population
    power, kinds = _power(canvas), population.kind()
    vm = np.full(network.n_bus, np.nan) if canvas.state is None else canvas.state.vm_pu
    colours = [f"var(--v{each})" if each >= 0 else "var(--surface)" for each in voltage_class(vm).tolist()]
    dead = {int(population.bus[row]) for row in unsupplied(population, canvas.state)}
    slack = set(network.slack_bus.tolist())
    by_bus: list[list[int]] = [[] for _ in range(network.n_bus)]
    for row, bus in enumerate(population.bus.tolist()):
        by_bus[bus].append(row)
    parts = []
    for bus, peers in enumerate(by_bus):
        x, y = (float(value) for value in canvas.xy[bus])
        own = [row for row in peers if not population.virtual[row]]
        found = {KINDS[int(each)] for each in kinds[own]}
        kind = "mixed" if len(found) > 1 else next(iter(found), "slack" if bus in slack else "joint")
        drawn = [_halo(canvas, x, y, float(power[peers].sum())), _symbol(kind, x, y, colours[bus])]
        if bus in dead:
            drawn.append(element("path", d=NO_SUPPLY, class_="dead", transform=_at(x, y)))
        if canvas.pinned("bus", bus):
            drawn.append(element("circle", cx=x, cy=y, r=15.0, class_="pin"))
        parts.append(pickable(f"bus:{bus}", _words(canvas, bus, peers, power, float(vm[bus])), drawn, "bus"))
    return parts


def _halo(canvas: Canvas, x: float, y: float, p_mw: float) -> str:
    """Net power at a bus as a disc or a ring whose area grows with it."""
    if not p_mw:
        return ""
    share = min(abs(p_mw) / nice(canvas.session.history.largest_bus_mw), 1.0)
    radius, kind = float(9.0 + 17.0 * canvas.crowding * np.sqrt(share)), "feeds" if p_mw > 0.0 else "draws"
    return element("circle", cx=x, cy=y, r=radius, class_=f"halo {kind}")


def _symbol(kind: str, x: float, y: float, fill: str) -> str:
    """The sign of a bus by who is there: consumer a circle, producer a triangle, prosumer a house, slack a square.

    Peers of several kinds are a hexagon.
    """
    at = _at(x, y)
    paths = {
        "mixed": "M-8 0L-4 -7H4L8 0L4 7H-4Z",
        "producer": "M0 -8.5L8 6H-8Z",
        "prosumer": "M0 -9L8 -2V7H-8V-2Z",
        "slack": "M-9 -9H9V9H-9ZM-9 9L9 -9M-9 0L0 -9M0 9L9 0",
    }
    if kind in paths:
        return element("path", d=paths[kind], class_=f"node {kind}", fill=fill, transform=at)
    return element("circle", r=6.0 if kind == "consumer" else 3.0, class_=f"node {kind}", fill=fill, transform=at)


def _at(x: float, y: float) -> str:
    return f"translate({number(x)} {number(y)})"


def _on(canvas: Canvas, row: int) -> str:
    """Which phases a peer is on, where a phase is shown."""
    if canvas.on_phase is None:
        return ""
    own = [name for name, share in zip("ABC", canvas.on_phase[row], strict=True) if share > 0.0]
    return f" on this phase; is on {', '.join(own)}"


def _words(canvas: Canvas, bus: int, peers: list[int], power: Floats, vm_pu: float) -> list[str]:
    buses, simulation = canvas.network.buses, canvas.session.simulation
    low, high = buses.min_vm_pu[bus], buses.max_vm_pu[bus]
    known = canvas.state is not None and canvas.state.converged
    voltage = "no supply: no way to an external grid" if known else "voltage not known"
    if np.isfinite(vm_pu):
        voltage = f"voltage {vm_pu:.4f} pu ({low:g} to {high:g})"
    lines = [f"{buses.name[bus]}, {buses.vn_kv[bus]:g} kV", voltage]
    if canvas.phases is not None:
        three = " / ".join(f"{each:.4f}" for each in canvas.phases.vm_pu[bus])
        unbalance = vuf_percent(canvas.phases.vm_pu[bus], canvas.phases.va_degree[bus])
        lines.append(f"phases A / B / C: {three} pu, VUF {unbalance:.2f} %")
    if simulation is not None:
        population = simulation.context.population
        kinds = population.kind()
        for row in peers[:MOST_PEERS]:
            strategy = population.strategy[population.strategy_code[row]].replace("_", " ")
            word = "feeds in" if power[row] > 0.0 else "draws"
            lines.append(f"{KINDS[kinds[row]]}, {strategy}: {word} {kilowatts(abs(power[row]))}{_on(canvas, row)}")
        if len(peers) > MOST_PEERS:
            lines.append(f"and {len(peers) - MOST_PEERS} more")
    return lines
