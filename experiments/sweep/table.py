"""What a sweep leaves: a row per unit, and the analysis of its key figures."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from peerwatt.experiments.sweep.analysis import Analysis
from peerwatt.experiments.sweep.store import ANALYSIS, REPLICAS

if TYPE_CHECKING:
    import pyarrow as pa

    from peerwatt.experiments.comparison import Comparison
    from peerwatt.experiments.sweep.plan import Plan
    from peerwatt.experiments.sweep.store import Store

__all__ = ["replica_table", "write_tables"]


def write_tables(comparison: Comparison, plan: Plan, store: Store) -> None:
    """Write `replicas.parquet`, `analysis.json` and `analysis.md`.

    Args:
        comparison: every unit.
        plan: what was run.
        store: where to.

    Raises:
        SimulationError: one cannot be written.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    sink = pa.BufferOutputStream()
    pq.write_table(replica_table(comparison, plan), sink, compression="zstd")
    store.write(REPLICAS, sink.getvalue().to_pybytes())
    analysis = Analysis.of(comparison, plan.experiment.kpis)
    texts = (json.dumps(analysis.as_document(), indent=1) + "\n", analysis.as_markdown())
    for name, text in zip(ANALYSIS, texts, strict=True):
        store.write(name, text)


def replica_table(comparison: Comparison, plan: Plan) -> pa.Table:
    """One row per variant and replica, in the order of the design.

    Columns are `variant`, one per factor by its key path (numbers where all its values are, else labels), `replica`,
    `seed`, `status`, `error`, and the key figures by name; what a unit does not have is null. The replica is the spawn
    key of the seed.

    Args:
        comparison: every unit.
        plan: what was run.
    """
    import pyarrow as pa

    found = {(each.variant, each.replica): each for each in comparison.outcomes}
    units = [
        (number, found[variant.name, replica])
        for number, variant in enumerate(plan.variants)
        for replica in range(comparison.replicas)
    ]
    columns: dict[str, Any] = {"variant": pa.array([each.variant for _, each in units]).dictionary_encode()}
    for key, values in _settings(plan).items():
        column = pa.array([values[number] for number, _ in units])
        columns[key] = column.dictionary_encode() if pa.types.is_string(column.type) else column
    columns["replica"] = pa.array([each.replica for _, each in units], pa.int64())
    columns["seed"] = pa.array([plan.experiment.seed for _ in units], pa.int64())
    columns["status"] = pa.array(["failed" if each.error else "finished" for _, each in units]).dictionary_encode()
    columns["error"] = pa.array([each.error for _, each in units])
    for name in sorted({name for _, each in units for name in each.kpi}):
        values = [each.kpi.get(name) for _, each in units]
        text = any(isinstance(value, str) for value in values)
        known = [None if value is None else (str(value) if text else float(value)) for value in values]
        columns[name] = pa.array(known, pa.string() if text else pa.float64())
    return pa.table(columns)


def _settings(plan: Plan) -> dict[str, list[Any]]:
    """Of each factor, what every variant has."""
    table: dict[str, list[Any]] = {}
    for key in plan.experiment.factors:
        values = [variant.changes[key] for variant in plan.variants]
        numeric = all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)
        table[key] = [float(value) for value in values] if numeric else [labels[key] for labels in plan.labels]
    return table
