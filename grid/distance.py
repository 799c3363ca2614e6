"""How far apart buses are: common-path resistance, electrical (Thevenin) and Euclidean distance.

Resistances and impedances are in per unit of 1 MVA, which refers them to one voltage level: 0.01 pu are
0.01 vn_kv^2 ohm at vn_kv, and a bus whose common-path resistance with another is r sees its voltage rise by
about r pu for 1 MW fed in there.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.sparse import coo_array
from scipy.sparse.linalg import splu

from peerwatt.grid.admittance import Complexes, Floats, Ints
from peerwatt.grid.network import Network
from peerwatt.grid.selection import select_buses
from peerwatt.grid.tree import SlackTree

__all__ = ["common_path_resistance", "euclidean_distance", "nodal_impedance", "thevenin_distance"]


def common_path_resistance(
    network: Network, buses: npt.ArrayLike | None = None, others: npt.ArrayLike | None = None
) -> Floats:
    """Resistance of the common part of two ways to the external grid (001, section IV-A 2).

    The paper's criterion for voltage: the way from the node with the worst voltage to the slack bus and the
    way from a peer to the slack bus share this resistance. On the diagonal stands that of the whole way.
    Tap positions off the nominal ratio are left out.

    Args:
        network: a radial network.
        buses: rows, positions or a mask; all by default.
        others: columns; all by default.

    Returns:
        (n_buses, n_others), pu of 1 MVA; 0 where nothing is shared, nan for buses out of service.

    Raises:
        GridDataError: the network is meshed, or a bus does not exist.
    """
    model, tree = network.admittances, SlackTree(network)
    tree.require_radial("use nodal_impedance, whose real part is the same in radial networks, or open the loops")
    rows, columns = select_buses(network, buses), select_buses(network, others)
    row, column = model.bus_node[rows], model.bus_node[columns]
    up = tree.branch
    r = np.zeros(model.n_node)
    inner = up >= 0
    r[inner] = (-1.0 / (model.ytf[up[inner]] * model.ratio[up[inner]])).real
    shared = np.zeros((model.n_node + 1, len(columns)))  # the last row, which parent -1 finds, stays 0
    first = tree.first[column]
    reach, start, end = np.zeros(model.n_node + 1), tree.first, tree.first + tree.size
    for node in tree.order.tolist():  # what a node shares with others it shares as its parent, or all if below it
        above = tree.parent[node]
        reach[node] = reach[above] + r[node]
        np.copyto(shared[node], shared[above])
        shared[node][(first >= start[node]) & (first < end[node])] = reach[node]
    matrix = shared[row]
    matrix[row < 0] = np.nan
    matrix[:, column < 0] = np.nan
    return matrix


def thevenin_distance(
    network: Network, buses: npt.ArrayLike | None = None, others: npt.ArrayLike | None = None
) -> Floats:
    """Electrical distance |Z_ii + Z_jj - 2 Z_ij|: the impedance between two buses, seen into the network.

    Args:
        network: the network, radial or meshed.
        buses: rows, positions or a mask; all by default.
        others: columns; all by default.

    Returns:
        (n_buses, n_others), pu of 1 MVA; nan for buses out of service.

    Raises:
        GridDataError: a bus does not exist, or a node has no way to an external grid.
    """
    rows, columns = select_buses(network, buses), select_buses(network, others)
    needed, where = np.unique(np.concatenate([rows, columns]), return_inverse=True)
    z = nodal_impedance(network, needed, needed)
    own = np.diag(z)
    i, j = where[: len(rows)], where[len(rows) :]
    distance: Floats = np.abs(own[i][:, None] + own[j] - 2.0 * z[np.ix_(i, j)])
    return distance


def nodal_impedance(
    network: Network, buses: npt.ArrayLike | None = None, others: npt.ArrayLike | None = None
) -> Complexes:
    """Impedance matrix Z of the network with its external grids short-circuited.

    The inverse of the nodal admittance matrix without the rows of external grids, of which only the columns
    that are asked for are solved. Phase shifts of transformers are taken out, which makes Z symmetric and
    changes no magnitude unless loops shift phases.

    Args:
        network: the network, radial or meshed.
        buses: rows, positions or a mask; all by default.
        others: columns; all by default.

    Returns:
        (n_buses, n_others), pu of 1 MVA; 0 at external grids, nan for buses out of service.
    """
    SlackTree(network)  # refuses islands
    rows, columns = select_buses(network, buses), select_buses(network, others)
    if len(rows) < len(columns):
        return _impedance_columns(network, rows, columns).T
    return _impedance_columns(network, columns, rows)


def _impedance_columns(network: Network, columns: Ints, rows: Ints) -> Complexes:
    model = network.admittances
    turn = model.ratio / np.abs(model.ratio)
    i, j, k = model.from_node, model.to_node, np.arange(model.n_node)
    value = np.concatenate([model.yff, model.ytt, model.yft * turn.conj(), model.ytf * turn, model.y_shunt])
    at, other = np.concatenate([i, j, i, j, k]), np.concatenate([i, j, j, i, k])
    free = np.setdiff1d(k, model.slack_node)
    admittance = coo_array((value, (at, other)), shape=(model.n_node,) * 2).tocsc()[free][:, free]
    column, row = model.bus_node[columns], model.bus_node[rows]
    unit = np.zeros((model.n_node, len(columns)), dtype=np.complex128)
    live = np.flatnonzero(column >= 0)
    unit[column[live], live] = 1.0
    solution = np.zeros_like(unit)
    if len(free):
        solution[free] = splu(admittance, permc_spec="MMD_AT_PLUS_A").solve(unit[free])
    z = solution[row]
    z[row < 0] = np.nan
    z[:, column < 0] = np.nan
    return z


def euclidean_distance(
    network: Network, buses: npt.ArrayLike | None = None, others: npt.ArrayLike | None = None
) -> Floats:
    """Straight distance between buses in the unit of the network's coordinates.

    Args:
        network: the network.
        buses: rows, positions or a mask; all by default.
        others: columns; all by default.

    Returns:
        (n_buses, n_others); nan where coordinates are unknown. Of longitudes and latitudes it is in degrees
        and only ranks.
    """
    i, j = select_buses(network, buses), select_buses(network, others)
    x, y = network.buses.x, network.buses.y
    distance: Floats = np.hypot(x[i][:, None] - x[j], y[i][:, None] - y[j])
    return distance
