"""How a case is laid down in the cache: named arrays, one text, one table of names."""

from __future__ import annotations

import json
from dataclasses import astuple, fields
from typing import Any

import numpy as np

from peerwatt.errors import Fault
from peerwatt.grid.admittance import Admittances
from peerwatt.grid.cache import Part
from peerwatt.grid.network import Buses, Generators, Lines, Network, Trafos, VoltageDependence
from peerwatt.grid.series import TimeSeries
from peerwatt.grid.units import Units

__all__ = ["from_parts", "to_parts"]

_TYPES: dict[str, type[Any]] = {
    "buses": Buses,
    "lines": Lines,
    "trafos": Trafos,
    "admittances": Admittances,
    "generators": Generators,
    "voltage_dependence": VoltageDependence,
    "units": Units,
}
_MAY_BE_NONE = "voltage_dependence"


def to_parts(
    name: str, network: Network, units: Units, series: TimeSeries, warnings: tuple[Fault, ...] = ()
) -> dict[str, Part]:
    """Take a case apart.

    Args:
        name: of the case.
        network: its network.
        units: its units.
        series: its profiles.
        warnings: what its reader warned of.

    Returns:
        Arrays by name, and texts.
    """
    values: dict[str, Any] = {
        "buses": network.buses,
        "lines": network.lines,
        "trafos": network.trafos,
        "admittances": network.admittances,
        "generators": network.generators,
        "units": units,
    }
    if network.voltage_dependence is not None:
        values[_MAY_BE_NONE] = network.voltage_dependence
    parts: dict[str, Part] = {"slack_bus": network.slack_bus, "values": series.values}
    words: dict[str, Any] = {
        "name": name,
        "network": network.name,
        "start": str(series.start),
        "step_s": series.step_s,
        "columns": series.columns,
        "warnings": [astuple(warning) for warning in warnings],
    }
    for prefix, value in values.items():
        for field in fields(value):
            item = getattr(value, field.name)
            if isinstance(item, np.ndarray):
                parts[f"{prefix}.{field.name}"] = item
            else:
                words[f"{prefix}.{field.name}"] = item
    parts["words"] = json.dumps(words)
    parts["pandapower"] = network.pandapower_json
    return parts


def from_parts(parts: dict[str, Part]) -> tuple[str, Network, Units, TimeSeries, tuple[Fault, ...]]:
    """Put a case together again.

    Args:
        parts: what `to_parts` gave.

    Raises:
        KeyError: a part is missing.
        ValueError: a part is not what it should be.
    """
    words = json.loads(str(parts["words"]))
    whole: dict[str, Any] = {}
    for prefix, kind in _TYPES.items():
        if prefix == _MAY_BE_NONE and f"{prefix}.element" not in words:
            continue
        whole[prefix] = kind(
            **{
                field.name: tuple(words[f"{prefix}.{field.name}"])
                if f"{prefix}.{field.name}" in words
                else parts[f"{prefix}.{field.name}"]
                for field in fields(kind)
            }
        )
    units = whole.pop("units")
    slack_bus, values = parts["slack_bus"], parts["values"]
    if isinstance(slack_bus, str) or isinstance(values, str):
        raise ValueError("arrays are texts")
    network = Network(name=words["network"], slack_bus=slack_bus, pandapower_json=str(parts["pandapower"]), **whole)
    series = TimeSeries(np.datetime64(words["start"], "s"), words["step_s"], tuple(words["columns"]), values)
    return words["name"], network, units, series, tuple(Fault(*each) for each in words["warnings"])
