"""Compiled rounds of a negotiation: every agent answers its partners' last proposals with its own.

Consensus ADMM on the bilateral market, Marques et al., eq. (1) to (3): each side h of a pair has a copy x_h of the
traded power, and reciprocity (1d) says that it equals that of its mate. The augmented Lagrangian splits by agents.
In every round agent n, which may sell (sigma_h = 1) or buy (sigma_h = -1) with its partners, solves

    min  C_n(P_n) + sum_h [ c_h x_h + rho_h / 2 (x_h - v_h)^2 ]
    s.t. P_n = sum_h sigma_h x_h,   P_min_n <= P_n <= P_max_n,   x_h >= 0

and proposes to each partner the power x_h at the price

    pi_h = sigma_h rho_h (v_h - x_h)

at which x_h is just what it wants. All of the agent's optimality conditions hold at (x_h, pi_h), so a market in
which both sides of every pair name the same power (primal residual) and the same price (dual residual) is at the
optimum. What the agent knows of its partner m is the last proposal (x_m, pi_m); from it follows the next target

    rho_h v_h = rho_h [(1 - gamma) x_h + gamma x_m] + sigma_h [(1 - beta) pi_h + beta pi_m]

with the weights beta of consensus on prices and gamma of innovation by the mismatch of powers (Sorin, Bobo and
Pinson 2019). beta = gamma = 1/2 is ADMM with z = (x_h + x_m) / 2 (Boyd et al. 2011, section 7.1), beta = gamma up
to 1 is over-relaxed ADMM with relaxation 2 gamma (Eckstein and Bertsekas 1992). A target moves only when a message
has come: agents that wait for lost or late ones are a randomised iteration of the same averaged operator, which
converges too (Bastianello et al. 2021).

**The agent's problem** has a closed form in the multiplier mu of its balance, the marginal value of its power:

    x_h(mu) = max(0, v_h - (c_h + sigma_h mu) / rho_h)
    sum_h sigma_h x_h(mu) = clip((mu - b_n) / a_n, P_min_n, P_max_n)

The left side falls with mu and the right side rises, both piecewise linear: Newton's method inside a bracket ends
at the exact root, mostly after one step when it starts from the last round's. Multiplied by a_n it holds for
a_n = 0 too.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from peerwatt.market.book import FloatArray, IntArray

__all__ = [
    "MARGIN",
    "Costs",
    "Layout",
    "Record",
    "Rule",
    "Talk",
    "play_round",
    "play_rounds",
    "powers_apart",
    "prices_apart",
    "residuals",
    "take_turn",
]


class Costs(NamedTuple):
    """Bounds and costs of the agents, as in `QuadraticBook`; each (n_agents,)."""

    p_min: FloatArray
    p_max: FloatArray
    a: FloatArray
    b: FloatArray


class Layout(NamedTuple):
    """Sides of the agents, as in `peerwatt.market.sides.Sides`."""

    start: IntArray
    sign: FloatArray
    cost: FloatArray
    mate: IntArray


class Talk(NamedTuple):
    """State of a negotiation, changed in place; each (n_sides,), if not told otherwise.

    Attributes:
        power, price: own proposals, MW and EUR/MWh.
        heard_power, heard_price: the partner's last proposal.
        news: whether it has come since the agent's last turn.
        penalty: rho, EUR/MW2h.
        value: mu, EUR/MWh. (n_agents,)
        pull, give: working space for the sides of one agent. (most partners of any agent,)
    """

    power: FloatArray
    price: FloatArray
    heard_power: FloatArray
    heard_price: FloatArray
    news: np.ndarray
    penalty: FloatArray
    value: FloatArray
    pull: FloatArray
    give: FloatArray


class Rule(NamedTuple):
    """How agents answer and when they stop.

    Attributes:
        consensus, innovation: weights beta and gamma, in (0, 1).
        tolerance: of both residuals.
        price: what differences of prices are measured by, EUR/MWh.
        power: least power that differences of powers are measured by, MW.
        balance_at: first round after which residuals are balanced, then after twice as many; 0 for never.
    """

    consensus: float
    innovation: float
    tolerance: float
    price: float
    power: float
    balance_at: int


class Record(NamedTuple):
    """What every round left behind; each (n_rounds,).

    Attributes:
        primal, dual: residuals.
        cost: cost of all proposals, EUR/h.
    """

    primal: FloatArray
    dual: FloatArray
    cost: FloatArray


MARGIN = 10.0
"""How many times the tolerance a single agent's power or a single trade's price may be off."""

_IDLE = 1e-2  # share of its size by which an agent's trades are measured at least
_CHEAP = 1e-2  # share of the spread of prices by which a price is measured at least
_STEPS = 200  # more than the bracket can be halved
_UNBALANCED = 4.0  # ratio of residuals from which the penalty is changed
_LARGEST = 5.0  # factor by which it is changed


@njit(cache=True)
def _within(p_min: float, p_max: float, a: float, b: float, pulled: float, give: float) -> float:
    """Root of the balance if the sides that trade now are those that trade at the root."""
    value = (a * pulled + b) / (a * give + 1.0)
    power = pulled - value * give
    if give > 0.0 and power > p_max:
        value = (pulled - p_max) / give
    elif give > 0.0 and power < p_min:
        value = (pulled - p_min) / give
    return value


@njit(cache=True)
def _woken(p_min: float, p_max: float, b: float, sign: FloatArray, pull: FloatArray, give: FloatArray) -> float:
    """A value at which who must trade does, when it trades on no side now."""
    due = p_min if p_min > 0.0 else p_max  # MW; negative: it must draw
    best = -1
    for h in range(sign.size):
        if sign[h] * due > 0.0 and (best < 0 or pull[h] > pull[best]):
            best = h
    if best < 0:
        return b
    value: float = sign[best] * (pull[best] - abs(due) / give[best])
    return value


@njit(cache=True, fastmath={"reassoc", "contract"})  # sums in vector registers
def _trading(sign: FloatArray, pull: FloatArray, give: FloatArray, value: float) -> tuple[float, float]:
    """What the sides that trade at a value are pulled to, and how much they give way, MW and MW2h/EUR."""
    pulled, given = 0.0, 0.0
    for h in range(sign.size):
        trades = give[h] if sign[h] * value < pull[h] else 0.0
        pulled += sign[h] * pull[h] * trades
        given += trades
    return pulled, given


@njit(cache=True)
def _value(
    p_min: float,
    p_max: float,
    a: float,
    b: float,
    sign: FloatArray,
    pull: FloatArray,
    give: FloatArray,
    value: float,
) -> float:
    """The multiplier mu of an agent's balance, from rho v - c (`pull`) and 1 / rho (`give`) of its sides."""
    low, high = -np.inf, np.inf
    last_pulled, last_given = np.nan, np.nan
    for _ in range(_STEPS):
        pulled, given = _trading(sign, pull, give, value)
        if pulled == last_pulled and given == last_given:  # the same sides trade: exact
            break
        last_pulled, last_given = pulled, given
        if given == 0.0 and (p_min > 0.0 or p_max < 0.0):
            root = _woken(p_min, p_max, b, sign, pull, give)
        else:
            root = _within(p_min, p_max, a, b, pulled, given)
        if root > value:
            low = value
        elif root < value:
            high = value
        if root != value and (root <= low or root >= high):
            root = 0.5 * (low + high)
        value = root
    return value


@njit(cache=True)
def take_turn(n: int, costs: Costs, layout: Layout, talk: Talk, rule: Rule) -> tuple[float, float]:
    """Let agent n answer what it has heard.

    Reads and writes nothing but the agent's own rows.

    Returns:
        Its power in MW and the cost of its proposals in EUR/h.
    """
    first, last = layout.start[n], layout.start[n + 1]
    for h in range(first, last):
        beta = rule.consensus if talk.news[h] else 0.0
        gamma = rule.innovation if talk.news[h] else 0.0
        power = (1.0 - gamma) * talk.power[h] + gamma * talk.heard_power[h]
        price = (1.0 - beta) * talk.price[h] + beta * talk.heard_price[h]
        talk.pull[h - first] = talk.penalty[h] * power + layout.sign[h] * price - layout.cost[h]
        talk.give[h - first] = 1.0 / talk.penalty[h]
    sign, pull, give = layout.sign[first:last], talk.pull[: last - first], talk.give[: last - first]
    value = _value(costs.p_min[n], costs.p_max[n], costs.a[n], costs.b[n], sign, pull, give, talk.value[n])
    talk.value[n] = value
    net, cost = 0.0, 0.0
    for h in range(first, last):
        sign_h = layout.sign[h]
        power = max(0.0, (pull[h - first] - sign_h * value) * give[h - first])
        talk.price[h] = sign_h * (pull[h - first] + layout.cost[h] - talk.penalty[h] * power)
        talk.power[h] = power
        talk.news[h] = False
        net += sign_h * power
        cost += layout.cost[h] * power
    return net, cost + (0.5 * costs.a[n] * net + costs.b[n]) * net


@njit(cache=True)
def play_round(active: np.ndarray, costs: Costs, layout: Layout, talk: Talk, rule: Rule, cost: FloatArray) -> None:
    """One turn of every active agent; the cost of its proposals goes to `cost`, (n_agents,)."""
    for n in range(costs.a.size):
        if active[n]:
            cost[n] = take_turn(n, costs, layout, talk, rule)[1]


@njit(cache=True)
def powers_apart(costs: Costs, layout: Layout, power: FloatArray, at_partner: FloatArray, least: float) -> float:
    """Primal residual: relative differences between the two sides' powers.

    Root mean square by all that is traded, or a tenth of what any agent's trades are off by its own trades, where
    that is more: nobody is off by more than ten tolerances because others trade a lot.

    Args:
        costs: bounds of the agents.
        layout: their sides.
        power: proposed, MW. (n_sides,)
        at_partner: what the partners propose for the same trades, MW. (n_sides,)
        least: norm of powers that they are measured by at least, MW.
    """
    squares, traded, worst = 0.0, 0.0, 0.0
    for n in range(costs.p_min.size):
        off, own = 0.0, 0.0
        for h in range(layout.start[n], layout.start[n + 1]):
            gap = power[h] - at_partner[h]
            squares += gap**2
            traded += power[h] ** 2
            off += abs(gap)
            own += power[h]
        own = max(own, _IDLE * max(abs(costs.p_min[n]), abs(costs.p_max[n])))
        if off > worst * own:
            worst = off / own
    relative: float = max(np.sqrt(squares) / max(np.sqrt(traded), least), worst / MARGIN)
    return relative


@njit(cache=True)
def prices_apart(
    layout: Layout, talk: Talk, at_partner: tuple[FloatArray, FloatArray], spread: float
) -> tuple[FloatArray, FloatArray]:
    """How far the prices of each agent's trades are from what its partners propose for them.

    A pair that trades nothing is at rest at any prices unless the buyer's is the higher one: the seller's price is
    at most what it asks, the buyer's at least what it would pay.

    Args:
        layout: sides of the agents.
        talk: what they propose.
        at_partner: powers in MW and prices in EUR/MWh that the partners propose; each (n_sides,).
        spread: of the market's prices, EUR/MWh.

    Returns:
        Sum of the squares of differences, (EUR/MWh)2; and differences by the price of the trade: the mean of what the
        agent trades, or the largest where nothing is traded but would gain, if that is more. Each (n_agents,).
    """
    squares, worst = np.zeros(layout.start.size - 1), np.zeros(layout.start.size - 1)
    for n in range(squares.size):
        disputed, traded = 0.0, 0.0
        for h in range(layout.start[n], layout.start[n + 1]):
            own, heard, power = talk.price[h], at_partner[1][h], talk.power[h]
            gap = own - heard
            squares[n] += gap**2
            relative = gap / min(spread, max(0.5 * abs(own + heard), _CHEAP * spread))
            if power > 0.0:
                disputed += power * abs(relative)
                traded += power
            elif at_partner[0][h] == 0.0:
                worst[n] = max(worst[n], -layout.sign[h] * relative)
        if traded > 0.0:
            worst[n] = max(worst[n], disputed / traded)
    return squares, worst


@njit(cache=True)
def residuals(
    costs: Costs, layout: Layout, talk: Talk, rule: Rule, at_partner: tuple[FloatArray, FloatArray]
) -> tuple[float, float]:
    """Relative differences between the two sides' powers and between their prices.

    Of prices as of powers it is the root mean square, by the spread of prices, or a tenth of the worst agent's, by the
    prices of its own trades. `at_partner` has the partners' present powers and prices.
    """
    primal = powers_apart(costs, layout, talk.power, at_partner[0], rule.power)
    squares, worst = prices_apart(layout, talk, at_partner, rule.price)
    return primal, max(np.sqrt(squares.sum() / layout.sign.size) / rule.price, worst.max() / MARGIN)


@njit(cache=True)
def balance(talk: Talk, rule: Rule, rounds: int, primal: float, dual: float) -> None:
    """Change all penalties where one residual lags behind the other (Boyd et al. 2011, section 3.4.1)."""
    due = rule.balance_at
    while 0 < due < rounds:
        due *= 2
    ratio = primal / max(dual, 1e-300)
    if due == rounds and not 1.0 / _UNBALANCED <= ratio <= _UNBALANCED:
        talk.penalty[:] *= min(max(np.sqrt(ratio), 1.0 / _LARGEST), _LARGEST)


@njit(cache=True)
def play_rounds(done: int, until: int, costs: Costs, layout: Layout, talk: Talk, rule: Rule, record: Record) -> int:
    """Rounds `done` to `until` with every message on time; how many were played when both residuals are small."""
    for k in range(done, until):
        for n in range(costs.a.size):
            record.cost[k] += take_turn(n, costs, layout, talk, rule)[1]
        for h in range(layout.mate.size):
            mate = layout.mate[h]
            talk.heard_power[h], talk.heard_price[h], talk.news[h] = talk.power[mate], talk.price[mate], True
        primal, dual = residuals(costs, layout, talk, rule, (talk.heard_power, talk.heard_price))
        record.primal[k], record.dual[k] = primal, dual
        if primal <= rule.tolerance and dual <= rule.tolerance:
            return k + 1
        balance(talk, rule, k + 1, primal, dual)
    return until
