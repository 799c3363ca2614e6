"""Reads the units of a pandapower network: loads, static generators, storages, generators that hold a voltage.

SimBench's peculiarities are met here: the efficiency that is called a percentage and is a share, the power
limits of storages that are not filled in, the kind of a unit that only its profile's name tells.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np

from peerwatt.errors import Fault, GridDataError
from peerwatt.grid.columns import column, flag, in_service, names, texts
from peerwatt.grid.units import CONSTANT, Units

if TYPE_CHECKING:
    from pandapower import pandapowerNet

__all__ = ["TABLES", "read_units"]

TABLES = ("load", "sgen", "storage", "gen")
"""Tables whose elements are units, in their order."""

_SIGN = {"load": -1.0, "sgen": 1.0, "storage": -1.0, "gen": 1.0}

_KIND_OF_PROFILE = {
    "load": (
        (("H0",), "household"),
        (("G",), "commercial"),
        (("L0", "L1", "L2"), "agriculture"),
        (("Air", "Soil"), "heat_pump"),
        (("HLS", "APLS", "HPC"), "ev"),
        (("BL", "WB"), "industry"),
        (("lv_", "mv_", "hv_"), "aggregate"),
    ),
    "sgen": ((("PV", "pv"), "pv"), (("WP", "wp", "wind", "Wind", "WKA"), "wind")),
}

_KIND_OTHERWISE = {"load": "household", "sgen": "generator", "storage": "battery", "gen": "generator"}

_DEFAULT_EFFICIENCY = 0.95  # round trip, of storages whose network gives none


def read_units(net: pandapowerNet, where: str) -> Units:
    """Read the units that are in service, without profiles: all columns are `CONSTANT`.

    Args:
        net: network that `check_net` has passed.
        where: file or name of the network, for the messages.

    Raises:
        GridDataError: a storage without capacity or power limit, an efficiency that is none; all at once.
    """
    parts: dict[str, list[Any]] = {field: [] for field in Units.__slots__}
    faults: list[Fault] = []
    for table in TABLES:
        frame = net.get(table)
        if frame is None or not len(frame):
            continue
        slack = flag(frame, "slack") if table == "gen" else False  # that is an external grid
        frame = frame[in_service(frame) & ~np.asarray(slack)]
        for field, values in _read_table(net, frame, table, faults).items():
            parts[field].append(values)
    if faults:
        raise GridDataError([Fault(f"{where}: {fault.where}", fault.problem, fault.remedy) for fault in faults])
    text = {field: [item for part in parts[field] for item in part] for field in ("name", "table", "kind")}
    whole = {field: _joined(parts[field], field) for field in Units.__slots__ if field not in text}
    return Units(
        name=_unique(text["name"], text["table"], whole["index"]),
        table=tuple(text["table"]),
        kind=tuple(text["kind"]),
        **whole,
    )


def _joined(parts: list[Any], field: str) -> Any:
    kind = np.int64 if field in ("index", "bus", "p_column", "q_column") else np.float64
    return np.concatenate(parts).astype(kind) if parts else np.empty(0, dtype=kind)


def _read_table(net: pandapowerNet, frame: Any, table: str, faults: list[Fault]) -> dict[str, Any]:
    n, scaling = len(frame), column(frame, "scaling", 1.0)
    p_mw, q_mvar = column(frame, "p_mw", 0.0) * scaling, column(frame, "q_mvar", 0.0) * scaling
    if table == "gen":
        q_mvar = np.zeros(n)
    sn_mva = column(frame, "sn_mva", np.nan) * scaling
    storage = table == "storage"
    battery = _batteries(frame, scaling, faults) if storage else _no_batteries(n)
    rated = battery["p_max_mw"] if storage else np.abs(p_mw)
    return {
        "name": names(frame, table),
        "table": [table] * n,
        "index": frame.index.to_numpy(np.int64),
        "kind": _kinds(frame, table),
        "bus": net.bus.index.get_indexer(frame.bus.to_numpy(np.int64)),
        "p_column": np.full(n, CONSTANT),
        "q_column": np.full(n, CONSTANT),
        "p_scale_mw": np.zeros(n) if storage else _SIGN[table] * p_mw,
        "q_scale_mvar": np.zeros(n) if storage else _SIGN[table] * q_mvar,
        "p_mw": rated,
        "sn_mva": np.where(sn_mva > 0.0, sn_mva, np.hypot(rated, 0.0 if storage else q_mvar)),
        **battery,
    }


def _no_batteries(n: int) -> dict[str, Any]:
    zero = np.zeros(n)
    return {
        "e_mwh": zero,
        "p_max_mw": zero,
        "efficiency": np.ones(n),
        "self_discharge_per_day": zero,
        "soc": zero,
    }


def _batteries(frame: Any, scaling: Any, faults: list[Fault]) -> dict[str, Any]:
    lowest, highest = column(frame, "min_e_mwh", 0.0), column(frame, "max_e_mwh", np.nan)
    energy = highest - lowest
    limit = column(frame, "sn_mva", np.nan)
    for name in ("max_p_mw", "min_p_mw", "p_mw"):  # SimBench leaves one side of these at 0
        limit = np.where(limit > 0.0, limit, np.abs(column(frame, name, np.nan)))
    efficiency = column(frame, "efficiency_percent", _DEFAULT_EFFICIENCY)
    efficiency = np.where(efficiency > 1.0, efficiency / 100.0, efficiency)  # SimBench writes 0.95
    held = np.clip(column(frame, "soc_percent", 0.0), 0.0, 100.0) / 100.0 * highest - lowest
    for row, (name, index) in enumerate(zip(names(frame, "storage"), frame.index, strict=True)):
        where = f"storage '{name}' (index {index})"
        if not energy[row] > 0.0:
            faults.append(
                Fault(
                    where,
                    f"max_e_mwh - min_e_mwh is {energy[row]}",
                    "give its capacity or set in_service to False",
                )
            )
        if not limit[row] > 0.0:
            faults.append(Fault(where, "no power limit", "give sn_mva, its largest power"))
        if not 0.0 < efficiency[row] <= 1.0:
            faults.append(
                Fault(
                    where,
                    f"round-trip efficiency is {efficiency[row]}",
                    "give more than 0, up to 100 percent",
                )
            )
    with np.errstate(invalid="ignore", divide="ignore"):
        soc = np.where(energy > 0.0, np.clip(held, 0.0, None) / energy, 0.0)
    return {
        "e_mwh": energy * scaling,
        "p_max_mw": limit * scaling,
        "efficiency": efficiency,
        "self_discharge_per_day": column(frame, "self-discharge_percent_per_day", 0.0) / 100.0,
        "soc": np.clip(soc, 0.0, 1.0),
    }


def _kinds(frame: Any, table: str) -> list[str]:
    """Kind of each unit: its column `kind`, else by its profile's name, else by its type."""
    kinds = []
    rules = _KIND_OF_PROFILE.get(table, ())
    for given, profile, type_ in zip(texts(frame, "kind"), texts(frame, "profile"), texts(frame, "type"), strict=True):
        hint = profile if profile or table == "load" else type_
        by_name = next((kind for prefixes, kind in rules if hint.startswith(prefixes)), _KIND_OTHERWISE[table])
        kinds.append(given or by_name)
    return kinds


def _unique(names: list[str], tables: list[str], index: Any) -> tuple[str, ...]:
    """Add table and index to names that occur more than once."""
    count = Counter(names)
    first = [
        name if count[name] == 1 else f"{name} ({table} {number})"
        for name, table, number in zip(names, tables, index, strict=True)
    ]
    again = Counter(first)
    return tuple(name if again[name] == 1 else f"{name} [{position}]" for position, name in enumerate(first))
