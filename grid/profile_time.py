"""From the times of profiles to the start and the step of a series.

A series has days of 24 hours. Times as they stand are such days already (standard time, UTC); those of a zone are
brought to its standard time, of which the hours that summer time repeats and leaves out are none.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from itertools import product
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np

from peerwatt.errors import Fault
from peerwatt.grid.profile_file import ProfileTable
from peerwatt.grid.profile_format import DAY_S, EPOCH_FORMATS, ProfileFormat

__all__ = ["read_time", "some"]

_SHOWN = 3  # faults of one kind that are spelled out
_SHOWN_UNEVEN = 10  # these are of several kinds
_NOWHERE = np.datetime64("NaT", "s")
_WRITE = "write 2024-01-31 13:45, or give grid.profiles.time_format"
_DATES = ("%Y-%m-%d", "%d.%m.%Y", "%d/%m/%Y", "%m/%d/%Y", "%d-%m-%Y", "%Y/%m/%d", "%d.%m.%y")
_CLOCKS = (" %H:%M", " %H:%M:%S", "T%H:%M", "", " %I:%M %p", " %I:%M:%S %p")
_OFFSET = r"\d:\d\d(?::\d\d(?:[.,]\d+)?)?\s*(Z|z|UTC|GMT|[+-]\d\d(?::?\d\d)?)$"


def some(faults: list[Fault], positions: Any, make: Callable[[int], Fault], shown: int = _SHOWN) -> None:
    """Add the first faults of a kind, and in one line how many more there are."""
    faults.extend(make(int(position)) for position in positions[:shown])
    if len(positions) > shown:
        more = len(positions) - shown
        last = make(int(positions[shown]))
        problem = last.problem if more == 1 else f"{last.problem}; {more - 1} more like it"
        faults.append(Fault(last.where, problem, last.remedy))


def read_time(table: ProfileTable, form: ProfileFormat, faults: list[Fault]) -> tuple[np.datetime64, int]:
    """Start and step; faults for whatever keeps the times from being an even grid.

    Args:
        table: the profiles.
        form: how they are written.
        faults: where faults are added.

    Returns:
        Begin of the first row, and the length of a row, s; something where there are faults.
    """
    if form.start is not None and form.step_s is not None:
        return np.datetime64(form.start, "s"), form.step_s
    before = len(faults)
    time = _moments(table, form, faults)
    if len(faults) > before:
        return _NOWHERE, 1
    gap = np.diff(time).astype(np.int64)
    forward = gap[gap > 0]
    if not len(forward):
        faults.append(Fault(f"{table.name}: {table.time}", "never moves forward", "sort the rows by time"))
        return time[0], 1
    lengths, counts = np.unique(forward, return_counts=True)
    step = int(lengths[np.argmax(counts)])
    if DAY_S % step:
        faults.append(Fault(f"{table.name}: {table.time}", f"steps of {step} s", "the step must divide a day"))
    some(faults, np.flatnonzero(gap != step), lambda k: _uneven(table, time, k + 1, step), _SHOWN_UNEVEN)
    return time[0], step


def _uneven(table: ProfileTable, time: Any, row: int, step: int) -> Fault:
    before, here = time[row - 1], time[row]
    length, remedy = int((here - before).astype(np.int64)), ""
    if length == 0:
        problem = f"{here} occurs twice"
        remedy = "for local time with summer time give grid.profiles.time_zone" if _is_clock_change(before) else ""
    elif length < 0:
        problem = f"{here} comes after {before}: not sorted"
        remedy = "for local time with summer time give grid.profiles.time_zone" if length >= -3600 else ""
    elif length % step == 0:
        problem = f"{length // step - 1} steps of {step} s are missing between {before} and {here}"
        if length == step + 3600:
            remedy = "for local time with summer time give grid.profiles.time_zone"
    else:
        problem = f"{length} s from {before} to {here}, elsewhere {step} s"
    return Fault(table.row(row), problem, remedy)


def _is_clock_change(moment: np.datetime64) -> bool:
    return int(moment.astype("datetime64[h]").astype(np.int64)) % 24 in (1, 2, 3)


def _moments(table: ProfileTable, form: ProfileFormat, faults: list[Fault]) -> Any:
    """Times as the series has them, datetime64[s]; anything where there are faults."""
    import pandas as pd

    given = table.frame[table.time]
    if isinstance(given.dtype, pd.DatetimeTZDtype):
        aware = True
        offsets = {str(given.dt.tz)} if str(given.dt.tz) != "UTC" else set()
        parsed = given.dt.tz_convert("UTC").dt.tz_localize(None)
    elif given.dtype.kind == "M":
        aware, offsets, parsed = False, set(), given
    else:
        aware, offsets, parsed = _parsed(table, form, faults)
    bad = np.flatnonzero(parsed.isna())
    clock_only = given.astype(str).str.fullmatch(r"\s*\d{1,2}:\d\d(:\d\d)?\s*")
    if len(bad) and clock_only.iloc[bad[0]]:
        problem, remedy = f"time '{given.iloc[bad[0]]}' has no date", "join date and time in one column"
        faults.append(Fault(table.row(int(bad[0])), problem, f"{remedy}, or give grid.profiles.start and step_s"))
    else:
        pattern = f"does not fit {form.time_format}" if form.time_format else _WRITE
        some(faults, bad, lambda k: Fault(table.row(k), f"time '{given.iloc[k]}'", pattern))
    if len(bad):
        return None
    if form.time_zone is None:
        if offsets:
            problem = f"has a time zone that is not UTC ({', '.join(sorted(offsets)[:3])})"
            remedy = "say in whose standard time days are simulated: grid.profiles.time_zone: UTC, or Europe/Berlin"
            faults.append(Fault(f"{table.name}: {table.time}", problem, remedy))
        return parsed.to_numpy("datetime64[s]")
    if not aware:
        parsed = _localised(table, parsed, form.time_zone, faults)
    return parsed.to_numpy("datetime64[s]") + _standard_offset(form.time_zone, parsed.iloc[0].year)


def _parsed(table: ProfileTable, form: ProfileFormat, faults: list[Fault]) -> tuple[bool, set[str], Any]:
    """Whether times say their offset, the offsets besides 0, and the times (in UTC where they do)."""
    import pandas as pd

    given = table.frame[table.time]
    pattern = form.time_format
    if pattern is not None and pattern in EPOCH_FORMATS:
        numbers = pd.to_numeric(given, errors="coerce")
        return True, set(), pd.to_datetime(numbers, unit=EPOCH_FORMATS[pattern], errors="coerce")
    text = given.astype(str).str.strip()
    if pattern is not None:
        parsed = pd.to_datetime(text, format=pattern, errors="coerce", utc="%z" in pattern)
        if "%z" not in pattern:
            return False, set(), parsed
        return True, _offsets(text.str.extract(r"([+-]\d\d:?\d\d|Z)\s*$")[0]), parsed.dt.tz_localize(None)
    if given.dtype.kind in "iuf":
        problem = f"times are numbers, e.g. {given.iloc[0]}"
        remedy = "give grid.profiles.time_format, e.g. seconds since 1970 or %Y%m%d, or start and step_s"
        faults.append(Fault(f"{table.name}: {table.time}", problem, remedy))
        return False, set(), pd.to_datetime(pd.Series(["2000-01-01"] * len(given)))
    offset = text.str.extract(_OFFSET)[0]
    if offset.notna().all():
        iso = text.str.replace(r"\s*(?:z|UTC|GMT)$", "Z", regex=True)
        parsed = pd.to_datetime(iso, format="ISO8601", errors="coerce", utc=True)
        return True, _offsets(offset), parsed.dt.tz_localize(None)
    text = text.where(offset.isna(), "")  # an offset in some rows only is a fault of these rows
    parsed = pd.to_datetime(text, format="ISO8601", errors="coerce")
    return False, set(), parsed if parsed.notna().all() else _by_pattern(table, text, parsed, faults)


def _offsets(found: Any) -> set[str]:
    zero = {"Z", "z", "UTC", "GMT", "+00", "+00:00", "+0000", "-00:00", "-0000"}
    return {str(each) for each in found.dropna().unique()} - zero


def _by_pattern(table: ProfileTable, text: Any, iso: Any, faults: list[Fault]) -> Any:
    """Times in the one usual form that fits all of them; the ISO reading where none does."""
    import pandas as pd

    patterns = ["".join(pair) for pair in product(_DATES, _CLOCKS)]
    patterns = [each for each in patterns if pd.notna(pd.to_datetime(text.iloc[0], format=each, errors="coerce"))]
    read = {each: pd.to_datetime(text, format=each, errors="coerce") for each in patterns}
    fits = {each: time for each, time in read.items() if time.notna().all()}
    if len(fits) > 1:  # day first or month first: the one whose steps are even
        fits = {each: time for each, time in fits.items() if time.diff().iloc[1:].nunique() == 1} or fits
    distinct = [time for k, time in enumerate(fits.values()) if not any(time.equals(t) for t in [*fits.values()][:k])]
    if len(distinct) > 1:
        problem = f"'{text.iloc[0]}' can be read as {' and as '.join(f'{each}' for each in fits)}"
        faults.append(Fault(f"{table.name}: {table.time}", problem, "give grid.profiles.time_format"))
    if distinct:
        return distinct[0]
    return max(read.values(), key=lambda time: int(time.notna().sum()), default=iso)


def _localised(table: ProfileTable, local: Any, zone: str, faults: list[Fault]) -> Any:
    """Local times in UTC; faults for those that a clock in the zone never or not as often shows."""
    missing = local.dt.tz_localize(zone, ambiguous=np.ones(len(local), dtype=bool), nonexistent="NaT").isna()
    some(
        faults,
        np.flatnonzero(missing),
        lambda k: Fault(
            table.row(k),
            f"{local.iloc[k]} does not exist in {zone}: clocks are put forward",
            "leave out grid.profiles.time_zone where times are standard time or UTC",
        ),
    )
    if missing.any():
        return local
    first = ~local.duplicated()  # of a time that clocks show twice: in summer time
    once = local.dt.tz_localize(zone, ambiguous="NaT").isna() & ~local.duplicated(keep=False)
    some(
        faults,
        np.flatnonzero(once),
        lambda k: Fault(
            table.row(k),
            f"{local.iloc[k]} occurs twice in {zone}, where clocks are put back, but not here",
            "write both hours, or leave out grid.profiles.time_zone where times are standard time or UTC",
        ),
    )
    return local.dt.tz_localize(zone, ambiguous=first.to_numpy()).dt.tz_convert("UTC").dt.tz_localize(None)


def _standard_offset(zone: str, year: int) -> np.timedelta64:
    """Standard time less UTC: of winter and summer time the one that is behind."""
    offsets = [datetime(year, month, 1, 12, tzinfo=ZoneInfo(zone)).utcoffset() for month in (1, 7)]
    return np.timedelta64(min(int(offset.total_seconds()) for offset in offsets if offset is not None), "s")
