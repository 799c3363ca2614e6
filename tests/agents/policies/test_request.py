"""What the DSO asks of which area: in the linear model the requests suffice, whoever in an area provides."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from peerwatt.agents.policies.request import NO_AREA, AreaRequests, capacity_requests
from peerwatt.agents.policies.view import GridView
from peerwatt.grid.cases import GridCase
from peerwatt.grid.engine import make_engine
from peerwatt.grid.trade_effect import FlowModel
from peerwatt.grid.transform import with_limits
from tests.agents.policies.ac import NETS, truth
from tests.scenarios import small_case

HOUSES = np.arange(2, 7)  # buses of houses 1 to 5, along the feeder
CONNECTION = np.array([4.0, 10.0, 4.0, 10.0, 4.0]) * 1e-3


@cache
def case(loading: float, low: float = 0.9, high: float = 1.1) -> GridCase:
    return with_limits(small_case(), max_loading_percent=loading, min_vm_pu=low, max_vm_pu=high)


def view(p_kw: Any, limited: GridCase) -> GridView:
    network = limited.network
    p_mw = np.zeros(network.n_bus)
    p_mw[HOUSES] = np.asarray(p_kw) * 1e-3
    state = make_engine("power-grid-model", network).solve(p_mw, np.zeros(network.n_bus))
    return GridView(network, state, HOUSES, FlowModel.AC)


def provided(requests: AreaRequests, rng: np.random.Generator) -> np.ndarray[Any, Any]:
    """One way in which peers can share what is asked for, all of it by one peer of each area, (n_peers,)."""
    change = np.zeros(len(requests.area))
    for area, (p_mw, direction) in enumerate(zip(requests.p_mw, requests.direction, strict=True)):
        change[rng.choice(np.flatnonzero(requests.area == area))] = direction * p_mw
    return change


def left(seen: GridView, change: Any) -> tuple[Any, Any]:
    """Overload of each branch the way it flows now, MW, and how far each bus is below and above its band, pu."""
    branches, buses = np.arange(len(seen.flow_mw)), np.arange(seen.network.n_bus)
    flow, vm_pu = seen.flow_mw + seen.flow_by_mw(branches) @ change, seen.state.vm_pu + seen.vm_by_mw(buses) @ change
    band = seen.network.buses
    return np.sign(seen.flow_mw) * flow - seen.limit_mw, np.stack((band.min_vm_pu - vm_pu, vm_pu - band.max_vm_pu))


@settings(max_examples=40, deadline=None)
@given(st.lists(st.floats(-12.0, 12.0), min_size=5, max_size=5), st.sampled_from([5.0, 9.0, 20.0]), st.integers(0, 99))
def test_requests_resolve_overloads_whoever_provides(p_kw: list[float], loading: float, seed: int) -> None:
    seen = view(p_kw, case(loading))
    requests = capacity_requests(seen, CONNECTION, voltage=False)
    over = seen.occupancy > 1.0
    assert bool(requests.p_mw.size) == over.any()
    after, _ = left(seen, provided(requests, np.random.default_rng(seed)))
    assert (after[over] <= 1e-9).all()


@settings(max_examples=40, deadline=None)
@given(st.lists(st.floats(0.5, 12.0), min_size=5, max_size=5), st.sampled_from([1, -1]), st.integers(0, 99))
def test_requests_bring_voltages_into_their_band_whoever_provides(p_kw: list[float], sign: int, seed: int) -> None:
    seen = view(sign * np.array(p_kw), case(9.0, 0.995, 1.005))
    requests = capacity_requests(seen, CONNECTION)
    before_flow, before_vm = left(seen, np.zeros(5))
    assume((before_vm > 0.0).any())
    assert (requests.direction == -sign).all()
    flow, vm = left(seen, provided(requests, np.random.default_rng(seed)))
    assert (flow[before_flow > 0.0] <= 1e-9).all()
    assert (vm[before_vm > 0.0] <= 1e-9).all()


def test_each_peer_belongs_to_the_innermost_overloaded_branch() -> None:
    # Everybody feeds in: the flow grows towards the transformer, and so do the overloads.
    requests = capacity_requests(view([4.0] * 5, case(9.0)), CONNECTION, voltage=False)
    assert requests.area.tolist() == [2, 1, 0, 0, 0]
    assert requests.direction.tolist() == [-1, -1, -1]


def test_an_exporting_street_in_an_importing_feeder_is_asked_the_other_way() -> None:
    requests = capacity_requests(view([-12.0, -12.0, -12.0, 1.0, 11.0], case(5.0)), CONNECTION, voltage=False)
    assert requests.direction[requests.area].tolist() == [1, 1, 1, -1, -1]


def test_where_all_lines_carry_the_same_the_innermost_area_is_asked_alone() -> None:
    seen = view([0.0, 0.0, 0.0, 0.0, 12.0], case(5.0))
    requests = capacity_requests(seen, CONNECTION, voltage=False)
    assert requests.area.tolist() == [*[NO_AREA] * 4, 0]
    over = np.abs(seen.flow_mw) - seen.limit_mw
    assert requests.p_mw[0] == pytest.approx(1.05 * over[4] / seen.flow_by_mw(np.array([4]))[0, 4] * -1)


def test_what_outer_branches_need_is_shared_by_everybody_behind_them() -> None:
    seen = view([6.0, 6.0, 6.0, 1.0, 1.0], case(9.0))
    requests = capacity_requests(seen, CONNECTION, voltage=False)
    inner = requests.area == requests.area[-1]
    assert requests.p_mw[requests.area[-1]] > 0.9 * (CONNECTION[inner].sum() / CONNECTION.sum()) * requests.p_mw.sum()


def test_shares_are_pro_rata_to_connections_and_add_up_to_the_request() -> None:
    requests = capacity_requests(view([4.0] * 5, case(9.0)), CONNECTION, voltage=False)
    shares = requests.shares_mw(CONNECTION)
    inner = requests.area == 0
    np.testing.assert_allclose(shares[inner] / CONNECTION[inner], -requests.p_mw[0] / CONNECTION[inner].sum())
    assert shares.sum() == pytest.approx(requests.direction @ requests.p_mw)


def test_nothing_is_asked_for_within_limits_or_of_what_the_dso_does_not_care_for() -> None:
    loaded = view([4.0] * 5, case(9.0))
    assert not capacity_requests(view([0.1] * 5, case(100.0)), CONNECTION).p_mw.size
    nothing = capacity_requests(loaded, CONNECTION, congestion=False)
    assert nothing.p_mw.size == 0
    assert (nothing.area == NO_AREA).all()
    assert not nothing.shares_mw(CONNECTION).any()


@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize("way", [1.0, -1.0])
def test_areas_that_provide_what_is_asked_bring_a_voltage_back_in_ac(name: str, way: float) -> None:
    grid = truth(name)
    bus = int(grid.bus[0])
    requests = capacity_requests(grid.view(outside={bus: 0.001 * way}), np.full(5, 0.05))
    after = grid.solved(requests.shares_mw(np.full(5, 0.05)))
    moved = -way * (after["vm_pu"][bus] - grid.vm_pu[bus])
    assert 0.00099 < moved < 0.0025
    assert (requests.direction == -way).all()
