"""`peerwatt clear`: a book in a file, its clearing on the terminal and in a file, and what is refused how."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.optimize import linprog

from peerwatt.errors import BookError, ScenarioError
from peerwatt.experiments.clearing import clear_file
from peerwatt.market.clearing import Status
from tests.command import Ended, peerwatt


def peer(name: str | int, low: float, high: float, b: float, a: float = 0.0) -> dict[str, Any]:
    return {"id": name, "p_min_mw": low, "p_max_mw": high, "cost_a": a, "cost_b": b}


def document() -> dict[str, Any]:
    peers = [peer("pv", 0, 0.01, 60), peer("chp", 0, 0.02, 90, 2000), peer("house", -0.012, 0, 250)]
    return {"period_h": 0.25, "peers": peers}


def clear(path: Path, book: Any, *arguments: str) -> Ended:
    file = path / "book.json"
    file.write_text(book if isinstance(book, str) else json.dumps(book), encoding="utf-8")
    return peerwatt("clear", file, *arguments, cwd=path)


def test_a_book_is_cleared_printed_and_written(tmp_path: Path) -> None:
    ended = clear(tmp_path, document(), "--out", "result.json")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert "bilateral: optimal" in ended.stdout
    result = json.loads((tmp_path / "result.json").read_text())
    assert result["status"] == "optimal"
    # pv sells all it has, chp the rest at its marginal cost of 94 EUR/MWh
    assert {row["id"]: row["p_mw"] for row in result["peers"]} == pytest.approx(
        {"pv": 0.01, "chp": 0.002, "house": -0.012}, abs=1e-9
    )
    assert {(row["seller"], row["buyer"]): row["price_eur_per_mwh"] for row in result["trades"]} == pytest.approx(
        {("pv", "house"): 94.0, ("chp", "house"): 94.0}, abs=1e-3
    )
    welfare = 0.25 * (250 * 0.012 - 60 * 0.01 - (0.5 * 2000 * 0.002**2 + 90 * 0.002))
    assert result["social_welfare_eur"] == pytest.approx(welfare, rel=1e-6)


def test_blocked_pairs_restricted_partners_and_trade_costs_count(tmp_path: Path) -> None:
    def schedule(**change: Any) -> dict[str, float]:
        file = tmp_path / "book.json"
        file.write_text(json.dumps(document() | change))
        clearing = clear_file(file, "bilateral", {}, seed=0).clearing
        return dict(zip(("pv", "chp", "house"), clearing.p_mw.round(6).tolist(), strict=True))

    assert schedule(blocked=[["pv", "house"]]) == {"pv": 0, "chp": 0.012, "house": -0.012}
    assert schedule(partners=[["pv", "house"]]) == {"pv": 0.01, "chp": 0, "house": -0.01}
    # 35 EUR/MWh on the pair let chp take over until its marginal cost is 60 + 35
    assert schedule(trade_cost=[["pv", "house", 35.0]]) == {"pv": 0.0095, "chp": 0.0025, "house": -0.012}


def test_the_file_gives_what_an_independent_program_gives(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    peers = [peer(k, 0, float(q), float(b)) for k, (q, b) in enumerate(rng.uniform((0, 50), (1, 150), (6, 2)))]
    peers += [peer(10 + k, -float(q), 0, float(b)) for k, (q, b) in enumerate(rng.uniform((0, 80), (1, 300), (7, 2)))]
    cost = [[s, 10 + k, float(c)] for s in range(6) for k, c in enumerate(rng.uniform(-20, 60, 7))]
    file = tmp_path / "book.json"
    file.write_text(json.dumps({"period_h": 1.0, "peers": peers, "trade_cost": cost}))
    clearing = clear_file(file, "bilateral", {}, seed=0).clearing
    gain = [peers[s]["cost_b"] + c - peers[6 + k - 10]["cost_b"] for s, k, c in cost]
    rows = np.zeros((13, 42))
    for column, (s, k, _) in enumerate(cost):
        rows[s, column] = rows[6 + k - 10, column] = 1.0
    most = [p["p_max_mw"] - p["p_min_mw"] for p in peers]
    oracle = linprog(gain, A_ub=rows, b_ub=most, method="highs")
    assert clearing.social_welfare_eur == pytest.approx(-oracle.fun, rel=1e-6)


def test_an_auction_clears_the_same_file(tmp_path: Path) -> None:
    ended = clear(tmp_path, document(), "--mechanism", "double_auction", "--option", "k=0")
    assert ended.returncode == 0
    assert "double_auction: optimal, 2 trades, 0.012 MW" in ended.stdout


def test_nobody_to_trade_with_is_an_empty_market(tmp_path: Path) -> None:
    for peers in ([], [peer("pv", 0, 1, 50)]):
        ended = clear(tmp_path, {"period_h": 1, "peers": peers}, "--out", "r.json")
        assert (ended.returncode, ended.stderr) == (0, "")
        assert json.loads((tmp_path / "r.json").read_text())["status"] == "empty"


def test_bounds_that_cannot_be_met_name_the_peers_and_the_missing_power(tmp_path: Path) -> None:
    book = {"period_h": 1, "peers": [peer("wind", 2, 3, 10), peer("house", -0.5, 0, 200)]}
    ended = clear(tmp_path, book, "--out", "r.json")
    assert ended.returncode == 3
    assert "infeasible" in ended.stdout
    assert "wind" in ended.stdout
    assert "1.5 MW" in ended.stdout
    result = json.loads((tmp_path / "r.json").read_text())
    assert result["status"] == "infeasible"
    assert result["social_welfare_eur"] is None
    assert result["shortfall_mw"] == pytest.approx(1.5)
    assert result["trades"] == []


def test_a_solver_that_stops_early_is_not_a_result(tmp_path: Path) -> None:
    ended = clear(tmp_path, document(), "--option", "max_iter=1", "--option", "solver=piqp", "--out", "r.json")
    assert ended.returncode == 1
    assert "not_converged" in ended.stdout
    assert "residuals" in ended.stdout
    assert json.loads((tmp_path / "r.json").read_text())["peers"][0]["p_mw"] is None


def test_every_fault_of_a_book_is_named_before_anything_is_solved(tmp_path: Path) -> None:
    book = document()
    book["peers"] += [peer("pv", 0, 1, 50), peer("odd", 2, 1, 50), peer("bent", 0, 1, 50, a=-1)]
    book["partners"] = [["pv", "hous"], ["pv", "pv"], ["pv", "house"], ["pv", "house"]]
    book["trade_cost"] = [["nobody", "house", 1.0]]
    ended = clear(tmp_path, book)
    assert ended.returncode == 2
    assert ended.stdout == ""
    for words in (
        "peers.3 ('pv'): the id 'pv' is that of peers.0 too",
        "p_min_mw 2 is above p_max_mw 1",
        "negative curvature",
        "unknown peer 'hous' as buyer (did you mean 'house'?)",
        "'pv' trades with itself",
        "the pair 'pv', 'house' stands twice",
        "unknown peer 'nobody' as seller",
    ):
        assert words in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "line 1, column 2: is not valid JSON"),
        ("[]", "valid dictionary or"),
        ('{"period_h": 1, "period_h": 2, "peers": []}', "'period_h' stands twice"),
        ('{"period_h": 0, "peers": []}', "period_h"),
        ('{"period_h": true, "peers": []}', "period_h"),
        ('{"period_h": 1, "peers": [{"id": "a", "p_min_mw": NaN, "p_max_mw": 1, "cost_b": 1}]}', "finite"),
        ('{"period_h": 1, "peers": [{"id": "a", "p_min_mw": "0", "p_max_mw": 1, "cost_b": 1}]}', "p_min_mw"),
        ('{"period_h": 1, "peers": [{"id": "a", "p_min_mw": 0, "p_max_mw": 1e999, "cost_b": 1}]}', "p_max_mw"),
        ('{"period_h": 1, "peers": [], "partner": []}', "did you mean 'partners'?"),
        ('{"period_h": 1, "peers": [], "blocked": [["a"]]}', "blocked.0"),
    ],
)
def test_a_file_that_is_no_book_is_refused(tmp_path: Path, text: str, words: str) -> None:
    file = tmp_path / "book.json"
    file.write_text(text)
    with pytest.raises(BookError, match=r".") as raised:
        clear_file(file, "bilateral", {}, seed=0)
    assert words in str(raised.value)
    assert str(file) in str(raised.value)


def test_prices_outside_the_markets_limits_are_refused_by_name(tmp_path: Path) -> None:
    file = tmp_path / "book.json"
    file.write_text(json.dumps(document() | {"price_limits_eur_per_mwh": [0, 200]}))
    with pytest.raises(BookError) as raised:
        clear_file(file, "bilateral", {}, seed=0)
    assert "house" in str(raised.value)
    assert "250" in str(raised.value)
    file.write_text(json.dumps(document() | {"price_limits_eur_per_mwh": [0, 300]}))
    assert clear_file(file, "bilateral", {}, seed=0).clearing.status is Status.OPTIMAL


def test_what_the_command_is_given_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(BookError, match="cannot be read"):
        clear_file(tmp_path / "absent.json", "bilateral", {}, seed=0)
    file = tmp_path / "book.json"
    file.write_text(json.dumps(document() | {"blocked": [["pv", "house"]]}))
    with pytest.raises(ScenarioError, match="knows no pairs"):
        clear_file(file, "double_auction", {}, seed=0)
    with pytest.raises(ScenarioError, match="did you mean 'bilateral'"):
        clear_file(file, "bilatera", {}, seed=0)
    file.write_text(json.dumps({"period_h": 1, "peers": [peer("must", 1, 2, 5), peer("both", -1, 1, 5)]}))
    with pytest.raises(BookError, match="leave out 0") as raised:
        clear_file(file, "double_auction", {}, seed=0)
    assert "both" in str(raised.value)


def test_a_full_disk_leaves_no_half_result(tmp_path: Path) -> None:
    ended = clear(tmp_path, document(), "--out", "/dev/full/r.json")
    assert ended.returncode == 1
    assert "Traceback" not in ended.stderr
    assert "peerwatt: /dev/full" in ended.stderr


def test_steps_of_an_auction_come_close_to_the_quadratic_costs(tmp_path: Path) -> None:
    file = tmp_path / "book.json"
    file.write_text(json.dumps(document()))
    exact = clear_file(file, "bilateral", {}, seed=0).clearing
    steps = clear_file(file, "double_auction", {}, seed=0).clearing
    assert steps.status is Status.OPTIMAL
    assert steps.social_welfare_eur == pytest.approx(exact.social_welfare_eur, rel=0.01)
