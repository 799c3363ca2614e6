from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from peerwatt.agents.messages import Batch, ClearingNotice
from peerwatt.sim.bus import Bus, Link
from peerwatt.sim.clock import Clock


def notices(n: int) -> list[ClearingNotice]:
    return [ClearingNotice("mediator", f"peer {i}", 0, 0.1 * i, 0.0, 100.0) for i in range(n)]


def batch(n: int) -> Batch:
    fields = (0.1 * np.arange(n), np.zeros(n), np.full(n, 100.0))
    return Batch(ClearingNotice, "mediator", "peers", 0, np.arange(n), fields)


def send_both_ways(n: int, link: Link, seed: int) -> tuple[dict[int, int], dict[int, int], Bus, Bus]:
    """When each peer's message arrives, sent one by one and as a batch."""
    arrivals: list[dict[int, int]] = []
    buses = []
    for as_batch in (False, True):
        clock = Clock()
        bus = Bus(clock, np.random.default_rng(seed), link)
        seen: dict[int, int] = {}
        names = ["peers"] if as_batch else [f"peer {i}" for i in range(n)]
        boxes = {name: bus.mailbox(name) for name in names}
        if as_batch:
            bus.send_batch(batch(n))
        else:
            bus.send(notices(n))
        for second in range(1, 60):
            clock.run_until(second)
            for name, box in boxes.items():
                for item in box.take():
                    rows = item.peer.tolist() if isinstance(item, Batch) else [int(name.split()[1])]
                    seen |= dict.fromkeys(rows, second - 1)
        arrivals.append(seen)
        buses.append(bus)
    return arrivals[0], arrivals[1], buses[0], buses[1]


@given(st.integers(1, 30), st.integers(0, 5), st.integers(0, 5), st.sampled_from([0.0, 0.2, 1.0]), st.integers(0, 999))
def test_both_fidelities_lose_and_delay_the_same_messages(
    n: int, latency: int, jitter: int, loss: float, seed: int
) -> None:
    one_by_one, batched, bus_a, bus_b = send_both_ways(n, Link(latency, jitter, loss), seed)
    assert one_by_one == batched
    record_a, record_b = bus_a.take_record(), bus_b.take_record()
    assert sum(row.n for row in record_a) == sum(row.n for row in record_b) == n
    lost = sum(row.n for row in record_a if row.delivered_s < 0)
    assert lost == sum(row.n for row in record_b if row.delivered_s < 0) == n - len(one_by_one)


def test_a_message_arrives_after_the_latency_and_is_recorded() -> None:
    clock = Clock()
    bus = Bus(clock, np.random.default_rng(0), Link(latency_s=7))
    box = bus.mailbox("peer 0")
    bus.send(notices(1))
    clock.run_until(7)
    assert box.take() == []
    clock.run_until(8)
    assert box.take() == notices(1)
    (row,) = bus.take_record()
    assert (row.time_s, row.delivered_s, row.kind, row.sender, row.receiver, row.n) == (
        0,
        7,
        "ClearingNotice",
        "mediator",
        "peer 0",
        1,
    )
    assert bus.take_record() == []


def test_operators_reach_each_other_whatever_the_link_loses() -> None:
    clock = Clock()
    bus = Bus(clock, np.random.default_rng(0), Link(loss=1.0), frozenset({"mediator", "dso"}))
    box, peer = bus.mailbox("dso"), bus.mailbox("peer 0")
    bus.send([ClearingNotice("mediator", "dso", 0, 0.0, 0.0, 0.0), *notices(1)])
    clock.run_until(1)
    assert len(box.take()) == 1
    assert peer.take() == []


@pytest.mark.parametrize("loss", [0.1, 0.5])
def test_the_share_of_lost_messages_is_the_one_asked_for(loss: float) -> None:
    clock = Clock()
    bus = Bus(clock, np.random.default_rng(1), Link(loss=loss))
    bus.send_batch(batch(20_000))
    lost = sum(row.n for row in bus.take_record() if row.delivered_s < 0)
    assert lost / 20_000 == pytest.approx(loss, abs=0.015)
