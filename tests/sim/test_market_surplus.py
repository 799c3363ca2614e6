"""What a market keeps is booked to who runs it, in a whole run."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from peerwatt.market.settlement import REASONS, Ledger, Reason
from peerwatt.sim.model import Simulation
from tests.scenarios import small_case, small_scenario

CASE = small_case(6, 12, seed=3)


@pytest.mark.parametrize(
    ("mechanism", "options"),
    [
        ("mcafee", {}),
        ("pay_as_bid", {}),
        ("community", {"communities": 3, "fee_eur_per_mwh": 6.0}),
        ("community", {"communities": 3, "fee_eur_per_mwh": 6.0, "sharing": "pro_rata"}),
    ],
)
def test_the_mediator_is_paid_the_surplus_by_the_buyers(mechanism: str, options: dict[str, Any]) -> None:
    scenario = small_scenario(
        6,
        market__mechanism=mechanism,
        market__options=options,
        population__strategies={"zero_intelligence": 1.0},
        population__pv_share=0.5,
    )
    simulation = Simulation(scenario, case=CASE)
    names = [*simulation.context.population.name, "supplier", "dso", "mediator"]
    mediator, kept = len(names) - 1, 0.0
    while simulation.running:
        simulation.step()
        result = simulation.last
        ledger = Ledger(names)
        ledger.append(result.entries)
        balance = ledger.balances()
        kept += float(balance[mediator])
        assert balance[mediator] == pytest.approx(result.clearing.surplus_eur)
        assert abs(balance.sum()) < 1e-12
        surplus = result.entries.reason == REASONS.index(Reason.SURPLUS)
        assert ((result.entries.payer == mediator) | (result.entries.payee == mediator))[surplus].all()
        assert np.allclose(-balance[: len(result.payment_eur)], result.payment_eur, atol=1e-12)
    simulation.close()
    assert kept > 0.0 or mechanism == "mcafee"
