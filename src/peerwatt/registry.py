"""Names for plug-ins: strategies, policies, mechanisms, engines.

A scenario file names a plug-in; a registry finds it. Users add their own from a script with the
decorator, or from an installed package through an entry point of the group `peerwatt.<kind>`.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator, Mapping
from importlib.metadata import EntryPoint, entry_points
from typing import Generic, TypeVar

from peerwatt.errors import Fault, ScenarioError

__all__ = ["Registry", "nearest"]

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
    """

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
