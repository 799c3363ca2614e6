"""Changes of a case that studies need: line capacity, line impedance, transformer rating, limits.

Each function returns a new case and leaves the given one as it is. The arrays and the pandapower network in
`network.pandapower_json` are changed alike, so that a result stays recomputable with plain pandapower. Nothing here
imports pandapower.

    tight = scale_line_capacity(case, 0.5)
    weak = scale_impedance(tight, 5.0, lines=["13", "14"])
    strict = with_limits(weak, min_vm_pu=0.95, max_loading_percent={"13": 80.0, "trafo.T1": 60.0})

An element is named by its name where that is unique in the network, else by `<table>.<name>` or `<table>.<index>`,
e.g. `line.13`; table is `bus`, `line` or `trafo` (`peerwatt.grid.lookup`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from peerwatt.errors import Fault, GridDataError
from peerwatt.grid.admittance import Admittances, Bools, Floats
from peerwatt.grid.cases import GridCase
from peerwatt.grid.lookup import Elements, Table
from peerwatt.grid.netjson import Change, edited
from peerwatt.grid.network import Buses, Network

__all__ = ["Limits", "scale_impedance", "scale_line_capacity", "scale_trafo", "with_limits"]

Limits = float | Mapping[str, float]
"""One limit for all elements, or limits by element; elements that are not named keep theirs."""

_IMPEDANCE = ("r_ohm_per_km", "x_ohm_per_km", "r0_ohm_per_km", "x0_ohm_per_km")


def scale_line_capacity(case: GridCase, factor: float, lines: Iterable[str] | None = None) -> GridCase:
    """Multiply the rated current of lines.

    Args:
        case: the case.
        factor: above 0.
        lines: which; by default all.

    Raises:
        GridDataError: a line that does not exist, a factor that is none.
    """
    network, chosen = case.network, _chosen_lines(case.network, factor, lines)
    rating_ka = np.where(chosen, factor * network.lines.rating_ka, network.lines.rating_ka)
    text = edited(network, "line", {"max_i_ka": _scaled(chosen, factor)})
    return _with(case, lines=replace(network.lines, rating_ka=rating_ka), pandapower_json=text)


def scale_impedance(case: GridCase, factor: float, lines: Iterable[str] | None = None) -> GridCase:
    """Multiply the series impedance of lines, resistance and reactance; what they charge stays.

    Args:
        case: the case.
        factor: above 0.
        lines: which; by default all.

    Raises:
        GridDataError: a line that does not exist, a factor that is none.
    """
    network, chosen = case.network, _chosen_lines(case.network, factor, lines)
    text = edited(network, "line", dict.fromkeys(_IMPEDANCE, _scaled(chosen, factor)))
    rows = np.zeros(network.admittances.n_branch, dtype=np.bool_)  # lines are the first branches
    rows[: network.n_line] = chosen
    return _with(case, admittances=_scaled_series(network.admittances, rows, factor), pandapower_json=text)


def scale_trafo(case: GridCase, factor: float) -> GridCase:
    """Multiply the rating of all transformers; their impedances in ohm stay.

    In pandapower's network it is the derating factor `df` that changes, because impedances there are relative to
    the rated power.

    Args:
        case: the case.
        factor: above 0.

    Raises:
        GridDataError: a factor that is none.
    """
    _check_factor(case.network, factor)
    network = case.network
    everything = np.ones(network.n_trafo, dtype=np.bool_)
    text = edited(network, "trafo", {"df": _scaled(everything, factor, default=1.0)})
    return _with(case, trafos=replace(network.trafos, sn_mva=factor * network.trafos.sn_mva), pandapower_json=text)


def with_limits(
    case: GridCase,
    *,
    min_vm_pu: Limits | None = None,
    max_vm_pu: Limits | None = None,
    max_loading_percent: Limits | None = None,
) -> GridCase:
    """Set limits, for all elements or by element.

    Args:
        case: the case.
        min_vm_pu: lower voltage limit of buses.
        max_vm_pu: upper voltage limit of buses.
        max_loading_percent: limit of lines and transformers, as a share of their rating.

    Raises:
        GridDataError: elements that do not exist or are not unique, limits that contradict each other; all at once.
    """
    network, faults = case.network, list[Fault]()
    given: dict[tuple[str, str], Floats] = {}
    for name, limits in (("min_vm_pu", min_vm_pu), ("max_vm_pu", max_vm_pu)):
        given["bus", name] = _limits(network, ("bus",), name, limits, faults)
    loading = _limits(network, ("line", "trafo"), "max_loading_percent", max_loading_percent, faults)
    given["line", "max_loading_percent"] = loading[: network.n_line]
    given["trafo", "max_loading_percent"] = loading[network.n_line :]
    parts: dict[str, Any] = {"bus": network.buses, "line": network.lines, "trafo": network.trafos}
    text = network.pandapower_json
    for (table, name), values in given.items():
        if np.isnan(values).all():
            continue
        old = getattr(parts[table], name)
        new = np.where(np.isnan(values), old, values)
        parts[table] = replace(parts[table], **{name: new})
        text = edited(replace(network, pandapower_json=text), table, {name: _replaced(new)})
    faults += _contradictions(network, parts["bus"])
    if faults:
        raise GridDataError(faults)
    return _with(case, buses=parts["bus"], lines=parts["line"], trafos=parts["trafo"], pandapower_json=text)


def _with(case: GridCase, **changes: Any) -> GridCase:
    return replace(case, network=replace(case.network, **changes))


def _scaled_series(model: Admittances, rows: Bools, factor: float) -> Admittances:
    """The model with the series admittance y of some branches divided: ytf = -y / ratio, yff = y / |ratio|^2 + ..."""
    less = np.where(rows, 1.0 / factor, 1.0)
    change = (less - 1.0) * -model.ytf * model.ratio
    return replace(
        model,
        yff=model.yff + change / np.abs(model.ratio) ** 2,
        yft=model.yft * less,
        ytf=model.ytf * less,
        ytt=model.ytt + change,
    )


def _chosen_lines(network: Network, factor: float, lines: Iterable[str] | None) -> Bools:
    _check_factor(network, factor)
    chosen = np.full(network.n_line, lines is None)
    if lines is not None:
        given = [lines] if isinstance(lines, str) else lines
        chosen[Elements(network, "line").rows(given, f"network {network.name}: lines")] = True
    return chosen


def _check_factor(network: Network, factor: float) -> None:
    if not (np.isfinite(factor) and factor > 0.0):
        raise GridDataError(Fault(f"network {network.name}", f"factor is {factor}", "give a number above 0"))


def _limits(
    network: Network, tables: tuple[Table, ...], what: str, limits: Limits | None, faults: list[Fault]
) -> Floats:
    """Limits of the elements of these tables, nan where none is given."""
    length = {"bus": network.n_bus, "line": network.n_line, "trafo": network.n_trafo}
    values = np.full(sum(length[table] for table in tables), np.nan)
    if limits is None:
        return values
    elements = Elements(network, *tables)
    for name, limit in limits.items() if isinstance(limits, Mapping) else [("", limits)]:
        if not (np.isfinite(limit) and limit > 0.0):
            faults.append(Fault(f"network {network.name}: {what}: '{name}'", f"it is {limit}", "give more than 0"))
        elif not isinstance(limits, Mapping):
            values[:] = limit
        else:
            try:
                values[elements.row(name, f"network {network.name}: {what}")] = limit
            except GridDataError as error:
                faults += error.faults
    return values


def _contradictions(network: Network, buses: Buses) -> list[Fault]:
    wrong = np.flatnonzero(buses.min_vm_pu >= buses.max_vm_pu)
    return [
        Fault(
            f"network {network.name}: bus '{buses.name[row]}'",
            f"min_vm_pu {buses.min_vm_pu[row]} is not below max_vm_pu {buses.max_vm_pu[row]}",
            "give both",
        )
        for row in wrong[:10]
    ]


def _scaled(chosen: Bools, factor: float, default: float | None = None) -> Change:
    def change(column: list[Any] | None) -> list[Any] | None:
        if column is None:
            if default is None:
                return None
            column = [default] * len(chosen)
        filled = [default if value is None else value for value in column]
        return [
            factor * value if one and value is not None else value for one, value in zip(chosen, filled, strict=True)
        ]

    return change


def _replaced(values: Floats) -> Change:
    return lambda _: values.tolist()
