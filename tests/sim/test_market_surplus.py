"""What a market keeps is booked to who runs it, in a whole run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from peerwatt.experiments.wording import facts
from peerwatt.market.settlement import REASONS, Ledger, Reason
from peerwatt.sim.model import Simulation
from peerwatt.sim.results import Results
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


@pytest.mark.parametrize("mechanism", ["pay_as_bid", "double_auction"])
def test_what_sellers_get_and_buyers_pay_is_told(tmp_path: Path, mechanism: str) -> None:
    """Prices by the bills: what buyers paid and sellers got of each trade, per energy; the rest is the mediator's."""
    scenario = small_scenario(
        6,
        market__mechanism=mechanism,
        population__strategies={"zero_intelligence": 1.0},
        population__pv_share=0.5,
    )
    with Simulation(scenario, tmp_path / "run", case=CASE) as simulation:
        simulation.run()
    found = Results(tmp_path / "run")
    bills, trade, kpi, hours = found.settlement, found.trade, found.kpi, scenario.time.period_s / 3600.0
    got = bills.amount_eur[bills.reason == "p2p"].sum()
    kept = bills.amount_eur[(bills.reason == "surplus") & (bills.payee == "mediator")].sum()
    energy = trade.p_mw.sum() * hours
    assert (kept > 0.01) == (mechanism == "pay_as_bid")
    assert (trade.p_mw * trade.price_eur_per_mwh).sum() * hours == pytest.approx(got)
    assert (trade.p_mw * trade.buyer_price_eur_per_mwh).sum() * hours == pytest.approx(got + kept)
    assert kpi["p2p_mean_price_eur_per_mwh"] == pytest.approx(got / energy)
    assert kpi["p2p_buyer_mean_price_eur_per_mwh"] == pytest.approx((got + kept) / energy)
    assert kpi["p2p_surplus_eur"] == pytest.approx(kept, abs=1e-12)
    told = {fact.label: f"{fact.value} {fact.remark}" for fact in facts(found)}
    if mechanism == "double_auction":
        assert "Buyers pay" not in told
        assert told["Mean price"].startswith(f"{got / energy:.1f} EUR/MWh")
    else:
        assert told["Sellers get"].startswith(f"{got / energy:.1f} EUR/MWh")
        assert told["Buyers pay"] == f"{(got + kept) / energy:.1f} EUR/MWh {kept:.2f} EUR of it the market keeps"
