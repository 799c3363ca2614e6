"""The event clock: the one module that imports SimPy.

Time is in integer seconds from the start of the run. Events due exactly at the end of a period belong to
the next period: `Clock.run_until` stops before them.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import suppress
from typing import Any

import simpy

from peerwatt.errors import AgentError, PeerwattError

__all__ = ["Clock", "Mailbox"]

Event = simpy.Event
Process = Generator[simpy.Event, Any, None]


class _ProcessFailedError(Exception):
    """Stops SimPy's loop; takes no arguments, since SimPy builds a failed process's exception anew from them."""


class Mailbox:
    """Where the messages for one agent wait until its process takes them."""

    __slots__ = ("_env", "_messages", "_waiting")

    def __init__(self, env: simpy.Environment) -> None:
        self._env = env
        self._messages: list[Any] = []
        self._waiting: simpy.Event | None = None

    def put(self, message: object) -> None:
        """Add a message; wakes the process that waits for one."""
        self._messages.append(message)
        if self._waiting is not None:
            waiting, self._waiting = self._waiting, None
            waiting.succeed()

    def arrival(self) -> Event:
        """Return an event that fires when there is something to `take`."""
        event = self._env.event()
        if self._messages:
            return event.succeed()
        self._waiting = event
        return event

    def take(self) -> list[Any]:
        """Take everything that has arrived, in the order of arrival."""
        messages, self._messages = self._messages, []
        return messages


class Clock:
    """SimPy's environment behind the few calls that agents need."""

    def __init__(self) -> None:
        self._env = simpy.Environment(initial_time=0)
        self._failure: tuple[str, Exception] | None = None

    @property
    def now_s(self) -> int:
        """Current time, seconds from the start of the run."""
        return int(self._env.now)

    def start(self, process: Process, name: str) -> None:
        """Start an agent's process.

        Args:
            process: generator that yields events of this clock.
            name: agent's name, for the message when the process fails.
        """
        self._env.process(self._guarded(process, name))

    def until(self, time_s: int) -> Event:
        """Return an event that fires at a time, or at once when that time has passed."""
        return self._env.timeout(max(0, time_s - self._env.now))

    def call_at(self, time_s: int, function: Callable[[], None]) -> None:
        """Call a function at a time."""
        self.until(time_s).callbacks.append(lambda _: function())

    def mailbox(self) -> Mailbox:
        """Make a mailbox that lives on this clock."""
        return Mailbox(self._env)

    def run_until(self, time_s: int) -> None:
        """Let time pass up to, but not including, the events of a time.

        Args:
            time_s: where to stop.

        Raises:
            AgentError: code of an agent raised; the original exception is its cause.
            PeerwattError: an agent raised one on purpose; it is passed on as it is.
        """
        if self._failure is None:
            with suppress(_ProcessFailedError):
                self._env.run(until=time_s)
        if self._failure is not None:
            name, error = self._failure
            if isinstance(error, PeerwattError):
                raise error
            raise AgentError(f"agent '{name}' failed at {self.now_s} s: {type(error).__name__}: {error}") from error

    def _guarded(self, process: Process, name: str) -> Process:
        try:
            yield from process
        except Exception as error:
            self._failure = (name, error)
            raise _ProcessFailedError from None
