from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from peerwatt.errors import BookError, ScenarioError
from peerwatt.market.admm import admm
from peerwatt.market.bilateral import bilateral
from peerwatt.market.book import QuadraticBook, all_pairs
from peerwatt.market.clearing import Clearing, Status
from peerwatt.market.communication import Communication, Mail
from peerwatt.market.innovation import consensus_innovation
from peerwatt.market.mechanism import make_mechanism
from peerwatt.market.negotiation import negotiate
from peerwatt.market.rounds import Settings
from peerwatt.market.sides import Sides
from tests.oracles import welfare_of
from tests.strategies import quadratic_books, random_quadratic_book

LOSSY = Communication(loss=0.2)
MECHANISMS = pytest.mark.parametrize("mechanism", [admm, consensus_innovation])


def market(
    p_min: list[float], p_max: list[float], a: list[float], b: list[float], pair_cost: float = 0.0
) -> QuadraticBook:
    seller, buyer = all_pairs(p_min, p_max)
    cost = np.full(seller.size, pair_cost / 2)
    return QuadraticBook(p_min, p_max, a, b, seller, buyer, cost, cost, 1.0)


def size_of(book: QuadraticBook) -> np.ndarray:
    return np.maximum(np.abs(book.p_min_mw), np.abs(book.p_max_mw))


def turnover(book: QuadraticBook) -> float:
    size = size_of(book)
    return float((size * (book.cost_a * size + np.abs(book.cost_b))).sum() * book.period_h) + 1e-9


def assert_sound(book: QuadraticBook, result: Clearing) -> None:
    """Only candidate pairs trade, what one sells the other buys, bounds hold, and the books add up."""
    trades = result.trades
    traded = list(zip(trades.seller.tolist(), trades.buyer.tolist(), strict=True))
    assert traded == sorted(set(traded))
    assert set(traded) <= set(zip(book.seller.tolist(), book.buyer.tolist(), strict=True))
    assert (trades.p_mw > 0.0).all()
    assert result.p_mw == pytest.approx(trades.net_mw(book.n_agents), abs=1e-15)
    slack = 2e-6 * size_of(book) + 1e-12
    assert (result.p_mw >= book.p_min_mw - slack).all()
    assert (result.p_mw <= book.p_max_mw + slack).all()
    rounding = {"rel": 1e-9, "abs": 1e-12 * turnover(book)}
    recomputed = welfare_of(book, trades.seller, trades.buyer, trades.p_mw)
    assert result.social_welfare_eur == pytest.approx(recomputed, **rounding)
    assert float(result.welfare_eur.sum()) == pytest.approx(result.social_welfare_eur, **rounding)


def assert_equals_central(book: QuadraticBook, result: Clearing) -> None:
    central = bilateral(book)
    assert result.status is central.status, result.message
    if central.status is Status.INFEASIBLE:
        assert result.message == central.message
        assert result.shortfall_mw == central.shortfall_mw
        assert np.isnan(result.p_mw).all()
        return
    assert_sound(book, result)
    # where next to nothing is gained, a relative difference of the welfare says nothing
    floor = 2e-4 * turnover(book)
    assert result.social_welfare_eur == pytest.approx(central.social_welfare_eur, rel=1e-3, abs=floor)


@settings(max_examples=60, deadline=None)
@given(quadratic_books(), st.sampled_from([admm, consensus_innovation]))
def test_small_markets_of_every_kind_end_at_the_central_clearing(book: QuadraticBook, mechanism: object) -> None:
    assert_equals_central(book, mechanism(book))  # type: ignore[operator]


@settings(max_examples=25, deadline=None)
@given(quadratic_books(), st.integers(0, 2**32 - 1))
def test_small_markets_end_there_with_lost_late_and_unread_messages(book: QuadraticBook, seed: int) -> None:
    rng = np.random.default_rng(seed)
    assert_equals_central(book, admm(book, rng, communication=Communication(0.2, 2, 0.8)))


@MECHANISMS
def test_household_markets_end_within_a_thousandth_also_with_a_fifth_of_the_messages_lost(mechanism: object) -> None:
    more = []
    for seed in range(12):
        rng = np.random.default_rng(seed)
        book = random_quadratic_book(rng, int(rng.integers(4, 50)), partners=None if seed % 3 else 5)
        best = bilateral(book).social_welfare_eur
        perfect, lossy = mechanism(book), mechanism(book, rng, communication=LOSSY)  # type: ignore[operator]
        for result in (perfect, lossy):
            assert result.status in (Status.OPTIMAL, Status.EMPTY), (seed, result.message)
            assert_sound(book, result)
            assert result.social_welfare_eur == pytest.approx(best, rel=1e-3, abs=1e-9), seed
        if lossy.convergence is not None:
            sent, lost = lossy.convergence.messages_sent.sum(), lossy.convergence.messages_lost.sum()
            assert lost / sent == pytest.approx(0.2, abs=6 * np.sqrt(0.16 / sent))
            more.append(lossy.iterations / perfect.iterations)
    assert np.mean(more) > 1.1


def test_prices_are_those_of_the_central_clearing() -> None:
    # 100 + 1e5 p + 10 + 10 = 300 - 1e5 p  ->  p = 0.9 kW, seller's price 190, buyer's 210, pair price 200
    result = admm(market([0, -5e-3], [5e-3, 0], [1e5, 1e5], [100, 300], pair_cost=20.0), tolerance=1e-8)
    assert result.p_mw == pytest.approx([9e-4, -9e-4], rel=1e-6)
    assert result.agent_price_eur_per_mwh == pytest.approx([190.0, 210.0], abs=1e-3)
    assert result.trades.price_eur_per_mwh == pytest.approx([200.0], abs=1e-3)
    assert result.welfare_eur == pytest.approx([0.0405, 0.0405], rel=1e-5)


def test_it_stops_when_both_residuals_are_small_and_not_before() -> None:
    result = admm(random_quadratic_book(np.random.default_rng(1), 40))
    record = result.convergence
    assert record is not None
    worst = np.maximum(record.primal_residual, record.dual_residual)
    assert worst.size == result.iterations
    assert worst[-1] <= 1e-4
    assert (worst[:-1] > 1e-4).all()
    assert (np.minimum(record.primal_residual, record.dual_residual)[:-1] <= 1e-4).any()  # one alone was before
    assert record.social_welfare_eur[-1] == pytest.approx(result.social_welfare_eur, rel=1e-3)


def test_too_few_rounds_give_residuals_and_no_numbers() -> None:
    result = admm(random_quadratic_book(np.random.default_rng(1), 20), max_rounds=3)
    assert result.status is Status.NOT_CONVERGED
    assert "residuals primal" in result.message
    assert "after 3 rounds" in result.message
    assert np.isnan(result.p_mw).all()
    assert np.isnan(result.social_welfare_eur)
    assert not len(result.trades)
    assert result.convergence is not None
    assert result.convergence.primal_residual.size == 3


def test_bounds_that_cannot_be_met_are_named_with_the_missing_power() -> None:
    book = market([3e-3, 2e-3, -4e-3, 0], [5e-3, 2e-3, 0, 1e-3], [1e4] * 4, [100, 100, 300, 100])
    result = admm(replace(book, names=("a", "b", "c", "d")))
    assert result.status is Status.INFEASIBLE
    assert "agents a, b must feed in 0.005 MW" in result.message
    assert result.shortfall_mw == pytest.approx(1e-3)
    alone = admm(market([1e-3, 0], [1e-3, 0], [0, 0], [100, 100]))
    assert alone.status is Status.INFEASIBLE


def test_incentives_round_a_circle_without_end_are_no_result() -> None:
    book = market([-1e-3, -1e-3], [1e-3, 1e-3], [1e5, 1e5], [100, 100], pair_cost=-10.0)
    assert admm(book, max_rounds=2000).status is Status.NOT_CONVERGED


def test_a_market_without_pairs_is_empty() -> None:
    assert admm(market([0, 0], [1e-3, 2e-3], [0, 0], [100, 90])).status is Status.EMPTY


def test_a_book_with_nan_is_refused() -> None:
    with pytest.raises(BookError, match="cost_b nan"):
        admm(market([0, -1e-3], [1e-3, 0], [0, 0], [100, float("nan")]))


def test_the_same_seed_loses_the_same_messages() -> None:
    book, bad = random_quadratic_book(np.random.default_rng(2), 15), Communication(0.3, 2, 0.7)
    one, two, other = (admm(book, np.random.default_rng(seed), communication=bad) for seed in (1, 1, 2))
    assert np.array_equal(one.trades.p_mw, two.trades.p_mw)
    assert one.iterations != other.iterations or not np.array_equal(one.trades.p_mw, other.trades.p_mw)


def test_starting_from_the_last_state_takes_a_third_of_the_rounds_after_a_small_change_of_preferences() -> None:
    rng = np.random.default_rng(4)
    book = random_quadratic_book(rng, 60, linear=0.0, supplier=0.0, pair_cost=1.0)
    changed = replace(book, buyer_cost=book.buyer_cost * rng.uniform(0.99, 1.01, book.n_pairs))
    last = negotiate(book).state
    cold, warm = negotiate(changed).clearing, negotiate(changed, start=last).clearing
    assert 3 * warm.iterations <= cold.iterations
    assert warm.social_welfare_eur == pytest.approx(bilateral(changed).social_welfare_eur, rel=1e-3)
    assert 10 * negotiate(book, start=last).clearing.iterations <= cold.iterations


def test_starting_from_other_pairs_is_refused() -> None:
    book = random_quadratic_book(np.random.default_rng(4), 10)
    half = {name: getattr(book, name)[::2] for name in ("seller", "buyer", "seller_cost", "buyer_cost")}
    with pytest.raises(BookError, match="other pairs"):
        negotiate(replace(book, **half), start=negotiate(book).state)


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("admm", {"relaxation": 2.0}, "'relaxation' is 2.0"),
        ("admm", {"loss": 1.0}, "'loss' is 1.0"),
        ("admm", {"delay_rounds": -1, "activity": 0.0}, "'delay_rounds' is -1(.|\n)*'activity' is 0.0"),
        ("consensus_innovation", {"consensus": 0.0, "tolerance": float("nan")}, "'consensus'(.|\n)*'tolerance' is nan"),
        ("consensus_innovation", {"max_rounds": 0}, "'max_rounds' is 0"),
    ],
)
def test_a_wrong_option_is_refused_with_what_is_allowed(name: str, options: dict[str, object], words: str) -> None:
    with pytest.raises(ScenarioError, match=words):
        make_mechanism(name, **options)


@pytest.mark.parametrize("name", ["admm", "consensus_innovation"])
def test_the_mechanisms_clear_by_name(name: str) -> None:
    book = random_quadratic_book(np.random.default_rng(3), 12)
    result = make_mechanism(name, loss=0.1).clear(book, np.random.default_rng(0))
    assert result.social_welfare_eur == pytest.approx(bilateral(book).social_welfare_eur, rel=1e-3)


def test_mail_that_is_overtaken_is_dropped() -> None:
    rng = np.random.default_rng(0)
    mate = np.array([1, 0])
    mail = Mail(mate, Communication(delay_rounds=5), rng)
    power, price, news = np.zeros(2), np.zeros(2), np.zeros(2, dtype=bool)
    seen = []
    for k in range(200):
        mail.deliver(k, power, price, news)
        seen.append(power[0])
        mail.send(k, np.array([0.0, float(k)]), np.zeros(2), np.ones(2, dtype=bool))
    assert (np.diff(seen) >= 0).all()
    late = np.arange(200) - 1 - np.array(seen)
    assert late[10:].min() == 0
    assert late[10:].max() <= 5


def test_adaptive_penalty_takes_no_more_rounds_than_a_fixed_one_far_off() -> None:
    book = random_quadratic_book(np.random.default_rng(7), 40, linear=0.0)
    scaled = negotiate(book).state
    assert scaled is not None
    far = replace(scaled, p_mw=0.0 * scaled.p_mw, penalty=100.0 * scaled.penalty)
    adaptive, fixed = (negotiate(book, settings=Settings(adaptive=way), start=far).clearing for way in (True, False))
    assert adaptive.iterations < fixed.iterations


def test_nothing_is_agreed_before_everybody_has_spoken() -> None:
    book = market([1e-3, -5e-3], [1e-3, 0.0], [0, 0], [100, 100])  # who must feed in may be silent at first
    for seed in range(20):
        result = admm(book, np.random.default_rng(seed), communication=Communication(activity=0.3))
        assert result.p_mw == pytest.approx([1e-3, -1e-3])


@pytest.mark.parametrize("seed", range(5))
def test_sides_laid_out_like_those_of_an_earlier_book_are_the_same(seed: int) -> None:
    rng = np.random.default_rng(seed)
    book = random_quadratic_book(rng, 12)
    changed = replace(book, seller_cost=rng.uniform(0.0, 9.0, book.n_pairs), buyer_cost=book.buyer_cost + 1.0)
    fewer = replace(changed, p_max_mw=np.where(np.arange(book.n_agents) < 4, 0.0, book.p_max_mw))
    for other in (changed, fewer):  # costs alone have changed; some pairs can no longer trade
        anew, again = Sides.of(other), Sides.of(other, like=Sides.of(book))
        for field in fields(Sides):
            assert np.array_equal(getattr(anew, field.name), getattr(again, field.name))


@MECHANISMS
@pytest.mark.parametrize("high", [300.0, 1e5, 1e6])
def test_one_high_price_does_not_loosen_the_market_of_the_others(mechanism: object, high: float) -> None:
    p_min, p_max = [0.0, 0.0, -0.003, -0.002, -0.002], [0.004, 0.004, 0.0, 0.0, 0.0]
    book = market(p_min, p_max, [2000.0, 2000.0, 3000.0, 3000.0, 3000.0], [40.0, 60.0, high, 90.0, 75.0])
    result = mechanism(book)  # type: ignore[operator]
    # all three buyers take all they can: pv1 its 0.004, pv2 the other 0.003 at 60 + 2000 x 0.003
    assert result.p_mw == pytest.approx([0.004, 0.003, -0.003, -0.002, -0.002], rel=1e-3)
    assert result.trades.price_eur_per_mwh == pytest.approx(66.0, rel=1e-3)
    assert result.message == ""
    rough = mechanism(book, tolerance=0.05)  # type: ignore[operator]
    assert "EUR/MWh off" in rough.message


@pytest.mark.parametrize("large", [1.0, 100.0])
def test_one_large_trade_does_not_loosen_the_power_of_the_others(large: float) -> None:
    # the factory of `large` MW has a plant of its own size; h1 and h2 share what pv has at equal marginal value
    p_min, p_max = [0.0, 0.0, -large, -0.002, -0.002], [large, 0.003, 0.0, 0.0, 0.0]
    seller, buyer = np.array([0, 1, 1]), np.array([2, 3, 4])
    free = np.zeros(3)
    curves = [1.0, 0.0, 1.0, 20000.0, 20000.0], [50.0, 40.0, 200.0, 110.0, 100.0]
    result = admm(QuadraticBook(p_min, p_max, *curves, seller, buyer, free, free, 1.0))
    # 110 - 2e4 x = 100 - 2e4 (0.003 - x)  ->  x = 0.00175 at 75
    assert result.p_mw[[1, 3, 4]] == pytest.approx([0.003, -0.00175, -0.00125], rel=2e-3)
    assert result.agent_price_eur_per_mwh[[3, 4]] == pytest.approx([75.0, 75.0], rel=2e-3)


def nearly_balanced(short: float) -> QuadraticBook:
    """Ten sellers at 80 and thirty buyers at 300 EUR/MWh who want a little more than there is."""
    rng = np.random.default_rng(0)
    sold, bought = rng.uniform(5e-3, 1e-2, 10), rng.uniform(1e-4, 1e-3, 30)
    bought *= sold.sum() * (1.0 + short) / bought.sum()
    none = [0.0] * 40
    low, high = np.r_[np.zeros(10), -bought], np.r_[sold, np.zeros(30)]
    return market(low.tolist(), high.tolist(), none, [80.0] * 10 + [300.0] * 30)


@pytest.mark.parametrize("short", [0.0, 1e-5, 1e-3, 5e-3])
def test_a_market_that_is_almost_balanced_trades_all_there_is(short: float) -> None:
    book = nearly_balanced(short)
    for options in ({}, {"max_rounds": 128}):  # time is up while prices that all agree on still move
        result = admm(book, **options)  # type: ignore[arg-type]
        assert result.status is Status.OPTIMAL, result.message
        assert result.trades.volume_mw == pytest.approx(book.p_max_mw.sum(), rel=1e-3)
        assert_sound(book, result)


def test_what_is_traded_short_of_an_agreement_says_how_far_off() -> None:
    fixed = Settings(adaptive=False, max_rounds=200)
    result = negotiate(nearly_balanced(5e-3), settings=fixed).clearing
    assert result.status is Status.OPTIMAL
    assert "after 200 rounds" in result.message
    assert "apart" in result.message
    far = negotiate(nearly_balanced(0.05), settings=replace(fixed, max_rounds=20)).clearing
    assert far.status is Status.NOT_CONVERGED
    assert not len(far.trades)


@MECHANISMS
def test_a_market_in_which_nothing_is_worth_trading_ends_without_a_trade(mechanism: object) -> None:
    book = market([0.0, -1e-3], [1e-3, 0.0], [0.0, 0.0], [300.0, 80.0])
    result = mechanism(book)  # type: ignore[operator]
    assert (result.status, len(result.trades), result.message) == (Status.OPTIMAL, 0, "")
