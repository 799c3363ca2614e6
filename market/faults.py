"""Finds what is wrong with columns of numbers, for the input checks of markets."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sized

import numpy as np
from numpy.typing import ArrayLike, NDArray

from peerwatt.errors import BookError, Fault
from peerwatt.market.arrays import FloatArray, IntArray

__all__ = [
    "SHOWN",
    "as_floats",
    "as_integers",
    "finite_faults",
    "length_faults",
    "period_faults",
    "range_faults",
    "refuse",
    "row_faults",
]

SHOWN = 5
"""Rows named in one fault."""


def as_floats(name: str, values: ArrayLike) -> FloatArray:
    """Numbers as an array of floats.

    Raises:
        BookError: they are not numbers.
    """
    try:
        return np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise BookError(Fault(name, f"is not an array of numbers: {error}", "one number per row")) from error


def as_integers(name: str, values: ArrayLike, remedy: str = "integers") -> IntArray:
    """Indices or directions as an array of integers.

    Args:
        name: what they are.
        values: the numbers.
        remedy: what is allowed, for the message.

    Raises:
        BookError: they are not integers.
    """
    array = np.asarray(values)
    if array.size and array.dtype.kind not in "iu":
        raise BookError(Fault(name, f"holds {array.dtype}", remedy))
    return array.astype(np.intp, copy=False)


def period_faults(period_h: float) -> Iterator[Fault]:
    """A period that is not a positive number of hours."""
    if not 0.0 < period_h < np.inf:
        yield Fault("period_h", f"is {period_h}", "a positive number of hours")


def length_faults(what: str, columns: Mapping[str, FloatArray | IntArray], names: Sized | None = None) -> list[Fault]:
    """Columns that are not of one length, and names that are not as many.

    Args:
        what: what a row is, e.g. ``bid``.
        columns: columns of one value per row, by name.
        names: names of the rows; None if they have none.
    """
    shapes = {name: values.shape for name, values in columns.items()}
    first = next(iter(shapes.values()))
    if len(first) != 1 or set(shapes.values()) != {first}:
        return [Fault(f"{what}s", f"shapes differ: {shapes}", f"one value per {what}")]
    if names is not None and len(names) != first[0]:
        return [Fault(f"names of {what}s", f"{len(names)} for {first[0]} {what}s", f"one per {what}, or none")]
    return []


def finite_faults(what: str, columns: Mapping[str, FloatArray], name: Callable[[int], str] = str) -> Iterator[Fault]:
    """Values that are NaN or infinite."""
    for column, values in columns.items():
        yield from row_faults(what, ~np.isfinite(values), values, column, "a finite number", name)


def range_faults(
    what: str, index: IntArray, n: int, problem: str, remedy: str, name: Callable[[int], str] = str
) -> Iterator[Fault]:
    """Indices that are below 0, or `n` and above."""
    yield from row_faults(what, (index < 0) | (index >= n), index, problem, remedy, name)


def row_faults(
    what: str,
    bad: NDArray[np.bool_],
    values: FloatArray | IntArray,
    problem: str,
    remedy: str,
    name: Callable[[int], str] = str,
) -> Iterator[Fault]:
    """Faults of the first few bad rows, and how many more there are.

    Args:
        what: what a row is, e.g. ``bid``.
        bad: which rows. (n_rows,)
        values: the value that is wrong, of each row. (n_rows,)
        problem: what is wrong; the value is put behind it.
        remedy: what is allowed.
        name: name of a row for the message.
    """
    rows = np.flatnonzero(bad)
    for row in rows[:SHOWN].tolist():
        yield Fault(f"{what} {name(row)}", f"{problem} {values[row]:g}", remedy)
    if rows.size > SHOWN:
        yield Fault(f"{what}s", f"{problem}: {rows.size - SHOWN} more", remedy)


def refuse(faults: Iterable[Fault]) -> None:
    """Refuse an input that has faults.

    Raises:
        BookError: lists all of them; nothing is raised if there are none.
    """
    found = tuple(faults)
    if found:
        raise BookError(found)
