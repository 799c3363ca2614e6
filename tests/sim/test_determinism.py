"""Invariant 8: the same scenario and seed give byte-equal tables, whatever the order of agents."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from peerwatt.sim.model import Simulation
from peerwatt.sim.tables import TABLES
from tests.scenarios import small_case, small_scenario

MIX = {"zero_intelligence": 0.4, "grid_aware": 0.3, "truthful": 0.3}


def tables(directory: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(directory.glob("*.parquet"))}


def run(directory: Path, order: np.ndarray | None = None, **changes: Any) -> dict[str, str]:
    scenario = small_scenario(6, population__strategies=MIX, communication__loss=0.05, **changes)
    with Simulation(scenario, directory, case=small_case(6, 10, order=order)) as simulation:
        simulation.run()
    return tables(directory)


@pytest.mark.parametrize("mechanism", ["double_auction", "bilateral"])
def test_the_same_seed_gives_the_same_bytes(tmp_path: Path, mechanism: str) -> None:
    first = run(tmp_path / "a", market__mechanism=mechanism)
    assert set(first) == {f"{name}.parquet" for name in TABLES}
    assert run(tmp_path / "b", market__mechanism=mechanism) == first
    other = run(tmp_path / "c", market__mechanism=mechanism, seed=2)
    assert other["trade.parquet"] != first["trade.parquet"]


@pytest.mark.parametrize("mechanism", ["double_auction", "bilateral"])
def test_the_order_in_which_agents_are_listed_does_not_matter(tmp_path: Path, mechanism: str) -> None:
    peers = {"House 3": {"pv_mw": 0.004}, "House 5": {"strategy": "truthful"}, "House 1": {"storage_mwh": 0.01}}
    first = run(tmp_path / "a", market__mechanism=mechanism, population__peers=peers)
    shuffled = np.random.default_rng(5).permutation(np.arange(1, 10))
    backwards = dict(reversed(peers.items()))
    assert run(tmp_path / "b", shuffled, market__mechanism=mechanism, population__peers=backwards) == first


def test_flushing_to_disk_at_other_moments_changes_no_byte(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = run(tmp_path / "a")
    monkeypatch.setattr("peerwatt.sim.recorder.FLUSH_AFTER_S", -1.0)
    assert run(tmp_path / "b") == first


def test_two_mechanisms_see_the_same_weather_and_the_same_bids(tmp_path: Path) -> None:
    results = []
    for mechanism in ("double_auction", "bilateral"):
        with Simulation(small_scenario(3, market__mechanism=mechanism), case=small_case(3)) as simulation:
            while simulation.running:
                simulation.step()
            results.append(simulation.last)
    a, b = results
    assert a is not None
    assert b is not None
    assert np.array_equal(a.p_forecast_mw, b.p_forecast_mw)
    assert np.array_equal(a.reference_payment_eur, b.reference_payment_eur)
