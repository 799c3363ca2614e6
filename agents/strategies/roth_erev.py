"""Modified Roth-Erev reinforcement learning of mark-ups.

Nicolaisen, Petrov and Tesfatsion (2001), Market power and efficiency in a computational electricity market with
discriminatory double-auction pricing, IEEE Transactions on Evolutionary Computation 5(5). A trader has a propensity q
for each of M mark-ups and takes mark-up j with probability q_j / sum(q). With the reward R of the one it took,

    q_j <- (1 - r) q_j + (1 - e) R           for the mark-up that was taken,
    q_j <- (1 - r) q_j + e q_j / (M - 1)     for the others

with r the recency (forgetting) and e the experimentation. Their change to Roth and Erev (1995) is the last term, which
has q_j in place of R: so a reward of nothing changes the probabilities, too. r, e and the strength of the initial
propensities are those of Erev and Roth (1998), American Economic Review 88(4).

Here a mark-up is a share of what lies between the supplier's two prices. The reward is the share of the offered
power that was traded, times what its price was better than the supplier's, as a share of the same: no large period
counts more than a small one. Selling and buying are learnt apart. Who was not told learns nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from peerwatt.agents.messages import FloatArray, IntArray
from peerwatt.agents.strategies import Group, group_strategy
from peerwatt.agents.strategies.margins import limit_price, margin_told, traded_share

__all__ = ["MARKUPS", "Propensities", "roth_erev"]

RECENCY = 0.1
EXPERIMENTATION = 0.2
STRENGTH = 9.0
MARKUPS: FloatArray = np.linspace(0.0, 1.0, 11)
"""Mark-ups, as shares of what lies between the supplier's prices."""

_MEAN_REWARD = 0.5


@dataclass(slots=True)
class Propensities:
    """What peers have learnt.

    Attributes:
        value: propensity of each mark-up when selling and when buying. (n_peers, 2, n_markups)
        taken: the mark-up that each took last. (n_peers,)
    """

    value: FloatArray
    taken: IntArray

    @classmethod
    def initial(cls, n_peers: int) -> Propensities:
        """All mark-ups alike."""
        start = STRENGTH * _MEAN_REWARD / len(MARKUPS)
        return cls(np.full((n_peers, 2, len(MARKUPS)), start), np.zeros(n_peers, dtype=np.int64))

    def probability(self, side: IntArray) -> FloatArray:
        """Probability of each mark-up, (n_peers, n_markups).

        Args:
            side: 0 for who sells, 1 for who buys. (n_peers,)
        """
        own = self.value[np.arange(len(side)), side]
        share: FloatArray = own / own.sum(axis=1, keepdims=True)
        return share

    def learn(self, peer: IntArray, side: IntArray, reward: FloatArray) -> None:
        """Take in what the last mark-ups have earned.

        Args:
            peer: (n,) who has been told.
            side: (n,) 0 where it sold, 1 where it bought.
            reward: (n,) from 0 to 1.
        """
        before = self.value[peer, side]
        after = (1.0 - RECENCY + EXPERIMENTATION / (len(MARKUPS) - 1)) * before
        row, taken = np.arange(len(peer)), self.taken[peer]
        after[row, taken] = (1.0 - RECENCY) * before[row, taken] + (1.0 - EXPERIMENTATION) * reward
        self.value[peer, side] = after

    def take(self, side: IntArray, rng: np.random.Generator) -> FloatArray:
        """Draw a mark-up for every peer, (n_peers,)."""
        below = np.cumsum(self.probability(side), axis=1) < rng.random(len(side))[:, None]
        self.taken = np.minimum(below.sum(axis=1), len(MARKUPS) - 1)
        return MARKUPS[self.taken]


@group_strategy("roth_erev")
def roth_erev(group: Group, /) -> FloatArray:
    """Learn from the last bid, then draw a mark-up."""
    learnt = group.memory.setdefault("propensities", Propensities.initial(len(group.name)))
    share = traded_share(group)
    peer = np.flatnonzero(np.isfinite(share))
    gain = np.where(share > 0.0, margin_told(group), 0.0)[peer]
    learnt.learn(peer, np.where(group.last_offered_mw[peer] > 0.0, 0, 1), np.clip(share[peer] * gain, 0.0, 1.0))
    return limit_price(group, learnt.take(np.where(group.producer, 0, 1), group.rng))
