"""The register of a market's members: what everybody may know of everybody, for strategies with preferences."""

from __future__ import annotations

import numpy as np

from peerwatt.agents.messages import IntArray
from peerwatt.agents.population import Population
from peerwatt.agents.strategies import Partners
from peerwatt.grid.network import Network

__all__ = ["register_of"]


def register_of(population: Population, network: Network, rows: IntArray) -> Partners:
    """What some peers find in the register.

    Args:
        population: all peers.
        network: where they are connected.
        rows: who looks. (n_rows,)

    Raises:
        GridDataError: a part of the network has no external grid, so that distances mean nothing.
    """
    from peerwatt.grid.distance import thevenin_distance

    units = population.units
    bus, place = np.unique(population.bus, return_inverse=True)
    own, here = np.unique(place[rows], return_inverse=True)
    distance = thevenin_distance(network, bus[own], bus)
    pv = np.bincount(units.peer[units.is_pv], minlength=len(population)) > 0
    return Partners(population.name, pv, distance[np.ix_(here, place)])
