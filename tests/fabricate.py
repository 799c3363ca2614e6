"""Results directories made up for tests: no market and no power flow, but all files and tables.

``tiny`` is small enough to know every total by hand; ``village`` looks like a real day.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from peerwatt.sim.kpi import compute_kpis
from peerwatt.sim.tables import TABLES

Rows = dict[str, list[Any]]


def as_tables(rows: Mapping[str, Rows]) -> dict[str, pa.Table]:
    tables = {}
    for name, columns in rows.items():
        n = len(next(iter(columns.values()), []))
        full = {field.name: columns.get(field.name, [None] * n) for field in TABLES[name]}
        arrays = [pa.array(full[field.name], type=field.type, from_pandas=True) for field in TABLES[name]]
        tables[name] = pa.Table.from_arrays(arrays, schema=TABLES[name])
    return tables


def write(
    path: Path,
    rows: Mapping[str, Rows],
    manifest: Mapping[str, Any],
    scenario: Mapping[str, Any],
    topology: Mapping[str, Any],
    without: Iterable[str] = (),
) -> Path:
    path.mkdir(parents=True, exist_ok=True)
    tables = {name: table for name, table in as_tables(rows).items() if name not in set(without)}
    for name, table in tables.items():
        pq.write_table(table, path / f"{name}.parquet")
    (path / "manifest.json").write_text(json.dumps(manifest))
    (path / "topology.json").write_text(json.dumps(topology))
    (path / "network.json").write_text("{}")
    (path / "scenario.yaml").write_text(yaml.safe_dump(dict(scenario)))
    (path / "kpi.json").write_text(json.dumps(compute_kpis(tables, manifest)))
    return path


def manifest_of(name: str, periods: int, done: int | None = None, **changes: Any) -> dict[str, Any]:
    return {
        "peerwatt": "0.1.0",
        "versions": {"python": "3.11", "numpy": "2.4", "power-grid-model": "1.12"},
        "name": name,
        "seed": 7,
        "replica": 0,
        "scenario_hash": "0123456789abcdef",
        "start": "2016-06-21T00:00:00",
        "period_s": 900,
        "periods": periods,
        "periods_done": periods if done is None else done,
        "stages": ["forecast", "p2p", "delivery"],
        "exit_state": "finished",
        "reason": "",
        "wall_s": 2.4,
        "time_s": {"set-up": 0.6, "agents": 0.5, "market": 0.4, "power flow": 0.3, "recording": 0.2},
        "mechanism": "double_auction",
    } | changes


def tiny(path: Path, without: Iterable[str] = (), peer_name: str = "house", **changes: Any) -> Path:
    """Four periods of one hour, three buses in a row, a consumer, a producer and a prosumer.

    Every peer is constant: the consumer takes 4 kW, the producer feeds in 3 kW, the prosumer takes 1 kW.
    The producer sells 2 kW to the consumer at 200 EUR/MWh in each period.
    """
    n = 4
    periods = range(n)
    stages = ["forecast", "p2p", "delivery"]
    grid = [(k, s) for k in periods for s in stages]
    bad = [k == 3 and s == "forecast" for k, s in grid]
    p2p = [s == "p2p" for _, s in grid]
    rows: dict[str, Rows] = {
        "period": {
            "period": [k for k, _ in grid],
            "stage": [s for _, s in grid],
            "converged": [not b for b in bad],
            "reason": ["the iteration diverged" if b else None for b in bad],
            "slack_p_mw": [None if b else 0.0021 for b in bad],
            "losses_mw": [None if b else 0.0001 for b in bad],
            "n_congested_lines": [None if b else int(k == 2) for b, (k, _) in zip(bad, grid, strict=True)],
            "n_voltage_violations": [None if b else 0 for b in bad],
            "min_vm_pu": [None if b else 0.96 + 0.001 * k for b, (k, _) in zip(bad, grid, strict=True)],
            "max_vm_pu": [None if b else 1.0 for b in bad],
            "max_loading_percent": [
                None if b else (120.0 if k == 2 else 50.0) for b, (k, _) in zip(bad, grid, strict=True)
            ],
            "p2p_volume_mwh": [0.002 if s else None for s in p2p],
            "p2p_price_eur_per_mwh": [200.0 if s else None for s in p2p],
            "p2p_buyer_price_eur_per_mwh": [210.0 if s else None for s in p2p],
            "p2p_surplus_eur": [0.02 if s else None for s in p2p],
            "social_welfare_eur": [0.25 if s else None for s in p2p],
            "messages": [2 if s else 0 for s in p2p],
        },
        "bus": _cross(
            grid,
            "bus",
            [0, 1, 2],
            lambda k, b: {"vm_pu": (1.0, 0.98, 0.96 + 0.001 * k)[b], "p_mw": (0.0, 0.003, -0.005)[b]},
        ),
        "line": _cross(grid, "line", [5], lambda k, e: {"loading_percent": 120.0 if k == 2 else 50.0}),
        "trafo": _cross(grid, "trafo", [0], lambda k, e: {"loading_percent": 30.0}),
        "peer": {
            "agent": [peer_name, "solar", "mixed"],
            "bus": [2, 1, 2],
            "kind": ["consumer", "producer", "prosumer"],
            "strategy": ["truthful"] * 3,
        },
        "agent": {
            "period": [k for k in periods for _ in range(3)],
            "agent": [peer_name, "solar", "mixed"] * n,
            "p_forecast_mw": [-0.004, 0.003, -0.001] * n,
            "p_p2p_mw": [-0.004, 0.003, -0.001] * n,
            "p_mw": [-0.004, 0.003, -0.001] * n,
            "p_load_mw": [0.004, 0.0, 0.003] * n,
            "p_generation_mw": [0.0, 0.003, 0.002] * n,
            "p_traded_mw": [-0.002, 0.002, 0.0] * n,
            "utility_eur": [0.05, 0.0, 0.0] * n,
            "payment_eur": [1.0, -0.5, 0.3] * n,
            "reference_payment_eur": [1.2, -0.3, 0.3] * n,
        },
        "trade": {
            "period": list(periods),
            "product": ["energy"] * n,
            "seller": ["solar"] * n,
            "buyer": [peer_name] * n,
            "p_mw": [0.002] * n,
            "price_eur_per_mwh": [200.0] * n,
            "fee_eur_per_mwh": [0.0] * n,
        },
        "settlement": {
            "period": [k for k in periods for _ in range(4)],
            "payer": [peer_name, peer_name, "mixed", "supplier"] * n,
            "payee": ["solar", "supplier", "supplier", "solar"] * n,
            "reason": ["p2p", "supply", "supply", "feed_in"] * n,
            "amount_eur": [0.4, 0.6, 0.3, 0.1] * n,
        },
        "message": {
            "time_s": [3600 * k for k in periods for _ in range(2)],
            "period": [k for k in periods for _ in range(2)],
            "kind": ["Bid"] * 2 * n,
            "sender": ["peers"] * 2 * n,
            "receiver": ["mediator"] * 2 * n,
            "delivered_s": [1, None] * n,
            "n": [2, 1] * n,
        },
    }
    scenario = {
        "name": "tiny",
        "description": "Three buses",
        "tariff": {"supply_eur_per_mwh": 300.0, "feed_in_eur_per_mwh": 80.0},
    }
    return write(path, rows, manifest_of("tiny", n, period_s=3600) | changes, scenario, _row_of(3), without)


def _cross(grid: list[tuple[int, str]], key: str, elements: list[int], values: Any) -> Rows:
    rows: Rows = {"period": [], "stage": [], key: []}
    for k, stage in grid:
        for element in elements:
            rows["period"].append(k)
            rows["stage"].append(stage)
            rows[key].append(element)
            for name, value in values(k, element).items():
                rows.setdefault(name, []).append(value)
    return rows


def _row_of(n: int) -> dict[str, Any]:
    return {
        "buses": [
            {
                "bus": b,
                "name": f"Bus {b}",
                "vn_kv": 0.4,
                "x": None,
                "y": None,
                "min_vm_pu": 0.9,
                "max_vm_pu": 1.1,
            }
            for b in range(n)
        ],
        "lines": [
            {
                "line": 5,
                "name": "Line 5",
                "from_bus": 1,
                "to_bus": 2,
                "max_loading_percent": 100.0,
                "in_service": True,
            }
        ],
        "trafos": [
            {
                "trafo": 0,
                "name": "Trafo",
                "hv_bus": 0,
                "lv_bus": 1,
                "sn_mva": 0.4,
                "max_loading_percent": 100.0,
            }
        ],
        "slack_buses": [0],
    }


def village(
    path: Path,
    n_buses: int = 44,
    n_peers: int = 40,
    periods: int = 96,
    trading: float = 1.0,
    coordinates: bool = True,
    without: Iterable[str] = (),
    **changes: Any,
) -> Path:
    """A day that looks real: a radial grid, sunshine, evening peak; ``trading`` scales the trades."""
    rng = np.random.default_rng(1)
    topology = _village_grid(rng, n_buses, coordinates)
    manifest = manifest_of("lv-village", periods) | changes
    done = int(manifest["periods_done"])
    peer, p_mw = _village_peers(rng, n_buses, n_peers, done, float(manifest["period_s"]))
    trade = _village_trades(p_mw * trading)
    rows = _village_states(rng, topology, peer["bus"], p_mw, trade, manifest)
    rows |= _village_money(peer, p_mw, trade, float(manifest["period_s"]) / 3600.0)
    scenario = {
        "name": "lv-village",
        "description": "A day in early summer in a village of one street grid; households trade through "
        "a double auction every quarter of an hour.",
        "tariff": {"supply_eur_per_mwh": 300.0, "feed_in_eur_per_mwh": 80.0},
    }
    return write(path, rows, manifest, scenario, topology, without)


def _village_grid(rng: np.random.Generator, n: int, coordinates: bool) -> dict[str, Any]:
    parent = np.array([-1, 0] + [1 if b < 7 else max(1, b - int(rng.integers(3, 8))) for b in range(2, n)])
    angle, xy = np.zeros(n), np.zeros((n, 2))
    xy[1] = (0.0004, 0.0003)
    for b in range(2, n):
        angle[b] = 2.0 * np.pi * b / 5.0 if parent[b] == 1 else angle[parent[b]] + rng.normal(0.0, 0.35)
        step = 0.0006 * rng.uniform(0.6, 1.2)
        xy[b] = xy[parent[b]] + step * np.array([1.5 * np.cos(angle[b]), np.sin(angle[b])])
    xy += (11.41, 53.63)
    return {
        "buses": [
            {
                "bus": b,
                "name": f"LV4.101 Bus {b}" if b else "MV1.101 Bus 4",
                "vn_kv": 0.4 if b else 20.0,
                "x": float(xy[b, 0]) if coordinates else None,
                "y": float(xy[b, 1]) if coordinates else None,
                "min_vm_pu": 0.95,
                "max_vm_pu": 1.05,
            }
            for b in range(n)
        ],
        "lines": [
            {
                "line": b - 2,
                "name": f"LV4.101 Line {b - 2}",
                "from_bus": int(parent[b]),
                "to_bus": b,
                "max_loading_percent": 100.0,
                "in_service": b != n - 1,
            }
            for b in range(2, n)
        ],
        "trafos": [
            {
                "trafo": 0,
                "name": "MV4.101-LV4.101-Trafo 1",
                "hv_bus": 0,
                "lv_bus": 1,
                "sn_mva": 0.4,
                "max_loading_percent": 100.0,
            }
        ],
        "slack_buses": [0],
    }


def _village_peers(
    rng: np.random.Generator, n_buses: int, n: int, done: int, period_s: float
) -> tuple[Rows, np.ndarray]:
    kind = np.array(["consumer", "prosumer", "prosumer", "consumer", "producer"])[np.arange(n) % 5]
    hour = (np.arange(done)[:, None] * period_s / 3600.0) % 24.0
    load = 0.0006 + 0.0022 * np.exp(-(((hour - 19.0) / 2.5) ** 2)) + 0.0011 * np.exp(-(((hour - 8.0) / 2.0) ** 2))
    load = load * rng.uniform(0.6, 1.8, n) * rng.gamma(6.0, 1 / 6.0, (done, n)) * (kind != "producer")
    sun = np.clip(np.cos((hour - 13.0) / 8.0 * np.pi / 2.0), 0.0, None) * (np.abs(hour - 13.0) < 8.0)
    size = rng.uniform(0.004, 0.009, n) * np.where(kind == "producer", 1.8, 1.0) * (kind != "consumer")
    cloud = np.clip(1.0 - 0.5 * rng.random((done, 1)) * (rng.random((done, 1)) < 0.3), 0.2, 1.0)
    peer: Rows = {
        "agent": [f"{k.capitalize()} {i}" for i, k in enumerate(kind)],
        "bus": [int(b) for b in 2 + np.arange(n) % (n_buses - 2)],
        "kind": [str(k) for k in kind],
        "strategy": ["truthful"] * n,
        "p_load_mw": [0.004] * n,
        "p_generation_mw": list(size),
        "p_storage_mw": [0.0] * n,
        "e_storage_mwh": [0.0] * n,
    }
    return peer, sun * cloud * size - load


def _village_trades(p_mw: np.ndarray) -> np.ndarray:
    """Pro rata matching, shape (n_periods, n_sellers, n_buyers) in MW."""
    sell, buy = np.maximum(p_mw, 0.0), np.maximum(-p_mw, 0.0)
    largest = np.maximum(np.maximum(sell.sum(1), buy.sum(1)), 1e-12)[:, None, None]
    return sell[:, :, None] * buy[:, None, :] / largest


def _village_states(
    rng: np.random.Generator, topology: Any, at: list[int], p_mw: np.ndarray, trade: np.ndarray, manifest: Any
) -> dict[str, Rows]:
    done, n_buses = len(p_mw), len(topology["buses"])
    parent = np.array([-1, 0] + [line["from_bus"] for line in topology["lines"]])
    injection = np.zeros((done, n_buses))
    np.add.at(injection, (slice(None), np.array(at)), p_mw)
    flow = injection.copy()
    for b in range(n_buses - 1, 0, -1):
        flow[:, parent[b]] += flow[:, b]
    stages = list(manifest["stages"])
    rows: dict[str, list[Any]] = {"period": [], "bus": [], "line": [], "trafo": []}
    hours = float(manifest["period_s"]) / 3600.0
    for k in range(done):
        for stage in stages:
            noise = {"forecast": 0.93, "p2p": 0.98}.get(stage, 1.0)
            vm = np.ones(n_buses) * 1.0
            for b in range(1, n_buses):
                vm[b] = vm[parent[b]] + noise * flow[k, b] * (0.06 if b == 1 else 0.13)
            loading = np.abs(flow[k, 1:]) * noise / np.where(np.arange(n_buses - 1) == 0, 0.25, 0.11) * 100.0
            loading[1:] *= 1.0
            lost = stage == "delivery" and k in (30, 31)
            if lost:
                vm, loading = vm * np.nan, loading * np.nan
            rows["period"].append(_period_row(k, stage, vm, loading, flow[k, 0] * noise, trade[k], hours, lost))
            rows["bus"].append(
                {"period": [k] * n_buses, "stage": [stage] * n_buses, "bus": list(range(n_buses))}
                | {"vm_pu": list(vm), "p_mw": list(injection[k])}
            )
            n = n_buses - 2
            rows["line"].append(
                {"period": [k] * n, "stage": [stage] * n, "line": list(range(n))}
                | {"p_from_mw": list(-flow[k, 2:]), "loading_percent": list(loading[1:])}
            )
            rows["trafo"].append(
                {"period": [k], "stage": [stage], "trafo": [0]}
                | {"p_from_mw": [-flow[k, 1]], "loading_percent": [loading[0]]}
            )
    return {name: _joined(parts) for name, parts in rows.items()}


def _joined(parts: list[Rows]) -> Rows:
    return {column: [value for part in parts for value in part[column]] for column in parts[0]} if parts else {}


def _period_row(
    k: int,
    stage: str,
    vm: np.ndarray,
    loading: np.ndarray,
    p_mw: float,
    trade: np.ndarray,
    hours: float,
    lost: bool,
) -> Rows:
    volume = float(trade.sum()) * hours
    ratio = 190.0 - 90.0 * np.tanh(p_mw * 20.0)
    market = stage == "p2p"
    row: dict[str, Any] = {
        "period": k,
        "stage": stage,
        "converged": not lost,
        "reason": "voltage collapse: no solution after 20 iterations" if lost else None,
        "slack_p_mw": None if lost else -p_mw + 0.0004,
        "losses_mw": None if lost else 0.0004 + abs(p_mw) * 0.03,
        "n_congested_lines": None if lost else int((loading > 100.0).sum()),
        "n_voltage_violations": None if lost else int(((vm > 1.05) | (vm < 0.95)).sum()),
        "min_vm_pu": None if lost else float(vm.min()),
        "max_vm_pu": None if lost else float(vm.max()),
        "max_loading_percent": None if lost else float(loading.max()),
        "p2p_volume_mwh": volume if market else None,
        "p2p_price_eur_per_mwh": ratio if market and volume > 0 else None,
        "social_welfare_eur": volume * 110.0 if market else None,
        "messages": 80 if market else 0,
    }
    return {name: [value] for name, value in row.items()}


def _village_money(peer: Rows, p_mw: np.ndarray, trade: np.ndarray, hours: float) -> dict[str, Rows]:
    done, n = p_mw.shape
    names = peer["agent"]
    price = 190.0 - 90.0 * np.tanh(p_mw.sum(1) * 20.0)  # (n_periods,)
    sold, bought = trade.sum(2), trade.sum(1)
    left, missing = np.maximum(p_mw, 0.0) - sold, np.maximum(-p_mw, 0.0) - bought
    payment = ((bought - sold) * price[:, None] + missing * 300.0 - left * 80.0) * hours
    reference = np.where(p_mw < 0.0, -p_mw * 300.0, -p_mw * 80.0) * hours
    k, s, b = np.nonzero(trade > 1e-9)
    amounts: list[tuple[int, str, str, str, float]] = []
    for period, seller, buyer in zip(k, s, b, strict=True):
        value = trade[period, seller, buyer] * price[period] * hours
        amounts.append((int(period), names[buyer], names[seller], "p2p", float(value)))
    for period in range(done):
        for i, name in enumerate(names):
            amounts.append((period, name, "supplier", "supply", float(missing[period, i] * 300.0 * hours)))
            amounts.append((period, "supplier", name, "feed_in", float(left[period, i] * 80.0 * hours)))
            amounts.append((period, name, "dso", "network_fee", float(abs(p_mw[period, i]) * 20.0 * hours)))
    columns = ["period", "payer", "payee", "reason", "amount_eur"]
    return {
        "peer": peer,
        "agent": {
            "period": [p for p in range(done) for _ in names],
            "agent": names * done,
            "p_forecast_mw": list((p_mw * 0.93).ravel()),
            "p_p2p_mw": list((p_mw * 0.98).ravel()),
            "p_mw": list(p_mw.ravel()),
            "p_load_mw": list(np.maximum(-p_mw, 0.0).ravel()),
            "p_generation_mw": list(np.maximum(p_mw, 0.0).ravel()),
            "p_traded_mw": list((sold - bought).ravel()),
            "utility_eur": [0.0] * (done * n),
            "payment_eur": list(payment.ravel()),
            "reference_payment_eur": list(reference.ravel()),
        },
        "trade": {
            "period": list(k),
            "product": ["energy"] * len(k),
            "seller": [names[i] for i in s],
            "buyer": [names[i] for i in b],
            "p_mw": list(trade[k, s, b]),
            "price_eur_per_mwh": list(price[k]),
            "fee_eur_per_mwh": [0.0] * len(k),
        },
        "settlement": {name: [row[i] for row in amounts] for i, name in enumerate(columns)},
        "message": {
            "time_s": [900 * p for p in range(done)],
            "period": list(range(done)),
            "kind": ["Bid"] * done,
            "sender": ["peers"] * done,
            "receiver": ["mediator"] * done,
            "delivered_s": [900 * p + 1 for p in range(done)],
            "n": [n] * done,
        },
    }
