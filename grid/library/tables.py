"""The CSV files in `grid/data`, and radial networks made of them.

Every file has a column that names the source of its numbers, or says that they are reconstructed.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from pandapower import pandapowerNet

__all__ = ["balanced_net", "read_table", "set_points"]

_DATA = Path(__file__).parents[1] / "data"
_MIN_VM_PU, _MAX_VM_PU = 0.9, 1.1


def read_table(name: str) -> Any:
    """Read a file of `grid/data` as a pandas table.

    Args:
        name: of the file, without `.csv`.
    """
    import pandas as pd

    return pd.read_csv(_DATA / f"{name}.csv", keep_default_na=False, na_values={"p_max_mw": [""]})


def balanced_net(name: str) -> pandapowerNet:
    """A network of `<name>_bus.csv` and `<name>_branch.csv` (ohm, kW, kvar).

    Buses and lines keep the numbers of the files as index and as name. Every load has the kind `aggregate`. Bus
    limits are 0.9 and 1.1 pu. Lines have no rating yet.

    Args:
        name: common part of the files' names.
    """
    import pandapower as pp

    bus, branch = read_table(f"{name}_bus"), read_table(f"{name}_branch")
    net = pp.create_empty_network(name=name, f_hz=50.0)
    pp.create_buses(
        net,
        len(bus),
        vn_kv=bus["vn_kv"].to_numpy(),
        index=bus["bus"].tolist(),
        name=bus["bus"].astype(str).tolist(),
        min_vm_pu=_MIN_VM_PU,
        max_vm_pu=_MAX_VM_PU,
    )
    set_points(net, bus["x_schematic"], bus["y_schematic"])
    for number in bus.loc[bus["type"] == "slack", "bus"]:
        pp.create_ext_grid(net, int(number), vm_pu=1.0, name="grid")
    loaded = bus[(bus["p_kw"] != 0.0) | (bus["q_kvar"] != 0.0)]
    pp.create_loads(
        net,
        loaded["bus"].tolist(),
        p_mw=loaded["p_kw"].to_numpy() / 1e3,
        q_mvar=loaded["q_kvar"].to_numpy() / 1e3,
        index=loaded["bus"].tolist(),
        name=[f"Load {number}" for number in loaded["bus"]],
    )
    net.load["kind"] = "aggregate"
    pp.create_lines_from_parameters(
        net,
        branch["from_bus"].tolist(),
        branch["to_bus"].tolist(),
        length_km=1.0,
        r_ohm_per_km=branch["r_ohm"].to_numpy(),
        x_ohm_per_km=branch["x_ohm"].to_numpy(),
        c_nf_per_km=0.0,
        max_i_ka=np.nan,
        index=branch["branch"].tolist(),
        name=branch["branch"].astype(str).tolist(),
        in_service=branch["in_service"].astype(bool).tolist(),
        max_loading_percent=100.0,
    )
    return net


def set_points(net: pandapowerNet, x: Any, y: Any) -> None:
    """Set the coordinates of all buses, as GeoJSON points."""
    net.bus["geo"] = [f'{{"coordinates": [{a}, {b}], "type": "Point"}}' for a, b in zip(x, y, strict=True)]
