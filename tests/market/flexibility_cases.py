"""Random flexibility markets on radial grids, and the dense linear program that they are, for scipy."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy.optimize import linprog

from peerwatt.market.flexibility import FlexibilityBook
from peerwatt.market.limits import NetworkLimits, Tree, VoltageLimits

__all__ = [
    "Case",
    "cost_by_linprog",
    "path_matrix",
    "random_case",
    "random_sensitivities",
    "random_tree",
    "shortfall_by_linprog",
]


@dataclass(frozen=True)
class Case:
    """A market, its network as a tree, and its PTDF."""

    book: FlexibilityBook
    limits: NetworkLimits
    ptdf: np.ndarray

    @property
    def as_matrix(self) -> NetworkLimits:
        return replace(self.limits, response=self.ptdf)


def path_matrix(tree: Tree, n_constraints: int) -> np.ndarray:
    """PTDF of a tree by walking from every node to the external grid."""
    ptdf = np.zeros((n_constraints, tree.n_nodes))
    for node in range(tree.n_nodes):
        at = node
        while tree.parent[at] >= 0:
            if tree.constraint[at] >= 0:
                ptdf[tree.constraint[at], node] = tree.direction[at]
            at = tree.parent[at]
    return ptdf


def random_case(
    seed: int,
    *,
    n_nodes: int | None = None,
    n_bids: int | None = None,
    solvable: bool = True,
    voltages: bool = False,
    ties: bool = False,
    scale: float = 1.0,
) -> Case:
    """A congested market; `solvable` by construction, else perhaps not.

    Nodes have random numbers, some branches are not limited, flows are counted either way and are not what the
    injections of the linear model would make, as those of an AC power flow.
    """
    rng = np.random.default_rng(seed)
    n = int(rng.integers(2, 12)) if n_nodes is None else n_nodes
    m = int(rng.integers(1, 20)) if n_bids is None else n_bids
    tree, n_constraints = random_tree(rng, n)
    ptdf = path_matrix(tree, n_constraints)
    direction = rng.choice([-1, 1], m)
    price = np.where(direction > 0, rng.uniform(45, 55, m), rng.uniform(-15, -5, m))
    if rng.random() < 0.2:
        price = rng.uniform(-30, 60, m)  # some make money without congestion
    p_max = rng.uniform(0.0, 0.1, m) * (rng.random(m) < 0.9)
    if ties:
        price, p_max = 10.0 * np.round(price / 10.0), np.round(p_max, 1)
    book = FlexibilityBook(
        rng.integers(0, 5, m), rng.integers(0, n, m), direction, scale * p_max, price, 5, float(rng.choice([0.25, 1.0]))
    )
    flow = rng.normal(0.0, 0.2, n_constraints)
    by_p = random_sensitivities(rng, tree) if voltages else np.zeros((0, n))
    vm_pu = 1.0 + rng.normal(0.0, 0.02, len(by_p))
    added = _some_solution(rng, direction, p_max, book.node, n)
    after, vm_after = flow + ptdf @ added, vm_pu + by_p @ added
    if not solvable:
        after, vm_after = after * rng.uniform(0.2, 1.0), 1.0 + (vm_after - 1.0) * rng.uniform(0.2, 1.0)
    lower, upper = _limits_around(rng, after)
    voltage = None
    if voltages:
        band = rng.uniform(0.0, 0.01, len(by_p))
        voltage = VoltageLimits(vm_pu, np.minimum(vm_after - band, 1.0), np.maximum(vm_after + band, 1.0), by_p / scale)
    return Case(book, NetworkLimits(scale * flow, scale * lower, scale * upper, tree, voltage), ptdf)


def _limits_around(rng: np.random.Generator, after: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Limits that flows of `after` meet, some of them exactly, some endless."""
    n = after.size
    margin = rng.uniform(0.0, 0.3, n) * rng.choice([0.0, 1.0], n)
    upper = np.where(rng.random(n) < 0.8, np.maximum(after, 0.0) + margin, np.inf)
    return np.where(rng.random(n) < 0.8, np.minimum(after, 0.0) - margin, -np.inf), upper


def random_tree(rng: np.random.Generator, n: int) -> tuple[Tree, int]:
    n_roots = 1 if rng.random() < 0.8 else min(2, n)
    parent = np.array([-1] * n_roots + [int(rng.integers(max(0, k - 4), k)) for k in range(n_roots, n)])
    name = rng.permutation(n)
    renamed = np.full(n, -1)
    renamed[name] = np.where(parent >= 0, name[parent], -1)
    limited = (renamed >= 0) & (rng.random(n) < 0.8)
    n_constraints = int(limited.sum()) + int(rng.integers(0, 2))  # perhaps one that is not in service
    constraint = np.full(n, -1)
    constraint[limited] = rng.permutation(n_constraints)[: int(limited.sum())]
    return Tree(renamed, constraint, rng.choice([-1, 1], n)), n_constraints


def random_sensitivities(rng: np.random.Generator, tree: Tree) -> np.ndarray:
    """Resistance of the common way to the external grid, as in LinDistFlow, slightly disturbed. (3, n_nodes)."""
    resistance = rng.uniform(0.01, 0.1, tree.n_nodes) * (tree.parent >= 0)
    way = path_matrix(
        Tree(tree.parent, np.where(tree.parent >= 0, np.arange(tree.n_nodes), -1), np.ones(tree.n_nodes, int)),
        tree.n_nodes,
    )
    common = way.T @ (resistance[:, None] * way)
    at = rng.integers(0, tree.n_nodes, 3)
    return common[at] * rng.uniform(0.95, 1.05, (3, tree.n_nodes))


def _some_solution(
    rng: np.random.Generator, direction: np.ndarray, p_max: np.ndarray, node: np.ndarray, n: int
) -> np.ndarray:
    """Injections of some balanced activation. (n_nodes,)."""
    x = p_max * (rng.random(p_max.size) < 0.5)
    up, down = x[direction > 0].sum(), x[direction < 0].sum()
    share = min(up, down)
    x = x * np.where(direction > 0, share / up if up else 0.0, share / down if down else 0.0)
    return np.bincount(node, direction * x, minlength=n)


def _dense(case: Case, soft: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows A z <= b over z = (x, g, s), and the upper bounds of s: the two sides of every flow and voltage."""
    book, limits = case.book, case.limits
    at = np.zeros((limits.n_nodes, book.n_bids))
    at[book.node, np.arange(book.n_bids)] = book.direction
    change, value, lower, upper = case.ptdf @ at, limits.flow_mw, limits.lower_mw, limits.upper_mw
    weight = np.ones(value.size)
    if limits.voltage is not None:
        band = limits.voltage
        change = np.vstack((change, band.response @ at))
        value, lower, upper = np.r_[value, band.vm_pu], np.r_[lower, band.lower_pu], np.r_[upper, band.upper_pu]
        largest = np.abs(band.response).max(axis=1)
        weight = np.r_[weight, np.where(largest > 0, largest, 1.0)]
    rows, bound = np.vstack((change, -change)), np.r_[upper - value, value - lower]
    broken = np.maximum(-bound, 0.0) / np.r_[weight, weight]
    kept = np.isfinite(bound)
    count = kept.size
    A = np.hstack((rows, np.zeros((count, 1)), -np.diag(np.r_[weight, weight]) if soft else np.zeros((count, count))))
    return A[kept], bound[kept], broken


def cost_by_linprog(
    case: Case, *, balanced: bool = True, slack_price: float = 0.0, load: np.ndarray | None = None
) -> float | None:
    """Least cost in EUR/h, None if infeasible; `load` is further load at the nodes. (n_nodes,)."""
    book = case.book
    load = np.zeros(case.limits.n_nodes) if load is None else load
    moved = replace(case, limits=replace(case.limits, flow_mw=case.limits.flow_mw - case.ptdf @ load))
    if case.limits.voltage is not None:
        band = case.limits.voltage
        band = replace(band, vm_pu=band.vm_pu - band.response @ load)
        moved = replace(moved, limits=replace(moved.limits, voltage=band))
    A, b, broken = _dense(moved, soft=False)
    slack = (0.0, 0.0) if balanced else (None, None)
    found = linprog(
        np.r_[book.price_eur_per_mwh, slack_price, np.zeros(broken.size)],
        A_ub=A,
        b_ub=b,
        A_eq=np.r_[book.direction, 1.0, np.zeros(broken.size)][None],
        b_eq=[load.sum()],
        bounds=[*((0.0, p) for p in book.p_max_mw), slack, *((0.0, 0.0) for _ in broken)],
    )
    assert found.status in (0, 2), found.message
    return float(found.fun) if found.status == 0 else None


def shortfall_by_linprog(case: Case, *, balanced: bool = True) -> float:
    """Least sum of what stays beyond limits, MW, with nothing worse than without bids."""
    book = case.book
    A, b, broken = _dense(case, soft=True)
    slack = (0.0, 0.0) if balanced else (None, None)
    found = linprog(
        np.r_[np.zeros(book.n_bids + 1), np.ones(broken.size)],
        A_ub=A,
        b_ub=b,
        A_eq=np.r_[book.direction, 1.0, np.zeros(broken.size)][None],
        b_eq=[0.0],
        bounds=[*((0.0, p) for p in book.p_max_mw), slack, *((0.0, p) for p in broken)],
    )
    assert found.status == 0, found.message
    return float(found.fun)
