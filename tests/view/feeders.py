"""Small feeders with what the page shows besides: data for three phases, charging points."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from peerwatt.grid.cases import GridCase, case_from_net
from tests.scenarios import feeder, profiles

__all__ = ["charging_case", "three_phase_case", "three_phase_net"]


def three_phase_net(n_buses: int = 6, load_mw: float = 0.004) -> Any:
    """The feeder with zero sequence data, usual ones of four-core cables and of a Dyn transformer.

    Args:
        n_buses: buses on the low-voltage side.
        load_mw: rated power of each load.
    """
    net = feeder(n_buses)
    net.load["p_mw"] = load_mw
    for name in ("r", "x"):
        net.line[f"{name}0_ohm_per_km"] = 4.0 * net.line[f"{name}_ohm_per_km"]
    net.line["c0_nf_per_km"] = net.line["c_nf_per_km"]
    net.trafo["vector_group"] = "Dyn"
    net.trafo["vk0_percent"], net.trafo["vkr0_percent"] = net.trafo["vk_percent"], net.trafo["vkr_percent"]
    net.trafo["mag0_percent"], net.trafo["mag0_rx"], net.trafo["si0_hv_partial"] = 1e4, 0.0, 0.9
    for name, value in (("s_sc_max_mva", 1000.0), ("rx_max", 0.1), ("x0x_max", 1.0), ("r0x0_max", 0.1)):
        net.ext_grid[name] = value
    return net


@cache
def three_phase_case(periods: int = 8, n_buses: int = 6, load_mw: float = 0.004) -> GridCase:
    """That feeder with its profiles."""
    net = three_phase_net(n_buses, load_mw)
    table = profiles(net, periods)
    loads = [name for name in table if name.startswith("load.")]
    table[loads] *= load_mw / 0.008
    return case_from_net(net, profiles=table, name="three phases")


@cache
def charging_case(periods: int = 8) -> GridCase:
    """The feeder with a charging point of 11 kW at House 3."""
    import pandapower as pp

    net = feeder()
    net.load["kind"] = "household"
    pp.create_load(net, net.bus.index[4], p_mw=0.011, name="charger", kind="ev")
    table = profiles(net, periods)
    table["load.charger.p_mw"] = np.where(np.arange(periods) % 2, 0.011, 0.0)
    return case_from_net(net, profiles=table, name="charging")
