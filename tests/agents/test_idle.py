from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from peerwatt.grid.cases import GridCase, case_from_net
from peerwatt.sim.model import Simulation
from tests.scenarios import feeder, profiles, small_scenario

PERIODS = 4


@pytest.fixture(scope="module")
def case() -> GridCase:
    """The feeder; a car charges, and the sun shines, in the second half of its eight periods only."""
    import pandapower as pp

    net = feeder()
    pp.create_load(net, net.bus.index[2], p_mw=0.011, name="charger", kind="ev")
    table = profiles(net, 2 * PERIODS)
    late = np.arange(2 * PERIODS) >= PERIODS
    for column in table.columns:
        if column.startswith("sgen") or "charger" in column:
            table[column] = np.where(late, 0.009, 0.0)
    return case_from_net(net, profiles=table, name="late")


def warned(case: GridCase, periods: int = 1, **changes: Any) -> list[str]:
    with Simulation(small_scenario(periods, **changes), case=case) as simulation:
        return [str(warning) for warning in simulation.warnings]


def test_a_grid_as_it_is_warns_of_nothing(case: GridCase) -> None:
    assert warned(case) == []


def test_added_plants_that_generate_nothing_are_told(case: GridCase) -> None:
    (told,) = warned(case, population__pv_share=1.0)
    assert told.startswith("population.pv_share, peers.*.pv_mw: 3 of 3 added PV plants generate nothing")
    assert warned(case, 2 * PERIODS, population__pv_share=1.0) == []


def test_added_cars_that_do_not_charge_are_told(case: GridCase) -> None:
    assert warned(case, 2 * PERIODS, population__ev_share=1.0) == []
    outcomes = set()
    for seed in range(5):  # a car's profile is moved, by seed, into the period or out of it
        chosen = small_scenario(1, population__peers={"House 3": {"ev_mw": 0.011}}, seed=seed)
        with Simulation(chosen, case=case) as simulation:
            told = [str(warning) for warning in simulation.warnings]
            simulation.step()
            assert simulation.last is not None
            charges = simulation.last.p_load_mw[2] > 0.007  # more than any other load of a house
        assert told == [] if charges else told[0].startswith("population.ev_share, peers.*.ev_mw: 1 of 1 added")
        outcomes.add(charges)
    assert len(outcomes) == 2


def test_added_batteries_that_have_nothing_to_store_are_told(case: GridCase) -> None:
    (told,) = warned(case, population__storage_share=1.0)
    assert "4 of 4 added batteries store nothing" in told
    assert "3 of 4 added batteries" in warned(case, 2 * PERIODS, population__storage_share=1.0)[0]
    assert warned(case, population__storage_share=1.0, population__storage_initial_charge=0.5) == []
