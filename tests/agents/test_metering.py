"""What the DSO measures: by hand, along a street."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np

from peerwatt.agents.context import Noise
from peerwatt.agents.metering import Meters, at_voltage
from peerwatt.grid.engine import make_engine
from peerwatt.grid.network import VoltageDependence
from tests.scenarios import small_case

BUS = np.array([6, 2, 4])  # houses along the street begin at bus 2; bus 1 is behind the transformer


def test_delivered_power_follows_the_voltage_active_and_reactive_by_shares_of_their_own() -> None:
    delivered = SimpleNamespace(p_delivered_mw=np.array([-1.0, 2.0, -3.0]), q_delivered_mvar=np.array([0.1, 0.2, -0.3]))
    dependence = VoltageDependence(*(np.arange(7.0) * scale for scale in (0.1, 0.01, 0.05, 0.02)), ())
    context: Any = SimpleNamespace(
        now=delivered,
        network=SimpleNamespace(voltage_dependence=dependence),
        population=SimpleNamespace(bus=BUS),
    )
    state: Any = SimpleNamespace(vm_pu=np.array([1.0, 1.0, 0.9, 1.0, 1.1, 1.0, 0.95]))
    p_mw, q_mvar = at_voltage(context, state)
    # At buses 6, 2, 4: shares z 0.6, 0.2, 0.4 and i 0.06, 0.02, 0.04 of P; z 0.3, 0.1, 0.2 and i 0.12, 0.04, 0.08 of Q.
    v = np.array([0.95, 0.9, 1.1])
    z_p, i_p = np.array([0.6, 0.2, 0.4]), np.array([0.06, 0.02, 0.04])
    z_q, i_q = np.array([0.3, 0.1, 0.2]), np.array([0.12, 0.04, 0.08])
    np.testing.assert_allclose(p_mw, [-1.0, 2.0, -3.0] * (z_p * v**2 + i_p * v + 1.0 - z_p - i_p))
    np.testing.assert_allclose(q_mvar, [0.1, 0.2, -0.3] * (z_q * v**2 + i_q * v + 1.0 - z_q - i_q))
    context.network.voltage_dependence = None
    assert at_voltage(context, state) == (delivered.p_delivered_mw, delivered.q_delivered_mvar)


def test_a_peer_is_told_its_voltage_and_the_fullest_branch_on_its_way_with_an_error_each() -> None:
    network = small_case().network
    p_mw = np.zeros(network.n_bus)
    p_mw[3], p_mw[6] = -0.02, 0.012  # the fullest line is before house 2
    state = make_engine("power-grid-model", network).solve(p_mw, 0.0 * p_mw)
    error = np.array([[1.0, -2.0, 0.5], [-1e3, 1.0, 2.0]])
    draws: list[str] = []

    def random(name: str) -> Any:
        draws.append(name)
        return SimpleNamespace(standard_normal=lambda shape: error[: shape[0], : shape[1]])

    context: Any = SimpleNamespace(network=network, population=SimpleNamespace(bus=BUS), noise=Noise(), random=random)
    meters = Meters(context)
    vm_pu, loading = meters.at_connections(state)
    np.testing.assert_array_equal(vm_pu, state.vm_pu[BUS])
    lines, trafo = state.line.loading_percent, state.trafo.loading_percent[0]
    np.testing.assert_allclose(loading, [max(trafo, *lines[:n]) for n in (5, 1, 3)])
    assert not draws
    for noise in (Noise(0.01, 3.0), Noise(0.01, 0.0), Noise(0.0, 3.0)):
        context.noise = noise
        seen_vm, seen_loading = meters.at_connections(state)
        np.testing.assert_allclose(seen_vm, vm_pu + noise.vm_pu * error[0])
        np.testing.assert_allclose(seen_loading, np.maximum(loading + noise.loading_percent * error[1], 0.0))
    assert len(draws) == 3
    context.network = replace(network, name="the grid after an event")
    context.noise = Noise()
    np.testing.assert_allclose(meters.at_connections(state)[1], loading)
