"""What trades really do to a grid: its power flow, solved again with one kilowatt moved from buyer to seller.

Only pandapower's admittances are used, and a fixed-point iteration that solves all variants of a net at once.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np
import pandapower as pp

from peerwatt.agents.policies import Checked, GridView
from peerwatt.grid.convert import convert_net
from peerwatt.grid.engine import make_engine
from peerwatt.grid.network import Network
from peerwatt.grid.trade_effect import FlowModel

KW = 1e-3
Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Truth:
    """A net, its solution, and differences per MW; branches are lines, then transformers.

    Attributes:
        network: the net as peerwatt reads it, every limit far away.
        bus: (n_peers,) buses of the peers, in no order, two at one bus.
        p_mw, q_mvar: (n_bus,) injections.
        flow_mw, flow_mvar: (n_branch,) into the from end.
        loading: (n_branch,) percent.
        vm_pu: (n_bus,) voltages.
        by_trade: changes of `flow_mw`, `loading`, `vm_pu` and losses per MW that i sells to j, (..., n_peers, n_peers).
        by_mw, by_mvar: changes of `flow_mw`, `flow_mvar`, `vm_pu` and losses per MW, Mvar fed in, (..., n_peers).
        plain: solves the net.
        dc_by_mw: change of the flows of a lossless power flow, (n_branch, n_peers).
    """

    network: Network
    bus: Array
    p_mw: Array
    q_mvar: Array
    flow_mw: Array
    flow_mvar: Array
    loading: Array
    vm_pu: Array
    by_trade: dict[str, Array]
    by_mw: dict[str, Array]
    by_mvar: dict[str, Array]
    plain: Plain
    dc_by_mw: Array

    def view(
        self,
        full: dict[int, float] | None = None,
        outside: dict[int, float] | None = None,
        off: dict[int, float] | None = None,
        model: FlowModel = FlowModel.AC,
    ) -> GridView:
        """The grid as a policy sees it.

        Args:
            full: occupancy of some branches, as a share of the limit; all others are at a thousandth.
            outside: by how much some voltages are above (positive) or below a limit, pu; these bands are 0.1 pu wide.
            off: where in such a band some voltages are, from -1 for its lower edge to 1. All others are far inside.
            model: how sensitivities are worked out.
        """
        share = np.full(len(self.loading), 1e-3)
        share[list(full or {})] = list((full or {}).values())
        limit, network, n = self.loading / share, self.network, self.network.n_line
        low, high = self.vm_pu - 0.5, self.vm_pu + 0.5
        places = {bus: np.sign(beyond) + beyond / 0.05 for bus, beyond in (outside or {}).items()} | (off or {})
        for bus, place in places.items():
            low[bus], high[bus] = self.vm_pu[bus] - 0.05 * (place + 1.0), self.vm_pu[bus] - 0.05 * (place - 1.0)
        limited = replace(
            network,
            lines=replace(network.lines, max_loading_percent=limit[:n]),
            trafos=replace(network.trafos, max_loading_percent=limit[n:]),
            buses=replace(network.buses, min_vm_pu=low, max_vm_pu=high),
        )
        state = make_engine("power-grid-model", network).solve(self.p_mw, self.q_mvar)
        return GridView(limited, state, self.bus, model)

    def solved(self, change_mw: Array) -> dict[str, Array]:
        """The grid when peers feed in (n_peers,) more, as `Plain` says it."""
        return self.plain(self.p_mw + np.bincount(self.bus, change_mw, len(self.p_mw)), self.q_mvar)


class Plain:
    """A power flow from the admittances of a net that pandapower has solved.

    Args:
        net: a solved net with one external grid at its first bus, buses numbered from 0.
    """

    def __init__(self, net: Any) -> None:
        internal, order = net._ppc["internal"], net._pd2ppc_lookups["bus"][net.bus.index]
        y, self._yf, self._yt = (internal[key].toarray()[:, order] for key in ("Ybus", "Yf", "Yt"))
        y = y[order]
        self._y0, self.impedance = y[0], np.linalg.inv(y[1:, 1:])
        angle = np.deg2rad(net.ext_grid.va_degree.iloc[0])
        self._slack = net.ext_grid.vm_pu.iloc[0] * np.exp(1j * angle)
        self._idle = -self.impedance @ y[1:, 0] * self._slack
        branch, position = net._ppc["branch"].real, np.argsort(order)
        self._from, self._to = position[branch[:, :2].astype(int)].T
        self._x, self._tap = branch[:, 3], branch[:, 8]
        self._base = net._ppc["baseMVA"]
        current = self._currents(net.res_bus.vm_pu.to_numpy() * np.exp(1j * np.deg2rad(net.res_bus.va_degree)))
        percent = np.concatenate((net.res_line.loading_percent, net.res_trafo.loading_percent))
        self._percent = percent / np.abs(current).max(axis=0)

    def _currents(self, v: Array) -> Array:
        return np.stack((v @ self._yf.T, v @ self._yt.T))

    def lossless(self) -> Array:
        """Change of the flows of a power flow without losses per MW at each bus, (n_branch, n_bus)."""
        ends = np.eye(len(self.impedance) + 1)[self._from] - np.eye(len(self.impedance) + 1)[self._to]
        along = ends / (self._x * self._tap)[:, None]
        response = np.zeros_like(ends)
        response[:, 1:] = along[:, 1:] @ np.linalg.inv((ends.T @ along)[1:, 1:])
        return response

    def __call__(self, p_mw: Array, q_mvar: Array) -> dict[str, Array]:
        """Solve for injections (..., n_bus)."""
        s = (np.asarray(p_mw) + 1j * np.asarray(q_mvar)) / self._base
        v = np.ones_like(s) * self._slack
        v[..., 1:] = self._idle
        for _ in range(200):
            before = v.copy()
            v[..., 1:] = self._idle + np.conj(s[..., 1:] / v[..., 1:]) @ self.impedance.T
            if np.abs(v - before).max() < 1e-14:
                break
        current = self._currents(v)
        flow = v[..., self._from] * np.conj(current[0]) * self._base
        slack_mw = (v[..., 0] * np.conj(v @ self._y0)).real * self._base
        return {
            "flow_mw": flow.real,
            "flow_mvar": flow.imag,
            "loading": np.abs(current).max(axis=0) * self._percent,
            "vm_pu": np.abs(v),
            "losses": slack_mw + np.asarray(p_mw)[..., 1:].sum(axis=-1),
        }


def tapped_mesh() -> Any:
    """Two transformers with unequal taps feed one low-voltage ring with a spur."""
    net = pp.create_empty_network("mesh")
    high = [pp.create_bus(net, 20.0) for _ in range(2)]
    low = [pp.create_bus(net, 0.4) for _ in range(6)]
    pp.create_ext_grid(net, high[0], vm_pu=1.01)
    pp.create_line(net, high[0], high[1], 0.5, "NA2XS2Y 1x95 RM/25 12/20 kV")
    for (a, b), km in {(0, 1): 0.2, (1, 2): 0.15, (2, 3): 0.1, (3, 4): 0.12, (4, 0): 0.25, (3, 5): 0.1}.items():
        pp.create_line(net, low[a], low[b], km, "NAYY 4x150 SE")
    pp.create_transformer(net, high[0], low[0], "0.25 MVA 20/0.4 kV", tap_pos=2)
    pp.create_transformer(net, high[1], low[2], "0.4 MVA 20/0.4 kV", tap_pos=1)
    return net


def feeder(seed: int) -> Any:
    """A random radial feeder; some lines point towards the transformer."""
    rng = np.random.default_rng(seed)
    net = pp.create_empty_network(f"feeder {seed}")
    low = [pp.create_bus(net, 20.0), *(pp.create_bus(net, 0.4) for _ in range(7))]
    pp.create_ext_grid(net, low[0], vm_pu=1.0)
    pp.create_transformer(net, low[0], low[1], "0.25 MVA 20/0.4 kV", tap_pos=int(rng.integers(-1, 2)))
    for each in range(2, 8):
        ends = (low[int(rng.integers(1, each))], low[each])
        pp.create_line(net, *(ends if rng.random() < 0.5 else ends[::-1]), rng.uniform(0.05, 0.2), "NAYY 4x150 SE")
    return net


NETS: dict[str, Callable[[], Any]] = {
    "mesh": tapped_mesh,
    "feeder 1": lambda: feeder(1),
    "feeder 2": lambda: feeder(2),
}


@cache
def truth(name: str, sign: int = 1) -> Truth:
    """Solve a net with random injections and every trade of one kilowatt.

    Args:
        name: of the net.
        sign: 1, or -1 for all injections the other way.
    """
    net = NETS[name]()
    network = convert_net(net, name)
    n_bus = len(net.bus)
    rng = np.random.default_rng(len(name) + ord(name[-1]))
    bus = rng.permutation(np.arange(2, n_bus))[:4]
    bus = np.append(bus, bus[1])
    p_mw, q_mvar = np.zeros(n_bus), np.zeros(n_bus)
    p_mw[2:] = sign * rng.uniform(0.002, 0.012, n_bus - 2) * np.where(np.arange(n_bus - 2) % 3 == 0, 2.0, -1.0)
    q_mvar[2:] = -rng.uniform(0.0005, 0.003, n_bus - 2)
    plain = Plain(solved_by_pandapower(net, p_mw, q_mvar))
    base = plain(p_mw, q_mvar)
    one, no = KW * np.eye(n_bus)[bus], np.zeros(n_bus)

    def slope(p: Array, q: Array) -> dict[str, Array]:
        """Differences; what is moved, (..., n_bus), comes last in them."""
        plus, minus = (plain(p_mw + way * p, q_mvar + way * q) for way in (0.5, -0.5))
        moved = p.ndim + q.ndim - 2
        last = tuple(range(-moved, 0))
        return {key: np.moveaxis((plus[key] - minus[key]) / KW, range(moved), last) for key in plus}

    return Truth(
        network,
        bus,
        p_mw,
        q_mvar,
        base["flow_mw"],
        base["flow_mvar"],
        base["loading"],
        base["vm_pu"],
        slope(one[:, None] - one[None, :], no),
        slope(one, no),
        slope(no, one),
        plain,
        plain.lossless()[:, bus],
    )


def solved_by_pandapower(net: Any, p_mw: Array, q_mvar: Array) -> Any:
    """Solve a net with one static generator at each bus."""
    pp.create_sgens(net, net.bus.index, p_mw=p_mw, q_mvar=q_mvar)
    pp.runpp(net, tolerance_mva=1e-11, numba=False)
    return net


def fullest(grid: Truth, n: int = 2) -> Array:
    """Branches with the largest active flows, the largest first."""
    return np.argsort(-np.abs(grid.flow_mw))[:n]


def most_active(grid: Truth) -> int:
    """The branch with the largest active flow of those that carry more active than reactive power."""
    return int(np.argmax(np.where(np.abs(grid.flow_mw) > np.abs(grid.flow_mvar), np.abs(grid.flow_mw), 0.0)))


def checked(view: GridView, change_mw: Any = (0.0,) * 5, *, ok: bool = False, **other: Any) -> Checked:
    """A check of two sellers, two buyers and one that does not trade, where nothing else is said."""
    roles = {each: np.zeros(5, dtype=np.bool_) for each in ("generates", "consumes", "reacts", "virtual")}
    fields: dict[str, Any] = {"congestion": True, "voltage": True, "trial": lambda _: view.state} | roles | other
    return Checked(view=view, ok=ok, change_mw=np.array(change_mw), **fields)
