"""Line ratings for published cases that have none: reconstructed by one stated rule.

The sources of the Baran and Wu and the Zhang, Fu and Zhang networks give no ratings. The rule here: a line gets the
smallest standard conductor whose current is at least 1.25 times the line's current at base load, so that at base
load every line is loaded to 80 percent at most; above the largest conductor, several of it in parallel. A tie, which
carries nothing at base load, gets the largest rating among the lines that it meets. The conductors are
aluminium-steel overhead conductors of DIN EN 50182 with their continuous currents, as in pandapower's table of
standard types.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from peerwatt.grid.convert import quiet

if TYPE_CHECKING:
    from pandapower import pandapowerNet

__all__ = ["CONDUCTOR_KA", "MARGIN", "rate_lines", "rating_ka"]

MARGIN = 1.25
"""Least ratio of a line's rating to its current at base load."""

CONDUCTOR_KA = {
    "15-AL1/3-ST1A": 0.105,
    "24-AL1/4-ST1A": 0.140,
    "34-AL1/6-ST1A": 0.170,
    "48-AL1/8-ST1A": 0.210,
    "70-AL1/11-ST1A": 0.290,
    "94-AL1/15-ST1A": 0.350,
    "122-AL1/20-ST1A": 0.410,
    "149-AL1/24-ST1A": 0.470,
    "184-AL1/30-ST1A": 0.535,
    "243-AL1/39-ST1A": 0.645,
    "305-AL1/39-ST1A": 0.740,
    "490-AL1/64-ST1A": 0.960,
}
"""Continuous current of standard conductors, kA."""


def rating_ka(base_ka: float) -> float:
    """Rating of a line.

    Args:
        base_ka: its current at base load.
    """
    needed = MARGIN * base_ka
    largest = max(CONDUCTOR_KA.values())
    if needed > largest:
        return math.ceil(needed / largest) * largest
    return min(current for current in CONDUCTOR_KA.values() if current >= needed)


def rate_lines(net: pandapowerNet) -> None:
    """Set `max_i_ka` of all lines of a network, in place, by the rule above."""
    import pandapower as pp

    with quiet():
        pp.runpp(net, trafo_model="pi", lightsim2grid=False, numba=False)
    line = net.line
    carries = line["in_service"].to_numpy(bool)
    rating = net.res_line["i_ka"].map(rating_ka)
    line.loc[carries, "max_i_ka"] = rating[carries]
    for index in line.index[~carries]:
        ends = [line.at[index, "from_bus"], line.at[index, "to_bus"]]
        meets = carries & (line["from_bus"].isin(ends) | line["to_bus"].isin(ends)).to_numpy()
        line.loc[index, "max_i_ka"] = rating[meets].max()
    pp.toolbox.clear_result_tables(net)
