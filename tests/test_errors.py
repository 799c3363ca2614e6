"""Faults as a user sees them."""

from __future__ import annotations

from peerwatt.errors import Fault, InputError, counted


def test_many_equal_faults_are_one_line_that_names_some_places_and_counts_the_rest() -> None:
    faults = [Fault(f"net.json: load {k}", "no rating", "give one") for k in range(55)]
    error = InputError([Fault("net.json", "no external grid"), *faults, Fault("net.json: load 3", "no rating")])
    assert str(error).splitlines() == [
        "net.json: no external grid",
        "net.json: load 0, load 1, load 2 and 52 more: no rating (give one)",
        "net.json: load 3: no rating",
    ]
    assert len(error.faults) == 57


def test_a_few_equal_faults_keep_their_lines_and_places_in_two_files_their_names() -> None:
    few = [Fault(f"a.json: load {k}", "no rating") for k in range(3)]
    assert counted(few) == tuple(few)
    many = [*few, Fault("b.json: load 0", "no rating")]
    assert counted(many) == (Fault("a.json: load 0, a.json: load 1, a.json: load 2 and 1 more", "no rating"),)
