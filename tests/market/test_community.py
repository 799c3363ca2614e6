from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.optimize import linprog

from peerwatt.errors import BookError, ScenarioError
from peerwatt.market.auction import double_auction
from peerwatt.market.book import StepBook
from peerwatt.market.clearing import Clearing, Status
from peerwatt.market.community import CommunityClearing, Sharing, community_market
from peerwatt.market.mechanism import make_mechanism
from tests.oracles import auction_by_linprog
from tests.strategies import random_step_book, step_books

Floats = NDArray[np.float64]

communities = st.lists(st.sampled_from("abc"), min_size=6, max_size=6)
fees = st.sampled_from([0.0, 3.0, 12.0])
rules = st.sampled_from(list(Sharing))


def clear(
    book: StepBook, labels: list[str], fee: float | list[float] = 0.0, sharing: Sharing = Sharing.UNIFORM, seed: int = 0
) -> CommunityClearing:
    rng = np.random.default_rng(seed)
    return community_market(book, rng, community=labels[: book.n_agents], fee_eur_per_mwh=fee, sharing=sharing)


def within(book: StepBook, rows: NDArray[np.bool_]) -> StepBook:
    return replace(book, agent=book.agent[rows], p_mw=book.p_mw[rows], price_eur_per_mwh=book.price_eur_per_mwh[rows])


def inside_only(book: StepBook, result: CommunityClearing, seed: int = 0) -> list[Clearing]:
    """The auctions of the communities alone, with the draws that the mechanism makes."""
    rng = np.random.default_rng(seed)
    member = result.community[book.agent]
    return [double_auction(within(book, member == c), rng) for c in range(len(result.labels))]


def scale_of(book: StepBook) -> float:
    return 50.0 * float(np.abs(book.p_mw).sum()) * book.period_h + 1e-9


# --- against a linear program ---


def left_over(book: StepBook, volume: float) -> list[tuple[float, float]]:
    """What is left of each step, as (signed power, price), when the best steps have traded this volume."""
    left = []
    for sign in (1.0, -1.0):
        traded = volume
        rows = [(sign * p, price) for p, price in zip(book.p_mw, book.price_eur_per_mwh, strict=True) if sign * p > 0]
        for quantity, price in sorted(rows, key=lambda row: sign * row[1]):
            part = min(quantity, traded)
            traded -= part
            left.append((sign * (quantity - part), price))
    return left


def managers_by_linprog(left: list[list[tuple[float, float]]], fee: Floats) -> float:
    """Gain, EUR/h, of managers that trade pair by pair: a flow and a cost per pair, a balance per community."""
    steps = [(c, p, price) for c, rows in enumerate(left) for p, price in rows]
    pairs = [(c, d) for c in range(len(left)) for d in range(len(left)) if c != d]
    cost = [np.sign(p) * price for _, p, price in steps] + [fee[c] + fee[d] for c, d in pairs]
    balance = np.zeros((len(left), len(cost)))
    for column, (c, p, _) in enumerate(steps):
        balance[c, column] = np.sign(p)
    for column, (c, d) in enumerate(pairs, start=len(steps)):
        balance[c, column], balance[d, column] = -1.0, 1.0
    if not cost:
        return 0.0
    bounds = [(0.0, 1e3 * abs(p)) for _, p, _ in steps] + [(0.0, None)] * len(pairs)
    best = linprog(cost, A_eq=balance, b_eq=np.zeros(len(left)), bounds=bounds, method="highs")
    assert best.status == 0, best.message
    return -float(best.fun) / 1e3


def oracle(book: StepBook, result: CommunityClearing, fee: Floats) -> float:
    """Highest welfare of the members, EUR: communities first, then managers pair by pair."""
    total, left = 0.0, []
    for c in range(len(result.labels)):
        part = within(book, result.community[book.agent] == c)
        welfare, volume = auction_by_linprog(part)
        total += welfare
        left.append(left_over(part, volume))
    return total + managers_by_linprog(left, fee) * book.period_h


@settings(max_examples=120, deadline=None)
@given(step_books(), communities, fees, fees)
def test_members_gain_what_managers_gain_that_trade_pair_by_pair(
    book: StepBook, labels: list[str], one: float, other: float
) -> None:
    names = sorted(set(labels[: book.n_agents]))
    fee = np.array([one, other, one])[: len(names)]
    result = clear(book, labels, fee.tolist())
    gained = float(result.clearing.welfare_eur.sum())
    assert gained == pytest.approx(oracle(book, result, fee), abs=1e-8 * scale_of(book))


@pytest.mark.parametrize("seed", range(8))
def test_large_markets_equal_a_linear_program(seed: int) -> None:
    rng = np.random.default_rng(seed)
    book = random_step_book(rng, 120)
    labels = rng.choice(list("abcdef"), 120).tolist()
    fee = rng.uniform(0.0, 5.0, 6)
    result = clear(book, labels, fee.tolist())
    assert len(result.across)
    assert float(result.clearing.welfare_eur.sum()) == pytest.approx(oracle(book, result, fee), rel=1e-7)


@settings(max_examples=80, deadline=None)
@given(step_books(), communities, fees)
def test_no_step_that_is_left_over_would_trade_at_the_border_price(
    book: StepBook, labels: list[str], fee: float
) -> None:
    result = clear(book, labels, fee)
    if not len(result.across):
        return
    border = result.across.price_eur_per_mwh[0]
    left = book.p_mw - result.clearing.accepted_mw
    real = np.abs(left) > 1e-9 * scale_of(book)
    moved = book.price_eur_per_mwh + np.sign(left) * fee
    assert result.across.price_eur_per_mwh == pytest.approx(border)
    assert (moved[real & (left > 0)] >= border - 1e-9).all()
    assert (moved[real & (left < 0)] <= border + 1e-9).all()


@settings(max_examples=80, deadline=None)
@given(step_books(), communities, fees)
def test_welfare_lies_between_no_trade_across_and_one_auction_for_all(
    book: StepBook, labels: list[str], fee: float
) -> None:
    result = clear(book, labels, fee)
    alone = sum(each.social_welfare_eur for each in inside_only(book, result))
    together = auction_by_linprog(book)[0]
    tolerance = 1e-8 * scale_of(book)
    assert alone - tolerance <= result.clearing.social_welfare_eur <= together + tolerance


# --- properties ---


@settings(max_examples=150, deadline=None)
@given(step_books(), communities, fees, rules, st.integers(0, 3))
def test_trades_powers_and_accounts_agree(
    book: StepBook, labels: list[str], fee: float, sharing: Sharing, seed: int
) -> None:
    result = clear(book, labels, fee, sharing, seed)
    clearing, trades, member = result.clearing, result.clearing.trades, result.community
    scale = scale_of(book)
    accepted = np.bincount(book.agent, clearing.accepted_mw, minlength=book.n_agents)
    assert clearing.p_mw == pytest.approx(accepted.astype(float), abs=1e-10 * scale)
    assert trades.net_mw(book.n_agents) == pytest.approx(clearing.p_mw, abs=1e-10 * scale)
    assert (np.abs(clearing.accepted_mw) <= np.abs(book.p_mw)).all()
    pairs = list(zip(trades.seller.tolist(), trades.buyer.tolist(), strict=True))
    assert pairs == sorted(set(pairs))
    crossing = member[trades.seller] != member[trades.buyer]
    assert result.across.volume_mw == pytest.approx(float(trades.p_mw[crossing].sum()))
    assert not set(result.across.seller.tolist()) & set(result.across.buyer.tolist())  # exports or imports
    total = float(clearing.welfare_eur.sum()) + clearing.surplus_eur
    assert total == pytest.approx(clearing.social_welfare_eur, abs=1e-12 * scale)


@settings(max_examples=150, deadline=None)
@given(step_books(), communities, fees, rules)
def test_managers_earn_their_fees_and_nobody_loses(
    book: StepBook, labels: list[str], fee: float, sharing: Sharing
) -> None:
    result = clear(book, labels, fee, sharing)
    scale = scale_of(book)
    crossed = np.zeros(len(result.labels))
    np.add.at(crossed, result.across.seller, result.across.p_mw)
    np.add.at(crossed, result.across.buyer, result.across.p_mw)
    assert result.manager_eur == pytest.approx(crossed * fee * book.period_h, abs=1e-12 * scale)
    assert result.clearing.surplus_eur == pytest.approx(float(result.manager_eur.sum()), abs=1e-12 * scale)
    assert (result.clearing.welfare_eur >= -1e-11 * scale).all()


@settings(max_examples=100, deadline=None)
@given(step_books(), communities, fees)
def test_pro_rata_gives_every_member_of_a_community_the_same_gain_per_mw(
    book: StepBook, labels: list[str], fee: float
) -> None:
    result = clear(book, labels, fee, Sharing.PRO_RATA)
    own = clear(book, labels, fee)
    before = np.sum([each.welfare_eur for each in inside_only(book, result)], axis=0)
    gain = result.clearing.welfare_eur - before
    trades = result.clearing.trades
    power = np.bincount(trades.seller, trades.p_mw, book.n_agents) + np.bincount(
        trades.buyer, trades.p_mw, book.n_agents
    )
    for c in range(len(result.labels)):
        members = result.community == c
        whole = float((own.clearing.welfare_eur - before)[members].sum())
        per_mw = whole / power[members].sum() if power[members].any() else 0.0
        assert gain[members] == pytest.approx(per_mw * power[members], abs=1e-10 * scale_of(book))


@settings(max_examples=60, deadline=None)
@given(step_books(), communities, fees, st.randoms(use_true_random=False))
def test_the_order_of_the_book_does_not_matter(book: StepBook, labels: list[str], fee: float, random: object) -> None:
    order = np.arange(book.agent.size)
    random.shuffle(order)  # type: ignore[attr-defined]
    one, other = clear(book, labels, fee).clearing, clear(within(book, order), labels, fee).clearing
    assert one.p_mw.tolist() == other.p_mw.tolist()
    assert one.welfare_eur.tolist() == other.welfare_eur.tolist()


@settings(max_examples=40, deadline=None)
@given(step_books(), st.integers(0, 3))
def test_one_community_is_one_auction(book: StepBook, seed: int) -> None:
    result = clear(book, ["all"] * 6, 5.0, Sharing.PRO_RATA, seed).clearing
    auction = double_auction(book, np.random.default_rng(seed))
    assert result.p_mw == pytest.approx(auction.p_mw)
    assert result.welfare_eur == pytest.approx(auction.welfare_eur)
    assert result.status is auction.status


# --- by hand ---

# North trades 1 MW inside at 45 and has 2 MW left at 50 and 70; south lacks 1.5 MW, for which it bids 100.
VILLAGES = StepBook(
    [0, 0, 1, 2, 3], [1.0, 1.0, 1.0, -1.0, -1.5], [40.0, 50.0, 70.0, 50.0, 100.0], n_agents=4, period_h=1.0
)
WHERE = ["north", "north", "north", "south"]


@pytest.mark.parametrize(
    ("sharing", "seller_price", "buyer_price"),
    [
        (Sharing.UNIFORM, {(0, 3): 70.0, (1, 3): 70.0}, 80.0),
        (Sharing.MID_PRICE, {(0, 3): 70.0, (1, 3): 80.0}, None),
    ],
)
def test_two_villages(sharing: Sharing, seller_price: dict[tuple[int, int], float], buyer_price: float | None) -> None:
    result = clear(VILLAGES, WHERE, 5.0, sharing)
    clearing, trades = result.clearing, result.clearing.trades
    assert clearing.accepted_mw == pytest.approx([1.0, 1.0, 0.5, -1.0, -1.5])
    assert result.labels == ("north", "south")
    assert result.price_eur_per_mwh[0] == pytest.approx(45.0)  # between the seller at 40 and the next one at 50
    assert np.isnan(result.price_eur_per_mwh[1])
    assert result.across.volume_mw == pytest.approx(1.5)
    paid = dict(zip(zip(trades.seller, trades.buyer, strict=True), trades.price_eur_per_mwh, strict=True))
    assert {pair: paid[pair] for pair in seller_price} == pytest.approx(seller_price)
    assert result.manager_eur == pytest.approx([7.5, 7.5])
    if buyer_price is not None:
        total = trades.price_eur_per_mwh + clearing.spread_eur_per_mwh
        assert total[trades.buyer == 3] == pytest.approx([buyer_price] * 2)


def test_pro_rata_moves_the_gain_of_who_exports_to_who_trades_at_home() -> None:
    own, shared = clear(VILLAGES, WHERE).clearing, clear(VILLAGES, WHERE, 0.0, Sharing.PRO_RATA).clearing
    assert own.welfare_eur[2] == pytest.approx(5.0)  # buys at home only
    assert shared.welfare_eur[2] > 10.0
    assert shared.welfare_eur[:3].sum() == pytest.approx(own.welfare_eur[:3].sum())
    assert shared.surplus_eur == pytest.approx(0.0, abs=1e-12)


# --- as a mechanism, and what is refused ---


def test_the_mechanism_takes_labels_from_the_book_or_cuts_it_into_equal_parts() -> None:
    rng = np.random.default_rng(0)
    labelled = make_mechanism("community", fee_eur_per_mwh=5.0).clear(replace(VILLAGES, location=WHERE), rng)
    assert labelled.surplus_eur == pytest.approx(15.0)
    cut = make_mechanism("community", communities=2, fee_eur_per_mwh=5.0).clear(VILLAGES, rng)  # {0, 1} and {2, 3}
    assert (labelled.p_mw[2], cut.p_mw[2]) == (-1.0, 0.0)  # at home it finds a seller, across it is outbid
    assert make_mechanism("community", communities=1).clear(VILLAGES, rng).surplus_eur == 0.0


def test_options_that_make_no_sense_are_refused_at_once() -> None:
    with pytest.raises(ScenarioError) as error:
        make_mechanism("community", communities=0, fee_eur_per_mwh=-1.0, sharing="fair", k=2.0)
    assert [fault.problem.split("'")[1] for fault in error.value.faults] == [
        "communities",
        "fee_eur_per_mwh",
        "sharing",
        "k",
    ]


def test_labels_and_fees_that_do_not_fit_are_refused() -> None:
    with pytest.raises(BookError, match="labels have shape"):
        community_market(VILLAGES, np.random.default_rng(0), community=["north"])
    with pytest.raises(BookError, match="one fee, or one per community"):
        clear(VILLAGES, WHERE, [1.0, 2.0, 3.0])
    with pytest.raises(BookError, match="0 or more EUR/MWh"):
        clear(VILLAGES, WHERE, [1.0, np.nan])


def test_a_market_without_buyers_is_empty() -> None:
    sells = StepBook([0, 1], [1.0, 2.0], [10.0, 20.0], 2, 1.0)
    result = clear(sells, ["a", "b"]).clearing
    assert result.status is Status.EMPTY
    assert result.message == "no buyer"
    assert result.p_mw.tolist() == [0.0, 0.0]
