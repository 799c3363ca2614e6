"""Reads scenarios: YAML, overrides and defaults, with every fault of a file named at once."""

from __future__ import annotations

import types
from pathlib import Path
from typing import Any, TypeVar, Union, get_args, get_origin

import yaml
from pydantic import BaseModel, ValidationError

from peerwatt.errors import Fault, ScenarioError
from peerwatt.registry import nearest

__all__ = ["parse_overrides", "read_document", "set_path", "validated"]

M = TypeVar("M", bound=BaseModel)


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """Leaves dates as text: a wrong one is then a fault among others, with its key."""

    yaml_implicit_resolvers = {  # noqa: RUF012 - PyYAML's own form
        first: [(tag, pattern) for tag, pattern in resolvers if not tag.endswith(":timestamp")]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:  # noqa: FBT001, FBT002
        """Refuse a key that stands twice: YAML would keep the last and drop the first without a word."""
        seen: set[str] = set()
        for key, _ in node.value:
            if key.value in seen:
                raise yaml.constructor.ConstructorError(
                    problem=f"the key '{key.value}' stands twice", problem_mark=key.start_mark
                )
            seen.add(key.value)
        mapping: dict[Any, Any] = super().construct_mapping(node, deep=deep)
        return mapping


def read_document(path: Path) -> dict[str, Any]:
    """Read a YAML file that holds a mapping.

    Args:
        path: the file.

    Raises:
        ScenarioError: it cannot be read or is not a mapping.
    """
    try:
        document = yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader)
    except OSError as error:
        raise ScenarioError(Fault(str(path), f"cannot be read: {error.strerror}")) from None
    except UnicodeDecodeError:
        raise ScenarioError(Fault(str(path), "is not a text file in UTF-8", "save it as UTF-8")) from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{path}, line {mark.line + 1}, column {mark.column + 1}" if mark else str(path)
        problem = getattr(error, "problem", None) or str(error)
        raise ScenarioError(Fault(where, f"is not valid YAML: {problem}", "check indentation and colons")) from None
    if document is None:
        return {}
    if not isinstance(document, dict):
        raise ScenarioError(Fault(str(path), f"holds a {type(document).__name__}", "a scenario is a mapping of keys"))
    return document


def parse_overrides(settings: list[str]) -> dict[str, Any]:
    """Read `key.path=value` settings; values are YAML.

    Args:
        settings: such as ``population.pv_share=0.6``.

    Raises:
        ScenarioError: one is not of this form.
    """
    changes, faults = {}, []
    for setting in settings:
        key, equals, text = setting.partition("=")
        if not equals or not key.strip():
            faults.append(Fault("--set", f"'{setting}' is not of the form key=value", "e.g. population.pv_share=0.6"))
            continue
        try:
            changes[key.strip()] = yaml.load(text, Loader=_Loader)
        except yaml.YAMLError:
            faults.append(Fault("--set", f"the value of '{setting}' is not valid YAML", "quote it"))
    if faults:
        raise ScenarioError(faults)
    return changes


def set_path(document: dict[str, Any], path: str, value: Any) -> None:
    """Set a value of a nested document by its key path, e.g. ``time.periods``.

    A part of the path may be quoted by brackets where a name has dots: ``population.peers[Bus 1.2].pv_mw``.

    Raises:
        ScenarioError: the path leads through something that has no keys.
    """
    parts = _path_parts(path)
    node = document
    for part in parts[:-1]:
        below = node.setdefault(part, {})
        if below is None:
            below = node[part] = {}
        if not isinstance(below, dict):
            raise ScenarioError(Fault(path, f"'{part}' is a value, not a group of keys", "set it as a whole"))
        node = below
    node[parts[-1]] = value


def validated(model: type[M], document: dict[str, Any], source: str) -> M:
    """Validate a document.

    Args:
        model: what it must be.
        document: nested keys and values.
        source: file or name for messages.

    Raises:
        ScenarioError: with every fault of the document.
    """
    try:
        return model.model_validate(document)
    except ValidationError as error:
        raise ScenarioError([_fault(item, source, model) for item in error.errors()]) from None


def _path_parts(path: str) -> list[str]:
    """Split ``a.b[c.d].e`` into a, b, c.d, e."""
    parts: list[str] = []
    for piece in path.split("["):
        name, bracket, rest = piece.rpartition("]")
        if bracket:
            parts.append(name)
            piece = rest.removeprefix(".")
        parts.extend(part for part in piece.split(".") if part)
    if not parts:
        raise ScenarioError(Fault(path, "is not a key path", "e.g. population.pv_share"))
    return parts


def _fault(item: Any, source: str, model: type[BaseModel]) -> Fault:
    """One of pydantic's errors in the words of the user."""
    path = [str(part) for part in item["loc"] if part != "[key]"]
    key = ".".join(path)
    where = f"{source}: {key}" if key else source
    if item["type"] == "extra_forbidden":
        return Fault(where, "unknown key", nearest(path[-1], _known_keys(model, path[:-1])))
    problem = item["msg"].removeprefix("Value error, ")
    value = item.get("input")
    if isinstance(value, str | int | float | bool) and repr(value).strip("'") not in problem:
        problem = f"{value!r}: {problem[0].lower()}{problem[1:]}"
    return Fault(where, problem, _remedy(item, value))


def _remedy(item: Any, value: Any) -> str:
    """What to do, where pydantic's words do not say it."""
    if item["type"] in ("less_than_equal", "less_than") and isinstance(value, int | float):
        if str(item["loc"][-1]).endswith(("_mw", "_mwh")):
            return f"in MW or MWh: {value} kW is {value / 1000:g}"
        if str(item["loc"][-1]).endswith("share") or "demand_response" in item["loc"]:
            return f"a share: {value} percent is {value / 100:g}"
    if item["type"] == "float_parsing" and isinstance(value, str):
        return "a number without a unit; the unit is in the key's name"
    return ""


def _known_keys(model: type[BaseModel], path: list[str]) -> list[str]:
    """Keys that a model has at a path."""
    for part in path:
        field = model.model_fields.get(part)
        below = _settings_in(field.annotation) if field else None
        if below is not None:
            model = below
    return list(model.model_fields)


def _settings_in(annotation: Any) -> type[BaseModel] | None:
    """The group of settings that an annotation holds, if any."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    if get_origin(annotation) in (dict, Union, types.UnionType):
        for argument in get_args(annotation):
            found = _settings_in(argument)
            if found:
                return found
    return None
