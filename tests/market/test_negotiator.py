"""Peers by themselves, driven by hand, against the compiled rounds."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize

from peerwatt.errors import BookError
from peerwatt.market.bilateral import bilateral
from peerwatt.market.book import QuadraticBook
from peerwatt.market.negotiation import negotiate
from peerwatt.market.negotiator import Negotiator, Proposals
from peerwatt.market.rounds import Settings
from peerwatt.market.sides import MarketScale, Sides
from tests.strategies import random_quadratic_book

ROUNDS = 30
FIXED = Settings(adaptive=False, max_rounds=ROUNDS, tolerance=1e-15)


@dataclass
class Post:
    """Carries proposals between negotiators; `number`, `p_mw` and price travel, nothing else."""

    sides: Sides
    peers: list[Negotiator]

    def __post_init__(self) -> None:
        self.agent = self.sides.agent()
        self.row = np.arange(self.sides.n_sides) - self.sides.start[self.agent]
        self.log: list[dict[int, Proposals]] = []

    def answers(self) -> dict[int, Proposals]:
        """Each side's answer, one row per message."""
        sent: dict[int, Proposals] = {}
        for n, peer in enumerate(self.peers):
            answer = peer.answer()
            for row, side in enumerate(range(self.sides.start[n], self.sides.start[n + 1])):
                sent[side] = Proposals(*(getattr(answer, f.name)[row : row + 1] for f in fields(Proposals)))
        self.log.append(sent)
        return sent

    def deliver(self, side: int, message: Proposals) -> None:
        to = self.sides.mate[side]
        self.peers[self.agent[to]].hear([self.row[to]], message)


def peers_of(book: QuadraticBook) -> Post:
    sides = Sides.of(book)
    scale = MarketScale.of(book, sides)
    penalty = sides.to_sides(scale.price / scale.power / 3.0)
    peers = []
    for n in range(book.n_agents):
        own = slice(sides.start[n], sides.start[n + 1])
        data = (book.p_min_mw[n], book.p_max_mw[n], book.cost_a[n], book.cost_b[n])
        peers.append(Negotiator(*data, sides.sign[own] > 0, sides.cost[own], penalty[own], opening_price=scale.opening))
    return Post(sides, peers)


@pytest.mark.parametrize("seed", range(6))
def test_peers_driven_by_hand_propose_what_the_compiled_rounds_do(seed: int) -> None:
    book = random_quadratic_book(np.random.default_rng(seed), 12)
    post = peers_of(book)
    for _ in range(ROUNDS):
        for side, message in post.answers().items():
            post.deliver(side, message)
    state = negotiate(book, settings=FIXED).state
    assert state is not None
    last = post.log[-1]
    power = np.array([last[side].p_mw[0] for side in range(post.sides.n_sides)])
    price = np.array([last[side].price_eur_per_mwh[0] for side in range(post.sides.n_sides)])
    assert power == pytest.approx(state.p_mw, rel=1e-12, abs=1e-15)
    assert price == pytest.approx(state.price_eur_per_mwh, rel=1e-12)
    assert [peer.price_eur_per_mwh for peer in post.peers] == pytest.approx(state.agent_price_eur_per_mwh, rel=1e-12)


def test_lost_late_and_repeated_messages_are_harmless() -> None:
    rng = np.random.default_rng(3)
    book = random_quadratic_book(rng, 10, linear=0.0, supplier=0.0)
    post = peers_of(book)
    for _ in range(800):
        post.answers()
        for sent in post.log[-4:]:  # every message up to four times, in any order, and some not at all
            for side in rng.permutation(post.sides.n_sides):
                if rng.random() < 0.3:
                    post.deliver(int(side), sent[int(side)])
    last = post.log[-1]
    power = np.array([last[side].p_mw[0] for side in range(post.sides.n_sides)])
    best = bilateral(book)
    sold = np.bincount(post.agent, post.sides.sign * power, minlength=book.n_agents)
    assert sold == pytest.approx(best.p_mw, abs=1e-3 * float(np.abs(best.p_mw).max()))


def test_old_repeated_and_senseless_messages_change_nothing() -> None:
    def peer() -> Negotiator:
        return Negotiator(0.0, 5e-3, 1e4, 100.0, [True, True], [0.0, 5.0], [1e5, 1e5], opening_price=200.0)

    def message(number: int, p_mw: float, price: float) -> Proposals:
        return Proposals(np.array([number]), np.array([p_mw]), np.array([price]))

    one, two = peer(), peer()
    for negotiator in (one, two):
        negotiator.hear([0], message(4, 1e-3, 210.0))
    for nonsense in ((4, 9e-3, 500.0), (2, 9e-3, 500.0), (9, np.nan, 100.0), (9, -1e-3, 100.0), (9, 1e-3, np.inf)):
        two.hear([0], message(*nonsense))
    for _ in range(3):
        first, second = one.answer(), two.answer()
        assert np.array_equal(first.p_mw, second.p_mw)
        assert np.array_equal(first.price_eur_per_mwh, second.price_eur_per_mwh)


def test_all_that_partners_learn_is_what_was_sent() -> None:
    """One peer is replaced by a recording of its messages: nobody notices, whatever its data were."""
    book = random_quadratic_book(np.random.default_rng(5), 10)
    post = peers_of(book)
    for _ in range(20):
        for side, message in post.answers().items():
            post.deliver(side, message)
    absent = int(post.agent[0])
    rows = post.peers[absent].n_partners
    impostor = peers_of(book)
    impostor.peers[absent] = Negotiator(
        -1.0, 1.0, 3.0, 77.0, np.ones(rows, dtype=bool), np.zeros(rows), np.ones(rows), opening_price=5.0
    )
    for recorded in post.log:
        sent = impostor.answers()
        for side, message in sent.items():
            if post.agent[side] != absent:
                assert message.p_mw[0] == recorded[side].p_mw[0]
                assert message.price_eur_per_mwh[0] == recorded[side].price_eur_per_mwh[0]
            impostor.deliver(side, recorded[side] if post.agent[side] == absent else message)
    assert {f.name for f in fields(Proposals)} == {"number", "p_mw", "price_eur_per_mwh"}


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_an_answer_solves_the_peers_own_problem(seed: int) -> None:
    rng = np.random.default_rng(seed)
    k = int(rng.integers(1, 7))
    sells = rng.random(k) < rng.choice([0.0, 0.5, 1.0])
    sign = np.where(sells, 1.0, -1.0)
    p_max = rng.uniform(0.5, 3.0) if sells.any() else 0.0
    p_min = -rng.uniform(0.5, 3.0) if not sells.all() else 0.0
    if sells.all() and rng.random() < 0.4:
        p_min = p_max * rng.choice([0.5, 1.0])
    a, b = rng.choice([0.0, 1.0, 20.0]), rng.uniform(-5, 5)
    cost, rho, price = rng.uniform(-1, 1, k), rng.uniform(0.5, 5, k), rng.uniform(-5, 5, k)
    power = rng.uniform(0, 2, k)
    peer = Negotiator(p_min, p_max, a, b, sells, cost, rho, opening_price=0.0, consensus=0.5, innovation=0.5)
    peer.hear(np.arange(k), Proposals(np.zeros(k, dtype=int), power, price))
    answer = peer.answer()
    target = 0.5 * power + sign * 0.5 * price / rho

    def loss(x: np.ndarray) -> float:
        net = sign @ x
        return float(0.5 * a * net**2 + b * net + cost @ x + 0.5 * (rho * (x - target) ** 2).sum())

    bounds_hold = [
        {"type": "ineq", "fun": lambda x: p_max - sign @ x},
        {"type": "ineq", "fun": lambda x: sign @ x - p_min},
    ]
    start = np.full(k, abs(p_min + p_max) / 2 / k)
    best = minimize(loss, start, bounds=[(0, None)] * k, constraints=bounds_hold, method="SLSQP", tol=1e-12)
    assert p_min - 1e-9 <= peer.p_mw <= p_max + 1e-9
    assert (answer.p_mw >= 0.0).all()
    assert loss(answer.p_mw) <= best.fun + 1e-7 * (1.0 + abs(best.fun))
    # at the price it names, the power it names is the best
    assert answer.price_eur_per_mwh == pytest.approx(sign * rho * (target - answer.p_mw), abs=1e-9)


def test_a_negotiator_that_contradicts_itself_is_refused_with_every_fault() -> None:
    with pytest.raises(BookError) as refused:
        Negotiator(1.0, 0.0, -1.0, np.nan, [True], [0.0, 1.0], [0.0], opening_price=0.0, consensus=1.0)
    for words in ("finite numbers", "above p_max_mw", "cost_a", "shapes", "penalty", "'consensus' is 1.0"):
        assert words in str(refused.value)


def test_rescaling_the_penalty_keeps_what_was_negotiated() -> None:
    peer = Negotiator(0.0, 5e-3, 1e4, 100.0, [True], [0.0], [1e5], opening_price=200.0)
    before = peer.answer()
    peer.rescale(3.0)
    after = peer.answer()
    assert after.p_mw == pytest.approx(before.p_mw, rel=1e-12)
    assert after.price_eur_per_mwh == pytest.approx(before.price_eur_per_mwh, rel=1e-12)
    with pytest.raises(BookError, match="positive"):
        peer.rescale(0.0)
