"""Reads columns of pandapower's tables, which may be missing, nullable or of mixed type."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from peerwatt.grid.admittance import Bools, Floats

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["column", "flag", "in_service", "names", "texts"]


def column(table: pd.DataFrame, name: str, default: float) -> Floats:
    """A numeric column as an array, (n,).

    Args:
        table: element table.
        name: column; a missing one is all `default`.
        default: used where the column has no number.
    """
    if name not in table.columns:
        return np.full(len(table), default)
    import pandas as pd

    numbers = pd.to_numeric(table[name], errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan)
    return np.where(np.isnan(numbers), default, numbers)


def in_service(table: pd.DataFrame) -> Bools:
    """Which elements are in service, (n,); those that do not say are."""
    return _flags(table, "in_service", 1)


def flag(table: pd.DataFrame, name: str) -> Bools:
    """A column of truth values, (n,); False where it has none."""
    return _flags(table, name, 0)


def _flags(table: pd.DataFrame, name: str, default: int) -> Bools:
    if name not in table.columns:
        return np.full(len(table), default, dtype=np.bool_)
    values = table[name].to_numpy(dtype=object)
    return np.where(table[name].isna().to_numpy(), default, values).astype(np.bool_)


def texts(table: pd.DataFrame, name: str) -> list[str]:
    """A text column; empty where it has no value."""
    if name not in table.columns:
        return [""] * len(table)
    missing = table[name].isna().to_numpy()
    return ["" if gone else str(value) for value, gone in zip(table[name], missing, strict=True)]


def names(table: pd.DataFrame, kind: str) -> tuple[str, ...]:
    """Names of the elements of a table, `<kind> <index>` where there is none."""
    return tuple(
        text.strip() or f"{kind} {index}" for text, index in zip(texts(table, "name"), table.index, strict=True)
    )
