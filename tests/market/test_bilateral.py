from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings

from peerwatt.market.bilateral import bilateral
from peerwatt.market.book import QuadraticBook, all_pairs
from peerwatt.market.clearing import Clearing, Status
from peerwatt.market.solver import QpSolver
from tests.oracles import bilateral_by_clarabel, bilateral_by_highs, welfare_of
from tests.strategies import quadratic_books, random_quadratic_book

PRICE = 1e-3  # EUR/MWh to which prices are held


def market(
    p_min: list[float], p_max: list[float], a: list[float], b: list[float], pair_cost: float = 0.0
) -> QuadraticBook:
    seller, buyer = all_pairs(p_min, p_max)
    cost = np.full(seller.size, pair_cost / 2)
    return QuadraticBook(p_min, p_max, a, b, seller, buyer, cost, cost, 1.0)


def turnover(book: QuadraticBook) -> float:
    """EUR that a result may be measured against where the welfare is zero."""
    size = np.maximum(np.abs(book.p_min_mw), np.abs(book.p_max_mw))
    return float((size * (book.cost_a * size + np.abs(book.cost_b))).sum() * book.period_h) + 1e-6


def size_of(book: QuadraticBook) -> np.ndarray:
    return np.maximum(np.abs(book.p_min_mw), np.abs(book.p_max_mw))


def assert_schedule_is_sound(book: QuadraticBook, result: Clearing) -> None:
    trades = result.trades
    pairs = set(zip(book.seller.tolist(), book.buyer.tolist(), strict=True))
    traded = list(zip(trades.seller.tolist(), trades.buyer.tolist(), strict=True))
    assert len(set(traded)) == len(traded)
    assert set(traded) <= pairs
    assert (trades.p_mw > 0).all()
    assert result.p_mw == pytest.approx(trades.net_mw(book.n_agents), abs=1e-15)
    slack = 2e-6 * size_of(book) + 1e-12
    assert (result.p_mw >= book.p_min_mw - slack).all()
    assert (result.p_mw <= book.p_max_mw + slack).all()
    recomputed = welfare_of(book, trades.seller, trades.buyer, trades.p_mw)
    assert result.social_welfare_eur == pytest.approx(recomputed, rel=1e-9, abs=1e-12 * turnover(book))
    assert float(result.welfare_eur.sum()) + result.surplus_eur == pytest.approx(
        result.social_welfare_eur, rel=1e-9, abs=1e-12 * turnover(book)
    )


def assert_prices_support_the_schedule(book: QuadraticBook, result: Clearing) -> None:
    """No peer would choose other powers at these prices, and no pair another trade."""
    mu, p = result.agent_price_eur_per_mwh, result.p_mw
    tolerance = PRICE + 1e-5 * np.abs(book.cost_b).max() + 4e-6 * book.cost_a * size_of(book)
    gain = mu - (book.cost_a * p + book.cost_b)  # of one more MWh fed in
    margin = 1e-4 * size_of(book)
    can_rise, can_fall = p < book.p_max_mw - margin, p > book.p_min_mw + margin
    linked = np.zeros(book.n_agents, dtype=bool)
    able = (book.p_max_mw[book.seller] > 0) & (book.p_min_mw[book.buyer] < 0)
    linked[book.seller[able]] = linked[book.buyer[able]] = True
    assert (gain <= tolerance)[can_rise & linked].all()
    assert (gain >= -tolerance)[can_fall & linked].all()
    seller, buyer = book.seller[able], book.buyer[able]
    pair_gain = mu[buyer] - mu[seller] - (book.seller_cost + book.buyer_cost)[able]
    assert (pair_gain <= PRICE + 1e-5 * np.abs(book.cost_b).max()).all()
    index = {pair: i for i, pair in enumerate(zip(book.seller.tolist(), book.buyer.tolist(), strict=True))}
    trades = result.trades
    rows = [index[pair] for pair in zip(trades.seller.tolist(), trades.buyer.tolist(), strict=True)]
    edge = PRICE + 1e-5 * np.abs(book.cost_b).max()
    assert mu[trades.seller] + book.seller_cost[rows] == pytest.approx(trades.price_eur_per_mwh, abs=edge)
    assert mu[trades.buyer] - book.buyer_cost[rows] == pytest.approx(trades.price_eur_per_mwh, abs=edge)


def assert_no_single_trade_improves(book: QuadraticBook, result: Clearing) -> None:
    """More (or less) of any one trade by a thousandth of a peer's power lowers the welfare."""
    step = 1e-3 * float(np.median(size_of(book)[size_of(book) > 0]))
    p, loss = result.p_mw, 1e-6 * abs(result.social_welfare_eur) + 1e-7 * turnover(book)
    cost = book.seller_cost + book.buyer_cost
    present = dict(zip(zip(result.trades.seller, result.trades.buyer, strict=True), result.trades.p_mw, strict=True))
    a, b = book.cost_a, book.cost_b
    for s, m, c in zip(book.seller, book.buyer, cost, strict=True):
        for dp in (step, -step):
            up = p[s] + dp <= book.p_max_mw[s] and p[m] - dp >= book.p_min_mw[m]
            down = p[s] + dp >= book.p_min_mw[s] and p[m] - dp <= book.p_max_mw[m]
            if not (up and down and present.get((s, m), 0.0) + dp >= 0):
                continue
            cost_s = 0.5 * a[s] * ((p[s] + dp) ** 2 - p[s] ** 2) + b[s] * dp
            cost_m = 0.5 * a[m] * ((p[m] - dp) ** 2 - p[m] ** 2) - b[m] * dp
            if book.p_max_mw[s] > 0 and book.p_min_mw[m] < 0:
                assert -(cost_s + cost_m + c * dp) * book.period_h <= loss


@settings(max_examples=150, deadline=None)
@given(quadratic_books())
def test_small_markets_of_every_kind_equal_an_independent_formulation(book: QuadraticBook) -> None:
    result, welfare = bilateral(book), bilateral_by_clarabel(book)
    if welfare is None:
        assert result.status is Status.INFEASIBLE
        assert "MW are missing" in result.message
        return
    assert result.status in (Status.OPTIMAL, Status.EMPTY)
    assert_schedule_is_sound(book, result)
    assert result.social_welfare_eur == pytest.approx(welfare, rel=1e-6, abs=1e-6 * turnover(book))
    if result.status is Status.OPTIMAL:
        assert_prices_support_the_schedule(book, result)
        assert_no_single_trade_improves(book, result)


@pytest.mark.parametrize("block", range(4))
def test_200_household_markets_equal_an_independent_formulation(block: int) -> None:
    for seed in range(50 * block, 50 * (block + 1)):
        rng = np.random.default_rng(seed)
        book = random_quadratic_book(rng, int(rng.integers(2, 40)), partners=None if seed % 3 else 5)
        result = bilateral(book, solver=QpSolver.PIQP)
        assert result.status in (Status.OPTIMAL, Status.EMPTY), (seed, result.message)
        welfare = bilateral_by_clarabel(book)
        assert welfare is not None
        assert result.social_welfare_eur == pytest.approx(welfare, rel=1e-6, abs=1e-9), seed
        assert_schedule_is_sound(book, result)
        if result.status is Status.OPTIMAL:
            assert_prices_support_the_schedule(book, result)


@pytest.mark.parametrize("seed", range(25))
def test_markets_equal_highs_with_either_solver(seed: int) -> None:
    rng = np.random.default_rng(1000 + seed)
    book = random_quadratic_book(rng, int(rng.integers(2, 14)), linear=0.0)
    welfare = bilateral_by_highs(book)
    for solver in (QpSolver.PIQP, QpSolver.CLARABEL):
        result = bilateral(book, solver=solver)
        assert result.social_welfare_eur == pytest.approx(welfare, rel=1e-6, abs=1e-9)


@pytest.mark.parametrize("seed", range(15))
def test_other_names_and_another_order_change_nothing(seed: int) -> None:
    rng = np.random.default_rng(seed)
    book = random_quadratic_book(rng, 15)
    name, order = rng.permutation(book.n_agents), rng.permutation(book.n_pairs)
    position = np.argsort(name)
    renamed = QuadraticBook(
        *(values[position] for values in (book.p_min_mw, book.p_max_mw, book.cost_a, book.cost_b)),
        name[book.seller][order],
        name[book.buyer][order],
        book.seller_cost[order],
        book.buyer_cost[order],
        book.period_h,
    )
    one, two = bilateral(book), bilateral(renamed)
    assert one.social_welfare_eur == pytest.approx(two.social_welfare_eur, rel=1e-6)
    curved = book.cost_a > 0
    assert two.p_mw[name][curved] == pytest.approx(one.p_mw[curved], abs=1e-7)


def test_equal_partners_share_evenly() -> None:
    result = bilateral(market([0, 0, 0, -3e-3], [2e-3] * 3 + [0], [1e4] * 3 + [0], [100.0] * 3 + [300.0]))
    assert result.trades.p_mw == pytest.approx(np.full(3, 1e-3), rel=1e-6)
    assert result.p_mw == pytest.approx([1e-3, 1e-3, 1e-3, -3e-3], rel=1e-6)


def test_two_peers_meet_where_marginal_cost_is_marginal_benefit() -> None:
    # 100 + 1e5 p + 10 + 10 = 300 - 1e5 p  ->  p = 0.9 kW, seller's price 190, buyer's 210, pair price 200
    result = bilateral(market([0, -5e-3], [5e-3, 0], [1e5, 1e5], [100, 300], pair_cost=20.0))
    assert result.p_mw == pytest.approx([9e-4, -9e-4], rel=1e-6)
    assert result.agent_price_eur_per_mwh == pytest.approx([190.0, 210.0], abs=PRICE)
    assert result.trades.price_eur_per_mwh == pytest.approx([200.0], abs=PRICE)
    assert result.welfare_eur == pytest.approx([0.0405, 0.0405], rel=1e-5)


def test_a_suppliers_two_agents_bound_the_prices() -> None:
    # a supplier sells at 320 and buys at 80 whatever is offered; the households' surplus goes at 80
    rng = np.random.default_rng(5)
    p_min = np.r_[np.zeros(30), -rng.uniform(5e-4, 2e-3, 14), 0.0, -0.4]
    p_max = np.r_[rng.uniform(5e-4, 4e-3, 30), np.zeros(14), 0.4, 0.0]
    cost_a = np.r_[10 ** rng.uniform(3, 6, 44), 0, 0]
    result = bilateral(market(p_min.tolist(), p_max.tolist(), cost_a.tolist(), [60.0] * 30 + [300.0] * 14 + [320, 80]))
    assert result.status is Status.OPTIMAL
    assert result.agent_price_eur_per_mwh[:44] == pytest.approx(80.0, abs=PRICE)
    assert result.p_mw[44] == 0.0
    assert result.p_mw[45] < 0.0


def test_a_bound_out_of_all_proportion_does_no_harm() -> None:
    small = bilateral(market([0, 0, -2e-3], [1e-3, 5e-3, 0], [1e5, 0, 0], [100, 200, 300]))
    huge = bilateral(market([0, 0, -2e-3], [1e-3, 1e6, 0], [1e5, 0, 0], [100, 200, 300]))
    assert huge.p_mw == pytest.approx(small.p_mw, rel=1e-6)
    assert huge.trades.price_eur_per_mwh == pytest.approx([200.0, 200.0], abs=PRICE)


def test_equal_prices_without_curvature_trade_nothing() -> None:
    result = bilateral(market([0, 0, -2e-3, -1e-3], [1e-3, 2e-3, 0, 0], [0] * 4, [100.0] * 4))
    assert result.status is Status.OPTIMAL
    assert result.social_welfare_eur == pytest.approx(0.0, abs=1e-9)
    assert not len(result.trades)


def test_nobody_resells_where_a_direct_trade_costs_no_more() -> None:
    # agent 1 could pass power on from 0 to 2; agents 1 and 3 could trade in a circle
    result = bilateral(
        market([0, -1e-3, -2e-3, -1e-3], [2e-3, 1e-3, 0, 1e-3], [1e4, 1e6, 1e4, 1e6], [100, 200, 300, 200])
    )
    pairs = set(zip(result.trades.seller.tolist(), result.trades.buyer.tolist(), strict=True))
    assert not {seller for seller, _ in pairs} & {buyer for _, buyer in pairs}


def test_a_peer_on_both_sides_resells_where_it_is_the_only_way() -> None:
    book = market([0, -1e-3, -1e-3], [1e-3, 1e-3, 0], [0, 0, 0], [100, 200, 300])
    no_direct = ~((book.seller == 0) & (book.buyer == 2))
    book = replace(
        book, **{name: getattr(book, name)[no_direct] for name in ("seller", "buyer", "seller_cost", "buyer_cost")}
    )
    result = bilateral(book)
    assert result.social_welfare_eur == pytest.approx(bilateral_by_clarabel(book), rel=1e-6)
    assert result.trades.p_mw[result.trades.buyer == 2] == pytest.approx([1e-3], rel=1e-5)


def test_a_pair_that_cannot_trade_carries_nothing() -> None:
    zero = np.zeros(2)
    book = QuadraticBook([-1e-3, -1e-3], [0, 1e-3], [0, 0], [300, 100], [0, 1], [1, 0], zero, zero, 1.0)
    assert bilateral(book).trades.seller.tolist() == [1]


@pytest.mark.parametrize(
    "book",
    [
        QuadraticBook([], [], [], [], [], [], [], [], 1.0),
        market([0], [1e-3], [0], [100]),
        market([0, 0], [1e-3, 2e-3], [0, 0], [100, 90]),
        market([-1e-3, -1e-3], [0, 0], [0, 0], [100, 90]),
        market([0, 0], [0, 0], [0, 0], [100, 90]),
    ],
)
def test_a_market_without_a_side_is_empty(book: QuadraticBook) -> None:
    result = bilateral(book)
    assert result.status is Status.EMPTY
    assert result.p_mw.tolist() == [0.0] * book.n_agents
    assert result.social_welfare_eur == 0.0


def test_a_market_not_worth_trading_is_solved_with_no_trade() -> None:
    result = bilateral(market([0, -1e-3], [1e-3, 0], [0, 0], [300, 100]))
    assert result.status is Status.OPTIMAL
    assert result.p_mw.tolist() == [0.0, 0.0]


@pytest.mark.parametrize(
    ("p_min", "p_max", "words"),
    [
        (
            [3e-3, 2e-3, -4e-3, 0],
            [5e-3, 2e-3, 0, 1e-3],
            "agents a, b must feed in 0.005 MW; agent c, who may trade with them, can draw at most 0.004 MW; 0.001",
        ),
        ([0, 0, -4e-3, 0], [1e-3, 1e-3, -4e-3, 0], "agent c must draw 0.004 MW; agents a, b, who may"),
        ([1e-3, 0, 0, 0], [1e-3, 0, 0, 0], "agent a must feed in 0.001 MW; nobody, who may"),
    ],
)
def test_bounds_that_cannot_be_met_are_named_with_the_missing_power(
    p_min: list[float], p_max: list[float], words: str
) -> None:
    book = replace(market(p_min, p_max, [1e4] * 4, [100, 100, 300, 100]), names=("a", "b", "c", "d"))
    result = bilateral(book)
    assert result.status is Status.INFEASIBLE
    assert words in result.message
    assert np.isnan(result.p_mw).all()
    assert not len(result.trades)


@pytest.mark.parametrize("solver", [QpSolver.PIQP, QpSolver.CLARABEL])
def test_a_solver_that_stops_early_gives_residuals_and_no_numbers(solver: QpSolver) -> None:
    book = random_quadratic_book(np.random.default_rng(1), 20)
    result = bilateral(book, solver=solver, max_iter=3)
    assert result.status is Status.NOT_CONVERGED
    assert "residuals primal" in result.message
    assert np.isnan(result.p_mw).all()
    assert np.isnan(result.social_welfare_eur)
    assert not len(result.trades)


def test_incentives_round_a_circle_without_end_are_no_result() -> None:
    book = market([-1e-3, -1e-3], [1e-3, 1e-3], [1e5, 1e5], [100, 100], pair_cost=-10.0)
    assert bilateral(book).status is Status.NOT_CONVERGED
