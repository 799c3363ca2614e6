"""Which trades cause a violation, and how much: the characteristics gamma of product differentiation.

Marques et al., eq. (3), penalise a trade from n to m by c gamma_nm. Which trades cause a violation is decided by what
would happen without them. A seller that trading moves up would feed in less; one that has to run feeds in anyway. A
buyer that trading moves to consume more would consume less; who only covers its firm consumption would be served by
the supplier, and nothing would change. So with s the direction of the overload of line l and PTDF h_l,

    harm_nm = s h_ln [n is moved up] - s h_lm [m is moved down],

and likewise for the worst voltage with the resistance of the common path to the slack (section IV-A 2). A trade that
was found to do harm in a period stays so: lifting its penalty would bring the violation back.
"""

from __future__ import annotations

import numpy as np

from peerwatt.agents.messages import BoolArray, FloatArray
from peerwatt.agents.policies.iterative import Checked
from peerwatt.agents.policies.signals import SignalKind, Signals
from peerwatt.agents.policies.view import GridView
from peerwatt.grid.distance import euclidean_distance

__all__ = ["Harm", "pair_distance"]

_LEAST = 1e-6  # of 1 MW, or of the largest sensitivity of a voltage


def pair_distance(view: GridView, *, euclidean: bool | None) -> FloatArray:
    """Distance between all peers as a multiple of its mean over peers that are apart, (n_peers, n_peers).

    Args:
        view: the grid.
        euclidean: on the map, or electrical (Thevenin); None for the map where the grid has one.
    """
    if euclidean is not False:
        buses, place = np.unique(view.bus, return_inverse=True)
        found = euclidean_distance(view.network, buses, buses)[np.ix_(place, place)]
        if np.isfinite(found).all() and found.any():
            return _scaled(found)
    return _scaled(view.distance_pu)


def _scaled(distance: FloatArray) -> FloatArray:
    apart = distance > 0.0
    scaled: FloatArray = distance / distance[apart].mean() if apart.any() else np.ones_like(distance)
    return scaled


class Harm:
    """What is known in a period of trades that do harm.

    Args:
        n_peers: number of peers.
        euclidean: how the distance of a pair is measured, see `pair_distance`.
    """

    def __init__(self, n_peers: int, *, euclidean: bool | None) -> None:
        self._euclidean = euclidean
        self._congests = np.zeros((n_peers, n_peers), dtype=np.bool_)
        self._voltage = np.zeros((n_peers, n_peers))
        self._distance: FloatArray | None = None
        self._branches: set[int] = set()
        self.relief = np.zeros(n_peers)
        """Effect of 1 MW fed in by each peer on what is violated; negative relieves. (n_peers,)"""

    def note(self, checked: Checked) -> bool:
        """Learn from a check; whether more trades are known to do harm than before."""
        before = np.count_nonzero(self.gamma)
        self.relief = np.zeros_like(self.relief)
        if checked.view.state.converged:
            self._congestion(checked)
            self._worst_voltage(checked)
        return bool(np.count_nonzero(self.gamma) > before)

    @property
    def gamma(self) -> FloatArray:
        """Characteristic of every trade, seller by buyer, the sum of both criteria; (n_peers, n_peers)."""
        if self._distance is None:
            return self._voltage
        return np.where(self._congests, self._distance, 0.0) + self._voltage

    def signals(self, pairs_eur_per_mwh: float, virtual_eur_per_mwh: float, virtual: BoolArray) -> Signals | None:
        """Penalties c gamma, half for each party, which nobody pays; None where there are none.

        Args:
            pairs_eur_per_mwh: c of trades between peers.
            virtual_eur_per_mwh: c of trades with a virtual load.
            virtual: (n_peers,) the virtual load.
        """
        with_virtual = virtual[:, None] | virtual[None, :]
        cost = 0.5 * np.where(with_virtual, virtual_eur_per_mwh, pairs_eur_per_mwh) * self.gamma
        if not cost.any():
            return None
        return Signals.prices(SignalKind.WEIGHT, cost, cost, np.array(sorted(self._branches), dtype=np.int64))

    def _congestion(self, checked: Checked) -> None:
        view, congested = checked.view, checked.congested()
        if not congested.size:
            return
        self._branches |= set(congested.tolist())
        along: FloatArray = np.sign(view.flow_mw[congested])[:, None] * view.flow_by_mw(congested)
        self.relief += (view.occupancy[congested] - 1.0) @ along
        for each in along:
            self._congests |= _harm(each, checked) > _LEAST
        if self._distance is None:
            self._distance = pair_distance(view, euclidean=self._euclidean)

    def _worst_voltage(self, checked: Checked) -> None:
        worst = checked.worst_bus
        if not checked.voltage or worst < 0:
            return
        beyond = float(checked.beyond()[worst])
        by_mw = np.sign(beyond) * checked.view.vm_by_mw(np.array([worst]))[0]
        scale = float(np.abs(by_mw).max()) or 1.0
        self.relief += abs(beyond) * by_mw / scale
        harm = _harm(by_mw / scale, checked)
        self._voltage = np.maximum(self._voltage, np.where(harm > _LEAST, harm, 0.0))


def _harm(by_mw: FloatArray, checked: Checked) -> FloatArray:
    """Effect of every trade on what is violated, by what would not happen without it, (n_peers, n_peers)."""
    sells: FloatArray = np.where(checked.moved_up, by_mw, 0.0)
    buys: FloatArray = np.where(checked.moved_down, -by_mw, 0.0)
    return sells[:, None] + buys[None, :]
