"""Zero-intelligence plus (ZIP) traders, who adapt a margin to what they see of the market.

Cliff (1997), Minimal-intelligence agents for bargaining behaviors in market-based environments, HP Laboratories
HPL-97-91. A trader has a margin on its limit price. It moves the margin towards a target by Widrow and Hoff's delta
rule with momentum,

    change <- momentum * change + (1 - momentum) * rate * (target - margin),      margin <- margin + change,

where the target is a little beyond what it saw: above it after a trade it could have made on better terms, below it
after it was outbid. Rate, momentum and first margin are drawn for each trader within Cliff's bounds, and so are the two
perturbations of the target, one relative and one absolute.

Cliff's traders see every shout of a continuous auction. A peer in a call auction learns what it traded itself, and at
which mean price, so here:

- all it offered was traded: the price that it got or paid is the accepted shout. It was at least as good as its own,
  and the target is beyond it;
- something was left: its own price is the shout that nobody accepted, and the target is below it;
- it was not told, or has not been called: nothing changes.

Margins are shares of what lies between the supplier's two prices (`peerwatt.agents.strategies.margins`), not of the
limit price, which may be zero. A peer that sells in one period and buys in the next has a margin for each.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from peerwatt.agents.messages import FloatArray
from peerwatt.agents.strategies import Group, group_strategy
from peerwatt.agents.strategies.margins import limit_price, margin_told, traded_share

__all__ = ["zero_intelligence_plus"]

RATE = (0.1, 0.5)
MOMENTUM = (0.2, 0.8)
FIRST_MARGIN = (0.05, 0.35)
LARGEST_PERTURBATION = 0.05


@dataclass(slots=True)
class _Traders:
    """What peers have learnt; the last axis is 0 for selling, 1 for buying.

    Attributes:
        margin, change: (n_peers, 2).
        rate, momentum: (n_peers,).
    """

    margin: FloatArray
    change: FloatArray
    rate: FloatArray
    momentum: FloatArray

    @classmethod
    def draw(cls, n_peers: int, rng: np.random.Generator) -> _Traders:
        """Draw them."""
        margin = rng.uniform(*FIRST_MARGIN, (n_peers, 2))
        return cls(margin, np.zeros((n_peers, 2)), rng.uniform(*RATE, n_peers), rng.uniform(*MOMENTUM, n_peers))

    def learn(self, group: Group) -> None:
        """Adapt the margins of those who know what became of their last bid."""
        relative, absolute = group.rng.uniform(0.0, LARGEST_PERTURBATION, (2, len(group.name)))
        share = traded_share(group)
        peer = np.flatnonzero(np.isfinite(share))
        side = np.where(group.last_offered_mw[peer] > 0.0, 0, 1)
        own, seen = self.margin[peer, side], margin_told(group)[peer]
        relative, absolute = relative[peer], absolute[peer]
        raised, lowered = seen * (1.0 + relative) + absolute, own * (1.0 - relative) - absolute
        target = np.where(share[peer] == 1.0, raised, lowered)
        inertia = self.momentum[peer]
        change = inertia * self.change[peer, side] + (1.0 - inertia) * self.rate[peer] * (target - own)
        self.change[peer, side] = change
        self.margin[peer, side] = np.clip(own + change, 0.0, 1.0)


@group_strategy("zero_intelligence_plus")
def zero_intelligence_plus(group: Group, /) -> FloatArray:
    """Learn from the last bid, then ask for the margin."""
    if "traders" not in group.memory:
        group.memory["traders"] = _Traders.draw(len(group.name), group.rng)
    traders: _Traders = group.memory["traders"]
    traders.learn(group)
    return limit_price(group, np.where(group.producer, traders.margin[:, 0], traders.margin[:, 1]))
