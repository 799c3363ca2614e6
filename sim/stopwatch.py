"""Where the time went: wall time by part of the work."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from time import perf_counter

__all__ = ["Stopwatch"]


class Stopwatch:
    """Adds up wall time by label; parts may not be nested."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def __call__(self, label: str) -> Iterator[None]:
        """Book the time that the block takes."""
        begin = perf_counter()
        try:
            yield
        finally:
            self.add(label, perf_counter() - begin)

    def add(self, label: str, seconds: float) -> None:
        """Book seconds."""
        self.seconds[label] = self.seconds.get(label, 0.0) + seconds
