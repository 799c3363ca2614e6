"""A transformer's tap at another position.

What a tap changer does depends on its kind: steps of the ratio, at an angle or not, of the angle alone, or of a table
that has ratio, angle and impedance by position. None of that is repeated here: the position is written into
pandapower's network, the network is converted anew, and the transformer's new two-port takes the place of the old one.
What cannot be shown so is refused by the transformer's name.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import Any, Literal

import numpy as np

from peerwatt.errors import Fault, GridDataError
from peerwatt.grid.admittance import Complexes
from peerwatt.grid.cache import Part, fetch, store
from peerwatt.grid.lookup import Elements
from peerwatt.grid.netjson import edited, table_rows
from peerwatt.grid.network import Network

__all__ = ["with_tap_position"]

_TWO_PORT = ("yff", "yft", "ytf", "ytt", "ratio")
_TOLERANCE = 1e-9  # what scaled impedances and pandapower's own may differ by


def with_tap_position(network: Network, trafo: str | int, tap_pos: int, changer: Literal[1, 2] = 1) -> Network:
    """Put a transformer's tap to another position.

    Args:
        network: the network; it is not changed.
        trafo: name or index of the transformer.
        tap_pos: the position.
        changer: 1 for the columns `tap_*` of pandapower's table, 2 for its second tap changer, `tap2_*`.

    Raises:
        GridDataError: no transformer is called so, its tap changer has not this position or does nothing, or pandapower
            cannot represent it.
    """
    row = Elements(network, "trafo").row(trafo, f"{network.name}: trafo")
    where = f"{network.name}: trafo '{network.trafos.name[row]}' (index {network.trafos.index[row]})"
    tap, prefix = table_rows(network, "trafo")[row], "tap" if changer == 1 else "tap2"
    _check_limits(tap, prefix, tap_pos, where)
    if tap.get(f"{prefix}_pos") == tap_pos:
        return network

    def moved(old: list[Any] | None) -> list[Any]:
        values = [None] * network.n_trafo if old is None else list(old)
        values[row] = tap_pos
        return values

    text = edited(network, "trafo", {f"{prefix}_pos": moved})
    two_ports = _two_ports(text, network.name, f"{where}, {prefix}_pos {tap_pos}")
    model, branch = network.admittances, network.n_line + row
    parts: dict[str, Any] = {}
    changed = np.zeros(model.n_branch, dtype=np.bool_)
    for name, new in zip(_TWO_PORT, two_ports, strict=True):
        old = getattr(model, name)
        changed |= np.abs(new - old) > _TOLERANCE * np.maximum(np.abs(old), np.abs(new))
        parts[name] = old.copy()
        parts[name][branch] = new[branch]
    if not changed[branch]:
        raise GridDataError(Fault(where, f"its tap at {tap_pos} changes nothing", _reason(tap, prefix)))
    if changed.sum() > 1:
        remedy = "give each transformer its own id_characteristic_table"
        raise GridDataError(Fault(where, f"its tap at {tap_pos} changes other transformers too", remedy))
    return replace(network, admittances=replace(model, **parts), pandapower_json=text)


def _check_limits(tap: dict[str, Any], prefix: str, tap_pos: int, where: str) -> None:
    """Refuse a position beyond the limits; a tap changer without limits has every position."""
    least, most = tap.get(f"{prefix}_min"), tap.get(f"{prefix}_max")
    if (least is not None and tap_pos < least) or (most is not None and tap_pos > most):
        allowed = f"{'any' if least is None else f'{least:g}'} to {'any' if most is None else f'{most:g}'}"
        raise GridDataError(Fault(where, f"has no tap position {tap_pos}", f"positions: {allowed}"))


def _two_ports(text: str, name: str, where: str) -> list[Complexes]:
    """Two-ports of all branches of a pandapower network, each part (n_branch,); cached, as it takes pandapower.

    Raises:
        GridDataError: pandapower's network cannot be converted; by the transformer's name.
    """
    key = {"taps": hashlib.sha256(text.encode()).hexdigest()}
    found = fetch(key, _restored)
    if found is None:
        from peerwatt.grid.convert import convert_net
        from peerwatt.grid.netfile import parse_net

        try:
            model = convert_net(parse_net(text, name), name).admittances
        except GridDataError as error:
            raise GridDataError(Fault(where, fault.problem, fault.remedy) for fault in error.faults) from error
        found = [getattr(model, part) for part in _TWO_PORT]
        store(key, dict(zip(_TWO_PORT, found, strict=True)))
    return found


def _restored(parts: dict[str, Part]) -> list[Complexes]:
    return [np.asarray(parts[part], dtype=np.complex128) for part in _TWO_PORT]


def _reason(tap: dict[str, Any], prefix: str) -> str:
    """Why pandapower has no use for a position: the columns of a tap changer that are empty."""
    if not tap.get("in_service", True):
        return "it is out of service"
    by_table = prefix == "tap" and tap.get("tap_dependency_table")
    kind, steps = f"{prefix}_changer_type", [f"{prefix}_step_percent", f"{prefix}_step_degree"]
    needed = [f"{prefix}_side"] if by_table else [f"{prefix}_side", kind, f"{prefix}_neutral"]
    missing = [column for column in needed if tap.get(column) in (None, "")]
    if not by_table and not any(tap.get(step) for step in steps):
        missing.append(" and ".join(steps))
    if missing:
        return f"empty in the network: {', '.join(missing)}"
    return f"{kind} is {tap.get(kind)}; with a table of characteristics tap_dependency_table has to be True"
