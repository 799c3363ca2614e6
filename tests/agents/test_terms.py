"""What peers know of signals: their own row, of the newest list that reached them."""

from __future__ import annotations

import numpy as np

from peerwatt.agents.terms import Terms

INF = np.inf


def listed(terms: Terms, peer: int, round_: int, sell: list[int], buy: list[int], feed: int, draw: int) -> None:
    one = np.array([peer])
    terms.hear_list(one, round_, np.array([sell]), np.array([buy]), np.array([feed]), np.array([draw]))


def test_a_list_blocks_what_has_a_cause_each_way_by_itself() -> None:
    terms = Terms.none(3, lists=True)
    listed(terms, 1, 0, [0, -1, -1], [-1, -1, 7], feed=0, draw=-1)
    sell, buy = terms.of(np.arange(3), 0)
    np.testing.assert_array_equal(sell, [[INF] * 3, [INF, 0.0, 0.0], [INF] * 3])  # branch 0 is a cause too
    np.testing.assert_array_equal(buy, [[INF] * 3, [0.0, 0.0, INF], [INF] * 3])
    assert terms.may_feed.tolist() == [True, False, True]
    assert terms.may_draw.tolist() == [True, True, True]
    listed(terms, 2, 0, [-1, -1, -1], [-1, -1, -1], feed=-1, draw=4)
    assert terms.may_feed.tolist() == [True, False, True]
    assert terms.may_draw.tolist() == [True, True, False]


def test_a_list_counts_for_its_round_only_and_an_older_one_does_not_come_after_it() -> None:
    terms = Terms.none(2, lists=True)
    listed(terms, 0, 4, [-1, 3], [-1, -1], feed=2, draw=-1)
    listed(terms, 0, 3, [-1, -1], [-1, 3], feed=-1, draw=2)  # late
    listed(terms, 0, 4, [-1, -1], [-1, 3], feed=-1, draw=2)  # twice
    for round_, heard in ((3, False), (4, True), (5, False)):
        sell, buy = terms.of(np.array([0]), round_)
        np.testing.assert_array_equal(sell, [[0.0, INF]] if heard else [[INF, INF]])
        np.testing.assert_array_equal(buy, [[0.0, 0.0]] if heard else [[INF, INF]])
    assert not terms.may_feed[0]
    assert terms.may_draw[0]
    listed(terms, 0, 5, [-1, -1], [-1, -1], feed=-1, draw=-1)
    assert not np.isinf(terms.of(np.array([0]), 5)[0]).any()
    assert terms.may_feed[0]


def test_costs_count_until_newer_ones_come_and_each_side_has_its_own() -> None:
    terms = Terms.none(2)
    peers = np.array([1, 0])
    terms.hear_costs(peers, 2, np.array([[1.0, 2.0], [3.0, 4.0]]), np.array([[-5.0, -6.0], [-7.0, -8.0]]))
    terms.hear_costs(np.array([0]), 1, np.full((1, 2), 99.0), np.full((1, 2), 99.0))  # late
    for round_ in (2, 3, 9):
        sell, buy = terms.of(np.array([0, 1]), round_)
        np.testing.assert_array_equal(sell, [[3.0, 4.0], [1.0, 2.0]])
        np.testing.assert_array_equal(buy, [[-7.0, -8.0], [-5.0, -6.0]])
    terms.hear_costs(np.array([0]), 3, np.full((1, 2), 9.0), np.full((1, 2), 8.0))
    sell, buy = terms.of(np.array([0]), 3)
    assert (sell.tolist(), buy.tolist()) == ([[9.0, 9.0]], [[8.0, 8.0]])
    sell[:] = buy[:] = 0.0
    assert terms.sell_cost[0].tolist() == [9.0, 9.0]  # what is given away is a copy
    assert terms.told.tolist() == [3, 2]


def test_the_best_incentive_is_the_lowest_cost_below_zero_for_each_side() -> None:
    terms = Terms.none(2)
    terms.hear_costs(np.arange(2), 0, np.array([[-3.0, -12.0], [4.0, 5.0]]), np.array([[2.0, -1.0], [-20.0, 6.0]]))
    sell, buy = terms.best_incentives(np.array([1, 0]))
    assert sell.tolist() == [0.0, 12.0]
    assert buy.tolist() == [20.0, 1.0]
