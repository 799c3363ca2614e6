from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from peerwatt.errors import Fault
from peerwatt.grid.ptdf import ptdf_radial
from peerwatt.grid.tree import SlackTree
from peerwatt.market.limits import NetworkLimits, Tree, VoltageLimits, check_limits, check_response, same_response
from tests.grid.sensitivity_nets import network
from tests.market.flexibility_cases import path_matrix, random_case


def words(faults: list[Fault]) -> str:
    return "\n".join(str(fault) for fault in faults)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6))
def test_a_tree_says_what_its_ptdf_says(seed: int) -> None:
    case, rng = random_case(seed), np.random.default_rng(seed)
    limits = case.limits
    assert check_limits(limits) == check_response(limits) == []
    injection, price = rng.normal(size=limits.n_nodes), rng.normal(size=limits.n_constraints)
    for other in (case.as_matrix, replace(limits, response=sparse.csr_array(case.ptdf))):
        assert limits.flow_after_mw(injection) == pytest.approx(other.flow_after_mw(injection), abs=1e-12)
        assert limits.at_nodes(price) == pytest.approx(other.at_nodes(price), abs=1e-12)


def test_a_radial_grid_gives_its_tree_as_it_is() -> None:
    grid = network("case33bw")
    model, way = grid.admittances, SlackTree(grid)
    towards = np.where(model.from_node[way.branch] == np.arange(model.n_node), 1, -1)
    tree = Tree(way.parent, way.branch, towards)
    of_buses = path_matrix(tree, model.n_branch)[:, model.bus_node]
    assert of_buses.tolist() == ptdf_radial(grid).tolist()
    assert not check_response(NetworkLimits(*np.zeros((3, model.n_branch)), tree))


def test_a_deep_tree_is_no_deep_recursion() -> None:
    n = 5000
    tree = Tree(np.arange(-1, n - 1), np.arange(-1, n - 1), np.ones(n, dtype=int))
    limits = NetworkLimits(*np.zeros((3, n - 1)), tree)
    assert limits.flow_after_mw(np.ones(n))[0] == n - 1


def test_limits_are_the_same_when_injections_change_the_same() -> None:
    case = random_case(2, n_nodes=6)
    assert same_response(case.limits, replace(case.limits, flow_mw=case.limits.flow_mw + 1.0))
    for response in (case.limits.response, case.ptdf, sparse.csr_array(case.ptdf)):
        one = replace(case.limits, response=response)
        copy = (
            Tree(response.parent, response.constraint, response.direction)
            if response is case.limits.response
            else 1 * response
        )
        assert same_response(one, replace(case.limits, response=copy))
    assert not same_response(case.limits, case.as_matrix)
    assert not same_response(case.as_matrix, replace(case.limits, response=case.ptdf + 1.0))
    assert not same_response(case.as_matrix, replace(case.limits, response=case.ptdf[:, 1:]))
    volt = VoltageLimits([1.0], [0.9], [1.1], np.ones((1, 6)))
    assert not same_response(case.limits, replace(case.limits, voltage=volt))
    assert same_response(replace(case.limits, voltage=volt), replace(case.limits, voltage=replace(volt, vm_pu=[0.95])))
    assert not same_response(
        replace(case.limits, voltage=volt), replace(case.limits, voltage=replace(volt, response=2 * volt.response))
    )


def test_a_flow_may_be_fixed_or_free() -> None:
    assert not check_limits(NetworkLimits([0.5, 0.5], [0.5, -np.inf], [0.5, np.inf], np.zeros((2, 1))))


def test_limits_are_refused_with_every_fault_at_once() -> None:
    limits = NetworkLimits(
        [0.0, np.inf, 0.0, 0.0],
        [1.0, -1.0, np.nan, np.inf],
        [0.0, 1.0, 1.0, np.inf],
        np.zeros((4, 2)),
        VoltageLimits([np.nan], [0.9], [1.1], np.zeros((1, 3))),
        names=["a", "b", "c", "d"],
        node_names=["only one"],
    )
    found = words([*check_limits(limits), *check_response(limits)])
    for text in (
        "constraint b: value without the market inf",
        "constraint c: lower limit nan",
        "constraint d: limits that no value meets, from inf",
        "constraint a: lower limit above the upper by 1",
        "node_names: 1 for 2 nodes",
        "voltage 0: value without the market nan",
        "voltage response: has 3 nodes, the flows' has 2",
    ):
        assert text in found


@pytest.mark.parametrize(
    ("tree", "text"),
    [
        (Tree([-1, 2, 1], [-1, 0, 1], [1, 1, 1]), "some nodes never lead to the external grid"),
        (Tree([-1, 5, -2], [-1, 0, 1], [1, 1, 1]), "node 1: unknown parent 5"),
        (Tree([-1, 0, 1], [-1, 0, 7], [1, 1, 1]), "node 2: unknown constraint 7"),
        (
            Tree([-1, 0, 1], [0, -1, 1], [1, 1, 1]),
            "node 0: is of the external grid, has no branch and yet constraint 0",
        ),
        (Tree([-1, 0, 0], [-1, 1, 1], [1, 1, 1]), "node 2: another node has its constraint 1"),
        (Tree([-1, 0, 1], [-1, 0, 1], [1, 2, 1]), "node 1: direction 2"),
        (Tree([-1, 0, 1], [-1, 0], [1, 1, 1]), "one value per node"),
    ],
)
def test_a_tree_that_is_none_is_refused(tree: Tree, text: str) -> None:
    assert text in words(check_response(NetworkLimits(*np.zeros((3, 2)), tree)))


@pytest.mark.parametrize(
    ("response", "text"),
    [
        (np.zeros((3, 2)), "has shape (3, 2) for 2 constraints"),
        (np.zeros(2), "has shape (2,)"),
        (np.array([[0.0, np.nan], [0.0, 0.0]]), "1 of its values are NaN or infinite"),
        (sparse.csr_array([[0.0, np.inf], [0.0, 0.0]]), "1 of its values are NaN or infinite"),
    ],
)
def test_a_matrix_that_does_not_fit_is_refused(response: np.ndarray, text: str) -> None:
    assert text in words(check_response(NetworkLimits(*np.zeros((3, 2)), response)))
