"""One peer's side of a negotiation: it knows its own data and what its partners have sent, and nothing else.

This is `peerwatt.market.negotiation` at message fidelity; both run the same compiled turn. On a message bus an
agent hands on what arrives and sends what is answered, whenever it likes:

    negotiator.hear(partners, proposals)    # any number of times, in any order
    proposals = negotiator.answer()         # one row per partner, to be sent to it

Messages may be lost, late or repeated: the newest proposal of each partner counts, once; until one comes the last
one stays in force.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from peerwatt.errors import BookError, Fault
from peerwatt.market.book import FloatArray, IntArray

__all__ = ["SILENT_COST", "Negotiator", "Proposals"]

SILENT_COST = 1e7
"""Cost of trading with a partner that has not been heard of, EUR/MWh: above any gain."""


@dataclass(frozen=True, slots=True)
class Proposals:
    """All that partners tell each other: a power, the price at which it is just what the sender wants, a number.

    Attributes:
        number: counts the sender's answers, from 0. (n_rows,)
        p_mw: proposed trade, not negative. (n_rows,)
        price_eur_per_mwh: what the buyer would pay the seller. (n_rows,)
    """

    number: IntArray
    p_mw: FloatArray
    price_eur_per_mwh: FloatArray


class Negotiator:
    """A peer that negotiates with its partners.

    Args:
        p_min_mw: lower bound of its net power.
        p_max_mw: upper bound of its net power.
        cost_a: curvature of its cost, EUR/MW2h, not negative.
        cost_b: its marginal cost at zero power, EUR/MWh.
        sells: for each partner, whether it would sell to it (or buy); who may trade either way with a partner
            has two rows. (n_partners,)
        pair_cost: its own cost of trading with each partner, EUR per MWh traded. (n_partners,)
        penalty: rho, on which it has agreed with each partner, EUR/MW2h. (n_partners,)
        opening_price: price to begin with, known to everybody, EUR/MWh.
        consensus: weight of the partner's price against its own, above 0 and below 1.
        innovation: weight of the partner's power against its own, above 0 and below 1.
        skips_silent: after the first answer, propose nothing to partners that have not been heard of so far.

    Raises:
        BookError: lists everything that is wrong with these.
    """

    def __init__(
        self,
        p_min_mw: float,
        p_max_mw: float,
        cost_a: float,
        cost_b: float,
        sells: ArrayLike,
        pair_cost: ArrayLike,
        penalty: ArrayLike,
        *,
        opening_price: float,
        consensus: float = 0.93,
        innovation: float = 0.93,
        skips_silent: bool = False,
    ) -> None:
        from peerwatt.market.consensus import Costs, Layout, Rule, Talk

        sign = np.where(np.asarray(sells, dtype=bool), 1.0, -1.0)
        cost, rho = np.array(pair_cost, dtype=np.float64), np.array(penalty, dtype=np.float64)
        own = (p_min_mw, p_max_mw, cost_a, cost_b, opening_price)
        _check(own, sign, cost, rho, {"consensus": consensus, "innovation": innovation})
        k = sign.size
        self._costs = Costs(*(np.array([float(value)]) for value in own[:4]))
        self._layout = Layout(np.array([0, k]), sign, cost, np.arange(k))
        self._rule = Rule(float(consensus), float(innovation), 0.0, 1.0, 1.0, 0)
        price, zeros = np.full(k, float(opening_price)), np.zeros(k)
        self._talk = Talk(
            power=zeros,
            price=price,
            heard_power=zeros.copy(),
            heard_price=price.copy(),
            news=np.zeros(k, dtype=np.bool_),
            penalty=rho,
            value=self._costs.b.copy(),
            pull=np.empty(k),
            give=np.empty(k),
        )
        self._heard = np.full(k, -1, dtype=np.intp)
        self._answers, self._skips_silent, self._cost = 0, skips_silent, cost.copy()
        self._p_mw = 0.0

    @property
    def n_partners(self) -> int:
        """Rows of a message to all partners."""
        return self._heard.size

    @property
    def p_mw(self) -> float:
        """Net power of its own proposals."""
        return self._p_mw

    @property
    def price_eur_per_mwh(self) -> float:
        """What one more MWh would be worth to it."""
        return float(self._talk.value[0])

    def hear(self, partner: ArrayLike, proposals: Proposals) -> None:
        """Take in proposals of partners; what is older than what is known, or makes no sense, is ignored.

        Args:
            partner: which partner sent each row, index below `n_partners`; each at most once in one call. (n_rows,)
            proposals: what they sent. (n_rows,)
        """
        row = np.asarray(partner, dtype=np.intp)
        number, power, price = proposals.number, proposals.p_mw, proposals.price_eur_per_mwh
        new = (number > self._heard[row]) & np.isfinite(price) & np.isfinite(power) & (power >= 0.0)
        to = row[new]
        talk = self._talk
        talk.heard_power[to], talk.heard_price[to], talk.news[to] = power[new], price[new], True
        self._heard[to] = number[new]

    def answer(self) -> Proposals:
        """Solve its own problem with what it has heard, and propose; one row per partner."""
        from peerwatt.market.consensus import take_turn

        if self._skips_silent and self._answers:
            self._layout.cost[:] = np.where(self._heard < 0, SILENT_COST, self._cost)
        self._p_mw = float(take_turn(0, self._costs, self._layout, self._talk, self._rule)[0])
        number = np.full(self.n_partners, self._answers, dtype=np.intp)
        self._answers += 1
        return Proposals(number, self._talk.power.copy(), self._talk.price.copy())

    def mismatch(self) -> tuple[FloatArray, FloatArray]:
        """Own less the partner's last proposal: powers in MW and prices in EUR/MWh; each (n_partners,).

        A partner that has not been heard of counts as one that proposes nothing at the opening price.
        """
        talk = self._talk
        return talk.power - talk.heard_power, talk.price - talk.heard_price

    def disagreement(self, spread: float) -> tuple[float, float]:
        """How far prices are from the partners' last proposals.

        Args:
            spread: of the market's prices, EUR/MWh.

        Returns:
            Sum of the squares of differences, (EUR/MWh)2, and the largest one as a share of its trade's price.
        """
        from peerwatt.market.consensus import prices_apart

        talk = self._talk
        squares, worst = prices_apart(self._layout, talk, (talk.heard_power, talk.heard_price), spread)
        return float(squares[0]), float(worst[0])

    def rescale(self, factor: float) -> None:
        """Multiply the penalty, when this is agreed with all partners; what was negotiated stays as it is.

        Raises:
            BookError: a factor that is not a positive number.
        """
        if not 0.0 < factor < np.inf:
            raise BookError(Fault("penalty", f"is to be multiplied by {factor}", "a positive number"))
        self._talk.penalty[:] *= factor


def _check(
    own: tuple[float, ...], sign: FloatArray, cost: FloatArray, rho: FloatArray, weights: dict[str, float]
) -> None:
    p_min, p_max, a = own[:3]
    faults = []
    if not np.isfinite(own).all():
        faults.append(Fault("negotiator", f"bounds, costs or opening price are {own}", "finite numbers"))
    if p_min > p_max:
        faults.append(Fault("negotiator", f"p_min_mw {p_min:g} above p_max_mw {p_max:g}", "swap them"))
    if a < 0.0:
        faults.append(Fault("negotiator", f"negative curvature cost_a {a:g}", "0 or above"))
    if not sign.shape == cost.shape == rho.shape or sign.ndim != 1:
        shapes = [array.shape for array in (sign, cost, rho)]
        faults.append(Fault("partners", f"sells, pair_cost, penalty have shapes {shapes}", "one value per partner"))
    if not np.isfinite(cost).all():
        faults.append(Fault("partners", "pair_cost", "finite numbers"))
    if not ((rho > 0.0) & (rho < np.inf)).all():
        faults.append(Fault("partners", "penalty", "positive numbers"))
    faults += [
        Fault("negotiator", f"'{name}' is {value!r}", "above 0 and below 1")
        for name, value in weights.items()
        if not 0.0 < value < 1.0
    ]
    if faults:
        raise BookError(faults)
