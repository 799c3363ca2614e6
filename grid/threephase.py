"""Three-phase power flow: load a network, make an engine, solve it by phase.

    network = load_three_phase("ieee-eu-lv")
    engine = make_three_phase_engine("power-grid-model", network)
    state = engine.solve(network.p_mw, network.q_mvar)
    state.vuf_percent.max()
    states = engine.solve_batch(p_mw, q_mvar)               # (k, n_bus, 3)
    states.violations(network).n_voltage                    # (k,)

Engines are ``power-grid-model`` (the default) and ``pandapower`` (`runpp_3ph`, the reference).
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from peerwatt.errors import Fault, GridDataError
from peerwatt.grid.admittance import Floats
from peerwatt.grid.convert import quiet
from peerwatt.grid.threephase_batch import BatchPhaseViolations, ThreePhaseStates
from peerwatt.grid.threephase_convert import convert_three_phase
from peerwatt.grid.threephase_network import ThreePhaseNetwork
from peerwatt.grid.threephase_state import (
    PhaseBranchState,
    PhaseViolations,
    ThreePhaseState,
    pvur_percent,
    vuf_percent,
)
from peerwatt.registry import Registry, nearest

if TYPE_CHECKING:
    from pandapower import pandapowerNet

__all__ = [
    "DEFAULT_THREE_PHASE_ENGINE",
    "THREE_PHASE_CASES",
    "THREE_PHASE_ENGINES",
    "BatchPhaseViolations",
    "PhaseBranchState",
    "PhaseViolations",
    "ThreePhaseEngine",
    "ThreePhaseNetwork",
    "ThreePhaseState",
    "ThreePhaseStates",
    "load_three_phase",
    "make_three_phase_engine",
    "pvur_percent",
    "three_phase_from_net",
    "vuf_percent",
]

DEFAULT_THREE_PHASE_ENGINE = "power-grid-model"

_MINUTES = ("on_peak_566", "off_peak_1", "off_peak_1440")
_FEEDER = ("ieee-eu-lv", "ieee-european-lv")

THREE_PHASE_CASES = dict.fromkeys(_FEEDER, _MINUTES[0]) | {
    f"{name}:{minute}": minute for name in _FEEDER for minute in _MINUTES
}
"""Names of the IEEE European LV test feeder, and the minute of the day that pandapower has loads of."""


class ThreePhaseEngine(Protocol):
    """An unbalanced power flow solver that is bound to one network."""

    @property
    def name(self) -> str:
        """The name under which it is registered."""
        ...

    def solve(self, p_mw: Floats, q_mvar: Floats) -> ThreePhaseState:
        """Solve the grid for net injections between phase and neutral.

        Args:
            p_mw: (n_bus, 3) net active injection in the order of the network's buses, positive into the grid.
            q_mvar: (n_bus, 3) net reactive injection.

        Returns:
            The state; one that says why when there is no solution. The engine stays usable.
        """
        ...

    def solve_batch(self, p_mw: Floats, q_mvar: Floats) -> ThreePhaseStates:
        """Solve the grid for many rows of net injections: periods, replicas, scenarios.

        Args:
            p_mw: (k, n_bus, 3) net active injection, positive into the grid.
            q_mvar: (k, n_bus, 3) net reactive injection.

        Returns:
            The states, row by row those of `solve` within 1e-10 pu. A row without a solution says why and does
            not disturb the others.
        """
        ...


THREE_PHASE_ENGINES: Registry[Callable[[ThreePhaseNetwork], ThreePhaseEngine]] = Registry("three_phase_engine")
"""Factories of engines by name."""


def make_three_phase_engine(name: str, network: ThreePhaseNetwork) -> ThreePhaseEngine:
    """Build an engine for a network.

    Args:
        name: registered name, e.g. ``power-grid-model``.
        network: what it shall solve.

    Raises:
        ScenarioError: no engine has this name.
        GridDataError: the engine cannot represent the network.
    """
    return THREE_PHASE_ENGINES.get(name)(network)


def three_phase_from_net(net: pandapowerNet, name: str = "network") -> ThreePhaseNetwork:
    """Convert a pandapower network; the network given is not changed.

    Args:
        net: network of pandapower 3 with zero sequence data.
        name: what to call it in messages.

    Raises:
        GridDataError: everything that is missing, contradictory or not supported, all at once.
    """
    return convert_three_phase(net, name)


def load_three_phase(name: str) -> ThreePhaseNetwork:
    """Load a network by name or file.

    ``ieee-eu-lv`` is the IEEE European Low Voltage Test Feeder (IEEE PES Test Feeder Working Group, 2015) as
    pandapower has it: 906 buses at 416 V behind a Dyn1 of 800 kVA, 55 single-phase loads. `load_case` knows it under
    the same name, with the same buses, and with its loads split over the phases. The name may be followed by the
    minute whose loads it has: ``:on_peak_566`` (the default), ``:off_peak_1``, ``:off_peak_1440``.

    Args:
        name: one of `THREE_PHASE_CASES`, or the path of a network that pandapower saved with `to_json`.

    Raises:
        GridDataError: no network has this name, or it cannot be calculated in three phases.
    """
    if name.lower().endswith(".json"):
        from peerwatt.grid.netfile import read_net

        return convert_three_phase(read_net(Path(name)), name)
    if name not in THREE_PHASE_CASES:
        hint = f"{nearest(name, list(THREE_PHASE_CASES))}; or give the path of a .json file"
        raise GridDataError(Fault("", f"unknown three-phase network '{name}'", hint))
    from pandapower.networks import ieee_european_lv_asymmetric

    with quiet():
        net = ieee_european_lv_asymmetric(THREE_PHASE_CASES[name])
    return convert_three_phase(net, name)


@THREE_PHASE_ENGINES.register("power-grid-model")
def _power_grid_model(network: ThreePhaseNetwork) -> ThreePhaseEngine:
    from peerwatt.grid.threephase_pgm import PgmThreePhase

    return PgmThreePhase(network)


@THREE_PHASE_ENGINES.register("pandapower")
def _pandapower(network: ThreePhaseNetwork) -> ThreePhaseEngine:
    from peerwatt.grid.threephase_pandapower import PandapowerThreePhase

    return PandapowerThreePhase(network)
