"""The page itself: what a run was, and its sections."""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from pathlib import Path

from peerwatt.experiments.report.accounts import accounts_section
from peerwatt.experiments.report.document import document, write_document
from peerwatt.experiments.report.grid import grid_section
from peerwatt.experiments.report.limits import limits_section
from peerwatt.experiments.report.market import market_section, trades_section
from peerwatt.experiments.report.markup import Section, escape, note, table
from peerwatt.experiments.report.periods import Periods
from peerwatt.experiments.understood import listings
from peerwatt.experiments.wording import READING, Fact, costs, duration, facts, length, money, state, where_time_went
from peerwatt.sim.results import Results

__all__ = ["write_report"]


def write_report(results: Results, path: Path | None = None) -> Path:
    """Write the report of a run as one HTML file that works without a network.

    Args:
        results: the run's results.
        path: the file to write; by default ``report.html`` in the results directory.

    Returns:
        The file that was written.
    """
    target = results.path / "report.html" if path is None else Path(path)
    periods = Periods.of(results)
    sections = [
        grid_section(results, periods),
        market_section(results, periods),
        trades_section(results, periods),
        accounts_section(results),
        limits_section(results, periods),
        *_inputs(results),
        _origin(results),
    ]
    write_document(target, document(results.manifest.get("name") or "results", _header(results), sections))
    return target


def _header(results: Results) -> str:
    manifest, scenario = results.manifest, results.scenario
    ending = state(manifest)
    description = scenario.get("description")
    tiles = "".join(
        f'<div class="tile{" alarm" if fact.alarm else ""}"><dt>{escape(fact.label)}</dt>'
        f"<dd>{escape(fact.value)}<small>{escape(fact.remark)}</small></dd></div>"
        for fact in _tiles(results)
    )
    about = "".join(f"<span>{escape(text)}</span>" for text in _about(results))
    alarm = f'<p class="alarm">{escape(f"{ending.value}: {ending.remark}")}</p>' if ending.alarm else ""
    warnings = _list(results.warnings, "warnings")
    return (
        f"<h1>{escape(manifest.get('name') or 'results')}</h1>"
        + (f'<p class="lead">{escape(description)}</p>' if description else "")
        + f'<p class="about">{about}</p>{alarm}{warnings}<dl class="tiles">{tiles}</dl>'
    )


def _list(texts: Iterable[str], style: str = "") -> str:
    items = "".join(f"<li>{escape(text)}</li>" for text in texts)
    return f'<ul class="{style}">{items}</ul>' if items else ""


def _about(results: Results) -> list[str]:
    manifest, topology = results.manifest, results.topology
    done = int(manifest["periods_done"])
    start = str(manifest["start"])[:16].replace("T", " ")
    peers = results.arrow("peer", ["agent"]).num_rows if "peer" in results.tables else None
    counts = [(peers, "peers")] + [
        (len(topology.get(group, ())), name)
        for group, name in (("buses", "buses"), ("lines", "lines"), ("trafos", "transformers"))
    ]
    about = [f"{start}, {done:,} periods of {length(float(manifest['period_s']))}"]
    about.append(str(manifest.get("mechanism", "")).replace("_", " "))
    about.append(", ".join(_counted(count, name) for count, name in counts if count is not None))
    about.append(f"seed {manifest.get('seed')}")
    return [text for text in about if text]


def _counted(count: int, plural: str) -> str:
    singular = {"buses": "bus"}.get(plural, plural.removesuffix("s"))
    return f"{count:,} {singular if count == 1 else plural}"


def _tiles(results: Results) -> list[Fact]:
    """The outcome, with what all peers together saved after the market's lines."""
    every = facts(results)
    market = sum(fact.label in ("Traded between peers", "Mean price") for fact in every)
    saved = [
        Fact("Saved by all peers", f"{money(row.saving_eur)} EUR", _versus(row.cost_eur, row.reference_eur))
        for row in costs(results)
        if row.group == "all peers"
    ]
    return [*every[:market], *saved, *every[market:]]


def _versus(cost_eur: float, reference_eur: float) -> str:
    return f"{money(cost_eur)} EUR instead of {money(reference_eur)}"


def _inputs(results: Results) -> list[Section]:
    """What the run understood of its grid and profiles, where it wrote it."""
    if results.inventory is None:
        return []
    tables = (
        f"<div>{table(each.head, each.rows)}{note(escape(each.remark)) if each.remark else ''}</div>"
        for each in listings(results.inventory)
    )
    return [Section("inputs", "What was read", f'<div class="columns">{"".join(tables)}</div>')]


def _origin(results: Results) -> Section:
    """How to get the same again, with what it was made, and where the time went."""
    manifest = results.manifest
    command = f"peerwatt run scenario.yaml --seed {shlex.quote(str(manifest.get('seed')))}"
    parts = [
        "<h3>How to read the figures</h3>" + _list(READING),
        "<h3>Run it again</h3><p>In the results directory:</p>",
        f"<pre><code>{escape(command)}</code></pre>",
        note("The same scenario and seed give the same tables, byte for byte, with the versions below."),
        '<div class="columns">',
    ]
    if spent := where_time_went(manifest):
        total = sum(seconds for _, seconds in spent)
        rows = [[name, duration(s), f"{100.0 * s / total:.0f} %" if total else ""] for name, s in spent]
        head = ["Where the time went", "time", "share"]
        parts.append(f"<div>{table(head, [*rows, ['total', duration(total), '']], last='total')}</div>")
    versions = {"peerwatt": manifest.get("peerwatt", ""), **(manifest.get("versions") or {})}
    parts.append(f"<div>{table(['Made with', 'version'], list(versions.items()))}</div>")
    keys = ("replica", "seed", "scenario_hash", "exit_state", "periods", "periods_done")
    run = [[key.replace("_", " "), manifest[key]] for key in keys if key in manifest]
    parts.append(f"<div>{table(['Run', ''], run)}</div></div>")
    return Section("origin", "Where this comes from", "".join(parts))
