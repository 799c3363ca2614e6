"""Reads pandapower's JSON files, of any version of pandapower."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from peerwatt.errors import Fault, GridDataError
from peerwatt.grid.convert import quiet
from peerwatt.grid.netkind import foreign_document, refuse_foreign
from peerwatt.grid.netsafe import DoubleKeyError, forbidden_objects, load_json

if TYPE_CHECKING:
    from pandapower import pandapowerNet

__all__ = ["parse_net", "read_net"]

_REMEDY = "save the network with pandapower.to_json(net, path)"
_RESAVE = "open it with the pandapower that saved it, check it there, and save it anew with to_json"


def read_net(path: Path) -> pandapowerNet:
    """Read a network that pandapower saved with `to_json`.

    Args:
        path: the file.

    Raises:
        GridDataError: the file is missing, unreadable or something else.
    """
    refuse_foreign(path)
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise GridDataError(Fault(str(path), f"cannot be read: {error.strerror or error}")) from error
    except UnicodeDecodeError as error:
        raise GridDataError(Fault(str(path), f"not a JSON file: {error}", _REMEDY)) from error
    return parse_net(text, str(path))


def parse_net(text: str, where: str) -> pandapowerNet:
    """Make a network of the text that `to_json` of any pandapower wrote, in the notation of the present one.

    Args:
        text: the JSON.
        where: file, for the messages.

    Raises:
        GridDataError: the text is something else, or names what must not be read.
    """
    import pandapower

    document = _document(text, where)
    foreign = foreign_document(document, where)
    if foreign is not None:
        raise GridDataError(foreign)
    faults = forbidden_objects(document, where)
    if faults:
        raise GridDataError(faults)
    version, places = _version(document), _first_geodata(document)
    try:
        with quiet():
            net = pandapower.from_json_string(json.dumps(document) if places else text, convert=True)
    except Exception as error:  # pandapower raises whatever the text provokes
        problem = f"pandapower {pandapower.__version__} cannot read it{version}: {_first_line(error)}"
        raise GridDataError(Fault(where, problem, _RESAVE if version else _REMEDY)) from error
    if not isinstance(net, pandapower.pandapowerNet):
        raise GridDataError(Fault(where, "not a pandapower network", _REMEDY))
    if places:
        net.bus["geo"] = [places.get(str(index)) for index in net.bus.index]
    return net


def _first_geodata(document: dict[str, Any]) -> dict[str, str]:
    """Take the coordinates out of a document of the first versions, as pandapower 3 cannot convert them.

    Returns:
        GeoJSON by index of the bus; empty where there are none, or a later version wrote them.
    """
    given = document.get("bus_geodata")
    if not isinstance(given, dict) or "_object" in given:
        return {}
    document.pop("bus_geodata")
    document.pop("line_geodata", None)
    x, y = (given[key] if isinstance(given.get(key), dict) else {} for key in "xy")
    return {index: json.dumps({"coordinates": [x[index], y[index]], "type": "Point"}) for index in x if index in y}


def _document(text: str, where: str) -> Any:
    try:
        return load_json(text)
    except DoubleKeyError as error:
        raise GridDataError(Fault(where, str(error), "remove one")) from error
    except ValueError as error:
        raise GridDataError(Fault(where, f"not a JSON file: {_first_line(error)}", _REMEDY)) from error
    except RecursionError as error:
        raise GridDataError(Fault(where, "not a pandapower network: nested too deeply", _REMEDY)) from error


def _version(document: Any) -> str:
    """Which pandapower saved a document, as part of a sentence; empty where it does not say."""
    content = document.get("_object", document)
    if isinstance(content, str):
        try:
            content = json.loads(content)
        except (ValueError, RecursionError):
            return ""
    version = content.get("version") if isinstance(content, dict) else None
    if isinstance(version, dict):  # 1.x
        version = version.get("_object")
    return f", which pandapower {str(version)[:20]} saved" if version else ""


def _first_line(error: BaseException) -> str:
    line = (str(error).splitlines() or [type(error).__name__])[0]
    return line if len(line) <= 200 else f"{line[:200]}..."
