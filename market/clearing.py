"""What a cleared market says: status, schedule, trades, prices and welfare.

The welfare of an agent is what its power is worth to it plus what it is paid, less what it pays; the
payments cancel, so that the agents' welfare and the market's own surplus add up to the social welfare:

    sum(welfare_eur) + surplus_eur = social_welfare_eur
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np

from peerwatt.market.book import FloatArray, IntArray, sum_by_agent

__all__ = ["Clearing", "Convergence", "Status", "Trades", "empty_clearing", "failed_clearing"]


class Status(StrEnum):
    """How a clearing ended.

    Attributes:
        OPTIMAL: solved; possibly nothing is traded because nothing is worth trading.
        EMPTY: nobody sells, nobody buys or nobody may trade with anybody; everything is zero.
        INFEASIBLE: the bounds cannot be met; the message says whose and by how much.
        NOT_CONVERGED: the solver stopped early; the message has its residuals.
    """

    OPTIMAL = "optimal"
    EMPTY = "empty"
    INFEASIBLE = "infeasible"
    NOT_CONVERGED = "not_converged"

    @property
    def solved(self) -> bool:
        """Whether the market has come to what it is for, if only to no trade."""
        return self in (Status.OPTIMAL, Status.EMPTY)

    @property
    def words(self) -> str:
        """The status as people read it."""
        return self.value.replace("_", " ")


def _no_rows() -> FloatArray:
    return np.empty(0)


@dataclass(frozen=True, slots=True)
class Trades:
    """Trades between pairs of agents, each pair once, ordered by seller, then buyer.

    Attributes:
        seller: agent that feeds in. (n_trades,)
        buyer: agent that consumes. (n_trades,)
        p_mw: traded power, positive. (n_trades,)
        price_eur_per_mwh: what the buyer pays the seller. (n_trades,)
    """

    seller: IntArray
    buyer: IntArray
    p_mw: FloatArray
    price_eur_per_mwh: FloatArray

    @classmethod
    def none(cls) -> Trades:
        """No trades."""
        return cls(np.empty(0, dtype=np.intp), np.empty(0, dtype=np.intp), np.empty(0), np.empty(0))

    def __len__(self) -> int:
        return self.seller.size

    @property
    def volume_mw(self) -> float:
        """Traded power."""
        return float(self.p_mw.sum())

    @property
    def mean_price_eur_per_mwh(self) -> float:
        """Mean price, weighted by volume; NaN without trades."""
        volume = self.p_mw.sum()
        return float(self.p_mw @ self.price_eur_per_mwh / volume) if volume > 0.0 else np.nan

    def between(self, owner: IntArray, n_owners: int) -> Trades:
        """The same trades between the owners of the agents: one per pair, at the mean price.

        Args:
            owner: owner of each agent. (n_agents,)
            n_owners: number of owners.
        """
        pair, row = np.unique(owner[self.seller] * n_owners + owner[self.buyer], return_inverse=True)
        p_mw = sum_by_agent(row, self.p_mw, pair.size)
        value = sum_by_agent(row, self.p_mw * self.price_eur_per_mwh, pair.size)
        return Trades(pair // n_owners, pair % n_owners, p_mw, value / p_mw)

    def net_mw(self, n_agents: int) -> FloatArray:
        """Sales less purchases of every agent, eq. (1b); (n_agents,)."""
        sold = sum_by_agent(self.seller, self.p_mw, n_agents)
        return sold - sum_by_agent(self.buyer, self.p_mw, n_agents)


@dataclass(frozen=True, slots=True)
class Convergence:
    """What every round of a negotiation left behind; each (n_rounds,), empty where who wrote it down does not know.

    Attributes:
        primal_residual: difference between both sides' powers, relative to what is traded.
        dual_residual: difference between both sides' prices, relative to the spread of marginal costs.
        social_welfare_eur: of all proposals, reciprocal or not.
        messages_sent: proposals sent, one per agent and partner.
        messages_lost: those of them that never arrived.
    """

    primal_residual: FloatArray
    dual_residual: FloatArray
    social_welfare_eur: FloatArray
    messages_sent: IntArray
    messages_lost: IntArray


@dataclass(frozen=True, slots=True)
class Clearing:
    """Result of clearing one book. Numbers are NaN where there is no result.

    Attributes:
        status: how the clearing ended.
        p_mw: net scheduled power of every agent. (n_agents,)
        trades: who trades with whom.
        social_welfare_eur: value of the consumption less cost of the production and of trading.
        welfare_eur: the agents' shares. (n_agents,)
        surplus_eur: the market's share; booked to a named account by who runs the market.
        price_eur_per_mwh: uniform price; NaN where prices differ or nothing is traded.
        accepted_mw: accepted part of every step, signed like the step; empty for other books. (n_steps,)
        spread_eur_per_mwh: what the buyer of each trade pays to the market on top of the trade's price, in all
            the surplus; empty where the market keeps nothing. (n_trades,)
        agent_price_eur_per_mwh: marginal value of power of every agent, the dual of its balance (1b); empty
            for auctions. (n_agents,)
        iterations: iterations of the solver, 0 if it needs none.
        message: why there is no result, or how far off a negotiated one is; else empty.
        shortfall_mw: missing power where the bounds cannot be met.
        convergence: record of a negotiation; None of other mechanisms.
    """

    status: Status
    p_mw: FloatArray
    trades: Trades
    social_welfare_eur: float
    welfare_eur: FloatArray
    surplus_eur: float = 0.0
    price_eur_per_mwh: float = np.nan
    accepted_mw: FloatArray = field(default_factory=_no_rows)
    spread_eur_per_mwh: FloatArray = field(default_factory=_no_rows)
    agent_price_eur_per_mwh: FloatArray = field(default_factory=_no_rows)
    iterations: int = 0
    message: str = ""
    shortfall_mw: float = 0.0
    convergence: Convergence | None = None


def empty_clearing(n_agents: int, *, n_steps: int = 0, message: str = "") -> Clearing:
    """The clearing of a market in which nobody can trade."""
    return Clearing(
        status=Status.EMPTY,
        p_mw=np.zeros(n_agents),
        trades=Trades.none(),
        social_welfare_eur=0.0,
        welfare_eur=np.zeros(n_agents),
        accepted_mw=np.zeros(n_steps),
        message=message,
    )


def failed_clearing(status: Status, n_agents: int, *, iterations: int = 0, message: str) -> Clearing:
    """A clearing without a result: every number is NaN and nothing is traded."""
    return Clearing(
        status=status,
        p_mw=np.full(n_agents, np.nan),
        trades=Trades.none(),
        social_welfare_eur=np.nan,
        welfare_eur=np.full(n_agents, np.nan),
        iterations=iterations,
        message=message,
    )
