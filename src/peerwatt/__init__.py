"""peerwatt: peer-to-peer electricity markets on real distribution grids.

The public names are loaded on first use, so that importing the package costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from peerwatt.agents.strategies import strategy
    from peerwatt.grid.cases import case
    from peerwatt.grid.engine import engine
    from peerwatt.market.mechanism import mechanism
    from peerwatt.sim.model import Simulation
    from peerwatt.sim.results import Results
    from peerwatt.sim.running import run
    from peerwatt.sim.scenario import Scenario

__all__ = ["Results", "Scenario", "Simulation", "case", "engine", "mechanism", "run", "strategy"]
__version__ = "0.1.0"

_HOME = {
    "Results": "peerwatt.sim.results",
    "Scenario": "peerwatt.sim.scenario",
    "Simulation": "peerwatt.sim.model",
    "case": "peerwatt.grid.cases",
    "engine": "peerwatt.grid.engine",
    "mechanism": "peerwatt.market.mechanism",
    "run": "peerwatt.sim.running",
    "strategy": "peerwatt.agents.strategies",
}


def __getattr__(name: str) -> object:
    if name in _HOME:
        return getattr(import_module(_HOME[name]), name)
    raise AttributeError(f"module 'peerwatt' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
