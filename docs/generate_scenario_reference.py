"""Writes docs/scenario.md, the reference of the scenario file, from the scenario's own schema.

Run it after a change of a setting: `.venv/bin/python docs/generate_scenario_reference.py`. A test fails while
the file is not what this script writes.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from peerwatt.sim.scenario import Scenario

__all__ = ["TARGET", "reference"]

TARGET = Path(__file__).with_name("scenario.md")

Schema = dict[str, Any]

_INTRODUCTION = """\
<!-- Written by docs/generate_scenario_reference.py from the schema; change the settings, not this file. -->
# The scenario file

A scenario is everything that a run depends on: a YAML file, or a `peerwatt.Scenario` in Python. Every key has a
default, so an empty file is a scenario. What is not listed here is refused, with the nearest known key; all faults
of a file are reported at once, and `peerwatt` then ends with exit status 2.

```yaml
name: my-village
grid:
  case: simbench:1-LV-semiurb4--2-sw
time:
  start: 2016-06-21
  periods: 96
population:
  pv_share: 0.5
  strategies: {truthful: 0.5, zero_intelligence: 0.5}
market:
  mechanism: double_auction
  options: {k: 0.5}
tariff:
  supply_eur_per_mwh: 300
  feed_in_eur_per_mwh: 80
seed: 1
```

- `peerwatt validate FILE` checks a file together with its grid and profiles.
- `peerwatt schema` prints the JSON Schema that these tables are made of, for editors.
- `peerwatt run NAME|FILE --set population.pv_share=0.6` changes one value; `--set` may be repeated. A name with dots
  stands in brackets: `--set "population.peers[LV4.101 Bus 14].pv_mw=0.01"`.
- In Python: `Scenario.load(source, changes)` and `scenario.replace(changes)`, with the same key paths.

Units stand in the names of the keys: MW, MWh, EUR/MWh, pu, percent, seconds. Shares are numbers from 0 to 1. Signs
are explained in [the design](design.md#3-vocabulary-units-and-signs). "none" as a default means that the key has no
value; in YAML that is `null`. `NAME` stands for a name of your own grid. The default of `name` holds in Python; in a
file it is the file's name.
"""

_ACROSS = """\
## What is checked beyond type and range

- `time.period_s` divides the day of 86,400 s.
- `grid.min_vm_pu` is below `grid.max_vm_pu` where both are given.
- `tariff.feed_in_eur_per_mwh` is not above `tariff.supply_eur_per_mwh`.
- `grid.engine`, `market.mechanism` and the names of strategies are registered when the scenario is read.
- `coordination` makes sense: a preset fixes its design elements, a scheme needs an implicit service, capacity an
  explicit one, rounds need a service, a sequence needs a flexibility market; the mechanism is of the preset's kind.
- Somebody can offer flexibility where there is a flexibility market, and peers do not offer it twice.
- The period is long enough for all rounds and cycles.
- `market.options` are options that the mechanism has, with values that it takes.
- `record` names tables that exist.
- When the simulation is made: the grid exists and can be used, the profiles cover the time, and
  `population.peers` names peers that the grid has.
"""

_UNITS = (
    ("_eur_per_mwh", "EUR/MWh"),
    ("_mwh", "MWh"),
    ("_mw", "MW"),
    ("_pu", "pu"),
    ("_percent", "percent"),
    ("_s", "s"),
)

_BOUNDS = (("minimum", "≥"), ("exclusiveMinimum", ">"), ("maximum", "≤"), ("exclusiveMaximum", "<"))


def reference() -> str:
    """The text of docs/scenario.md."""
    schema = Scenario.model_json_schema()
    groups = {key: item for key, item in schema["properties"].items() if "$ref" in item}
    plain = {key: item for key, item in schema["properties"].items() if key not in groups}
    top = {"description": "Keys that belong to no group.", "properties": plain}
    defaults = Scenario().model_dump(mode="json")  # the schema lacks those that are made by a function
    parts = [_INTRODUCTION, _section("Top level", "", top, defaults, schema)]
    for key, item in groups.items():
        parts.append(_section(f"`{key}`", f"{key}.", _resolved(item, schema), defaults[key], schema))
    return "\n".join([*parts, _ACROSS])


def _section(title: str, prefix: str, group: Schema, defaults: dict[str, Any], schema: Schema) -> str:
    rows = [
        row for key, item in group["properties"].items() for row in _rows(prefix + key, item, defaults[key], schema)
    ]
    lines = [
        f"## {title}",
        "",
        group["description"],
        "",
        "| key | type | default | unit | meaning |",
        "|---|---|---|---|---|",
    ]
    return "\n".join([*lines, *rows, ""])


def _rows(path: str, item: Schema, default: Any, schema: Schema) -> Iterator[str]:
    """The row of a key, and below it those of the groups that its values are."""
    cells = (f"`{path}`", _type(item, schema), _default(default), _unit(path), item.get("description", ""))
    yield "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
    groups = [(item.get("additionalProperties"), ".NAME"), (item.get("items"), ".NUMBER")]
    groups += [(option, "") for option in item.get("anyOf", ())]
    for values, place in groups:
        if isinstance(values, dict) and "properties" in (
            below := _resolved(values, schema) if "$ref" in values else {}
        ):
            for key, each in below["properties"].items():
                yield from _rows(f"{path}{place}.{key}", each, each.get("default"), schema)


def _resolved(item: Schema, schema: Schema) -> Schema:
    found: Schema = schema["$defs"][item["$ref"].rpartition("/")[2]]
    return found


def _type(item: Schema, schema: Schema) -> str:
    """What a value may be, in words."""
    if "anyOf" in item:
        return " or ".join(_type(option, schema) for option in item["anyOf"])
    if "$ref" in item:
        below = _resolved(item, schema)
        return _type(below, schema) if "enum" in below else "group"
    if "enum" in item:
        return ", ".join(f"`{value}`" for value in item["enum"])
    kind = item.get("type", "any")
    if kind == "object":
        values = item.get("additionalProperties")
        return f"mapping of names to: {_type(values, schema)}" if isinstance(values, dict) and values else "mapping"
    if kind == "array":
        if "prefixItems" in item:
            return "[" + ", ".join(_type(each, schema) for each in item["prefixItems"]) + "]"
        inner = _type(item["items"], schema)
        return f"list of {inner}" if "`" in inner else f"list of {inner}s"
    word = str({"string": item.get("format", "text"), "null": "none"}.get(kind, kind))
    bounds = [f"{sign} {_number(item[name])}" for name, sign in _BOUNDS if name in item]
    if kind == "string":
        limits = (("minLength", "at least"), ("maxLength", "at most"))
        bounds = [f"{words} {item[name]} characters" for name, words in limits if item.get(name, 1) > 1]
    return ", ".join([word, *bounds])


def _number(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:,g}"


def _default(default: Any) -> str:
    return "none" if default is None else f"`{json.dumps(default, ensure_ascii=False)}`"


def _unit(path: str) -> str:
    return next((unit for ending, unit in _UNITS if path.endswith(ending)), "")


if __name__ == "__main__":
    TARGET.write_text(reference(), encoding="utf-8")
