"""The one table of the study, a row per seed, level and scenario, and the report's Table 8."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa

from peerwatt.experiments.studies.d53.model import Scenario
from peerwatt.experiments.studies.d53.scenarios import Outcome

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["KPIS", "SCHEMA", "at_level", "published", "read", "rows", "write"]

_NAME = pa.dictionary(pa.int32(), pa.string())


def _field(name: str, kind: pa.DataType, unit: str, meaning: str) -> pa.Field:
    return pa.field(name, kind, metadata={"unit": unit, "meaning": meaning})


SCHEMA = pa.schema(
    [
        _field("seed", pa.int32(), "", "seed of the draws"),
        _field("pair_bound", _NAME, "", "factor: bound on the volume of each pair"),
        _field("reading", _NAME, "", "factor: what the factor W of the incentives means"),
        _field("scenario", _NAME, "", "scenario of the report"),
        _field("n_congested", pa.int32(), "", "congested lines before the flexibility market"),
        _field("n_original", pa.int32(), "", "of them, those congested in scenario 0"),
        _field("overflow_sum_mw", pa.float64(), "MW", "flow above the limits, over congested lines"),
        _field("overflow_weighted_mw", pa.float64(), "MW", "mean of these overflows, weighted by the limits"),
        _field("p2p_volume_mw", pa.float64(), "MW", "traded between peers; nan without a P2P market"),
        _field("incentive_eur", pa.float64(), "EUR", "what the DSO pays for incentives less what it collects"),
        _field("blocked_share", pa.float64(), "", "share of the pairs of peers that are blocked"),
        _field("lfm_status", _NAME, "", "how the flexibility market ended"),
        _field("lfm_cost_eur", pa.float64(), "EUR", "cost of the flexibility market; nan if infeasible"),
        _field("lfm_missing_mw", pa.float64(), "MW", "overflow that the flexibility market cannot relieve"),
        _field("loading", pa.list_(pa.float32()), "", "flow as a share of the limit, of every line"),
    ]
)

KPIS = {
    "n_congested": "congested lines",
    "overflow_sum_mw": "overflow sum, MW",
    "overflow_weighted_mw": "overflow weighted, MW",
    "lfm_cost_eur": "LFM cost, EUR",
    "p2p_volume_mw": "P2P volume, MW",
}
"""Key figures of Table 7 and their headings."""


def rows(outcomes: Sequence[Outcome]) -> pa.Table:
    """The outcomes as rows."""
    columns = {}
    for field in SCHEMA:
        owner = "level" if field.name in ("pair_bound", "reading") else ""
        values = [getattr(getattr(each, owner) if owner else each, field.name) for each in outcomes]
        if field.type == _NAME:
            columns[field.name] = pa.array([str(value) for value in values]).dictionary_encode()
        else:
            columns[field.name] = pa.array(values, type=field.type)
    return pa.table(columns).cast(SCHEMA)


def write(table: pa.Table, path: Path) -> None:
    """Write rows under another name and rename, so that no half file is left."""
    import pyarrow.parquet as pq

    part = path.with_name(f"{path.name}.part")
    pq.write_table(table, part)
    part.replace(path)


def read(path: Path) -> pd.DataFrame:
    """The rows as a data frame; scenarios in the order of Table 8."""
    import pandas as pd

    frame = pd.read_parquet(path)
    frame["scenario"] = pd.Categorical(frame["scenario"].astype(str), [str(each) for each in Scenario])
    return frame


def at_level(frame: pd.DataFrame, pair_bound: str, reading: str) -> pd.DataFrame:
    """Rows of one level of the factors."""
    return frame[(frame["pair_bound"] == pair_bound) & (frame["reading"] == reading)]


def published() -> dict[str, dict[str, str]]:
    """Table 8 of the report as it is printed: key figures by scenario, "" where it has none."""
    text = files("peerwatt.experiments.studies.d53").joinpath("table8.csv").read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    return {row.pop("scenario"): row for row in csv.DictReader(lines)}
