"""Opens files of profiles as people have them: separators, decimal commas, encodings, headers, empty lines."""

from __future__ import annotations

import csv
import io
import re
import warnings
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from peerwatt.errors import Fault, ProfileError
from peerwatt.grid.profile_format import ProfileFormat

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["ProfileTable", "open_table"]

_TEXT, _PARQUET = (".csv", ".txt", ".tsv"), (".parquet", ".pq")
_SEPARATORS = ";\t,"  # in the order of preference where a header has no more of one than of another
_BYTE_ORDER_MARKS = {
    b"\xef\xbb\xbf": "utf-8-sig",
    b"\xff\xfe": "utf-16",
    b"\xfe\xff": "utf-16",
}
_TIME_NAMES = ("time", "timestamp", "datetime", "date", "zeit", "zeitstempel", "datum")
_DECIMAL_COMMA = r"\s*[+-]?\d*,\d+(?:[eE][+-]?\d+)?\s*"


@dataclass(frozen=True, slots=True)
class ProfileTable:
    """A table and how to call its places in a message.

    Attributes:
        frame: its columns, with trimmed headers.
        name: of the file or table.
        first_row: number of the first row of values, as an editor shows it.
        time: header of the column of times; empty where it has none.
        decimal: decimal mark of numbers that are text.
    """

    frame: Any
    name: str
    first_row: int
    time: str
    decimal: str = "."

    def row(self, position: int) -> str:
        """Name of a row."""
        return f"{self.name}: row {position + self.first_row}"

    def cell(self, name: str, position: int) -> str:
        """Name of a cell, with its time."""
        at = f" ({self.frame[self.time].iloc[position]})" if self.time else ""
        return f"{self.name}: column '{name}', row {position + self.first_row}{at}"


def open_table(source: pd.DataFrame | Path, form: ProfileFormat) -> ProfileTable:
    """Open profiles.

    Args:
        source: file or table.
        form: how they are written.

    Raises:
        ProfileError: they cannot be read, have no times, or fewer than two rows.
    """
    import pandas as pd

    if isinstance(source, pd.DataFrame):
        frame, name, first, decimal = source, "profiles", 0, "."
    else:
        frame, decimal = _read_file(source)
        name, first = str(source), 2 if source.suffix.lower() in _TEXT else 1
    frame = frame.set_axis([str(each).strip() for each in frame.columns], axis=1)
    _refuse_twice(list(frame.columns), name)
    if form.start is None and _time_header(frame, form) is None and isinstance(frame.index, pd.DatetimeIndex):
        frame = frame.rename_axis(form.time_column or "time").reset_index()
    frame = frame.reset_index(drop=True)
    time = _time_header(frame, form)
    if form.start is not None:
        frame, time = frame.drop(columns=[time] if time is not None else []), ""
    if time is None:
        found = ", ".join(f"'{each}'" for each in frame.columns[:10])
        remedy = f"name it in grid.profiles.time_column (found: {found}), or give grid.profiles.start and step_s"
        raise ProfileError(Fault(name, f"no column '{form.time_column or 'time'}'", remedy))
    if len(frame) < 2:
        raise ProfileError(Fault(name, f"{len(frame)} rows of values", "give at least two"))
    return ProfileTable(frame, name, first, time, decimal)


def _time_header(frame: pd.DataFrame, form: ProfileFormat) -> str | None:
    """Header of the column of times, if there is one."""
    folded = {str(each).casefold(): str(each) for each in reversed(frame.columns)}
    if form.time_column is not None:
        return folded.get(form.time_column.strip().casefold())
    found = [folded[name] for name in _TIME_NAMES if name in folded]
    if found:
        return found[0]
    return "" if len(frame.columns) and frame.columns[0] == "" else None  # as pandas writes an index


def _refuse_twice(headers: list[str], where: str) -> None:
    twice = [header for header, count in Counter(headers).items() if count > 1]
    if twice:
        raise ProfileError([Fault(f"{where}: column '{each}'", "stands twice", "remove one") for each in twice])


def _read_file(path: Path) -> tuple[pd.DataFrame, str]:
    """Columns, and the decimal mark."""
    kind = path.suffix.lower()
    if kind not in _TEXT + _PARQUET:
        raise ProfileError(Fault(str(path), f"unknown kind of file '{path.suffix}'", "give .csv or .parquet"))
    try:
        if kind in _TEXT:
            return _read_csv(path.read_bytes(), str(path))
        import pandas as pd

        return pd.read_parquet(path), "."
    except OSError as error:
        raise ProfileError(Fault(str(path), f"cannot be read: {error.strerror or error}")) from error
    except ProfileError:
        raise
    except Exception as error:  # a parser's error has many types
        problem = str(error).partition("\n")[0]
        raise ProfileError(Fault(str(path), f"cannot be read: {problem}")) from error


def _text(data: bytes, where: str) -> str:
    """Decode a file: what its byte order mark says, else UTF-8, else UTF-16, else Windows' western European code."""
    marked = next((code for mark, code in _BYTE_ORDER_MARKS.items() if data.startswith(mark)), None)
    head = data[:1000]
    if marked is None and head.count(0) * 3 > len(head):  # half of the bytes of Latin text in UTF-16 are zero
        marked = "utf-16-be" if head[:1] == b"\0" else "utf-16-le"
    for code in (marked,) if marked else ("utf-8", "cp1252"):
        try:
            text = data.decode(code)
        except UnicodeDecodeError:
            continue
        if "\0" not in text:
            return text
    raise ProfileError(Fault(where, "is not text that can be read", "save it as CSV in UTF-8"))


def _read_csv(data: bytes, where: str) -> tuple[pd.DataFrame, str]:
    import pandas as pd

    text = _text(data, where)
    first = text.lstrip("\r\n").partition("\n")[0].rstrip("\r")
    separator = ""
    if found := re.fullmatch(r"sep=(.)", first.strip().strip('"')):  # as spreadsheets write it
        separator, text = found[1], text.lstrip("\r\n").partition("\n")[2]
    lines = [line for line in text[:1_000_000].splitlines() if line.strip()][:2]
    if not lines:
        raise ProfileError(Fault(where, "cannot be read: it is empty", "give a header and rows of values"))
    separator = separator or max(_SEPARATORS, key=lambda each: len(_fields(lines[0], each)))
    header = [each.strip() for each in _fields(lines[0], separator)]
    _refuse_long(header, _fields(lines[1], separator) if len(lines) > 1 else [], where)
    _refuse_twice([each for each in header if each], where)

    def parsed(decimal: str) -> pd.DataFrame:
        with warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)  # cells that would be dropped
            try:
                return pd.read_csv(
                    io.StringIO(text),
                    sep=separator,
                    decimal=decimal,
                    index_col=False,
                    low_memory=False,
                    skipinitialspace=True,
                )
            except (pd.errors.ParserError, pd.errors.ParserWarning) as error:
                raise ProfileError(_tokenising(str(error), where)) from error

    frame, decimal = parsed("."), "."
    if _has_decimal_comma(frame):
        frame, decimal = parsed(","), ","
    frame.columns = pd.Index(header)
    return _trimmed(frame), decimal


def _fields(line: str, separator: str) -> list[str]:
    return next(csv.reader([line], delimiter=separator, skipinitialspace=True))


def _refuse_long(header: list[str], row: list[str], where: str) -> None:
    if any(field.strip() for field in row[len(header) :]):
        remedy = "quote numbers with a decimal comma, or separate columns by ';'"
        raise ProfileError(Fault(f"{where}: row 2", f"{len(row)} fields, but {len(header)} in the header", remedy))


def _tokenising(message: str, where: str) -> Fault:
    """A parser's words in those of the user."""
    found = re.search(r"Expected (\d+) fields in line (\d+), saw (\d+)", message)
    if found:
        problem = f"{found[3]} fields, but {found[1]} in the header"
        return Fault(f"{where}: row {found[2]}", problem, "quote numbers with a decimal comma, or remove the rest")
    return Fault(where, f"cannot be read: {message}", "give every row as many fields as the header")


def _has_decimal_comma(frame: pd.DataFrame) -> bool:
    return any(
        frame[name].astype(str).str.fullmatch(_DECIMAL_COMMA).any()
        for name in frame.columns
        if frame[name].dtype.kind not in "biufM"
    )


def _trimmed(frame: pd.DataFrame) -> pd.DataFrame:
    """Without columns that have neither header nor value, and without empty rows at the end."""
    import numpy as np

    unnamed = np.array([header == "" for header in frame.columns])
    frame = frame.loc[:, ~(unnamed & frame.isna().to_numpy().all(axis=0))]
    end = len(frame)
    while end and all(value != value or not str(value).strip() for value in frame.iloc[end - 1]):
        end -= 1
    return frame.iloc[:end]
