"""The radial networks of Baran and Wu, with 33 and with 69 buses."""

from __future__ import annotations

from typing import TYPE_CHECKING

from peerwatt.grid.library.ratings import rate_lines
from peerwatt.grid.library.tables import balanced_net

if TYPE_CHECKING:
    from pandapower import pandapowerNet

__all__ = ["case33bw", "case69"]


def case33bw() -> pandapowerNet:
    """33 buses, 12.66 kV, radial, five open ties (lines 33 to 37, out of service).

    Source: M. E. Baran, F. F. Wu, "Network reconfiguration in distribution systems for loss reduction and load
    balancing", IEEE Trans. Power Delivery 4 (1989) 1401-1407, doi 10.1109/61.25627, as pandapower has it
    (`pandapower.networks.case33bw`, from MATPOWER). Buses and lines have MATPOWER's numbers, from 1, as index and
    as name; pandapower counts from 0.

    Published: 3.715 MW, 2.300 Mvar, losses 202.68 kW, lowest voltage 0.9131 pu at bus 18.

    Reconstructed: line ratings (`peerwatt.grid.library.ratings`), where pandapower has 99,999 kA. The voltage
    limits of the slack bus, 1 pu in the source, are those of all others, 0.9 and 1.1 pu.
    """
    import pandapower as pp
    from pandapower.networks import case33bw as published

    net = published()
    pp.toolbox.reindex_buses(net, {index: index + 1 for index in net.bus.index})
    net.line.index += 1
    net.load.index = net.load["bus"].to_numpy()
    net.poly_cost = net.poly_cost.iloc[:0]
    net.bus["name"] = [str(index) for index in net.bus.index]
    net.line["name"] = [str(index) for index in net.line.index]
    net.load["name"] = [f"Load {index}" for index in net.load.index]
    net.load["kind"] = "aggregate"
    net.bus["min_vm_pu"], net.bus["max_vm_pu"] = 0.9, 1.1
    rate_lines(net)
    return net


def case69() -> pandapowerNet:
    """69 buses, 12.66 kV, radial.

    Source: M. E. Baran, F. F. Wu, "Optimal capacitor placement on radial distribution systems", IEEE Trans. Power
    Delivery 4 (1989) 725-734, doi 10.1109/61.19265, numbers as in MATPOWER's `case69`. Buses and lines have
    MATPOWER's numbers as index and as name: line 44 is 44-45, line 67 is 12-68.

    Published: 3.8021 MW, 2.6947 Mvar, losses 224.99 kW, lowest voltage 0.90919 pu at bus 65.

    Reconstructed: line ratings (`peerwatt.grid.library.ratings`); coordinates, which are a schematic tree.
    """
    net = balanced_net("case69")
    rate_lines(net)
    return net
