from __future__ import annotations

import logging
import os
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from peerwatt.grid.cache import cache_dir, fetch, store

KEY = {"what": "test"}
PARTS = {
    "small": np.arange(6.0).reshape(2, 3),
    "flags": np.array([True, False]),
    "none": np.empty((0, 4)),
    "big": np.arange(400_000.0).reshape(-1, 4),
    "text": "grüße\n",
}


def assert_found():
    parts = fetch(KEY, dict)
    assert parts is not None
    assert list(parts) == list(PARTS)
    for name, part in PARTS.items():
        if isinstance(part, str):
            assert parts[name] == part
        else:
            assert parts[name].dtype == part.dtype
            np.testing.assert_array_equal(parts[name], part)
            assert not parts[name].flags.writeable


def entries():
    return [path for path in cache_dir().iterdir() if not path.name.startswith(".")]


def test_what_was_stored_is_found():
    assert fetch(KEY, dict) is None
    store(KEY, PARTS)
    assert_found()
    assert fetch({"what": "else"}, dict) is None


def test_large_arrays_are_mapped_and_small_ones_are_not():
    store(KEY, PARTS)
    parts = fetch(KEY, dict)
    assert isinstance(parts["big"].base, np.memmap)
    assert not isinstance(parts["small"].base, np.memmap)


def test_an_entry_may_be_deleted_while_it_is_used():
    store(KEY, PARTS)
    parts = fetch(KEY, dict)
    shutil.rmtree(cache_dir())
    np.testing.assert_array_equal(parts["big"], PARTS["big"])
    assert fetch(KEY, dict) is None
    store(KEY, PARTS)
    assert_found()


@pytest.mark.parametrize("file", ["small.npy", "big.npy", "text.txt", "meta.json"])
@pytest.mark.parametrize("damage", ["truncate", "empty", "remove", "flip"])
def test_a_damaged_entry_is_rebuilt(file, damage):
    store(KEY, PARTS)
    path = entries()[0] / file
    content = path.read_bytes()
    if damage == "remove":
        path.unlink()
    elif damage == "flip":
        position = 0 if file in ("big.npy", "meta.json") else len(content) // 2
        path.write_bytes(content[:position] + bytes([content[position] ^ 255]) + content[position + 1 :])
    else:
        path.write_bytes(content[: len(content) // 2 if damage == "truncate" else 0])
    assert fetch(KEY, dict) is None
    store(KEY, PARTS)
    assert_found()
    assert len(list(cache_dir().iterdir())) == 1


def test_an_entry_of_another_shape_is_a_miss():
    store(KEY, PARTS)

    def restore(parts):
        return parts["missing"]

    assert fetch(KEY, restore) is None


def test_the_second_writer_keeps_the_first_ones_entry():
    store(KEY, PARTS)
    inode = (entries()[0] / "big.npy").stat().st_ino
    store(KEY, PARTS)
    assert (entries()[0] / "big.npy").stat().st_ino == inode
    assert len(list(cache_dir().iterdir())) == 1


WRITER = """
import numpy as np, sys
from peerwatt.grid.cache import store
parts = {f"part{k}": np.full((2000, 40), float(k)) for k in range(int(sys.argv[1]))}
print("ready", flush=True)
store({"what": "race"}, parts)
"""


def test_a_killed_writer_leaves_nothing_that_is_read():
    for _ in range(4):
        process = subprocess.Popen([sys.executable, "-c", WRITER, "400"], stdout=subprocess.PIPE)
        assert process.stdout.readline() == b"ready\n"
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline and not (cache_dir().exists() and any(cache_dir().glob(".writing-*/*"))):
            time.sleep(0.001)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        found = fetch({"what": "race"}, dict)
        assert found is None or len(found) == 400
        if found is None:
            break
    leftovers = list(cache_dir().glob(".writing-*"))
    assert leftovers
    store(KEY, PARTS)
    assert leftovers[0].exists()  # it may still be in use
    hours_ago = time.time() - 2 * 3600
    for leftover in leftovers:
        os.utime(leftover, (hours_ago, hours_ago))
    store({"what": "other"}, PARTS)
    assert not any(leftover.exists() for leftover in leftovers)
    assert_found()


def test_processes_that_write_at_once_leave_one_whole_entry():
    processes = [subprocess.Popen([sys.executable, "-W", "error", "-c", WRITER, "60"]) for _ in range(4)]
    assert [process.wait(60) for process in processes] == [0] * 4
    found = fetch({"what": "race"}, dict)
    assert len(found) == 60
    assert all((part == float(k)).all() for k, part in enumerate(found.values()))
    assert len(list(cache_dir().iterdir())) == 1


def test_without_a_directory_to_write_to_there_is_one_warning(cache, caplog):
    cache.parent.mkdir(exist_ok=True)
    cache.write_text("a file where the directory should be")
    with caplog.at_level(logging.WARNING, "peerwatt"):
        store(KEY, PARTS)
        store({"what": "else"}, PARTS)
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert str(cache) in caplog.text
    assert fetch(KEY, dict) is None


def test_a_full_disk_leaves_no_half_entry(cache, caplog, monkeypatch):
    real = np.save

    def full(path, *args, **options):
        if "big" in str(path):
            raise OSError(28, "No space left on device")
        real(path, *args, **options)

    monkeypatch.setattr(np, "save", full)
    store(KEY, PARTS)
    assert "No space left on device" in caplog.text
    assert list(cache.iterdir()) == []


def test_a_read_only_directory_is_read(cache, monkeypatch, caplog):
    store(KEY, PARTS)
    real = os.mkdir

    def refuse(path, *args, **options):
        if str(path).startswith(str(cache)):
            raise PermissionError(13, "Permission denied", str(path))
        return real(path, *args, **options)

    monkeypatch.setattr(os, "mkdir", refuse)
    assert_found()
    store({"what": "else"}, PARTS)
    assert "Permission denied" in caplog.text
    assert_found()


def test_the_directory_comes_from_the_environment_or_the_users_cache(monkeypatch, tmp_path):
    assert cache_dir() == tmp_path / "cache"
    monkeypatch.delenv("PEERWATT_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_dir() == tmp_path / "peerwatt"
