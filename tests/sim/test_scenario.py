from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from peerwatt.errors import ScenarioError
from peerwatt.sim.reading import parse_overrides, set_path
from peerwatt.sim.scenario import Scenario, shipped_scenarios


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    return path


def faults(tmp_path: Path, text: str) -> list[str]:
    with pytest.raises(ScenarioError) as caught:
        Scenario.load(write(tmp_path, text))
    return [str(fault) for fault in caught.value.faults]


@pytest.mark.parametrize("name", shipped_scenarios())
def test_shipped_scenarios_are_valid_and_survive_their_own_yaml(tmp_path: Path, name: str) -> None:
    scenario = Scenario.load(name)
    assert Scenario.load(write(tmp_path, scenario.to_yaml())).to_yaml() == scenario.to_yaml()


def test_all_faults_of_a_file_are_named_at_once_with_their_keys(tmp_path: Path) -> None:
    text = """
    populaton: {pv_share: 0.5}
    population: {pv_share: 60, pv_mw: 5, strategies: {thruthful: 1}, demand_response: {ev: 30}}
    market: {mechanism: doubleauction}
    grid: {engine: matpower, min_vm_pu: 1.2, max_vm_pu: 0.9}
    time: {period_s: 7000, start: 2016-13-01}
    tariff: {supply_eur_per_mwh: 0.3 EUR/kWh, network_fee_eur_per_mwh: -5}
    communication: {latency_ms: 5, loss: 1.5}
    record: [bus, lines]
    """
    found = faults(tmp_path, text)
    for key, words in {
        "populaton": "did you mean 'population'?",
        "population.pv_share": "60 percent is 0.6",
        "population.pv_mw": "5 kW is 0.005",
        "population.strategies.thruthful": "did you mean 'truthful'?",
        "population.demand_response.ev": "30 percent is 0.3",
        "market.mechanism": "did you mean 'double_auction'?",
        "grid.engine": "unknown engine 'matpower'",
        "time.period_s": "the nearest length that does is 7200 s",
        "time.start": "2016-13-01",
        "tariff.supply_eur_per_mwh": "a number without a unit",
        "tariff.network_fee_eur_per_mwh": "greater than or equal to 0",
        "communication.latency_ms": "did you mean 'latency_s'?",
        "communication.loss": "less than or equal to 1",
        "record": "'lines' is not a table",
    }.items():
        assert any(f": {key}: " in fault and words in fault for fault in found), (key, found)


def test_values_that_contradict_each_other_are_refused(tmp_path: Path) -> None:
    (fault,) = faults(tmp_path, "tariff: {supply_eur_per_mwh: 80, feed_in_eur_per_mwh: 300}")
    assert "buying from the supplier to sell to it would pay" in fault
    (fault,) = faults(tmp_path, "grid: {min_vm_pu: 1.1, max_vm_pu: 0.9}")
    assert "min_vm_pu (1.1) is not below max_vm_pu (0.9)" in fault


def test_options_of_the_mechanism_are_checked(tmp_path: Path) -> None:
    (fault,) = faults(tmp_path, "market: {mechanism: double_auction, options: {kk: 0.5}}")
    assert "unknown option 'kk'" in fault
    (fault,) = faults(tmp_path, "market: {mechanism: double_auction, options: {k: 2}}")
    assert "market" in fault


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("time: [1, 2", "line 2, column"),
        ("- a\n- b", "holds a list"),
        ("name: 'a\n", "is not valid YAML"),
    ],
)
def test_what_is_not_a_scenario_is_named_with_its_place(tmp_path: Path, text: str, words: str) -> None:
    (fault,) = faults(tmp_path, text)
    assert "mine.yaml" in fault
    assert words in fault


def test_an_empty_file_is_the_default_scenario(tmp_path: Path) -> None:
    assert Scenario.load(write(tmp_path, "")).to_yaml() == Scenario(name="mine").to_yaml()


def test_an_unknown_name_is_answered_with_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(ScenarioError, match="did you mean 'lv-village'"):
        Scenario.load("lv-vilage")
    with pytest.raises(ScenarioError, match="is a directory"):
        Scenario.load(tmp_path)


def test_overrides_replace_values_by_key_path() -> None:
    changes = parse_overrides(["population.pv_share=0.6", "population.peers[LV4.101 Bus 1].pv_mw=0.004", "seed=7"])
    scenario = Scenario.load("lv-village", changes)
    assert scenario.population.pv_share == 0.6
    assert scenario.population.peers["LV4.101 Bus 1"].pv_mw == 0.004
    assert scenario.seed == 7
    assert scenario.replace({"time.periods": 4}).time.periods == 4


@pytest.mark.parametrize("setting", ["seed", "=3", "seed=[1", "name.below=3", "a..=1"])
def test_an_override_of_another_form_is_refused(setting: str) -> None:
    with pytest.raises(ScenarioError):
        Scenario.load("lv-village", parse_overrides([setting]))


def test_a_key_path_leads_into_missing_and_empty_groups() -> None:
    document = {"time": None}
    set_path(document, "time.periods", 3)
    set_path(document, "grid.case", "x")
    assert document == {"time": {"periods": 3}, "grid": {"case": "x"}}


def test_the_digest_tells_what_decides_the_result() -> None:
    scenario = Scenario.load("lv-village")
    assert scenario.replace(name="other").digest() == scenario.digest()
    assert scenario.replace(seed=2).digest() != scenario.digest()


def test_the_schema_documents_every_key() -> None:
    schema = Scenario.model_json_schema()
    for group in [schema, *schema["$defs"].values()]:
        for key, field in group.get("properties", {}).items():  # enums have none
            assert "description" in field or "$ref" in field, key


def test_the_yaml_has_every_default_written_out() -> None:
    document = yaml.safe_load(Scenario().to_yaml())
    assert document["tariff"]["supply_eur_per_mwh"] == 300.0
    assert document["communication"]["loss"] == 0.0
