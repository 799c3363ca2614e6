"""Capacity trading at the DSO's request (CM5): limits hold or it is said, books close, no price leaks."""

from __future__ import annotations

from dataclasses import fields
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import peerwatt.agents.services as types
from peerwatt.agents.messages import Message
from peerwatt.agents.offers import DIRECTION
from peerwatt.market.settlement import REASONS, Reason
from peerwatt.sim.model import Simulation
from peerwatt.sim.period import PeriodResult
from peerwatt.sim.results import Results
from tests.scenarios import small_case, small_scenario

PERIODS = 8
RIGHT = {"forecast__load_error": 0.0, "forecast__generation_error": 0.0}
LOSSY = {"communication__loss": 0.3, "communication__jitter_s": 100}
CASE = cache(small_case)
ASKED = ("CapacityNeed", "CapacityRequest", "CapacityOffer", "CapacityNotice", "CapacityResult")


def simulation(tight: float = 9.0, rounds: int = 3, out: Path | None = None, **changes: Any) -> Simulation:
    keys = {"market__mechanism": None, "grid__max_loading_percent": tight, **changes}
    coordination = {"preset": "cm5", "rounds": rounds, **keys.pop("more", {})}
    return Simulation(small_scenario(PERIODS, coordination=coordination, **keys), out, CASE(PERIODS))


def results(**settings: Any) -> tuple[Simulation, list[PeriodResult], list[np.ndarray[Any, Any]]]:
    """The simulation, its periods, and what peers knew they had to provide in each, (n_peers,)."""
    found: list[PeriodResult] = []
    told: list[np.ndarray[Any, Any]] = []
    with simulation(**settings) as model:
        while model.running:
            model.step()
            assert model.last is not None
            found.append(model.last)
            told.append(model.context.population.p_activated_mw.sum(axis=1))
    return model, found, told


def paid(result: PeriodResult) -> tuple[Any, Any, Any]:
    """Payer, payee and amount of every payment for capacity."""
    entries = result.entries
    mine = entries.reason == REASONS.index(Reason.CAPACITY)
    return entries.payer[mine], entries.payee[mine], entries.amount_eur[mine]


@pytest.mark.parametrize("tight", [6.0, 9.0, 12.0])
@pytest.mark.parametrize("right", [True, False])
def test_afterwards_no_limit_is_violated_or_what_is_missing_is_said(tight: float, right: bool) -> None:
    model, found, _ = results(tight=tight, **RIGHT if right else {})
    network, solved = model.case.network, 0
    for result in found:
        before, after = (result.states[stage].violations(network) for stage in ("forecast", "final"))
        assert bool(result.capacity) == (before.n_congested > 0)
        if not result.capacity or result.capacity[-1].missing_mw == 0.0:
            assert after.n_congested == after.n_voltage == 0
            solved += before.n_congested > 0
        assert after.n_congested <= before.n_congested
    assert solved > 0


def test_voltages_are_kept_too() -> None:
    model, found, _ = results(tight=100.0, grid__min_vm_pu=0.995)
    network, solved = model.case.network, 0
    for result in found:
        before, after = (result.states[stage].violations(network).n_voltage for stage in ("forecast", "final"))
        solved += before > after == 0
        assert after == 0 or result.capacity[-1].missing_mw > 0.0
        assert all((part.trades.p_mw > 0.0).all() for part in result.capacity)
    assert solved > 0
    assert not results(tight=100.0, grid__min_vm_pu=0.995, more={"addresses": ["congestion"]})[1][0].capacity


def test_it_takes_a_second_round_only_where_the_first_has_left_something() -> None:
    model, found, _ = results(tight=6.0)
    network = model.case.network
    for result in found:
        assert [each.number for each in result.rounds] == list(range(len(result.rounds)))
        assert all(each.n_congested > 0 for each in result.rounds[:-1])
        assert result.states["final"].violations(network).n_congested == result.rounds[-1].n_congested
        assert result.rounds[-1].n_congested == 0 or len(result.rounds) == 3
    more = sum(len(result.capacity) for result in found)
    assert more > sum(len(result.capacity) for result in results(tight=6.0, rounds=1)[1])


@pytest.mark.parametrize("faults", [{}, LOSSY])
def test_both_fidelities_have_the_same_result(faults: dict[str, Any]) -> None:
    by_message = results(**faults)
    by_round = results(communication__fidelity="round", **faults)
    for one, other in zip(by_message[1], by_round[1], strict=True):
        assert len(one.capacity) == len(other.capacity)
        for mine, others in zip(one.capacity, other.capacity, strict=True):
            np.testing.assert_array_equal(mine.activated_mw, others.activated_mw)
            np.testing.assert_array_equal(mine.trades.price_eur_per_mwh, others.trades.price_eur_per_mwh)
        np.testing.assert_array_equal(one.p_delivered_mw, other.p_delivered_mw)
        np.testing.assert_array_equal(one.payment_eur, other.payment_eur)


def test_peers_pay_each_other_as_traded_and_the_dso_pays_nobody() -> None:
    model, found, _ = results(**RIGHT)
    n, moved = len(model.context.population), 0.0
    for result in found:
        payer, payee, amount = paid(result)
        assert (payer < n).all()
        assert (payee < n).all()
        trades = [part.trades for part in result.capacity]
        due = sum(float(each.p_mw @ each.price_eur_per_mwh) * result.period_h for each in trades)
        assert amount.sum() == pytest.approx(due, abs=1e-9)
        assert sum(part.paid_eur.sum() for part in result.capacity) == pytest.approx(due, abs=1e-9)
        entries = result.entries
        balance = np.bincount(entries.payee, entries.amount_eur, n + 3)
        balance -= np.bincount(entries.payer, entries.amount_eur, n + 3)
        np.testing.assert_allclose(-balance[:n], result.payment_eur, atol=1e-12)
        assert balance.sum() == pytest.approx(0.0, abs=1e-12)
        change = np.zeros(n)
        for part in result.capacity:
            np.add.at(change, part.account, DIRECTION[part.product] * part.activated_mw)
        np.testing.assert_allclose(result.p_delivered_mw, result.p_forecast_mw + change, atol=1e-9)
        moved += amount.sum()
    assert moved > 0.0


def test_nobody_provides_more_than_it_has_offered_nor_the_market_more_than_was_asked() -> None:
    for result in results(tight=6.0)[1]:
        for part in result.capacity:
            assert (part.activated_mw <= part.offered_mw + 1e-9).all()
            asked = part.clearing.obligation_mw.sum()
            assert part.activated_mw.sum() + part.missing_mw == pytest.approx(asked, abs=1e-8)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_who_gets_no_notice_does_nothing_and_is_not_paid(seed: int) -> None:
    model, found, told = results(seed=seed, **LOSSY)
    name, silent = model.context.population.name, 0
    for result, known in zip(found, told, strict=True):
        notices = [row for row in result.messages if row.kind == "CapacityNotice"]
        reached = {row.receiver for row in notices if row.delivered_s >= 0}
        payer, payee, amount = paid(result)
        provided = np.zeros(len(name))
        for part in result.capacity:
            np.add.at(provided, part.account, part.activated_mw)
        assert (known <= provided + 1e-12).all()
        for row in {name.index(each.receiver) for each in notices if each.receiver not in reached}:
            assert known[row] == 0.0
            assert row not in payee
            silent += provided[row] > 0.0
        answered = {row for part in result.capacity for row in part.account.tolist()}
        assert {*payer, *payee} <= answered  # a lost request obliges nobody
        assert (amount > 0.0).all()
    assert silent > 0


def test_the_dso_learns_no_price_and_peers_nothing_of_the_network() -> None:
    _, found, _ = results()
    kinds = {(row.kind, row.receiver) for result in found for row in result.messages}
    to_dso = {kind for kind, receiver in kinds if receiver == "dso"}
    assert to_dso == {"CapacityResult"}
    assert not any("eur" in field.name or "price" in field.name for field in fields(types.CapacityResult))
    to_peers = {kind for kind, receiver in kinds if receiver not in ("dso", "supplier", "p2p market")}
    assert to_peers == {"CapacityRequest", "CapacityNotice", "ConnectionState"}
    assert {field.name for field in fields(types.CapacityRequest)} == {
        *(field.name for field in fields(Message)), "round", "p_mw", "direction", "gate_s",
    }  # fmt: skip


def test_nothing_is_asked_for_where_nothing_is_violated() -> None:
    _, found, _ = results(tight=100.0)
    for result in found:
        assert not {row.kind for row in result.messages} & {*ASKED}
        assert not result.capacity
        assert not paid(result)[2].size
        np.testing.assert_array_equal(result.states["final"].vm_pu, result.states["forecast"].vm_pu)
        np.testing.assert_allclose(result.payment_eur, result.reference_payment_eur, atol=1e-12)


def test_only_peers_of_the_area_are_asked() -> None:
    model, found, _ = results(more={"p2p_area": ["House 3", "House 4"]})
    population, names = model.context.population, model.case.network.buses.name
    inside = {row for row, bus in enumerate(population.bus.tolist()) if names[bus] in ("House 3", "House 4")}
    asked = {row.receiver for result in found for row in result.messages if row.kind == "CapacityRequest"}
    assert {population.name.index(each) for each in asked} == inside


def test_tables_keep_capacity_apart_from_energy(tmp_path: Path) -> None:
    with simulation(out=tmp_path / "run", **RIGHT) as model:
        model.run()
    tables = Results(tmp_path / "run")
    assert set(tables.trade["product"]) == {"capacity"}
    assert tables.kpi["p2p_volume_mwh"] == 0.0
    final = tables.period.query("stage == 'final'").set_index("period")
    offers = tables.arrow("flexibility").to_pandas()
    provided = offers.groupby("period")["activated_mw"].sum()
    asked = final.capacity_mw.dropna()
    np.testing.assert_allclose(asked, provided.loc[asked.index], atol=1e-12)
    assert final.capacity_missing_mw.dropna().ge(0.0).all()
    assert final.lfm_cost_eur.isna().all()
    trade = tables.trade
    value = (trade.p_mw * trade.price_eur_per_mwh).sum() * 0.25
    capacity = tables.settlement.query("reason == 'capacity'").amount_eur.sum()
    assert capacity == pytest.approx(value)
