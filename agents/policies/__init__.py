"""Policies of the DSO: what it tells a market before peers trade, so that trades respect the grid.

A policy answers, for every ordered pair of peers (i sells to j), whether the trade is blocked and what it costs
or earns besides its price. It sees the grid through a `GridView` and knows no price of any trade:

    @policy("no_long_ways")
    class NoLongWays:
        kind = SignalKind.BLOCKING

        def __init__(self, *, furthest: float = 0.5) -> None: ...

        def signals(self, view: GridView, round_: int) -> Signals: ...

The keyword parameters of the constructor are the options of a scenario. The shipped policies are the schemes
of D5.3, section 3.2.4, and the iterations of Marques et al., section IV, which have a `course` in place of `signals`
(`peerwatt.agents.policies.iterative`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, TypeAlias

from peerwatt.agents.policies.iterative import Checked, Course, IterativePolicy, Measures
from peerwatt.agents.policies.signals import SignalKind, Signals
from peerwatt.agents.policies.view import GridView
from peerwatt.registry import Registry

__all__ = [
    "POLICIES",
    "Checked",
    "Course",
    "GridView",
    "IterativePolicy",
    "Measures",
    "Policy",
    "SignalKind",
    "Signals",
    "policy",
]


class Policy(Protocol):
    """Makes signals from the state of the grid."""

    @property
    def kind(self) -> SignalKind:
        """What kind of signals it makes."""

    def signals(self, view: GridView, round_: int) -> Signals:
        """What the DSO tells the market.

        Args:
            view: the grid before trading, or in later rounds with what has been proposed.
            round_: how often the market has been sent back to negotiate in this period, from 0.
        """


PolicyFactory: TypeAlias = Callable[..., Policy | IterativePolicy]

POLICIES: Registry[PolicyFactory] = Registry(
    "policy",
    {
        "blocking": "peerwatt.agents.policies.blocking:Blocking",
        "constraint_based": "peerwatt.agents.policies.constraint_based:ConstraintBased",
        "cost_allocation": "peerwatt.agents.policies.cost_allocation:CostAllocation",
        "incentive_matrix": "peerwatt.agents.policies.incentive_matrix:IncentiveMatrix",
        "product_differentiation": "peerwatt.agents.policies.product_differentiation:ProductDifferentiation",
        "usage_price": "peerwatt.agents.policies.usage_price:UsagePrice",
    },
)
"""All policies by name: the schemes of a scenario."""

policy: Callable[[str], Callable[[Any], Any]] = POLICIES.register
"""Decorator that registers a policy's class or factory under a name."""
