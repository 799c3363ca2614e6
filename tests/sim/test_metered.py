"""What became of the peers' power in every design: consumption, generation, what was curtailed, and its worth.

Weather and habits are the same in every design, so what one leaves alone tells what another would have been.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from peerwatt.agents.devices import CURTAIL, N_PRODUCTS, RAISE, REDUCE, Outlook
from peerwatt.agents.directive import Directive
from peerwatt.agents.flexibility import Position
from peerwatt.agents.settings import TariffSettings
from peerwatt.sim.metered import Metered
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


def test_orders_activations_and_own_choice_by_hand() -> None:
    """Two peers use 2 of 5 MW that they generate, could use 1 more, and are in a half hour; the second is steered."""
    both = np.ones(2)
    outlook = Outlook(-2.0 * both, 0.0 * both, 5.0 * both, 0.0 * both, -both, 0.0 * both)
    position = Position(3.0 * both, 2.0 * both, both, both > 0.0, 220.0 * both, 80.0 * both, np.array([False, True]))
    directive, activated = Directive.none(2), np.zeros((2, N_PRODUCTS))
    directive.p_mw[0, [REDUCE, CURTAIL]] = 0.5, 0.25
    directive.released_mw[0] = 0.25
    activated[0, RAISE] = 0.2
    activated[1, CURTAIL] = 0.5
    tariff = TariffSettings(supply_eur_per_mwh=300.0, feed_in_eur_per_mwh=80.0)
    found = Metered.of(outlook, position, 0.0 * both, np.array([0.75, 0.25]), activated, directive, tariff, 0.5)
    # Of 1 MW that it would use more alone, the first gives up 0.75 to trade, of which 0.25 need not be generated.
    assert found.p_load_mw == pytest.approx([2.0 + 1.0 - 0.5 + 0.2 - 0.5, 2.0])
    # The second leaves 0.75 unused by itself: that is not curtailed for anybody.
    assert found.p_generation_mw == pytest.approx([5.0 - 0.25, 5.0 - 0.75 - 0.5])
    assert found.p_curtailed_mw == pytest.approx([0.25, 0.5])
    moved = 0.75 - 0.25 - 0.2
    assert found.utility_eur[0] == pytest.approx(-0.5 * (80.0 * moved + 110.0 * moved**2 + 300.0 * 0.5))
    assert found.reference_payment_eur == pytest.approx([-2.0 * 80.0 * 0.5] * 2)
