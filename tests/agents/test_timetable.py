"""When things happen in a period, in seconds by hand."""

from __future__ import annotations

from typing import Any

import pytest

from peerwatt.agents.coordination import Design, Product, Sequence, Service
from peerwatt.agents.timetable import FlexibilityWindow, Round, Timetable
from peerwatt.errors import ScenarioError


def design(**changes: Any) -> Design:
    usual: dict[str, Any] = {
        "product": next(iter(Product)),
        "service": next(iter(Service)),
        "scheme": None,
        "scheme_options": {},
        "addresses": frozenset(),
        "rounds": 1,
        "lfm": False,
        "sequence": Sequence.UNRELATED,
        "cycles": 1,
        "p2p_area": None,
        "lfm_area": None,
    }
    return Design(**(usual | changes))


def test_a_period_with_trading_alone_calls_at_once_closes_at_a_third_and_checks_at_half() -> None:
    assert Timetable.of(design(), 900) == Timetable((Round(0, 0, 0, 0, 300, 450),), (), 750)


def test_signals_come_first_and_bids_are_called_for_a_quarter_later() -> None:
    table = Timetable.of(design(scheme="blocking", rounds=2), 3600)
    assert table.rounds == (Round(0, 0, 0, 225, 600, 900), Round(0, 1, 900, 1125, 1500, 1800))
    assert table.delivery_s == 3000


def test_a_request_of_the_tso_comes_before_trading() -> None:
    assert Timetable.of(design(), 2400, tso=True).rounds == (Round(0, 0, 100, 100, 833, 1200),)


def test_flexibility_may_be_bought_first_or_beside_trading() -> None:
    first = Timetable.of(design(lfm=True, sequence=Sequence.LFM_FIRST), 3600)
    assert first.windows == (FlexibilityWindow(0, 0, 600),)
    assert first.rounds == (Round(0, 0, 900, 900, 1500, 1800),)
    beside = Timetable.of(design(lfm=True), 3600)
    assert beside.windows == (FlexibilityWindow(0, 300, 1500),)
    assert beside.rounds == (Round(0, 0, 0, 0, 1200, 1800),)


def test_cycles_of_trading_and_flexibility_share_three_quarters_of_the_period() -> None:
    table = Timetable.of(design(lfm=True, sequence=Sequence.ITERATIVE, cycles=2), 3600)
    assert table.rounds == (Round(0, 0, 0, 0, 600, 900), Round(1, 0, 1350, 1350, 1950, 2250))
    assert table.windows == (FlexibilityWindow(0, 900, 1200), FlexibilityWindow(1, 2250, 2550))
    assert table.delivery_s == 3000
    other = next(each for each in Sequence if each not in (Sequence.LFM_FIRST, Sequence.UNRELATED, Sequence.ITERATIVE))
    once = Timetable.of(design(lfm=True, sequence=other, cycles=2), 3600)
    assert once.windows == (FlexibilityWindow(0, 1800, 2400),)
    assert once.rounds == (Round(0, 0, 0, 0, 1200, 1800),)


def test_a_period_that_is_too_short_is_refused_with_its_numbers() -> None:
    with pytest.raises(ScenarioError, match="60 s are too short for 40 rounds"):
        Timetable.of(design(rounds=40), 60)
