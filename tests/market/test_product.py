from __future__ import annotations

import numpy as np
import pytest

from peerwatt.errors import BookError
from peerwatt.market.auction import double_auction
from peerwatt.market.bilateral import bilateral
from peerwatt.market.book import QuadraticBook, StepBook, validate
from peerwatt.market.product import Product


def steps(**labels: object) -> StepBook:
    return StepBook([0, 1], [1.0, -1.0], [10.0, 30.0], 2, **{"period_h": 1.0, **labels})  # type: ignore[arg-type]


def curves(**labels: object) -> QuadraticBook:
    bounds = ([0.0, -1.0], [1.0, 0.0], [0.0, 0.0], [10.0, 30.0], [0], [1], [0.0], [0.0])
    return QuadraticBook(*bounds, **{"period_h": 1.0, **labels})  # type: ignore[arg-type]


def test_prices_are_per_mwh_of_energy_and_per_mw_of_capacity() -> None:
    assert [product.unit for product in Product] == ["EUR/MWh", "EUR/MW"]


def test_labels_change_nothing_in_a_clearing() -> None:
    labels = {"product": Product.CAPACITY, "location": ("north", "south")}
    rng = np.random.default_rng(0)
    assert double_auction(steps(**labels), rng).p_mw.tolist() == double_auction(steps(), rng).p_mw.tolist()
    assert bilateral(curves(**labels)).p_mw.tolist() == bilateral(curves()).p_mw.tolist()


@pytest.mark.parametrize("book", [steps, curves])
def test_labels_that_do_not_fit_are_refused_with_every_fault(book: object) -> None:
    with pytest.raises(BookError) as error:
        validate(book(product=Product.CAPACITY, period_h=0.25, location=["north"]))  # type: ignore[operator]
    assert [fault.where for fault in error.value.faults] == ["location", "period_h"]
    assert "1 labels for 2 agents" in str(error.value)
