"""Documents against their models, with every fault of a document named at once, in the words of its user."""

from __future__ import annotations

import types
from typing import Any, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

from peerwatt.errors import Fault, InputError, ScenarioError
from peerwatt.registry import nearest

__all__ = ["validated"]

M = TypeVar("M", bound=BaseModel)


def validated(
    model: type[M],
    document: dict[str, Any],
    source: str,
    error: type[InputError] = ScenarioError,
    context: dict[str, Any] | None = None,
) -> M:
    """Validate a document.

    Args:
        model: what it must be.
        document: nested keys and values.
        source: file or name for messages.
        error: what to raise.
        context: what the model's validators need to know besides.

    Raises:
        InputError: of the kind that was asked for, with every fault of the document.
    """
    try:
        return model.model_validate(document, context=context)
    except ValidationError as refused:
        raise error([_fault(item, source, model) for item in refused.errors()]) from None


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
