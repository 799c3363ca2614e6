from __future__ import annotations

import networkx as nx
import numpy as np
import pytest

from peerwatt.grid.cases import GridCase
from peerwatt.grid.disturbance import without_lines
from peerwatt.grid.engine import make_engine
from peerwatt.grid.paths import SlackPaths
from tests.scenarios import small_case


@pytest.fixture(scope="module")
def case() -> GridCase:
    return small_case(2, 12)


def test_the_highest_loading_on_the_way_is_that_of_the_tree_path(case: GridCase) -> None:
    network = case.network
    rng = np.random.default_rng(4)
    graph = nx.Graph()
    for kind, from_bus, to_bus in (
        ("line", network.lines.from_bus, network.lines.to_bus),
        ("trafo", network.trafos.hv_bus, network.trafos.lv_bus),
    ):
        for i, (a, b) in enumerate(zip(from_bus.tolist(), to_bus.tolist(), strict=True)):
            graph.add_edge(a, b, branch=(kind, i))
    (root,) = network.slack_bus.tolist()
    for _ in range(5):
        state = make_engine("power-grid-model", network).solve(rng.normal(0, 0.004, 13), np.zeros(13))
        worst = SlackPaths(network).highest_loading_percent(state)
        for bus in range(network.n_bus):
            way = nx.shortest_path(graph, root, bus)
            branches = [graph.edges[edge]["branch"] for edge in nx.utils.pairwise(way)]
            loading = [getattr(state, kind).loading_percent[i] for kind, i in branches]
            assert worst[bus] == max(loading, default=0.0)


def test_nothing_is_known_without_a_solution(case: GridCase) -> None:
    network = case.network
    state = make_engine("power-grid-model", network).solve(np.full(13, -10.0), np.zeros(13))
    assert not state.converged
    worst = SlackPaths(network).highest_loading_percent(state)
    assert np.isnan(np.delete(worst, network.slack_bus)).all()


def test_a_line_out_of_service_is_no_way(case: GridCase) -> None:
    network = case.network
    # The fourth line is out: what is behind it has no way.
    cut = without_lines(network, [network.lines.name[3]])
    alive = np.where(cut.buses.in_service, -0.001, 0.0)
    state = make_engine("power-grid-model", cut).solve(alive, np.zeros(13))
    worst = SlackPaths(cut).highest_loading_percent(state)
    assert np.flatnonzero(np.isnan(worst)).tolist() == list(range(5, 13))
