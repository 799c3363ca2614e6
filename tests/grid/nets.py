"""Networks for tests: small ones by hand, random radial ones by hypothesis."""

from __future__ import annotations

import numpy as np
import pandapower as pp
from hypothesis import strategies as st

CABLE = "NAYY 4x150 SE"
TRAFO = "0.4 MVA 20/0.4 kV"


def street(n_house: int = 3):
    """A 20 kV supply, a transformer and a street of houses, with a PV generator and a battery at the end."""
    net = pp.create_empty_network(name="street")
    top = pp.create_bus(net, 20.0, name="supply")
    root = pp.create_bus(net, 0.4, name="busbar")
    pp.create_ext_grid(net, top, vm_pu=1.02, name="grid")
    pp.create_transformer(net, top, root, TRAFO, name="station")
    last = root
    for k in range(n_house):
        bus = pp.create_bus(net, 0.4, name=f"corner {k}")
        pp.create_line(net, last, bus, 0.1, CABLE, name=f"cable {k}")
        pp.create_load(net, bus, p_mw=0.004, q_mvar=0.001, name=f"House {k}")
        last = bus
    pp.create_sgen(net, last, p_mw=0.01, q_mvar=0.0, type="PV", name="Roof")
    pp.create_storage(
        net, last, p_mw=0.0, max_e_mwh=0.01, min_e_mwh=0.0, sn_mva=0.005, soc_percent=50.0, name="Battery"
    )
    return net


@st.composite
def radial_nets(draw):
    """A random radial grid with open and closed switches, parallel systems, taps and idle lines."""
    net = pp.create_empty_network(sn_mva=draw(st.sampled_from([1.0, 0.1, 100.0])))
    offset = draw(st.integers(0, 7))
    top = pp.create_bus(net, 20.0, index=offset)
    root = pp.create_bus(net, 0.4, index=offset + 5)
    pp.create_ext_grid(net, top, vm_pu=draw(st.floats(0.97, 1.05)), va_degree=draw(st.sampled_from([0.0, 30.0])))
    pp.create_transformer(
        net,
        top,
        root,
        TRAFO,
        tap_pos=draw(st.integers(-2, 2)),
        parallel=draw(st.integers(1, 2)),
        df=draw(st.sampled_from([1.0, 0.8])),
    )
    if draw(st.booleans()):
        pp.create_transformer(net, top, root, TRAFO, in_service=False)
    buses = [root]
    for _ in range(draw(st.integers(1, 8))):
        bus = pp.create_bus(net, 0.4)
        parent = draw(st.sampled_from(buses))
        if draw(st.integers(0, 4)) == 0:
            pp.create_switch(net, parent, bus, et="b", closed=True)
        else:
            line = _line(draw, net, parent, bus)
            if draw(st.booleans()):
                pp.create_switch(net, parent, line, et="l", closed=True)
        buses.append(bus)
    for _ in range(draw(st.integers(0, 3))):
        a, b = draw(st.sampled_from(buses)), draw(st.sampled_from(buses))
        if a == b:
            continue
        idle = draw(st.sampled_from(["one end", "both ends", "out of service", "bus-bus"]))
        if idle == "bus-bus":
            pp.create_switch(net, a, b, et="b", closed=False)
            continue
        line = _line(draw, net, a, b)
        if idle == "out of service":
            net.line.loc[line, "in_service"] = False
        else:
            pp.create_switch(net, a, line, et="l", closed=False)
            pp.create_switch(net, b, line, et="l", closed=idle == "one end")
    if draw(st.booleans()):
        dead = pp.create_bus(net, 0.4, in_service=False)
        _line(draw, net, root, dead)
    if draw(st.booleans()):
        pp.create_shunt(net, draw(st.sampled_from(buses)), q_mvar=-0.002, p_mw=0.0005)
    return net


def _line(draw, net, a, b):
    return pp.create_line(
        net,
        a,
        b,
        draw(st.floats(0.005, 0.3)),
        CABLE,
        parallel=draw(st.integers(1, 3)),
        df=draw(st.sampled_from([1.0, 0.7])),
    )


def injections(network, size_mw: float, seed: int):
    """Random injections at the buses that are in service."""
    rng = np.random.default_rng(seed)
    live = network.admittances.bus_node >= 0
    p = np.where(live, rng.normal(0.0, size_mw, network.n_bus), 0.0)
    return p, np.where(live, rng.normal(0.0, size_mw / 3, network.n_bus), 0.0)
