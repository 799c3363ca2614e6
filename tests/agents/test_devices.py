from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from peerwatt.agents.devices import Batteries, Outlook, Units


def positive(high: float) -> st.SearchStrategy[float]:
    return st.floats(0.0, high, allow_subnormal=False)


@given(
    arrays(float, (12, 3), elements=st.floats(-0.01, 0.01)),
    arrays(float, 3, elements=positive(0.02)),
    arrays(float, 3, elements=positive(0.01)),
    arrays(float, 3, elements=st.floats(0.5, 1.0)),
    st.sampled_from([0.25, 1.0]),
)
def test_batteries_keep_their_bounds_and_lose_exactly_what_efficiency_takes(
    surplus: np.ndarray, e_mwh: np.ndarray, p_mw: np.ndarray, efficiency: np.ndarray, period_h: float
) -> None:
    batteries = Batteries(e_mwh, p_mw, efficiency, np.zeros(3), np.zeros(3))
    charged, discharged = np.zeros(3), np.zeros(3)
    for row in surplus:
        power = batteries.dispatch(row, period_h)
        assert (np.abs(power) <= p_mw + 1e-15).all()
        # Self-consumption first: it takes at most what is left over and gives at most what is lacking.
        assert (power >= -np.maximum(row, 0.0)).all()
        assert (power <= np.maximum(-row, 0.0)).all()
        batteries.apply(power, period_h)
        assert (batteries.soc_mwh >= 0.0).all()
        assert (batteries.soc_mwh <= e_mwh).all()
        charged += np.maximum(-power, 0.0) * period_h
        discharged += np.maximum(power, 0.0) * period_h
    stored = charged * np.sqrt(efficiency) - discharged / np.sqrt(efficiency)
    assert np.allclose(stored, batteries.soc_mwh, atol=1e-12)


def test_a_battery_at_rest_loses_its_self_discharge() -> None:
    batteries = Batteries(np.ones(1), np.ones(1), np.ones(1), np.array([0.1]), np.ones(1))
    for _ in range(96):
        batteries.apply(np.zeros(1), 0.25)
    assert np.isclose(batteries.soc_mwh[0], 0.9)


@given(
    arrays(float, (12, 3), elements=st.floats(-0.01, 0.01)),
    arrays(float, 3, elements=st.floats(0.0, 0.99)),
    arrays(float, 3, elements=st.floats(0.5, 1.0)),
    st.integers(1, 12),
)
def test_batteries_return_to_what_they_began_with(
    surplus: np.ndarray, charge: np.ndarray, efficiency: np.ndarray, last: int
) -> None:
    """Their power is large enough here: to move the whole capacity in one period, either way."""
    e_mwh, loss = np.array([0.01, 0.002, 0.0]), np.array([0.0, 0.2, 0.2])
    batteries = Batteries(e_mwh, 4.0 * e_mwh / np.sqrt(0.5), efficiency, loss, charge * e_mwh)
    free = Batteries(e_mwh, batteries.p_mw, efficiency, loss, charge * e_mwh)
    begin = batteries.soc_mwh.copy()
    for period, row in enumerate(surplus):
        left = len(surplus) - period - 1
        corridor = batteries.corridor(begin, left * 0.25, last * 0.25)
        batteries.apply(batteries.dispatch(row, 0.25, corridor), 0.25)
        if left < last:
            assert (np.abs(batteries.soc_mwh - begin) <= e_mwh * left / last + 1e-12).all()
        free.apply(free.dispatch(row, 0.25), 0.25)
        if left >= last:  # until then it is as if there were no rule
            assert np.array_equal(batteries.soc_mwh, free.soc_mwh)
    assert np.allclose(batteries.soc_mwh, begin, atol=1e-12)


def test_a_battery_that_is_too_weak_returns_as_far_as_its_power_goes() -> None:
    weak = Batteries(np.ones(1), np.array([0.1]), np.array([0.64]), np.zeros(1), np.ones(1))
    weak.apply(np.array([0.4]), 1.0)  # to a half
    begin = np.ones(1)
    for left in (1.0, 0.0):
        weak.apply(weak.dispatch(np.zeros(1), 1.0, weak.corridor(begin, left, 2.0)), 1.0)
    assert np.isclose(weak.soc_mwh[0], 0.5 + 2.0 * 0.1 * 0.8)


def units() -> Units:
    return Units(
        peer=np.array([0, 0, 1]),
        p_column=np.array([0, 1, -1]),
        q_column=np.array([-1, -1, -1]),
        p_scale_mw=np.array([-0.004, 0.010, -0.002]),
        q_scale_mvar=np.array([-0.001, 0.0, 0.0]),
        p_rated_mw=np.array([0.004, 0.010, 0.002]),
        generates=np.array([False, True, False]),
        is_pv=np.array([False, True, False]),
        is_ev=np.zeros(3, dtype=bool),
        response=np.array([0.5, 0.0, 0.0]),
        moved=np.zeros(3, dtype=int),
        added=np.zeros(3, dtype=bool),
    )


def test_profiles_become_injections_of_peers() -> None:
    values = units().aggregation(2, 2) @ np.array([0.5, 0.8, 1.0])
    outlook = Outlook(*values.reshape(6, 2))
    assert np.allclose(outlook.load_mw, [-0.002, -0.002])
    assert np.allclose(outlook.load_mvar, [-0.001, 0.0])
    assert np.allclose(outlook.generation_mw, [0.008, 0.0])
    assert np.allclose(outlook.band_mw, [0.001, 0.0])
    p_mw, q_mvar = outlook.net(np.zeros(2), np.array([0.0005, 0.0]))
    assert np.allclose(p_mw, [0.0055, -0.002])
    # Half of the band consumes with the loads' own reactive power.
    assert np.allclose(q_mvar, [-0.00125, 0.0])


def test_units_can_be_taken_and_given() -> None:
    without = units().without_pv_of(np.array([0]))
    assert without.rated_mw(2)[1].tolist() == [0.0, 0.0]
    with_more = without.with_pv(np.array([1]), 0.005, 1.0, 1)
    assert with_more.rated_mw(2)[1].tolist() == [0.0, 0.005]
