"""From a pandapower network to a `ThreePhaseNetwork`.

Nodes, switches, taps and the positive sequence are those of `convert_net`. Added are the transformers' T
circuit, which `runpp_3ph` has, and the zero sequence. In the zero sequence a transformer is the star

    hv --- z_hv --- m --- z_lv --- lv        z_hv = si0 z_k0, z_lv = (1 - si0) z_k0
                    |
                   z_m                       |z_m| = mag0_percent / 100 |z_k0|

of one limb. An earthed star winding (YN) is connected to its terminal, through three times the impedance of
its neutral; a delta winding is closed to earth and its terminal is open; of a star winding that is not
earthed both are open (Grainger and Stevenson, Power System Analysis, section 11.8).
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from peerwatt.errors import Fault, GridDataError
from peerwatt.grid.admittance import Admittances, Complexes, Floats
from peerwatt.grid.check import check_net
from peerwatt.grid.columns import column, in_service, texts
from peerwatt.grid.convert import convert_arranged, net_text
from peerwatt.grid.netread import arranged
from peerwatt.grid.threephase_check import check_three_phase, windings
from peerwatt.grid.threephase_network import ThreePhaseNetwork, ZeroSequence

if TYPE_CHECKING:
    from pandapower import pandapowerNet

__all__ = ["convert_three_phase"]

_ASYMMETRIC = {"asymmetric_load": -1.0, "asymmetric_sgen": 1.0}
_SYMMETRIC = {"load": -1.0, "sgen": 1.0, "storage": -1.0}
_C_MAX = 1.1  # voltage factor of IEC 60909, as in pandapower


def convert_three_phase(net: pandapowerNet, name: str) -> ThreePhaseNetwork:
    """Convert a pandapower network; the network given is not changed.

    Args:
        net: network of pandapower 3 with zero sequence data.
        name: what to call it in messages.

    Raises:
        GridDataError: everything that is missing, contradictory or not supported, all at once.
    """
    net = arranged(net, name)
    bare = _without_asymmetric(net)
    _check(bare, net, name)
    grid = convert_arranged(bare, name)
    model = _with_t_circuits(grid.admittances, net, grid.n_line)
    zero = _zero_sequence(grid.admittances, net, grid.n_line)
    _refuse_floating(model, zero, grid.buses.name, name)
    p_mw, q_mvar = _injections(net)
    return ThreePhaseNetwork(
        replace(grid, admittances=model, pandapower_json=net_text(net, name)), zero, np.ascontiguousarray(p_mw), q_mvar
    )


def _without_asymmetric(net: Any) -> Any:
    bare = type(net)(dict(net))
    for table in _ASYMMETRIC:
        if table in bare:
            bare[table] = bare[table].iloc[:0]
    return bare


def _check(bare: Any, net: Any, name: str) -> None:
    """Raise what is wrong with the network in one phase and in three."""
    faults: list[Fault] = []
    for check, given in ((check_net, bare), (check_three_phase, net)):
        try:
            check(given, name)
        except GridDataError as error:
            known = {fault.where for fault in faults}
            faults += [fault for fault in error.faults if fault.where not in known]
    if faults:
        raise GridDataError(faults)


def _injections(net: Any) -> tuple[Floats, Floats]:
    """Net injection of all units by bus and phase, both (n_bus, 3)."""
    power = np.zeros((2, len(net.bus), 3))
    for tables, split in ((_ASYMMETRIC, False), (_SYMMETRIC, True)):
        for table, sign in tables.items():
            frame = net.get(table)
            if frame is None or not len(frame):
                continue
            scale = sign * column(frame, "scaling", 1.0) * in_service(frame)
            at = net.bus.index.get_indexer(frame.bus.to_numpy())
            for row, (kind, unit) in enumerate((("p", "mw"), ("q", "mvar"))):
                for phase, letter in enumerate("abc"):
                    label = f"{kind}_{unit}" if split else f"{kind}_{letter}_{unit}"
                    value = column(frame, label, 0.0) / (3.0 if split else 1.0)
                    np.add.at(power[row, :, phase], at, scale * value)
    return power[0], power[1]


def _with_t_circuits(model: Admittances, net: Any, n_line: int) -> Admittances:
    """Move the magnetising branch of the transformers from both ends to between the leakages."""
    rows = np.arange(n_line, n_line + len(net.trafo))
    rows = rows[model.live[rows]]
    ratio = model.ratio[rows]
    z = -1.0 / (model.ytf[rows] * ratio)
    y = 2.0 * (model.ytt[rows] - 1.0 / z)
    y = np.where(np.abs(y * z) < 1e-12, 0.0, y)  # rounding of a transformer without no-load current
    trafo = rows - n_line
    share_r = column(net.trafo, "leakage_resistance_ratio_hv", 0.5)[trafo]
    share_x = column(net.trafo, "leakage_reactance_ratio_hv", 0.5)[trafo]
    z_hv = share_r * z.real + 1j * share_x * z.imag
    z_lv = z - z_hv
    series = 1.0 / (z + z_hv * z_lv * y)
    yff, yft = model.yff.copy(), model.yft.copy()
    ytf, ytt = model.ytf.copy(), model.ytt.copy()
    yff[rows] = series * (1.0 + y * z_lv) / np.abs(ratio) ** 2
    ytt[rows] = series * (1.0 + y * z_hv)
    yft[rows], ytf[rows] = -series / ratio.conj(), -series / ratio
    return replace(model, yff=yff, yft=yft, ytf=ytf, ytt=ytt)


def _zero_sequence(model: Admittances, net: Any, n_line: int) -> ZeroSequence:
    n_rated = n_line + len(net.trafo)
    yff, yft = model.yff.copy(), model.yft.copy()  # what is no line or transformer: a switch, like the positive
    ytf, ytt = model.ytf.copy(), model.ytt.copy()
    ratio = np.ones(model.n_branch)
    series, charging = _line_admittances(model, net, n_line)
    live = model.live[:n_line]
    yff[:n_line] = ytt[:n_line] = np.where(live, series + charging / 2.0, 0.0)
    yft[:n_line] = ytf[:n_line] = np.where(live, -series, 0.0)
    hh, hl, ll = _trafo_admittances(model, net, n_line)
    live, turn = model.live[n_line:n_rated], model.ratio[n_line:n_rated]
    amount = np.abs(turn)
    sign = np.where(np.abs(hl) > 0.0, np.sign(turn.real), 1.0)  # only of YNyn, with clock 0 or 6
    ratio[n_line:n_rated] = amount * sign
    yff[n_line:n_rated] = np.where(live, hh / amount**2, 0.0)
    yft[n_line:n_rated] = ytf[n_line:n_rated] = np.where(live, hl / (amount * sign), 0.0)
    ytt[n_line:n_rated] = np.where(live, ll, 0.0)
    y0, y2 = _source_admittances(net)
    return ZeroSequence(yff, yft, ytf, ytt, ratio, np.array([y0]), np.array([y2]))


def _line_admittances(model: Admittances, net: Any, n_line: int) -> tuple[Complexes, Complexes]:
    """Series admittance and charging of the lines, MVA at 1 pu."""
    line, vn_kv = net.line, model.node_vn_kv[model.from_node[:n_line]]
    length, parallel = column(line, "length_km", np.nan), column(line, "parallel", 1.0)
    z = (column(line, "r0_ohm_per_km", np.nan) + 1j * column(line, "x0_ohm_per_km", np.nan)) * length / parallel
    farad = column(line, "c0_nf_per_km", 0.0) * 1e-9 * length * parallel
    charging = np.asarray(2j * np.pi * float(net.f_hz) * farad * vn_kv**2, dtype=np.complex128)
    with np.errstate(divide="ignore", invalid="ignore"):
        series = np.asarray(vn_kv**2 / z, dtype=np.complex128)
    return series, charging


def _trafo_admittances(model: Admittances, net: Any, n_line: int) -> tuple[Complexes, Complexes, Complexes]:
    """Two-port of each transformer on its low-voltage side: hv-hv, hv-lv, lv-lv, MVA at 1 pu.

    The model is that of `convert_net`, where the series impedance is vk_percent of the rated one.
    """
    trafo, rows = net.trafo, slice(n_line, n_line + len(net.trafo))
    hh, hl, ll = (np.zeros(len(trafo), dtype=np.complex128) for _ in range(3))
    vn_lv_kv, vn_hv_kv = model.node_vn_kv[model.to_node[rows]], model.node_vn_kv[model.from_node[rows]]
    with np.errstate(divide="ignore"):
        z_1 = 1.0 / np.abs(model.ytf[rows] * model.ratio[rows])  # parallel units and the tap are in it
    per_percent = z_1 / column(trafo, "vk_percent", np.nan)  # pu of 1 MVA
    vk0, vkr0 = column(trafo, "vk0_percent", np.nan), column(trafo, "vkr0_percent", np.nan)
    rx, share = column(trafo, "mag0_rx", 0.0), column(trafo, "si0_hv_partial", 0.5)
    z_k = (vkr0 + 1j * np.sqrt(np.maximum(vk0**2 - vkr0**2, 0.0))) * per_percent
    z_m = column(trafo, "mag0_percent", np.nan) / 100.0 * vk0 * per_percent * (rx + 1j) / np.hypot(rx, 1.0)
    neutral = 3.0 * (column(trafo, "rn_ohm", 0.0) + 1j * column(trafo, "xn_ohm", 0.0))
    base = {"hv": (vn_hv_kv * np.abs(model.ratio[rows])) ** 2, "lv": vn_lv_kv**2}
    for k, text in enumerate(texts(trafo, "vector_group")):
        pair = windings(text)
        if pair is None or "yn" not in pair or not model.live[n_line + k]:
            continue
        z = {"hv": share[k] * z_k[k], "lv": (1.0 - share[k]) * z_k[k]}
        hh[k], hl[k], ll[k] = _limb(pair, z, z_m[k], {side: neutral[k] / base[side][k] for side in z})
    return hh, hl, ll


def _limb(
    pair: tuple[str, str], z: dict[str, complex], z_m: complex, neutral: dict[str, complex]
) -> tuple[complex, complex, complex]:
    """Eliminate the inner node m of the star in the head of this module."""
    tiny = 1e-12 * abs(z["hv"] + z["lv"])  # a share of 0 or 1 leaves one leakage without impedance
    terminal, inner = {}, 1.0 / z_m
    for side, winding in zip(("hv", "lv"), pair, strict=True):
        terminal[side] = 1.0 / (z[side] + neutral[side] + tiny) if winding == "yn" else 0.0
        inner += 1.0 / (z[side] + tiny) if winding == "d" else 0.0
    total = terminal["hv"] + terminal["lv"] + inner
    hv, lv = terminal["hv"], terminal["lv"]
    return hv - hv * hv / total, -hv * lv / total, lv - lv * lv / total


def _source_admittances(net: Any) -> tuple[complex, complex]:
    """Zero and negative sequence admittance of the external grids at the slack, MVA at 1 pu (IEC 60909)."""
    y0 = y2 = 0j
    frame = net.ext_grid
    sk, rx = column(frame, "s_sc_max_mva", np.nan), column(frame, "rx_max", np.nan)
    x0x, r0x0 = column(frame, "x0x_max", np.nan), column(frame, "r0x0_max", np.nan)
    for k in np.flatnonzero(in_service(frame)):
        x = _C_MAX / sk[k] / np.hypot(rx[k], 1.0)
        y2 += 1.0 / complex(rx[k] * x, x)
        y0 += 1.0 / (x0x[k] * x * complex(r0x0[k], 1.0))
    return y0, y2


def _refuse_floating(model: Admittances, zero: ZeroSequence, bus_names: tuple[str, ...], name: str) -> None:
    """Buses whose zero sequence voltage nothing holds."""
    passing = np.flatnonzero(model.live & (np.abs(zero.yft) > 0.0))
    edges = (np.ones(len(passing)), (model.from_node[passing], model.to_node[passing]))
    _, part = connected_components(coo_array(edges, shape=(model.n_node, model.n_node)), directed=False)
    held = np.zeros(part.max() + 1, dtype=np.bool_)
    held[part[model.slack_node]] = True
    size = np.zeros(model.n_node)
    np.add.at(size, model.from_node, np.abs(zero.yff))
    np.add.at(size, model.to_node, np.abs(zero.ytt))
    held[part[np.abs(zero.shunts(model)) > 1e-13 * size]] = True
    floating = np.flatnonzero((model.bus_node >= 0) & ~held[part[np.maximum(model.bus_node, 0)]])
    if len(floating):
        shown = ", ".join(bus_names[k] for k in floating[:20])
        more = f" and {len(floating) - 20} more" if len(floating) > 20 else ""
        raise GridDataError(
            Fault(
                f"{name}: bus",
                f"{len(floating)} buses have no zero sequence path to earth: {shown}{more}",
                "earth a star point (vector group with yn at this side), or give c0_nf_per_km",
            )
        )
