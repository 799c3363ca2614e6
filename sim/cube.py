"""Results as one labelled dataset with the dimensions period, stage, bus, line, trafo, agent."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from peerwatt.sim.columns import codes, dense, numbers, strings
from peerwatt.sim.tables import STAGES, TABLES, keys

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr

__all__ = ["CUBES", "to_dataset"]

CUBES = ("period", "bus", "line", "trafo", "agent")
"""Tables with one row per combination of their keys."""

Labels = dict[str, list[Any]]


def to_dataset(
    tables: Mapping[str, pa.Table],
    topology: Mapping[str, Any],
    manifest: Mapping[str, Any],
    times: pd.DatetimeIndex,
) -> xr.Dataset:
    """Lay recorded tables out as a dataset; see ``Results.to_xarray``.

    Args:
        tables: those of ``CUBES`` that were recorded, and ``peer``.
        topology: the run's ``topology.json``.
        manifest: the run's ``manifest.json``.
        times: start of every period, shape (n_periods,).
    """
    import xarray as xr

    labels = _labels(tables, topology, manifest)
    variables: dict[str, Any] = {}
    for name in CUBES:
        if name in tables:
            variables |= _variables(name, tables[name], labels)
    used = {dim for dims, _, _ in variables.values() for dim in dims} | {"period"}
    coords: dict[str, Any] = {dim: (dim, values) for dim, values in labels.items() if dim in used}
    coords["time"] = ("period", times.tz_localize(None), {"long_name": "start of the period"})
    coords |= _names(topology, labels, used) | _peers(tables, used)
    attrs = {key: value for key, value in manifest.items() if isinstance(value, str | int | float)}
    return xr.Dataset(variables, coords, attrs=attrs)


def _labels(tables: Mapping[str, pa.Table], topology: Mapping[str, Any], manifest: Mapping[str, Any]) -> Labels:
    agents: list[Any] = strings(tables["peer"], "agent") if "peer" in tables else []
    if not agents and "agent" in tables:
        agents = codes(tables["agent"], "agent")[1]
    return {
        "period": list(range(int(manifest["periods_done"]))),
        "stage": [stage for stage in STAGES if stage in manifest.get("stages", STAGES)],
        "bus": [int(bus["bus"]) for bus in topology.get("buses", ())],
        "line": [int(line["line"]) for line in topology.get("lines", ())],
        "trafo": [int(trafo["trafo"]) for trafo in topology.get("trafos", ())],
        "agent": agents,
    }


def _positions(table: pa.Table, key: str, labels: list[Any]) -> NDArray[np.intp]:
    """Position of each row's key in the labels, shape (n_rows,); -1 for a key that is not among them."""
    place = {label: position for position, label in enumerate(labels)}
    row, names = codes(table, key)
    known = np.array([place.get(name, -1) for name in names], dtype=np.intp)
    return known[row] if row.size else row


def _variables(name: str, table: pa.Table, labels: Labels) -> dict[str, Any]:
    dims = keys(name)
    index = [_positions(table, dim, labels[dim]) for dim in dims]
    known = np.all([place >= 0 for place in index], axis=0)
    index = [place[known] for place in index]
    shape = [len(labels[dim]) for dim in dims]
    variables: dict[str, Any] = {}
    for field in TABLES[name]:
        if field.name in dims or field.name not in table.column_names:
            continue
        metadata = {key.decode(): value.decode() for key, value in (field.metadata or {}).items()}
        attrs = {"units": metadata.get("unit", ""), "long_name": metadata.get("meaning", "")}
        variable = field.name if name == "period" else f"{name}_{field.name}"
        if pa.types.is_string(field.type):
            values: NDArray[Any] = np.full(shape, "", dtype=object)
            values[tuple(index)] = np.array(strings(table, field.name), dtype=object)[known]
        else:
            values = dense(shape, index, numbers(table, field.name)[known])
        variables[variable] = (dims, values, attrs)
    return variables


def _names(topology: Mapping[str, Any], labels: Labels, used: set[str]) -> dict[str, Any]:
    elements = {"bus": "buses", "line": "lines", "trafo": "trafos"}
    return {
        f"{dim}_name": (dim, [str(element.get("name", "")) for element in topology.get(group, ())])
        for dim, group in elements.items()
        if dim in used and labels[dim]
    }


def _peers(tables: Mapping[str, pa.Table], used: set[str]) -> dict[str, Any]:
    if "agent" not in used or "peer" not in tables:
        return {}
    peer = tables["peer"]
    return {
        "agent_bus": ("agent", [int(bus) for bus in peer.column("bus").to_pylist()]),
        "agent_kind": ("agent", strings(peer, "kind")),
    }
