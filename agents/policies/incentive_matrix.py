"""The incentive matrix (D5.3, section 5.4.2.4): trades that relieve lines at risk are made more attractive.

Element (i, j) of the N x N matrix says how willing i is to sell to j. All elements are equal at the start. For
every line at risk, the elements of trades that lower its flow are multiplied up, those of trades that raise it
down; as the trade from j to i does to a line the opposite of that from i to j, a disincentive for i to buy
from j is the factor on element (j, i). A trade that moves several lines has as many factors.

The report calls W = 0.2 "multiplicative factor" and does not say how it multiplies. Both readings are here:

    one_plus_minus   times 1 + W where it helps, times 1 - W where it harms
    times            divided by W where it helps, times W where it harms

The default is `one_plus_minus`: with it one line at risk changes the willingness by a fifth, where `times` would
change it fivefold, and by 17 lines at risk (the report's case) by 5^17. What the report calls a fine-tuned
incentive cannot be meant by that.

What an element stands above (below) its start is paid by (to) the DSO to (by) each party, per MWh traded.
"""

from __future__ import annotations

from enum import StrEnum

import numpy as np

from peerwatt.agents.messages import FloatArray
from peerwatt.agents.policies.risk import along_flow, at_risk, effects
from peerwatt.agents.policies.signals import SignalKind, Signals
from peerwatt.agents.policies.view import GridView

__all__ = ["IncentiveMatrix", "Reading", "preference_factors"]


class Reading(StrEnum):
    """What "multiplicative factor W" means.

    Attributes:
        ONE_PLUS_MINUS: times 1 + W and 1 - W.
        TIMES: divided by W and times W.
    """

    ONE_PLUS_MINUS = "one_plus_minus"
    TIMES = "times"


class IncentiveMatrix:
    """Pays for trades that help lines at risk, and charges those that harm them.

    In a later round the factors of the lines that the proposed trades would overload are applied on top.

    Args:
        threshold_percent: occupancy from which a line or transformer is at risk.
        w: the factor W, between 0 and 1.
        reading: `one_plus_minus` or `times`.
        base_eur_per_mwh: elements at the start, EUR/MWh: what an incentive is a share of.
        cap_eur_per_mwh: most that the DSO pays per MWh to one party.
    """

    kind = SignalKind.INCENTIVE

    def __init__(
        self,
        *,
        threshold_percent: float = 80.0,
        w: float = 0.2,
        reading: str = "one_plus_minus",
        base_eur_per_mwh: float = 20.0,
        cap_eur_per_mwh: float = 200.0,
    ) -> None:
        if not 0.0 <= threshold_percent <= 200.0:
            raise ValueError(f"threshold_percent is {threshold_percent}; 0 to 200")
        if not 0.0 < w < 1.0:
            raise ValueError(f"w is {w}; between 0 and 1")
        if reading not in tuple(Reading):
            raise ValueError(f"reading is {reading!r}; {', '.join(Reading)}")
        if not (base_eur_per_mwh >= 0.0 and cap_eur_per_mwh >= 0.0):
            raise ValueError("base_eur_per_mwh and cap_eur_per_mwh are 0 or more")
        self.threshold = threshold_percent / 100.0
        self.w, self.reading = w, Reading(reading)
        self.base, self.cap = base_eur_per_mwh, cap_eur_per_mwh
        self._factors: FloatArray = np.ones((0, 0))

    def signals(self, view: GridView, round_: int) -> Signals:
        """Incentives by the state before trading; later rounds multiply on."""
        risky = at_risk(view.occupancy, self.threshold if round_ == 0 else max(self.threshold, 1.0))
        along = along_flow(view.flow_mw[risky], view.flow_by_mw(risky))
        factors = preference_factors(along, self.w, self.reading)
        self._factors = factors if round_ == 0 else self._factors * factors
        cost = np.maximum(self.base * (1.0 - self._factors), -self.cap)
        np.fill_diagonal(cost, 0.0)
        return Signals.prices(SignalKind.INCENTIVE, cost, cost, risky)


def preference_factors(along: FloatArray, w: float, reading: Reading) -> FloatArray:
    """Product of the factors of all lines at risk on each element of the matrix.

    Args:
        along: (n_at_risk, n_peers) sensitivities in the direction of the flow, from `along_flow`.
        w: the factor W.
        reading: how it multiplies.

    Returns:
        (n_peers, n_peers), above 1 where i selling to j helps more than it harms.
    """
    up, down = (1.0 + w, 1.0 - w) if reading is Reading.ONE_PLUS_MINUS else (1.0 / w, w)
    n = along.shape[1]
    log = np.zeros((n, n))
    for harms, helps in effects(along):
        log[helps] += np.log(up)
        log[harms] += np.log(down)
    factors: FloatArray = np.exp(log)
    return factors
