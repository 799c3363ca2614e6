"""Pandapower's network as text: read and change the tables of its elements without importing pandapower."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from peerwatt.grid.network import Network

__all__ = ["Change", "edited", "table_rows"]

Change = Callable[[list[Any] | None], list[Any] | None]
"""New values of a column of pandapower's table; None stands for no column."""


def table_rows(network: Network, table: str) -> list[dict[str, Any]]:
    """Rows of a table of elements, in the order of their indices.

    Args:
        network: the network.
        table: pandapower's name, e.g. ``trafo``.
    """
    frame = json.loads(json.loads(network.pandapower_json)["_object"][table]["_object"])
    return [dict(zip(frame["columns"], row, strict=True)) for row in frame["data"]]


def edited(network: Network, table: str, changes: Mapping[str, Change]) -> str:
    """The text of pandapower's network with columns of one table changed.

    Args:
        network: the network; it is not changed.
        table: pandapower's name, e.g. ``line``.
        changes: by column, what makes its new values of the old ones (None: there is no such column).
    """
    document = json.loads(network.pandapower_json)
    stored = document["_object"][table]
    frame = json.loads(stored["_object"])  # pandas' orient "split"
    columns: list[str] = frame["columns"]
    for name, change in changes.items():
        at = columns.index(name) if name in columns else None
        values = change(None if at is None else [row[at] for row in frame["data"]])
        if values is None:
            continue
        for row, value in zip(frame["data"], values, strict=True):
            if at is None:
                row.append(value)
            else:
                row[at] = value
        if at is None:
            columns.append(name)
            stored["dtype"][name] = "object" if any(isinstance(value, str) for value in values) else "float64"
    stored["_object"] = json.dumps(frame)
    return json.dumps(document)
