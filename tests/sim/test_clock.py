from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from peerwatt.errors import AgentError, PowerFlowError
from peerwatt.sim.clock import Clock


class PickyError(Exception):
    """Cannot be built from its own `args`, which is how SimPy rebuilds a failed process's exception."""

    def __init__(self, code: int, *, detail: str) -> None:
        super().__init__(f"{code}: {detail}")
        self.code = code


def test_events_due_at_the_end_of_a_period_belong_to_the_next_one() -> None:
    clock, seen = Clock(), []
    for time_s in (0, 899, 900, 901):
        clock.call_at(time_s, lambda time_s=time_s: seen.append((time_s, clock.now_s)))  # type: ignore[misc]
    clock.run_until(900)
    assert seen == [(0, 0), (899, 899)]
    clock.run_until(1800)
    assert seen[2:] == [(900, 900), (901, 901)]


def test_a_failed_process_hands_over_its_own_exception_with_everything_on_it() -> None:
    clock, original = Clock(), PickyError(7, detail="broken")

    def process() -> Iterator[Any]:
        yield clock.until(10)
        raise original

    clock.start(process(), "peer 3")
    with pytest.raises(AgentError, match=r"agent 'peer 3' failed at 10 s: PickyError: 7: broken") as caught:
        clock.run_until(900)
    assert caught.value.__cause__ is original


def test_nothing_happens_after_a_failure() -> None:
    clock, seen = Clock(), []

    def process() -> Iterator[Any]:
        yield clock.until(10)
        raise ValueError("no")

    clock.start(process(), "a")
    clock.call_at(20, lambda: seen.append(20))
    for _ in range(2):
        with pytest.raises(AgentError):
            clock.run_until(900)
    assert seen == []


def test_errors_raised_on_purpose_pass_as_they_are() -> None:
    clock = Clock()

    def process() -> Iterator[Any]:
        yield clock.until(1)
        raise PowerFlowError("stop here")

    clock.start(process(), "dso")
    with pytest.raises(PowerFlowError, match="stop here"):
        clock.run_until(900)


def test_a_mailbox_wakes_its_process_once_for_all_that_has_arrived() -> None:
    clock, taken = Clock(), []
    mailbox = clock.mailbox()

    def process() -> Iterator[Any]:
        while True:
            yield mailbox.arrival()
            taken.append((clock.now_s, mailbox.take()))

    clock.start(process(), "reader")
    for time_s, message in ((5, "a"), (5, "b"), (9, "c")):
        clock.call_at(time_s, lambda message=message: mailbox.put(message))  # type: ignore[misc]
    clock.run_until(100)
    assert taken == [(5, ["a", "b"]), (9, ["c"])]
