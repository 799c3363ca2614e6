"""The course of product differentiation: whom it moves which way, how far, and when it ends."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from peerwatt.agents.policies import GridView, Measures
from peerwatt.agents.policies.product_differentiation import ProductDifferentiation
from tests.agents.policies.ac import NETS, checked, fullest, most_active, truth

Array = np.ndarray[Any, Any]

grids = pytest.mark.parametrize("name", NETS)
CHANGE = 1e-3 * np.array([1, -1, 1, -1, 0])
LOADS = np.array([True, True, False, True, True])


def steps(
    policy: ProductDifferentiation, view: GridView, ok: Callable[[Measures], bool], **roles: Any
) -> list[Measures]:
    """All measures that a course tries, with an answer to each; the first is nothing."""
    course = policy.course(5)
    tried = [next(course)]
    while len(tried) < 200:
        try:
            tried.append(course.send(checked(view, CHANGE, ok=ok(tried[-1]), **roles)))
        except StopIteration as end:
            solved = end.value
            break
    else:
        raise AssertionError("no end")
    assert solved == ok(tried[-1])
    return tried


@grids
@pytest.mark.parametrize("sign", [1, -1])
def test_loads_are_moved_the_way_that_relieves_the_line_in_ac(name: str, sign: int) -> None:
    grid = truth(name, sign)
    branch = most_active(grid)
    view = grid.view({branch: 1.3})
    policy = ProductDifferentiation(search="growth", iterations=1, reach="effective", distance="electrical")
    tried = steps(policy, view, lambda each: each.load_share is not None and each.flexibility >= 0.1, consumes=LOADS)
    share = tried[-1].load_share
    assert share is not None
    way = np.sign(grid.flow_mw[branch]) * grid.by_mw["flow_mw"][branch]
    strong = LOADS & (np.abs(way) > 2e-3 * np.abs(way[LOADS]).max())
    assert strong.any()
    np.testing.assert_allclose(share[strong], -0.1 * np.sign(way[strong]))
    assert share[2] == 0.0
    after = grid.solved(1e-3 * share)  # positive to consume less
    assert after["loading"][branch] < grid.loading[branch]


@pytest.mark.parametrize("sign", [1, -1])
def test_all_loads_move_as_most_of_them_relieve_the_line(sign: int) -> None:
    grid = truth("feeder 2", sign)
    view = grid.view({len(grid.flow_mw) - 1: 1.3})  # the transformer
    policy = ProductDifferentiation(search="growth", iterations=1, distance="electrical")
    tried = steps(policy, view, lambda each: each.load_share is not None, consumes=LOADS)
    exports = grid.flow_mw[-1] < 0.0
    np.testing.assert_allclose(tried[-1].load_share, np.where(LOADS, -0.05 if exports else 0.05, 0.0))


def test_growth_raises_penalties_then_flexibility_as_in_the_figures() -> None:
    view = truth("mesh").view({int(fullest(truth("mesh"))[0]): 1.3})
    policy = ProductDifferentiation(
        search="growth", c_eur_per_mwh=4.0, growth=3.0, c_max_eur_per_mwh=30.0, iterations=3, flexibility_max=0.08
    )
    tried = steps(policy, view, lambda _: False, consumes=LOADS)
    levels = [(each.penalty_eur_per_mwh, each.flexibility) for each in tried]
    penalties = [(4.0, 0.0), (12.0, 0.0), (30.0, 0.0)]
    raised = [(c, share) for share in (0.05, 0.08) for c in (0.0, 4.0, 12.0, 30.0)]
    np.testing.assert_allclose(levels, [(0.0, 0.0), *penalties, *raised])


def test_the_least_flexibility_and_for_it_the_least_penalty_are_found() -> None:
    view = truth("mesh").view({int(fullest(truth("mesh"))[0]): 1.3})
    policy = ProductDifferentiation(tolerance=0.05, distance="electrical")

    def enough(each: Measures) -> bool:
        return each.penalty_eur_per_mwh >= 37.0 and each.flexibility >= 0.21

    last = steps(policy, view, enough, consumes=LOADS)[-1]
    assert last.flexibility == pytest.approx(0.25)
    assert 37.0 <= last.penalty_eur_per_mwh <= 37.0 * 1.05
    assert last.load_share is not None
    assert not last.load_share[2]


def test_released_generation_is_of_who_generates() -> None:
    view = truth("mesh").view({int(fullest(truth("mesh"))[0]): 1.3})
    policy = ProductDifferentiation(flexibility_of="generation", search="growth", iterations=1)
    last = steps(policy, view, lambda each: each.generation_share is not None, generates=~LOADS)[-1]
    np.testing.assert_allclose(last.generation_share, [0.0, 0.0, 0.05, 0.0, 0.0])
    assert last.load_share is None


@grids
@pytest.mark.parametrize("way", [1.0, -1.0])
def test_reactive_power_is_reduced_where_it_does_most_and_of_no_more_than_needed(name: str, way: float) -> None:
    grid, bus = truth(name), 6
    loads = np.array([True, True, False, True, False])
    generators = np.array([True, False, True, False, True])
    able = generators if way > 0.0 else loads & ~generators
    reduced: list[int] = []

    def trial(reactive: Array) -> Any:
        reduced.append(int((reactive == 0.2).sum()))
        return SimpleNamespace(converged=True, violations=lambda _: SimpleNamespace(n_voltage=reduced[-1] < 2))

    policy = ProductDifferentiation(reactive=True, reactive_share=0.2, distance="electrical")
    roles = {"generates": generators, "consumes": loads, "reacts": np.ones(5, dtype=np.bool_), "trial": trial}
    view = grid.view(outside={bus: 0.004 * way})
    last = steps(policy, view, lambda each: each.reactive is not None, **roles)[-1]
    impact = np.where(able, np.abs(grid.by_mw["vm_pu"][bus]), -1.0)
    expected = np.ones(5)
    expected[np.argsort(-impact, kind="stable")[:2]] = 0.2
    np.testing.assert_array_equal(last.reactive, expected)
    assert last.penalty_eur_per_mwh == 0.0
