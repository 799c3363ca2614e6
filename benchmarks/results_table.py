"""Time and memory of a table of a million runs: to open it, to read one key figure of one variant, to read it whole."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from rich.console import Console
from rich.table import Table

N_VARIANTS, N_REPLICAS, N_FIGURES = 1_000, 1_000, 60
ROW_GROUP = 32_768
ROUNDS = 3

_BEGIN = """
import sys, time
def peak():  # of this process since its start, MB; getrusage would begin with that of its parent
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM")) / 1e3
path = sys.argv[1]
"""
_END = """
print(time.perf_counter() - begin, peak() - before, n)
"""
STEPS = {
    "open it, count rows": """
begin, before = time.perf_counter(), peak()
from peerwatt.sim.batch import Batch
n = Batch(path)["replicas"].n_rows
""",
    "open it, libraries imported": """
import pandas, pyarrow.dataset, pyarrow.parquet
from peerwatt.sim.batch import Batch
begin, before = time.perf_counter(), peak()
n = Batch(path)["replicas"].n_rows
""",
    "one figure of one variant": """
import pandas, pyarrow.dataset, pyarrow.parquet
from peerwatt.sim.batch import Batch
begin, before = time.perf_counter(), peak()
n = len(Batch(path)["replicas"].frame(["figure_07"], [("variant", "==", "point 0500")]))
""",
    "one figure of all variants": """
import pandas, pyarrow.dataset, pyarrow.parquet
from peerwatt.sim.batch import Batch
begin, before = time.perf_counter(), peak()
n = len(Batch(path)["replicas"].frame(["variant", "figure_07"]))
""",
    "pandas.read_parquet, whole": """
import pandas, pyarrow.dataset, pyarrow.parquet
begin, before = time.perf_counter(), peak()
n = len(pandas.read_parquet(path + "/replicas.parquet"))
""",
}


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "replicas.parquet"
        _write(file)
        size = f"{N_VARIANTS * N_REPLICAS:,} rows, {N_FIGURES} key figures, {file.stat().st_size / 1e6:.0f} MB"
        table = Table(title=f"{size}; best of {ROUNDS} processes each", title_justify="left")
        for name in ("what", "s", "MB more", "rows"):
            table.add_column(name, justify="left" if name == "what" else "right")
        for name, step in STEPS.items():
            command = [sys.executable, "-c", _BEGIN + step + _END, folder]
            rounds = [subprocess.run(command, check=True, capture_output=True, text=True).stdout for _ in range(ROUNDS)]
            said = min((each.split() for each in rounds), key=lambda each: float(each[0]))
            table.add_row(name, f"{float(said[0]):.3f}", f"{float(said[1]):.0f}", f"{int(said[2]):,}")
    Console().print(table)


def _write(file: Path) -> None:
    """Rows by variant, as a sweep leaves them."""
    rng = np.random.default_rng(1)
    n = N_VARIANTS * N_REPLICAS
    variant = pa.DictionaryArray.from_arrays(
        np.repeat(np.arange(N_VARIANTS, dtype=np.int32), N_REPLICAS), [f"point {k:04d}" for k in range(N_VARIANTS)]
    )
    status = pa.DictionaryArray.from_arrays(np.zeros(n, dtype=np.int32), ["finished"])
    columns = {"variant": variant, "replica": np.tile(np.arange(N_REPLICAS), N_VARIANTS), "status": status}
    columns |= {f"figure_{k:02d}": rng.normal(size=n) for k in range(N_FIGURES)}
    pq.write_table(pa.table(columns), file, compression="zstd", row_group_size=ROW_GROUP)


if __name__ == "__main__":
    main()
