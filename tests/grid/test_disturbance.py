from __future__ import annotations

from typing import Any

import numpy as np
import pandapower as pp
import pytest

from peerwatt.errors import GridDataError
from peerwatt.grid.convert import convert_net
from peerwatt.grid.disturbance import without_lines
from peerwatt.grid.engine import make_engine
from peerwatt.grid.ptdf import ptdf
from peerwatt.grid.sensitivity import Sensitivities
from peerwatt.grid.tap import with_tap_position
from tests.scenarios import feeder

P = np.linspace(-0.004, 0.003, 9)
Q = np.full(9, -0.0005)


def net(tap_side: str = "hv", tap_pos: int = 0, kind: str | None = "Ratio") -> Any:
    feed = feeder(8)
    feed.line["name"] = [f"Line {i}" for i in range(len(feed.line))]
    feed.trafo["name"] = "Trafo"
    feed.trafo["tap_side"], feed.trafo["tap_pos"], feed.trafo["tap_changer_type"] = tap_side, tap_pos, kind
    feed.trafo["tap_step_percent"], feed.trafo["tap_min"], feed.trafo["tap_max"] = 2.5, -2, 2
    feed.trafo["tap_neutral"] = 0
    return feed


def solved_alike(ours: Any, theirs: Any, p_mw: np.ndarray = P, q_mvar: np.ndarray = Q) -> None:
    a, b = (make_engine("power-grid-model", network).solve(p_mw, q_mvar) for network in (ours, theirs))
    assert a.converged
    assert np.allclose(a.vm_pu, b.vm_pu, atol=1e-9, equal_nan=True)
    assert np.allclose(a.line.loading_percent, b.line.loading_percent, atol=1e-6)
    assert np.allclose(a.trafo.loading_percent, b.trafo.loading_percent, atol=1e-6)
    assert a.losses_mw == pytest.approx(b.losses_mw, abs=1e-10)


def test_steps_without_a_type_are_taken_as_ratio_steps() -> None:
    moved = with_tap_position(convert_net(net(kind=None), "a"), "Trafo", -2)
    solved_alike(moved, convert_net(net(tap_pos=-2), "a"))


def test_a_position_that_is_not_there_is_refused_with_those_that_are() -> None:
    network = convert_net(net(), "a")
    with pytest.raises(GridDataError, match=r"no tap position 5 \(positions: -2 to 2\)"):
        with_tap_position(network, "Trafo", 5)
    with pytest.raises(GridDataError, match="did you mean 'Trafo'"):
        with_tap_position(network, "Trafos", 0)


def test_a_line_out_leaves_what_is_behind_it_without_supply() -> None:
    network = convert_net(net(), "a")
    cut = without_lines(network, ["Line 4"])
    assert cut.buses.in_service.tolist() == [True] * 6 + [False] * 3
    alive = np.where(cut.buses.in_service, 1.0, 0.0)
    state = make_engine("power-grid-model", cut).solve(P * alive, Q * alive)
    assert state.converged
    assert np.isnan(state.vm_pu[6:]).all()
    assert np.isfinite(state.vm_pu[:6]).all()
    assert state.line.loading_percent[4:].tolist() == [0.0, 0.0, 0.0]
    shorter = feeder(5)
    own = make_engine("power-grid-model", convert_net(shorter, "b")).solve(P[:6], Q[:6])
    assert np.allclose(state.vm_pu[:6], own.vm_pu, atol=1e-9)


def test_a_line_out_of_a_ring_leaves_everybody_supplied() -> None:
    ring = net()
    pp.create_line(ring, ring.bus.index[1], ring.bus.index[-1], 0.05, "NAYY 4x50 SE", name="Closing")
    network = convert_net(ring, "a")
    cut = without_lines(network, ["Line 2"])
    assert cut.buses.in_service.all()
    ring.line.loc[2, "in_service"] = False
    solved_alike(cut, convert_net(ring, "a"))


def test_an_unknown_line_is_refused_with_the_nearest() -> None:
    with pytest.raises(GridDataError, match="did you mean 'Line 3'"):
        without_lines(convert_net(net(), "a"), ["Lien 3"])


def test_the_reference_engine_sees_the_same_disturbance() -> None:
    network = convert_net(net(), "a")
    for changed in (with_tap_position(network, "Trafo", 2), without_lines(network, ["Line 4"])):
        alive = np.where(changed.buses.in_service, 1.0, 0.0)
        a, b = (make_engine(name, changed).solve(P * alive, Q * alive) for name in ("power-grid-model", "pandapower"))
        assert np.allclose(a.vm_pu, b.vm_pu, atol=1e-7, equal_nan=True)
        assert np.allclose(a.line.loading_percent, np.nan_to_num(b.line.loading_percent), atol=1e-4)


def test_sensitivities_are_there_after_an_outage_and_zero_behind_it() -> None:
    cut = without_lines(convert_net(net(), "a"), ["Line 4"])
    alive = np.where(cut.buses.in_service, 1.0, 0.0)
    state = make_engine("power-grid-model", cut).solve(P * alive, Q * alive)
    by_p = Sensitivities(cut, state).vm_pu().by_p_mw
    assert (by_p[:, 6:] == 0.0).all()
    assert (np.diag(by_p)[2:6] > 0.0).all()
    assert ptdf(cut)[:4, 5].tolist() == [-1.0] * 4
    assert (ptdf(cut)[4:7] == 0.0).all()
