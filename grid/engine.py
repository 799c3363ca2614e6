"""The seam to power flow engines: give injections, get a state.

An engine of one's own is a class with a `name` and a `solve`, registered under a name that scenario files
can use:

    @peerwatt.engine("mine")
    class MyEngine:
        name = "mine"

        def __init__(self, network: Network) -> None: ...

        def solve(self, p_mw, q_mvar) -> GridState: ...
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from peerwatt.grid.admittance import Floats
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


@engine("power-grid-model")
def _power_grid_model(network: Network) -> Engine:
    from peerwatt.grid.pgm_engine import PgmEngine

    return PgmEngine(network)


@engine("pandapower")
def _pandapower(network: Network) -> Engine:
    from peerwatt.grid.pandapower_engine import PandapowerEngine

    return PandapowerEngine(network)
