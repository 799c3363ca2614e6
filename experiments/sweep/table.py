"""What a sweep leaves: what it was, a row per unit, and the analysis of its key figures."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from peerwatt.experiments.sweep.analysis import Analysis
from peerwatt.experiments.sweep.store import ANALYSIS, EXPERIMENT, REPLICAS

if TYPE_CHECKING:
    import pyarrow as pa

    from peerwatt.experiments.comparison import Comparison, Outcome
    from peerwatt.experiments.sweep.experiment import Experiment
    from peerwatt.experiments.sweep.plan import Plan
    from peerwatt.experiments.sweep.store import Store

__all__ = ["as_parquet", "factor_columns", "replica_table", "write_experiment", "write_tables"]

_ROW_GROUP = 32_768  # rows; what a reader of one variant skips, it skips by row groups


def write_experiment(experiment: Experiment, store: Store) -> None:
    """Write `experiment.json`, from which results are read before all of them are there.

    Args:
        experiment: what is run.
        store: where to.

    Raises:
        SimulationError: it cannot be written.
    """
    store.write(EXPERIMENT, experiment.model_dump_json(indent=1, exclude_defaults=True) + "\n")


def write_tables(comparison: Comparison, plan: Plan, store: Store) -> None:
    """Write `replicas.parquet`, `analysis.json` and `analysis.md`.

    Args:
        comparison: every unit.
        plan: what was run.
        store: where to.

    Raises:
        SimulationError: one cannot be written.
    """
    design = [
        {key: (label, variant.changes[key]) for key, label in labels.items()}
        for variant, labels in zip(plan.variants, plan.labels, strict=True)
    ]
    names = [variant.name for variant in plan.variants]
    table = replica_table(comparison.outcomes, names, factor_columns(design), plan.experiment.seed)
    store.write(REPLICAS, as_parquet(table))
    analysis = Analysis.of(comparison, plan.experiment.kpis)
    texts = (json.dumps(analysis.as_document(), indent=1) + "\n", analysis.as_markdown())
    for name, text in zip(ANALYSIS, texts, strict=True):
        store.write(name, text)


def as_parquet(table: pa.Table) -> bytes:
    """A table as the bytes of a Parquet file."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd", row_group_size=_ROW_GROUP)
    return bytes(sink.getvalue().to_pybytes())


def replica_table(
    outcomes: Sequence[Outcome], names: Sequence[str], factors: Mapping[str, Sequence[Any]], seed: int
) -> pa.Table:
    """One row per unit that is there, by variant in the order of the design and by replica.

    Columns are `variant`, one per factor by its key path, `replica`, `seed`, `status`, `error`, `unsolved` (what has no
    result in how many periods, in words), and the key figures by name; what a unit does not have is null. The replica
    is the spawn key of the seed.

    Args:
        outcomes: the units.
        names: variants in the order of the design.
        factors: of each factor, what every variant has.
        seed: root seed.
    """
    import pyarrow as pa

    place = {name: number for number, name in enumerate(names)}
    units = sorted(outcomes, key=lambda each: (place[each.variant], each.replica))
    at = [place[each.variant] for each in units]
    columns: dict[str, Any] = {"variant": pa.array([each.variant for each in units], pa.string()).dictionary_encode()}
    for key, values in factors.items():
        text = isinstance(values[0], str)
        column = pa.array([values[number] for number in at], pa.string() if text else pa.float64())
        columns[key] = column.dictionary_encode() if text else column
    columns["replica"] = pa.array([each.replica for each in units], pa.int64())
    columns["seed"] = pa.array([seed for _ in units], pa.int64())
    status = ["failed" if each.error else "finished" for each in units]
    columns["status"] = pa.array(status, pa.string()).dictionary_encode()
    columns["error"] = pa.array([each.error for each in units], pa.string())
    columns["unsolved"] = pa.array([each.unsolved for each in units], pa.string()).dictionary_encode()
    for name in sorted({name for each in units for name in each.kpi}):
        values = [each.kpi.get(name) for each in units]
        text = any(isinstance(value, str) for value in values)
        known = [None if value is None else (str(value) if text else float(value)) for value in values]
        columns[name] = pa.array(known, pa.string() if text else pa.float64())
    return pa.table(columns)


def factor_columns(design: Sequence[Mapping[str, tuple[str, Any]]]) -> dict[str, list[Any]]:
    """Of each factor, what every variant has: numbers where all its values are, else labels.

    Args:
        design: of each variant, label and value by factor.
    """
    table: dict[str, list[Any]] = {}
    for key in design[0]:
        values = [point[key][1] for point in design]
        numeric = all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)
        table[key] = [float(value) for value in values] if numeric else [point[key][0] for point in design]
    return table
