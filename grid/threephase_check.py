"""Finds everything that keeps a pandapower network from being calculated in three phases, and names it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from peerwatt.errors import Fault, GridDataError
from peerwatt.grid.check import element
from peerwatt.grid.columns import column, flag, in_service, texts

if TYPE_CHECKING:
    from pandapower import pandapowerNet

__all__ = ["check_three_phase", "windings"]

_GROUPS = tuple(f"{hv}{lv}" for hv in ("D", "Y", "YN") for lv in ("d", "y", "yn"))
_ZIP_COLUMNS = tuple(f"const_{kind}_{power}percent" for kind in "zi" for power in ("", "p_", "q_"))
_PHASE_COLUMNS = tuple(f"{power}_{phase}_{unit}" for power, unit in (("p", "mw"), ("q", "mvar")) for phase in "abc")


def windings(vector_group: str) -> tuple[str, str] | None:
    """High-voltage and low-voltage winding of a vector group, each ``d``, ``y`` or ``yn``.

    Args:
        vector_group: e.g. ``Dyn`` or ``YNyn``; the clock is the transformer's `shift_degree`.

    Returns:
        None for a group that is not supported.
    """
    for group in _GROUPS:
        if group.lower() == vector_group.strip().lower():
            low = group.lstrip("DYN")
            return group[: len(group) - len(low)].lower(), low
    return None


def check_three_phase(net: pandapowerNet, where: str) -> None:
    """Refuse a network that cannot be calculated in three phases.

    Args:
        net: pandapower network; not changed.
        where: file or name of the network, for the messages.

    Raises:
        GridDataError: all faults.
    """
    faults = [
        Fault(f"{where}: {fault.where}", fault.problem, fault.remedy)
        for check in (_lines, _trafos, _sources, _loads, _others)
        for fault in check(net)
    ]
    if faults:
        raise GridDataError(faults)


def _missing(net: Any, table: str, name: str, lowest: float, remedy: str, mask: Any) -> Iterator[Fault]:
    """Elements whose number in a column is absent or below what is allowed."""
    frame = net[table]
    value = column(frame, name, np.nan)
    for index in frame.index[mask & ~(value >= lowest)]:
        given = value[frame.index.get_loc(index)]
        shown = "missing" if np.isnan(given) else str(given)
        yield Fault(element(net, table, index), f"{name} is {shown}", remedy)


def _lines(net: Any) -> Iterator[Fault]:
    live = in_service(net.line)
    for name in ("r0_ohm_per_km", "x0_ohm_per_km", "c0_nf_per_km"):
        yield from _missing(net, "line", name, 0.0, "give the zero sequence value of the cable", live)
    r0, x0 = column(net.line, "r0_ohm_per_km", np.nan), column(net.line, "x0_ohm_per_km", np.nan)
    for index in net.line.index[live & (r0 == 0.0) & (x0 == 0.0)]:
        yield Fault(element(net, "line", index), "no zero sequence impedance above 0", "give x0_ohm_per_km")


def _trafos(net: Any) -> Iterator[Fault]:
    trafo = net.trafo
    live = in_service(trafo)
    found = [windings(text) for text in texts(trafo, "vector_group")]
    for index, text, pair in zip(trafo.index, texts(trafo, "vector_group"), found, strict=True):
        if pair is None and live[trafo.index.get_loc(index)]:
            problem = f"vector group '{text}' is not supported" if text else "vector_group is missing"
            yield Fault(element(net, "trafo", index), problem, _group_remedy(text))
    earthed = live & np.array([pair is not None and "yn" in pair for pair in found], dtype=np.bool_)
    tiny = float(np.finfo(np.float64).tiny)
    yield from _missing(net, "trafo", "vk0_percent", tiny, "give it; of a cable-fed Dyn about vk_percent", earthed)
    yield from _missing(net, "trafo", "vkr0_percent", 0.0, "give it; of a cable-fed Dyn about vkr_percent", earthed)
    yield from _missing(net, "trafo", "mag0_percent", tiny, "give 100 z_mag0 / z0; 1e4 for shell types", earthed)
    yield from _missing(net, "trafo", "mag0_rx", 0.0, "give it, e.g. 0", earthed)
    yield from _missing(net, "trafo", "si0_hv_partial", 0.0, "give a share from 0 to 1", earthed)
    for index in trafo.index[earthed & flag(trafo, "tap_dependency_table")]:
        yield Fault(element(net, "trafo", index), "tap_dependency_table has no zero sequence", "set it to False")
    yield from _neutrals(net, found, earthed)


def _group_remedy(vector_group: str) -> str:
    """What to write instead; a zigzag winding that is earthed is, to its terminals, the yn of a Dyn without core."""
    allowed = f"allowed: {', '.join(_GROUPS)}; the clock is shift_degree"
    if vector_group.strip().lower() in ("yzn", "dzn"):
        return f"equal is Dyn with the shift_degree and vk0_percent of the zigzag and mag0_percent 1e6; {allowed}"
    return allowed


def _neutrals(net: Any, found: list[tuple[str, str] | None], earthed: Any) -> Iterator[Fault]:
    """Impedances between star point and earth, where it is not clear at which star point."""
    trafo = net.trafo
    given = (column(trafo, "xn_ohm", 0.0) != 0.0) | (column(trafo, "rn_ohm", 0.0) != 0.0)
    both = np.array([pair == ("yn", "yn") for pair in found], dtype=np.bool_)
    for index in trafo.index[earthed & both & given]:
        yield Fault(
            element(net, "trafo", index), "xn_ohm or rn_ohm with two earthed star points", "earth one of them only"
        )
    shift = np.mod(column(trafo, "shift_degree", 0.0), 180.0)
    for index in trafo.index[earthed & both & (shift != 0.0)]:
        shown = trafo.shift_degree[index]
        yield Fault(element(net, "trafo", index), f"shift_degree of a YNyn is {shown}", "allowed: 0 and 180")


def _sources(net: Any) -> Iterator[Fault]:
    live = in_service(net.ext_grid)
    tiny = float(np.finfo(np.float64).tiny)
    lowest = {"s_sc_max_mva": tiny, "x0x_max": tiny, "rx_max": 0.0, "r0x0_max": 0.0}
    for name, least in lowest.items():
        yield from _missing(net, "ext_grid", name, least, "the negative and zero sequence need it", live)
    buses = net.ext_grid.bus[live].unique()
    for index in net.ext_grid.index[live & net.ext_grid.bus.isin(buses[1:]).to_numpy()]:
        yield Fault(element(net, "ext_grid", index), "a second external grid", "three phases need exactly one")
    for index in net.gen.index[in_service(net.gen) & flag(net.gen, "slack")]:
        yield Fault(element(net, "gen", index), "a generator as slack has no zero sequence", "use an ext_grid")
    for index in net.gen.index[in_service(net.gen) & ~flag(net.gen, "slack")]:
        yield Fault(element(net, "gen", index), "a generator that holds a voltage has no phases", "use an sgen")


def _loads(net: Any) -> Iterator[Fault]:
    for table in ("load", "sgen", "asymmetric_load", "asymmetric_sgen"):
        frame = net.get(table)
        if frame is None or not len(frame):
            continue
        live = in_service(frame)
        delta = np.array([text == "delta" for text in texts(frame, "type")], dtype=np.bool_)
        for index in frame.index[live & delta]:
            yield Fault(element(net, table, index), "connected between phases (delta)", "use type 'wye'")
        names = _PHASE_COLUMNS if table.startswith("asymmetric") else ("p_mw", "q_mvar")
        for name in names:
            yield from _missing(net, table, name, -np.inf, "give a number", live)
        for name in _ZIP_COLUMNS:
            for index in frame.index[live & (column(frame, name, 0.0) != 0.0)]:
                yield Fault(element(net, table, index), f"{name} is not 0: power must be constant", f"set {name} to 0")
        for index in frame.index[live & ~frame.bus.isin(net.bus.index[in_service(net.bus)]).to_numpy()]:
            yield Fault(element(net, table, index), f"no bus {frame.bus[index]} is in service", "move it")


def _others(net: Any) -> Iterator[Fault]:
    frame = net.get("impedance")
    if frame is not None and len(frame):
        for index in frame.index[in_service(frame)]:
            yield Fault(element(net, "impedance", index), "impedances have no zero sequence here", "use a line")
