"""The mediator: runs an auction for its peers (conceptual model 1 of EUniversal D5.3, figure 7)."""

from __future__ import annotations

import numpy as np

from peerwatt.agents.context import Bids
from peerwatt.agents.flexibility import N_STEPS
from peerwatt.agents.market import Market
from peerwatt.agents.messages import Bid, FloatArray, IntArray
from peerwatt.market.book import StepBook
from peerwatt.market.clearing import Clearing, Status, Trades

__all__ = ["Mediator"]


class Mediator(Market):
    """Collects price-quantity steps and clears them with the scenario's auction.

    The first step of a bid is the peer's firm power: it flows whether it is traded or not. The others are
    flexibility: they flow only if they are accepted.
    """

    answer = Bid

    def clear(self, peer: IntArray, fields: tuple[FloatArray, ...]) -> tuple[Bids, Clearing, Trades, FloatArray]:
        """Clear the steps of all peers."""
        context, n = self.context, len(self.context.population)
        power, price = fields or (np.empty((0, N_STEPS)), np.empty((0, N_STEPS)))
        agent = np.repeat(peer, N_STEPS)
        step = np.tile(np.arange(N_STEPS), len(peer))
        offered = np.flatnonzero(power.ravel())
        p_mw, limit, agent, step = (
            power.ravel()[offered],
            price.ravel()[offered],
            agent[offered],
            step[offered],
        )
        with context.spend("market"):
            clearing = context.mechanism.clear(
                StepBook(agent, p_mw, limit, n, context.period_h), context.random("tie-breaking")
            )
        zero = np.zeros(len(p_mw))
        bids = Bids(agent, step, np.minimum(p_mw, zero), np.maximum(p_mw, zero), zero, limit)
        change = np.zeros(n)
        if clearing.status is Status.OPTIMAL:
            flexible = step > 0
            np.add.at(change, agent[flexible], clearing.accepted_mw[flexible])
        return bids, clearing, clearing.trades, change
