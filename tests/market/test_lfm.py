from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from peerwatt.errors import BookError, ScenarioError
from peerwatt.grid.ptdf import ptdf
from peerwatt.grid.sensitivity import Sensitivities
from peerwatt.grid.tree import SlackTree
from peerwatt.market.clearing import Status
from peerwatt.market.flexibility import FlexibilityBook, FlexibilityClearing, Pricing
from peerwatt.market.lfm import FlexibilityMarket, FlexibilityOptions, clear_flexibility
from peerwatt.market.limits import NetworkLimits, Tree, VoltageLimits
from tests.grid.sensitivity_nets import network, rated, solved
from tests.market.flexibility_cases import Case, cost_by_linprog, random_case, shortfall_by_linprog

MANY = settings(max_examples=60, deadline=None)
SOME = settings(max_examples=30, deadline=None)
SEEDS = st.integers(0, 10**6)
DEAR = 1e7  # EUR/MWh, above what any relief costs here


def eur(case: Case) -> float:
    """EUR/h that activating every bid would turn over."""
    return float(np.abs(case.book.price_eur_per_mwh) @ case.book.p_max_mw) + 1e-9


def beyond(value: np.ndarray, lower: np.ndarray, upper: np.ndarray) -> np.ndarray:
    return np.maximum(np.maximum(value - upper, lower - value), 0.0)


def assert_limits_hold(case: Case, result: FlexibilityClearing) -> None:
    limits = case.limits
    added = np.bincount(case.book.node, case.book.direction * result.activated_mw, minlength=limits.n_nodes)
    assert result.flow_mw == pytest.approx(limits.flow_mw + case.ptdf @ added, abs=1e-12)
    assert beyond(result.flow_mw, limits.lower_mw, limits.upper_mw).max(initial=0.0) <= 1e-9
    if limits.voltage is not None:
        band = limits.voltage
        assert result.vm_pu == pytest.approx(band.vm_pu + band.response @ added, abs=1e-12)
        assert beyond(result.vm_pu, band.lower_pu, band.upper_pu).max(initial=0.0) <= 1e-9


def assert_prices_prove_that_it_is_optimal(case: Case, result: FlexibilityClearing, *, balanced: bool) -> None:
    """Every bid wants what it does at the prices of its node, and only limits that bind have a price."""
    book, limits, x = case.book, case.limits, result.activated_mw
    gain = book.direction * result.dlmp_eur_per_mwh[book.node] - book.price_eur_per_mwh
    assert (gain <= 1e-6)[x < book.p_max_mw - 1e-9].all()
    assert (gain >= -1e-6)[x > 1e-9].all()
    priced = result.congestion_eur_per_mwh
    assert (priced <= 1e-6)[result.flow_mw < limits.upper_mw - 1e-8].all()
    assert (priced >= -1e-6)[result.flow_mw > limits.lower_mw + 1e-8].all()
    assert result.prices.congestion == pytest.approx(-case.ptdf.T @ priced, abs=1e-9)
    assert (result.prices.losses == 0.0).all()
    if limits.voltage is not None:
        band, volt = limits.voltage, result.voltage_eur_per_puh
        assert (volt <= 1e-5)[result.vm_pu < band.upper_pu - 1e-8].all()
        assert (volt >= -1e-5)[result.vm_pu > band.lower_pu + 1e-8].all()
        assert result.prices.voltage == pytest.approx(-band.response.T @ volt, abs=1e-6)
    if not balanced:
        assert result.prices.energy == pytest.approx(20.0)


@MANY
@given(SEEDS, st.booleans(), st.booleans(), st.booleans())
def test_random_markets_equal_linprog_in_every_form(seed: int, balanced: bool, voltages: bool, ties: bool) -> None:
    case = random_case(seed, voltages=voltages, ties=ties)
    rules = FlexibilityOptions(balanced=balanced, slack_eur_per_mwh=20.0)
    expected = cost_by_linprog(case, balanced=balanced, slack_price=20.0)
    for response in (case.limits.response, case.ptdf, sparse.csc_array(case.ptdf)):
        result = clear_flexibility(case.book, replace(case.limits, response=response), rules)
        if expected is None:
            assert result.status is Status.INFEASIBLE
            continue
        assert result.status is Status.OPTIMAL
        assert result.message == ""
        hourly = result.cost_eur / case.book.period_h
        assert hourly == pytest.approx(expected, rel=1e-9, abs=1e-9 * eur(case) + 1e-7)
        assert_limits_hold(case, result)
        assert_prices_prove_that_it_is_optimal(case, result, balanced=balanced)


@pytest.mark.parametrize("seed", range(8))
def test_a_larger_market_is_the_same_with_flows_and_with_a_ptdf(seed: int) -> None:
    case = random_case(seed, n_nodes=120, n_bids=170, voltages=seed % 2 == 1)
    tree, matrix = (clear_flexibility(case.book, limits) for limits in (case.limits, case.as_matrix))
    assert tree.status is matrix.status is Status.OPTIMAL
    assert tree.cost_eur == pytest.approx(matrix.cost_eur, rel=1e-9, abs=1e-12)
    assert tree.cost_eur / case.book.period_h == pytest.approx(cost_by_linprog(case), rel=1e-8, abs=1e-9)
    for result in (tree, matrix):
        assert_limits_hold(case, result)
        assert_prices_prove_that_it_is_optimal(case, result, balanced=True)


@SOME
@given(SEEDS, st.sampled_from([1e-6, 1e-3, 1.0, 1e3]))
def test_watts_and_gigawatts_are_solved_alike(seed: int, scale: float) -> None:
    case = random_case(seed, scale=scale)
    unit = random_case(seed)
    result, expected = clear_flexibility(case.book, case.limits), clear_flexibility(unit.book, unit.limits)
    assert result.status is expected.status
    assert result.cost_eur / scale == pytest.approx(expected.cost_eur, rel=1e-9, abs=1e-9)


@SOME
@given(SEEDS, st.booleans())
def test_balanced_is_balanced_and_otherwise_the_slack_takes_the_rest(seed: int, balanced: bool) -> None:
    case = random_case(seed)
    result = clear_flexibility(case.book, case.limits, FlexibilityOptions(balanced=balanced))
    added = float(case.book.direction @ result.activated_mw)
    assert added == pytest.approx(0.0 if balanced else -result.slack_mw, abs=1e-10)
    assert result.injection_mw(case.book).sum() == pytest.approx(added, abs=1e-12)


@SOME
@given(SEEDS, st.floats(0.5, 1.0))
def test_cost_never_falls_when_a_limit_is_tightened(seed: int, factor: float) -> None:
    case = random_case(seed)
    limits = case.limits
    line = seed % max(limits.n_constraints, 1)
    if not limits.n_constraints:
        return
    lower, upper = limits.lower_mw.copy(), limits.upper_mw.copy()
    lower[line], upper[line] = min(factor * lower[line], 0.0), max(factor * upper[line], 0.0)
    wide = clear_flexibility(case.book, limits)
    tight = clear_flexibility(case.book, replace(limits, lower_mw=lower, upper_mw=upper))
    if tight.status is Status.OPTIMAL:
        assert tight.cost_eur >= wide.cost_eur - 1e-9 * eur(case)
    else:
        assert tight.status is Status.INFEASIBLE


@SOME
@given(SEEDS)
def test_a_price_lies_between_the_costs_of_one_mw_less_and_one_more(seed: int) -> None:
    case = random_case(seed)
    result = clear_flexibility(case.book, case.limits)
    assert result.status is Status.OPTIMAL
    step = 1e-5
    cost = cost_by_linprog(case)
    for node in {seed % case.limits.n_nodes, 0}:
        load = np.zeros(case.limits.n_nodes)
        load[node] = step
        price = result.dlmp_eur_per_mwh[node]
        more, less = cost_by_linprog(case, load=load), cost_by_linprog(case, load=-load)
        assert cost is not None
        assert more is None or price <= (more - cost) / step + 1e-2
        assert less is None or price >= (cost - less) / step - 1e-2


@MANY
@given(SEEDS, st.booleans(), st.booleans())
def test_what_cannot_be_solved_is_solved_as_far_as_possible(seed: int, balanced: bool, voltages: bool) -> None:
    case = random_case(seed, solvable=False, voltages=voltages)
    rules = FlexibilityOptions(balanced=balanced, shortfall_eur_per_mwh=DEAR)
    least = shortfall_by_linprog(case, balanced=balanced)
    for limits in (case.limits, case.as_matrix):
        result = clear_flexibility(case.book, limits, rules)
        volt = np.zeros(0)
        if limits.voltage is not None:
            volt = np.abs(limits.voltage.response).max(axis=1)
        missing = result.missing_mw + float((result.shortfall_pu / np.where(volt > 0, volt, 1.0)).sum())
        assert missing == pytest.approx(least, rel=1e-6, abs=1e-8)
        assert (result.status is Status.INFEASIBLE) == (least > 1e-9) or least < 1e-7
        left = beyond(result.flow_mw, limits.lower_mw, limits.upper_mw)
        assert left == pytest.approx(result.shortfall_mw, abs=1e-8)
        assert (left <= beyond(limits.flow_mw, limits.lower_mw, limits.upper_mw) + 1e-8).all()
        assert bool(result.message) == (result.status is Status.INFEASIBLE)
        if balanced:
            assert float(case.book.direction @ result.activated_mw) == pytest.approx(0.0, abs=1e-9)


@SOME
@given(SEEDS, st.booleans(), st.booleans())
def test_nobody_is_paid_less_than_its_bid(seed: int, solvable: bool, voltages: bool) -> None:
    case = random_case(seed, solvable=solvable, voltages=voltages)
    as_bid = clear_flexibility(case.book, case.limits)
    cleared = clear_flexibility(case.book, case.limits, FlexibilityOptions(pricing=Pricing.PAY_AS_CLEARED))
    book, x = case.book, cleared.activated_mw
    assert x.tolist() == as_bid.activated_mw.tolist()
    assert as_bid.paid_eur == pytest.approx(book.price_eur_per_mwh * x * book.period_h)
    assert as_bid.procurement_eur == pytest.approx(as_bid.cost_eur, abs=1e-12)
    assert (cleared.paid_eur >= as_bid.paid_eur - 1e-12).all()
    nodal = book.direction * cleared.dlmp_eur_per_mwh[book.node] * x * book.period_h
    assert cleared.paid_eur == pytest.approx(nodal, abs=1e-7 * eur(case))


@SOME
@given(SEEDS)
def test_other_numbers_of_bids_and_an_earlier_clearing_change_nothing(seed: int) -> None:
    case, rng = random_case(seed), np.random.default_rng(seed)
    book = case.book
    order = rng.permutation(book.n_bids)
    columns = {name: getattr(book, name)[order] for name in ("owner", "node", "direction", "p_max_mw")}
    shuffled = replace(book, **columns, price_eur_per_mwh=book.price_eur_per_mwh[order])
    expected = clear_flexibility(book, case.limits)
    assert clear_flexibility(shuffled, case.limits).cost_eur == pytest.approx(expected.cost_eur, abs=1e-9 * eur(case))

    market = FlexibilityMarket(book, case.limits)
    other = replace(book, p_max_mw=rng.permutation(book.p_max_mw), price_eur_per_mwh=-book.price_eur_per_mwh)
    market.clear(other, replace(case.limits, flow_mw=rng.permutation(case.limits.flow_mw)))
    again = market.clear(book, case.limits)
    assert again.activated_mw.tolist() == expected.activated_mw.tolist()
    assert again.dlmp_eur_per_mwh.tolist() == expected.dlmp_eur_per_mwh.tolist()


# --- markets that can be solved by hand ---


def feeder(flow: list[float], limit: list[float]) -> NetworkLimits:
    """External grid 0, then nodes 1 and 2 in a row; flows towards the external grid count as positive."""
    limit_mw = np.array(limit)
    tree = Tree([-1, 0, 1], [-1, 0, 1], [1, 1, 1])
    return NetworkLimits(np.array(flow), -limit_mw, limit_mw, tree, names=["line 0-1", "line 1-2"])


def bids(*rows: tuple[int, int, float, float], period_h: float = 1.0) -> FlexibilityBook:
    node, direction, p_max, price = (list(column) for column in zip(*rows, strict=True))
    return FlexibilityBook(list(range(len(rows))), node, direction, p_max, price, len(rows), period_h)


def test_the_overflow_of_a_feeder_is_bought_behind_it_and_sold_before_it() -> None:
    # 0.3 MW of load too much behind the second line; up at node 2 costs 50, down elsewhere pays 10
    book = bids((2, 1, 1.0, 50.0), (2, 1, 1.0, 60.0), (1, -1, 1.0, -10.0), (0, -1, 0.1, -15.0), period_h=0.5)
    result = clear_flexibility(book, feeder([-2.0, -1.3], [2.2, 1.0]))
    assert result.activated_mw == pytest.approx([0.3, 0.0, 0.2, 0.1])
    assert result.cost_eur == pytest.approx(0.5 * (0.3 * 50 - 0.2 * 10 - 0.1 * 15))
    assert result.flow_mw == pytest.approx([-1.9, -1.0])
    assert result.dlmp_eur_per_mwh == pytest.approx([10.0, 10.0, 50.0])
    assert result.prices.congestion == pytest.approx([0.0, 0.0, 40.0])
    assert result.congestion_eur_per_mwh == pytest.approx([0.0, -40.0])
    cleared = clear_flexibility(book, feeder([-2.0, -1.3], [2.2, 1.0]), FlexibilityOptions(pricing="pay_as_cleared"))
    assert cleared.paid_eur == pytest.approx([7.5, 0.0, -1.0, -0.5])


def test_no_new_congestion_arises_from_relieving_another() -> None:
    # the cheap counterpart at the external grid would overload the first line
    book = bids((2, -1, 1.0, 0.0), (0, 1, 1.0, 20.0), (1, 1, 1.0, 50.0))
    result = clear_flexibility(book, feeder([-1.9, 1.2], [2.0, 1.0]))
    assert result.activated_mw == pytest.approx([0.2, 0.1, 0.1])
    assert result.flow_mw == pytest.approx([-2.0, 1.0])


def test_a_market_with_too_few_bids_says_how_much_is_missing_and_where() -> None:
    result = clear_flexibility(bids((2, 1, 0.1, 50.0), (1, -1, 1.0, 0.0)), feeder([-2.5, -1.3], [2.2, 1.0]))
    assert result.status is Status.INFEASIBLE
    assert result.activated_mw == pytest.approx([0.1, 0.1])
    assert result.shortfall_mw == pytest.approx([0.3, 0.2])
    assert result.message == (
        "0.5 MW beyond limits that the bids cannot bring back; flow line 0-1: 0.3 MW (-2.5, limit -2.2); "
        "flow line 1-2: 0.2 MW (-1.2, limit -1)"
    )


def test_without_a_balance_the_external_grid_takes_the_rest() -> None:
    book = bids((2, 1, 1.0, 50.0))
    limits = feeder([-2.0, -1.3], [2.2, 1.0])
    assert clear_flexibility(book, limits).status is Status.INFEASIBLE
    free = clear_flexibility(book, limits, FlexibilityOptions(balanced=False))
    assert free.slack_mw == pytest.approx(-0.3)
    assert free.cost_eur == pytest.approx(15.0)
    assert free.dlmp_eur_per_mwh == pytest.approx([0.0, 0.0, 50.0])
    priced = clear_flexibility(book, limits, FlexibilityOptions(balanced=False, slack_eur_per_mwh=40.0))
    assert priced.cost_eur == pytest.approx(0.3 * (50.0 - 40.0))
    dear = clear_flexibility(book, limits, FlexibilityOptions(balanced=False, slack_eur_per_mwh=60.0))
    assert dear.activated_mw == pytest.approx([1.0])  # energy is cheaper here than from the external grid


def test_low_voltage_is_mended_at_the_node_where_it_is_cheapest_per_pu() -> None:
    # 0.01 pu are missing: 0.2 MW at node 2 at 50, or 0.5 MW at node 1 at 30
    band = VoltageLimits([0.94], [0.95], [1.05], [[0.0, 0.02, 0.05]], names=["node 2"])
    limits = replace(feeder([-1.0, -0.5], [9.0, 9.0]), voltage=band)
    book = bids((1, 1, 1.0, 30.0), (2, 1, 1.0, 50.0), (0, -1, 1.0, 0.0))
    result = clear_flexibility(book, limits)
    assert result.activated_mw == pytest.approx([0.0, 0.2, 0.2])
    assert result.vm_pu == pytest.approx([0.95])
    assert result.voltage_eur_per_puh == pytest.approx([-1000.0])
    assert result.prices.voltage == pytest.approx([0.0, 20.0, 50.0])
    short = clear_flexibility(replace(book, p_max_mw=[0.0, 0.1, 1.0]), limits)
    assert short.shortfall_pu == pytest.approx([0.005])
    assert short.message == "voltage node 2: 0.005 pu (0.945, limit 0.95)"


def test_a_network_without_congestion_buys_nothing() -> None:
    result = clear_flexibility(bids((2, 1, 1.0, 50.0), (1, -1, 1.0, -10.0)), feeder([-2.0, -0.9], [2.2, 1.0]))
    assert result.status is Status.OPTIMAL
    assert result.volume_mw == 0.0
    assert -10.0 <= -result.dlmp_eur_per_mwh[1] <= 50.0


def test_a_market_without_bids_is_empty_or_names_the_congestion() -> None:
    none = FlexibilityBook([], [], [], [], [], 0, 1.0)
    result = clear_flexibility(none, feeder([-2.0, -0.9], [2.2, 1.0]))
    assert result.status is Status.EMPTY
    assert result.cost_eur == 0.0
    assert result.flow_mw.tolist() == [-2.0, -0.9]
    stuck = clear_flexibility(none, feeder([-2.0, -1.1], [2.2, 1.0]))
    assert stuck.status is Status.INFEASIBLE
    assert "line 1-2: 0.1 MW" in stuck.message


def test_a_solver_that_stops_early_gives_no_numbers() -> None:
    case = random_case(3, n_nodes=60, n_bids=100)
    result = clear_flexibility(case.book, case.limits, FlexibilityOptions(max_iter=2))
    assert result.status is Status.NOT_CONVERGED
    assert "Iteration limit" in result.message
    assert "residuals primal" in result.message
    for numbers in (result.activated_mw, result.paid_eur, result.dlmp_eur_per_mwh, result.flow_mw):
        assert np.isnan(numbers).all()
    assert np.isnan(result.cost_eur)


@pytest.mark.parametrize("form", ["tree", "ptdf", "ac"])
def test_flows_of_an_ac_power_flow_are_brought_within_their_limits(form: str) -> None:
    grid = network("case33bw")
    engine, state = solved(grid, 0.1)
    model, flow = grid.admittances, rated(state, "p_from_mw")
    response: object = ptdf(grid)
    node = np.arange(grid.n_bus)
    if form == "ac":
        response = Sensitivities(grid, state).p_from_mw().by_p_mw
    if form == "tree":
        way, node = SlackTree(grid), model.bus_node
        response = Tree(way.parent, way.branch, np.where(model.from_node[way.branch] == np.arange(model.n_node), 1, -1))
    limit = np.abs(flow) + 0.05
    hot = np.argsort(-np.abs(flow))[[1, 6]]
    limit[hot] = 0.8 * np.abs(flow[hot])
    rng = np.random.default_rng(1)
    bus, direction = np.repeat(np.arange(grid.n_bus), 2), np.tile([1, -1], grid.n_bus)
    price = np.where(direction > 0, rng.uniform(45, 55, bus.size), -rng.uniform(5, 15, bus.size))
    book = FlexibilityBook(bus, node[bus], direction, np.full(bus.size, 0.1), price, grid.n_bus, 1.0)
    result = clear_flexibility(book, NetworkLimits(flow, -limit, limit, response))
    assert result.status is Status.OPTIMAL
    assert result.volume_mw > 0.05
    after = rated(engine.solve(state.p_mw + result.injection_mw(book), state.q_mvar), "p_from_mw")
    assert after == pytest.approx(result.flow_mw, abs=1e-4 if form == "ac" else 0.03 * result.volume_mw)
    overflow = np.maximum(np.abs(after) - limit, 0.0).max()
    assert overflow <= 0.05 * (np.abs(flow) - limit).max()


# --- what is refused ---


def test_a_book_is_refused_with_every_fault_at_once() -> None:
    book = FlexibilityBook(
        [0, 5, 0, 0, 0], [1, 1, 7, 1, 2], [1, 1, 1, 0, -1], [1.0, 1.0, 1.0, 1.0, -1.0], [50, np.nan, 50, 50, 50], 2, 0.0
    )
    limits = NetworkLimits([1.0, np.nan], [2.0, 0.0], [1.0, 1.0], Tree([-1, 0, 1], [-1, 0, 1], [1, 1, 1]))
    with pytest.raises(BookError) as refused:
        clear_flexibility(replace(book, names=list("abcde")), limits)
    for words in (
        "period_h: is 0.0",
        "bid b: unknown owner 5",
        "bid c: unknown node 7",
        "bid d: direction 0",
        "bid b: price_eur_per_mwh nan",
        "bid e: negative p_max_mw -1",
        "constraint 1: value without the market nan",
        "constraint 0: lower limit above the upper by 1",
    ):
        assert words in str(refused.value)


def test_columns_of_different_lengths_are_refused() -> None:
    with pytest.raises(BookError, match="one value per bid"):
        clear_flexibility(FlexibilityBook([0], [0, 1], [1], [1.0], [50.0], 1, 1.0), feeder([0, 0], [1, 1]))
    with pytest.raises(BookError, match="price_eur_per_mwh: is not an array of numbers"):
        FlexibilityBook([0], [0], [1], [1.0], ["cheap"], 1, 1.0)
    with pytest.raises(BookError, match="direction: holds float64"):
        FlexibilityBook([0], [0], [1.5], [1.0], [1.0], 1, 1.0)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"slack_eur_per_mwh": np.nan}, "slack_eur_per_mwh: is nan"),
        ({"shortfall_eur_per_mwh": 0.0}, "shortfall_eur_per_mwh: is 0.0"),
        ({"pricing": "free"}, "pricing: is 'free'"),
        ({"max_iter": 0}, "max_iter: is 0"),
    ],
)
def test_impossible_rules_are_refused(options: dict[str, object], words: str) -> None:
    with pytest.raises(ScenarioError, match=words):
        FlexibilityOptions(**options)  # type: ignore[arg-type]


def test_a_prepared_market_refuses_other_nodes_and_another_network() -> None:
    case = random_case(1, n_nodes=6, n_bids=8)
    market = FlexibilityMarket(case.book, case.limits)
    with pytest.raises(BookError) as refused:
        market.clear(replace(case.book, direction=-case.book.direction), case.as_matrix)
    assert "directions of the bids: are others" in str(refused.value)
    assert "response: is another" in str(refused.value)
