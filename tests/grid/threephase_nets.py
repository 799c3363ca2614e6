"""Unbalanced networks for tests, and a hand-built phase-domain solution that arbitrates."""

from __future__ import annotations

import re

import numpy as np
import pandapower as pp
from hypothesis import strategies as st
from scipy.sparse import coo_array
from scipy.sparse.linalg import splu

FORTESCUE = np.array([[np.exp(-2j * np.pi / 3 * row * column) for column in range(3)] for row in range(3)])


def circulant(zero, positive, negative=None):
    """3x3 phase matrix of the sequence values."""
    values = [zero, positive, positive if negative is None else negative]
    return FORTESCUE @ np.diag(values) @ np.linalg.inv(FORTESCUE)


def line_block(net, line):
    """6x6 phase admittance of a line, siemens: self and mutual impedances."""
    length, omega = line.length_km / line.parallel, 2 * np.pi * net.f_hz
    z0, z1 = complex(line.r0_ohm_per_km, line.x0_ohm_per_km), complex(line.r_ohm_per_km, line.x_ohm_per_km)
    own, mutual = (z0 + 2 * z1) / 3 * length, (z0 - z1) / 3 * length
    series = np.linalg.inv(mutual * np.ones((3, 3)) + (own - mutual) * np.eye(3))
    charge = 1j * omega * 1e-9 * line.length_km * line.parallel * circulant(line.c0_nf_per_km, line.c_nf_per_km)
    return np.block([[series + charge / 2, -series], [-series, series + charge / 2]])


def trafo_block(trafo):
    """6x6 phase admittance of a transformer: three limbs as T circuits, wired by incidence matrices."""
    low = trafo.vn_lv_kv**2 / trafo.sn_mva / trafo.parallel  # ohm
    z1 = low / 100 * complex(trafo.vkr_percent, np.sqrt(trafo.vk_percent**2 - trafo.vkr_percent**2))
    z0 = low / 100 * complex(trafo.vkr0_percent, np.sqrt(trafo.vk0_percent**2 - trafo.vkr0_percent**2))
    zm0 = low / 100 * trafo.vk0_percent * trafo.mag0_percent / 100 * complex(trafo.mag0_rx, 1)
    zm0 /= np.hypot(trafo.mag0_rx, 1)
    iron, idle = trafo.pfe_kw / 1e3 / trafo.sn_mva, trafo.i0_percent / 100
    ym1 = complex(iron, -np.sqrt(max(idle**2 - iron**2, 0))) / low
    high, lower = circulant(trafo.si0_hv_partial * z0, z1 / 2), circulant((1 - trafo.si0_hv_partial) * z0, z1 / 2)
    limb = np.vstack([np.linalg.inv(high), np.linalg.inv(lower)])  # currents into the limbs per inner voltage
    inner = np.linalg.inv(high) + np.linalg.inv(lower) + circulant(1 / zm0, ym1)
    y = np.block([[np.linalg.inv(high), np.zeros((3, 3))], [np.zeros((3, 3)), np.linalg.inv(lower)]])
    y = y - limb @ np.linalg.inv(inner) @ limb.T
    hv, lv = re.fullmatch(r"(D|YN|Y)(d|yn|y)", trafo.vector_group).groups()
    assert trafo.shift_degree in ((30, -30) if (hv == "D") != (lv == "d") else (0, 180))
    turns = trafo.vn_hv_kv / trafo.vn_lv_kv * (-1 if trafo.shift_degree == 180 else 1)
    turn = -1 if trafo.shift_degree == -30 else 1
    wires = np.zeros((6, 8))  # limbs by terminals a, b, c and star point of either side
    wires[:3, :4], wires[3:, 4:] = winding(hv, turn if lv == "d" else -turn) / turns, winding(lv, turn)
    whole = wires.T @ y @ wires
    earthed = [point for point, kind in ((3, hv), (7, lv)) if kind.lower() == "yn"]
    free = [point for point, kind in ((3, hv), (7, lv)) if kind.lower() == "y"]
    if trafo.get("xn_ohm", 0.0):
        for point in earthed:
            whole[point, point] += 1 / complex(0, trafo.xn_ohm)
        free += earthed
    at = [0, 1, 2, 4, 5, 6]
    inside = np.linalg.solve(whole[np.ix_(free, free)], whole[np.ix_(free, at)])
    return whole[np.ix_(at, at)] - whole[np.ix_(at, free)] @ inside


def winding(kind, turn):
    """Limb voltages by terminals and star point, (3, 4), on the base of a star."""
    if kind.lower() == "d":
        return np.hstack([(np.eye(3) - np.roll(np.eye(3), turn, axis=1)) / np.sqrt(3), np.zeros((3, 1))])
    return np.hstack([np.eye(3), -np.ones((3, 1))])


def arbiter(net, p_mw, q_mvar):
    """Phase voltages in pu, (n_bus, 3), of a network in volts, amperes and ohms; no sequence networks."""
    n = len(net.bus)
    rows, columns, values = [], [], []

    def add(start, end, block):
        at = np.concatenate([3 * net.bus.index.get_loc(bus) + np.arange(3) for bus in (start, end)])
        rows.append(np.repeat(at, 6)), columns.append(np.tile(at, 6)), values.append(block.ravel())

    for line in net.line[net.line.in_service].itertuples():
        add(line.from_bus, line.to_bus, line_block(net, line))
    for _, trafo in net.trafo.iterrows():
        add(trafo.hv_bus, trafo.lv_bus, trafo_block(trafo))
    shape = (3 * n, 3 * n)
    y = coo_array((np.concatenate(values), (np.concatenate(rows), np.concatenate(columns))), shape=shape).tolil()
    kilovolt = np.repeat(net.bus.vn_kv.to_numpy() / np.sqrt(3), 3)
    source = net.ext_grid.iloc[0]
    slack = 3 * net.bus.index.get_loc(source.bus) + np.arange(3)
    x = 1.1 * net.bus.vn_kv[source.bus] ** 2 / source.s_sc_max_mva / np.hypot(source.rx_max, 1)
    held = np.linalg.inv(FORTESCUE)
    slack_rows = held @ y[slack].toarray()
    slack_rows[0, slack] += held[0] / (source.x0x_max * x * complex(source.r0x0_max, 1))
    slack_rows[2, slack] += held[2] / (x * complex(source.rx_max, 1))
    slack_rows[1] = 0
    slack_rows[1, slack] = held[1]
    y[slack] = slack_rows
    solver = splu(y.tocsc())
    power = (p_mw + 1j * q_mvar).ravel()
    voltage = kilovolt * np.tile(FORTESCUE[:, 1], n)
    e_1 = source.vm_pu * net.bus.vn_kv[source.bus] / np.sqrt(3) * np.exp(1j * np.radians(source.va_degree))
    for _ in range(200):
        current = np.conj(power / voltage)
        current[slack] = held @ current[slack]
        current[slack[1]] = e_1
        last, voltage = voltage, solver.solve(current)
        if np.abs((voltage - last) / kilovolt).max() < 1e-10:
            return (voltage / kilovolt).reshape(n, 3)
    raise AssertionError("the arbiter does not converge")


def feeder(vector_group="Dyn", shift=30.0, n_house=2):
    """10 kV supply, transformer, street: four buses."""
    net = pp.create_empty_network(sn_mva=1.0)
    top, last = pp.create_bus(net, 10.0, name="supply"), pp.create_bus(net, 0.4, name="busbar")
    grid = {"s_sc_max_mva": 150.0, "rx_max": 0.2, "x0x_max": 1.5, "r0x0_max": 0.4}
    pp.create_ext_grid(net, top, vm_pu=1.02, name="grid", **grid)
    zero = {"vk0_percent": 5.0, "vkr0_percent": 1.2, "mag0_percent": 800.0, "mag0_rx": 0.3, "si0_hv_partial": 0.8}
    parameters = {"sn_mva": 0.25, "vn_hv_kv": 10.25, "vn_lv_kv": 0.4, "vk_percent": 4.2, "vkr_percent": 1.1}
    pp.create_transformer_from_parameters(
        net, top, last, **parameters, **zero, pfe_kw=0.5, i0_percent=0.6, vector_group=vector_group,
        shift_degree=shift, name="station",
    )  # fmt: skip
    cable = {"r_ohm_per_km": 0.2, "x_ohm_per_km": 0.08, "c_nf_per_km": 800.0, "max_i_ka": 0.27}
    zero = {"r0_ohm_per_km": 0.8, "x0_ohm_per_km": 0.3, "c0_nf_per_km": 400.0}
    for k in range(n_house):
        bus = pp.create_bus(net, 0.4, name=f"corner {k}")
        pp.create_line_from_parameters(net, last, bus, 0.15 * (k + 1), **cable, **zero, name=f"cable {k}")
        pp.create_asymmetric_load(net, bus, p_a_mw=0.008, p_b_mw=0.002, q_a_mvar=0.001, name=f"house {k}")
        last = bus
    return net


def chain(vector_group, shift):
    """110 kV supply, line with an unbalanced load, transformer under test, 10 kV line, and the `feeder` below."""
    net = feeder()
    net.bus.loc[0, "name"] = "substation"
    top, mast, busbar = (
        pp.create_bus(net, kv, name=name) for kv, name in ((110.0, "top"), (110.0, "mast"), (10.0, "mv"))
    )
    net.ext_grid["bus"] = top
    line = {"r_ohm_per_km": 0.12, "x_ohm_per_km": 0.4, "c_nf_per_km": 9.0, "max_i_ka": 0.6}
    zero = {"r0_ohm_per_km": 0.4, "x0_ohm_per_km": 1.2, "c0_nf_per_km": 5.0}
    pp.create_line_from_parameters(net, top, mast, 8.0, **line, **zero, name="overhead")
    line, zero = line | {"c_nf_per_km": 250.0}, zero | {"c0_nf_per_km": 200.0}
    pp.create_line_from_parameters(net, busbar, 0, 3.0, **line, **zero, name="mv cable")
    zero = {"vk0_percent": 9.0, "vkr0_percent": 0.7, "mag0_percent": 300.0, "mag0_rx": 0.2, "si0_hv_partial": 0.4}
    parameters = {"sn_mva": 4.0, "vn_hv_kv": 110.0, "vn_lv_kv": 10.4, "vk_percent": 10.0, "vkr_percent": 0.6}
    pp.create_transformer_from_parameters(
        net, mast, busbar, **parameters, **zero, pfe_kw=4.0, i0_percent=0.1, vector_group=vector_group,
        shift_degree=shift, name="bulk",
    )  # fmt: skip
    pp.create_asymmetric_load(net, mast, p_a_mw=3.0, p_b_mw=0.4, q_c_mvar=0.9, name="railway")
    return net


def random_injections(net, size_mw, seed):
    """Random injections by phase at the low-voltage buses."""
    rng = np.random.default_rng(seed)
    low = (net.bus.vn_kv.to_numpy() < 1.0)[:, None]
    return low * rng.normal(-size_mw, size_mw, (len(net.bus), 3)), low * rng.normal(0, size_mw / 3, (len(net.bus), 3))


@st.composite
def unbalanced_nets(draw):
    """A random radial street behind a transformer, with a load at every corner and some of them on one phase."""
    group, shift = draw(st.sampled_from([("Dyn", 30.0), ("Dyn", -30.0), ("YNyn", 0.0), ("YNyn", 180.0)]))
    net = feeder(group, shift, n_house=1)
    net.sn_mva = 0.01
    net.ext_grid["s_sc_max_mva"] = draw(st.floats(20.0, 5000.0))
    net.trafo["si0_hv_partial"] = draw(st.floats(0.1, 0.9))
    net.trafo["mag0_percent"] = draw(st.floats(100.0, 1e4))
    power = st.integers(-10, 10).map(lambda kilowatt: 1e-3 * kilowatt)
    for _ in range(draw(st.integers(1, 5))):
        bus = pp.create_bus(net, 0.4)
        parent = draw(st.sampled_from(list(net.bus.index[1:-1])))
        cable = {"r_ohm_per_km": draw(st.floats(0.1, 0.9)), "x_ohm_per_km": 0.08, "max_i_ka": 0.2}
        zero = {"r0_ohm_per_km": draw(st.floats(0.2, 2.0)), "x0_ohm_per_km": draw(st.floats(0.05, 0.5))}
        charge = {"c_nf_per_km": draw(st.integers(0, 800)), "c0_nf_per_km": draw(st.integers(0, 400))}
        pp.create_line_from_parameters(net, parent, bus, draw(st.floats(0.01, 0.2)), **cable, **zero, **charge)
        watts = {f"p_{phase}_mw": draw(power) for phase in "abc"}
        pp.create_asymmetric_load(net, bus, **watts, q_b_mvar=draw(power) / 3)
    return net
