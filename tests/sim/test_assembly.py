"""What a run is made of, before it starts."""

from __future__ import annotations

import logging

import pytest

from peerwatt.grid.cases import case_from_net
from peerwatt.sim.model import Simulation
from tests.scenarios import feeder, small_case, small_scenario


def test_lines_without_a_rating_are_told_once_in_a_run(caplog: pytest.LogCaptureFixture) -> None:
    net = feeder()
    net.line.loc[[0, 3], "max_i_ka"] = [9_999.0, 99_999.0]
    with (
        caplog.at_level(logging.WARNING, logger="peerwatt"),
        Simulation(small_scenario(2), case=case_from_net(net, name="street")) as simulation,
    ):
        simulation.run()
    assert [record.getMessage() for record in caplog.records] == [
        "street: 2 of 5 lines have no rating (max_i_ka of 9,999 or more), so they are never congested"
    ]


def test_nothing_is_told_of_lines_with_ratings(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, logger="peerwatt"), Simulation(small_scenario(2), case=small_case(2)):
        assert not caplog.records
