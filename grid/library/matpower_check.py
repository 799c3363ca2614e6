"""Holds the admittances of a network against the tables of the MATPOWER case that it was made of.

The nodal admittance matrix of MATPOWER's manual, eq. (3.10) to (3.14), is made of the file's own rows, and compared
with that of the electrical model that every engine solves.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import sparse

from peerwatt.errors import Fault, GridDataError
from peerwatt.grid.admittance import Admittances, Complexes, Ints
from peerwatt.grid.library.matpower_tables import Tables
from peerwatt.grid.network import Network

__all__ = ["hold_against_tables"]

_RELATIVE = 1e-9  # of the admittances that meet in an entry


def hold_against_tables(network: Network, tables: Tables, where: str) -> None:
    """Refuse a network whose nodal admittances are not those of the tables.

    Args:
        network: what was built.
        tables: what it was built of; its buses are the network's.
        where: file, for the messages.

    Raises:
        GridDataError: the branches at the entry that differs most.
    """
    model, branch = network.admittances, tables.branch
    node = model.bus_node
    expected, size = _of_tables(tables, node, model.n_node)
    built = _of_model(model)
    excess = (abs(built - expected) - _RELATIVE * size).tocoo()
    if not excess.nnz or excess.data.max() <= 0.0:
        return
    worst = int(excess.data.argmax())
    ends = {int(excess.row[worst]), int(excess.col[worst])}
    touching = [
        f"row {name} ({tables.bus.number[start]}-{tables.bus.number[end]})"
        for name, start, end in zip(branch.name, branch.start, branch.end, strict=True)
        if ends <= {int(node[start]), int(node[end])}
    ]
    problem = f"the network built has another admittance by {excess.data[worst]:.3g} MVA than the tables"
    remedy = "this is an error of peerwatt or of this version of pandapower: please report it with the file"
    raise GridDataError(Fault(f"{where}: mpc.branch {', '.join(touching[:10])}", problem, remedy))


def _of_tables(tables: Tables, node: Ints, n_node: int) -> tuple[Any, Any]:
    """Nodal admittances of the tables, and the sum of the amounts that meet in each entry, (n_node, n_node), MVA."""
    branch, bus = tables.branch, tables.bus
    series = np.zeros(len(branch.z), dtype=np.complex128)
    through = branch.live & ~branch.is_link
    series[through] = tables.base_mva / branch.z[through]
    half = np.where(branch.live, 0.5j * branch.charging * tables.base_mva, 0.0)
    ratio = branch.tap * np.exp(1j * np.radians(branch.shift))
    start, end, at = node[branch.start], node[branch.end], node
    rows = np.concatenate([start, start, end, end, start, end, at])
    columns = np.concatenate([start, end, start, end, start, end, at])
    values = np.concatenate(
        [
            series / np.abs(ratio) ** 2,
            -series / ratio.conj(),
            -series / ratio,
            series,
            half / np.abs(ratio) ** 2,
            half,
            bus.shunt.conj(),
        ]
    )
    return _matrix(values, rows, columns, n_node), _matrix(np.abs(values), rows, columns, n_node)


def _of_model(model: Admittances) -> Any:
    at = np.arange(model.n_node)
    rows = np.concatenate([model.from_node, model.from_node, model.to_node, model.to_node, at])
    columns = np.concatenate([model.from_node, model.to_node, model.from_node, model.to_node, at])
    values = np.concatenate([model.yff, model.yft, model.ytf, model.ytt, model.y_shunt])
    return _matrix(values, rows, columns, model.n_node)


def _matrix(values: Complexes, rows: Ints, columns: Ints, n: int) -> Any:
    return sparse.csr_array((values, (rows, columns)), shape=(n, n))
