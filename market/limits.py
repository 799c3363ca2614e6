"""What the grid tells a market: flows, limits, and what an injection changes, in plain arrays.

The market knows no bus and no line. It knows *nodes*, where bids are, and *constraints*, each a flow with limits;
their names are labels for messages. Flows are those that the grid has without the market, from whatever power flow
the grid's owner trusts; the market adds linear changes to them:

    flow_l after = flow_l + sum over nodes k of S_lk dp_k

with dp_k the injection that the market adds at node k, MW. S is a PTDF (D5.3, section 5.2.1) or the derivatives of
an AC power flow. Where the grid is radial a `Tree` says the same in two numbers per node: S_lk is then the
constraint's direction where node k is behind constraint l, else 0.

Voltages are limited in the same way, by dV/dP.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike
from scipy import sparse

from peerwatt.errors import Fault
from peerwatt.market.book import FloatArray, IntArray
from peerwatt.market.faults import as_floats, as_integers, finite_faults, length_faults, range_faults, row_faults

__all__ = ["NetworkLimits", "Response", "Tree", "VoltageLimits", "check_limits", "check_response", "same_response"]


_TREE_COLUMNS = ("parent", "constraint", "direction")


@dataclass(frozen=True, slots=True)
class Tree:
    """A radial grid: every node has one branch towards the external grid.

    Attributes:
        parent: next node on the way to the external grid, -1 at the external grid. (n_nodes,)
        constraint: constraint that is the flow of the branch to the parent, -1 if nobody limits it. (n_nodes,)
        direction: 1 if the constraint counts the flow towards the external grid as positive, else -1. (n_nodes,)
        order: the nodes, parents before children and everything behind a node right after it; empty if the
            parents contradict each other. (n_nodes,)
        first: position of each node in `order`. (n_nodes,)
        size: number of nodes behind each node, itself included. (n_nodes,)

    Raises:
        BookError: a column holds no integers.
    """

    parent: IntArray
    constraint: IntArray
    direction: IntArray
    order: IntArray = field(init=False)
    first: IntArray = field(init=False)
    size: IntArray = field(init=False)

    def __post_init__(self) -> None:
        for name in _TREE_COLUMNS:
            object.__setattr__(self, name, as_integers(name, getattr(self, name)))
        for name, values in zip(("order", "first", "size"), _preorder(self.parent), strict=True):
            object.__setattr__(self, name, values)

    @property
    def n_nodes(self) -> int:
        """Number of nodes, those of the external grid included."""
        return self.parent.size

    @property
    def limited(self) -> IntArray:
        """Nodes whose branch has a constraint."""
        return np.flatnonzero(self.constraint >= 0)

    def behind(self, p_mw: FloatArray) -> FloatArray:
        """Sum of a column over everything behind each node, itself included; (n_nodes,)."""
        total = np.concatenate(([0.0], p_mw[self.order].cumsum()))
        behind: FloatArray = total[self.first + self.size] - total[self.first]
        return behind

    def on_the_way(self, price: FloatArray) -> FloatArray:
        """Sum of a column over each node and everything between it and the external grid; (n_nodes,)."""
        step = np.zeros(self.n_nodes + 1)
        np.add.at(step, self.first, price)
        np.subtract.at(step, self.first + self.size, price)
        on_the_way: FloatArray = step.cumsum()[self.first]
        return on_the_way


Response: TypeAlias = FloatArray | sparse.csr_array | Tree
"""What an injection changes: a matrix (n_constraints, n_nodes), dense or sparse, or a tree."""


@dataclass(frozen=True, slots=True)
class VoltageLimits:
    """Voltages with a band, and what injections change of them.

    Attributes:
        vm_pu: voltages without the market. (n_voltages,)
        lower_pu: least voltages, -inf where there is none. (n_voltages,)
        upper_pu: highest voltages, inf where there is none. (n_voltages,)
        response: dV/dP, pu per MW. (n_voltages, n_nodes)
        names: names for messages; numbers if None.
    """

    vm_pu: FloatArray
    lower_pu: FloatArray
    upper_pu: FloatArray
    response: FloatArray
    names: Sequence[str] | None = None

    def __post_init__(self) -> None:
        for name in ("vm_pu", "lower_pu", "upper_pu", "response"):
            object.__setattr__(self, name, as_floats(name, getattr(self, name)))

    def name(self, voltage: int) -> str:
        """Name of a voltage for a message."""
        return str(self.names[voltage]) if self.names is not None else str(voltage)


@dataclass(frozen=True, slots=True)
class NetworkLimits:
    """Flows, their limits, and what injections change of them.

    `dataclasses.replace(limits, flow_mw=...)` is another period of the same grid.

    Attributes:
        flow_mw: flows without the market; of lines with losses at the end that the limits are meant for.
            (n_constraints,)
        lower_mw: least flows, -inf where there is none; of a line that may carry x MW either way, -x.
            (n_constraints,)
        upper_mw: highest flows, inf where there is none. (n_constraints,)
        response: PTDF, dense or sparse, (n_constraints, n_nodes), or the tree of a radial grid.
        voltage: voltages with a band; None if none are limited.
        names: names of the constraints for messages; their numbers if None.
        node_names: names of the nodes for messages; their numbers if None.

    Raises:
        BookError: something that should be a number is not.
    """

    flow_mw: FloatArray
    lower_mw: FloatArray
    upper_mw: FloatArray
    response: Response
    voltage: VoltageLimits | None = None
    names: Sequence[str] | None = None
    node_names: Sequence[str] | None = None

    def __post_init__(self) -> None:
        for name in ("flow_mw", "lower_mw", "upper_mw"):
            object.__setattr__(self, name, as_floats(name, getattr(self, name)))
        object.__setattr__(self, "response", _response(self.response))

    @property
    def n_constraints(self) -> int:
        """Number of limited flows."""
        return self.flow_mw.size

    @property
    def n_nodes(self) -> int:
        """Number of nodes."""
        if isinstance(self.response, Tree):
            return self.response.n_nodes
        return self.response.shape[1] if self.response.ndim == 2 else 0

    def name(self, constraint: int) -> str:
        """Name of a constraint for a message."""
        return str(self.names[constraint]) if self.names is not None else str(constraint)

    def node_name(self, node: int) -> str:
        """Name of a node for a message."""
        return str(self.node_names[node]) if self.node_names is not None else str(node)

    def flow_after_mw(self, dp_mw: FloatArray) -> FloatArray:
        """Flows with injections added at the nodes, (n_nodes,); (n_constraints,)."""
        if not isinstance(self.response, Tree):
            return np.asarray(self.flow_mw + self.response @ dp_mw)
        tree, flow = self.response, self.flow_mw.copy()
        limited = tree.limited
        flow[tree.constraint[limited]] += tree.direction[limited] * tree.behind(dp_mw)[limited]
        return flow

    def vm_after_pu(self, dp_mw: FloatArray) -> FloatArray:
        """Limited voltages with injections added at the nodes, (n_nodes,); (n_voltages,)."""
        return np.empty(0) if self.voltage is None else self.voltage.vm_pu + self.voltage.response @ dp_mw

    def at_nodes(self, price: FloatArray) -> FloatArray:
        """S' price: what a price on every flow, (n_constraints,), is for injections at the nodes; (n_nodes,)."""
        if not isinstance(self.response, Tree):
            return np.asarray(self.response.T @ price)
        tree, on_branch = self.response, np.zeros(self.n_nodes)
        limited = tree.limited
        on_branch[limited] = tree.direction[limited] * price[tree.constraint[limited]]
        return tree.on_the_way(on_branch)


def check_limits(limits: NetworkLimits) -> list[Fault]:
    """What is wrong with flows and limits; empty if nothing is. The response is left to `check_response`."""
    flows = {name: getattr(limits, name) for name in ("flow_mw", "lower_mw", "upper_mw")}
    faults = length_faults("constraint", flows, limits.names)
    if not faults:
        faults += _band_faults("constraint", limits.name, *flows.values())
    if limits.node_names is not None and len(limits.node_names) != limits.n_nodes:
        faults.append(
            Fault("node_names", f"{len(limits.node_names)} for {limits.n_nodes} nodes", "one per node, or none")
        )
    voltage = limits.voltage
    if voltage is not None:
        bands = {name: getattr(voltage, name) for name in ("vm_pu", "lower_pu", "upper_pu")}
        wrong = length_faults("voltage", bands, voltage.names)
        faults += wrong or _band_faults("voltage", voltage.name, *bands.values())
    return faults


def check_response(limits: NetworkLimits) -> list[Fault]:
    """What is wrong with the sensitivities; empty if nothing is."""
    response, voltage = limits.response, limits.voltage
    if isinstance(response, Tree):
        faults = list(_tree_faults(response, limits.n_constraints))
    else:
        faults = list(_matrix_faults("response", response, limits.n_constraints, "constraint"))
    if voltage is not None:
        faults += _matrix_faults("voltage response", voltage.response, voltage.vm_pu.size, "voltage")
        if voltage.response.ndim == 2 and voltage.response.shape[1] != limits.n_nodes:
            nodes = f"{voltage.response.shape[1]} nodes, the flows' has {limits.n_nodes}"
            faults.append(Fault("voltage response", f"has {nodes}", "the same nodes"))
    return faults


def same_response(one: NetworkLimits, other: NetworkLimits) -> bool:
    """Whether injections change the same by as much; quick where both share their arrays."""
    a, b = one.voltage, other.voltage
    if (a is None) != (b is None) or one.n_constraints != other.n_constraints:
        return False
    if a is not None and b is not None and not _equal(a.response, b.response):
        return False
    return _equal(one.response, other.response)


def _equal(one: Response, other: Response) -> bool:
    if one is other:
        return True
    if isinstance(one, Tree) and isinstance(other, Tree):
        return all(np.array_equal(getattr(one, name), getattr(other, name)) for name in _TREE_COLUMNS)
    if isinstance(one, np.ndarray) and isinstance(other, np.ndarray):
        return np.array_equal(one, other)
    if isinstance(one, sparse.csr_array) and isinstance(other, sparse.csr_array):
        return one.shape == other.shape and (one - other).count_nonzero() == 0
    return False


def _band_faults(
    what: str, name: Callable[[int], str], value: FloatArray, lower: FloatArray, upper: FloatArray
) -> Iterator[Fault]:
    yield from finite_faults(what, {"value without the market": value}, name)
    for bound, side in ((lower, "lower"), (upper, "upper")):
        yield from row_faults(what, np.isnan(bound), bound, f"{side} limit", "a number, or infinite for none", name)
    endless = (lower == np.inf) | (upper == -np.inf)
    yield from row_faults(what, endless, lower, "limits that no value meets, from", "-inf or inf for none", name)
    inverted = (lower > upper) & ~endless
    with np.errstate(invalid="ignore"):  # inf - inf of no limits
        excess = lower - upper
    yield from row_faults(what, inverted, excess, "lower limit above the upper by", "swap them", name)


def _matrix_faults(where: str, matrix: FloatArray | sparse.csr_array, n_rows: int, what: str) -> Iterator[Fault]:
    if matrix.ndim != 2 or matrix.shape[0] != n_rows:
        yield Fault(where, f"has shape {matrix.shape} for {n_rows} {what}s", f"a row per {what}, a column per node")
        return
    values = matrix.data if isinstance(matrix, sparse.csr_array) else matrix
    if not np.isfinite(values).all():
        count = int((~np.isfinite(values)).sum())
        yield Fault(where, f"{count} of its values are NaN or infinite", "MW per MW, or pu per MW")


def _tree_faults(tree: Tree, n_constraints: int) -> Iterator[Fault]:
    columns = {name: getattr(tree, name) for name in _TREE_COLUMNS}
    shapes = length_faults("node", columns)
    if shapes:
        yield from shapes
        return
    parent, constraint = tree.parent, tree.constraint
    unknown = (parent < -1) | (parent >= tree.n_nodes)
    yield from row_faults("node", unknown, parent, "unknown parent", f"0 to {tree.n_nodes - 1}, or -1")
    if not unknown.any() and tree.order.size < tree.n_nodes:
        yield Fault("tree", "some nodes never lead to the external grid", "end every way at a parent of -1")
    outside = np.where(constraint == -1, 0, constraint)
    allowed = f"0 to {n_constraints - 1}, or -1"
    yield from range_faults("node", outside, max(n_constraints, 1), "unknown constraint", allowed)
    root = (parent == -1) & (constraint != -1)
    yield from row_faults("node", root, constraint, "is of the external grid, has no branch and yet constraint", "-1")
    again = np.zeros(tree.n_nodes, dtype=bool)
    again[tree.limited] = True
    again[np.unique(constraint, return_index=True)[1]] = False
    yield from row_faults("node", again, constraint, "another node has its constraint", "one branch each")
    yield from row_faults("node", np.abs(tree.direction) != 1, tree.direction, "direction", "1 or -1")


def _response(response: Response | ArrayLike) -> Response:
    if isinstance(response, Tree):
        return response
    if sparse.issparse(response):
        matrix: sparse.csr_array = sparse.csr_array(response).astype(np.float64)
        return matrix
    return as_floats("response", response)


def _preorder(parent: IntArray) -> tuple[IntArray, IntArray, IntArray]:
    """`order`, `first` and `size` of a tree; empty where there is none."""
    empty = np.empty(0, dtype=np.intp)
    n = parent.size
    if parent.ndim != 1 or ((parent < -1) | (parent >= n)).any():
        return empty, empty, empty
    children: list[list[int]] = [[] for _ in range(n + 1)]  # the last are the external grid's nodes
    for node, above in enumerate(parent.tolist()):
        children[above].append(node)
    order: list[int] = []
    stack = children[-1][::-1]
    while stack:
        node = stack.pop()
        order.append(node)
        stack.extend(reversed(children[node]))
    if len(order) < n:
        return empty, empty, empty
    size = [1] * (n + 1)
    for node in reversed(order):
        size[parent[node]] += size[node]
    first = np.empty(n, dtype=np.intp)
    first[order] = np.arange(n)
    return np.array(order, dtype=np.intp), first, np.array(size[:-1], dtype=np.intp)
