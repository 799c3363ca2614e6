"""All scenarios of one seed, each from the same draws."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from peerwatt.experiments.studies.d53.draw import Draw, draw
from peerwatt.experiments.studies.d53.feeder import Feeder
from peerwatt.experiments.studies.d53.kpi import overflow
from peerwatt.experiments.studies.d53.model import LEVELS, Level, Model, Scenario
from peerwatt.experiments.studies.d53.trading import Before, Signals, Traded, blocking, incentives, trade
from peerwatt.experiments.studies.d53.variants import choose_peers, heavy_limits
from peerwatt.market.book import FloatArray, IntArray
from peerwatt.market.clearing import Status
from peerwatt.market.lfm import FlexibilityMarket
from peerwatt.sim.streams import Streams

__all__ = ["Outcome", "Seed", "run_seed"]

_HEAVY = (Scenario.HEAVY, Scenario.HEAVY_FREE)


@dataclass(frozen=True, slots=True)
class Outcome:
    """One scenario of one seed at one level.

    Attributes:
        seed: of the draws.
        level: of the factors.
        scenario: which one.
        n_congested: congested lines before the flexibility market.
        n_original: of them, those that are congested in scenario 0.
        overflow_sum_mw, overflow_weighted_mw: as in `peerwatt.experiments.studies.d53.kpi`.
        p2p_volume_mw: traded between peers; NaN where there is no P2P market.
        incentive_eur: what the DSO pays for incentives less what it collects.
        blocked_share: share of the pairs that are blocked; NaN where there is no P2P market.
        lfm_status: how the flexibility market ended.
        lfm_cost_eur: what it costs; NaN if it has no solution.
        lfm_missing_mw: overflow that it cannot relieve.
        loading: flow as a share of the limit of every line, before the flexibility market. (n_lines,)
    """

    seed: int
    level: Level
    scenario: Scenario
    n_congested: int
    n_original: int
    overflow_sum_mw: float
    overflow_weighted_mw: float
    p2p_volume_mw: float
    incentive_eur: float
    blocked_share: float
    lfm_status: Status
    lfm_cost_eur: float
    lfm_missing_mw: float
    loading: FloatArray


class Seed:
    """One seed: its draws, and a scenario when asked for.

    Args:
        feeder: the grid.
        model: the study's numbers.
        seed: root of all draws.
    """

    def __init__(self, feeder: Feeder, model: Model, seed: int) -> None:
        self.feeder, self.model, self.seed = feeder, model, seed
        self.drawn: Draw = draw(feeder, model, Streams(seed))
        bids = self.drawn.bids
        start = feeder.limits(self.drawn.flow_mw, self.drawn.limit_mw)
        self._market = FlexibilityMarket(bids.flexibility(feeder, bids.p_mw), start)
        self.heavy_limit_mw = heavy_limits(feeder, model, self.drawn, self._market)
        self._original = overflow(self.drawn.flow_mw, self.drawn.limit_mw).mw > 0.0
        by_peers = feeder.ptdf[:, bids.bus[self.drawn.peers]]
        self._before = Before(self.drawn.flow_mw, self.drawn.limit_mw, by_peers)

    def signals(self, scenario: Scenario, level: Level) -> Signals:
        """What the DSO tells the peers in a scenario."""
        drawn, model = self.drawn, self.model
        if scenario is Scenario.BLOCKED:
            return blocking(self._before, model.risk_occupancy)
        if scenario in (Scenario.INCENTIVES_80, Scenario.INCENTIVES_100):
            threshold = model.risk_occupancy if scenario is Scenario.INCENTIVES_80 else 1.0
            price = drawn.bids.price_eur_per_mwh[drawn.peers]
            return incentives(
                self._before, threshold, price, w=model.w, reading=level.reading, most=model.most_eur_per_mwh
            )
        return Signals.none(drawn.peers.size)

    def run(self, scenario: Scenario, level: Level) -> Outcome:
        """Trade, check the grid, clear the flexibility market."""
        if scenario in (Scenario.HEAVY, Scenario.START):
            return self.outcome(scenario, level, None, None, np.nan)
        if scenario is Scenario.CHOSEN:
            found = choose_peers(self.feeder, self.model, self.drawn, level.pair_bound)
            peers, traded = found if found is not None else (None, None)
            return self.outcome(scenario, level, peers, traded, 0.0)
        signals, sells = self.signals(scenario, level), self.drawn.bids.upward[self.drawn.peers]
        traded = trade(self.drawn.bids, self.drawn.peers, signals, level.pair_bound)
        return self.outcome(scenario, level, self.drawn.peers, traded, float(signals.blocked[sells][:, ~sells].mean()))

    def outcome(
        self, scenario: Scenario, level: Level, peers: IntArray | None, traded: Traded | None, blocked_share: float
    ) -> Outcome:
        """Grid check and flexibility market after trading.

        Args:
            scenario: decides loads and limits.
            level: of the factors, for the record.
            peers: bids that have traded; None where there is no P2P market.
            traded: what they have traded.
            blocked_share: share of the pairs that are blocked.
        """
        feeder, bids = self.feeder, self.drawn.bids
        left, added = bids.p_mw.copy(), np.zeros(feeder.node.size)
        if peers is not None and traded is not None:
            left[peers] -= traded.realised_mw
            np.add.at(added, bids.bus[peers], bids.direction[peers] * traded.realised_mw)
        heavy = scenario in _HEAVY
        flow = (self.model.heavy_scale if heavy else 1.0) * self.drawn.flow_mw + feeder.flow_mw(added)
        limit = self.heavy_limit_mw if heavy else self.drawn.limit_mw
        over = overflow(flow, limit)
        lfm = self._market.clear(bids.flexibility(feeder, left), feeder.limits(flow, limit))
        return Outcome(
            seed=self.seed,
            level=level,
            scenario=scenario,
            n_congested=over.n_congested,
            n_original=int(np.count_nonzero(over.mw[self._original])),
            overflow_sum_mw=over.sum_mw,
            overflow_weighted_mw=over.weighted_mw,
            p2p_volume_mw=np.nan if traded is None else traded.volume_mw,
            incentive_eur=0.0 if traded is None else traded.incentive_eur,
            blocked_share=blocked_share,
            lfm_status=lfm.status,
            lfm_cost_eur=lfm.cost_eur if lfm.status is Status.OPTIMAL else np.nan,
            lfm_missing_mw=lfm.missing_mw,
            loading=np.abs(flow) / limit,
        )


def run_seed(feeder: Feeder, model: Model, seed: int, levels: tuple[Level, ...] = LEVELS) -> list[Outcome]:
    """Run all scenarios of a seed at all levels; what a factor does not concern is computed once.

    Args:
        feeder: the grid.
        model: the study's numbers.
        seed: root of all draws.
        levels: levels of the factors.
    """
    subject, outcomes = Seed(feeder, model, seed), []
    done: dict[tuple[object, ...], Outcome] = {}
    for level in levels:
        for scenario in Scenario:
            key = _what_counts(scenario, level)
            if key not in done:
                done[key] = subject.run(scenario, level)
            outcomes.append(replace(done[key], level=level))
    return outcomes


def _what_counts(scenario: Scenario, level: Level) -> tuple[object, ...]:
    """The scenario with the factors that concern it."""
    if scenario in (Scenario.HEAVY, Scenario.START):
        return (scenario,)
    if scenario in (Scenario.INCENTIVES_80, Scenario.INCENTIVES_100):
        return (scenario, level.pair_bound, level.reading)
    return (scenario, level.pair_bound)
