"""Tables of many runs, opened as one and read no further than asked.

    batch = Batch("results/strategies")  # a sweep
    batch["replicas"].frame(["replica", "social_welfare_eur"], [("variant", "==", "mixed | bilateral")])
    batch = Batch(["results/monday", "results/tuesday"])  # runs
    batch["period"].frame(["run", "period", "losses_mw"], [("stage", "==", "delivery")])

Opening reads names only. Columns and filters are handed to `pyarrow.dataset`: other columns, and parts of files in
which no row can meet the filters, are not read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from peerwatt.errors import Fault, ResultsError
from peerwatt.registry import nearest
from peerwatt.sim.tables import TABLES

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa
    import pyarrow.dataset as pads

__all__ = ["RUN", "Batch", "Filters", "LazyTable"]

Filters = Sequence[tuple[str, str, Any]]

REPLICAS = "replicas"
"""Name of the table of a sweep, which has a row per run."""
RUN = "run"
"""Name of the column that tells runs from each other: the directory's name."""


class LazyTable:
    """A table in files, or in memory, that is read in parts.

    Args:
        where: what it is called in messages.
        opened: opens the rows; called when a part of them is asked for, as it imports pandas.
        files: Parquet files that hold the rows; none where they are in memory.
    """

    def __init__(self, where: str, opened: Callable[[], pads.Dataset], files: Sequence[Path] = ()) -> None:
        self._where, self._opened, self._files = where, opened, files

    @property
    def schema(self) -> pa.Schema:
        """Columns and their types."""
        return self._dataset.schema

    @property
    def n_rows(self) -> int:
        """Number of rows, of files from their metadata."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            counts = [pq.read_metadata(file).num_rows for file in self._files]
        except (pa.ArrowException, OSError) as error:
            raise _damaged(self._where, error) from error
        return sum(counts) if self._files else int(self._dataset.count_rows())

    def arrow(self, columns: Sequence[str] | None = None, filters: Filters | None = None) -> pa.Table:
        """Read as an Arrow table; arguments as for `frame`."""
        table = self._read("to_table", columns, filters)
        return table.unify_dictionaries()

    def frame(self, columns: Sequence[str] | None = None, filters: Filters | None = None) -> pd.DataFrame:
        """Read as a frame.

        Args:
            columns: which; all without it.
            filters: conditions that rows must meet, all of them, e.g. ``[("replica", "<", 10)]``.

        Raises:
            ResultsError: there is no such column, a filter does not fit its column, or a file is damaged.
        """
        frame: pd.DataFrame = self.arrow(columns, filters).to_pandas()
        return frame

    def batches(self, columns: Sequence[str] | None = None, filters: Filters | None = None) -> Iterator[pa.RecordBatch]:
        """Read in pieces, for a table that does not fit into memory; arguments as for `frame`."""
        return iter(self._read("to_batches", columns, filters))

    @cached_property
    def _dataset(self) -> pads.Dataset:
        import pyarrow as pa

        try:
            return self._opened()
        except (pa.ArrowException, OSError) as error:
            raise _damaged(self._where, error) from error

    def _read(self, how: str, columns: Sequence[str] | None, filters: Filters | None) -> Any:
        import pyarrow as pa
        import pyarrow.parquet as pq

        names = self.schema.names
        asked = [*(columns or ()), *(column for column, _, _ in filters or ())]
        if unknown := [name for name in dict.fromkeys(asked) if name not in names]:
            raise ResultsError(
                Fault(self._where, f"there is no column '{each}'", nearest(each, names)) for each in unknown
            )
        try:
            condition = pq.filters_to_expression(list(filters)) if filters else None
            return getattr(self._dataset, how)(columns=None if columns is None else list(columns), filter=condition)
        except (pa.ArrowException, OSError, ValueError) as error:
            raise ResultsError(
                Fault(self._where, f"cannot be read: {error}", "see columns, filters and files")
            ) from error


class Batch:
    """Tables of many runs.

    Args:
        paths: directory of a sweep, directory whose directories are runs, or the directories of runs.

    Raises:
        ResultsError: there are no tables, or two runs have the same name.
    """

    def __init__(self, paths: str | Path | Sequence[str | Path]) -> None:
        self._files: dict[str, dict[str, Path]] = {}
        if isinstance(paths, str | Path):
            one = Path(paths)
            if (file := one / f"{REPLICAS}.parquet").is_file():
                self._files[REPLICAS] = {"": file}
            folders = sorted(each.parent for each in one.glob("*/topology.json"))
        else:
            folders = [Path(each) for each in paths]
        self.runs = tuple(folder.name for folder in folders)
        """Names of the runs, in the order of their rows."""
        if len(set(self.runs)) < len(self.runs):
            raise ResultsError(Fault(str(paths), "two runs have the same name", "rename a directory"))
        for name in TABLES:
            found = {folder.name: file for folder in folders if (file := folder / f"{name}.parquet").is_file()}
            if found:
                self._files[name] = found
        if not self._files:
            problem = "holds no tables" if folders or Path(str(paths)).exists() else "there is no such directory"
            raise ResultsError(Fault(str(paths), problem, "give a sweep that has ended, or directories of runs"))

    @property
    def tables(self) -> tuple[str, ...]:
        """Names of the tables."""
        return tuple(self._files)

    def __getitem__(self, name: str) -> LazyTable:
        """Open a table; of runs it has the column `run` in front.

        Args:
            name: the table's name, e.g. ``replicas`` of a sweep or ``period`` of runs.

        Raises:
            ResultsError: there is no such table.
        """
        if name not in self._files:
            raise ResultsError(Fault("results", f"there is no table '{name}'", nearest(name, list(self.tables))))
        files = self._files[name]
        where = str(files[""]) if name == REPLICAS else f"table '{name}'"
        return LazyTable(
            where, lambda: _one(files) if name == REPLICAS else _side_by_side(files), tuple(files.values())
        )


def _one(files: dict[str, Path]) -> pads.Dataset:
    import pyarrow.dataset as pads

    return pads.dataset(files[""])


def _side_by_side(files: dict[str, Path]) -> pads.Dataset:
    """Files of the same table as one, each with the name of its run in every row."""
    import pyarrow as pa
    import pyarrow.dataset as pads
    from pyarrow.fs import LocalFileSystem

    form, local = pads.ParquetFileFormat(), LocalFileSystem()
    fragments = [
        form.make_fragment(str(path), filesystem=local, partition_expression=pads.field(RUN) == run)
        for run, path in files.items()
    ]
    schema = pa.schema([pa.field(RUN, pa.string()), *fragments[0].physical_schema])
    return pads.FileSystemDataset(fragments, schema, form, local)


def _damaged(where: str, error: Exception) -> ResultsError:
    return ResultsError(Fault(where, f"cannot be read: {error}", "a file is damaged; run it again"))
