"""A cache of what pandapower and SimBench take seconds to derive.

An entry is a directory of `.npy` arrays, texts and a `meta.json` that lists them with their sizes and
checksums. It is written beside its place, flushed to disk and renamed, so that readers see all of it or
nothing; whoever comes second keeps the first one's. Entries may be deleted at any time. A damaged one is
rebuilt. Without a writable directory everything works, only slower.

The place is the directory in the environment variable `PEERWATT_CACHE`, or the user's cache directory.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import logging
import mmap
import os
import shutil
import time
import uuid
import zlib
from collections.abc import Callable, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import platformdirs

from peerwatt.errors import Fault, InputError

__all__ = ["Part", "cache_dir", "fetch", "file_digest", "store"]

Part = npt.NDArray[Any] | str
"""What an entry is made of: arrays and texts."""

T = TypeVar("T")

_FORMAT = 4  # raise when entries are laid down differently
_CODE = 3  # raise when peerwatt.grid derives other numbers from the same input
_LIBRARIES = ("numpy", "pandapower", "pandas", "simbench")
_MAPPED_BYTES = 1 << 20  # arrays from this size on are mapped into memory, unread until used
_LEFTOVER_S = 3600.0
_TEMPORARY = ".writing-"

_log = logging.getLogger("peerwatt")


def cache_dir() -> Path:
    """Directory that holds the entries; it may not exist."""
    given = os.environ.get("PEERWATT_CACHE")
    return Path(given) if given else Path(platformdirs.user_cache_dir("peerwatt", appauthor=False))


def file_digest(path: Path, error: type[InputError]) -> str:
    """Hash of a file's content.

    Args:
        path: the file.
        error: what to raise when it cannot be read.

    Raises:
        InputError: of the type given; names the file.
    """
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as problem:
        raise error(Fault(str(path), f"cannot be read: {problem.strerror or problem}")) from problem


def fetch(key: Mapping[str, str], restore: Callable[[dict[str, Part]], T]) -> T | None:
    """Read an entry.

    Args:
        key: what the entry was derived from.
        restore: makes a value of the entry's parts.

    Returns:
        The value; None where there is no entry or it is damaged.
    """
    place = _place(key)
    try:
        return restore(_read(place))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, AttributeError, EOFError) as error:
        _log.info("cache entry %s is damaged and will be rebuilt: %s", place, error)
        return None


def store(key: Mapping[str, str], parts: Mapping[str, Part]) -> None:
    """Write an entry; a failure to do so is logged once and changes nothing else.

    Args:
        key: what the entry was derived from.
        parts: arrays and texts by name; names are used for files.
    """
    place = _place(key)
    temporary = place.parent / f"{_TEMPORARY}{os.getpid()}-{uuid.uuid4().hex}"
    try:
        temporary.mkdir(parents=True)
        _write(temporary, parts)
        _publish(temporary, place)
        _remove_leftovers(place.parent)
    except OSError as error:
        _warn_once(str(place.parent), error.strerror or str(error))
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


@functools.cache
def _warn_once(directory: str, reason: str) -> None:
    _log.warning("nothing is cached, so grids take seconds to load: %s: %s", directory, reason)


def _place(key: Mapping[str, str]) -> Path:
    whole = {"format": _FORMAT, "code": _CODE, "libraries": _versions(), "key": dict(key)}
    digest = hashlib.sha256(json.dumps(whole, sort_keys=True).encode()).hexdigest()
    return cache_dir() / digest[:40]


@functools.cache
def _versions() -> dict[str, str]:
    found = {}
    for name in _LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = ""
    return found


def _read(place: Path) -> dict[str, Part]:
    listed = json.loads((place / "meta.json").read_text(encoding="utf-8"))["parts"]
    parts: dict[str, Part] = {}
    for name, (file, size, checksum) in listed.items():
        path = place / file
        if path.stat().st_size != size:
            raise ValueError(f"{file} has {path.stat().st_size} bytes, not {size}")
        if size >= _MAPPED_BYTES and file.endswith(".npy"):
            with path.open("rb") as handle, mmap.mmap(handle.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
                if zlib.crc32(mapped) != checksum:
                    raise ValueError(f"{file} is not what was written")
            parts[name] = np.asarray(np.load(path, mmap_mode="r", allow_pickle=False))
            continue
        content = path.read_bytes()
        if zlib.crc32(content) != checksum:
            raise ValueError(f"{file} is not what was written")
        parts[name] = content.decode() if file.endswith(".txt") else _array(content)
    return parts


def _array(content: bytes) -> npt.NDArray[Any]:
    """Array of the bytes of a `.npy` file of version 1."""
    if content[:8] != b"\x93NUMPY\x01\x00":
        raise ValueError("not an array")
    start = 10 + int.from_bytes(content[8:10], "little")
    header = content[10:start].decode("latin1")
    dtype, shape = _header(header)
    return np.frombuffer(content, dtype=dtype, offset=start).reshape(shape)


@functools.cache
def _header(header: str) -> tuple[np.dtype[Any], tuple[int, ...]]:
    import ast

    fields = ast.literal_eval(header)
    if fields["fortran_order"] and len(fields["shape"]) > 1:
        raise ValueError("not in C order")
    return np.dtype(fields["descr"]), fields["shape"]


def _write(directory: Path, parts: Mapping[str, Part]) -> None:
    listed = {}
    for name, part in parts.items():
        file = f"{name}.txt" if isinstance(part, str) else f"{name}.npy"
        path = directory / file
        if isinstance(part, str):
            path.write_bytes(part.encode())
        else:
            np.save(path, np.ascontiguousarray(part), allow_pickle=False)
        _flush(path)
        size = path.stat().st_size
        listed[name] = (file, size, zlib.crc32(path.read_bytes()))
    meta = directory / "meta.json"
    meta.write_text(json.dumps({"parts": listed}), encoding="utf-8")
    _flush(meta)
    _flush(directory)


def _publish(temporary: Path, place: Path) -> None:
    """Rename into place; keep an entry that another process has put there, unless it is damaged."""
    try:
        temporary.rename(place)
    except OSError:
        if not place.exists():
            raise
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError, AttributeError):
            _read(place)
            return
        aside = place.parent / f"{_TEMPORARY}{os.getpid()}-{uuid.uuid4().hex}"
        with contextlib.suppress(FileNotFoundError):
            place.rename(aside)
        with contextlib.suppress(FileExistsError):
            temporary.rename(place)
        shutil.rmtree(aside, ignore_errors=True)
    _flush(place.parent)


def _flush(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _remove_leftovers(directory: Path) -> None:
    """Remove what killed writers left behind."""
    now = time.time()
    for path in directory.glob(f"{_TEMPORARY}*"):
        with contextlib.suppress(OSError):
            if now - path.stat().st_mtime > _LEFTOVER_S:
                shutil.rmtree(path, ignore_errors=True)
