"""Totals of a period that no run of a shipped design tells apart."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from peerwatt.market.clearing import Status
from peerwatt.market.settlement import Entries, Reason
from peerwatt.sim.rows import _market_totals


def test_what_the_dso_collects_is_taken_off_what_it_pays_and_what_the_market_keeps_is_on_top_of_the_price() -> None:
    reasons = [Reason.INCENTIVE, Reason.PENALTY, Reason.INCENTIVE, Reason.NETWORK_FEE]
    spread = np.array([10.0, 2.0])
    cleared = SimpleNamespace(spread_eur_per_mwh=spread, status=Status.OPTIMAL, iterations=1, social_welfare_eur=1.0)
    trades = SimpleNamespace(p_mw=[1.0, 3.0], volume_mw=4.0, mean_price_eur_per_mwh=100.0)
    result: Any = SimpleNamespace(
        trades=trades,
        clearing=cleared,
        entries=Entries.of([9, 0, 9, 0], [0, 9, 1, 9], reasons, [5.0, 3.0, 4.0, 7.0]),
        rounds=(),
        limits_met=None,
        period_h=0.5,
    )
    totals = _market_totals(result)
    assert totals["incentives_eur"] == pytest.approx(5.0 + 4.0 - 3.0)
    assert totals["p2p_volume_mwh"] == pytest.approx(2.0)
    assert totals["p2p_surplus_eur"] == pytest.approx((10.0 + 6.0) * 0.5)
    assert totals["p2p_buyer_price_eur_per_mwh"] == pytest.approx(104.0)
