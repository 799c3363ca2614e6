"""From a pandapower network to a `Network`.

pandapower itself builds the branch model, with the switches, taps, parallel systems, derating and
magnetising currents of the network: one plain `runpp(trafo_model="pi")` without any load, whose internal
tables are read here. What the model cannot hold is refused by `peerwatt.grid.check` first.
"""

from __future__ import annotations

import copy
import json
from typing import TYPE_CHECKING, Any

import numpy as np

from peerwatt.errors import Fault, GridDataError
from peerwatt.grid.admittance import Admittances, Bools, Floats, Ints
from peerwatt.grid.check import check_net, element
from peerwatt.grid.columns import column, flag, in_service, names
from peerwatt.grid.netread import arranged, quiet
from peerwatt.grid.network import Buses, Lines, Network, Trafos
from peerwatt.grid.voltage_control import ZIP_COLUMNS, read_voltage_control

if TYPE_CHECKING:
    from pandapower import pandapowerNet

__all__ = ["INJECTION_TABLES", "convert_arranged", "convert_net", "net_text", "quiet"]

INJECTION_TABLES = ("load", "sgen", "storage")
"""Tables whose power is replaced by the injections of a run."""

_DEFAULT_MIN_VM_PU, _DEFAULT_MAX_VM_PU = 0.9, 1.1  # EN 50160, for networks that give no band
_DEFAULT_LOADING_PERCENT = 100.0


def convert_net(net: pandapowerNet, name: str) -> Network:
    """Convert a pandapower network; the network given is not changed.

    Whoever reads more of the network than this arranges it first and uses `convert_arranged`.

    Args:
        net: network of pandapower 3.
        name: what to call it in messages.

    Raises:
        GridDataError: everything that is missing, contradictory or not supported, all at once.
    """
    return convert_arranged(arranged(net, name), name)


def convert_arranged(net: pandapowerNet, name: str) -> Network:
    """Convert what `peerwatt.grid.netread.arranged` gave, see `convert_net`."""
    check_net(net, name)
    with quiet():
        solved = _solve_without_load(net, name)
    buses, slack_bus = _buses(net), _slack_bus(net)
    admittances = _admittances(solved, name)
    live = admittances.live
    lines = _lines(net, live)
    trafos = _trafos(net, live[len(lines) :])
    generators, dependence = read_voltage_control(net, admittances, name)
    return Network(name, buses, lines, trafos, slack_bus, admittances, net_text(net, name), generators, dependence)


def _solve_without_load(net: pandapowerNet, name: str) -> Any:
    import pandapower

    bare = copy.deepcopy(net)
    for table in INJECTION_TABLES:
        bare[table]["in_service"] = False
        bare[table][["p_mw", "q_mvar"]] = 0.0  # pandapower trips over nan even out of service
    bare.load[list(ZIP_COLUMNS)] = 0.0
    held = in_service(bare.gen)
    bare.gen["in_service"] = held & flag(bare.gen, "slack")
    bare.gen["p_mw"] = 0.0
    try:
        try:
            pandapower.runpp(bare, trafo_model="pi", lightsim2grid=False, numba=False)
        except pandapower.LoadflowNotConverged:  # without load a large grid may need its generators
            bare.gen["in_service"] = held
            pandapower.runpp(bare, trafo_model="pi", lightsim2grid=False, numba=False)
    except Exception as error:  # pandapower raises whatever the network provokes
        raise GridDataError(
            Fault(name, f"pandapower cannot solve this network even without any load: {error}")
        ) from error
    _refuse_islands(bare, name)
    _refuse_contradictions(bare, name)
    return bare


def _refuse_islands(solved: Any, name: str) -> None:
    """Buses in service that no external grid reaches."""
    from pandapower.pypower.idx_bus import BUS_TYPE, NONE

    node = np.asarray(solved._pd2ppc_lookups["bus"])[solved.bus.index.to_numpy()]
    dead = (solved._ppc["bus"][node, BUS_TYPE].real == NONE) & in_service(solved.bus)
    islanded = solved.bus.index.to_numpy()[dead]
    if len(islanded):
        shown = ", ".join(element(solved, "bus", int(index)) for index in islanded[:20])
        more = f" and {len(islanded) - 20} more" if len(islanded) > 20 else ""
        raise GridDataError(
            Fault(
                f"{name}: bus",
                f"{len(islanded)} buses in service have no path to an external grid: {shown}{more}",
                "close a switch, add an ext_grid, or set in_service of these buses to False",
            )
        )


def _refuse_contradictions(solved: Any, name: str) -> None:
    """External grids that closed switches join and that hold different voltages."""
    given = solved.ext_grid[in_service(solved.ext_grid)]
    result = solved.res_bus.loc[given.bus]
    differs = np.abs(column(given, "vm_pu", 1.0) - result.vm_pu.to_numpy()) > 1e-9
    differs |= np.abs(column(given, "va_degree", 0.0) - result.va_degree.to_numpy()) > 1e-6
    faults = [
        Fault(
            f"{name}: {element(solved, 'ext_grid', index)}",
            "another external grid at its bus holds another voltage",
            "remove one of them",
        )
        for index in given.index[differs]
    ]
    if faults:
        raise GridDataError(faults)


def net_text(net: pandapowerNet, name: str) -> str:
    """An arranged network as pandapower writes it.

    Raises:
        GridDataError: it carries what cannot be written.
    """
    import pandapower

    try:
        with quiet():
            return str(pandapower.to_json(net, filename=None))
    except Exception as error:  # pandapower raises whatever the network provokes
        problem = f"pandapower cannot write this network: {type(error).__name__}: {error}"
        raise GridDataError(Fault(name, problem, "remove what is no table, number or text")) from error


def _buses(net: pandapowerNet) -> Buses:
    bus = net.bus
    x, y = _coordinates(net)
    return Buses(
        index=bus.index.to_numpy(np.int64),
        name=names(bus, "bus"),
        vn_kv=column(bus, "vn_kv", np.nan),
        x=x,
        y=y,
        min_vm_pu=column(bus, "min_vm_pu", _DEFAULT_MIN_VM_PU),
        max_vm_pu=column(bus, "max_vm_pu", _DEFAULT_MAX_VM_PU),
        in_service=in_service(bus),
    )


def _coordinates(net: pandapowerNet) -> tuple[Floats, Floats]:
    """Coordinates from the GeoJSON points of pandapower 3."""
    xy = np.full((2, len(net.bus)), np.nan)
    if "geo" in net.bus.columns:
        for position, geo in enumerate(net.bus["geo"]):
            try:
                point = json.loads(geo)["coordinates"] if isinstance(geo, str) else None
            except (ValueError, KeyError, TypeError):
                continue
            if point is not None and len(point) >= 2:
                xy[:, position] = point[:2]
    return xy[0], xy[1]


def _slack_bus(net: pandapowerNet) -> Ints:
    found = list(net.ext_grid.bus[in_service(net.ext_grid)])
    if len(net.gen):
        slack = in_service(net.gen) & flag(net.gen, "slack")
        found += list(net.gen.bus[slack])
    return _positions(net, np.unique(np.asarray(found, dtype=np.int64)))


def _positions(net: pandapowerNet, bus: Ints) -> Ints:
    return np.asarray(net.bus.index.get_indexer(bus), dtype=np.int64)


def _lines(net: pandapowerNet, live: Bools) -> Lines:
    line = net.line
    return Lines(
        index=line.index.to_numpy(np.int64),
        name=names(line, "line"),
        from_bus=_positions(net, line.from_bus.to_numpy(np.int64)),
        to_bus=_positions(net, line.to_bus.to_numpy(np.int64)),
        rating_ka=column(line, "max_i_ka", np.nan) * column(line, "df", 1.0) * column(line, "parallel", 1.0),
        max_loading_percent=column(line, "max_loading_percent", _DEFAULT_LOADING_PERCENT),
        in_service=live[: len(line)].copy(),
    )


def _trafos(net: pandapowerNet, live: Bools) -> Trafos:
    trafo = net.trafo
    return Trafos(
        index=trafo.index.to_numpy(np.int64),
        name=names(trafo, "trafo"),
        hv_bus=_positions(net, trafo.hv_bus.to_numpy(np.int64)),
        lv_bus=_positions(net, trafo.lv_bus.to_numpy(np.int64)),
        sn_mva=column(trafo, "sn_mva", np.nan) * column(trafo, "df", 1.0) * column(trafo, "parallel", 1.0),
        vn_hv_kv=column(trafo, "vn_hv_kv", np.nan),
        vn_lv_kv=column(trafo, "vn_lv_kv", np.nan),
        max_loading_percent=column(trafo, "max_loading_percent", _DEFAULT_LOADING_PERCENT),
        in_service=live[: len(trafo)].copy(),
    )


def _admittances(solved: Any, name: str) -> Admittances:
    """Read pandapower's internal tables (MATPOWER's case format) of a solved network."""
    from pandapower.pypower import idx_brch as br
    from pandapower.pypower import idx_bus as bs

    ppc, base_mva = solved._ppc, float(solved._ppc["baseMVA"])
    branch, bus = np.real(ppc["branch"]), np.real(ppc["bus"])
    used = np.flatnonzero(bus[:, bs.BUS_TYPE] != bs.NONE)
    node = np.full(len(bus) + 1, -1, dtype=np.int64)  # the last entry is for buses without a row
    node[used] = np.arange(len(used))
    lookup = np.asarray(solved._pd2ppc_lookups["bus"])[solved.bus.index.to_numpy()]

    from_node = node[branch[:, br.F_BUS].astype(np.int64)]
    to_node = node[branch[:, br.T_BUS].astype(np.int64)]
    live = (branch[:, br.BR_STATUS] == 1) & (from_node >= 0) & (to_node >= 0)
    z = branch[:, br.BR_R] + 1j * branch[:, br.BR_X]
    _refuse_branches(solved, branch, z, live, name)
    series = np.where(live, base_mva / np.where(live, z, 1.0), 0.0)
    charging = base_mva * (branch[:, br.BR_G] + 1j * branch[:, br.BR_B])
    charging_to = charging + base_mva * (branch[:, br.BR_G_ASYM] + 1j * branch[:, br.BR_B_ASYM])
    tap = np.where(branch[:, br.TAP] == 0.0, 1.0, branch[:, br.TAP])
    ratio = tap * np.exp(1j * np.radians(branch[:, br.SHIFT]))

    reference = np.flatnonzero(bus[used, bs.BUS_TYPE] == bs.REF)
    return Admittances(
        bus_node=node[lookup],
        node_vn_kv=bus[used, bs.BASE_KV],
        from_node=np.where(live, from_node, 0),
        to_node=np.where(live, to_node, 0),
        live=live,
        yff=np.where(live, (series + charging / 2) / np.abs(ratio) ** 2, 0.0),
        yft=np.where(live, -series / ratio.conj(), 0.0),
        ytf=np.where(live, -series / ratio, 0.0),
        ytt=np.where(live, series + charging_to / 2, 0.0),
        ratio=np.where(live, ratio, 1.0),
        y_shunt=bus[used, bs.GS] + 1j * bus[used, bs.BS],
        slack_node=reference,
        slack_vm_pu=bus[used, bs.VM][reference],
        slack_va_degree=bus[used, bs.VA][reference],
    )


def _refuse_branches(solved: Any, branch: Any, z: Any, live: Any, name: str) -> None:
    """Branches without a finite impedance, or with two of them."""
    from pandapower.pypower import idx_brch as br

    electrical = [br.BR_R, br.BR_X, br.BR_B, br.BR_G, br.TAP, br.SHIFT]
    finite = np.isfinite(branch[:, electrical]).all(axis=1) & (np.abs(z) > 0.0)
    symmetric = (branch[:, br.BR_R_ASYM] == 0.0) & (branch[:, br.BR_X_ASYM] == 0.0)
    faults = []
    for row in np.flatnonzero(live & ~(finite & symmetric)):
        for table, (start, end) in solved._pd2ppc_lookups["branch"].items():
            if start <= row < end:
                known = table in solved and hasattr(solved[table], "index")
                where = element(solved, table, solved[table].index[row - start]) if known else f"{table} {row}"
                problem = "no finite impedance above 0" if not finite[row] else "impedance differs by direction"
                faults.append(Fault(f"{name}: {where}", problem, "mend it, or join its buses with a switch"))
    if faults:
        raise GridDataError(faults)
