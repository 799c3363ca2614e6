"""Taps that are stuck, against plain pandapower on a network that was edited without peerwatt."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pandapower as pp
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from peerwatt.errors import GridDataError
from peerwatt.grid.convert import convert_net
from peerwatt.grid.disturbance import without_lines
from peerwatt.grid.engine import make_engine
from peerwatt.grid.network import Network
from peerwatt.grid.tap import with_tap_position

P = np.array([0.0, 0.0, -0.03, -0.03, -0.03])
Q = np.array([0.0, 0.0, -0.008, -0.008, -0.008])
TABLE = pd.DataFrame(
    {
        "id_characteristic": 3,
        "step": [-2, -1, 0, 1, 2],
        "voltage_ratio": [0.955, 0.97, 1.0, 1.02, 1.055],
        "angle_deg": [-1.5, -0.5, 0.0, 0.7, 1.6],
        "vk_percent": [5.5, 5.8, 6.0, 6.3, 6.7],
        "vkr_percent": [1.3, 1.4, 1.425, 1.5, 1.6],
    }
)


def feeder(n_trafo: int = 1, **trafo: Any) -> Any:
    """One or two transformers side by side, a row of three lines and one that closes it to a ring.

    Keywords are columns of the first transformer.
    """
    net = pp.create_empty_network()
    pp.create_bus(net, 20.0, name="MV")
    pp.create_bus(net, 0.4, name="LV")
    pp.create_ext_grid(net, 0, vm_pu=1.0)
    for number in range(n_trafo):
        pp.create_transformer(net, 0, 1, "0.4 MVA 20/0.4 kV", name=f"T{number + 1}")
    for i in range(3):
        bus = pp.create_bus(net, 0.4, name=f"H{i}")
        pp.create_line(net, bus - 1, bus, 0.1, "NAYY 4x150 SE", name=f"L{i}")
    pp.create_line(net, 1, bus, 0.3, "NAYY 4x150 SE", name="ring")
    for name, value in trafo.items():
        if name not in net.trafo.columns:
            net.trafo[name] = None if isinstance(value, str) else np.nan
        net.trafo[name] = [value, *net.trafo[name].tolist()[1:]]
    net["trafo_characteristic_table"] = TABLE.copy()
    return net


def plain(net: Any, trafo: dict[str, Any], lines: tuple[int, ...] = ()) -> Any:
    """Pandapower's own solution of the network with other values of the first transformer and lines out."""
    net = copy.deepcopy(net)
    for name, value in trafo.items():
        net.trafo[name] = [value, *net.trafo[name].tolist()[1:]]
    net.line.loc[list(lines), "in_service"] = False
    pp.create_loads(net, net.bus.index, p_mw=-P, q_mvar=-Q)
    pp.runpp(net, trafo_model="pi", tolerance_mva=1e-10)
    return net


def agrees(network: Network, net: Any) -> None:
    """Both engines have voltages and loadings of a solved network."""
    for name in ("power-grid-model", "pandapower"):
        state = make_engine(name, network).solve(P, Q)
        assert state.converged, state.reason
        assert np.allclose(state.vm_pu, net.res_bus.vm_pu, rtol=0.0, atol=1e-8)
        assert np.allclose(state.trafo.loading_percent, net.res_trafo.loading_percent, rtol=1e-6, atol=1e-6)
        assert np.allclose(state.line.loading_percent, net.res_line.loading_percent, rtol=1e-6, atol=1e-6)


KINDS: dict[str, dict[str, Any]] = {
    "ratio": {"tap_changer_type": "Ratio"},
    "ratio at the low-voltage side": {"tap_changer_type": "Ratio", "tap_side": "lv"},
    "ratio at an angle": {"tap_changer_type": "Ratio", "tap_step_degree": 60.0},
    "symmetrical": {"tap_changer_type": "Symmetrical", "tap_step_degree": 90.0, "tap_step_percent": 1.0},
    "angle in degree": {"tap_changer_type": "Ideal", "tap_step_percent": 0.0, "tap_step_degree": 0.5},
    "angle in percent": {"tap_changer_type": "Ideal", "tap_step_percent": 0.8, "tap_side": "lv"},
    "table": {"tap_changer_type": "Tabular", "tap_dependency_table": True, "id_characteristic_table": 3},
    "turned": {"tap_changer_type": "Ratio", "shift_degree": 150.0},
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_stuck_tap_of_every_kind_is_as_plain_pandapower_has_it(kind: str) -> None:
    # Side by side with another transformer a change of the angle shows in flows; a turn of 150 degrees would burn it.
    net = feeder(1 if kind == "turned" else 2, **KINDS[kind])
    agrees(with_tap_position(convert_net(net, "a"), "T1", -1), plain(net, {"tap_pos": -1}))


def test_a_second_tap_changer_gets_stuck_too() -> None:
    second = {"tap2_side": "lv", "tap2_neutral": 1.0, "tap2_pos": 1.0, "tap2_step_percent": 2.0}
    net = feeder(2, tap_changer_type="Ratio", tap_pos=1.0, tap2_changer_type="Ratio", **second)
    agrees(with_tap_position(convert_net(net, "a"), "T1", 3, changer=2), plain(net, {"tap2_pos": 3.0}))


def test_a_tap_without_limits_has_every_position() -> None:
    net = feeder(tap_changer_type="Ratio", tap_min=np.nan, tap_max=np.nan)
    net.line.loc[3, "in_service"] = False
    network = with_tap_position(convert_net(net, "a"), 0, 1)
    agrees(network, plain(net, {"tap_pos": 1}))
    assert make_engine("pandapower", network).solve(P, Q).vm_pu[1] == pytest.approx(0.96839, abs=1e-5)


def test_an_empty_position_is_the_neutral_one_until_the_tap_is_stuck() -> None:
    net = feeder(tap_changer_type="Ratio", tap_pos=np.nan)
    network = convert_net(net, "a")
    agrees(network, plain(net, {"tap_pos": 0}))
    agrees(with_tap_position(network, "T1", 2), plain(net, {"tap_pos": 2}))


@pytest.mark.parametrize(
    ("trafo", "tap_pos", "problem"),
    [
        ({"tap_changer_type": "Ratio", "tap_side": None}, 1, r"changes nothing \(empty in the network: tap_side\)"),
        ({"tap_changer_type": "Ratio", "tap_neutral": np.nan}, 1, r"empty in the network: tap_neutral"),
        ({"tap_changer_type": "Ratio", "tap_step_percent": 0.0}, 1, r"empty.*tap_step_percent and tap_step_degree"),
        ({"tap_changer_type": "Tabular"}, 1, r"tap_dependency_table has to be True"),
        ({"tap_changer_type": "Ratio", "in_service": False}, 1, r"it is out of service"),
        ({"tap_changer_type": "Ratio", "tap_max": np.nan}, -3, r"has no tap position -3 \(positions: -2 to any\)"),
        ({**KINDS["table"], "tap_max": 9}, 5, r"tap_pos 5 is not in its id_characteristic_table 3 .*-2, -1, 0, 1, 2"),
    ],
)
def test_a_tap_that_would_do_nothing_or_something_unknown_is_refused_by_name(
    trafo: dict[str, Any], tap_pos: int, problem: str
) -> None:
    network = convert_net(feeder(2, **trafo), "a")
    with pytest.raises(GridDataError, match=r"^a: trafo 'T1' \(index 0\).*" + problem):
        with_tap_position(network, "T1", tap_pos)


def test_two_transformers_with_one_table_at_two_positions_are_refused() -> None:
    net = feeder(2, **KINDS["table"])
    for name in ("tap_dependency_table", "id_characteristic_table"):
        net.trafo[name] = net.trafo[name][0]
    network = convert_net(net, "a")  # both stand at 0
    with pytest.raises(GridDataError, match=r"trafo 'T1'.*shares id_characteristic_table 3.*a table of its own"):
        with_tap_position(network, "T1", 1)
    net.trafo["tap_pos"] = [0.0, 1.0]
    with pytest.raises(GridDataError, match=r"trafo 'T2' \(index 1\): shares id_characteristic_table 3"):
        convert_net(net, "a")


def test_a_position_of_a_table_that_is_missing_is_refused_at_rest() -> None:
    with pytest.raises(GridDataError, match=r"trafo 'T1' \(index 0\): tap_pos 7 is not in"):
        convert_net(feeder(**KINDS["table"], tap_pos=7.0), "a")


@st.composite
def events(draw: st.DrawFn) -> tuple[Any, int, int, tuple[int, ...]]:
    """A network, a position, which tap changer, and lines that are out at the same time."""
    kind = draw(st.sampled_from(["Ratio", "Symmetrical", "Ideal", "Tabular"]))
    side, neutral = st.sampled_from(["hv", "lv"]), st.sampled_from([0.0, 1.0])
    ideal = kind == "Ideal"
    trafo = {
        "tap_changer_type": kind,
        "tap_side": draw(side),
        "tap_neutral": draw(neutral),
        "tap_pos": draw(st.sampled_from([-2.0, -1.0, 1.0])),
        "tap_step_percent": 0.0 if ideal else draw(st.sampled_from([1.25, 2.5])),
        "tap_step_degree": draw(st.sampled_from([0.4, 0.8] if ideal else [0.0, np.nan, 30.0, 90.0])),
        "tap_dependency_table": kind == "Tabular",
        "id_characteristic_table": 3 if kind == "Tabular" else pd.NA,
        "parallel": draw(st.integers(1, 2)),
    }
    if draw(st.booleans()):
        trafo |= {"tap2_side": draw(side), "tap2_neutral": 0.0, "tap2_pos": -1.0, "tap2_step_percent": 1.0}
        trafo |= {"tap2_changer_type": "Ratio", "tap2_step_degree": 0.0}
    changer = draw(st.sampled_from([1, 2])) if "tap2_pos" in trafo else 1
    lines = draw(st.sampled_from([(), (0,), (1,), (3,)]))
    return feeder(draw(st.integers(1, 2)), **trafo), draw(st.sampled_from([0, 2])), changer, lines


@pytest.mark.slow
@settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))
@given(events())
def test_events_of_every_kind_are_as_plain_pandapower_has_them(event: tuple[Any, int, Any, tuple[int, ...]]) -> None:
    net, tap_pos, changer, lines = event
    column = "tap_pos" if changer == 1 else "tap2_pos"
    network = without_lines(with_tap_position(convert_net(net, "a"), "T1", tap_pos, changer), lines)
    agrees(network, plain(net, {column: float(tap_pos)}, lines))
