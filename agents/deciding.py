"""Asks a strategy, once per round, what its peers decide, and refuses what is no answer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from peerwatt.agents.context import Context
from peerwatt.agents.experience import Experience
from peerwatt.agents.messages import FloatArray, IntArray
from peerwatt.agents.register import register_of
from peerwatt.agents.strategies import STRATEGIES, Group, Partners, Prefers, Resells
from peerwatt.errors import AgentError, PeerwattError
from peerwatt.market.mechanism import BookKind

__all__ = ["Decider", "Decision"]


@dataclass(frozen=True, slots=True)
class Decision:
    """What a strategy has decided for its peers in a round.

    Attributes:
        limit: limit price of each, EUR/MWh. (n_rows,)
        resale_mw: what each trades against its own direction; None where it does not. (n_rows,)
        preference: cost of selling to and of buying from each partner; None without. (n_rows, n_peers) each
    """

    limit: FloatArray
    resale_mw: FloatArray | None
    preference: tuple[FloatArray, FloatArray] | None


class Decider:
    """The strategy of some peers, and what they know and remember.

    Args:
        context: what they can reach.
        strategy: registered name of the strategy.
        rows: rows of these peers in the population.

    Attributes:
        experience: what became of their last bids.
    """

    def __init__(self, context: Context, strategy: str, rows: IntArray) -> None:
        self.context = context
        self.strategy = strategy
        self.rows = rows
        self.experience = Experience.none(len(rows))
        self._decide = STRATEGIES.get(strategy)
        self._names = tuple(context.population.name[row] for row in rows)
        self._memory: dict[str, Any] = {}
        self._register: Partners | None = None
        self._decision: Decision | None = None
        self._decided = (-1, -1)

    def decision(self, number: int) -> Decision:
        """What the strategy decides in a round; it is asked once.

        Args:
            number: the round, counted in the period.

        Raises:
            AgentError: the strategy raised, or gave something that is no answer.
        """
        context = self.context
        if self._decision is None or self._decided != (context.now.period, number):
            group = self._knowledge(number)
            limit = self._asked(self._decide, group, "price", "a limit price is a finite number, EUR/MWh")
            resale = preference = None
            if context.mechanism.book is BookKind.QUADRATIC:
                if isinstance(self._decide, Resells):
                    asked = self._asked(self._decide.resale_mw, group, "resale", "power is a finite number, MW")
                    resale = np.maximum(asked, 0.0)
                if isinstance(self._decide, Prefers):
                    preference = self._preferred(self._decide, group)
            self._decision = Decision(limit, resale, preference)
            self._decided = (context.now.period, number)
        return self._decision

    def _preferred(self, strategy: Prefers, group: Group) -> tuple[FloatArray, FloatArray]:
        """The strategy's preferences, (n_rows, n_peers) each.

        Raises:
            AgentError: they are of another shape, or not numbers.
        """
        context = self.context
        if self._register is None:
            self._register = register_of(context.population, context.network, self.rows)
        shape = (len(self.rows), len(context.population))
        try:
            sell, buy = (np.asarray(each, dtype=np.float64) for each in strategy.preference(group, self._register))
        except Exception as error:
            raise self._failed(error) from error
        if sell.shape != shape or buy.shape != shape or np.isnan(sell + buy).any():
            raise AgentError(
                f"strategy '{self.strategy}' stated preferences of shapes {sell.shape} and {buy.shape} in period "
                f"{group.period}; they must be two arrays of numbers, EUR/MWh, of shape {shape}"
            )
        return sell, buy

    def _asked(self, decide: Callable[[Group], FloatArray], group: Group, what: str, wanted: str) -> FloatArray:
        """What the strategy decides, (n_rows,).

        Args:
            decide: the question.
            group: what its peers know.
            what: name of the answer for the message of an error.
            wanted: what the answer should be.
        """
        period = self.context.now.period
        try:
            answer = np.asarray(decide(group), dtype=np.float64)
        except PeerwattError:
            raise
        except Exception as error:
            raise self._failed(error) from error
        if answer.shape != (len(self.rows),):
            raise AgentError(
                f"strategy '{self.strategy}' returned shape {answer.shape} in period {period}; "
                f"it must return one {what} per peer, shape ({len(self.rows)},)"
            )
        if not np.isfinite(answer).all():
            row = int(np.flatnonzero(~np.isfinite(answer))[0])
            raise AgentError(
                f"strategy '{self.strategy}' gave peer '{self._names[row]}' the {what} {answer[row]} in period "
                f"{period}; {wanted}"
            )
        return answer

    def _failed(self, error: Exception) -> AgentError:
        period = self.context.now.period
        return AgentError(f"strategy '{self.strategy}' failed in period {period}: {type(error).__name__}: {error}")

    def _knowledge(self, number: int) -> Group:
        """What the peers of the group know; what became of a bid they are told once."""
        context, population, rows = self.context, self.context.population, self.rows
        position, last, self.experience = (
            context.now.position.of_rows(rows),
            self.experience,
            Experience.none(len(rows)),
        )
        period, capacity = context.now.period, population.batteries.e_mwh[rows]
        soc = np.full(len(rows), np.nan)
        np.divide(population.batteries.soc_mwh[rows], capacity, out=soc, where=capacity > 0.0)
        sell_incentive, buy_incentive = population.terms.best_incentives(rows)
        return Group(
            name=self._names,
            period=period,
            hour=(period * context.period_h) % 24.0,  # a run starts at midnight
            round=number,
            n_rounds=len(context.timetable.rounds),
            p_mw=position.usual_mw,
            producer=position.producer,
            soc=soc,
            vm_pu=population.vm_pu[rows],
            path_loading_percent=population.path_loading_percent[rows],
            last_price_eur_per_mwh=population.last_price_eur_per_mwh[rows],
            last_limit_eur_per_mwh=last.limit_eur_per_mwh,
            last_offered_mw=last.offered_mw,
            last_traded_mw=last.traded_mw,
            supply_eur_per_mwh=context.tariff.supply_eur_per_mwh,
            feed_in_eur_per_mwh=context.tariff.feed_in_eur_per_mwh,
            sell_incentive_eur_per_mwh=sell_incentive,
            buy_incentive_eur_per_mwh=buy_incentive,
            imbalance_short_eur_per_mwh=context.tariff.shortfall_eur_per_mwh,
            imbalance_long_eur_per_mwh=context.tariff.excess_eur_per_mwh,
            network_fee_eur_per_mwh=context.tariff.network_fee_eur_per_mwh,
            memory=self._memory,
            rng=context.random(f"strategy {self.strategy}"),
        )
