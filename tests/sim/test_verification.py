"""What a run leaves behind is enough to recompute every power flow with plain pandapower (design, section 5)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from peerwatt.grid.verify import recompute
from peerwatt.sim.results import Results
from peerwatt.sim.running import run
from peerwatt.sim.scenario import Scenario


def rows(results: Results, name: str, period: int, stage: str) -> pd.DataFrame:
    table = results.table(name)
    return table[(table.period == period) & (table.stage == stage)]


def recomputed_alike(results: Results, periods: list[int]) -> int:
    """Recompute every stage of some periods; return how many power flows agreed."""
    text = (results.path / "network.json").read_text()
    checked = 0
    for (period, stage), bus in results.bus.groupby(["period", "stage"], observed=True):
        if period not in periods:
            continue
        net = recompute(text, bus.p_mw.to_numpy(), bus.q_mvar.to_numpy(), bus.bus.to_numpy())
        at = {name: rows(results, name, period, stage) for name in ("line", "trafo")}
        assert np.abs(net.res_bus.vm_pu.loc[bus.bus].to_numpy() - bus.vm_pu).max() < 1e-6
        assert np.abs(net.res_bus.va_degree.loc[bus.bus].to_numpy() - bus.va_degree).max() < 1e-4
        for name, table in at.items():
            reference = net[f"res_{name}"].loading_percent.loc[table[name]].to_numpy()
            assert np.abs(reference - table.loading_percent).max() < 1e-3
        totals = rows(results, "period", period, stage).iloc[0]
        assert net.res_ext_grid.p_mw.sum() == pytest.approx(totals.slack_p_mw, abs=1e-6)
        checked += 1
    return checked


@pytest.mark.parametrize("name", ["lv-village", pytest.param("lv-village-bilateral", marks=pytest.mark.slow)])
def test_some_periods_of_the_village_agree_with_plain_pandapower(tmp_path: Path, name: str) -> None:
    results = run(Scenario.load(name, {"time.periods": 52}), tmp_path / "r")
    assert recomputed_alike(results, [30, 51]) == 6
