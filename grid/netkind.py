"""Tells what a file is that is no pandapower network, and how pandapower itself makes one of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from peerwatt.errors import Fault, GridDataError

__all__ = ["foreign_document", "refuse_foreign"]

_SAVE = "pandapower.to_json(net, 'net.json')"
_NOT_ONE = "not a pandapower network"

_BY_SUFFIX = {
    ".dss": ("an OpenDSS circuit", "pandapower.converter.opendss.from_opendss(path)"),
    ".xlsx": ("an Excel file", "pandapower.from_excel(path)"),
    ".xls": ("an Excel file", "pandapower.from_excel(path)"),
    ".uct": ("a UCTE-DEF file", "pandapower.converter.ucte.from_ucte(path)"),
    ".raw": (
        "a PSS/E file",
        "pypowsybl.network.load(path) and pandapower.converter.pypowsybl.from_pypowsybl.from_pypowsybl",
    ),
    ".xiidm": (
        "a PowSyBl network",
        "pypowsybl.network.load(path) and pandapower.converter.pypowsybl.from_pypowsybl.from_pypowsybl",
    ),
    ".xml": ("a CIM file", "pandapower.converter.cim.cim2pp.from_cim.from_cim(path)"),
    ".pfd": ("a PowerFactory project", "pandapower.converter.powerfactory.from_pfd"),
    ".p": ("a pickle, which can run code when it is opened", "pandapower.from_pickle(path), if you trust it,"),
    ".pkl": ("a pickle, which can run code when it is opened", "pandapower.from_pickle(path), if you trust it,"),
    ".sqlite": ("a database", "pandapower.from_sqlite(path)"),
    ".db": ("a database", "pandapower.from_sqlite(path)"),
    ".mat": ("a MATLAB file", "pandapower.converter.matpower.from_mpc(path)"),
}
_PYPSA = "copy its tables into a network with pandapower.create_buses, create_lines_from_parameters and create_loads"


def refuse_foreign(path: Path) -> None:
    """Refuse a file or folder whose name tells that another tool has written it.

    Args:
        path: the file or folder.

    Raises:
        GridDataError: what it is, and how pandapower makes a network of it.
    """
    fault = _foreign(path)
    if fault is not None:
        raise GridDataError(fault)


def _foreign(path: Path) -> Fault | None:
    where, kind = str(path), path.suffix.lower()
    if path.is_dir():
        if (path / "buses.csv").is_file():
            return Fault(where, f"{_NOT_ONE} but a PyPSA folder", f"{_PYPSA}, then {_SAVE}")
        return Fault(where, f"{_NOT_ONE} but a folder", "give the path of a file that pandapower.to_json wrote")
    if kind == ".m":
        return Fault(where, f"{_NOT_ONE} but a MATPOWER case", f"give matpower:{path.name}")
    if kind in (".nc", ".h5"):
        return Fault(where, f"{_NOT_ONE}; a PyPSA network?", f"{_PYPSA}, then {_SAVE}")
    if kind in _BY_SUFFIX:
        what, how = _BY_SUFFIX[kind]
        return Fault(where, f"{_NOT_ONE} but {what}", f"read it with {how} and save it with {_SAVE}")
    return None


def foreign_document(document: Any, where: str) -> Fault | None:
    """What a JSON document is, if that is no pandapower network.

    Args:
        document: the parsed text.
        where: file, for the messages.
    """
    content = document
    if isinstance(document, dict) and "_object" in document:
        if document.get("_class") != "pandapowerNet":
            what = f"a saved {document.get('_class')}"[:60]
            return Fault(where, f"{_NOT_ONE} but {what}", f"save the network itself with {_SAVE}")
        content = document["_object"]
        if isinstance(content, str):  # as pandapower 2.0 wrote it
            return None
    if not isinstance(content, dict):
        return Fault(where, _NOT_ONE, f"save one with {_SAVE}")
    if not {"bus", "branch"} - content.keys():
        numbered = isinstance(content["bus"], dict) and "_object" not in content["bus"]
        if "per_unit" in content or numbered:
            how = "write it as a MATPOWER case (PowerModels.export_matpower) and give matpower:<file>.m"
            return Fault(where, f"{_NOT_ONE} but a PowerModels case", how)
        how = f"convert it with pandapower.converter.pypower.from_ppc(ppc) and save it with {_SAVE}"
        return Fault(where, f"{_NOT_ONE} but a PYPOWER case", how)
    missing = [name for name in ("bus", "line", "trafo", "ext_grid", "load", "sgen") if name not in content]
    if missing:
        return Fault(where, f"{_NOT_ONE}: no table {', '.join(missing)}", f"save one with {_SAVE}")
    return None
