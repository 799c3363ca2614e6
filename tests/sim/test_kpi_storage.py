from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from peerwatt.experiments.wording import facts
from peerwatt.sim.kpi import compute_kpis
from peerwatt.sim.model import Simulation
from peerwatt.sim.results import Results
from peerwatt.sim.scenario import Scenario
from tests.scenarios import small_case, small_scenario


def figures(soc_initial: float, soc: list[float], storage_mw: list[float], p_mw: list[float]) -> dict[str, float]:
    """Of one peer that generates 2 MW and uses 1 MW in two hours."""
    n = len(soc)
    agent = {
        "period": list(range(n)),
        "agent": ["a"] * n,
        "p_mw": p_mw,
        "p_load_mw": [1.0] * n,
        "p_generation_mw": [2.0] * n,
        "p_curtailed_mw": [0.0] * n,
        "p_storage_mw": storage_mw,
        "soc_mwh": soc,
        "utility_eur": [0.0] * n,
        "payment_eur": [0.0] * n,
        "reference_payment_eur": [0.0] * n,
    }
    peer = {"agent": ["a"], "kind": ["prosumer"], "strategy": ["truthful"], "soc_initial_mwh": [soc_initial]}
    tables = {"agent": pa.table(agent), "peer": pa.table(peer)}
    return compute_kpis(tables, {"period_s": 3600, "feed_in_eur_per_mwh": 50.0})  # type: ignore[return-value]


def test_what_is_left_in_batteries_is_stored_and_not_used() -> None:
    # 4 MWh generated, 2 used, 1 taken by the battery, which keeps 0.8 of it, 1 fed in.
    kpi = figures(0.5, [1.3, 1.3], [-1.0, 0.0], [0.0, 1.0])
    assert kpi["self_consumption_percent"] == pytest.approx(100.0 * (4.0 - 1.0 - 0.8) / 4.0)
    assert kpi["self_sufficiency_percent"] == pytest.approx(100.0)
    assert (kpi["stored_initial_mwh"], kpi["stored_final_mwh"]) == (0.5, 1.3)
    assert kpi["stored_change_mwh"] == pytest.approx(0.8)
    assert kpi["stored_change_eur"] == pytest.approx(40.0)
    assert kpi["battery_losses_mwh"] == pytest.approx(0.2)


def test_what_batteries_brought_along_is_not_generation_of_the_run() -> None:
    # The battery gives 0.5 MWh, which takes 0.6 out of it; all that and 2 MWh of generation are fed in.
    kpi = figures(1.0, [0.4, 0.4], [0.5, 0.0], [1.5, 1.0])
    assert kpi["self_sufficiency_percent"] == pytest.approx(100.0 * (2.0 - 0.6) / 2.0)
    assert kpi["self_consumption_percent"] == pytest.approx(100.0 * (4.0 - 2.5) / 4.0)
    assert kpi["stored_change_mwh"] == pytest.approx(-0.6)
    assert kpi["battery_losses_mwh"] == pytest.approx(0.1)


def test_the_village_stores_a_quarter_of_what_it_generates_on_a_sunny_day(tmp_path: Path) -> None:
    certain = {"forecast.load_error": 0.0, "forecast.generation_error": 0.0}  # errors move it by a percent either way
    scenario = Scenario.load("lv-village", {"record": ["agent"], "communication.fidelity": "round", **certain})
    with Simulation(scenario, tmp_path / "run") as simulation:
        simulation.run()
    results = Results(tmp_path / "run")
    kpi, agent = results.kpi, results.agent
    peers = agent.groupby("period")[["p_mw", "p_generation_mw"]].sum() / 4.0
    stored = agent[agent.period == 95].soc_mwh.sum()  # they began empty
    used = peers.p_generation_mw.sum() - peers.p_mw.clip(lower=0.0).sum() - stored
    assert stored == pytest.approx(0.396, abs=0.01)
    assert kpi["self_consumption_percent"] == pytest.approx(100.0 * used / peers.p_generation_mw.sum())
    assert kpi["self_consumption_percent"] == pytest.approx(45.8, abs=0.5)
    told = {fact.label: fact for fact in facts(results)}["Stored at the end"]
    assert told.value.endswith("kWh more")
    assert f"worth {80.0 * stored:.2f} EUR at feed-in" in told.remark


@pytest.mark.parametrize(("power", "missed"), [(0.02, False), (0.0001, True)])
def test_a_battery_that_could_not_return_to_its_charge_is_an_alarm(tmp_path: Path, power: float, missed: bool) -> None:
    changes = {"House 2": {"storage_mw": power, "storage_initial_charge": 0.5, "storage_self_discharge_per_day": 0.5}}
    scenario = small_scenario(4, population__peers=changes, population__storage_return_h=0.5)
    with Simulation(scenario, tmp_path / "run", small_case(4)) as simulation:
        simulation.run()
    results = Results(tmp_path / "run")
    assert (abs(float(results.kpi["stored_change_mwh"])) > 1e-9) is missed
    assert {fact.label: fact for fact in facts(results)}["Stored at the end"].alarm is missed
