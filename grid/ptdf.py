"""Power transfer distribution factors (PTDF), also called generation shift factors (GSF).

`PTDF[l, k]` is the change of the active power that enters branch l at its from end, in MW, for 1 MW more fed
in at bus k and taken out at the external grid (003, section 5.2.1: "the changes in nodal power injections and
withdrawals on the flows over the different lines"). Voltages are 1 pu and nothing is lost:

    B theta = p,   p_from = b (theta_from - theta_to),   b = 1 / (x |ratio|)

With several external grids each keeps its angle, as it does in the engines, so that each takes the share which
physics gives it; the columns of all their buses are 0. A radial network needs no reactances: a bus moves
every branch on its way by exactly 1 MW and no other.

Rows are lines, then transformers, in the order of the network; positions choose some of them.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.sparse import coo_array
from scipy.sparse.linalg import splu

from peerwatt.grid.admittance import Admittances, Floats, Ints
from peerwatt.grid.network import Network
from peerwatt.grid.selection import select_branches, select_buses
from peerwatt.grid.tree import SlackTree

__all__ = ["ptdf", "ptdf_dc", "ptdf_radial"]

_NO_REACTANCE = 1e-6  # of the impedance


def ptdf(network: Network, branches: npt.ArrayLike | None = None, buses: npt.ArrayLike | None = None) -> Floats:
    """PTDF of any network: from the tree where it is radial, else from the reactances.

    Args:
        network: the network.
        branches: rows, see `select_branches`; all lines and transformers by default.
        buses: columns, positions or a mask; all by default.

    Returns:
        (n_branches, n_buses), MW per MW; 0 for external grids, buses and branches out of service.

    Raises:
        GridDataError: a position does not exist, or a node has no way to an external grid.
    """
    rows, columns = select_branches(network, branches), select_buses(network, buses)
    tree = SlackTree(network)
    return _by_tree(network, tree, rows, columns) if tree.radial else _by_reactance(network, rows, columns)


def ptdf_radial(network: Network, branches: npt.ArrayLike | None = None, buses: npt.ArrayLike | None = None) -> Floats:
    """PTDF of a radial network, exactly 0, 1 or -1: who lies behind which branch, see `ptdf`.

    Raises:
        GridDataError: the network is meshed, besides the errors of `ptdf`.
    """
    tree = SlackTree(network)
    tree.require_radial("use ptdf or ptdf_dc, or open the loops")
    return _by_tree(network, tree, select_branches(network, branches), select_buses(network, buses))


def ptdf_dc(network: Network, branches: npt.ArrayLike | None = None, buses: npt.ArrayLike | None = None) -> Floats:
    """PTDF of any network from its reactances (DC power flow), see `ptdf`.

    A branch without reactance counts with the magnitude of its impedance.
    """
    SlackTree(network)  # refuses islands
    return _by_reactance(network, select_branches(network, branches), select_buses(network, buses))


def _by_tree(network: Network, tree: SlackTree, rows: Ints, columns: Ints) -> Floats:
    model = network.admittances
    head = np.full(model.n_branch, -1, dtype=np.int64)  # node behind each branch
    inner = np.flatnonzero(tree.branch >= 0)
    head[tree.branch[inner]] = inner
    used = np.flatnonzero(head[rows] >= 0)
    live = np.flatnonzero(model.bus_node[columns] >= 0)
    towards = np.where(model.from_node[rows[used]] == head[rows[used]], 1.0, -1.0)  # power of the node comes in
    inside = tree.downstream(head[rows[used]], model.bus_node[columns[live]])
    factors = np.zeros((len(rows), len(columns)))
    factors[np.ix_(used, live)] = np.where(inside, towards[:, None], 0.0)
    return factors


def _by_reactance(network: Network, rows: Ints, columns: Ints) -> Floats:
    model = network.admittances
    b, free = _susceptance(model), _free(model)
    n_free = int(free.max(initial=-1)) + 1
    column = np.where(model.bus_node[columns] >= 0, free[model.bus_node[columns]], -1)
    if n_free == 0:
        return np.zeros((len(rows), len(columns)))
    i, j = free[model.from_node], free[model.to_node]
    at = np.concatenate([i, j, i, j])
    other = np.concatenate([i, j, j, i])
    value = np.concatenate([b, b, -b, -b])
    kept = (at >= 0) & (other >= 0)
    laplacian = coo_array((value[kept], (at[kept], other[kept])), shape=(n_free, n_free)).tocsc()
    lu = splu(laplacian, permc_spec="MMD_AT_PLUS_A", options={"SymmetricMode": True})
    if len(rows) <= len(columns):  # B is symmetric: a row is B^-1 of the branch's two ends
        ends = np.zeros((n_free + 1, len(rows)))
        k = np.arange(len(rows))
        np.add.at(ends, (i[rows], k), b[rows])
        np.add.at(ends, (j[rows], k), -b[rows])
        factors = np.zeros((len(rows), n_free + 1))
        factors[:, :-1] = lu.solve(ends[:-1]).T
        return factors[:, column]
    unit = np.zeros((n_free + 1, len(columns)))
    unit[column, np.arange(len(columns))] = 1.0
    angle = np.zeros_like(unit)
    angle[:-1] = lu.solve(unit[:-1])
    return b[rows][:, None] * (angle[i[rows]] - angle[j[rows]])


def _free(model: Admittances) -> Ints:
    """Number of each node among those without an external grid, (n_node,), -1 for the others."""
    held = np.zeros(model.n_node, dtype=np.bool_)
    held[model.slack_node] = True
    return np.where(held, -1, np.cumsum(~held) - 1)


def _susceptance(model: Admittances) -> Floats:
    """Susceptance 1 / (x |ratio|) of live branches, (n_branch,), MW per radian at 1 pu."""
    b = np.zeros(model.n_branch)
    live = np.flatnonzero(model.live & (model.ytf != 0))
    ratio = model.ratio[live]
    z = -1.0 / (model.ytf[live] * ratio)
    x = np.where(np.abs(z.imag) > _NO_REACTANCE * np.abs(z), z.imag, np.abs(z))
    b[live] = 1.0 / (x * np.abs(ratio))
    return b
