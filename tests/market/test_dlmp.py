from __future__ import annotations

from dataclasses import replace

import cvxpy as cp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from peerwatt.errors import BookError
from peerwatt.grid.sensitivity import Sensitivities
from peerwatt.market.clearing import Status
from peerwatt.market.dlmp import Dispatch, NodalBook, OperatingPoint, dispatch
from peerwatt.market.limits import NetworkLimits, Tree, VoltageLimits
from tests.grid.sensitivity_nets import network, solved
from tests.market.flexibility_cases import path_matrix, random_sensitivities, random_tree

SOME = settings(max_examples=40, deadline=None)
SEEDS = st.integers(0, 10**6)


def random_dispatch(seed: int, *, curved: bool) -> tuple[NodalBook, OperatingPoint, np.ndarray]:
    """A book, an operating point on a tree, and its PTDF; an external grid sells at 100 and buys at 40 EUR/MWh."""
    rng = np.random.default_rng(seed)
    n, m = int(rng.integers(3, 10)), int(rng.integers(1, 12))
    tree, n_constraints = random_tree(rng, n)
    root = int(np.flatnonzero(tree.parent < 0)[0])
    sells = rng.random(m) < 0.5
    p_max = np.where(sells, rng.uniform(0.0, 0.5, m), 0.0)
    p_min = np.where(sells, 0.0, -rng.uniform(0.0, 0.5, m))
    b = np.where(sells, rng.uniform(20, 120, m), rng.uniform(40, 200, m))
    a = rng.uniform(20.0, 200.0, m + 2) if curved else np.zeros(m + 2)
    book = NodalBook(
        np.r_[rng.integers(0, n, m), root, root],
        np.r_[p_min, 0.0, -20.0],
        np.r_[p_max, 20.0, 0.0],
        a * np.r_[np.ones(m), 0.01, 0.01],
        np.r_[b, 100.0, 40.0],
        rng.uniform(-0.3, 0.1, n),
        float(rng.choice([0.25, 1.0])),
    )
    ptdf = path_matrix(tree, n_constraints)
    inner = tree.parent >= 0
    p0 = np.where(inner, rng.uniform(-0.3, 0.2, n), 0.0)
    p0[root] = 0.02 - p0.sum()
    flow = ptdf @ p0 + rng.normal(0.0, 0.01, n_constraints)
    room = rng.uniform(0.3, 1.0, n_constraints)
    by_p = random_sensitivities(rng, tree)
    vm_pu = 1.0 + by_p @ p0
    voltage = VoltageLimits(vm_pu, np.full(3, 0.97), np.full(3, 1.03), by_p)
    limits = NetworkLimits(flow, -room, room, tree, voltage)
    return book, OperatingPoint(limits, p0, rng.uniform(-0.08, 0.03, n) * inner), ptdf


def cost_by_cvxpy(book: NodalBook, point: OperatingPoint, ptdf: np.ndarray) -> float:
    """EUR/h, inf if infeasible: the equations of the module with dense matrices."""
    limits, voltage, n = point.limits, point.limits.voltage, point.limits.n_nodes
    at = np.zeros((n, book.node.size))
    at[book.node, np.arange(book.node.size)] = 1.0
    p = cp.Variable(book.node.size)
    change = book.fixed_mw + at @ p - point.p_mw
    flow = limits.flow_mw + ptdf @ change
    vm_pu = voltage.vm_pu + voltage.response @ change
    held = [
        cp.sum(change) == point.loss @ change,
        flow >= limits.lower_mw,
        flow <= limits.upper_mw,
        vm_pu >= voltage.lower_pu,
        vm_pu <= voltage.upper_pu,
        p >= book.p_min_mw,
        p <= book.p_max_mw,
    ]
    cost = book.cost_b @ p + 0.5 * cp.sum(cp.multiply(book.cost_a, cp.square(p)))
    return float(cp.Problem(cp.Minimize(cost), held).solve(solver=cp.CLARABEL))


def assert_sound(book: NodalBook, point: OperatingPoint, ptdf: np.ndarray, found: Dispatch) -> None:
    """Limits and losses hold, and at the prices of the nodes every agent wants what it does."""
    limits, voltage = point.limits, point.limits.voltage
    injection = book.fixed_mw + np.bincount(book.node, found.p_mw, minlength=limits.n_nodes)
    change = injection - point.p_mw
    assert found.losses_mw == pytest.approx(point.p_mw.sum() + point.loss @ change, abs=1e-8)
    assert found.flow_mw == pytest.approx(limits.flow_mw + ptdf @ change, abs=1e-9)
    assert found.vm_pu == pytest.approx(voltage.vm_pu + voltage.response @ change, abs=1e-9)
    assert (found.flow_mw <= limits.upper_mw + 1e-7).all()
    assert (found.flow_mw >= limits.lower_mw - 1e-7).all()
    assert (found.vm_pu <= voltage.upper_pu + 1e-7).all()
    assert (found.vm_pu >= voltage.lower_pu - 1e-7).all()
    gain = found.prices.total[book.node] - book.cost_b - book.cost_a * found.p_mw
    assert (gain <= 1e-3)[found.p_mw < book.p_max_mw - 1e-5].all()
    assert (gain >= -1e-3)[found.p_mw > book.p_min_mw + 1e-5].all()


@SOME
@given(SEEDS, st.booleans())
def test_the_dispatch_is_the_cheapest_and_its_prices_support_it(seed: int, curved: bool) -> None:
    book, point, ptdf = random_dispatch(seed, curved=curved)
    expected = cost_by_cvxpy(book, point, ptdf)
    matrix = replace(point, limits=replace(point.limits, response=ptdf))
    for form in (point, matrix):
        found = dispatch(book, form)
        if np.isinf(expected):
            assert found.status is Status.INFEASIBLE
            continue
        assert found.status is Status.OPTIMAL, found.message
        assert found.cost_eur / book.period_h == pytest.approx(expected, rel=1e-6, abs=1e-5)
        assert_sound(book, point, ptdf, found)


@SOME
@given(SEEDS)
def test_with_steps_a_price_lies_between_the_costs_of_less_and_more_load(seed: int) -> None:
    book, point, _ = random_dispatch(seed, curved=False)
    found = dispatch(book, point)
    if found.status is not Status.OPTIMAL:
        return
    step = 1e-4
    for node in range(point.limits.n_nodes):
        load = np.zeros(point.limits.n_nodes)
        load[node] = step
        more = dispatch(replace(book, fixed_mw=book.fixed_mw - load), point)
        less = dispatch(replace(book, fixed_mw=book.fixed_mw + load), point)
        price = found.prices.total[node]
        if more.status is Status.OPTIMAL:
            assert price <= (more.cost_eur - found.cost_eur) / (step * book.period_h) + 1e-3
        if less.status is Status.OPTIMAL:
            assert price >= (found.cost_eur - less.cost_eur) / (step * book.period_h) - 1e-3


@SOME
@given(SEEDS)
def test_with_curvature_a_price_is_the_derivative_of_the_cost(seed: int) -> None:
    book, point, _ = random_dispatch(seed, curved=True)
    found = dispatch(book, point)
    node, step = seed % point.limits.n_nodes, 1e-3
    load = np.zeros(point.limits.n_nodes)
    load[node] = step
    more = dispatch(replace(book, fixed_mw=book.fixed_mw - load), point)
    less = dispatch(replace(book, fixed_mw=book.fixed_mw + load), point)
    if not found.status is more.status is less.status is Status.OPTIMAL:
        return
    above = (more.cost_eur - found.cost_eur) / (step * book.period_h)
    below = (found.cost_eur - less.cost_eur) / (step * book.period_h)
    assert below - 0.05 <= found.prices.total[node] <= above + 0.05
    if above - below < 1.0:  # no bound begins or ceases to bind
        assert found.prices.total[node] == pytest.approx((above + below) / 2, abs=0.5)


# --- what the parts mean ---


def two_nodes(*, limit: float = 9.0, least_pu: float = 0.5, loss: float = 0.0) -> OperatingPoint:
    """The external grid at node 0, load at node 1 behind a line."""
    voltage = VoltageLimits([1.0], [least_pu], [1.1], [[0.0, 0.05]])
    limits = NetworkLimits([0.0], [-limit], [limit], Tree([-1, 0], [-1, 0], [1, 1]), voltage)
    return OperatingPoint(limits, [0.0, 0.0], [0.0, loss])


def supply_and_generator(period_h: float = 1.0) -> NodalBook:
    """The external grid sells at 50 at node 0, a generator at 80 at node 1, where 1 MW is drawn."""
    return NodalBook([0, 1], [0.0, 0.0], [10.0, 10.0], [0.0, 0.0], [50.0, 80.0], [0.0, -1.0], period_h)


def test_where_nothing_binds_all_nodes_pay_for_energy_only() -> None:
    found = dispatch(supply_and_generator(0.25), two_nodes())
    assert found.p_mw == pytest.approx([1.0, 0.0])
    assert found.cost_eur == pytest.approx(12.5)
    assert found.prices.energy == pytest.approx([50.0, 50.0])
    assert found.prices.total == pytest.approx([50.0, 50.0])


def test_a_full_line_costs_the_difference_to_the_generator_behind_it() -> None:
    found = dispatch(supply_and_generator(), two_nodes(limit=0.6))
    assert found.p_mw == pytest.approx([0.6, 0.4])
    assert found.prices.congestion == pytest.approx([0.0, 30.0])
    assert found.prices.total == pytest.approx([50.0, 80.0])


def test_low_voltage_costs_the_same_difference_under_another_name() -> None:
    found = dispatch(supply_and_generator(), two_nodes(least_pu=0.97))
    assert found.vm_pu == pytest.approx([0.97])
    assert found.prices.voltage == pytest.approx([0.0, 30.0])
    assert found.prices.congestion == pytest.approx([0.0, 0.0])


def test_losses_are_paid_at_the_price_of_energy() -> None:
    found = dispatch(supply_and_generator(), two_nodes(loss=-0.1))
    assert found.p_mw == pytest.approx([1.1, 0.0])
    assert found.losses_mw == pytest.approx(0.1)
    assert found.prices.losses == pytest.approx([0.0, 5.0])
    assert found.prices.total == pytest.approx([50.0, 55.0])


def test_demand_that_pays_less_than_the_price_of_its_node_is_left_out() -> None:
    book = NodalBook([0, 1, 1], [0.0, -1.0, -1.0], [10.0, 0.0, 0.0], [0, 0, 0], [50.0, 54.0, 56.0], [0, 0], 1.0)
    found = dispatch(book, two_nodes(loss=-0.1))
    assert found.p_mw == pytest.approx([1.1, 0.0, -1.0])


@pytest.mark.parametrize("name", ["case33bw", "CIGRE MV"])
def test_without_congestion_the_price_is_what_the_ac_power_flow_draws_more(name: str) -> None:
    grid = network(name)
    engine, state = solved(grid, 0.05)
    p_mw, q_mvar = state.p_mw, state.q_mvar
    losses = Sensitivities(grid, state).losses_mw().by_p_mw[0]
    slack = int(grid.slack_bus[0])
    p0 = p_mw.copy()
    p0[slack] += state.slack_p_mw
    limits = NetworkLimits([], [], [], np.zeros((0, grid.n_bus)))
    book = NodalBook([slack], [-100.0], [100.0], [0.0], [60.0], p_mw, 1.0)
    found = dispatch(book, OperatingPoint(limits, p0, losses))
    assert found.p_mw == pytest.approx([state.slack_p_mw], abs=1e-9)
    step = 1e-3
    for bus in range(0, grid.n_bus, 5):
        drawn = []
        for sign in (1.0, -1.0):
            moved = p_mw.copy()
            moved[bus] -= sign * step
            drawn.append(engine.solve(moved, q_mvar).slack_p_mw)
        assert found.prices.total[bus] == pytest.approx(60.0 * (drawn[0] - drawn[1]) / (2 * step), rel=1e-5)


# --- no result ---


def test_load_that_cannot_be_served_is_named_with_its_node() -> None:
    book = replace(supply_and_generator(), p_max_mw=[10.0, 0.1])
    limits = replace(two_nodes(limit=0.6).limits, node_names=["grid", "village"])
    for cost_a in ([0.0, 0.0], [1.0, 1.0]):
        found = dispatch(replace(book, cost_a=cost_a), replace(two_nodes(), limits=limits))
        assert found.status is Status.INFEASIBLE
        assert found.message == "0.3 MW of load not served: node village 0.3 MW"
        assert np.isnan(found.p_mw).all()
        assert np.isnan(found.prices.total).all()


def test_injection_that_nobody_takes_is_named() -> None:
    found = dispatch(replace(supply_and_generator(), fixed_mw=[0.0, 0.2]), two_nodes())
    assert found.status is Status.INFEASIBLE
    assert "0.2 MW of injection not taken" in found.message


@pytest.mark.parametrize("curved", [False, True])
def test_a_solver_that_stops_early_gives_no_numbers(curved: bool) -> None:
    book, point, _ = random_dispatch(5, curved=curved)
    assert dispatch(book, point).status is Status.OPTIMAL
    found = dispatch(book, point, max_iter=1)
    assert found.status is Status.NOT_CONVERGED
    assert "residuals primal" in found.message
    assert np.isnan(found.cost_eur)


def test_a_book_and_a_point_are_refused_with_every_fault_at_once() -> None:
    book = NodalBook([0, 9], [1.0, 0.0], [0.0, np.inf], [-1.0, 0.0], [1.0, 1.0], [0.0], -1.0, names=["a", "b"])
    point = replace(two_nodes(), loss=[0.0, np.nan])
    with pytest.raises(BookError) as refused:
        dispatch(book, point)
    for words in (
        "period_h: is -1.0",
        "agent b: unknown node 9",
        "agent b: p_max_mw inf",
        "agent a: p_min_mw above p_max_mw by 1",
        "agent a: negative curvature -1",
        "fixed_mw: has shape (1,)",
        "node 1: loss nan",
    ):
        assert words in str(refused.value)
