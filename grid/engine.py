"""The seam to power flow engines: give injections, get a state.

An engine of one's own is a class with a `name` and a `solve`, registered under a name that scenario files
can use. Derived from `Engine` it solves batches too, row by row:

    @peerwatt.engine("mine")
    class MyEngine(Engine):
        name = "mine"

        def __init__(self, network: Network) -> None: ...

        def solve(self, p_mw, q_mvar) -> GridState: ...

Shipped are

    power-grid-model    AC power flow, exact and fast; the default
    pandapower          AC power flow, the slow reference
    auto                the first of these that represents the network exactly
    lindistflow         linear, radial grids: voltages and flows without losses
    dc                  linear: active power only
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Protocol

import numpy as np

from peerwatt.grid.admittance import Floats
from peerwatt.grid.batch import GridStates
from peerwatt.grid.network import Network
from peerwatt.grid.state import GridState
from peerwatt.registry import Registry

__all__ = ["ENGINES", "Engine", "EngineFactory", "engine", "make_engine"]


class Engine(Protocol):
    """A power flow solver that is bound to one network."""

    @property
    def name(self) -> str:
        """The name under which it is registered."""
        ...

    def solve(self, p_mw: Floats, q_mvar: Floats) -> GridState:
        """Solve the grid for net injections.

        Args:
            p_mw: (n_bus,) net active injection in the order of the network's buses, positive into the grid.
            q_mvar: (n_bus,) net reactive injection.

        Returns:
            The state; one that says why when there is no solution. The engine stays usable.
        """
        ...

    def solve_batch(self, p_mw: Floats, q_mvar: Floats) -> GridStates:
        """Solve the grid for many rows of net injections: periods, replicas, scenarios.

        Args:
            p_mw: (k, n_bus) net active injection, positive into the grid.
            q_mvar: (k, n_bus) net reactive injection.

        Returns:
            The states, row by row those of `solve` within 1e-10 pu. A row without a solution says why and does
            not disturb the others.
        """
        p, q = np.atleast_2d(p_mw), np.atleast_2d(q_mvar)
        return GridStates.stack([self.solve(*row) for row in zip(p, q, strict=True)])


EngineFactory = Callable[[Network], Engine]

ENGINES: Registry[EngineFactory] = Registry("engine")
"""Factories of engines by the name that scenario files use."""

engine = ENGINES.register
"""Decorator that registers an engine: `@engine("mine")`."""


def make_engine(name: str, network: Network, where: str = "") -> Engine:
    """Build an engine for a network.

    Args:
        name: registered name, e.g. ``power-grid-model``.
        network: what it shall solve.
        where: key path for the error message.

    Raises:
        ScenarioError: no engine has this name.
    """
    return ENGINES.get(name, where)(network)


@engine("auto")
def _auto(network: Network) -> Engine:
    """power-grid-model where it represents the network exactly, else pandapower, saying so."""
    from peerwatt.grid.pgm_engine import PgmEngine, refusals

    faults = refusals(network)
    if not faults:
        return PgmEngine(network)
    logger = logging.getLogger("peerwatt")
    for fault in faults:
        logger.warning("engine 'auto' uses pandapower, which is slower: %s: %s", fault.where, fault.problem)
    return _pandapower(network)


@engine("power-grid-model")
def _power_grid_model(network: Network) -> Engine:
    from peerwatt.grid.pgm_engine import PgmEngine

    return PgmEngine(network)


@engine("pandapower")
def _pandapower(network: Network) -> Engine:
    from peerwatt.grid.pandapower_engine import PandapowerEngine

    return PandapowerEngine(network)


@engine("lindistflow")
def _lindistflow(network: Network) -> Engine:
    from peerwatt.grid.lindistflow import LinDistFlowEngine

    return LinDistFlowEngine(network)


@engine("dc")
def _dc(network: Network) -> Engine:
    from peerwatt.grid.dc import DcEngine

    return DcEngine(network)
