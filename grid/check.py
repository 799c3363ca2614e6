"""Finds everything that keeps a pandapower network from being used, and names it.

All faults are collected, so that a network is mended in one go.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from peerwatt.errors import Fault, GridDataError
from peerwatt.grid.columns import column, flag, in_service, names

if TYPE_CHECKING:
    from pandapower import pandapowerNet

__all__ = ["check_net", "element"]

_UNSUPPORTED = {
    "trafo3w": "replace it by two-winding transformers",
    "ward": "replace it by a load and a shunt",
    "xward": "replace it by a load and a shunt",
    "dcline": "replace it by a load and an sgen",
    "motor": "replace it by a load",
    "asymmetric_load": "replace it by a load",
    "asymmetric_sgen": "replace it by an sgen",
    "svc": "replace it by a shunt or an sgen",
    "tcsc": "replace it by an impedance",
    "ssc": "replace it by an sgen",
    "vsc": "replace it by an sgen",
    "bus_dc": "remove the direct-current part",
}

_BUS_COLUMNS = {
    "load": ("bus",),
    "sgen": ("bus",),
    "storage": ("bus",),
    "gen": ("bus",),
    "ext_grid": ("bus",),
    "shunt": ("bus",),
    "switch": ("bus",),
    "line": ("from_bus", "to_bus"),
    "impedance": ("from_bus", "to_bus"),
    "trafo": ("hv_bus", "lv_bus"),
}

_POSITIVE = {
    "bus": ("vn_kv",),
    "line": ("max_i_ka", "df", "parallel", "length_km"),
    "trafo": ("sn_mva", "df", "parallel", "vn_hv_kv", "vn_lv_kv"),
}

_NOT_NEGATIVE = {
    "load": ("p_mw", "sn_mva", "scaling"),
    "sgen": ("p_mw", "sn_mva", "scaling"),
    "storage": ("sn_mva", "max_e_mwh", "scaling"),
    "gen": ("p_mw", "sn_mva", "scaling"),
}

_OLD_ZIP_COLUMNS = ("const_z_percent", "const_i_percent")
_OPTIONS = {"enforce_q_lims": False, "enforce_p_lims": False, "voltage_depend_loads": True}
"""Options of `runpp` that a network can carry, and the value that a power flow has here."""


def check_net(net: pandapowerNet, where: str) -> None:
    """Refuse a network that cannot be used.

    Args:
        net: what `peerwatt.grid.netread.arranged` gave; not changed.
        where: file or name of the network, for the messages.

    Raises:
        GridDataError: all faults.
    """
    faults = [
        Fault(f"{where}: {fault.where}", fault.problem, fault.remedy)
        for check in (_unsupported, _references, _sources, _generators, _loads, _options, _numbers, _placement, _taps)
        for fault in check(net)
    ]
    if faults:
        raise GridDataError(faults)


def element(net: Any, table: str, index: Any) -> str:
    """What to call an element in a message."""
    frame = net[table]
    name = names(frame.loc[[index]], table)[0]
    return f"{table} {index}" if name == f"{table} {index}" else f"{table} '{name}' (index {index})"


def _table(net: Any, table: str) -> Any:
    return net.get(table)


def _live(net: Any, table: str) -> Any:
    """Units of a table that are in service; a generator that is slack is an external grid."""
    frame = net[table]
    return in_service(frame) & ~flag(frame, "slack") if table == "gen" else in_service(frame)


def _select(net: Any, table: str, mask: Any) -> Iterable[tuple[str, Any]]:
    """Elements of a table where a mask holds: what to call them, and their index."""
    for index in net[table].index[np.asarray(mask, dtype=np.bool_)]:
        yield element(net, table, index), index


def _unsupported(net: Any) -> Iterator[Fault]:
    for table, remedy in _UNSUPPORTED.items():
        frame = _table(net, table)
        if frame is not None and len(frame):
            for where, _ in _select(net, table, in_service(frame)):
                yield Fault(where, f"elements of table '{table}' are not supported", remedy)


def _references(net: Any) -> Iterator[Fault]:
    """Elements at buses that do not exist."""
    for table, columns in _BUS_COLUMNS.items():
        frame = _table(net, table)
        if frame is None or not len(frame):
            continue
        for name in columns:
            for where, index in _select(net, table, ~frame[name].isin(net.bus.index)):
                yield Fault(where, f"{name} is {frame[name][index]}, and there is no such bus")
    for table in ("bus", "line", "trafo", *_NOT_NEGATIVE):
        if table in net and not net[table].index.is_unique:
            twice = sorted(set(net[table].index[net[table].index.duplicated()]))
            yield Fault(table, f"index used twice: {', '.join(map(str, twice))}")


def _sources(net: Any) -> Iterator[Fault]:
    """External grids, or generators that stand for one."""
    gen = _table(net, "gen")
    n_source = int(in_service(net.ext_grid).sum())
    if gen is not None:
        n_source += int((in_service(gen) & flag(gen, "slack")).sum())
    if n_source == 0:
        yield Fault("ext_grid", "no external grid is in service", "add one with create_ext_grid")


def _generators(net: Any) -> Iterator[Fault]:
    """Generators that shall hold a voltage which is none."""
    gen = _table(net, "gen")
    if gen is not None:
        for where, index in _select(net, "gen", _live(net, "gen") & ~(column(gen, "vm_pu", np.nan) > 0.0)):
            yield Fault(where, f"vm_pu is {_show(gen, 'vm_pu', index)}", "give a number above 0, or make it an sgen")


def _loads(net: Any) -> Iterator[Fault]:
    """Loads whose power depends on the voltage in a way that is no sum of three shares."""
    live = in_service(net.load)
    for name in _OLD_ZIP_COLUMNS:
        for where, _ in _select(net, "load", (column(net.load, name, 0.0) != 0.0) & live):
            kind = name.removesuffix("percent")
            yield Fault(where, f"{name} is of an old pandapower", f"use {kind}p_percent and {kind}q_percent")
    for power in "pq":
        z, i = (column(net.load, f"const_{kind}_{power}_percent", 0.0) for kind in "zi")
        for where, _ in _select(net, "load", live & ~((z >= 0.0) & (i >= 0.0) & (z + i <= 100.0))):
            problem = f"const_z_{power}_percent and const_i_{power}_percent are no shares of 100"
            yield Fault(where, problem, "give 0 or more each, together up to 100")


def _options(net: Any) -> Iterator[Fault]:
    """Options of its own that would make pandapower solve another power flow."""
    for name, value in (net.get("user_pf_options") or {}).items():
        if name in _OPTIONS and value != _OPTIONS[name]:
            yield Fault(f"user_pf_options: {name}", f"is {value}", f"here it is {_OPTIONS[name]}: remove it")


def _numbers(net: Any) -> Iterator[Fault]:
    """Ratings and capacities that are missing or have the wrong sign."""
    for table, columns in _POSITIVE.items():
        frame = net[table]
        live = in_service(frame)
        for name in columns:
            default = 1.0 if name in ("df", "parallel") else np.nan
            value = column(frame, name, default)
            for where, index in _select(net, table, live & ~(value > 0.0)):
                yield Fault(where, f"{name} is {_show(frame, name, index)}", "give a number above 0")
    vk = column(net.trafo, "vk_percent", np.nan)  # below 0 in equivalents of three windings, as MATPOWER's cases have
    for where, index in _select(net, "trafo", in_service(net.trafo) & ~(np.abs(vk) > 0.0)):
        yield Fault(where, f"vk_percent is {_show(net.trafo, 'vk_percent', index)}", "give a number above 0")
    r, x = column(net.line, "r_ohm_per_km", np.nan), column(net.line, "x_ohm_per_km", np.nan)
    for where, _ in _select(net, "line", in_service(net.line) & ~(np.hypot(r, x) > 0.0)):
        yield Fault(where, "no impedance above 0", "give r_ohm_per_km, or join its buses with a switch")
    for table, columns in _NOT_NEGATIVE.items():
        frame = _table(net, table)
        if frame is None:
            continue
        live = _live(net, table)
        for name in columns:
            for where, index in _select(net, table, live & (column(frame, name, 0.0) < 0.0)):
                yield Fault(where, f"{name} is {_show(frame, name, index)}", "give 0 or more")
        if "p_mw" in columns:
            for where, _ in _select(net, table, live & np.isnan(column(frame, "p_mw", np.nan))):
                yield Fault(where, "p_mw is missing", "give a number of MW")


def _placement(net: Any) -> Iterator[Fault]:
    """Units in service at buses that are not."""
    dead = set(net.bus.index[~in_service(net.bus)])
    for table in _NOT_NEGATIVE:
        frame = _table(net, table)
        if dead and frame is not None and len(frame):
            for where, index in _select(net, table, _live(net, table) & frame.bus.isin(dead).to_numpy()):
                bus = element(net, "bus", frame.bus[index])
                yield Fault(where, f"it is in service, its {bus} is not", "set in_service of one of them")


def _taps(net: Any) -> Iterator[Fault]:
    """Taps with a table of characteristics that pandapower reads wrongly without a word.

    A position that the table does not have becomes ratio 1, angle 1 degree and an impedance of 1 percent; of several
    transformers with one table, all get the row of the last one's position.
    """
    by_table = in_service(net.trafo) & flag(net.trafo, "tap_dependency_table")
    if not by_table.any():
        return
    table, known = _table(net, "trafo_characteristic_table"), dict[Any, set[float]]()
    if table is not None:
        for number, step in zip(column(table, "id_characteristic", np.nan), column(table, "step", np.nan), strict=True):
            known.setdefault(number, set()).add(step)
    at: dict[float, float] = {}
    number, position = column(net.trafo, "id_characteristic_table", np.nan), column(net.trafo, "tap_pos", np.nan)
    for row in np.flatnonzero(by_table):
        where, steps = element(net, "trafo", net.trafo.index[row]), known.get(number[row], set())
        if position[row] not in steps:
            problem = f"tap_pos {position[row]:g} is not in its id_characteristic_table {number[row]:g}"
            have = ", ".join(f"{step:g}" for step in sorted(steps)) or "none"
            yield Fault(where, problem, f"positions that trafo_characteristic_table has of it: {have}")
        elif at.setdefault(number[row], position[row]) != position[row]:
            problem = f"shares id_characteristic_table {number[row]:g} with a transformer at another tap_pos"
            yield Fault(where, problem, "pandapower takes them for one: give each a table of its own")


def _show(frame: Any, name: str, index: Any) -> str:
    return str(frame[name][index]) if name in frame.columns else "missing"
