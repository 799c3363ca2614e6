"""Recomputes a power flow with plain pandapower, from what a run leaves behind.

    bus = pandas.read_parquet("results/bus.parquet").query("period == 0 and stage == 'p2p'")
    net = recompute(Path("results/network.json"), bus.p_mw, bus.q_mvar, bus.bus)
    net.res_line.loading_percent

Nothing here uses peerwatt's own model of the network, so that the two can be compared.

Generators that hold a voltage stay, without active power; where a load depends on the voltage, a load with the same
shares stands for the injection, so that this is the power at 1 pu.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from peerwatt.errors import Fault, GridDataError, PowerFlowError

if TYPE_CHECKING:
    from pandapower import pandapowerNet

__all__ = ["prepare", "recompute", "set_injections", "solve_closely"]

_TOLERANCE_MVA = 1e-10
_ZIP_ITERATIONS = 100  # pandapower's Jacobian leaves the dependence out, so that Newton-Raphson converges linearly


def recompute(
    network_json: str | Path, p_mw: npt.ArrayLike, q_mvar: npt.ArrayLike, bus: npt.ArrayLike | None = None
) -> pandapowerNet:
    """Solve a network for net injections with `pandapower.runpp(trafo_model="pi")`.

    Loads, static generators and storages of the network are set out of service; one static generator per bus
    stands for them.

    Args:
        network_json: `network.json` of a results directory, or its text.
        p_mw: (n,) net injection, positive into the grid; at 1 pu where it depends on the voltage.
        q_mvar: (n,) net reactive injection; where a generator holds the voltage any value gives the same grid.
        bus: (n,) pandapower index of their buses; by default all buses in the order of the network.

    Returns:
        The network with pandapower's result tables.

    Raises:
        GridDataError: the buses are not the network's.
        PowerFlowError: pandapower finds no solution.
    """
    import pandapower

    from peerwatt.grid.convert import quiet
    from peerwatt.grid.netfile import parse_net, read_net

    net = read_net(network_json) if isinstance(network_json, Path) else parse_net(network_json, "network_json")
    with quiet():
        prepare(net)
        set_injections(net, p_mw, q_mvar, bus)
        try:
            solve_closely(net)
        except pandapower.LoadflowNotConverged as error:
            raise PowerFlowError(f"pandapower: {error}") from error
    return net


def prepare(net: pandapowerNet) -> None:
    """Replace all units of a network, in place, by one static generator per bus, at 0.

    A bus with a load that depends on the voltage gets a load of its kind besides, which has the injection then.
    """
    import pandapower

    from peerwatt.grid.columns import flag
    from peerwatt.grid.voltage_control import ZIP_COLUMNS, voltage_shares

    shares = voltage_shares(net)
    dependent = np.flatnonzero(shares.any(axis=1))
    buses, first = np.unique(net.load.bus.to_numpy()[dependent], return_index=True)
    percent = 100.0 * shares[dependent[first]]
    for table in ("load", "sgen", "storage"):
        net[table]["in_service"] = False
        net[table][["p_mw", "q_mvar"]] = 0.0  # pandapower trips over nan even out of service
    net.load[list(ZIP_COLUMNS)] = 0.0
    net.gen.loc[~flag(net.gen, "slack"), "p_mw"] = 0.0
    net["_injection"] = np.asarray(pandapower.create_sgens(net, net.bus.index, p_mw=0.0, q_mvar=0.0))
    net["_dependent"] = np.empty(0, dtype=np.int64)
    if len(buses):
        columns = dict(zip(ZIP_COLUMNS, percent.T, strict=True))
        net["_dependent"] = np.asarray(pandapower.create_loads(net, buses, p_mw=0.0, q_mvar=0.0, **columns))


def set_injections(
    net: pandapowerNet, p_mw: npt.ArrayLike, q_mvar: npt.ArrayLike, bus: npt.ArrayLike | None = None
) -> None:
    """Set the injections of a prepared network.

    Args:
        net: network that `prepare` has changed.
        p_mw: (n,) net injection, positive into the grid; at 1 pu where it depends on the voltage.
        q_mvar: (n,) net reactive injection.
        bus: (n,) pandapower index of their buses; by default all buses in the order of the network.

    Raises:
        GridDataError: the buses are not the network's.
    """
    sgen = net["_injection"]
    p, q = np.asarray(p_mw, dtype=np.float64), np.asarray(q_mvar, dtype=np.float64)
    buses = net.bus.index.to_numpy() if bus is None else np.asarray(bus)
    position = net.bus.index.get_indexer(buses)
    if p.shape != buses.shape or q.shape != buses.shape or (position < 0).any() or len(set(buses)) != len(buses):
        raise GridDataError(
            Fault(
                "injections",
                f"{p.size} active and {q.size} reactive injections for {len(buses)} buses",
                f"give one of each for each of the network's {len(net.bus)} buses, at most once",
            )
        )
    load = net["_dependent"]
    at_load = net.bus.index.get_indexer(net.load.bus[load])
    for name, value in (("p_mw", p), ("q_mvar", q)):
        column = np.zeros(len(sgen))
        column[position] = value
        if len(load):
            net.load.loc[load, name] = -column[at_load]
            column[at_load] = 0.0
        net.sgen.loc[sgen, name] = column


def solve_closely(net: pandapowerNet) -> None:
    """Solve a network in place with `pandapower.runpp(trafo_model="pi")`, to a mismatch of 1e-10 MVA at a bus.

    pandapower's own 1e-8 MVA is worth 1e-7 pu at the end of a long feeder. Where branches of very low impedance
    leave rounding errors above 1e-10 MVA, it is taken all the same.

    Args:
        net: network.

    Raises:
        LoadflowNotConverged: pandapower's; there is no solution to either.
    """
    import pandapower

    more = {"max_iteration": _ZIP_ITERATIONS} if len(net.get("_dependent", ())) else {}
    try:
        pandapower.runpp(net, trafo_model="pi", lightsim2grid=False, tolerance_mva=_TOLERANCE_MVA, **more)
    except pandapower.LoadflowNotConverged:
        pandapower.runpp(net, trafo_model="pi", lightsim2grid=False, **more)
