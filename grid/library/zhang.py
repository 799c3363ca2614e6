"""The radial network of Zhang, Fu and Zhang."""

from __future__ import annotations

from typing import TYPE_CHECKING

from peerwatt.grid.library.ratings import rate_lines
from peerwatt.grid.library.tables import balanced_net

if TYPE_CHECKING:
    from pandapower import pandapowerNet

__all__ = ["case118zh"]


def case118zh() -> pandapowerNet:
    """118 buses, 11 kV, radial, fifteen open ties (lines 118 to 132, out of service).

    Source: D. Zhang, Z. Fu, L. Zhang, "An improved TS algorithm for loss-minimum reconfiguration in large-scale
    distribution systems", Electric Power Systems Research 77 (2007) 685-694, doi 10.1016/j.epsr.2006.06.005,
    numbers as in MATPOWER's `case118zh`. Buses and lines have MATPOWER's numbers as index and as name.

    Published: 22.71 MW, losses 1298.09 kW, lowest voltage 0.8688 pu at bus 77. So the network as published is
    below its lower voltage limit of 0.9 pu.

    Reconstructed: line ratings (`peerwatt.grid.library.ratings`); coordinates, which are a schematic tree.
    """
    net = balanced_net("case118zh")
    rate_lines(net)
    return net
