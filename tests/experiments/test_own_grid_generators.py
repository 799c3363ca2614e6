"""A run on a user's own net in which a generator holds a voltage."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandapower as pp
import pytest

from peerwatt.errors import GridDataError
from peerwatt.grid.verify import recompute
from peerwatt.sim.running import run
from peerwatt.sim.scenario import Scenario
from tests.scenarios import feeder, profiles


def test_a_net_with_a_generator_runs_with_auto_and_is_refused_by_the_default_engine(tmp_path: Path) -> None:
    net = feeder()
    pp.create_gen(net, 4, p_mw=0.008, vm_pu=1.0, name="CHP")
    pp.to_json(net, str(tmp_path / "net.json"))
    profiles(net, 3).assign(**{"gen.CHP.p_mw": [0.002, 0.004, 0.006]}).to_csv(tmp_path / "profiles.csv", index=False)
    text = "grid: {case: net.json, profiles: profiles.csv%s}\ntime: {start: 2030-06-01, periods: 3}\n"
    (tmp_path / "default.yaml").write_text(text % "")
    (tmp_path / "auto.yaml").write_text(text % ", engine: auto")
    with pytest.raises(GridDataError, match=r"gen 'CHP' .*'auto'"):
        run(Scenario.load(tmp_path / "default.yaml"), tmp_path / "refused")
    results = run(Scenario.load(tmp_path / "auto.yaml"), tmp_path / "out")
    assert results.manifest["exit_state"] == "finished"
    delivered = results.bus[results.bus.stage == "delivery"]
    assert delivered[delivered.bus == 4].vm_pu.to_numpy() == pytest.approx(1.0)
    agent = results.agent[results.agent.agent == "House 3"]
    assert np.isfinite(agent.p_mw).all()
    first = delivered[delivered.period == 0]
    again = recompute(tmp_path / "out" / "network.json", first.p_mw, first.q_mvar, first.bus)
    np.testing.assert_allclose(again.res_bus.vm_pu.loc[first.bus], first.vm_pu, rtol=0, atol=1e-6)
