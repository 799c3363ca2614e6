"""Product differentiation, then reactive power, then extra flexibility (Marques et al., section IV, figures 2, 3, 5).

Trades that cause a violation are penalised by c gamma (`peerwatt.agents.policies.harm`) and peers trade again. Where
voltages alone are violated the DSO also reduces the reactive power of the loads (low voltage) or of the generators
(high voltage), from the one with most impact to the least. What is left is met by flexibility: that of the loads is
raised step by step and enforced, at alpha per MWh (eq. (9)), or generation that must run is released step by step
(eq. (10)), and the penalties begin again.

The paper tunes c by hand, "just enough to solve the congestions". With search `least` the least flexibility that solves
the violation is found, and for it the least penalty; with search `growth` c grows by a factor in each of k iterations,
and after them flexibility by a step, as in the figures.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from enum import Enum

import numpy as np

from peerwatt.agents.messages import FloatArray, IntArray
from peerwatt.agents.policies.harm import Harm
from peerwatt.agents.policies.iterative import Checked, Course, Measures
from peerwatt.agents.policies.signals import SignalKind

__all__ = ["ProductDifferentiation"]

_EFFECTIVE = 1e-3  # share of the largest effect from which a load counts as effective
_SPREAD_ROUNDS = 3  # how often trades that do harm elsewhere are penalised too before flexibility is raised


class ProductDifferentiation:
    """Penalties on trades, reactive power, flexibility, until the limits hold.

    Args:
        search: `least` or `growth`.
        c_eur_per_mwh: first penalty of a trade with gamma 1, a pair at mean distance.
        growth: factor on it in each iteration (search `growth`).
        c_max_eur_per_mwh: largest penalty.
        iterations: k, iterations before flexibility is raised (search `growth`).
        tolerance: the least penalty is known to this share of itself (search `least`).
        flexibility_of: `loads`, `generation`, or `none`.
        flexibility_step: step, as a share of the forecast.
        flexibility_max: most extra flexibility, as a share of the forecast.
        reach: `all` moves the load of every peer by the same share, as in the paper; `effective` only of those that
            relieve what is violated.
        alpha_eur_per_mwh: what the DSO pays for load that it moves.
        reactive: whether reactive power is reduced where voltages alone are violated.
        reactive_share: what is left of it.
        distance: `euclidean`, `electrical`, or `auto`: on the map where the grid has one.
    """

    kind = SignalKind.WEIGHT

    def __init__(
        self,
        *,
        search: str = "least",
        c_eur_per_mwh: float = 5.0,
        growth: float = 2.0,
        c_max_eur_per_mwh: float = 2000.0,
        iterations: int = 5,
        tolerance: float = 0.1,
        flexibility_of: str = "loads",
        flexibility_step: float = 0.05,
        flexibility_max: float = 0.7,
        reach: str = "all",
        alpha_eur_per_mwh: float = 70.0,
        reactive: bool = False,
        reactive_share: float = 0.0,
        distance: str = "auto",
    ) -> None:
        _choice("search", search, ("least", "growth"))
        _choice("flexibility_of", flexibility_of, ("loads", "generation", "none"))
        _choice("reach", reach, ("all", "effective"))
        _choice("distance", distance, ("auto", "euclidean", "electrical"))
        _within("c_eur_per_mwh", c_eur_per_mwh, 1e-3, c_max_eur_per_mwh)
        _within("c_max_eur_per_mwh", c_max_eur_per_mwh, 1e-3, 1e6)
        _within("growth", growth, 1.01, 100.0)
        _within("iterations", iterations, 1, 100)
        _within("tolerance", tolerance, 1e-3, 10.0)
        _within("flexibility_step", flexibility_step, 1e-3, 1.0)
        _within("flexibility_max", flexibility_max, flexibility_step, 1.0)
        _within("alpha_eur_per_mwh", alpha_eur_per_mwh, 0.0, 1e5)
        _within("reactive_share", reactive_share, -1.0, 1.0)
        self.search, self.tolerance, self.iterations = search, tolerance, iterations
        self.first, self.growth, self.most = c_eur_per_mwh, growth, c_max_eur_per_mwh
        self.of, self.reach = flexibility_of, reach
        self.step, self.flexibility_max = flexibility_step, flexibility_max
        self.alpha_eur_per_mwh = alpha_eur_per_mwh
        self.reactive, self.reactive_share = reactive, reactive_share
        self.euclidean = None if distance == "auto" else distance == "euclidean"

    @property
    def n_levels(self) -> int:
        """Number of steps of flexibility."""
        return 0 if self.of == "none" else int(np.ceil(self.flexibility_max / self.step - 1e-9))

    def course(self, n_peers: int) -> Course:
        """Trade as usual; where limits are violated, search for what solves it."""
        checked = yield Measures()
        if checked.ok or not checked.view.state.converged:
            return checked.ok
        plan = _Plan(self, Harm(n_peers, euclidean=self.euclidean), n_peers)
        plan.note(checked)
        solved = yield from plan.least(checked) if self.search == "least" else plan.growth(checked)
        return solved


class _Mode(Enum):
    """Which trades are penalised.

    Attributes:
        NONE: none.
        VIRTUAL: those with a virtual load, which have no other side in the grid.
        ALL: these most, and those between peers.
    """

    NONE = "none"
    VIRTUAL = "virtual"
    ALL = "all"


class _Plan:
    """One period's search.

    Args:
        policy: its options.
        harm: what is known of trades.
        n_peers: number of peers.
    """

    def __init__(self, policy: ProductDifferentiation, harm: Harm, n_peers: int) -> None:
        self._policy = policy
        self._harm = harm
        self._direction = np.zeros(n_peers)  # of the loads' move: 1 to consume less
        self._reactive: FloatArray | None = None
        self._tried = (0.0, 0)  # penalty and level last tried
        self._last_reactive: FloatArray | None = None  # with them

    def note(self, checked: Checked) -> bool:
        """Learn which trades do harm; whether more than before."""
        return self._harm.note(checked)

    def aim(self, checked: Checked) -> None:
        """Find which way loads would help with what penalties have left; a load does not turn round in a period."""
        relief = np.where(checked.consumes, self._harm.relief, 0.0)  # of 1 MW fed in, negative helps
        if self._policy.reach == "effective":
            found = -np.sign(np.where(np.abs(relief) > _EFFECTIVE * np.abs(relief).max(), relief, 0.0))
        else:  # more consumption helps where most loads stand behind what is violated
            more = 2 * np.count_nonzero(relief > 0.0) > np.count_nonzero(checked.consumes)
            found = np.where(checked.consumes, -1.0 if more else 1.0, 0.0)
        self._direction = np.where(self._direction == 0.0, found, self._direction)

    def measures(self, c_eur_per_mwh: float, level: int, checked: Checked, mode: _Mode = _Mode.ALL) -> Measures:
        """Penalties and flexibility of a level.

        Args:
            c_eur_per_mwh: the penalty.
            level: steps of flexibility.
            checked: the last check.
            mode: which trades it is for.
        """
        policy = self._policy
        share = min(level * policy.step, policy.flexibility_max)
        loads = generation = None
        if share and policy.of == "loads":
            loads = share * self._direction
        elif share:
            generation = np.where(checked.generates, share, 0.0)
        pairs, virtual = (0.0, c_eur_per_mwh) if mode is _Mode.VIRTUAL else (c_eur_per_mwh, policy.most)
        signals = self._harm.signals(pairs, virtual if c_eur_per_mwh else 0.0, checked.virtual)
        self._tried = (c_eur_per_mwh if signals else 0.0, level)
        return Measures(self._tried[0], signals, loads, generation, self._reactive)

    # --- the least that is needed ---

    def least(self, checked: Checked) -> Course:
        """Reactive power if it is enough, else penalties if they are, else the least flexibility and its penalty."""
        policy = self._policy
        if self._adjust_reactive(checked):
            checked = yield self.measures(0.0, 0, checked)
            if checked.ok:
                return True
            self.note(checked)
        level, (mode, checked) = 0, (yield from self._penalised(checked, 0))
        if mode is None:
            if not policy.n_levels:
                return False
            self.aim(checked)
            mode, checked = yield from self._penalised(checked, policy.n_levels)
            if mode is None:
                return False
            level, mode, checked = yield from self._least_level(mode, checked)
        solved = yield from self._least_penalty(level, mode, checked)
        return solved

    def _penalised(self, checked: Checked, level: int) -> Generator[Measures, Checked, tuple[_Mode | None, Checked]]:
        """A level with the largest penalties, also on trades that come to do harm.

        Returns:
            Which are enough, None where none are; and the last check.
        """
        for mode in self._modes(level, checked):
            more = bool(level or self._harm.gamma.any())
            for _ in range(1 if mode is _Mode.NONE else _SPREAD_ROUNDS):
                if not more:
                    break
                before = self._tried
                planned = self.measures(0.0 if mode is _Mode.NONE else self._policy.most, level, checked, mode)
                if planned.signals is None and self._tried == before and planned.reactive is self._last_reactive:
                    break  # just tried
                self._last_reactive = planned.reactive
                checked = yield planned
                if checked.ok:
                    return mode, checked
                more = self.note(checked)
                more = self._adjust_reactive(checked) or more
        return None, checked

    @staticmethod
    def _modes(level: int, checked: Checked) -> Iterator[_Mode]:
        if level:
            yield _Mode.NONE
        if checked.virtual.any():
            yield _Mode.VIRTUAL
        yield _Mode.ALL

    def _least_level(self, mode: _Mode, checked: Checked) -> Generator[Measures, Checked, tuple[int, _Mode, Checked]]:
        """The least flexibility with which the largest penalties solve it; the highest level does."""
        low, high = 0, self._policy.n_levels
        while high - low > 1:
            middle = (low + high) // 2
            found, checked = yield from self._penalised(checked, middle)
            low, high, mode = (middle, high, mode) if found is None else (low, middle, found)
        return high, mode, checked

    def _least_penalty(self, level: int, mode: _Mode, checked: Checked) -> Course:
        """The least penalty that solves it at a level; the largest does."""
        policy = self._policy
        best, last = policy.most, -1.0
        if mode is _Mode.NONE:
            best = 0.0
        elif self._reactive is not None:
            last, checked = 0.0, (yield self.measures(0.0, level, checked))
            best = 0.0 if checked.ok else best
        low = policy.first / policy.growth
        while best / low > 1.0 + policy.tolerance:
            last = float(np.sqrt(low * best))
            checked = yield self.measures(last, level, checked, mode)
            low, best = (low, last) if checked.ok else (last, best)
        if last != best and not (checked.ok and self._tried == (best, level)):
            checked = yield self.measures(best, level, checked, mode)
        return checked.ok

    # --- as in the figures ---

    def growth(self, checked: Checked) -> Course:
        """Penalties grow over the iterations, then flexibility is raised by a step."""
        policy = self._policy
        for level in range(policy.n_levels + 1):
            if level:
                self.aim(checked)
                checked = yield self.measures(0.0, level, checked)
                if checked.ok:
                    return True
                self.note(checked)
            for c in self._penalties():
                if not self._harm.gamma.any():
                    break
                self._adjust_reactive(checked)
                checked = yield self.measures(c, level, checked)
                if checked.ok:
                    return True
                self.note(checked)
            if self._adjust_reactive(checked):
                checked = yield self.measures(0.0, level, checked)
                if checked.ok:
                    return True
        return False

    def _penalties(self) -> Iterator[float]:
        policy = self._policy
        for k in range(policy.iterations):
            yield min(policy.first * policy.growth**k, policy.most)

    # --- reactive power ---

    def _adjust_reactive(self, checked: Checked) -> bool:
        """Reduce reactive power where voltages alone are violated, of no more peers than needed; whether it changed."""
        worst = checked.worst_bus
        if not self._policy.reactive or checked.congested().size or worst < 0:
            return False
        low_voltage = checked.beyond()[worst] < 0.0
        able = checked.consumes & ~checked.generates if low_voltage else checked.generates
        impact = np.where(able & checked.reacts, np.abs(checked.view.vm_by_mw(np.array([worst]))[0]), 0.0)
        order = np.argsort(-impact, kind="stable")[: np.count_nonzero(impact)]
        if not order.size:
            return False
        before = self._reactive
        low, high = 0, len(order)  # the first `high` are enough, or all that there are
        while high - low > 1:
            middle = (low + high) // 2
            if _voltages_hold(checked, self._shares(order[:middle], len(able))):
                high = middle
            else:
                low = middle
        self._reactive = self._shares(order[:high], len(able))
        return before is None or bool((before != self._reactive).any())

    def _shares(self, peers: IntArray, n_peers: int) -> FloatArray:
        shares = np.ones(n_peers) if self._reactive is None else self._reactive.copy()
        shares[peers] = self._policy.reactive_share
        return shares


def _voltages_hold(checked: Checked, reactive: FloatArray) -> bool:
    state = checked.trial(reactive)
    return state.converged and not state.violations(checked.view.network).n_voltage


def _choice(name: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise ValueError(f"{name} is '{value}'; {', '.join(known)}")


def _within(name: str, value: float, low: float, high: float) -> None:
    if not low <= value <= high:
        raise ValueError(f"{name} is {value:g}; {low:g} to {high:g}")
