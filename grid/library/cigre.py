"""The European benchmark networks of CIGRE, as pandapower has them.

Source of all: CIGRE Task Force C6.04.02, "Benchmark systems for network integration of renewable and distributed
energy resources", Technical Brochure 575 (2014), through `pandapower.networks`. Nothing is added but what the
functions name.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pandapower import pandapowerNet

__all__ = ["cigre_lv", "cigre_mv", "cigre_mv_der"]

_BATTERY_HOURS = 4.0


def cigre_mv() -> pandapowerNet:
    """15 buses, 110/20 kV, two feeders, switches S1 to S3 open, without generators.

    Loads and the ratings of lines (145 A cable, 195 A overhead) and transformers (25 MVA) are pandapower's. The voltage
    at the external grid is 1.03 pu. At these loads, all at their peak, transformer 0-1 is loaded to 101 percent.
    """
    return _mv(with_der=False)


def cigre_mv_der() -> pandapowerNet:
    """`cigre_mv` with all resources: 8 PV, 1 wind, 1 CHP and 3 fuel cell units, 2 batteries.

    Reconstructed: the batteries' energy, which pandapower leaves open: 4 hours at rated power; they start half full.
    Battery 1 has the power limit of its `max_p_mw`, 0.6 MW, where pandapower's `sn_mva` contradicts it (0.2).
    """
    net = _mv(with_der="all")
    net.sgen["kind"] = [_kind(name) for name in net.sgen["name"]]
    net.storage["sn_mva"] = net.storage["max_p_mw"].to_numpy()
    net.storage["min_e_mwh"] = 0.0
    net.storage["max_e_mwh"] = net.storage["sn_mva"] * _BATTERY_HOURS
    net.storage["soc_percent"] = 50.0
    return net


def cigre_lv() -> pandapowerNet:
    """44 buses, 20/0.4 kV: a residential, an industrial and a commercial network behind one bus.

    Transformers of 500, 150 and 300 kVA. The ratings of lines are pandapower's 1 kA for all conductors, a
    placeholder that does not bind: scale them (`scale_line_capacity`) where a study needs limits.
    """
    from pandapower.networks import create_cigre_network_lv

    net = create_cigre_network_lv()
    first = {"R": "household", "I": "industry", "C": "commercial"}
    net.load["kind"] = [first[name.split()[1][0]] for name in net.load["name"]]
    return net


def _mv(*, with_der: bool | str) -> Any:
    from pandapower.networks import create_cigre_network_mv

    net = create_cigre_network_mv(with_der=with_der)
    net.load["kind"] = ["commercial" if " CI" in name else "aggregate" for name in net.load["name"]]
    return net


def _kind(name: str) -> str:
    known = {"PV": "pv", "WKA": "wind", "CHP": "chp"}
    return known.get(name.split()[0], "generator")
