"""Chosen rows and columns: positions of buses or branches, or all of them."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from peerwatt.errors import Fault, GridDataError
from peerwatt.grid.admittance import Ints
from peerwatt.grid.network import Network

__all__ = ["select_branches", "select_buses"]


def select_buses(network: Network, chosen: npt.ArrayLike | None) -> Ints:
    """Positions of buses, (n_chosen,); all when nothing is chosen.

    Args:
        network: the network.
        chosen: positions, or a mask of (n_bus,).

    Raises:
        GridDataError: there is no such bus.
    """
    return _select(chosen, network.n_bus, f"network {network.name}: buses")


def select_branches(network: Network, chosen: npt.ArrayLike | None) -> Ints:
    """Positions of branches: lines from 0, then transformers from `n_line`; all when nothing is chosen.

    Args:
        network: the network.
        chosen: positions, or a mask of (n_line + n_trafo,).

    Raises:
        GridDataError: there is no such branch.
    """
    return _select(chosen, network.n_line + network.n_trafo, f"network {network.name}: branches")


def _select(chosen: npt.ArrayLike | None, n: int, where: str) -> Ints:
    if chosen is None:
        return np.arange(n, dtype=np.int64)
    given = np.atleast_1d(np.asarray(chosen))
    if given.dtype == np.bool_ and given.shape == (n,):
        return np.flatnonzero(given).astype(np.int64)
    whole = given.size == 0 or np.issubdtype(given.dtype, np.integer)
    if not whole or given.ndim != 1 or (given.size and (given.min() < 0 or given.max() >= n)):
        remedy = f"positions are integers from 0 to {n - 1}, a mask has shape ({n},)"
        raise GridDataError(Fault(where, f"no such positions: {given!r}", remedy))
    return given.astype(np.int64)
