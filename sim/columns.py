"""Columns of Arrow tables as numpy arrays.

What computes KPIs or draws a report needs plain arrays of a few columns; whole data frames cost more time
than the work itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

__all__ = ["at_stage", "codes", "dense", "numbers", "strings"]


def numbers(table: pa.Table, column: str) -> NDArray[np.float64]:
    """A numeric or boolean column as floats, shape (n_rows,); null becomes NaN."""
    values = table.column(column)
    if values.null_count:
        values = pc.cast(values, pa.float64())
    return np.asarray(values.to_numpy(zero_copy_only=False), dtype=np.float64)


def strings(table: pa.Table, column: str) -> list[str]:
    """A text column as a list; null becomes an empty text."""
    return ["" if value is None else str(value) for value in table.column(column).to_pylist()]


def codes(table: pa.Table, column: str) -> tuple[NDArray[np.intp], list[str]]:
    """A text column as positions in the list of its distinct values.

    Returns:
        The positions, shape (n_rows,), and the distinct values in order of first appearance.
    """
    values = table.column(column)
    if not pa.types.is_dictionary(values.type):
        values = pc.dictionary_encode(values)
    array = values.unify_dictionaries().combine_chunks()
    if isinstance(array, pa.ChunkedArray):  # a column without rows stays chunked
        if array.num_chunks == 0:
            return np.empty(0, dtype=np.intp), []
        array = array.chunk(0)
    return np.asarray(array.indices.to_numpy(zero_copy_only=False), dtype=np.intp), array.dictionary.to_pylist()


def at_stage(table: pa.Table, stage: str) -> pa.Table:
    """The rows of one stage."""
    return table.filter(pc.equal(table.column("stage"), pa.scalar(str(stage))))


def dense(shape: Sequence[int], index: Sequence[NDArray[np.intp]], values: NDArray[Any]) -> NDArray[np.float64]:
    """Scatter rows into an array of the given shape; cells without a row are NaN."""
    array = np.full(tuple(shape), np.nan)
    array[tuple(index)] = values
    return array
