"""The one entrance of pandapower networks: in one order, so that everybody means the same element by a position.

Every reader of a network (branches, units, profiles, three phases) is given what `arranged` returns, never the
network of the caller.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pandapower import pandapowerNet

__all__ = ["arranged"]

_PROFILES = "profiles"  # SimBench keeps its own in the network: they are large


def arranged(net: pandapowerNet) -> pandapowerNet:
    """The network with every table in the order of its index, without results and profiles.

    Args:
        net: pandapower network; not changed.
    """
    import pandapower
    import pandas as pd

    ordered = type(net)({key: value for key, value in net.items() if key != _PROFILES})
    for key, table in ordered.items():
        if isinstance(table, pd.DataFrame):
            ordered[key] = table.sort_index()
    pandapower.toolbox.clear_result_tables(ordered)
    return ordered
