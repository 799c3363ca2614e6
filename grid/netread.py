"""The one entrance of pandapower networks: in one order and one notation, so that everybody reads the same.

Every reader of a network (branches, units, profiles, three phases) is given what `arranged` returns, never the
network of the caller.

A transformer with tap steps and without a kind of tap changer has a ratio tap changer here. pandapower 3 would ignore
its position; older ones did not, and SimBench's data, whose positions count, give steps and no kind.
"""

from __future__ import annotations

import contextlib
import copy
import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from peerwatt.errors import Fault, GridDataError
from peerwatt.grid.admittance import Bools
from peerwatt.grid.cells import checked_tables
from peerwatt.grid.columns import column, flag, names, texts

if TYPE_CHECKING:
    import pandas as pd
    from pandapower import pandapowerNet

__all__ = ["arranged", "quiet", "trafo_warnings"]

_PROFILES = "profiles"  # SimBench keeps its own in the network: they are large
_CHANGERS = ("tap", "tap2")


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Hide warnings that pandapower and simbench raise about their own insides."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def arranged(net: pandapowerNet, where: str = "network") -> pandapowerNet:
    """The network with clean cells, every table in the order of its index, tap changers with their kind; no results.

    Args:
        net: network of any version of pandapower; not changed.
        where: file or name of the network, for the messages.

    Raises:
        GridDataError: it is no network, or a table or cell is none.
    """
    import pandapower
    import pandas as pd

    if not isinstance(net, pandapower.pandapowerNet):
        remedy = "make one with pandapower.create_empty_network, or convert yours with pandapower.converter"
        raise GridDataError(Fault(where, f"not a pandapower network but a {type(net).__name__}", remedy))
    ordered = type(net)({key: value for key, value in net.items() if key != _PROFILES})
    if _is_old(net):
        ordered = _converted(ordered, where)
    for key, table in ordered.items():
        if isinstance(table, pd.DataFrame):
            with contextlib.suppress(TypeError):  # an index of numbers and texts, in a table that is not read
                ordered[key] = table.sort_index()
    for key, table in checked_tables(ordered, where).items():
        ordered[key] = table
    ordered["trafo"] = _with_kinds(ordered["trafo"])
    pandapower.toolbox.clear_result_tables(ordered)
    return ordered


def _is_old(net: pandapowerNet) -> bool:
    """Whether a network is in the notation of pandapower 1 or 2."""
    version = str(net.get("format_version", net.get("version", "")))
    return version.partition(".")[0] in ("0", "1", "2")


def _converted(net: pandapowerNet, where: str) -> pandapowerNet:
    import pandapower
    from pandapower.convert_format import convert_format

    copied = copy.deepcopy(net)
    try:
        with quiet():
            convert_format(copied)
    except Exception as error:  # pandapower raises whatever the network provokes
        problem = f"pandapower {pandapower.__version__} cannot convert it from version {net.get('version')}: {error}"
        raise GridDataError(Fault(where, problem)) from error
    return copied


def trafo_warnings(net: pandapowerNet, where: str) -> tuple[Fault, ...]:
    """What to say of transformers that mean one thing here or once, and another in plain pandapower 3.

    Args:
        net: the network as it was given, when `arranged` has passed it.
        where: file or name of the network.
    """
    trafo, warned = net["trafo"], []
    moved = np.zeros(len(trafo), dtype=np.bool_)
    for changer in () if _is_old(net) else _CHANGERS:  # old ones have their kind by the conversion
        away = column(trafo, f"{changer}_pos", np.nan) != column(trafo, f"{changer}_neutral", np.nan)
        moved |= _without_kind(trafo, changer) & away
    if moved.any():
        problem = "tap_changer_type is empty and tap_pos is not tap_neutral: read as a ratio tap changer"
        remedy = "set tap_changer_type; plain pandapower 3 ignores the position"
        warned.append(Fault(f"{where}: trafo {_first(trafo, moved)}", problem, remedy))
    capacitive = column(trafo, "i0_percent", 0.0) < 0.0
    if capacitive.any():
        problem = "i0_percent is below 0: capacitive in pandapower 2, read as inductive by pandapower 3, which is used"
        remedy = "set i0_percent to 0 and add a shunt"
        warned.append(Fault(f"{where}: trafo {_first(trafo, capacitive)}", problem, remedy))
    return tuple(warned)


def _first(trafo: pd.DataFrame, chosen: Bools) -> str:
    called = [name for name, counts in zip(names(trafo, "trafo"), chosen, strict=True) if counts]
    return called[0] if len(called) == 1 else f"{called[0]} and {len(called) - 1} more"


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
    found: Bools = ~told & side & ~np.asarray(otherwise) & np.isfinite(position) & has_steps
    return found
