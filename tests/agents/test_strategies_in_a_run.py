"""Strategies in a whole market: what peers are told, what they prefer, and when they decide."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from peerwatt.agents.households import build_population
from peerwatt.agents.messages import Message, OfferWithTerms
from peerwatt.agents.settings import PopulationSettings
from peerwatt.agents.strategies import STRATEGIES, Group, Partners, group_strategy
from peerwatt.errors import AgentError
from peerwatt.experiments.sweep.experiment import Experiment
from peerwatt.sim.model import Simulation
from peerwatt.sim.period import PeriodResult
from peerwatt.sim.results import Results
from tests.scenarios import small_case, small_scenario

PERIODS = 8
TIGHT = 9.0  # percent: the small feeder is then congested in most periods
MIX = {"roth_erev": 1.0, "zero_intelligence_plus": 1.0, "linear": 1.0, "truthful": 1.0}


def run(**changes: Any) -> list[PeriodResult]:
    found: list[PeriodResult] = []
    with Simulation(small_scenario(PERIODS, **changes), case=small_case(PERIODS)) as simulation:
        simulation.run(lambda model: found.append(model.last))  # type: ignore[arg-type]
    return found


def same(one: list[PeriodResult], other: list[PeriodResult]) -> None:
    for a, b in zip(one, other, strict=True):
        np.testing.assert_array_equal(a.trades.p_mw, b.trades.p_mw)
        np.testing.assert_array_equal(a.p_delivered_mw, b.p_delivered_mw)
        np.testing.assert_allclose(a.payment_eur, b.payment_eur, atol=1e-12)


@pytest.mark.parametrize("mechanism", ["double_auction", "bilateral"])
def test_learners_do_the_same_at_both_fidelities_though_messages_are_lost(mechanism: str) -> None:
    market = {"market__mechanism": mechanism, "population__strategies": MIX, "communication__loss": 0.1}
    by_message, by_round = (run(**market, communication__fidelity=each) for each in ("message", "round"))
    same(by_message, by_round)
    assert sum(result.trades.p_mw.sum() for result in by_round) > 0.0


def test_figures_by_strategy_add_up_to_those_of_all(tmp_path: Path) -> None:
    mix = {"control": 3.0, "linear": 1.0, "zero_intelligence": 1.0}
    scenario = small_scenario(PERIODS, population__strategies=mix)
    with Simulation(scenario, tmp_path / "run", case=small_case(PERIODS)) as simulation:
        simulation.run()
    results = Results(tmp_path / "run")
    kpi, n = results.kpi, results.peer.strategy.value_counts().to_dict()
    saving = {name: float(kpi[f"saving_per_peer_{name}_eur"]) * n[name] for name in mix}
    assert sum(saving.values()) == pytest.approx(float(kpi["saving_peers_eur"]))
    adopters = (saving["linear"] + saving["zero_intelligence"]) / (n["linear"] + n["zero_intelligence"])
    assert float(kpi["saving_per_peer_adopters_eur"]) == pytest.approx(adopters)


def test_the_same_peers_adopt_whatever_the_strategy() -> None:
    levels = Experiment.load("strategies").factors["population.strategies"].levels
    mixes = [mix for label, mix in levels.items() if label == "truthful" or label.endswith("few")]
    case, found = small_case(1, 21), set()
    for mix in mixes:
        settings = PopulationSettings(strategies=mix)
        population = build_population(case, settings, np.random.default_rng(4))
        adopts = np.array([name != "control" for name in population.strategy])[population.strategy_code]
        assert adopts.sum() == 4
        found.add(tuple(np.flatnonzero(adopts).tolist()))
    assert len(mixes) > 5
    assert len(found) == 1


def test_every_run_begins_without_what_another_has_learnt() -> None:
    same(run(population__strategies=MIX), run(population__strategies=MIX))


def test_peers_are_told_what_became_of_their_last_bid() -> None:
    seen: list[Group] = []

    @group_strategy("listens")
    def listens(group: Group, /) -> np.ndarray:
        seen.append(group)
        return np.where(group.producer, 110.0, 220.0)

    found = run(population__strategies={"listens": 1.0})
    assert np.isnan(seen[0].last_offered_mw).all()
    for before, group, result in zip(seen[:-1], seen[1:], found[:-1], strict=True):
        np.testing.assert_array_equal(group.last_limit_eur_per_mwh, np.where(before.producer, 110.0, 220.0))
        np.testing.assert_allclose(group.last_offered_mw, result.p_forecast_mw)
        firm = result.p_traded_mw - (result.p_p2p_mw - result.p_forecast_mw)
        np.testing.assert_allclose(group.last_traded_mw, firm, atol=1e-15)
    assert any(np.abs(group.last_traded_mw).max() > 0.0 for group in seen[1:])


class Watched:
    """A bus that notes the offers with terms and when they are sent."""

    def __init__(self, simulation: Simulation) -> None:
        self.offers: list[tuple[int, OfferWithTerms]] = []
        self._bus, self._clock = simulation.context.bus, simulation.clock
        simulation.context.bus = self  # type: ignore[assignment]

    def send(self, messages: Iterable[Message]) -> None:
        messages = list(messages)
        self.offers.extend((self._clock.now_s, each) for each in messages if type(each) is OfferWithTerms)
        self._bus.send(messages)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._bus, name)


@pytest.mark.parametrize("seed", [1, 2])
def test_a_peer_that_was_told_in_time_takes_part_though_others_were_called_before(seed: int) -> None:
    late = {
        "market__mechanism": None,
        "coordination": {"preset": "cm4", "rounds": 2, "scheme_options": {"threshold_percent": 40}},
        "grid__max_loading_percent": TIGHT,
        "communication__jitter_s": 80,
        "seed": seed,
    }
    informed, by_message = 0, []
    with Simulation(small_scenario(PERIODS, **late), case=small_case(PERIODS)) as simulation:
        watched = Watched(simulation)
        while simulation.running:
            watched.offers.clear()
            simulation.step()
            assert simulation.last is not None
            by_message.append(simulation.last)
            lists = [m for m in simulation.last.messages if m.kind == "BlockingList"]
            for time_s, offer in watched.offers:
                told = sum(m.receiver == offer.sender and m.delivered_s <= time_s for m in lists) > offer.round
                willing = np.isfinite(offer.sell_cost).any() or np.isfinite(offer.buy_cost).any()
                assert willing == told
                informed += told
    assert informed > 0
    same(by_message, run(**late, communication__fidelity="round"))


def bought(result: list[PeriodResult], weight: np.ndarray) -> float:
    """Mean weight of traded energy, of pairs (n_peers, n_peers)."""
    seller, buyer, p_mw = (
        np.concatenate([getattr(each.trades, name) for each in result]) for name in ("seller", "buyer", "p_mw")
    )
    return float(weight[seller, buyer] @ p_mw / p_mw.sum())


@pytest.mark.parametrize("mechanism", ["bilateral", pytest.param("admm", marks=pytest.mark.slow)])
def test_who_prefers_neighbours_trades_at_shorter_distances(mechanism: str) -> None:
    from peerwatt.grid.distance import thevenin_distance

    with Simulation(small_scenario(1), case=small_case(1)) as simulation:
        bus, network = simulation.context.population.bus, simulation.case.network
    distance = thevenin_distance(network, bus, bus)
    market = {"market__mechanism": mechanism, "communication__fidelity": "round"}
    anybody = bought(run(**market), distance)
    near = bought(run(**market, population__strategies={"prefers_local": 1.0}), distance)
    assert near < anybody


def test_who_prefers_green_energy_buys_it_first() -> None:
    green = STRATEGIES.get("prefers_green")
    seen: list[Partners] = []

    class Watched:
        def __call__(self, group: Group, /) -> np.ndarray:
            return green(group)

        def preference(self, group: Group, partners: Partners, /) -> tuple[np.ndarray, np.ndarray]:
            seen.append(partners)
            sell, buy = green.preference(group, partners)  # type: ignore[attr-defined]
            assert (buy[:, partners.pv] == 0.0).all()
            assert (buy[:, ~partners.pv] == 44.0).all()
            return sell, buy

    group_strategy("green, watched")(Watched())
    result = run(market__mechanism="bilateral", population__strategies={"green, watched": 1.0, "truthful": 1.0})
    assert seen[0].name[:2] == ("House 1", "House 2")
    assert seen[0].pv.tolist() == [False, True, False, True, False]
    assert seen[0].distance_pu.shape[1] == 5
    assert sum(each.trades.p_mw.sum() for each in result) > 0.0


def test_preferences_of_the_wrong_shape_name_the_strategy() -> None:
    class Short:
        def __call__(self, group: Group, /) -> np.ndarray:
            return np.full(len(group.name), 100.0)

        def preference(self, group: Group, partners: Partners, /) -> tuple[np.ndarray, np.ndarray]:
            return np.zeros(len(group.name)), np.zeros((len(group.name), len(partners.name)))

    group_strategy("short")(Short())
    with pytest.raises(AgentError, match=r"strategy 'short' stated preferences of shapes \(5,\)"):
        run(market__mechanism="bilateral", population__strategies={"short": 1.0})
    run(market__mechanism="double_auction", population__strategies={"short": 1.0})  # an auction has no pairs


def test_grid_aware_peers_bring_relief_where_surplus_loads_the_grid() -> None:
    """Not more than truthful ones, who always give way, and more than if nobody did."""
    drawn, surplus = {}, {
        "population__peers": {"House 2": {"pv_mw": 0.06}, "House 4": {"pv_mw": 0.06}},
        "population__demand_response": {"household": 1.0},
        "communication__fidelity": "round",
    }  # fmt: skip

    @group_strategy("middle")
    def middle(group: Group, /) -> np.ndarray:
        return np.full(len(group.name), 190.0)

    for strategy in ("middle", "grid_aware", "truthful"):
        found = run(population__strategies={strategy: 1.0}, **surplus)
        drawn[strategy] = sum(float((each.p_forecast_mw - each.p_p2p_mw).sum()) for each in found)
    assert max(float(each.states["p2p"].line.loading_percent.max()) for each in found) > 50.0
    assert 0.0 < drawn["middle"] < drawn["grid_aware"] <= drawn["truthful"]
