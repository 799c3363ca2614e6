"""A distribution network as arrays: buses, lines, transformers, limits.

Positions (0 to n-1) address rows; `index` keeps the number that pandapower gives the element, which is the
key of the result tables. All arrays are read-only.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from peerwatt.errors import Fault, GridDataError
from peerwatt.grid.admittance import Admittances, Bools, Floats, Ints, freeze

__all__ = ["Buses", "Generators", "Lines", "Network", "Trafos", "VoltageDependence"]

_SQRT3 = float(np.sqrt(3.0))


@dataclass(frozen=True, slots=True)
class Buses:
    """Buses.

    Attributes:
        index: (n_bus,) pandapower index, the key of `bus.parquet`.
        name: names.
        vn_kv: (n_bus,) rated voltage, line to line.
        x: (n_bus,) coordinate as the network has it (mostly longitude), nan where unknown.
        y: (n_bus,) coordinate (mostly latitude), nan where unknown.
        min_vm_pu: (n_bus,) lower voltage limit.
        max_vm_pu: (n_bus,) upper voltage limit.
        in_service: (n_bus,) whether the bus is in service.
    """

    index: Ints
    name: tuple[str, ...]
    vn_kv: Floats
    x: Floats
    y: Floats
    min_vm_pu: Floats
    max_vm_pu: Floats
    in_service: Bools

    def __post_init__(self) -> None:
        freeze(self)

    def __len__(self) -> int:
        return len(self.index)


@dataclass(frozen=True, slots=True)
class Lines:
    """Lines and cables.

    Attributes:
        index: (n_line,) pandapower index, the key of `line.parquet`.
        name: names.
        from_bus: (n_line,) position of the bus at the from end.
        to_bus: (n_line,) position of the bus at the to end.
        rating_ka: (n_line,) rated current of all parallel systems together, derating included.
        max_loading_percent: (n_line,) limit as a share of the rating.
        in_service: (n_line,) whether the line can carry current: in service, not opened at both ends.
    """

    index: Ints
    name: tuple[str, ...]
    from_bus: Ints
    to_bus: Ints
    rating_ka: Floats
    max_loading_percent: Floats
    in_service: Bools

    def __post_init__(self) -> None:
        freeze(self)

    def __len__(self) -> int:
        return len(self.index)


@dataclass(frozen=True, slots=True)
class Trafos:
    """Two-winding transformers.

    Attributes:
        index: (n_trafo,) pandapower index, the key of `trafo.parquet`.
        name: names.
        hv_bus: (n_trafo,) position of the bus at the high-voltage end.
        lv_bus: (n_trafo,) position of the bus at the low-voltage end.
        sn_mva: (n_trafo,) rated power of all parallel units together, derating included.
        vn_hv_kv: (n_trafo,) rated voltage of the high-voltage winding.
        vn_lv_kv: (n_trafo,) rated voltage of the low-voltage winding.
        max_loading_percent: (n_trafo,) limit as a share of the rating.
        in_service: (n_trafo,) whether the transformer is in service and no switch opens it.
    """

    index: Ints
    name: tuple[str, ...]
    hv_bus: Ints
    lv_bus: Ints
    sn_mva: Floats
    vn_hv_kv: Floats
    vn_lv_kv: Floats
    max_loading_percent: Floats
    in_service: Bools

    def __post_init__(self) -> None:
        freeze(self)

    def __len__(self) -> int:
        return len(self.index)


@dataclass(frozen=True, slots=True)
class Generators:
    """Generators that hold the voltage of their bus, by as much reactive power as it takes.

    Generators that are slack are not among them: they are external grids.

    Attributes:
        index: (n_gen,) pandapower index.
        name: names.
        bus: (n_gen,) position of the bus; those at one node hold the same voltage.
        vm_pu: (n_gen,) the voltage magnitude that they hold.
    """

    index: Ints
    name: tuple[str, ...]
    bus: Ints
    vm_pu: Floats

    def __post_init__(self) -> None:
        freeze(self)

    def __len__(self) -> int:
        return len(self.index)

    @classmethod
    def none(cls) -> Generators:
        """Of a network where only external grids hold the voltage."""
        return cls(np.empty(0, np.int64), (), np.empty(0, np.int64), np.empty(0))

    @property
    def element(self) -> tuple[str, ...]:
        """What to call them in a message."""
        return tuple(f"gen '{name}' (index {index})" for name, index in zip(self.name, self.index, strict=True))

    def faults(self, where: str, problem: str, remedy: str) -> list[Fault]:
        """One fault per generator, for those that cannot deal with them."""
        return [Fault(f"{where}: {element}", problem, remedy) for element in self.element]


@dataclass(frozen=True, slots=True)
class VoltageDependence:
    """How the power at each bus depends on its voltage v in pu, as ZIP loads have it.

    With the injection P at 1 pu, a bus feeds in P (1 - i - z + i v + z v^2), and Q likewise, so that the power
    factor of the part of constant current does not depend on the voltage. Buses that switches join have the same
    shares.

    Attributes:
        const_z_p: (n_bus,) share of constant impedance of the active power, 0 to 1.
        const_i_p: (n_bus,) share of constant current of the active power.
        const_z_q: (n_bus,) share of constant impedance of the reactive power.
        const_i_q: (n_bus,) share of constant current of the reactive power.
        element: what to call the loads that it comes from, in a message.
    """

    const_z_p: Floats
    const_i_p: Floats
    const_z_q: Floats
    const_i_q: Floats
    element: tuple[str, ...]

    def __post_init__(self) -> None:
        freeze(self)

    def factors(self, vm_pu: Floats) -> tuple[Floats, Floats]:
        """Power at a voltage over power at 1 pu, active and reactive, of the shape of `vm_pu`, (..., n_bus)."""
        p = 1.0 + self.const_i_p * (vm_pu - 1.0) + self.const_z_p * (vm_pu**2 - 1.0)
        q = 1.0 + self.const_i_q * (vm_pu - 1.0) + self.const_z_q * (vm_pu**2 - 1.0)
        return p, q

    def faults(self, where: str, problem: str, remedy: str) -> list[Fault]:
        """One fault per load, for those that cannot deal with them."""
        return [Fault(f"{where}: {element}", problem, remedy) for element in self.element]


@dataclass(frozen=True, slots=True)
class Network:
    """A network that an engine can solve.

    Attributes:
        name: what to call it in messages.
        buses: the buses.
        lines: the lines.
        trafos: the two-winding transformers.
        slack_bus: (n_ext_grid,) positions of the buses with an external grid.
        admittances: the electrical model.
        pandapower_json: the network as pandapower writes it, loads and generators included.
        generators: what holds the voltage besides the external grids.
        voltage_dependence: where power depends on the voltage; None where all of it is constant.
    """

    name: str
    buses: Buses
    lines: Lines
    trafos: Trafos
    slack_bus: Ints
    admittances: Admittances
    pandapower_json: str = field(repr=False)
    generators: Generators = field(default_factory=Generators.none)
    voltage_dependence: VoltageDependence | None = None

    def __post_init__(self) -> None:
        freeze(self)

    @property
    def n_bus(self) -> int:
        """Number of buses."""
        return len(self.buses)

    @property
    def n_line(self) -> int:
        """Number of lines."""
        return len(self.lines)

    @property
    def n_trafo(self) -> int:
        """Number of transformers."""
        return len(self.trafos)

    def bus_position(self, index: int) -> int:
        """Position of the bus that pandapower numbers `index`.

        Raises:
            GridDataError: no bus has this number.
        """
        return self._position(self.buses.index, index, "bus")

    def line_position(self, index: int) -> int:
        """Position of the line that pandapower numbers `index`.

        Raises:
            GridDataError: no line has this number.
        """
        return self._position(self.lines.index, index, "line")

    def trafo_position(self, index: int) -> int:
        """Position of the transformer that pandapower numbers `index`.

        Raises:
            GridDataError: no transformer has this number.
        """
        return self._position(self.trafos.index, index, "trafo")

    def injected(self, p_mw: Floats, q_mvar: Floats, vm_pu: Floats) -> tuple[Floats, Floats]:
        """What injections at 1 pu feed in at these voltages, all (..., n_bus); 0 at a bus out of service."""
        if self.voltage_dependence is None:
            return p_mw, q_mvar
        p, q = self.voltage_dependence.factors(np.where(self.admittances.bus_node >= 0, vm_pu, 1.0))
        return p * p_mw, q * q_mvar

    def line_capacity_mva(self) -> Floats:
        """Apparent power of each line at its limit and rated voltage, (n_line,), MVA."""
        vn_kv = self.buses.vn_kv[self.lines.from_bus]
        return _SQRT3 * vn_kv * self.lines.rating_ka * self.lines.max_loading_percent / 100.0

    def trafo_capacity_mva(self) -> Floats:
        """Apparent power of each transformer at its limit, (n_trafo,), MVA."""
        return self.trafos.sn_mva * self.trafos.max_loading_percent / 100.0

    def _position(self, index: Ints, wanted: int, what: str) -> int:
        found = np.flatnonzero(index == wanted)
        if len(found) == 0:
            known = f"{index.min()} to {index.max()}" if len(index) else "none"
            raise GridDataError(Fault(f"network {self.name}", f"no {what} has index {wanted}", f"known: {known}"))
        return int(found[0])
