"""Which objects the text of a network may name, looked at before pandapower reads it.

pandapower writes an object as ``{"_module": ..., "_class": ..., "_object": ...}`` and, when it reads the text, imports
the module and calls what it finds under the class's name: in versions below 3.5.4 anything at all. A network of a
stranger must not decide what runs here, so only the kinds of data that a network is made of are let through, and
classes of pandapower itself (controllers, characteristics) that are loaded already.
"""

from __future__ import annotations

import json
import sys
from typing import Any

from peerwatt.errors import Fault

__all__ = ["DoubleKeyError", "forbidden_objects", "load_json"]

_DATA = {
    "pandapower.auxiliary": {"pandapowerNet"},
    "pandas": {"DataFrame", "Series", "Index", "DatetimeIndex"},
    "pandas.core.frame": {"DataFrame"},
    "pandas.core.series": {"Series"},
    "numpy": {
        *("array", "bool", "bool_", "float64", "float32", "float16", "int64", "int32", "int16", "int8"),
        *("uint64", "uint32", "uint16", "uint8", "complex128", "complex64"),
    },
    "builtins": {"tuple", "set", "frozenset", "complex"},
    "networkx": {"MultiGraph"},
    "shapely": {"Point", "LineString", "Polygon"},
}
_SIGNATURE = ("_module", "_class", "_object")
_OPTIONS = {
    *_SIGNATURE,
    *("orient", "typ", "dtype", "index_name", "index_names", "column_name", "column_names"),
    *("is_multiindex", "is_multicolumn"),
}
"""Keys of data. pandapower hands the others on as arguments, e.g. to `pandas.read_json`."""

_REMEDY = "only data and pandapower's own controllers are read: remove it from the network"
_SHOWN = 5


def forbidden_objects(document: Any, where: str) -> list[Fault]:
    """What a text names that is neither data of a network nor pandapower's own.

    Args:
        document: the text, parsed by `load_json`; texts within it that are JSON themselves are looked at too.
        where: file, for the messages.
    """
    faults: dict[str, Fault] = {}
    waiting: list[Any] = [document]
    while waiting and len(faults) < _SHOWN:
        item = waiting.pop()
        if isinstance(item, dict):
            problem = _problem(item)
            if problem:
                faults[problem] = Fault(where, problem, _REMEDY)
            waiting.extend(item.values())
        elif isinstance(item, list):
            waiting.extend(item)
        elif isinstance(item, str) and _may_name_objects(item):
            try:
                waiting.append(load_json(item))
            except DoubleKeyError as error:
                faults[str(error)] = Fault(where, str(error), _REMEDY)
            except (ValueError, RecursionError):  # a text, e.g. a name
                if not item.lstrip().startswith(("{", "[")):
                    continue
                faults["text"] = Fault(where, "a part of it is not JSON", _REMEDY)
    return list(faults.values())


def load_json(text: str) -> Any:
    """Parse a JSON text.

    Raises:
        ValueError: it is no JSON, or a key of a signature stands twice in one object: readers differ in which counts.
        RecursionError: it is nested too deeply.
    """
    return json.loads(text, object_pairs_hook=_refusing_doubles)


class DoubleKeyError(ValueError):
    """A key of a signature stands twice in one object."""


def _refusing_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        for key in _SIGNATURE:
            if sum(name == key for name, _ in pairs) > 1:
                raise DoubleKeyError(f"{key} stands twice in one object")
    return found


def _may_name_objects(text: str) -> bool:
    """Whether a text that is JSON could have keys of a signature; an underscore may be escaped."""
    return "_module" in text or "_class" in text or "\\u005" in text.lower()


def _problem(item: dict[str, Any]) -> str:
    """What is wrong with an object; empty where it is data."""
    if "_module" not in item and "_class" not in item:
        return ""
    module, name = item.get("_module"), item.get("_class")
    if not isinstance(module, str) or not isinstance(name, str):
        return f"_module {str(module)[:40]!r} and _class {str(name)[:40]!r} name no class"
    if name not in _DATA.get(module, ()):
        return "" if _is_pandapowers(module, name) else f"it names {module[:60]}.{name[:60]}"
    if "_object" not in item:
        return f"a {name} without _object"
    if not _OPTIONS.issuperset(item):
        return f"a {name} with {sorted(item.keys() - _OPTIONS)[0][:40]!r}"
    content = item["_object"]
    if name in ("DataFrame", "Series") and not (isinstance(content, str) and content.lstrip().startswith("{")):
        return f"the content of a {name} is no JSON text"  # pandas would open a file of that name
    return ""


def _is_pandapowers(module: str, name: str) -> bool:
    """Whether a name is a serialisable class that pandapower defines, in a module that is loaded already."""
    from pandapower.io_utils import JSONSerializableClass

    if module.partition(".")[0] != "pandapower":
        return False
    found = getattr(sys.modules.get(module), name, None)
    return (
        isinstance(found, type)
        and issubclass(found, JSONSerializableClass)
        and found.__module__.partition(".")[0] == "pandapower"
    )
