"""Records results: buffers rows as arrays, flushes them to the journal, writes what else a run leaves behind."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from time import monotonic
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

import peerwatt
from peerwatt.errors import Fault, ResultsError, SimulationError, counted
from peerwatt.grid.network import Network
from peerwatt.market.settlement import REASONS
from peerwatt.sim.inventory import Inventory
from peerwatt.sim.journal import FOLDER, Journal, write_atomically, write_parquet
from peerwatt.sim.kpi import COLUMNS, compute_kpis
from peerwatt.sim.period import PeriodResult
from peerwatt.sim.rows import PRODUCT_WORDS, Columns, Rows, Vocabulary
from peerwatt.sim.scenario import Scenario
from peerwatt.sim.tables import STAGES, TABLES

__all__ = ["Recorder", "refuse_used"]

FLUSH_AFTER_S = 1.0
ALWAYS = ("peer", "period")
LIBRARIES = (
    "mesa",
    "simpy",
    "numpy",
    "scipy",
    "power-grid-model",
    "piqp",
    "clarabel",
    "pandapower",
    "pyarrow",
)


class Recorder:
    """Writes one results directory.

    Args:
        directory: where; made if it does not exist.
        scenario: what is run.
        network: the grid.
        vocabulary: names of everyone who can occur in a table.
        replica: number of the replica.
        warnings: what the reader of the results should know of how scenario and grid were understood.

    Raises:
        ResultsError: the directory holds results already, or cannot be written.
    """

    def __init__(
        self,
        directory: Path,
        scenario: Scenario,
        network: Network,
        vocabulary: Vocabulary,
        replica: int = 0,
        warnings: Sequence[Fault] = (),
    ) -> None:
        self.directory = directory
        self._scenario = scenario
        self._replica = replica
        self._warnings = [str(warning) for warning in counted(warnings)]
        self._grid = {"name": network.name, "hash": _hash(network.pandapower_json)}
        rows = Rows(network, vocabulary)
        self._rows = rows.by_table
        self._tables = [name for name in self._rows if name in scenario.record or name in ALWAYS]
        self._buffers: dict[str, list[Columns]] = {name: [] for name in self._tables}
        self._words = {name: pa.array(vocabulary.names) for name in ("sender", "receiver", "seller", "buyer", "agent")}
        self._words |= {
            "payer": self._words["agent"],
            "payee": self._words["agent"],
            "market": self._words["agent"],
        }
        self._words |= {"stage": pa.array(list(STAGES)), "reason": pa.array([str(r) for r in REASONS])}
        self._words |= {
            "product": pa.array(PRODUCT_WORDS),
            **dict.fromkeys(("branch", "worst_branch", "refused_branch"), pa.array(rows.branches)),
        }
        self._arrow: dict[str, pa.Table] = {}
        self._flushed_at = monotonic()
        self._done = 0
        refuse_used(directory)
        try:
            directory.mkdir(parents=True, exist_ok=True)
            self._journal = Journal(directory)
            self.write_manifest("running", "", {}, 0.0)
            write_atomically(directory / "scenario.yaml", scenario.resolved().to_yaml())
            write_atomically(directory / "network.json", network.pandapower_json)
            write_atomically(directory / "topology.json", json.dumps(_topology(network), indent=1))
        except OSError as error:
            raise ResultsError(
                Fault(
                    str(directory),
                    f"cannot be written: {error.strerror or error}",
                    "choose another with --out",
                )
            ) from None

    def write_peers(self, columns: Columns) -> None:
        """Write the table of who takes part."""
        write_parquet(self.directory / "peer.parquet", [self._batch("peer", [columns])], TABLES["peer"])

    def write_inputs(self, inventory: Inventory) -> None:
        """Write what was understood of grid and profiles."""
        write_atomically(self.directory / "inputs.json", json.dumps(inventory.as_dict(), indent=1))

    def add(self, result: PeriodResult) -> None:
        """Record a period; at least once a second what is buffered goes to disk."""
        for name in self._tables:
            self._buffers[name].append(self._rows[name](result))
        self._done += 1
        if monotonic() - self._flushed_at > FLUSH_AFTER_S:
            self._flush()

    def close(self, exit_state: str, reason: str, seconds: dict[str, float], wall_s: float) -> None:
        """Write the final tables, the key figures and the manifest.

        Args:
            exit_state: finished, stopped, interrupted or failed.
            reason: why it ended, if it did not finish.
            seconds: wall time by part of the work.
            wall_s: wall time of the whole run.
        """
        try:
            self._flush()
            self._journal.finish()
            self.write_manifest(exit_state, reason, seconds, wall_s)
            self._journal.remove()
        except OSError as error:
            raise SimulationError(
                f"{self.directory}: cannot write the results: {error.strerror or error}; the tables are kept"
            ) from error
        finally:
            self._journal.release()

    def write_manifest(self, exit_state: str, reason: str, seconds: dict[str, float], wall_s: float) -> None:
        """Write what the run was, and the key figures once it has ended."""
        scenario = self._scenario
        manifest: dict[str, Any] = {
            "peerwatt": peerwatt.__version__,
            "versions": {name: version(name) for name in LIBRARIES},
            "name": scenario.name,
            "mechanism": scenario.mechanism,
            "seed": scenario.seed,
            "replica": self._replica,
            "scenario_hash": scenario.digest(),
            "grid": self._grid,
            "warnings": self._warnings,
            "start": scenario.start.isoformat(),
            "period_s": scenario.time.period_s,
            "periods": scenario.time.periods,
            "periods_done": self._done,
            "stages": list(scenario.stages),
            "feed_in_eur_per_mwh": scenario.tariff.feed_in_eur_per_mwh,
            "exit_state": exit_state,
            "reason": reason,
            "wall_s": round(wall_s, 3),
            "time_s": {label: round(value, 4) for label, value in seconds.items()},
        }
        if exit_state != "running" and self._done:
            kpi = compute_kpis(self._arrow_tables(), manifest)
            write_atomically(self.directory / "kpi.json", json.dumps(kpi, indent=1))
        write_atomically(self.directory / "manifest.json", json.dumps(manifest, indent=1))

    def _arrow_tables(self) -> dict[str, pa.Table]:
        files = {name: self.directory / f"{name}.parquet" for name in COLUMNS}
        return {name: pq.ParquetFile(path).read(COLUMNS[name]) for name, path in files.items() if path.exists()}

    def _flush(self) -> None:
        for name in self._tables:
            parts, self._buffers[name] = self._buffers[name], []
            if parts:
                self._journal.append(name, self._batch(name, parts))
        self._flushed_at = monotonic()

    def _batch(self, table: str, parts: list[Columns]) -> pa.RecordBatch:
        """Buffered columns as one record batch of the table's schema."""
        schema = TABLES[table]
        parts = [part for part in parts if part]
        return pa.record_batch([self._column(field, parts) for field in schema], schema=schema)

    def _column(self, field: pa.Field, parts: list[Columns]) -> pa.Array:
        values = [part[field.name] for part in parts]
        if not values:
            return pa.array([], type=field.type)
        lists = isinstance(values[0], list)
        joined = [item for value in values for item in value] if lists else np.concatenate(values)
        if not pa.types.is_dictionary(field.type):
            return pa.array(joined, type=field.type, from_pandas=not lists)
        words = self._words.get(field.name)
        if words is None or (lists and joined and isinstance(joined[0], str)):
            return pa.array(joined, type=pa.string()).dictionary_encode()
        return pa.DictionaryArray.from_arrays(pa.array(joined, type=pa.int32()), words)


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def refuse_used(directory: Path) -> None:
    """Results are never overwritten.

    Raises:
        ResultsError: the directory holds results already, or is a file.
    """
    if directory.is_file():
        raise ResultsError(Fault(str(directory), "is a file", "name a directory with --out"))
    if (directory / "manifest.json").exists() or (directory / FOLDER).exists():
        raise ResultsError(
            Fault(str(directory), "holds results already", "choose another with --out, or remove it first")
        )


def _topology(network: Network) -> dict[str, Any]:
    """The network without its electrical data, for those who draw it."""
    buses, lines, trafos = network.buses, network.lines, network.trafos
    number = buses.index.tolist()

    def known(value: float) -> float | None:
        return value if np.isfinite(value) else None

    return {
        "buses": [
            {
                "bus": i,
                "name": name,
                "vn_kv": vn,
                "x": known(x),
                "y": known(y),
                "min_vm_pu": low,
                "max_vm_pu": high,
            }
            for i, name, vn, x, y, low, high in zip(
                number,
                buses.name,
                buses.vn_kv.tolist(),
                buses.x.tolist(),
                buses.y.tolist(),
                buses.min_vm_pu.tolist(),
                buses.max_vm_pu.tolist(),
                strict=True,
            )
        ],
        "lines": [
            {
                "line": int(lines.index[i]),
                "name": lines.name[i],
                "from_bus": number[lines.from_bus[i]],
                "to_bus": number[lines.to_bus[i]],
                "max_loading_percent": float(lines.max_loading_percent[i]),
                "in_service": bool(lines.in_service[i]),
            }
            for i in range(len(lines))
        ],
        "trafos": [
            {
                "trafo": int(trafos.index[i]),
                "name": trafos.name[i],
                "hv_bus": number[trafos.hv_bus[i]],
                "lv_bus": number[trafos.lv_bus[i]],
                "sn_mva": float(trafos.sn_mva[i]),
                "max_loading_percent": float(trafos.max_loading_percent[i]),
            }
            for i in range(len(trafos))
        ],
        "slack_buses": [number[bus] for bus in network.slack_bus.tolist()],
    }
