from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from peerwatt.errors import ScenarioError
from peerwatt.market.book import StepBook
from peerwatt.market.clearing import Clearing, empty_clearing
from peerwatt.market.mechanism import MECHANISMS, BookKind, make_mechanism, mechanism


def test_shipped_mechanisms_are_found_by_name_without_importing_a_solver() -> None:
    code = (
        "import sys, peerwatt.market.mechanism as m; "
        "assert {'bilateral', 'double_auction'} <= set(m.MECHANISMS.names()); "
        "m.MECHANISMS.get('double_auction'); "
        "loaded = {'piqp', 'clarabel', 'scipy', 'pandapower', 'mesa'} & set(sys.modules); "
        "assert not loaded, loaded; "
        "m.MECHANISMS.get('bilateral')"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_mechanism_knows_its_name_and_book() -> None:
    auction, bilateral = make_mechanism("double_auction", k=1.0), make_mechanism("bilateral", solver="clarabel")
    assert (auction.name, auction.book) == ("double_auction", BookKind.STEPS)
    assert (bilateral.name, bilateral.book) == ("bilateral", "quadratic")


def test_an_unknown_name_is_refused_with_the_nearest() -> None:
    with pytest.raises(ScenarioError, match=r"unknown mechanism 'double_auktion'.*did you mean 'double_auction'"):
        make_mechanism("double_auktion")


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("double_auction", {"kk": 1}, "unknown option 'kk'.*did you mean|options: k"),
        ("double_auction", {"zzz": 1}, "unknown option 'zzz' .options: k"),
        ("double_auction", {"k": 1.5}, "option 'k' is 1.5"),
        ("double_auction", {"k": float("nan")}, "option 'k' is nan"),
        ("double_auction", {"k": "half"}, "refuses k='half'"),
        ("bilateral", {"solver": "magic"}, "option 'solver' is 'magic'.*piqp"),
        ("bilateral", {"max_iter": 0}, "option 'max_iter' is 0"),
    ],
)
def test_a_wrong_option_is_refused_with_what_is_allowed(name: str, options: dict[str, object], words: str) -> None:
    with pytest.raises(ScenarioError, match=words):
        make_mechanism(name, **options)


def test_a_users_mechanism_is_registered_by_the_decorator() -> None:
    @mechanism("test_nothing")
    class Nothing:
        name, book = "test_nothing", BookKind.STEPS

        def __init__(self, *, price: float) -> None:
            self.price = price

        def clear(self, book: StepBook, rng: np.random.Generator) -> Clearing:
            return empty_clearing(book.n_agents)

    try:
        made = make_mechanism("test_nothing", price=3.0)
        assert isinstance(made, Nothing)
        with pytest.raises(ScenarioError, match="option 'price' is missing"):
            make_mechanism("test_nothing")
    finally:
        del MECHANISMS._items["test_nothing"]
