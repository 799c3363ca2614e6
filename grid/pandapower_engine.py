"""The reference engine: plain pandapower, slow and independent of peerwatt's own model."""

from __future__ import annotations

from typing import Any

import numpy as np

from peerwatt.grid.admittance import Floats
from peerwatt.grid.batch import GridStates
from peerwatt.grid.columns import flag
from peerwatt.grid.convert import quiet
from peerwatt.grid.injection import NodeInjections
from peerwatt.grid.netfile import parse_net
from peerwatt.grid.network import Network
from peerwatt.grid.state import BranchState, GridState
from peerwatt.grid.verify import prepare, set_injections, solve_closely

__all__ = ["PandapowerEngine", "read_results"]


class PandapowerEngine:
    """Solves a network with `pandapower.runpp(trafo_model="pi")`.

    Args:
        network: the network.
    """

    name = "pandapower"

    def __init__(self, network: Network) -> None:
        self._network = network
        self._injections = NodeInjections(network)
        self._net = parse_net(network.pandapower_json, network.name)
        prepare(self._net)

    def solve(self, p_mw: Floats, q_mvar: Floats) -> GridState:
        """Solve the grid for net injections, see `Engine.solve`."""
        import pandapower

        p_mw, q_mvar = self._injections.check(p_mw, q_mvar)
        net, network = self._net, self._network
        with quiet():
            set_injections(net, p_mw, q_mvar, network.buses.index)
            try:
                solve_closely(net)
            except pandapower.LoadflowNotConverged as error:
                return GridState.failed(network, p_mw, q_mvar, f"pandapower: {error}")
        return read_results(net, network, p_mw, q_mvar)

    def solve_batch(self, p_mw: Floats, q_mvar: Floats) -> GridStates:
        """Solve many rows of net injections one by one, see `Engine.solve_batch`."""
        p_mw, q_mvar = self._injections.check_batch(p_mw, q_mvar)
        if not len(p_mw):
            return GridStates.empty(self._network, p_mw, q_mvar)
        return GridStates.stack([self.solve(p, q) for p, q in zip(p_mw, q_mvar, strict=True)])


def read_results(net: Any, network: Network, p_mw: Floats, q_mvar: Floats) -> GridState:
    """The state in the result tables of a solved network.

    Args:
        net: pandapower network.
        network: the same as peerwatt's.
        p_mw: (n_bus,) net injection that was given.
        q_mvar: (n_bus,) net reactive injection that was given.
    """
    bus = net.res_bus.loc[network.buses.index]
    line = _branch(net.res_line.loc[network.lines.index], "from", "to")
    trafo = _branch(net.res_trafo.loc[network.trafos.index], "hv", "lv")
    vm_pu = bus.vm_pu.to_numpy(np.float64, copy=True)
    slack_p, slack_q = _slack(net)
    if network.voltage_dependence is not None:  # what is at their own buses pandapower's grids supply as at 1 pu
        at = np.isin(network.admittances.bus_node, network.admittances.slack_node)
        actual_p, actual_q = network.injected(p_mw, q_mvar, vm_pu)
        slack_p += float((p_mw - actual_p)[at].sum())
        slack_q += float((q_mvar - actual_q)[at].sum())
    other = sum(float(_sum(net, table, "pl_mw")) for table in ("res_impedance", "res_switch"))
    losses = line.pl_mw.sum() + trafo.pl_mw.sum() + other + _sum(net, "res_shunt", "p_mw")
    return GridState(
        True,  # noqa: FBT003 - converged
        "",
        vm_pu,
        bus.va_degree.to_numpy(np.float64, copy=True),
        p_mw,
        _with_generators(net, network, q_mvar),
        line,
        trafo,
        slack_p,
        slack_q,
        float(losses),
    )


def _branch(result: Any, start: str, end: str) -> BranchState:
    """Flows of lines or transformers; out of service pandapower has nan where here it is 0."""

    def values(name: str) -> Floats:
        numbers: Floats = result[name].to_numpy(np.float64)
        return np.nan_to_num(numbers)

    return BranchState(
        values(f"p_{start}_mw"),
        values(f"q_{start}_mvar"),
        np.maximum(values(f"i_{start}_ka"), values(f"i_{end}_ka")),
        values("loading_percent"),
        values("pl_mw"),
    )


def _with_generators(net: Any, network: Network, q_mvar: Floats) -> Floats:
    """Reactive injections with what the generators that hold a voltage add, (n_bus,)."""
    generators = network.generators
    if not len(generators):
        return q_mvar
    total = q_mvar.copy()
    np.add.at(total, generators.bus, net.res_gen.q_mvar.loc[generators.index].to_numpy(np.float64))
    total.setflags(write=False)
    return total


def _slack(net: Any) -> tuple[float, float]:
    """Power of external grids and of generators that act as one."""
    gen = net.res_gen[flag(net.gen, "slack")]
    p, q = _sum(net, "res_ext_grid", "p_mw"), _sum(net, "res_ext_grid", "q_mvar")
    return p + float(np.nansum(gen.p_mw)), q + float(np.nansum(gen.q_mvar))


def _sum(net: Any, table: str, name: str) -> float:
    if table not in net or name not in net[table].columns:
        return 0.0
    return float(np.nansum(net[table][name].to_numpy(np.float64)))
