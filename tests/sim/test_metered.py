"""What became of the peers' power in every design: consumption, generation, what was curtailed, and its worth.

Weather and habits are the same in every design, so what one leaves alone tells what another would have been.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from peerwatt.sim.results import Results
from tests.audit import DESIGNS, audited

ALONE = "cm5"
"""A design without trades, most of whose peers do what they would do anyway."""

KEY = ["period", "agent"]


def apart(found: pd.Series, expected: pd.Series | np.ndarray) -> float:
    """Largest difference."""
    return float((found - expected).abs().max())


def peers(results: Results) -> pd.DataFrame:
    """Table `agent` without the virtual load, by period and peer."""
    rows = results.agent.astype({"agent": str})
    return rows[~rows.agent.str.startswith("virtual load")].set_index(KEY)


def activated(results: Results, product: str | None = None) -> pd.Series:
    """What was activated of each peer, of one product or of all together."""
    rows = results.flexibility.astype({"agent": str, "product": str})
    if product is not None:
        rows = rows[rows["product"] == product]
    return rows.groupby(KEY).activated_mw.sum()


@pytest.mark.parametrize("design", DESIGNS)
def test_what_is_generated_used_and_curtailed_adds_up_to_the_meter_and_to_the_weather(design: str) -> None:
    rows, alone = peers(audited(design)), peers(audited(ALONE))
    assert apart(rows.p_generation_mw - rows.p_load_mw + rows.p_storage_mw, rows.p_mw) < 1e-12
    available = alone.p_generation_mw + alone.p_curtailed_mw
    assert apart(rows.p_generation_mw + rows.p_curtailed_mw, available) < 1e-12
    assert (rows.p_curtailed_mw >= 0.0).all()


@pytest.mark.parametrize("design", DESIGNS)
def test_alone_a_peer_would_pay_for_what_it_does_where_nobody_trades(design: str) -> None:
    alone = peers(audited(ALONE))
    done = activated(audited(ALONE))
    idle = alone[~alone.index.isin(done.index[done > 0.0]) & (alone.p_curtailed_mw == 0.0)]
    assert len(idle) > len(alone) / 2
    bill = idle.p_mw * np.where(idle.p_mw < 0.0, -300.0, -80.0)
    assert apart(peers(audited(design)).reference_payment_eur[idle.index], bill) < 1e-12


@pytest.mark.parametrize("design", [name for name in DESIGNS if name.startswith(("cm1", "cm2", "cm4", "cm5"))])
def test_with_right_forecasts_what_is_curtailed_is_what_was_bought_of_it(design: str) -> None:
    results = audited(design, right=True)
    rows, bought = peers(results), activated(results, "generate_less")
    assert bought.sum() > 0.0
    assert apart(rows.p_curtailed_mw, bought.reindex(rows.index).fillna(0.0)) < 1e-9


@pytest.mark.parametrize("design", ["bilateral", "cm2", "cm4"])
def test_added_consumption_is_worth_what_was_bid_for_it_and_reduced_what_it_costs(design: str) -> None:
    results = audited(design, right=True)
    rows = peers(results)
    bid = results.bid.astype({"agent": str}).sort_values("step").groupby(KEY).tail(1).set_index(KEY)
    slope, marginal = (
        bid[name].reindex(rows.index).fillna(0.0) for name in ("cost_a_eur_per_mw2h", "cost_b_eur_per_mwh")
    )
    moved = rows.p_p2p_mw - rows.p_forecast_mw
    reduced = activated(results, "consume_less").reindex(rows.index).fillna(0.0)
    worth = -moved * (marginal + moved * slope / 2.0) - 300.0 * reduced
    assert (moved.abs() > 1e-6).any()
    assert apart(rows.utility_eur, worth) < 1e-9
