"""A negotiation at round fidelity: all agents at one table, one compiled step per round.

With perfect communication many rounds are one compiled call. With loss, delay or agents that pause, messages pass
through `peerwatt.market.communication.Mail` between rounds; the agents' turns are the same.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from peerwatt.errors import BookError, Fault, ScenarioError
from peerwatt.market.book import FloatArray, QuadraticBook
from peerwatt.market.clearing import Convergence
from peerwatt.market.communication import Communication, Mail
from peerwatt.market.sides import MarketScale, Sides

if TYPE_CHECKING:
    from peerwatt.market.consensus import Talk

__all__ = ["NegotiationState", "Settings", "Table", "nearly_agreed", "progress"]

_BALANCE_AT = 64  # round after which the penalty is changed for the first time
_ALIKE = 20.0  # times the tolerance: how little costs may have moved for the last penalty to suit
_NEARLY = 1e-2  # share of all proposed power that may be without a partner's word when time is up
_PERFECT = Communication()


@dataclass(frozen=True, slots=True)
class Settings:
    """How agents negotiate.

    Attributes:
        consensus: weight of the partner's price against one's own, above 0 and below 1.
        innovation: weight of the partner's power against one's own, above 0 and below 1.
        tolerance: of the primal and of the dual residual.
        max_rounds: most rounds.
        communication: what happens to messages.
        adaptive: whether the penalty is changed on the way.
    """

    consensus: float = 0.93
    innovation: float = 0.93
    tolerance: float = 1e-4
    max_rounds: int = 10_000
    communication: Communication = _PERFECT
    adaptive: bool = True

    def __post_init__(self) -> None:
        weight = "above 0 and below 1"
        allowed = {
            "consensus": (0.0 < self.consensus < 1.0, weight),
            "innovation": (0.0 < self.innovation < 1.0, weight),
            "tolerance": (0.0 < self.tolerance < 1.0, weight),
            "max_rounds": (type(self.max_rounds) is int and self.max_rounds >= 1, "1 or more"),
        }
        faults = [
            Fault("negotiation", f"'{name}' is {getattr(self, name)!r}", remedy)
            for name, (fits, remedy) in allowed.items()
            if not fits
        ]
        if faults:
            raise ScenarioError(faults)


@dataclass(frozen=True, slots=True)
class NegotiationState:
    """Where a negotiation ended, for the next one among the same pairs to start from.

    Attributes:
        sides: the pairs that can trade, with the costs of trading that it was about.
        p_mw, price_eur_per_mwh: last proposals of all sides, in the order of `Sides`. (n_sides,)
        agent_price_eur_per_mwh: marginal value of power of every agent. (n_agents,)
        penalty: of every side, EUR/MW2h. (n_sides,)
    """

    sides: Sides
    p_mw: FloatArray
    price_eur_per_mwh: FloatArray
    agent_price_eur_per_mwh: FloatArray
    penalty: FloatArray


class Table:
    """All agents of a negotiation, and its record.

    Args:
        book: a valid book.
        sides: its sides, at least one pair.
        settings: how agents negotiate.
        start: where to start from; no trade at one price for all if None.
        rng: stream of loss, delay and activity.

    Raises:
        BookError: `start` is of other pairs.
    """

    def __init__(
        self,
        book: QuadraticBook,
        sides: Sides,
        settings: Settings,
        start: NegotiationState | None,
        rng: np.random.Generator,
    ) -> None:
        from peerwatt.market.consensus import Costs, Layout, Record, Rule

        scale = MarketScale.of(book, sides)
        balance_at = _BALANCE_AT if settings.adaptive else 0
        weights = (float(settings.consensus), float(settings.innovation), float(settings.tolerance))
        self._sides, self._settings, self._rng, self._period_h = sides, settings, rng, book.period_h
        self._costs = Costs(book.p_min_mw, book.p_max_mw, book.cost_a, book.cost_b)
        self._layout = Layout(sides.start, sides.sign, sides.cost, sides.mate)
        self._rule = Rule(*weights, scale.price, scale.least, balance_at)
        self._talk = _opening(book, sides, scale)
        if start is not None:
            _resume(self._talk, sides, start, _ALIKE * settings.tolerance * scale.price)
        self._record = Record(*(np.zeros(settings.max_rounds) for _ in range(3)))
        self._lost = np.zeros(settings.max_rounds, dtype=np.intp)
        self._sent = np.full(settings.max_rounds, sides.n_sides, dtype=np.intp)
        self._mail: Mail | None = None
        self._proposal_cost = np.zeros(book.n_agents)
        self._silent = np.full(book.n_agents, not settings.communication.is_perfect)  # has had no turn so far
        self.rounds = 0

    def play(self, until: int) -> bool:
        """Play on, until both residuals are small or so many rounds have been played; whether they are small."""
        from peerwatt.market.consensus import play_rounds

        if self._settings.communication.is_perfect:
            state = (self._costs, self._layout, self._talk, self._rule, self._record)
            self.rounds = int(play_rounds(self.rounds, until, *state))
            return self._agreed()
        while self.rounds < until:
            self._imperfect_round()
            if self._agreed():
                return True
        return False

    def _imperfect_round(self) -> None:
        from peerwatt.market.consensus import balance, play_round, residuals

        k, talk, channel = self.rounds, self._talk, self._settings.communication
        mail = self._mail = self._mail or Mail(self._sides.mate, channel, self._rng)
        mail.deliver(k, talk.heard_power, talk.heard_price, talk.news)
        active = self._rng.random(self._proposal_cost.size) < channel.activity
        play_round(active, self._costs, self._layout, talk, self._rule, self._proposal_cost)
        self._silent &= ~active
        sends = np.repeat(active, np.diff(self._sides.start))
        self._sent[k] = np.count_nonzero(sends)
        self._lost[k] = mail.send(k, talk.power, talk.price, sends)
        mate = self._sides.mate
        primal, dual = residuals(self._costs, self._layout, talk, self._rule, (talk.power[mate], talk.price[mate]))
        self._record.primal[k], self._record.dual[k] = primal, dual
        self._record.cost[k] = self._proposal_cost.sum()
        self.rounds = k + 1
        balance(talk, self._rule, k + 1, primal, dual)

    def _agreed(self) -> bool:
        last = self.rounds - 1
        return not self._silent.any() and bool(
            max(self._record.primal[last], self._record.dual[last]) <= self._settings.tolerance
        )

    def nearly_agreed(self) -> bool:
        """Whether prices are agreed on and powers all but that, see `nearly_agreed`."""
        dual = float(self._record.dual[self.rounds - 1])
        spoken = not self._silent.any()
        return spoken and nearly_agreed(self._sides, self._talk.power, dual, self._settings.tolerance)

    @property
    def p_mw(self) -> FloatArray:
        """Mean of both sides' powers; (n_pairs,)."""
        power = self._talk.power
        mean: FloatArray = 0.5 * (power[self._sides.seller_side] + power[self._sides.buyer_side])
        return mean

    @property
    def price_eur_per_mwh(self) -> FloatArray:
        """Mean of both sides' prices; (n_pairs,)."""
        price = self._talk.price
        mean: FloatArray = 0.5 * (price[self._sides.seller_side] + price[self._sides.buyer_side])
        return mean

    @property
    def agent_price_eur_per_mwh(self) -> FloatArray:
        """Marginal value of power of every agent; (n_agents,)."""
        return self._talk.value

    def progress(self) -> str:
        """Rounds, residuals and how far powers are apart, for a message."""
        last, tolerance = self.rounds - 1, self._settings.tolerance
        primal, dual = self._record.primal[last], self._record.dual[last]
        return progress(self._sides, self._talk.power, (primal, dual), self.rounds, tolerance)

    def convergence(self) -> Convergence:
        """Record of all rounds."""
        rounds, record = self.rounds, self._record
        return Convergence(
            primal_residual=record.primal[:rounds].copy(),
            dual_residual=record.dual[:rounds].copy(),
            social_welfare_eur=-record.cost[:rounds] * self._period_h,
            messages_sent=self._sent[:rounds].copy(),
            messages_lost=self._lost[:rounds].copy(),
        )

    def state(self) -> NegotiationState:
        """Where the negotiation stands."""
        talk = self._talk
        return NegotiationState(self._sides, talk.power, talk.price, talk.value, talk.penalty)


def powers_missing(sides: Sides, p_mw: FloatArray) -> float:
    """Share of what the sides propose, (n_sides,) in MW, that their partners do not; 0 where nobody trades."""
    proposed = float(p_mw.sum())
    return float(np.abs(p_mw - p_mw[sides.mate]).sum()) / proposed if proposed > 0.0 else 0.0


def nearly_agreed(sides: Sides, p_mw: FloatArray, dual: float, tolerance: float) -> bool:
    """Whether what has been agreed is worth trading when time is up: prices agree, powers are little apart.

    Args:
        sides: who may trade with whom.
        p_mw: power that each side proposes. (n_sides,)
        dual: residual of prices.
        tolerance: what it is to be at most.
    """
    return dual <= tolerance and bool(p_mw.any()) and powers_missing(sides, p_mw) <= _NEARLY


def progress(sides: Sides, p_mw: FloatArray, residuals: tuple[float, float], rounds: int, tolerance: float) -> str:
    """Rounds, residuals and how far powers are apart, for a message."""
    primal, dual = residuals
    return (
        f"residuals primal {primal:.1e}, dual {dual:.1e} after {rounds} rounds; wanted {tolerance:.1e}; "
        f"powers are {powers_missing(sides, p_mw):.2%} apart"
    )


def _opening(book: QuadraticBook, sides: Sides, scale: MarketScale) -> Talk:
    from peerwatt.market.consensus import Talk

    n, most = sides.n_sides, int(np.diff(sides.start).max())
    return Talk(
        power=np.zeros(n),
        price=np.full(n, scale.opening),
        heard_power=np.zeros(n),
        heard_price=np.full(n, scale.opening),
        news=np.zeros(n, dtype=np.bool_),
        penalty=sides.to_sides(scale.penalty),
        value=book.cost_b.copy(),
        pull=np.empty(most),
        give=np.empty(most),
    )


def _resume(talk: Talk, sides: Sides, start: NegotiationState, alike: float) -> None:
    """Go on from the last powers, with prices between what each trade is worth to both sides now.

    The last penalty suits only if costs have moved by less than `alike`.
    """
    last = start.sides
    if not (np.array_equal(sides.seller, last.seller) and np.array_equal(sides.buyer, last.buyer)):
        raise BookError(
            Fault("start", "the last negotiation was among other pairs", "start without it when pairs change")
        )
    talk.power[:], talk.value[:] = start.p_mw, start.agent_price_eur_per_mwh
    worth = start.agent_price_eur_per_mwh[sides.agent()] + sides.sign * sides.cost  # of the trade, at the new costs
    talk.price[:] = 0.5 * (worth + worth[sides.mate])
    talk.heard_power[:], talk.heard_price[:], talk.news[:] = talk.power[sides.mate], talk.price[sides.mate], True
    if np.abs(sides.cost - last.cost).mean() <= alike:
        talk.penalty[:] = start.penalty
