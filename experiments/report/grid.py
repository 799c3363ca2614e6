"""The grid over time: what the page's script needs to draw any period and stage."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from peerwatt.experiments.report.layout import Placement, place
from peerwatt.experiments.report.markup import Section, Spec, escape, note, packed
from peerwatt.experiments.report.periods import Periods
from peerwatt.sim.columns import at_stage, codes, numbers, strings
from peerwatt.sim.results import Results
from peerwatt.sim.tables import Stage

__all__ = ["MAX_FRAMES", "grid_section"]

MAX_FRAMES = 200
"""How many positions the period slider has at most."""

PEERS_PER_BUS = 8
"""How many peers are listed when the pointer is on a bus."""

POWER = {Stage.FORECAST: "p_forecast_mw", Stage.P2P: "p_p2p_mw", Stage.DELIVERY: "p_mw"}
"""Column of table ``agent`` that holds a stage's net power."""

Index = NDArray[np.intp]
Floats = NDArray[np.float64]


def grid_section(results: Results, periods: Periods) -> Section:
    """The grid, lines by loading and buses by voltage, with a slider over the periods."""
    title = "The grid over the day" if periods.done * periods.period_s <= 86400 else "The grid over time"
    states: list[str] = [name for name in ("bus", "line", "trafo") if name in results.tables]
    if not states or not results.topology.get("buses"):
        return Section("grid", title, note("No grid state was recorded (tables bus, line, trafo)."))
    if not periods.done:
        return Section("grid", title, note("No period was finished, so there is no grid state to draw."))
    frames = chosen_frames(results, periods)
    stages = _stages(results, states[0])
    where = place(results.topology)
    data: Spec = {
        "frames": periods.labels(frames),
        "stages": stages,
        "first": _first_frame(results, frames),
        "extremes": _extremes(results, frames),
        "ratio": where.ratio,
        "failed": _failures(results, frames, stages),
        "vm": _states(results, "bus", "vm_pu", _indices(results, "buses", "bus"), frames, stages),
        "loading": _loading(results, frames, stages),
        "buses": _buses(results, where),
        "branches": _branches(results, where),
    }
    data |= _peers(results, frames, stages)
    return Section("grid", title, _body(data, periods, where, states), data={"grid": data})


def chosen_frames(results: Results, periods: Periods) -> Index:
    """Periods that the slider visits: all, or an even choice that keeps the extreme ones."""
    if periods.done <= MAX_FRAMES:
        return np.arange(periods.done)
    even = np.linspace(0, periods.done - 1, MAX_FRAMES - 3).round().astype(np.intp)
    names = ("min_vm_period", "max_vm_period", "max_loading_period")
    extremes = [int(results.kpi[name]) for name in names if name in results.kpi]
    return np.unique(np.concatenate([even, np.array(extremes, dtype=np.intp)]))


def _stages(results: Results, table: str) -> list[str]:
    """Stages in the order of the period; the last is what was delivered."""
    planned = [str(stage) for stage in results.manifest.get("stages", ())]
    return planned or sorted(codes(results.arrow(table, ["stage"]), "stage")[1])


def _first_frame(results: Results, frames: Index) -> int:
    worst = results.kpi.get("max_loading_period")
    found = np.flatnonzero(frames == worst) if worst is not None else np.empty(0, dtype=np.intp)
    return int(found[0]) if found.size else 0


def _extremes(results: Results, frames: Index) -> list[Spec]:
    jumps = []
    for key, label in (
        ("max_loading_period", "highest loading"),
        ("min_vm_period", "lowest voltage"),
        ("max_vm_period", "highest voltage"),
    ):
        found = np.flatnonzero(frames == results.kpi.get(key, -1))
        if len(found):
            jumps.append({"label": label, "frame": int(found[0])})
    return jumps


def _indices(results: Results, group: str, key: str) -> list[int]:
    return [int(element[key]) for element in results.topology.get(group, ())]


def _lookup(labels: Index | list[int]) -> Index:
    """Position of every label, by label; -1 elsewhere."""
    known = np.asarray(labels, dtype=np.intp)
    place_of = np.full(int(known.max(initial=0)) + 2, -1, dtype=np.intp)
    place_of[known] = np.arange(known.size)
    return place_of


def _rows(results: Results, table: str, columns: list[str], frames: Index) -> pa.Table:
    """The rows of the chosen periods; reads all periods where the choice is all of them."""
    whole = len(frames) == int(results.manifest["periods_done"])
    return results.arrow(table, columns, None if whole else [("period", "in", frames.tolist())])


def _cube(rows: pa.Table, key: str, value: str, labels: list[int], frames: Index, stages: list[str]) -> Floats:
    """A column as an array of shape (n_stages, n_frames, n_elements); NaN where there is no row."""
    cube = np.full((len(stages), len(frames), len(labels)), np.nan)
    if not rows.num_rows or not labels:
        return cube
    stage, names = codes(rows, "stage")
    s = np.array([stages.index(name) if name in stages else -1 for name in names], dtype=np.intp)[stage]
    frame_of, element_of = _lookup(frames), _lookup(labels)
    f = frame_of[np.minimum(numbers(rows, "period").astype(np.intp), frame_of.size - 1)]
    e = element_of[np.minimum(numbers(rows, key).astype(np.intp), element_of.size - 1)]
    known = (s >= 0) & (f >= 0) & (e >= 0)
    cube[s[known], f[known], e[known]] = numbers(rows, value)[known]
    return cube


def _states(results: Results, table: str, value: str, labels: list[int], frames: Index, stages: list[str]) -> list[str]:
    if table not in results.tables:
        return []
    rows = _rows(results, table, ["period", "stage", table, value], frames)
    return [packed(stage) for stage in _cube(rows, table, value, labels, frames, stages)]


def _loading(results: Results, frames: Index, stages: list[str]) -> list[str]:
    """Loading of lines, then transformers, in the order of ``_branches``."""
    parts = []
    for table, group in (("line", "lines"), ("trafo", "trafos")):
        labels = _indices(results, group, table)
        if table in results.tables:
            rows = _rows(results, table, ["period", "stage", table, "loading_percent"], frames)
            parts.append(_cube(rows, table, "loading_percent", labels, frames, stages))
        else:
            parts.append(np.full((len(stages), len(frames), len(labels)), np.nan))
    return [packed(stage) for stage in np.concatenate(parts, axis=2)]


def _failures(results: Results, frames: Index, stages: list[str]) -> list[dict[int, str]]:
    """Reason of every failed power flow, by stage and frame."""
    failed: list[dict[int, str]] = [{} for _ in stages]
    if "period" not in results.tables:
        return failed
    rows = results.arrow("period", ["period", "stage", "converged", "reason"])
    frame_of = {int(period): frame for frame, period in enumerate(frames)}
    for place_of, stage in enumerate(stages):
        part = at_stage(rows, stage)
        bad = part.filter(pa.array(numbers(part, "converged") == 0.0))
        for period, reason in zip(bad.column("period").to_pylist(), strings(bad, "reason"), strict=True):
            if period in frame_of:
                failed[place_of][frame_of[period]] = escape(reason or "no reason recorded")
    return failed


def _buses(results: Results, where: Placement) -> Spec:
    buses = results.topology["buses"]
    slack = set(results.topology.get("slack_buses", ()))
    return {
        "x": where.xy[:, 0].tolist(),
        "y": where.xy[:, 1].tolist(),
        "name": [escape(bus.get("name") or f"bus {bus['bus']}") for bus in buses],
        "low": [_float(bus.get("min_vm_pu")) for bus in buses],
        "high": [_float(bus.get("max_vm_pu")) for bus in buses],
        "vn_kv": [_float(bus.get("vn_kv")) for bus in buses],
        "slack": [bus["bus"] in slack for bus in buses],
    }


def _float(value: Any) -> float | None:
    return None if value is None or not np.isfinite(value) else float(value)


def _branches(results: Results, where: Placement) -> Spec:
    row_of = {int(bus["bus"]): row for row, bus in enumerate(results.topology["buses"])}
    lines = [(line, "from_bus", "to_bus", "line") for line in results.topology.get("lines", ())]
    trafos = [(trafo, "hv_bus", "lv_bus", "trafo") for trafo in results.topology.get("trafos", ())]
    every = lines + trafos
    ends = np.array([[row_of.get(e[a], -1), row_of.get(e[b], -1)] for e, a, b, _ in every], dtype=np.intp)
    padded = np.vstack([where.xy, [[np.nan, np.nan]]])  # row -1: a bus that is not there
    xy = padded[ends.reshape(-1, 2)]
    return {
        "x0": _points(xy[:, 0, 0]),
        "y0": _points(xy[:, 0, 1]),
        "x1": _points(xy[:, 1, 0]),
        "y1": _points(xy[:, 1, 1]),
        "name": [escape(e.get("name") or f"{kind} {e[kind]}") for e, _, _, kind in every],
        "limit": [_float(e.get("max_loading_percent")) for e, _, _, _ in every],
        "trafo": [kind == "trafo" for _, _, _, kind in every],
        "sn_mva": [_float(e.get("sn_mva")) for e, _, _, _ in every],
        "open": [not e.get("in_service", True) for e, _, _, _ in every],
    }


def _points(values: Floats) -> list[float | None]:
    return [_float(value) for value in values]


def _peers(results: Results, frames: Index, stages: list[str]) -> Spec:
    """Peers by bus, and the net power of those that are listed, packed by stage as (n_frames, n_listed)."""
    if "peer" not in results.tables:
        return {"peers": None}
    peer = results.arrow("peer", ["agent", "bus", "kind"])
    agents, kinds = strings(peer, "agent"), strings(peer, "kind")
    row_of = {int(bus["bus"]): row for row, bus in enumerate(results.topology["buses"])}
    at_bus: list[list[int]] = [[] for _ in row_of]
    more = [0] * len(row_of)
    listed: list[int] = []
    for agent, bus in enumerate(peer.column("bus").to_pylist()):
        if (row := row_of.get(bus)) is None:
            continue
        if len(at_bus[row]) < PEERS_PER_BUS:
            at_bus[row].append(len(listed))
            listed.append(agent)
        else:
            more[row] += 1
    names = [f"{escape(agents[i])} ({escape(kinds[i])})" for i in listed]
    spec: Spec = {"peers": {"name": names, "at": at_bus, "more": more}, "power": []}
    if "agent" in results.tables:
        spec["power"] = _powers(results, frames, stages, [agents[i] for i in listed])
    return spec


def _powers(results: Results, frames: Index, stages: list[str], listed: list[str]) -> list[str]:
    columns = [POWER.get(Stage(stage), "p_mw") for stage in stages]
    rows = _rows(results, "agent", ["period", "agent", *dict.fromkeys(columns)], frames)
    agent, names = codes(rows, "agent")
    place_of = {name: position for position, name in enumerate(listed)}
    a = np.array([place_of.get(name, -1) for name in names], dtype=np.intp)[agent]
    frame_of = _lookup(frames)
    f = frame_of[np.minimum(numbers(rows, "period").astype(np.intp), frame_of.size - 1)]
    known = (a >= 0) & (f >= 0)
    powers = []
    for column in columns:
        power = np.full((len(frames), len(listed)), np.nan)
        power[f[known], a[known]] = numbers(rows, column)[known]
        powers.append(packed(power))
    return powers


def _body(data: Spec, periods: Periods, where: Placement, states: list[str]) -> str:
    last = len(data["stages"]) - 1
    radios = "".join(
        f'<label><input type="radio" name="stage" value="{i}"{" checked" if i == last else ""}>{escape(stage)}</label>'
        for i, stage in enumerate(data["stages"])
    )
    jumps = "".join(
        f'<button type="button" class="jump" data-frame="{jump["frame"]}">{jump["label"]}</button>'
        for jump in data["extremes"]
    )
    count = len(data["frames"])
    controls = (
        '<div class="controls"><button type="button" id="play" aria-label="play or pause">Play</button>'
        f'<input type="range" id="frame" min="0" max="{count - 1}" value="{data["first"]}" step="1"'
        ' aria-label="period"><output id="clock"></output></div>'
        f'<div class="controls"><fieldset><legend>Stage</legend>{radios}</fieldset>'
        f'<fieldset><legend>Go to</legend>{jumps}</fieldset></div><p id="failure" class="alarm" hidden></p>'
    )
    remarks = [
        "Lines: colour and width show the loading as a share of the limit; buses: colour shows the voltage.",
        "Open diamonds mark what is outside its limits; the worst carry a figure.",
        "Point at an element for its numbers.",
    ]
    if not where.own:
        remarks.append("The grid has no coordinates: drawn as a tree that grows from the slack bus.")
    if count < periods.done:
        remarks.append(f"The slider visits {count:,} of {periods.done:,} periods, the extreme ones included.")
    if missing := [name for name in ("bus", "line", "trafo") if name not in states]:
        remarks.append(f"Not recorded: {', '.join(missing)}.")
    caption = f"<figcaption>{' '.join(remarks)}</figcaption>"
    return f'{controls}<figure><div class="plot" id="grid-plot" style="height:640px"></div>{caption}</figure>'
