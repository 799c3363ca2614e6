"""MATPOWER's power flow by itself: the file's tables, its nodal admittances, Newton-Raphson in polar coordinates.

Zimmerman, Murillo-Sanchez: MATPOWER User's Manual, sections 3.2, 3.6 and 4.1. Nothing of peerwatt or pandapower is
used; the statements that convert units are those of MATPOWER's own distribution cases, looked for one by one.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse.linalg import splu

__all__ = ["Case", "read_case", "solve_tables"]

_KW = "mpc.bus(:, [PD, QD]) = mpc.bus(:, [PD, QD]) / 1e3;"
_OHM = "mpc.branch(:, [BR_R BR_X]) = mpc.branch(:, [BR_R BR_X]) / (Vbase^2 / Sbase);"
_POWER_FACTOR = "mpc.bus(:, QD) = mpc.bus(:, PD) * sin(acos(pf));"


@dataclass
class Case:
    base_mva: float
    bus: NDArray[np.float64]
    gen: NDArray[np.float64]
    branch: NDArray[np.float64]


def read_case(path: Path) -> Case:
    code = "\n".join(line.partition("%")[0] for line in path.read_text(encoding="utf-8").splitlines())
    base = re.search(r"mpc\.baseMVA\s*=\s*([^;]+);", code)
    assert base
    bus, gen, branch = (_table(code, name) for name in ("bus", "gen", "branch"))
    case = Case(_number(base[1]), bus, gen, branch)
    if _OHM in code:
        branch[:, [2, 3]] /= (bus[0, 9] * 1e3) ** 2 / (case.base_mva * 1e6)
    if _KW in code:
        bus[:, [2, 3]] /= 1e3
    if _POWER_FACTOR in code:
        bus[:, 3] = bus[:, 2] * math.sin(math.acos(0.85))
        bus[:, 2] *= 0.85
    assert len(re.findall(r"^mpc\.\w+\(", code, re.MULTILINE)) == (_OHM in code) + (_KW in code) + 2 * (
        _POWER_FACTOR in code
    )
    return case


def _table(code: str, name: str) -> NDArray[np.float64]:
    found = re.search(rf"mpc\.{name}\s*=\s*\[(.*?)\]\s*;", code, re.DOTALL)
    assert found
    rows = [row.split() for row in re.split("[;\n]", found[1])]
    return np.array([[_number(cell) for cell in row] for row in rows if row])


def _number(text: str) -> float:
    top, _, below = text.partition("/")
    root = re.fullmatch(r"sqrt\((\d+)\)", below)
    return float(top) / (math.sqrt(float(root[1])) if root else float(below or 1.0))


def solve_tables(case: Case) -> tuple[NDArray[np.int64], NDArray[np.complex128]]:
    """Numbers of the buses that are not isolated, in the file's order, and their voltages in pu."""
    bus = case.bus[case.bus[:, 1] != 4]
    position = {int(number): row for row, number in enumerate(bus[:, 0])}
    live = [row for row in case.branch if row[10] and int(row[0]) in position and int(row[1]) in position]
    admittance = _admittance(case, bus, position, np.array(live))
    voltage = bus[:, 7] * np.exp(1j * np.radians(bus[:, 8]))
    power = -(bus[:, 2] + 1j * bus[:, 3])
    fed = np.zeros(len(bus), dtype=bool)
    for row in case.gen:
        if row[7] > 0 and int(row[0]) in position:
            at = position[int(row[0])]
            power[at] += row[1] + 1j * row[2]
            fed[at] = True
            if bus[at, 1] != 1:
                voltage[at] *= row[5] / abs(voltage[at])
    pv = np.flatnonzero(fed & (bus[:, 1] == 2))
    pq = np.flatnonzero(~(fed & np.isin(bus[:, 1], (2, 3))))
    return bus[:, 0].astype(np.int64), _newton(admittance, power / case.base_mva, voltage, pv, pq)


def _admittance(case, bus, position, branch):
    """Eq. (3.2) and (3.10) to (3.14)."""
    series = 1.0 / (branch[:, 2] + 1j * branch[:, 3])
    ratio = np.where(branch[:, 8] == 0.0, 1.0, branch[:, 8]) * np.exp(1j * np.radians(branch[:, 9]))
    to_to = series + 0.5j * branch[:, 4]
    start, end = ([position[int(number)] for number in branch[:, column]] for column in (0, 1))
    entries = (
        (start, start, to_to / abs(ratio) ** 2),
        (start, end, -series / ratio.conj()),
        (end, start, -series / ratio),
        (end, end, to_to),
        (range(len(bus)), range(len(bus)), (bus[:, 4] + 1j * bus[:, 5]) / case.base_mva),
    )
    rows, columns, values = (np.concatenate([entry[part] for entry in entries]) for part in range(3))
    return sparse.csr_array((values, (rows, columns)), shape=(len(bus), len(bus)))


def _newton(admittance, power, voltage, pv, pq):
    """Eq. (4.5) to (4.9), until nothing moves: at a branch of 1e-9 pu mismatches stay, voltages do not."""
    angles = np.concatenate([pv, pq])
    for _ in range(40):
        current = admittance @ voltage
        mismatch = voltage * current.conj() - power
        error = np.concatenate([mismatch[angles].real, mismatch[pq].imag])
        diagonal, unit = sparse.diags_array(voltage), sparse.diags_array(voltage / abs(voltage))
        by_angle = (1j * diagonal @ (sparse.diags_array(current) - admittance @ diagonal).conj()).tocsr()
        by_size = (diagonal @ (admittance @ unit).conj() + sparse.diags_array(current.conj()) @ unit).tocsr()
        blocks = [
            [by_angle[angles][:, angles].real, by_size[angles][:, pq].real],
            [by_angle[pq][:, angles].imag, by_size[pq][:, pq].imag],
        ]
        step = splu(sparse.block_array(blocks).tocsc()).solve(-error)
        angle, size = np.angle(voltage), abs(voltage)
        angle[angles] += step[: len(angles)]
        size[pq] += step[len(angles) :]
        voltage = size * np.exp(1j * angle)
        if np.abs(step).max() < 1e-11:
            return voltage
    raise AssertionError("Newton-Raphson does not come to rest")
