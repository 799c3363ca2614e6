from collections import Counter
from dataclasses import fields, is_dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from scipy import sparse

from peerwatt.agents import messages, orders, services
from peerwatt.agents.messages import Message
from peerwatt.sim.bus import Bus
from peerwatt.sim.kpi import compute_kpis
from peerwatt.sim.kpi_disclosure import GRID_DATA, NUMBERS_PER_TRADE, numbers_per_message
from peerwatt.sim.results import Results
from peerwatt.sim.roles import Role, role_of
from peerwatt.sim.running import run
from peerwatt.sim.scenario import Scenario
from tests.fabricate import tiny

TIGHT = {"time.period_s": 7200, "time.periods": 6, "grid.max_loading_percent": 25, "market.mechanism": None}
DESIGNS = {
    "cm1": {"coordination.preset": "cm1"},
    "cm2": {"coordination.preset": "cm2"},
    "cm3-v2": {"coordination.preset": "cm3-v2"},
    "cm4": {"coordination.preset": "cm4"},
    "cm5": {"coordination.preset": "cm5"},
    "cm4 incentives": {"coordination.preset": "cm4", "coordination.scheme": "incentive_matrix"},
}


def figures(path: Path, **changes):
    results = Results(tiny(path, **changes))
    return compute_kpis({name: results.arrow(name) for name in results.tables}, results.manifest)


def test_peers_cut_off_are_counted_by_period(tmp_path):
    results = Results(tiny(tmp_path))
    tables = {name: results.arrow(name) for name in results.tables}
    assert compute_kpis(tables, results.manifest)["unsupplied_peer_periods"] == 0
    bus, at = tables["bus"], tables["peer"]["bus"].to_pylist()
    dead = [
        stage == "delivery" and period in (0, 2) and number == at[0]
        for stage, period, number in zip(*(bus[name].to_pylist() for name in ("stage", "period", "bus")), strict=True)
    ]
    voltage = pa.array(
        [None if off else v for off, v in zip(dead, bus["vm_pu"].to_pylist(), strict=True)], pa.float64()
    )
    place = bus.column_names.index("vm_pu")
    tables["bus"] = bus.set_column(place, "vm_pu", voltage)
    assert compute_kpis(tables, results.manifest)["unsupplied_peer_periods"] == 2 * at.count(at[0])


def test_totals_are_those_counted_by_hand(tmp_path):
    kpi = figures(tmp_path)
    expected = {
        "p2p_volume_mwh": 0.008,
        "p2p_mean_price_eur_per_mwh": 200.0,
        "p2p_buyer_mean_price_eur_per_mwh": 210.0,
        "p2p_surplus_eur": 0.08,
        "demand_mwh": 0.020,
        "feed_in_mwh": 0.012,
        "p2p_share_of_demand_percent": 40.0,
        "consumption_mwh": 0.028,
        "generation_mwh": 0.020,
        "curtailed_mwh": 0.0,
        "self_sufficiency_percent": 500.0 / 7.0,
        "self_consumption_percent": 100.0,
        "import_mwh": 0.0084,
        "export_mwh": 0.0,
        "peak_import_mw": 0.0021,
        "losses_mwh": 0.0004,
        "losses_percent": 10.0 / 7.0,
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


# --- coordination of trading with the grid ---


@pytest.fixture
def spy(monkeypatch):
    """Every message that is sent, as it is sent."""
    sent, send = [], Bus.send

    def listen(bus, batch):
        sent.extend(batch := list(batch))
        send(bus, batch)

    monkeypatch.setattr(Bus, "send", listen)
    return sent


def simulated(path, design, **changes):
    return run(Scenario.load("lv-village", {**TIGHT, **DESIGNS[design], **changes}), path)


def scalars(value):
    """All numbers in a field of a message, whatever holds them."""
    if isinstance(value, str) or value is None:
        return []
    if sparse.issparse(value):
        return value.data.tolist()
    if is_dataclass(value):
        return [number for field in fields(value) for number in scalars(getattr(value, field.name))]
    if isinstance(value, list | tuple):
        return [number for each in value for number in scalars(each)]
    return np.asarray(value, dtype=float).ravel().tolist()


def content(message):
    """Numbers in the fields that a message type adds to those of every message."""
    own = [field.name for field in fields(message) if field.name not in Message.__slots__]
    return [number for name in own for number in scalars(getattr(message, name))]


def test_every_message_type_has_its_numbers():
    everything = {name: getattr(module, name) for module in (messages, orders, services) for name in module.__all__}
    types = {name for name, each in everything.items() if isinstance(each, type) and issubclass(each, Message)}
    assert types - {"Message"} == {*numbers_per_message(1, 1), *GRID_DATA}


@pytest.mark.parametrize("design", DESIGNS)
def test_numbers_are_those_in_the_messages(tmp_path, spy, design):
    results = simulated(tmp_path / "run", design)
    peers = frozenset(results.peer.agent)
    expected = numbers_per_message(len(peers), results.peer.bus.nunique())
    counted = Counter()
    for message in spy:
        kind, numbers = type(message).__name__, len(content(message))
        if kind in GRID_DATA:
            continue
        trades = len(message.p_mw) if kind == "ProposedTrades" else 0
        assert numbers == expected[kind] + NUMBERS_PER_TRADE * trades, kind
        counted[f"{role_of(message.sender, peers)}_to_{role_of(message.receiver, peers)}"] += numbers
    found = {key: value for key, value in results.kpi.items() if key.startswith("numbers_")}
    assert {key.removeprefix("numbers_"): value for key, value in found.items() if value} == +counted


@pytest.mark.parametrize("design", ["cm2", "cm4", "cm4 incentives"])
def test_bilateral_prices_are_in_no_message_to_a_third_party(tmp_path, spy, design):
    results = simulated(tmp_path / "run", design)
    trade = results.trade
    assert len(trade)
    peers = frozenset(results.peer.agent)
    public = {300.0, 80.0, 0.0}  # tariffs
    told = set()
    for period, trades in trade.groupby("period"):
        prices = trades.price_eur_per_mwh[~trades.price_eur_per_mwh.round(6).isin(public)].to_numpy()
        for message in (each for each in spy if each.period == period):
            if np.isin(np.array(content(message)).round(6), prices.round(6)).any():
                told.add((type(message).__name__, role_of(message.receiver, peers)))
    assert told == {("ClearingNotice", Role.PEERS)}


@pytest.mark.parametrize("design", ["cm2", "cm4"])
def test_a_peer_is_told_the_mean_price_of_its_own_trades_only(tmp_path, spy, design):
    results = simulated(tmp_path / "run", design)
    for notice in (each for each in spy if type(each).__name__ == "ClearingNotice"):
        trades = results.trade.query("period == @notice.period")
        own = trades[(trades.seller == notice.receiver) | (trades.buyer == notice.receiver)]
        if len(own):
            assert notice.price_eur_per_mwh == pytest.approx(np.average(own.price_eur_per_mwh, weights=own.p_mw))
        else:
            assert np.isnan(notice.price_eur_per_mwh)


def test_who_has_no_price_in_its_types_cannot_tell_one(spy, tmp_path):
    simulated(tmp_path / "run", "cm4")
    to_dso = {type(each) for each in spy if each.receiver == "dso"}
    named = {field.name for kind in to_dso for field in fields(kind)}
    assert not [name for name in named if "price" in name or "cost" in name or "eur" in name]


@pytest.mark.parametrize("design", DESIGNS)
def test_the_money_of_all_roles_adds_up_to_nothing(tmp_path, design):
    kpi = simulated(tmp_path / "run", design).kpi
    money = {key: value for key, value in kpi.items() if key.startswith("money_")}
    assert len(money) == 5
    assert sum(money.values()) == pytest.approx(0.0, abs=1e-9)
    assert kpi["money_peers_eur"] == pytest.approx(-sum(_payments(tmp_path / "run")))


def _payments(path):
    return Results(path).agent.payment_eur


def test_figures_of_the_flexibility_market_are_those_of_its_tables(tmp_path):
    results = simulated(tmp_path / "run", "cm2")
    kpi, final = results.kpi, results.period.query("stage == 'final'")
    assert kpi["lfm_runs"] == final.lfm_status.notna().sum() > 0
    assert kpi["lfm_cost_eur"] == pytest.approx(results.table("flexibility").paid_eur.sum())
    assert kpi["lfm_volume_mwh"] == pytest.approx(results.table("flexibility").activated_mw.sum() * 2.0)
    assert kpi["congested_lines_p2p"] > kpi["congested_lines_final"]
    paid = results.settlement.query("payer == 'dso' and reason == 'flexibility'").amount_eur.sum()
    assert kpi["flexibility_paid_eur"] == pytest.approx(paid)


def test_a_market_that_cannot_solve_everything_says_how_often_and_how_much(tmp_path):
    kpi = simulated(tmp_path / "run", "cm2", **{"grid.max_loading_percent": 4}).kpi
    assert 0.0 < kpi["lfm_infeasible_percent"] <= 100.0
    assert kpi["lfm_missing_max_mw"] > 0.0
    assert kpi["lfm_missing_mwh"] >= 2.0 * kpi["lfm_missing_max_mw"]


def test_without_a_flexibility_market_nothing_is_said_of_it(tmp_path):
    kpi = simulated(tmp_path / "run", "cm2", **{"coordination.lfm": False}).kpi
    assert not [key for key in kpi if key.startswith("lfm_") or "_final" in key.removeprefix("stored_final")]
    assert "overflow_sum_p2p_mw" in kpi


def test_overflow_is_the_mean_over_periods(tmp_path):
    results = simulated(tmp_path / "run", "cm1")
    p2p = results.period.query("stage == 'p2p'")
    assert results.kpi["overflow_sum_p2p_mw"] == pytest.approx(p2p.overflow_sum_mw.mean())
    assert results.kpi["congested_lines_p2p"] == p2p.n_congested_lines.sum()


def test_lost_messages_disclose_nothing(tmp_path):
    lost = simulated(tmp_path / "lost", "cm2", **{"communication.loss": 1.0}).kpi
    assert lost.get("numbers_peers_to_p2p_market", 0) == 0
    assert lost["messages_lost"] > 0


NAMES = {
    "dso": Role.DSO,
    "peers (truthful)": Role.PEERS,
    "House": Role.PEERS,
    "mediator (flexibility)": Role.MEDIATOR,
    "plant": Role.OUTSIDE,
}


@pytest.mark.parametrize(("name", "role"), NAMES.items())
def test_a_name_stands_for_a_role(name, role):
    assert role_of(name, frozenset(["House"])) is role
