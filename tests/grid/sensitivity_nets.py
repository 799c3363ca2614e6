"""Networks for the tests of sensitivities, and derivatives by central differences of the engine."""

from __future__ import annotations

import functools

import numpy as np
import pandapower as pp
import pandapower.networks as pn
from hypothesis import strategies as st

from peerwatt.grid.convert import convert_net, quiet
from peerwatt.grid.engine import make_engine
from tests.grid.nets import CABLE, injections, radial_nets, street

SIZES_MW = {"village": 0.003, "case33bw": 0.1, "CIGRE MV": 0.3, "ring": 0.01, "two supplies": 0.01}


@st.composite
def meshed_nets(draw):
    """A random radial grid whose buses a few more cables join."""
    net = draw(radial_nets())
    low = net.bus.index[(net.bus.vn_kv == 0.4) & net.bus.in_service].tolist()
    for _ in range(draw(st.integers(1, 3))):
        a, b = draw(st.sampled_from(low)), draw(st.sampled_from(low))
        if a != b:
            pp.create_line(net, a, b, draw(st.floats(0.05, 0.3)), CABLE)
    return net


def ring():
    net = street(5)
    pp.create_line(net, 1, 5, 0.2, CABLE)
    pp.create_line(net, 3, 6, 0.1, CABLE)
    return net


def two_supplies():
    net = ring()
    pp.create_ext_grid(net, 4, vm_pu=1.0, va_degree=-150.0)
    return net


@functools.cache
def network(name):
    with quiet():
        net = {
            "case33bw": pn.case33bw,
            "CIGRE MV": lambda: pn.create_cigre_network_mv(with_der="all"),
            "ring": ring,
            "two supplies": two_supplies,
        }[name]()
    return convert_net(net, name)


def solved(network, size_mw, seed=1):
    """An engine, a random state and its injections."""
    engine = make_engine("power-grid-model", network)
    p_mw, q_mvar = injections(network, size_mw, seed)
    state = engine.solve(p_mw, q_mvar)
    assert state.converged
    return engine, state


def rated(state, name):
    """A quantity of lines, then transformers."""
    return np.concatenate([getattr(state.line, name), getattr(state.trafo, name)])


def difference(engine, state, read, dp, dq):
    """Central difference of what `read` takes from a state, along (dp, dq)."""
    plus = engine.solve(state.p_mw + dp, state.q_mvar + dq)
    minus = engine.solve(state.p_mw - dp, state.q_mvar - dq)
    return (read(plus) - read(minus)) / 2.0
