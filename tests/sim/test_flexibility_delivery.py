"""From what a flexibility market activates to what the meters say and what is paid, under every conceptual model."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from peerwatt.agents import dso
from peerwatt.agents.coordination import PRESETS
from peerwatt.agents.offers import DIRECTION
from peerwatt.agents.policies.limits import network_limits
from peerwatt.market.limits import NetworkLimits
from peerwatt.market.settlement import REASONS, Reason
from peerwatt.sim.model import Simulation
from peerwatt.sim.period import PeriodResult
from tests.scenarios import small_case, small_scenario

_CURTAIL = 1
PERIODS = 4
SURE = {"forecast__load_error": 0.0, "forecast__generation_error": 0.0}
SUNNY = {"population__pv_share": 0.6, "population__pv_mw": 0.03}  # more than the feeder can carry away
WRONG = {"forecast__load_error": 0.3, "forecast__generation_error": 0.3}
MARKETS = {
    **{preset: {"preset": preset} for preset in PRESETS},
    "lfm-first": {"preset": "cm2", "sequence": "lfm_first"},
    "iterative": {"preset": "cm2", "sequence": "iterative"},
}


def results(coordination: dict[str, Any], **changes: Any) -> tuple[Simulation, list[PeriodResult]]:
    found: list[PeriodResult] = []
    scenario = small_scenario(
        PERIODS,
        market__mechanism=None,
        coordination=coordination,
        grid__max_loading_percent=9.0,  # congested in most periods
        communication__fidelity="round",
        **changes,
    )
    simulation = Simulation(scenario, case=small_case(PERIODS))
    with simulation:
        simulation.run(lambda model: found.append(model.last))  # type: ignore[arg-type]
    return simulation, found


@pytest.mark.parametrize("model", MARKETS)
@pytest.mark.parametrize("size", [None, 12])
def test_without_forecast_errors_delivery_is_what_was_expected_last(model: str, size: int | None) -> None:
    """With several peers at a bus too, whose shares of a mediator's activation have power factors of their own."""
    simulation, found = results(MARKETS[model], population__size=size, **SURE)
    acted = 0
    for result in found:
        last, delivered = list(result.states.values())[-2:]
        acted += any(part.activated_mw.any() for part in (*result.flexibility, *result.capacity))
        np.testing.assert_allclose(delivered.p_mw, last.p_mw, atol=1e-12)
        np.testing.assert_allclose(delivered.q_mvar, last.q_mvar, atol=1e-12)
    assert acted or not (simulation.context.design.lfm or model == "cm5")


def imbalance(result: PeriodResult) -> float:
    entries = result.entries
    return float(entries.amount_eur[entries.reason == REASONS.index(Reason.IMBALANCE)].sum())


@pytest.mark.parametrize("model", ["cm1", "cm2", "cm3-v2", "cm4", "lfm-first", "iterative"])
def test_who_sold_flexibility_has_no_imbalance_from_it(model: str) -> None:
    """Every peer falls short of its trades at most by what it would have without the activation."""
    _, found = results(MARKETS[model], **SUNNY, **WRONG)
    helped = 0
    for result in found:
        trade, meter = result.p_traded_mw, result.p_delivered_mw
        sold = (trade > 0.0) & (result.p_curtailed_mw > 0.0)
        available = meter + result.p_curtailed_mw
        assert (np.maximum(trade - meter, 0.0)[sold] <= np.maximum(trade - available, 0.0)[sold] + 1e-12).all()
        helped += int(sold.sum())
    assert helped > 0


def test_what_is_expected_and_traded_leaves_no_imbalance_with_flexibility() -> None:
    for model in ("cm1", "cm2", "cm4", "lfm-first", "iterative"):
        _, found = results(MARKETS[model], **SURE)
        assert sum(imbalance(result) for result in found) == pytest.approx(0.0, abs=1e-9)


def test_flexibility_is_paid_as_far_as_devices_have_delivered_it() -> None:
    """Of curtailment: generation that was there and was not used, up to what was activated, pro rata."""
    paid = short = 0
    for seed in range(4):
        simulation, found = results(MARKETS["cm2"], **SUNNY, seed=seed, **WRONG)
        n = len(simulation.context.population)
        for result in found:
            activated, due = np.zeros((2, n, 3))
            for part in result.flexibility:
                np.add.at(activated, (part.account, part.product), part.activated_mw)
                np.add.at(due, (part.account, part.product), part.paid_eur)
            curtailing = (activated[:, _CURTAIL] > 1e-9) & (activated.sum(axis=1) == activated[:, _CURTAIL])
            entries = result.entries
            for row in np.flatnonzero(curtailing).tolist():
                own = (entries.reason == REASONS.index(Reason.FLEXIBILITY)) & (entries.payee == row)
                share = min(result.p_curtailed_mw[row] / activated[row, _CURTAIL], 1.0)
                assert entries.amount_eur[own].sum() == pytest.approx(share * due[row, _CURTAIL], abs=1e-12)
                paid, short = paid + 1, short + (share < 0.999)
                cap = result.p_p2p_mw[row] + float(DIRECTION @ activated[row])
                assert result.p_delivered_mw[row] <= cap + 1e-12
    assert paid >= short > 0


MISSED = {
    "overload": {"population__pv_share": 1.0, "population__pv_mw": 0.03},
    "high voltage": {"population__pv_share": 1.0, "population__pv_mw": 0.03, "grid__max_vm_pu": 1.01},
    "low voltage": {"grid__min_vm_pu": 0.995, "flexibility__load_share": 1.0},
}
UNSOLVABLE = {"grid__min_vm_pu": 0.999, "flexibility__load_share": 0.2}


def left_by_ac(simulation: Simulation, result: PeriodResult) -> tuple[float, float]:
    """Overflow and the worst voltage beyond its band at stage final, from loadings and voltages."""
    state, network = result.states["final"], simulation.case.network
    flow = np.concatenate([state.line.p_from_mw, state.trafo.p_from_mw])
    loading = np.concatenate([state.line.loading_percent, state.trafo.loading_percent])
    limit = np.concatenate([network.lines.max_loading_percent, network.trafos.max_loading_percent])
    over = np.where(loading > limit, np.abs(flow) * (1.0 - limit / loading), 0.0)
    low, high = network.buses.min_vm_pu - state.vm_pu, state.vm_pu - network.buses.max_vm_pu
    return float(over.sum()), float(np.maximum(np.maximum(low, high), 0.0).max())


def too_strong(*args: Any, **options: Any) -> NetworkLimits:
    """A model by which every activation does a quarter more than it does."""
    limits = network_limits(*args, **options)
    voltage = limits.voltage
    if voltage is not None:
        voltage = replace(voltage, response=1.25 * voltage.response)
    return replace(limits, response=1.25 * limits.response, voltage=voltage)


@pytest.mark.parametrize("kind", MISSED)
def test_a_correction_holds_limits_that_the_linear_model_misses(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dso, "network_limits", too_strong)
    what = ["congestion"] if kind == "overload" else ["voltage"]
    beyond = {}
    for corrections in (0, 20):
        simulation, found = results(
            {"preset": "cm2", "addresses": what}, flexibility__corrections=corrections, **MISSED[kind], **SURE
        )
        beyond[corrections] = sum(left_by_ac(simulation, result)[kind != "overload"] for result in found)
        assert any(result.flexibility for result in found)
    assert beyond[0] > 1e-5
    assert beyond[20] == 0.0


@pytest.mark.parametrize("kind", [*MISSED, "unsolvable"])
def test_what_is_missing_is_what_ac_leaves_and_corrections_never_leave_more(kind: str) -> None:
    missing = {}
    for corrections in (0, 3):
        changes = MISSED.get(kind, UNSOLVABLE)
        simulation, found = results({"preset": "cm2"}, flexibility__corrections=corrections, **changes, **SURE)
        for result in found:
            for part in result.flexibility:
                said = (part.missing_mw, part.missing_pu)
                assert said == pytest.approx(left_by_ac(simulation, result), abs=1e-12)
                missing.setdefault(result.period, []).append(said)
    assert missing
    for without, corrected in missing.values():
        assert corrected[0] <= without[0] + 1e-12
        assert corrected[1] <= without[1] + 1e-12
    if kind == "unsolvable":
        assert max(corrected[1] for _, corrected in missing.values()) > 1e-3
