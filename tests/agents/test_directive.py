"""Orders of the DSO: what they do to what a peer brings to the market and to what its devices do, by hand."""

from __future__ import annotations

import numpy as np
import pytest

from peerwatt.agents.devices import CURTAIL, N_PRODUCTS, RAISE, REDUCE, Outlook
from peerwatt.agents.directive import Directive
from peerwatt.agents.flexibility import Position
from peerwatt.agents.settings import TariffSettings

TARIFF = TariffSettings(feed_in_eur_per_mwh=50.0, supply_eur_per_mwh=250.0)


def products(**mw: float) -> np.ndarray:
    found = np.zeros(N_PRODUCTS)
    for name, value in mw.items():
        found[{"curtail": CURTAIL, "reduce": REDUCE, "raised": RAISE}[name]] = value
    return found


def position() -> Position:
    """A consumer of 5 MW that can draw 2 more, and a producer of 6 MW that uses 2 of them itself."""
    return Position.of(np.array([-5.0, 6.0]), np.array([2.0, 2.0]), TARIFF)


def heard(
    peer: int, order: np.ndarray, room: float = np.inf, released: float = 0.0, reactive: float = 1.0
) -> Directive:
    directive = Directive.none(2)
    directive.hear(np.array([peer]), order, room, released, reactive, 9.0)
    return directive


def test_without_orders_nothing_changes() -> None:
    none, before = Directive.none(2), position()
    assert not none
    assert none.position(before) is before
    assert none.reactive.tolist() == [1.0, 1.0]
    assert np.isinf(none.room_mw).all()


@pytest.mark.parametrize(
    ("order", "firm", "room"),
    [(products(reduce=1.5), -3.5, 2.0), (products(raised=1.5), -6.5, 0.5), (products(reduce=7.0), 0.0, 2.0)],
)
def test_a_consumer_that_is_moved_brings_that_much_more_or_less(order: np.ndarray, firm: float, room: float) -> None:
    found = heard(0, order).position(position())
    assert (found.firm_mw[0], found.room_mw[0]) == pytest.approx((firm, room))
    assert (found.firm_mw[1], found.room_mw[1]) == pytest.approx((4.0, 2.0))


def test_a_producer_that_is_moved_sells_less_and_its_own_use_is_worth_more_by_its_slope() -> None:
    found = heard(1, products(curtail=1.0, raised=0.5)).position(position())
    assert (found.firm_mw[1], found.room_mw[1]) == pytest.approx((2.5, 1.5))
    assert found.marginal[1] == pytest.approx(250.0 - 100.0 * 2.0 + 100.0 * 0.5)


def test_room_is_capped_and_released_generation_becomes_room_at_lower_cost() -> None:
    assert heard(0, products(), room=0.5).position(position()).room_mw.tolist() == [0.5, 2.0]
    found = heard(1, products(), released=1.0).position(position())
    assert (found.firm_mw[1], found.room_mw[1]) == pytest.approx((3.0, 3.0))
    assert found.marginal[1] == pytest.approx(50.0 - 100.0)
    both = heard(1, products(curtail=0.5), room=2.25, released=1.0).position(position())
    assert (both.firm_mw[1], both.room_mw[1]) == pytest.approx((2.5, 2.25))


def test_devices_do_what_is_ordered_and_activated_and_trading_moves_the_rest() -> None:
    directive = heard(0, products(reduce=1.5))
    change, activated = np.array([-0.75, 1.0]), np.stack([products(raised=0.25), products(curtail=0.5)])
    extra, done = directive.devices(position(), change, activated)
    np.testing.assert_allclose(extra, [0.75, 1.0])  # drawn beyond the usual 5; of the 2 used, 1 is sold
    np.testing.assert_allclose(done, np.stack([products(reduce=1.5, raised=0.25), products(curtail=0.5)]))
    # Released generation that is not sold again is not generated: as if moved down by it.
    extra, _ = heard(1, products(), released=1.0).devices(position(), np.array([0.0, 0.25]))
    np.testing.assert_allclose(extra, [0.0, 2.0 + 1.0 - 0.25])


def test_net_power_is_forecast_less_orders_plus_trade_with_its_share_of_reactive_power() -> None:
    load, generation, zero = np.array([-5.0, 0.0]), np.array([0.0, 6.0]), np.zeros(2)
    outlook = Outlook(load, 0.2 * load, generation, zero, zero, zero)
    directive = heard(0, products(reduce=1.5), reactive=0.5)
    p_mw, q_mvar = directive.schedule(outlook, position(), zero, np.array([-0.75, 1.0]))
    np.testing.assert_allclose(p_mw, [-5.0 + 1.5 - 0.75, 4.0 + 1.0])
    assert q_mvar[0] == pytest.approx(0.5 * 0.2 * p_mw[0])
    full = heard(0, products(reduce=1.5)).schedule(outlook, position(), zero, np.array([-0.75, 1.0]))
    np.testing.assert_allclose(full[0], p_mw)
    assert full[1][0] == pytest.approx(0.2 * p_mw[0])


def test_a_new_order_replaces_the_old_one_of_the_peers_that_hear_it() -> None:
    directive = heard(0, products(reduce=1.5), room=0.5, released=0.25, reactive=0.5)
    assert directive
    rows = directive.of_rows(np.array([1, 0]))
    assert rows.room_mw.tolist() == [np.inf, 0.5]
    assert rows.released_mw.tolist() == [0.0, 0.25]
    assert rows.reactive.tolist() == [1.0, 0.5]
    assert rows.paid_eur.tolist() == [0.0, 9.0]
    assert rows.p_mw[1, REDUCE] == 1.5
    directive.hear(np.array([0]), products(), np.inf, 0.0, 1.0, 0.0)
    assert not directive
    assert directive.paid_eur.tolist() == [0.0, 0.0]


@pytest.mark.parametrize(
    "order",
    [{"order": products(reduce=1.0)}, {"room": 1.0}, {"released": 1.0}, {"reactive": 0.0}],
    ids=["moved", "room", "released", "reactive"],
)
def test_each_kind_of_order_counts_as_one(order: dict[str, float]) -> None:
    assert heard(0, **({"order": products()} | order))  # type: ignore[arg-type]
