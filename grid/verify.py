"""Recomputes a power flow with plain pandapower, from what a run leaves behind.

    bus = pandas.read_parquet("results/bus.parquet").query("period == 0 and stage == 'p2p'")
    net = recompute(Path("results/network.json"), bus.p_mw, bus.q_mvar, bus.bus)
    net.res_line.loading_percent

Nothing here uses peerwatt's own model of the network, so that the two can be compared.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from peerwatt.errors import Fault, GridDataError, PowerFlowError

if TYPE_CHECKING:
    from pandapower import pandapowerNet

__all__ = ["prepare", "recompute", "set_injections"]


def recompute(
    network_json: str | Path, p_mw: npt.ArrayLike, q_mvar: npt.ArrayLike, bus: npt.ArrayLike | None = None
) -> pandapowerNet:
    """Solve a network for net injections with `pandapower.runpp(trafo_model="pi")`.

    Loads, static generators and storages of the network are set out of service; one static generator per bus
    stands for them.

    Args:
        network_json: `network.json` of a results directory, or its text.
        p_mw: (n,) net injection, positive into the grid.
        q_mvar: (n,) net reactive injection.
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
            pandapower.runpp(net, trafo_model="pi", lightsim2grid=False)
        except pandapower.LoadflowNotConverged as error:
            raise PowerFlowError(f"pandapower: {error}") from error
    return net


def prepare(net: pandapowerNet) -> None:
    """Replace all units of a network, in place, by one static generator per bus, at 0."""
    import pandapower

    for table in ("load", "sgen", "storage"):
        net[table]["in_service"] = False
        net[table][["p_mw", "q_mvar"]] = 0.0  # pandapower trips over nan even out of service
    net["_injection"] = np.asarray(pandapower.create_sgens(net, net.bus.index, p_mw=0.0, q_mvar=0.0))


def set_injections(
    net: pandapowerNet, p_mw: npt.ArrayLike, q_mvar: npt.ArrayLike, bus: npt.ArrayLike | None = None
) -> None:
    """Set the injections of a prepared network.

    Args:
        net: network that `prepare` has changed.
        p_mw: (n,) net injection, positive into the grid.
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
    for name, value in (("p_mw", p), ("q_mvar", q)):
        column = np.zeros(len(sgen))
        column[position] = value
        net.sgen.loc[sgen, name] = column
