"""Reads scenario files: YAML and overrides."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from peerwatt.errors import Fault, ScenarioError

__all__ = ["parse_overrides", "read_document", "set_path"]


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


def parse_overrides(
    settings: list[str], flag: str = "--set", example: str = "population.pv_share=0.6"
) -> dict[str, Any]:
    """Read `key.path=value` settings; values are YAML.

    Args:
        settings: such as ``population.pv_share=0.6``.
        flag: what to call them in a message.
        example: one of them, for the message.

    Raises:
        ScenarioError: one is not of this form.
    """
    changes, faults = {}, []
    for setting in settings:
        key, equals, text = setting.partition("=")
        if not equals or not key.strip():
            faults.append(Fault(flag, f"'{setting}' is not of the form key=value", f"e.g. {example}"))
            continue
        try:
            changes[key.strip()] = yaml.load(text, Loader=_Loader)
        except yaml.YAMLError:
            faults.append(Fault(flag, f"the value of '{setting}' is not valid YAML", "quote it"))
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
