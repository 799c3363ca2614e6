"""Sensitivities of every shipped case against central differences of the engine, at its own operating point."""

from __future__ import annotations

import numpy as np
import pytest

from peerwatt.grid.cases import CASES, load_case
from peerwatt.grid.engine import make_engine
from peerwatt.grid.ptdf import ptdf, ptdf_dc
from peerwatt.grid.sensitivity import Sensitivities
from peerwatt.grid.tree import SlackTree
from tests.grid.sensitivity_nets import difference

N_BUSES = 6


@pytest.mark.parametrize("name", CASES.names())
def test_voltages_flows_and_losses_of_every_case_move_as_the_engine_does(name: str) -> None:
    case = load_case(name)
    network, engine = case.network, make_engine("power-grid-model", case.network)
    first = np.datetime_as_string(case.series.start, unit="s") if case.series.step_s < 86_400 else "2016-06-21"
    p_mw, q_mvar = case.units.injection(case.series.window(first, 1, 3600), network.n_bus)
    state = engine.solve(p_mw[0], q_mvar[0])
    assert state.converged
    at = np.unique(np.linspace(1, network.n_bus - 1, N_BUSES).astype(int))
    at = at[network.buses.in_service[at]]
    sensitivities = Sensitivities(network, state)
    step = 1e-3 * max(1e-2, float(np.abs(state.p_mw).max()))
    for what, read in (
        (sensitivities.vm_pu(at=at), lambda s: s.vm_pu),
        (sensitivities.losses_mw(at), lambda s: np.array([s.losses_mw])),
        (sensitivities.p_from_mw(at=at), lambda s: np.concatenate([s.line.p_from_mw, s.trafo.p_from_mw])),
    ):
        for i, bus in enumerate(at):
            unit = np.zeros(network.n_bus)
            unit[bus] = step
            for ours, dp, dq in ((what.by_p_mw, unit, 0 * unit), (what.by_q_mvar, 0 * unit, unit)):
                measured = difference(engine, state, read, dp, dq) / step
                column = ours[:, i]
                scale = max(np.nanmax(np.abs(measured)), 1e-6)
                known = np.isfinite(measured)
                assert np.abs(column[known] - measured[known]).max() < 2e-3 * scale + 1e-6


@pytest.mark.parametrize("name", CASES.names())
def test_the_ptdf_of_every_radial_case_is_exact(name: str) -> None:
    network = load_case(name).network
    if SlackTree(network).radial:
        assert np.allclose(ptdf(network), ptdf_dc(network), atol=1e-9)
