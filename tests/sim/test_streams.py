from __future__ import annotations

from peerwatt.sim.streams import Streams


def test_a_stream_does_not_depend_on_what_others_have_drawn() -> None:
    a, b = Streams(1), Streams(1)
    b["tie-breaking"].random(100)
    assert a["forecast errors"].random(5).tolist() == b["forecast errors"].random(5).tolist()


def test_purposes_replicas_and_seeds_differ() -> None:
    drawn = [
        Streams(seed, replica)[name].random()
        for seed in (1, 2)
        for replica in (0, 1)
        for name in ("forecast errors", "communication")
    ]
    assert len(set(drawn)) == len(drawn)


def test_a_name_gives_the_same_running_generator() -> None:
    streams = Streams(3)
    assert streams["x"] is streams["x"]
