"""Reads pandapower's JSON files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from peerwatt.errors import Fault, GridDataError
from peerwatt.grid.convert import quiet

if TYPE_CHECKING:
    from pandapower import pandapowerNet

__all__ = ["parse_net", "read_net"]

_REMEDY = "save the network with pandapower.to_json(net, path)"


def read_net(path: Path) -> pandapowerNet:
    """Read a network that pandapower saved with `to_json`.

    Args:
        path: the file.

    Raises:
        GridDataError: the file is missing, unreadable or something else.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise GridDataError(Fault(str(path), f"cannot be read: {error.strerror or error}")) from error
    except UnicodeDecodeError as error:
        raise GridDataError(Fault(str(path), f"not a JSON file: {error}", _REMEDY)) from error
    return parse_net(text, str(path))


def parse_net(text: str, where: str) -> pandapowerNet:
    """Make a network of the text that pandapower's `to_json` wrote.

    Args:
        text: the JSON.
        where: file, for the messages.

    Raises:
        GridDataError: the text is something else.
    """
    import pandapower

    try:
        json.loads(text)
    except ValueError as error:
        raise GridDataError(Fault(where, f"not a JSON file: {error}", _REMEDY)) from error
    try:
        with quiet():
            net = pandapower.from_json_string(text)
    except Exception as error:  # pandapower raises whatever the text provokes
        raise GridDataError(Fault(where, f"pandapower cannot read it: {error}", _REMEDY)) from error
    if not isinstance(net, pandapower.pandapowerNet):
        raise GridDataError(Fault(where, "not a pandapower network", _REMEDY))
    return net
