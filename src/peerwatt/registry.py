"""Names for plug-ins: strategies, policies, mechanisms, engines.

A scenario file names a plug-in; a registry finds it. Users add their own from a script with the
decorator, or from an installed package through an entry point of the group `peerwatt.<kind>`.
"""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Iterator, Mapping
from importlib.metadata import EntryPoint, entry_points
from typing import Any, ClassVar, Generic, TypeVar

from peerwatt.errors import Fault, ScenarioError

__all__ = ["Registry", "construct", "nearest"]

T = TypeVar("T")


def nearest(name: str, known: list[str]) -> str:
    """Say which names are known, the most similar one first.

    Args:
        name: what was given.
        known: what is allowed.

    Returns:
        A sentence for an error message.
    """
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    return f"did you mean '{close[0]}'?" if close else f"known: {', '.join(sorted(known))}"


class Registry(Generic[T]):
    """A table of plug-ins of one kind.

    Args:
        kind: singular noun for messages and for the entry point group, e.g. ``strategy``.
        shipped: where the plug-ins that come with peerwatt are, as ``module:attribute`` by name; each is
            imported when it is first named.

    Attributes:
        registrations: how often something has been registered in this process, of any kind.
    """

    registrations: ClassVar[int] = 0

    def __init__(self, kind: str, shipped: Mapping[str, str] | None = None) -> None:
        self.kind = kind
        self._shipped = [EntryPoint(name, value, "") for name, value in (shipped or {}).items()]
        self._items: dict[str, T] = {}

    def register(self, name: str) -> Callable[[T], T]:
        """Return a decorator that registers an object under a name.

        A second registration of a name replaces the first, so that a notebook cell can be run twice.
        """

        def add(item: T) -> T:
            self._items[name] = item
            Registry.registrations += 1
            return item

        return add

    def names(self) -> list[str]:
        """All names, those of installed entry points included, sorted."""
        return sorted({*self._items, *(point.name for point in self._entry_points())})

    def known(self, name: str) -> str:
        """Return a name if something is registered under it.

        Raises:
            ValueError: nothing is; says what is.
        """
        if name not in self._items:
            names = self.names()
            if name not in names:
                raise ValueError(f"unknown {self.kind} '{name}' ({nearest(name, names)})")
        return name

    def get(self, name: str, where: str = "") -> T:
        """Find a plug-in.

        Args:
            name: registered name.
            where: key path for the error message.

        Raises:
            ScenarioError: nothing has this name.
        """
        if name not in self._items:
            for point in self._entry_points():
                if point.name == name:
                    self._items[name] = point.load()
                    break
            else:
                raise ScenarioError(Fault(where, f"unknown {self.kind} '{name}'", nearest(name, self.names())))
        return self._items[name]

    def _entry_points(self) -> Iterator[EntryPoint]:
        yield from self._shipped
        yield from entry_points(group=f"peerwatt.{self.kind}")


def construct(registry: Registry[Callable[..., T]], name: str, options: Mapping[str, Any]) -> T:
    """Build a plug-in from its name and the options of a scenario: keyword parameters of its factory.

    Args:
        registry: where its factory is.
        name: registered name.
        options: keyword options, e.g. ``k`` of the double auction.

    Raises:
        ScenarioError: an unknown name, or options that the plug-in does not have or refuses.
    """
    where = f"{registry.kind} '{name}'"
    factory = registry.get(name, registry.kind)
    parameters = inspect.signature(factory).parameters.values()
    if not any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
        known = [parameter.name for parameter in parameters if parameter.kind is not parameter.VAR_POSITIONAL]
        faults = [
            Fault(where, f"unknown option '{option}'", _allowed(option, known))
            for option in options
            if option not in known
        ]
        faults += [
            Fault(where, f"option '{parameter.name}' is missing", "give it a value")
            for parameter in parameters
            if parameter.default is parameter.empty
            and parameter.kind in (parameter.KEYWORD_ONLY, parameter.POSITIONAL_OR_KEYWORD)
            and parameter.name not in options
        ]
        if faults:
            raise ScenarioError(faults)
    try:
        return factory(**options)
    except (TypeError, ValueError) as error:
        given = ", ".join(f"{option}={value!r}" for option, value in options.items())
        raise ScenarioError(Fault(where, f"refuses {given}: {error}", "see its options")) from error


def _allowed(option: str, known: list[str]) -> str:
    if not known:
        return "it has no options"
    hint = nearest(option, known)
    listed = f"options: {', '.join(known)}"
    return listed if hint.startswith("known") else f"{hint}; {listed}"
