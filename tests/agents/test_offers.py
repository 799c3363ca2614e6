"""What peers offer to a flexibility market, by hand: power and price of all products. Supply 300, feed-in 80."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from peerwatt.agents.coordination import LfmSettings
from peerwatt.agents.delivery import carried_out, delivered_share
from peerwatt.agents.devices import Outlook
from peerwatt.agents.directive import Directive
from peerwatt.agents.flexibility import Position
from peerwatt.agents.fsp import shared_out
from peerwatt.agents.offers import Markups, flexibility_offers
from peerwatt.agents.settings import TariffSettings

TARIFF = TariffSettings(supply_eur_per_mwh=300.0, feed_in_eur_per_mwh=80.0)
NONE = (0.0, 0.0, 0.0)


def outlook(load: float, generation: float, band: float = 0.0) -> Outlook:
    """Consumption, positive here, and generation; loads have a power factor of 0.8."""
    columns = (-load, -0.75 * load, generation, 0.0, -band, -0.75 * band)
    return Outlook(*(np.array([value]) for value in columns))


def offer(
    own: Outlook, traded: float = 0.0, change: float = 0.0, activated: tuple[float, ...] = NONE, **shares: float
) -> tuple[Any, Any]:
    position = Position.of(own.load_mw + own.generation_mw, own.band_mw, TARIFF)
    power, price = flexibility_offers(
        own,
        position,
        np.array([traded]),
        np.array([change]),
        np.array([activated]),
        Markups(np.array([50.0]), np.array([10.0])),
        LfmSettings(**shares),
        TARIFF,
    )
    return power[0], price[0]


def test_who_trades_nothing_offers_its_shares_and_its_band() -> None:
    power, price = offer(outlook(10.0, 4.0, band=2.0), load_share=0.3, generation_share=0.5)
    assert power == pytest.approx([3.0, 2.0, 2.0])
    # Reducing costs nothing at the margin; curtailing the feed-in price; of the band half the spread is lost.
    assert price == pytest.approx([50.0, 80.0 + 10.0, 0.5 * 220.0 + 10.0])


def test_a_seller_curtails_what_it_has_not_sold() -> None:
    assert offer(outlook(0.0, 10.0), traded=7.0)[0] == pytest.approx([0.0, 3.0, 0.0])


def test_a_seller_that_uses_some_itself_does_not_curtail_into_its_trade() -> None:
    assert offer(outlook(5.0, 10.0), traded=4.0)[0] == pytest.approx([1.5, 1.0, 0.0])


def test_a_buyer_consumes_what_it_has_bought() -> None:
    assert offer(outlook(10.0, 0.0), traded=-8.0)[0] == pytest.approx([2.0, 0.0, 0.0])
    assert offer(outlook(10.0, 4.0), traded=-6.0)[0] == pytest.approx([0.0, 4.0, 0.0])  # draws no more than it bought


def test_a_buyer_whose_trade_moved_it_has_that_much_less_of_its_band_left() -> None:
    power, price = offer(outlook(10.0, 0.0, band=4.0), traded=-9.0, change=-1.0)
    assert power == pytest.approx([2.0, 0.0, 3.0])  # it draws 11, has bought 9
    assert price[2] == pytest.approx(220.0 / 4.0 * (1.0 + 1.5) + 10.0)


def test_a_seller_with_a_band_offers_all_products_together_no_more_than_it_has_beyond_its_trade() -> None:
    """It feeds in 6 of 10, 4 beyond what it has sold; curtailing is dearer than consuming more at the feed-in value."""
    power, price = offer(outlook(2.0, 10.0, band=2.0), traded=5.0, change=1.0)
    # usual 8, firm 6, moved to 7; extra consumption is 1 of 2; beyond the trade there are 2.
    assert power == pytest.approx([0.6, 1.0, 1.0])
    assert power[1] + power[2] == pytest.approx(2.0)
    assert price[2] == pytest.approx(max(110.0 * (1.0 + 0.5) - 220.0, 0.0) + 10.0)


def test_what_has_been_activated_before_is_not_offered_again() -> None:
    power, price = offer(outlook(10.0, 4.0, band=2.0), activated=(1.0, 3.0, 0.5), load_share=0.3)
    assert power == pytest.approx([2.0, 1.0, 1.5])
    assert price[2] == pytest.approx(110.0 * (0.5 + 0.75) + 10.0)  # deeper in the band
    assert offer(outlook(0.0, 10.0), traded=5.0, activated=(0.0, 4.0, 0.0))[0] == pytest.approx([0.0, 1.0, 0.0])


def test_where_several_bids_stand_at_one_point_the_cheapest_acts_first() -> None:
    row, price = np.array([0, 0, 1]), np.array([[9.0, 1.0, 1.0], [5.0, 2.0, 1.0], [1.0, 1.0, 1.0]])
    power = np.array([[2.0, 1.0, 0.0], [1.0, 1.0, 3.0], [5.0, 5.0, 5.0]])
    shares = shared_out(np.array([[2.5, 1.5, 2.0], [4.0, 0.0, 5.0]]), row, power, price)
    assert shares == pytest.approx(np.array([[1.5, 1.0, 0.0], [1.0, 0.5, 2.0], [4.0, 0.0, 5.0]]))


def delivery(forecast: Outlook, realised: Outlook, activated: tuple[float, ...]) -> tuple[Any, Any, float]:
    """What devices do, the share that counts, and net power."""
    position = Position.of(forecast.load_mw + forecast.generation_mw, forecast.band_mw, TARIFF)
    free, told, none = Directive.none(1), np.array([activated]), np.zeros(1)
    change = position.usual_mw - position.firm_mw  # nothing beyond usual consumption
    done = carried_out(free, forecast, realised, position, none, change, told)
    net = free.schedule(realised, position, none, change, done)[0]
    return done[0], delivered_share(done, told)[0], float(net[0])


def test_a_curtailment_is_a_cap() -> None:
    """Bus 41: forecast 71.1, curtailment of 23.0 bought, realised 61.5."""
    done, share, net = delivery(outlook(0.0, 71.1), outlook(0.0, 61.5), (0.0, 23.0, 0.0))
    assert net == pytest.approx(48.1)
    assert done[1] == pytest.approx(13.4)
    assert share[1] == pytest.approx(13.4 / 23.0)


@pytest.mark.parametrize(
    ("forecast", "realised", "activated", "done", "share"),
    [
        (outlook(0.0, 30.0), outlook(0.0, 20.0), (0.0, 23.0, 0.0), (0.0, 13.0, 0.0), (0.0, 13.0 / 23.0, 0.0)),
        (outlook(0.0, 30.0), outlook(0.0, 6.0), (0.0, 23.0, 0.0), NONE, NONE),  # below the cap by itself
        (outlook(0.0, 30.0), outlook(0.0, 40.0), (0.0, 23.0, 0.0), (0.0, 33.0, 0.0), (0.0, 1.0, 0.0)),
        (outlook(10.0, 0.0), outlook(8.0, 0.0), (3.0, 0.0, 0.0), (1.0, 0.0, 0.0), (1.0 / 3.0, 0.0, 0.0)),
        (outlook(10.0, 0.0), outlook(2.0, 0.0), (3.0, 0.0, 0.0), NONE, NONE),
        (outlook(10.0, 0.0), outlook(12.0, 0.0), (3.0, 0.0, 0.0), (5.0, 0.0, 0.0), (1.0, 0.0, 0.0)),
        (outlook(10.0, 0.0, 4.0), outlook(11.0, 0.0, 4.0), (0.0, 0.0, 3.0), (0.0, 0.0, 2.0), (0.0, 0.0, 2.0 / 3.0)),
        (outlook(10.0, 0.0, 4.0), outlook(8.0, 0.0, 2.0), (0.0, 0.0, 3.0), (0.0, 0.0, 2.0), (0.0, 0.0, 2.0 / 3.0)),
        (outlook(6.0, 10.0, 2.0), outlook(6.0, 10.0, 2.0), (1.0, 3.0, 1.0), (1.0, 3.0, 1.0), (1.0, 1.0, 1.0)),
        (outlook(6.0, 10.0, 2.0), outlook(6.0, 7.0, 2.0), (0.0, 3.0, 1.0), (0.0, 0.75, 0.25), (0.0, 0.25, 0.25)),
    ],
)
def test_forecast_errors_leave_less_or_more_to_do(
    forecast: Outlook, realised: Outlook, activated: Any, done: Any, share: Any
) -> None:
    found, counted, _ = delivery(forecast, realised, activated)
    assert found == pytest.approx(done)
    assert counted == pytest.approx(share)


def test_reactive_power_goes_with_what_is_reduced() -> None:
    own = outlook(10.0, 0.0)
    p_mw, q_mvar = own.net(np.zeros(1), np.zeros(1), np.array([[2.0, 0.0, 0.0]]))
    assert (p_mw[0], q_mvar[0]) == pytest.approx((-8.0, -6.0))
    assert own.reactive_per_mw[0] == pytest.approx([0.75, 0.0, -0.75])
