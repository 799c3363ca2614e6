"""The tables of a MATPOWER case as its power flow takes them: types of buses, what is isolated, what is a link.

MATPOWER's manual, appendix B, has the columns; `ext2int` and `bustypes` are its functions that leave out isolated
buses and choose the buses that hold a voltage.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from peerwatt.errors import Fault, GridDataError
from peerwatt.grid.admittance import Bools, Complexes, Floats, Ints
from peerwatt.grid.library.matpower_text import MatpowerCase

__all__ = ["Branches", "Buses", "Generators", "Tables", "read_tables"]

_PV, _REF, _ISOLATED = 2, 3, 4
_NEEDED = {  # columns that count, from 1, by their names in the manual
    "bus": {1: "BUS_I", 2: "BUS_TYPE", 3: "PD", 4: "QD", 5: "GS", 6: "BS", 8: "VM", 9: "VA", 10: "BASE_KV"},
    "gen": {1: "GEN_BUS", 2: "PG", 3: "QG", 6: "VG", 8: "GEN_STATUS"},
    "branch": {
        1: "F_BUS",
        2: "T_BUS",
        3: "BR_R",
        4: "BR_X",
        5: "BR_B",
        6: "RATE_A",
        9: "TAP",
        10: "SHIFT",
        11: "BR_STATUS",
    },
}
_MOST_NUMBER = 10_000_000
_SHOWN = 10
_UNSEEN_DROP = 1e-8  # voltage in pu that all power would drop over a branch that counts as a closed switch
_LEAST_THROUGH = 0.1  # pu, where the file has less power
_MOST_MVA = 2e7  # admittance that leaves less rounding in a power flow than plain pandapower takes, 1e-8 MVA
_DISTRIBUTION_KV = 36.0
_MOST_KA = 10.0
_MOST_DROP = 10.0


@dataclass(frozen=True, slots=True)
class Buses:
    """Buses that are not isolated, in the order of their numbers.

    Attributes:
        number: (n_bus,) MATPOWER's.
        vn_kv: (n_bus,) base voltage; 1 where the file has 0.
        load: (n_bus,) drawn, MVA.
        shunt: (n_bus,) drawn at 1 pu, MVA.
        vm_held: (n_bus,) voltage that generators hold, pu; nan where none do.
        va_degree: (n_bus,) angle, which counts at reference buses.
        vm_min: (n_bus,) lower limit, pu.
        vm_max: (n_bus,) upper limit, pu.
    """

    number: Ints
    vn_kv: Floats
    load: Complexes
    shunt: Complexes
    vm_held: Floats
    va_degree: Floats
    vm_min: Floats
    vm_max: Floats


@dataclass(frozen=True, slots=True)
class Generators:
    """Generators in service at these buses.

    Attributes:
        name: ``Gen`` and the number of the row, from 1.
        bus: (n_gen,) position of the bus.
        power: (n_gen,) fed in, MVA.
        is_slack: (n_gen,) whether it is the external grid of its bus: the first at a reference bus.
        is_held: (n_gen,) whether it holds the voltage of its bus otherwise.
    """

    name: tuple[str, ...]
    bus: Ints
    power: Complexes
    is_slack: Bools
    is_held: Bools


@dataclass(frozen=True, slots=True)
class Branches:
    """Branches whose ends are not isolated, in the order of the file.

    Attributes:
        name: number of the row, from 1.
        start: (n_branch,) position of the from bus.
        end: (n_branch,) position of the to bus.
        z: (n_branch,) series impedance, pu of the case's base.
        charging: (n_branch,) total susceptance, pu.
        rate_mva: (n_branch,) limit `RATE_A`; 0 where there is none.
        tap: (n_branch,) ratio at the from end; 1 where the file has 0.
        shift: (n_branch,) angle of the ratio, degree.
        live: (n_branch,) in service.
        is_line: (n_branch,) between buses of one base voltage, without ratio and shift.
        is_link: (n_branch,) such a one, without an impedance that could be seen.
    """

    name: tuple[str, ...]
    start: Ints
    end: Ints
    z: Complexes
    charging: Floats
    rate_mva: Floats
    tap: Floats
    shift: Floats
    live: Bools
    is_line: Bools
    is_link: Bools

    @property
    def is_trafo(self) -> Bools:
        """All others, (n_branch,)."""
        return ~(self.is_line | self.is_link)


@dataclass(frozen=True, slots=True)
class Tables:
    """A case without what is isolated.

    Attributes:
        base_mva: base power.
        bus: the buses.
        gen: the generators in service.
        branch: the branches.
    """

    base_mva: float
    bus: Buses
    gen: Generators
    branch: Branches


def read_tables(case: MatpowerCase, where: str) -> tuple[Tables, list[Fault]]:
    """Read the tables.

    Args:
        case: as the file has it.
        where: file, for the messages.

    Returns:
        The tables, and what was left out or assumed.

    Raises:
        GridDataError: numbers that are missing, contradictory or look like another unit.
    """
    _refuse(_numbers(case, where))
    _refuse([*_references(case, where), *_implausible(case, where)])
    warnings = _left_out(case, where)
    table = case.tables["bus"]
    table = table[np.argsort(table[:, 0], kind="stable")]
    table = table[table[:, 1] != _ISOLATED]
    gen, vm_held = _generators(case, table, where)
    bus = Buses(
        number=table[:, 0].astype(np.int64),
        vn_kv=np.where(table[:, 9] == 0.0, 1.0, table[:, 9]),
        load=table[:, 2] + 1j * table[:, 3],
        shunt=table[:, 4] - 1j * table[:, 5],
        vm_held=vm_held,
        va_degree=table[:, 8],
        vm_min=table[:, 12],
        vm_max=table[:, 11],
    )
    branch = _branches(case, bus)
    _refuse(_unsolvable(branch, bus, case.base_mva, where))
    limited = [f"{branch.name[row]}" for row in np.flatnonzero(branch.is_link & (branch.rate_mva > 0.0))]
    if limited:
        problem = f"without impedance, so each is a switch, whose limit nobody watches: row {_listed(limited)}"
        warnings.append(Fault(f"{where}: mpc.branch", problem, "give BR_R or BR_X where the limit counts"))
    return Tables(case.base_mva, bus, gen, branch), warnings


def _generators(case: MatpowerCase, bus: Floats, where: str) -> tuple[Generators, Floats]:
    """Generators in service, and the voltage that they hold at each bus, as MATPOWER's `bustypes` chooses them."""
    table = case.tables["gen"]
    rows = np.flatnonzero((table[:, 7] > 0.0) & np.isin(table[:, 0], bus[:, 0]))
    at = np.searchsorted(bus[:, 0], table[rows, 0])
    fed = np.zeros(len(bus), dtype=np.bool_)
    fed[at] = True
    reference, held = fed & (bus[:, 1] == _REF), fed & (bus[:, 1] == _PV)
    if not reference.any() and held.any():  # the first of the others then is
        in_file = case.tables["bus"][:, 0]
        reference[bus[:, 0] == in_file[np.isin(in_file, bus[held, 0])][0]] = True
        held &= ~reference
    if not reference.any():
        problem = "no generator in service at a bus of BUS_TYPE 3"
        _refuse([Fault(f"{where}: mpc.gen", problem, "set BUS_TYPE of a bus with a generator to 3 (reference)")])
    vm_held = np.full(len(bus), np.nan)
    vm_held[at] = table[rows, 5]  # of several the last counts
    vm_held[~(reference | held)] = np.nan
    wrong = bus[vm_held <= 0.0, 0].astype(np.int64)
    if len(wrong):
        _refuse([Fault(f"{where}: mpc.gen", f"VG is not above 0 at bus {_listed(wrong)}", "give the voltage in pu")])
    earliest = np.zeros(len(rows), dtype=np.bool_)
    earliest[np.unique(at, return_index=True)[1]] = True
    return Generators(
        name=tuple(f"Gen {row + 1}" for row in rows),
        bus=at,
        power=table[rows, 1] + 1j * table[rows, 2],
        is_slack=reference[at] & earliest,
        is_held=held[at],
    ), vm_held


def _branches(case: MatpowerCase, bus: Buses) -> Branches:
    table = case.tables["branch"]
    rows = np.flatnonzero(np.isin(table[:, :2], bus.number).all(axis=1))
    table = table[rows]
    start, end = (np.searchsorted(bus.number, table[:, column]) for column in (0, 1))
    z, tap = table[:, 2] + 1j * table[:, 3], np.where(table[:, 8] == 0.0, 1.0, table[:, 8])
    plain = (bus.vn_kv[start] == bus.vn_kv[end]) & (tap == 1.0) & (table[:, 9] == 0.0)
    fed = float(np.abs(case.tables["gen"][:, 1]).sum())
    through = max(float(np.abs(bus.load).sum()) / case.base_mva, fed / case.base_mva, _LEAST_THROUGH)
    unseen = plain & (np.abs(z) * through < _UNSEEN_DROP)
    return Branches(
        name=tuple(str(row + 1) for row in rows),
        start=start,
        end=end,
        z=z,
        charging=table[:, 4],
        rate_mva=table[:, 5],
        tap=tap,
        shift=table[:, 9],
        live=table[:, 10] > 0.0,
        is_line=plain & ~unseen,
        is_link=unseen,
    )


def _refuse(faults: list[Fault]) -> None:
    if faults:
        raise GridDataError(faults)


def _listed(items: Iterable[object]) -> str:
    shown = [str(item) for item in items]
    more = f" and {len(shown) - _SHOWN} more" if len(shown) > _SHOWN else ""
    return ", ".join(shown[:_SHOWN]) + more


def _numbers(case: MatpowerCase, where: str) -> list[Fault]:
    """Numbers that count and are none, or are of no meaning."""
    faults = []
    for name, columns in _NEEDED.items():
        table = case.tables[name]
        for column, title in columns.items():
            rows = np.flatnonzero(~np.isfinite(table[:, column - 1])) + 1
            if len(rows):
                faults.append(Fault(f"{where}: mpc.{name}", f"{title} is no number in row {_listed(rows)}"))
    bus, branch = case.tables["bus"], case.tables["branch"]
    for name, title, wrong, allowed in (
        ("bus", "BUS_I", ~_counts(bus[:, 0], _MOST_NUMBER), f"whole numbers from 1 to {_MOST_NUMBER}"),
        ("bus", "BUS_TYPE", ~_counts(bus[:, 1], _ISOLATED), "1 (PQ), 2 (PV), 3 (reference) or 4 (isolated)"),
        ("bus", "BASE_KV", bus[:, 9] < 0.0, "kV, above 0"),
        ("branch", "RATE_A", branch[:, 5] < 0.0, "MVA, above 0; 0 for no limit"),
        ("branch", "TAP", branch[:, 8] < 0.0, "a ratio above 0; 0 for a line"),
        ("branch", "T_BUS", branch[:, 0] == branch[:, 1], "another bus than F_BUS"),
    ):
        rows = np.flatnonzero(wrong) + 1
        if len(rows):
            faults.append(Fault(f"{where}: mpc.{name}", f"wrong {title} in row {_listed(rows)}", f"allowed: {allowed}"))
    return faults


def _counts(values: Floats, most: int) -> Bools:
    counts: Bools = (values == np.round(values)) & (values >= 1.0) & (values <= most)
    return counts


def _references(case: MatpowerCase, where: str) -> list[Fault]:
    """Buses that occur twice, or that other tables name and that are not there."""
    number, faults = case.tables["bus"][:, 0], []
    known, count = np.unique(number, return_counts=True)
    if (count > 1).any():
        twice = known[count > 1].astype(np.int64)
        faults.append(Fault(f"{where}: mpc.bus", f"a bus number occurs twice: {_listed(twice)}"))
    for name, columns in (("gen", 1), ("branch", 2)):
        missing = np.setdiff1d(case.tables[name][:, :columns], number)
        if len(missing):
            shown = _listed(f"{item:g}" for item in missing)
            faults.append(Fault(f"{where}: mpc.{name}", f"no bus has the number {shown}"))
    return faults


def _left_out(case: MatpowerCase, where: str) -> list[Fault]:
    bus, gen, branch = (case.tables[name] for name in ("bus", "gen", "branch"))
    warnings = []
    isolated = bus[bus[:, 1] == _ISOLATED, 0]
    if len(isolated):
        load = bus[bus[:, 1] == _ISOLATED, 2].sum()
        gens = int(np.isin(gen[:, 0], isolated).sum())
        branches = int(np.isin(branch[:, :2], isolated).any(axis=1).sum())
        problem = f"isolated (BUS_TYPE 4) and left out, as MATPOWER does: bus {_listed(isolated.astype(np.int64))}"
        problem += f", with {load:g} MW of load, {gens} generators, {branches} branches"
        warnings.append(Fault(f"{where}: mpc.bus", problem, "set BUS_TYPE to 1 where they count"))
    unknown = bus[bus[:, 9] == 0.0, 0].astype(np.int64)
    if len(unknown):
        problem = f"BASE_KV is 0 and counts as 1 kV: bus {_listed(unknown)}"
        warnings.append(Fault(f"{where}: mpc.bus", problem, "give it in kV where currents count"))
    if "dcline" in case.unread:
        problem = "lines of direct current are not read, as in MATPOWER without toggle_dcline"
        warnings.append(Fault(f"{where}: mpc.dcline", problem, "replace each by a load and a generator"))
    return warnings


def _implausible(case: MatpowerCase, where: str) -> list[Fault]:
    """Numbers that look like kW and ohm: no distribution network carries or has them."""
    bus, branch = case.tables["bus"], case.tables["branch"]
    highest = float(bus[:, 9].max())
    if not 1.0 < highest <= _DISTRIBUTION_KV and not 0.0 < highest < 1.0:
        return []  # a transmission network, or no base voltages: per unit only
    load, most = float(bus[:, 2].clip(0.0).sum()), math.sqrt(3.0) * highest * _MOST_KA
    z_pu = np.abs(branch[:, 2] + 1j * branch[:, 3])
    drop = float(np.median(z_pu) * load / case.base_mva)
    if load > most:
        problem = f"loads of {load:.6g} MW at {highest:g} kV: looks like kW"
        return [Fault(f"{where}: mpc.bus", problem, "divide PD and QD by 1000")]
    if drop > _MOST_DROP:
        problem = f"a typical branch of {np.median(z_pu):.4g} pu would drop {100 * drop:.0f} percent of the voltage"
        return [Fault(f"{where}: mpc.branch", f"{problem}: looks like ohm", "divide by BASE_KV^2 / baseMVA")]
    return []


def _unsolvable(branch: Branches, bus: Buses, base_mva: float, where: str) -> list[Fault]:
    """Branches whose impedance is too small for a power flow and that are no closed switch either."""
    size, faults = np.abs(branch.z), []
    for row in np.flatnonzero(branch.live & ~branch.is_link & (size * _MOST_MVA < base_mva)):
        ends = f"{bus.number[branch.start[row]]}-{bus.number[branch.end[row]]}"
        problem = f"an impedance of {size[row]:g} pu is too small to be solved"
        remedy = f"give {base_mva / _MOST_MVA:g} or more"
        if branch.is_line[row]:
            remedy += ", or BR_R and BR_X of 0 for a closed switch"
        faults.append(Fault(f"{where}: mpc.branch row {branch.name[row]} ({ends})", problem, remedy))
    return faults
