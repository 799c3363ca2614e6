"""Makes a pandapower network of a file in MATPOWER's format.

pandapower's own converter turns taps at the low-voltage end and charging of transformers into something else. Here
every branch is built from the file's own row: MATPOWER's manual, section 3.2, has an ideal transformer of ratio
``TAP exp(j SHIFT)`` at the from end, in series with a line in pi. A row without ratio and shift between buses of one
base voltage becomes a line, any other a transformer whose high-voltage end is the one of the higher base voltage;
`peerwatt.grid.library.matpower_check` then holds the admittances of what was built against the tables.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from peerwatt.errors import Fault, GridDataError
from peerwatt.grid.admittance import Bools, Floats
from peerwatt.grid.convert import quiet
from peerwatt.grid.library.matpower_tables import Tables, read_tables
from peerwatt.grid.library.matpower_text import parse_matpower

if TYPE_CHECKING:
    from pandapower import pandapowerNet

__all__ = ["MatpowerNet", "read_matpower"]

_UNRATED = 99_999.0  # kA or MVA of a branch without a limit
_HZ = 50.0


@dataclass(frozen=True, slots=True)
class MatpowerNet:
    """A network, and the tables that it was made of.

    Attributes:
        net: pandapower network.
        tables: the tables, without what is isolated.
        warnings: what was left out or assumed.
    """

    net: pandapowerNet
    tables: Tables
    warnings: tuple[Fault, ...]


def read_matpower(path: Path) -> MatpowerNet:
    """Read a `.m` file of format version 1 or 2.

    Buses have MATPOWER's numbers as index and name, and are in their order; lines, transformers and switches have the
    number of their row, from 1, as name. A branch without a rating (`rateA` 0) has 99,999 kA or MVA, which means none.
    Loads have the kind `aggregate`. Costs and rows of `dcline` are not read.

    Args:
        path: the file.

    Raises:
        GridDataError: the file is missing, or has statements or numbers that are not understood.
    """
    if path.suffix.lower() != ".m":
        raise GridDataError(Fault(str(path), f"unknown kind of file '{path.suffix}'", "give MATPOWER's .m file"))
    try:
        content = path.read_bytes()
    except OSError as error:
        raise GridDataError(Fault(str(path), f"cannot be read: {error.strerror or error}")) from error
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = content.decode("latin-1")  # names and comments only: all else is ASCII
    tables, warnings = read_tables(parse_matpower(text, str(path)), str(path))
    with quiet():
        net = _net(tables)
    return MatpowerNet(net, tables, tuple(warnings))


def _net(tables: Tables) -> pandapowerNet:
    import pandapower as pp

    net = pp.create_empty_network(f_hz=_HZ, sn_mva=1.0)
    bus = tables.bus
    band = {
        name: np.where(bus.vm_max > bus.vm_min, value, np.nan)
        for name, value in (("min_vm_pu", bus.vm_min), ("max_vm_pu", bus.vm_max))
    }
    numbers = [str(number) for number in bus.number]
    pp.create_buses(net, len(numbers), bus.vn_kv, index=bus.number, name=numbers, **band)
    _add_loads(net, tables)
    _add_generators(net, tables)
    branch = tables.branch
    _add_lines(net, tables, branch.is_line)
    _add_trafos(net, tables, branch.is_trafo)
    _add_links(net, tables, branch.is_link)
    _add_shunts(net, tables)
    return net


def _add_loads(net: Any, tables: Tables) -> None:
    """Loads by bus; a negative one is generation."""
    bus = tables.bus
    for rows, sign, create, kind in (
        (np.flatnonzero((bus.load.real >= 0.0) & (bus.load != 0.0)), 1.0, "create_loads", "aggregate"),
        (np.flatnonzero(bus.load.real < 0.0), -1.0, "create_sgens", "generator"),
    ):
        power, names = sign * bus.load[rows], [f"Load {number}" for number in bus.number[rows]]
        _add_units(net, create, bus.number[rows], power, names, kind)


def _add_units(net: Any, create: str, buses: Any, power: Any, names: list[str], kind: str) -> None:
    import pandapower as pp

    if len(buses):
        table = create.removeprefix("create_").removesuffix("s")
        made = getattr(pp, create)(net, buses, p_mw=power.real, q_mvar=power.imag, name=names)
        net[table].loc[made, "kind"] = kind


def _add_generators(net: Any, tables: Tables) -> None:
    """External grids at reference buses; generators that hold a voltage, or, at buses that do not, that feed in.

    pandapower has no generator that draws power: what one draws is a load beside it.
    """
    import pandapower as pp

    gen, bus = tables.gen, tables.bus
    for row in np.flatnonzero(gen.is_slack):
        at = gen.bus[row]
        pp.create_ext_grid(net, bus.number[at], vm_pu=bus.vm_held[at], va_degree=bus.va_degree[at], name=gen.name[row])
    rows = np.flatnonzero(gen.is_held)
    if len(rows):
        at, names = gen.bus[rows], [gen.name[row] for row in rows]
        p_mw = gen.power.real[rows].clip(0.0)
        made = pp.create_gens(net, bus.number[at], p_mw=p_mw, vm_pu=bus.vm_held[at], name=names)
        net.gen.loc[made, "kind"] = "generator"
    power = np.where(gen.is_held, gen.power.real.clip(max=0.0), gen.power)
    other = ~gen.is_slack & (power != 0.0)
    for rows, sign, create, kind in (
        (np.flatnonzero(other & (power.real >= 0.0)), 1.0, "create_sgens", "generator"),
        (np.flatnonzero(other & (power.real < 0.0)), -1.0, "create_loads", "aggregate"),
    ):
        _add_units(net, create, bus.number[gen.bus[rows]], sign * power[rows], [gen.name[row] for row in rows], kind)


def _add_lines(net: Any, tables: Tables, chosen: Bools) -> None:
    import pandapower as pp

    rows = np.flatnonzero(chosen)
    if not len(rows):
        return
    branch, bus = tables.branch, tables.bus
    vn_kv = bus.vn_kv[branch.start[rows]]
    z_ohm = branch.z[rows] * vn_kv**2 / tables.base_mva
    c_nf = branch.charging[rows] * tables.base_mva / vn_kv**2 / (2.0 * np.pi * _HZ) * 1e9
    pp.create_lines_from_parameters(
        net,
        bus.number[branch.start[rows]],
        bus.number[branch.end[rows]],
        length_km=1.0,
        r_ohm_per_km=z_ohm.real,
        x_ohm_per_km=z_ohm.imag,
        c_nf_per_km=c_nf,
        max_i_ka=_rated(branch.rate_mva[rows] / (np.sqrt(3.0) * vn_kv)),
        max_loading_percent=100.0,
        name=[branch.name[row] for row in rows],
        in_service=branch.live[rows],
    )


def _add_trafos(net: Any, tables: Tables, chosen: Bools) -> None:
    """Transformers; a tap at the from end is one step from the neutral position of a tap changer there.

    pandapower has the series impedance at the low-voltage winding as the tap leaves it, so that the row's impedance
    holds whether its tap is at one end or the other. Its magnetising current is always inductive; what charges is
    added as shunts, see `_add_shunts`.
    """
    import pandapower as pp

    rows = np.flatnonzero(chosen)
    if not len(rows):
        return
    branch, bus = tables.branch, tables.bus
    start, end = branch.start[rows], branch.end[rows]
    up = bus.vn_kv[start] >= bus.vn_kv[end]  # the from end is the high-voltage one
    hv, lv = np.where(up, start, end), np.where(up, end, start)
    sn_mva, tap = _rated(branch.rate_mva[rows]), branch.tap[rows]
    tapped = tap != 1.0
    position = np.where(tapped, np.sign(tap - 1.0), np.nan)
    nothing: Any = None
    z_percent = branch.z[rows] * 100.0 * sn_mva / tables.base_mva
    size = np.maximum(np.abs(z_percent), np.abs(z_percent.real))  # abs is rounded
    pp.create_transformers_from_parameters(
        net,
        bus.number[hv],
        bus.number[lv],
        sn_mva=sn_mva,
        vn_hv_kv=bus.vn_kv[hv],
        vn_lv_kv=bus.vn_kv[lv],
        vkr_percent=z_percent.real,
        vk_percent=np.where(z_percent.imag < 0.0, -size, size),
        pfe_kw=0.0,
        i0_percent=(-branch.charging[rows]).clip(0.0) * 100.0 * tables.base_mva / sn_mva,
        shift_degree=np.where(up, 1.0, -1.0) * branch.shift[rows],
        tap_side=np.where(tapped, np.where(up, "hv", "lv"), nothing),
        tap_neutral=np.where(tapped, 0.0, np.nan),
        tap_min=np.minimum(position, 0.0),
        tap_max=np.maximum(position, 0.0),
        tap_step_percent=np.where(tapped, 100.0 * np.abs(tap - 1.0), np.nan),
        tap_pos=position,
        tap_changer_type=np.where(tapped, "Ratio", nothing),
        max_loading_percent=100.0,
        name=[branch.name[row] for row in rows],
        in_service=branch.live[rows],
    )


def _add_links(net: Any, tables: Tables, chosen: Bools) -> None:
    """Branches without impedance: switches, closed where the branch is in service."""
    import pandapower as pp

    branch, number = tables.branch, tables.bus.number
    for row in np.flatnonzero(chosen):
        ends = int(number[branch.start[row]]), int(number[branch.end[row]])
        pp.create_switch(net, *ends, et="b", closed=bool(branch.live[row]), name=branch.name[row])


def _add_shunts(net: Any, tables: Tables) -> None:
    """Shunts of the buses, and the charging that transformers and switches do not have in pandapower."""
    import pandapower as pp

    branch, bus = tables.branch, tables.bus
    power = bus.shunt.copy()  # what is drawn, MVA at 1 pu
    extra = branch.live & (branch.is_link | (branch.is_trafo & (branch.charging > 0.0)))
    half = np.where(extra, -0.5j * branch.charging * tables.base_mva, 0.0)
    np.add.at(power, branch.start, half / branch.tap**2)
    np.add.at(power, branch.end, half)
    rows = np.flatnonzero(power)
    if len(rows):
        names = [f"Shunt {number}" for number in bus.number[rows]]
        pp.create_shunts(net, bus.number[rows], power.imag[rows], power.real[rows], name=names)


def _rated(rating: Floats) -> Floats:
    return np.where(rating > 0.0, rating, _UNRATED)
