"""Makes a pandapower network of a file in MATPOWER's format.

pandapower's own reader of `.m` files needs another package and skips the conversion of ohm and kW; the text is
read by `peerwatt.grid.library.matpower_text`, and pandapower converts the tables.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from peerwatt.errors import Fault, GridDataError
from peerwatt.grid.convert import quiet
from peerwatt.grid.library.matpower_text import MatpowerCase, parse_matpower

if TYPE_CHECKING:
    from pandapower import pandapowerNet

__all__ = ["read_matpower"]

_BRANCH_COLUMNS, _GEN_COLUMNS = 13, 21


def read_matpower(path: Path) -> pandapowerNet:
    """Read a `.m` file of format version 2.

    Buses have MATPOWER's numbers as index and name, and are in their order; lines and transformers have the number of
    their row, from 1, as name. A branch without a rating (`rateA` 0) has 99,999 kA or MVA, which means none. Loads
    have the kind `aggregate`. Costs are not read.

    Args:
        path: the file.

    Raises:
        GridDataError: the file is missing, or has statements that are not understood.
    """
    if path.suffix.lower() != ".m":
        raise GridDataError(Fault(str(path), f"unknown kind of file '{path.suffix}'", "give MATPOWER's .m file"))
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise GridDataError(Fault(str(path), f"cannot be read: {error.strerror or error}")) from error
    case = parse_matpower(text, str(path))
    with quiet():
        return _net(case, str(path))


def _net(case: MatpowerCase, where: str) -> pandapowerNet:
    import pandapower as pp
    from pandapower.converter.pypower import from_ppc

    bus, gen, branch = (case.tables[name].copy() for name in ("bus", "gen", "branch"))
    number = bus[:, 0].astype(np.int64)
    _check_numbers(number, gen, branch, where)
    position = {int(value): row for row, value in enumerate(number)}
    bus[:, 0] = np.arange(len(bus))
    gen[:, 0] = [position[int(value)] for value in gen[:, 0]]
    branch[:, :2] = [[position[int(value)] for value in row] for row in branch[:, :2]]
    ratio = branch[:, 8]
    ratio[ratio == 0.0] = 1.0  # in MATPOWER 0 stands for a line
    ppc = {
        "baseMVA": case.base_mva,
        "bus": bus,
        "gen": _widened(gen, _GEN_COLUMNS),
        "branch": _widened(branch, _BRANCH_COLUMNS),
    }
    net = from_ppc(ppc, f_hz=50, validate_conversion=False)
    rows = net["_from_ppc_lookups"]["branch"]
    del net["_from_ppc_lookups"]
    for table in ("line", "trafo"):
        chosen = rows[rows["element_type"] == table]
        net[table].loc[chosen["element"].astype(np.int64), "name"] = [str(row + 1) for row in chosen.index]
    pp.toolbox.reindex_buses(net, dict(enumerate(number.tolist())))
    net.bus = net.bus.sort_index()
    net.bus["name"] = [str(index) for index in net.bus.index]
    net.load["name"] = [f"Load {index}" for index in net.load["bus"]]
    net.load["kind"] = "aggregate"
    return net


def _widened(table: np.ndarray, columns: int) -> np.ndarray:
    return np.pad(table, ((0, 0), (0, max(0, columns - table.shape[1]))))


def _check_numbers(number: np.ndarray, gen: np.ndarray, branch: np.ndarray, where: str) -> None:
    known, faults = set(number.tolist()), []
    if len(known) != len(number):
        faults.append(Fault(f"{where}: mpc.bus", "a bus number occurs twice"))
    for name, ends in (("gen", gen[:, 0]), ("branch", branch[:, :2].ravel())):
        missing = sorted({int(end) for end in ends} - known)
        if missing:
            shown = ", ".join(map(str, missing[:10]))
            faults.append(Fault(f"{where}: mpc.{name}", f"no bus has the number {shown}"))
    if faults:
        raise GridDataError(faults)
