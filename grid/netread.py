"""The one entrance of pandapower networks: in one order and one notation, so that everybody reads the same.

Every reader of a network (branches, units, profiles, three phases) is given what `arranged` returns, never the
network of the caller.

A transformer with tap steps and without a kind of tap changer has a ratio tap changer here. pandapower 3 would ignore
its position; older ones did not, and SimBench's data, whose positions count, give steps and no kind.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from peerwatt.errors import Fault
from peerwatt.grid.admittance import Bools
from peerwatt.grid.columns import column, flag, names, texts

if TYPE_CHECKING:
    import pandas as pd
    from pandapower import pandapowerNet

__all__ = ["arranged", "tap_warnings"]

_PROFILES = "profiles"  # SimBench keeps its own in the network: they are large
_CHANGERS = ("tap", "tap2")


def arranged(net: pandapowerNet) -> pandapowerNet:
    """The network with every table in the order of its index and tap changers with their kind; without results.

    Args:
        net: pandapower network; not changed.
    """
    import pandapower
    import pandas as pd

    ordered = type(net)({key: value for key, value in net.items() if key != _PROFILES})
    for key, table in ordered.items():
        if isinstance(table, pd.DataFrame):
            ordered[key] = table.sort_index()
    ordered["trafo"] = _with_kinds(ordered["trafo"])
    pandapower.toolbox.clear_result_tables(ordered)
    return ordered


def tap_warnings(net: pandapowerNet, where: str) -> tuple[Fault, ...]:
    """What to say of transformers whose position counts here and does not in plain pandapower.

    Args:
        net: the network as it was given.
        where: file or name of the network.
    """
    trafo = net["trafo"]
    moved = np.zeros(len(trafo), dtype=np.bool_)
    for changer in _CHANGERS:
        away = column(trafo, f"{changer}_pos", np.nan) != column(trafo, f"{changer}_neutral", np.nan)
        moved |= _without_kind(trafo, changer) & away
    if not moved.any():
        return ()
    called = [name for name, counts in zip(names(trafo, "trafo"), moved, strict=True) if counts]
    which = f"{called[0]}" if len(called) == 1 else f"{called[0]} and {len(called) - 1} more"
    problem = "tap_changer_type is empty and tap_pos is not tap_neutral: read as a ratio tap changer"
    return (Fault(f"{where}: trafo {which}", problem, "set tap_changer_type; plain pandapower 3 ignores the position"),)


def _with_kinds(trafo: pd.DataFrame) -> pd.DataFrame:
    for changer in _CHANGERS:
        missing = _without_kind(trafo, changer)
        if missing.any():
            kind = f"{changer}_changer_type"
            given: Any = trafo[kind].to_numpy(dtype=object) if kind in trafo.columns else None
            trafo = trafo.assign(**{kind: np.where(missing, "Ratio", given)})
    return trafo


def _without_kind(trafo: pd.DataFrame, changer: str) -> Bools:
    """Transformers whose tap changer has steps of the ratio, a side and a position, and no kind, (n,)."""
    told = np.array([bool(text) for text in texts(trafo, f"{changer}_changer_type")], dtype=np.bool_)
    side = np.array([text in ("hv", "lv") for text in texts(trafo, f"{changer}_side")], dtype=np.bool_)
    otherwise = flag(trafo, "tap_dependency_table") if changer == "tap" else False
    position = column(trafo, f"{changer}_pos", np.nan) - column(trafo, f"{changer}_neutral", np.nan)
    has_steps = column(trafo, f"{changer}_step_percent", 0.0) != 0.0
    return ~told & side & ~np.asarray(otherwise) & np.isfinite(position) & has_steps
