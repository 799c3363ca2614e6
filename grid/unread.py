"""Says what a pandapower network carries and nobody here reads: controllers, profiles, costs, groups, other tables.

What would change the power flow itself is refused by `peerwatt.grid.check`; elements out of service do not matter.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from peerwatt.errors import Fault
from peerwatt.grid.check import element
from peerwatt.grid.columns import column, flag, in_service

if TYPE_CHECKING:
    from pandapower import pandapowerNet

__all__ = ["unread_warnings"]

_READ = {
    *("bus", "line", "trafo", "switch", "ext_grid", "gen", "load", "sgen", "storage", "shunt", "impedance"),
    *("trafo_characteristic_table", "shunt_characteristic_table"),
}
_TOLD_APART = {"controller", "poly_cost", "pwl_cost"}
_SHOWN = 5


def unread_warnings(net: pandapowerNet, where: str, profiles: object) -> tuple[Fault, ...]:
    """What stands in a network and is not read, at most one warning of each kind.

    Args:
        net: arranged network that `check_net` has passed.
        where: file or name of the network, for the messages.
        profiles: profiles that the network had and that nothing replaces; None for none.
    """
    found = [*_controllers(net), *_costs(net), *_reactive_limits(net), *_others(net)]
    found += _profiles(profiles)
    return tuple(Fault(f"{where}: {fault.where}", fault.problem, fault.remedy) for fault in found)


def _controllers(net: Any) -> Iterator[Fault]:
    """One warning for the controllers of each class: what they control stays as it is."""
    table = net.get("controller")
    if not _n_rows(table) or "object" not in table.columns:
        return
    by_class: dict[str, list[str]] = {}
    for controller in table["object"][in_service(table)]:
        by_class.setdefault(_class_name(controller), []).append(_controlled(net, controller))
    for kind, controlled in by_class.items():
        named = [each for each in dict.fromkeys(controlled) if each]
        shown = ", ".join(named[:_SHOWN]) + (f" and {len(named) - _SHOWN} more" if len(named) > _SHOWN else "")
        count = f"{len(controlled)} of class {kind}"
        yield Fault(
            f"controller: {shown}" if named else "controller",
            f"controllers are not simulated ({count}); what they control stays as the network has it",
            "run pandapower.runpp(net, run_control=True), save the network, and give profiles as a file",
        )


def _class_name(controller: Any) -> str:
    """Class of a controller; pandapower leaves it text where it does not know the class."""
    return "unknown" if isinstance(controller, str | dict) else type(controller).__name__


def _controlled(net: Any, controller: Any) -> str:
    """What a controller acts on, as far as it says so."""
    table, index = getattr(controller, "element", None), getattr(controller, "element_index", None)
    if not isinstance(table, str) or not _n_rows(net.get(table)) or index is None:
        return ""
    known = [each for each in np.atleast_1d(index).tolist() if each in net[table].index]
    return ", ".join(element(net, table, each) for each in known[:_SHOWN])


def _costs(net: Any) -> Iterator[Fault]:
    counts = {table: _n_rows(net.get(table)) for table in ("poly_cost", "pwl_cost")}
    rows = [f"{table} ({_rows(count)})" for table, count in counts.items() if count]
    if rows:
        yield Fault(" and ".join(rows), "costs in the network are not read", "give costs in population.costs")


def _n_rows(table: object) -> int:
    """Rows of a table; none of what is no table."""
    return len(table) if isinstance(table, pd.DataFrame) else 0


def _rows(count: int) -> str:
    return "1 row" if count == 1 else f"{count} rows"


def _reactive_limits(net: Any) -> Iterator[Fault]:
    """Generators that hold a voltage by as much reactive power as it takes, beyond their limits too."""
    held = in_service(net.gen) & ~flag(net.gen, "slack")
    limits = np.stack([column(net.gen, name, np.nan) for name in ("min_q_mvar", "max_q_mvar")])
    limited = np.flatnonzero(held & (np.abs(limits) < 1e6).any(axis=0))  # so large stands for none
    if len(limited):
        first = element(net, "gen", net.gen.index[limited[0]])
        more = f" and {len(limited) - 1} more" if len(limited) > 1 else ""
        problem = "min_q_mvar and max_q_mvar are not kept: it holds its voltage whatever that takes"
        yield Fault(f"{first}{more}", problem, "make it an sgen where its reactive power is limited")


def _profiles(profiles: object) -> list[Fault]:
    """Profiles that SimBench keeps in its networks."""
    named = [key for key, frame in profiles.items() if _n_rows(frame)] if isinstance(profiles, dict) else []
    if not named:
        return []
    problem = f"profiles in the network are not read ({', '.join(named)}): all power is constant"
    return [Fault("profiles", problem, "give them as a file in grid.profiles, or take the case simbench:<code>")]


def _others(net: Any) -> Iterator[Fault]:
    """All other tables with rows in service, in one warning."""
    skipped = _READ | _TOLD_APART
    if "tap_dependent_impedance" in net.trafo.columns:
        skipped |= {"characteristic"}  # pandapower itself reads it then
    rows = {
        name: int(in_service(table).sum())
        for name, table in net.items()
        if _n_rows(table) and name not in skipped and not name.startswith(("_", "res_"))
    }
    named = [f"{name} ({_rows(count)})" for name, count in rows.items() if count]
    if named:
        yield Fault(", ".join(named), "tables that are not read", "leave them out if the power flow needs them not")
