"""What a mediator schedules beyond its auction: which steps, what is undone first, who pays whom, by hand."""

from __future__ import annotations

import numpy as np

from peerwatt.agents.padding import DOWN, UP, OpenSteps, Padding
from peerwatt.market.settlement import REASONS, Entries, Reason

MEDIATOR, DSO = 8, 9


def rows(entries: Entries) -> list[tuple[int, int, str, float]]:
    """Payer, payee, reason and amount of what is paid."""
    columns = (entries.payer, entries.payee, entries.reason, entries.amount_eur)
    listed = zip(*(each.tolist() for each in columns), strict=True)
    return sorted((a, b, REASONS[c], round(d, 9)) for a, b, c, d in listed if d)


def two_at_a_bus() -> OpenSteps:
    """Peer 0 has two steps of consumption at bus 5, peer 1 one, peer 2 one of feed-in; peer 3 is elsewhere."""
    return OpenSteps(
        peer=np.array([0, 0, 1, 2, 3]),
        bus=np.array([5, 5, 5, 5, 6]),
        step=np.array([1, 2, 1, 1, 1]),
        p_mw=np.array([-1.0, -1.0, -2.0, 3.0, -4.0]),
        loss_eur_per_mwh=np.array([10.0, 30.0, 20.0, 40.0, 50.0]),
    )


def test_open_are_flexible_steps_of_which_nothing_was_accepted() -> None:
    peer = np.array([0, 0, 1, 1])
    found = OpenSteps.of(
        peer,
        peer + 5,
        np.array([0, 1, 1, 2]),
        np.array([-1.0, -2.0, 3.0, 4.0]),
        np.array([0.0, 0.0, -1e-3, 1e-15]),
        np.array([1.0, 2.0, 3.0, 4.0]),
    )
    assert (found.peer.tolist(), found.bus.tolist(), found.step.tolist()) == ([0, 1], [5, 6], [1, 2])
    assert (found.p_mw.tolist(), found.loss_eur_per_mwh.tolist()) == ([-2.0, 4.0], [2.0, 4.0])
    assert found.direction.tolist() == [UP, DOWN]


def test_the_dearest_steps_at_the_bus_and_in_the_direction_are_undone_first() -> None:
    padding = Padding(two_at_a_bus(), np.zeros(4))
    np.testing.assert_allclose(padding.scheduled_mw, [-2.0, -2.0, 3.0, -4.0])
    told = padding.undo(np.array([5, 5]), np.array([UP, DOWN]), np.array([2.0, 0.0]), np.array([60.0, 7.0]))
    np.testing.assert_allclose(padding.undone_mw, [0.0, 1.0, 1.0, 0.0, 0.0])
    np.testing.assert_allclose(padding.due_eur, [0.0, 30.0, 30.0, 0.0, 0.0])
    assert told.tolist() == [0, 1]
    np.testing.assert_allclose(padding.scheduled_mw, [-1.0, -1.0, 3.0, -4.0])
    told = padding.undo(np.array([5, 5]), np.array([UP, DOWN]), np.array([1.5, 1.0]), np.array([15.0, 5.0]))
    np.testing.assert_allclose(padding.undone_mw, [0.5, 1.0, 2.0, 1.0, 0.0])
    np.testing.assert_allclose(padding.due_eur, [5.0, 30.0, 40.0, 5.0, 0.0])
    np.testing.assert_allclose(padding.scheduled_mw, [-0.5, 0.0, 2.0, -4.0])
    assert told.tolist() == [0, 1, 2]


def test_peers_are_paid_for_what_the_meter_says_beyond_the_auction_from_the_first_step_on() -> None:
    padding = Padding(two_at_a_bus(), np.array([-0.5, 0.0, 0.25, 0.0]))
    followed = np.array([-2.0, 0.5, 1.25, -4.0])  # 1.5 down, nothing, 1 up, 4 down, beyond the auction
    paid = rows(padding.settled(followed, 0.5, mediator=MEDIATOR, dso=DSO))
    assert paid == [
        (MEDIATOR, 0, Reason.SURPLUS, 0.5 * 1.0 * 10.0),
        (MEDIATOR, 0, Reason.SURPLUS, 0.5 * 0.5 * 30.0),
        (MEDIATOR, 2, Reason.SURPLUS, 0.5 * 1.0 * 40.0),
        (MEDIATOR, 3, Reason.SURPLUS, 0.5 * 4.0 * 50.0),
    ]


def test_the_dso_pays_for_undoing_no_more_than_was_left_undone() -> None:
    padding = Padding(two_at_a_bus(), np.zeros(4))
    padding.undo(np.array([6]), np.array([UP]), np.array([2.0]), np.array([80.0]))
    for followed, relief in ((-2.0, 1.0), (-3.0, 0.5), (-4.0, 0.0), (0.0, 1.0)):
        entries = padding.settled(np.array([-2.0, -2.0, 3.0, followed]), 1.0, mediator=MEDIATOR, dso=DSO)
        from_dso = [(payee, amount) for payer, payee, _, amount in rows(entries) if payer == DSO]
        assert from_dso == ([(MEDIATOR, 80.0 * relief)] if relief else [])
        to_peer = sum(amount for _, payee, _, amount in rows(entries) if payee == 3)
        assert to_peer == -followed * 50.0
