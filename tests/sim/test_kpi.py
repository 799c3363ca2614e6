from pathlib import Path

import pytest

from peerwatt.sim.kpi import compute_kpis
from peerwatt.sim.results import Results
from tests.fabricate import tiny


def figures(path: Path, **changes):
    results = Results(tiny(path, **changes))
    return compute_kpis({name: results.arrow(name) for name in results.tables}, results.manifest)


def test_totals_are_those_counted_by_hand(tmp_path):
    kpi = figures(tmp_path)
    expected = {
        "p2p_volume_mwh": 0.008,
        "p2p_mean_price_eur_per_mwh": 200.0,
        "demand_mwh": 0.020,
        "feed_in_mwh": 0.012,
        "p2p_share_of_demand_percent": 40.0,
        "consumption_mwh": 0.028,
        "generation_mwh": 0.020,
        "self_sufficiency_percent": 500.0 / 7.0,
        "self_consumption_percent": 100.0,
        "import_mwh": 0.0084,
        "export_mwh": 0.0,
        "peak_import_mw": 0.0021,
        "losses_mwh": 0.0004,
        "losses_percent": 2.0,
        "social_welfare_eur": 1.0,
        "not_converged": 1,
        "congestion_violations": 1,
        "voltage_violations": 0,
        "messages": 12,
        "messages_lost": 4,
    }
    assert {name: kpi[name] for name in expected} == pytest.approx(expected)


def test_extremes_say_where_and_when(tmp_path):
    kpi = figures(tmp_path)
    assert (kpi["min_vm_pu"], kpi["min_vm_bus"], kpi["min_vm_period"]) == (0.96, 2, 0)
    assert (kpi["max_vm_pu"], kpi["max_vm_bus"]) == (1.0, 0)
    assert (kpi["max_loading_percent"], kpi["max_loading_element"]) == (120.0, "line 5")
    assert kpi["max_loading_period"] == 2


def test_a_saving_counts_the_value_of_added_consumption(tmp_path):
    kpi = figures(tmp_path)
    assert kpi["cost_consumers_eur"] == pytest.approx(3.8)
    assert kpi["saving_consumers_eur"] == pytest.approx(1.0)
    assert kpi["saving_producers_percent"] == pytest.approx(100 * 0.8 / 1.2)
    assert kpi["saving_peers_eur"] == pytest.approx(1.8)
    assert (kpi["saving_min_eur"], kpi["saving_max_eur"]) == pytest.approx((0.0, 1.0))


def test_the_gini_coefficient_is_the_mean_difference_over_twice_the_mean(tmp_path):
    savings = [1.0, 0.8, 0.0]
    differences = sum(abs(a - b) for a in savings for b in savings)
    assert figures(tmp_path)["saving_gini"] == pytest.approx(differences / (2 * 3 * sum(savings)))


@pytest.mark.parametrize(
    ("table", "missing", "kept"),
    [
        ("agent", "demand_mwh", "p2p_volume_mwh"),
        ("period", "losses_mwh", "demand_mwh"),
        ("bus", "min_vm_bus", "min_vm_pu"),
        ("line", "max_loading_element", "max_loading_percent"),
        ("message", "messages_lost", "messages"),
        ("peer", "cost_consumers_eur", "demand_mwh"),
    ],
)
def test_a_missing_table_takes_only_its_own_figures_along(tmp_path, table, missing, kept):
    kpi = figures(tmp_path, without=[table])
    assert missing not in kpi
    assert kept in kpi


def test_no_tables_give_no_figures():
    assert compute_kpis({}, {"period_s": 900}) == {}
