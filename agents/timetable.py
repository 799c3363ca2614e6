"""When things happen in a period: rounds of trading, the flexibility market, delivery.

All times are whole seconds from the start of the period and strictly inside it. With one round, no signals and no
flexibility market, bids are called for at 0, the gate closes at a third and the DSO checks at half of the period.
"""

from __future__ import annotations

from dataclasses import dataclass

from peerwatt.agents.coordination import Design, Sequence
from peerwatt.errors import Fault, ScenarioError

__all__ = ["FlexibilityWindow", "Round", "Timetable"]


@dataclass(frozen=True, slots=True)
class Round:
    """One round of trading.

    Attributes:
        cycle: number of the cycle it is in.
        number: number of the round in its cycle, from 0.
        signal_s: the DSO sends its signals.
        call_s: the market calls for bids.
        gate_s: bids are due before.
        check_s: the DSO evaluates the traded schedule.
    """

    cycle: int
    number: int
    signal_s: int
    call_s: int
    gate_s: int
    check_s: int


@dataclass(frozen=True, slots=True)
class FlexibilityWindow:
    """One flexibility market.

    Attributes:
        cycle: number of the cycle it is in.
        need_s: the DSO says what it needs, and bids are called for.
        gate_s: bids are due before; the market is cleared and providers are told.
    """

    cycle: int
    need_s: int
    gate_s: int


@dataclass(frozen=True, slots=True)
class Timetable:
    """The timetable of a period.

    Attributes:
        rounds: rounds of trading, in order.
        windows: flexibility markets, in order; none without one.
        delivery_s: energy is delivered and metered.
    """

    rounds: tuple[Round, ...]
    windows: tuple[FlexibilityWindow, ...]
    delivery_s: int

    @classmethod
    def of(cls, design: Design, period_s: int, *, tso: bool = False) -> Timetable:
        """Lay a period out.

        Args:
            design: what takes place.
            period_s: length of the period.
            tso: whether a TSO's request comes before trading.

        Raises:
            ScenarioError: the period is too short for so many rounds and cycles.
        """
        delivery = period_s * 5 // 6
        begin_s = period_s // 24 if tso else 0
        if not design.lfm:
            rounds, windows = _trading(design, 0, begin_s, period_s // 2), []
        elif design.sequence is Sequence.LFM_FIRST:
            windows = [FlexibilityWindow(0, 0, period_s // 6)]
            rounds = _trading(design, 0, period_s // 4, period_s // 2)
        elif design.sequence is Sequence.UNRELATED:
            windows = [FlexibilityWindow(0, period_s // 12, period_s * 5 // 12)]
            rounds = _trading(design, 0, begin_s, period_s // 2)
        else:
            cycles = design.cycles if design.sequence is Sequence.ITERATIVE else 1
            rounds, windows = [], []
            for cycle in range(cycles):
                begin, end = (period_s * 3 * each // (4 * cycles) for each in (cycle, cycle + 1))
                check = begin + (end - begin) * 2 // 3
                rounds += _trading(design, cycle, max(begin, begin_s), check)
                windows.append(FlexibilityWindow(cycle, check, check + (end - check) * 2 // 3))
        spans = [(each.call_s, each.gate_s, each.check_s) for each in rounds]
        spans += [(window.need_s, window.gate_s, delivery) for window in windows]
        if any(not first < second < third for first, second, third in spans):
            shape = f" in {design.cycles} cycles" if design.sequence is Sequence.ITERATIVE else ""
            raise ScenarioError(
                Fault(
                    "time.period_s",
                    f"{period_s} s are too short for {design.rounds} rounds{shape}",
                    "take longer periods, or fewer rounds",
                )
            )
        return cls(tuple(rounds), tuple(windows), delivery)


def _trading(design: Design, cycle: int, begin_s: int, end_s: int) -> list[Round]:
    """Rounds that share a stretch of time."""
    n, rounds = design.rounds, []
    for number in range(n):
        start = begin_s + (end_s - begin_s) * number // n
        end = begin_s + (end_s - begin_s) * (number + 1) // n
        call = start if design.scheme is None else start + (end - start) // 4
        rounds.append(Round(cycle, number, start, call, start + (end - start) * 2 // 3, end))
    return rounds
