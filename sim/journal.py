"""Tables that survive the end of their process.

While a run goes on, each table grows as an Arrow stream in `journal/`: what has been flushed is readable whatever
happens to the process. At the end the streams become one Parquet file each, written beside and renamed, so that
a file under its final name is always whole. `recover` does the same for a run that was killed; a lock, which
the operating system takes back from a dead process, tells it from one that is still going on.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from filelock import FileLock, Timeout

from peerwatt.errors import Fault, ResultsError, SimulationError
from peerwatt.sim.tables import TABLES

__all__ = ["Journal", "recover", "write_atomically", "write_parquet"]

FOLDER = "journal"
LOCK = "lock"
ROW_GROUP = 131_072


def write_atomically(path: Path, content: str | bytes) -> None:
    """Write a file under a temporary name and rename it.

    Args:
        path: final name.
        content: text or bytes.
    """
    temporary = path.with_name(f".{path.name}.tmp")
    data = content.encode() if isinstance(content, str) else content
    with temporary.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def write_parquet(path: Path, batches: Iterable[pa.RecordBatch], schema: pa.Schema) -> None:
    """Write a table in row groups of one size, so that equal rows give equal bytes whatever batches they came in.

    Args:
        path: final name; the file is written beside it and renamed.
        batches: the rows; only one row group is in memory at a time.
        schema: their schema.
    """
    temporary = path.with_name(f".{path.name}.tmp")
    with pq.ParquetWriter(temporary, schema, compression="zstd") as writer:
        waiting: list[pa.RecordBatch] = []
        for batch in batches:
            waiting.append(batch)
            if sum(map(len, waiting)) >= ROW_GROUP:
                rows = pa.Table.from_batches(waiting, schema)
                whole = len(rows) - len(rows) % ROW_GROUP
                for start in range(0, whole, ROW_GROUP):
                    writer.write_table(_compact(rows.slice(start, ROW_GROUP)), row_group_size=ROW_GROUP)
                waiting = rows.slice(whole).to_batches()
        rest = pa.Table.from_batches(waiting, schema)
        if len(rest):
            writer.write_table(_compact(rest), row_group_size=ROW_GROUP)
    temporary.replace(path)


def _compact(table: pa.Table) -> pa.Table:
    """One chunk per column; of names those that occur, in the order in which they do."""
    for i, field in enumerate(table.schema):
        if pa.types.is_dictionary(field.type):
            names = table.column(i).cast(field.type.value_type).combine_chunks()
            table = table.set_column(i, field, pc.dictionary_encode(names))
    return table.combine_chunks()


class Journal:
    """The growing tables of one run.

    Args:
        directory: results directory.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._folder = directory / FOLDER
        self._folder.mkdir(parents=True, exist_ok=True)
        self._lock = FileLock(self._folder / LOCK)
        self._lock.acquire(timeout=0)
        self._streams: dict[str, tuple[pa.OSFile, pa.ipc.RecordBatchStreamWriter]] = {}

    def append(self, table: str, batch: pa.RecordBatch) -> None:
        """Add rows to a table.

        Raises:
            SimulationError: they cannot be written, as on a full disk.
        """
        try:
            if table not in self._streams:
                file = (self._folder / f"{table}.arrows").open("wb")
                self._streams[table] = (file, pa.ipc.new_stream(file, batch.schema))
            file, stream = self._streams[table]
            stream.write_batch(batch)
            file.flush()
        except OSError as error:
            raise SimulationError(
                f"{self._folder}: cannot write table '{table}': {error.strerror or error}; what was written before is "
                "kept, and opening the results recovers it"
            ) from error

    def finish(self) -> None:
        """End the streams and make Parquet files of them; the streams stay until `remove`.

        Raises:
            SimulationError: they cannot be written; the streams stay.
        """
        try:
            for file, stream in self._streams.values():
                stream.close()
                file.close()
            _finish(self._directory)
        except OSError as error:
            raise SimulationError(
                f"{self._directory}: cannot write the tables: {error.strerror or error}; make room, then open the "
                "results again: nothing is lost"
            ) from error

    def release(self) -> None:
        """Let others open what was written."""
        self._lock.release()

    def remove(self) -> None:
        """Remove the streams: from here on the results are complete."""
        shutil.rmtree(self._folder)


def recover(directory: Path) -> None:
    """Make Parquet files of the streams of a run that was killed.

    Rows of periods that are not complete in every table are left out, as is a last batch that was cut off.

    Args:
        directory: results directory; nothing happens where there is no journal.

    Raises:
        ResultsError: the run is still going on, or the files cannot be written.
    """
    if not (directory / FOLDER).is_dir():
        return
    try:
        with FileLock(directory / FOLDER / LOCK, timeout=0):
            _complete(directory)
    except Timeout:
        raise ResultsError(
            Fault(str(directory), "a run is still writing it", "open it when the run has ended")
        ) from None
    except OSError as error:
        raise ResultsError(
            Fault(str(directory), f"a killed run cannot be recovered: {error.strerror or error}", "make room")
        ) from error


def _complete(directory: Path) -> None:
    """Do what the run could not: the tables, then the manifest; only then is the journal of no more use."""
    path = directory / "manifest.json"
    manifest = json.loads(path.read_text(encoding="utf-8"))
    if manifest["exit_state"] == "running":
        manifest |= {"exit_state": "killed", "reason": "its process ended before the run did"}
        manifest["periods_done"] = _finish(directory)
        write_atomically(path, json.dumps(manifest, indent=1))
    shutil.rmtree(directory / FOLDER)


def _finish(directory: Path) -> int:
    """Turn the streams into Parquet files; return the number of periods that are complete."""
    streams = {path.stem: path for path in sorted((directory / FOLDER).glob("*.arrows")) if path.stem in TABLES}
    # Tables are flushed together and `period` last: what it has, all have.
    periods = (pc.max(batch["period"]).as_py() for batch in _batches(streams["period"])) if "period" in streams else ()
    last = max(periods, default=-1)
    for name, path in streams.items():
        complete = (batch.filter(pc.less_equal(batch["period"], last)) for batch in _batches(path))
        write_parquet(directory / f"{name}.parquet", complete, TABLES[name])
    return last + 1


def _batches(path: Path) -> Iterator[pa.RecordBatch]:
    """All whole batches of a stream."""
    with suppress(pa.ArrowInvalid, OSError), pa.OSFile(str(path)) as source:
        yield from pa.ipc.open_stream(source)
