"""Reads MATPOWER's case files: the tables, and the code after them that converts ohm and kW.

A case file is a MATLAB function. MATPOWER's distribution cases write impedances in ohm and loads in kW into the
tables, and convert them with statements at the end of the file; a reader of tables alone makes thousands of MW of
them. Here every statement is either understood and applied, or the file is refused with the statement: nothing is
skipped that could change a number.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from peerwatt.errors import Fault, GridDataError
from peerwatt.grid.admittance import Floats

__all__ = ["MatpowerCase", "parse_matpower"]

_COLUMNS = {"bus": 13, "gen": 10, "branch": 11}  # that a table must have
_IGNORED = {"version", "gencost", "bus_name", "gentype", "genfuel", "areas", "dcline", "dclinecost"}
_PD, _QD, _BASE_KV, _BR_R, _BR_X = 2, 3, 9, 2, 3

_NAMES = {  # columns that statements may address, counted from 1 as in MATLAB
    "bus": {"PD": 3, "QD": 4, "GS": 5, "BS": 6, "BASE_KV": 10},
    "branch": {"BR_R": 3, "BR_X": 4, "BR_B": 5, "RATE_A": 6, "RATE_B": 7, "RATE_C": 8},
}

_FUNCTION = re.compile(r"function\s*\[?\s*mpc\s*\]?\s*=\s*\w+(\(\s*\))?$")
_CONSTANTS = re.compile(r"(define_constants|\[[\w,\s]*\]\s*=\s*idx_(bus|brch|gen|cost))$")
_FIELD = re.compile(r"mpc\.(\w+)\s*=\s*(.*)$", re.DOTALL)
_SCALAR = re.compile(r"(mpc\.)?(\w+)=(.+)$")
_COLUMN = re.compile(r"mpc\.(bus|branch)\(:,(\[[\w,]+\]|\w+)\)=mpc\.\1\(:,(\[[\w,]+\]|\w+)\)(?:([*/])(.+))?$")
_CELL = re.compile(r"mpc\.bus\(1,(BASE_KV|10)\)")
_NUMBER = re.compile(r"[0-9.]+(e[+-]?[0-9]+)?", re.IGNORECASE)
_TOKEN = re.compile(r"\s*([0-9.]+(?:[eE][+-]?[0-9]+)?|[A-Za-z_]\w*|\*\*|[-+*/^()])")


@dataclass(slots=True)
class MatpowerCase:
    """Tables of a case, in per unit and MW.

    Attributes:
        base_mva: base power.
        tables: `bus`, `gen` and `branch`, with MATPOWER's columns.
    """

    base_mva: float = math.nan
    tables: dict[str, Floats] = field(default_factory=dict)


def parse_matpower(text: str, where: str) -> MatpowerCase:
    """Read the text of a case file of format version 2.

    Args:
        text: the file's content.
        where: file, for the messages.

    Raises:
        GridDataError: a statement that is not understood, tables that are missing or have too few columns.
    """
    case, variables = MatpowerCase(), dict[str, float]()
    for line, statement in _statements(text):
        try:
            understood = _run(statement, case, variables)
        except (ValueError, KeyError, IndexError, ZeroDivisionError, OverflowError) as error:
            raise GridDataError(Fault(f"{where}: line {line}", f"'{_short(statement)}': {error}")) from error
        if not understood:
            raise GridDataError(
                Fault(
                    f"{where}: line {line}",
                    f"this statement is not understood: '{_short(statement)}'",
                    "it may convert units, so it is not skipped; save the case with MATPOWER's savecase and use that",
                )
            )
    _check(case, where)
    return case


def _statements(text: str) -> Iterator[tuple[int, str]]:
    """Statements without comments, and the lines where they begin."""
    statement, start, depth, block = "", 0, 0, 0
    for number, raw in enumerate(text.splitlines(), start=1):
        if raw.strip() in ("%{", "%}"):
            block += 1 if raw.strip() == "%{" else -1
            continue
        if block:
            continue
        code, quoted, ended = "", False, False
        for at, sign in enumerate(raw):
            if sign == "'":
                quoted = not quoted
            elif not quoted and sign == "%":
                break
            elif not quoted and raw.startswith("...", at):
                ended = True
                break
            elif not quoted and sign in "[{(":
                depth += 1
            elif not quoted and sign in "]})":
                depth -= 1
            elif not quoted and sign == ";" and depth == 0:
                if (statement + code).strip():
                    yield start or number, (statement + code).strip()
                statement, start, code = "", 0, ""
                continue
            code += sign
        if code.strip() and not statement.strip():
            start = number
        statement += code + (" " if ended else "\n")
        if depth == 0 and not ended:
            if statement.strip():
                yield start or number, statement.strip()
            statement, start = "", 0
    if statement.strip():
        yield start, statement.strip()


def _run(statement: str, case: MatpowerCase, variables: dict[str, float]) -> bool:
    """Apply a statement; False where it is not understood."""
    if _FUNCTION.match(statement) or _CONSTANTS.match(statement) or statement in ("return", "end"):
        return True
    if statement.startswith("function"):
        raise ValueError("a case file of version 2 begins with 'function mpc = name'")
    tight = re.sub(r"\s*([=(),:*/^+-])\s*", r"\1", re.sub(r"\s+", " ", statement))
    tight = re.sub(r"\[\s*([^\]]*?)\s*\]", lambda found: f"[{re.sub(r'[ ,]+', ',', found[1])}]", tight)
    column = _COLUMN.match(tight)
    if column:
        return _convert(column, case, variables)
    assigned = _FIELD.match(statement)
    if assigned and (
        assigned[1] in _COLUMNS or assigned[1] == "baseMVA" or assigned[2].lstrip()[:1] in ("[", "{", "'")
    ):
        return _assign(assigned[1], assigned[2].strip(), case)
    scalar = _SCALAR.match(tight)
    if scalar and (scalar[1] is None or scalar[2] not in _IGNORED):
        variables[(scalar[1] or "") + scalar[2]] = _value(scalar[3], case, variables)
        return True
    return assigned is not None and assigned[1] in _IGNORED


def _assign(name: str, value: str, case: MatpowerCase) -> bool:
    """A field of the case; tables and numbers are kept, names and costs are not needed."""
    if name == "baseMVA":
        case.base_mva = float(value)
    elif name in _COLUMNS:
        if not (value.startswith("[") and value.endswith("]")):
            return False
        rows = [row.replace(",", " ").split() for row in re.split(r"[;\n]", value[1:-1])]
        case.tables[name] = np.array([[float(cell) for cell in row] for row in rows if row], dtype=np.float64, ndmin=2)
    elif name == "version" and value.strip("'\" ") != "2":
        raise ValueError("only version 2 of the format is read")
    return True


def _convert(found: re.Match[str], case: MatpowerCase, variables: dict[str, float]) -> bool:
    """``mpc.bus(:, [PD, QD]) = mpc.bus(:, [PD, QD]) / 1e3`` and its kind."""
    name, operator, operand = found[1], found[4], found[5]
    table = case.tables[name]
    target, source = (_column_numbers(name, text) for text in (found[2], found[3]))
    if len(target) != len(source):
        return False
    factor = 1.0 if operator is None else _value(operand, case, variables)
    table[:, target] = table[:, source] / factor if operator == "/" else table[:, source] * factor
    return True


def _column_numbers(table: str, text: str) -> list[int]:
    parts = text.strip("[]").split(",")
    return [(int(part) if part.isdigit() else _NAMES[table][part]) - 1 for part in parts]


def _value(text: str, case: MatpowerCase, variables: dict[str, float]) -> float:
    """Value of an expression of numbers, variables, ``+ - * / ^``, `sin`, `cos`, `acos` and `sqrt`."""
    text = text.replace("mpc.baseMVA", "baseMVA__")
    text = _CELL.sub("baseKV__", text).replace("mpc.", "mpc__")
    known = {name.replace("mpc.", "mpc__"): value for name, value in variables.items()}
    known["baseMVA__"] = case.base_mva
    if "baseKV__" in text:
        known["baseKV__"] = float(case.tables["bus"][0, _BASE_KV])
    tokens = _TOKEN.findall(text)
    if "".join(tokens) != re.sub(r"\s", "", text):
        raise ValueError("the expression is not understood")
    value, rest = _sum(tokens, known)
    if rest:
        raise ValueError(f"the expression is not understood from '{rest[0]}' on")
    return value


_Parsed = tuple[float, list[str]]


def _sum(tokens: list[str], known: dict[str, float]) -> _Parsed:
    value, tokens = _product(tokens, known)
    while tokens and tokens[0] in "+-":
        sign = 1.0 if tokens[0] == "+" else -1.0
        term, tokens = _product(tokens[1:], known)
        value += sign * term
    return value, tokens


def _product(tokens: list[str], known: dict[str, float]) -> _Parsed:
    value, tokens = _power(tokens, known)
    while tokens and tokens[0] in "*/":
        operator = tokens[0]
        other, tokens = _power(tokens[1:], known)
        value = value * other if operator == "*" else value / other
    return value, tokens


def _power(tokens: list[str], known: dict[str, float]) -> _Parsed:
    if tokens and tokens[0] == "-":
        value, tokens = _power(tokens[1:], known)
        return -value, tokens
    value, tokens = _atom(tokens, known)
    while tokens and tokens[0] == "^":
        exponent, tokens = _atom(tokens[1:], known)
        value = float(value**exponent)
    return value, tokens


def _atom(tokens: list[str], known: dict[str, float]) -> _Parsed:
    functions: dict[str, Any] = {"sin": math.sin, "cos": math.cos, "acos": math.acos, "sqrt": math.sqrt}
    if not tokens:
        raise ValueError("the expression ends too soon")
    first, rest = tokens[0], tokens[1:]
    if first in functions:
        value, rest = _atom(rest, known)
        return float(functions[first](value)), rest
    if first == "(":
        value, rest = _sum(rest, known)
        if not rest or rest[0] != ")":
            raise ValueError("a bracket is not closed")
        return value, rest[1:]
    if _NUMBER.fullmatch(first):
        return float(first), rest
    if first not in known:
        raise ValueError(f"unknown name '{first}'")
    return known[first], rest


def _check(case: MatpowerCase, where: str) -> None:
    faults = []
    if not case.base_mva > 0.0:
        faults.append(Fault(f"{where}: mpc.baseMVA", "no number above 0", "is this a MATPOWER case of version 2?"))
    for name, least in _COLUMNS.items():
        table = case.tables.get(name)
        if table is None or table.ndim != 2 or not table.shape[0]:
            faults.append(Fault(f"{where}: mpc.{name}", "no such table", "is this a MATPOWER case of version 2?"))
        elif table.shape[1] < least:
            faults.append(Fault(f"{where}: mpc.{name}", f"{table.shape[1]} columns", f"give {least} or more"))
    if not faults:
        faults += _implausible(case, where)
    if faults:
        raise GridDataError(faults)


_DISTRIBUTION_KV = 36.0
_MOST_KA = 10.0
_MOST_DROP = 10.0


def _implausible(case: MatpowerCase, where: str) -> list[Fault]:
    """Numbers that look like kW and ohm: no distribution network carries or has them."""
    bus, branch = case.tables["bus"], case.tables["branch"]
    highest = float(bus[:, _BASE_KV].max())
    if not (bus[:, _BASE_KV] > 0.0).all():
        return [Fault(f"{where}: mpc.bus", "base voltages that are not above 0", "give baseKV in kV")]
    faults = []
    load, most = float(bus[:, _PD].clip(0.0).sum()), math.sqrt(3.0) * highest * _MOST_KA
    if highest <= _DISTRIBUTION_KV and load > most:
        problem = f"loads of {load:.6g} MW at {highest:g} kV: looks like kW"
        faults.append(Fault(f"{where}: mpc.bus", problem, "divide Pd and Qd by 1000"))
    z_pu = np.hypot(branch[:, _BR_R], branch[:, _BR_X])
    drop = float(np.median(z_pu) * load / case.base_mva) if len(z_pu) else 0.0
    if highest <= _DISTRIBUTION_KV and load <= most and drop > _MOST_DROP:
        problem = f"a typical branch of {np.median(z_pu):.4g} pu would drop {100 * drop:.0f} percent of the voltage"
        faults.append(Fault(f"{where}: mpc.branch", f"{problem}: looks like ohm", "divide by baseKV^2 / baseMVA"))
    return faults


def _short(statement: str) -> str:
    line = " ".join(statement.split())
    return line if len(line) <= 80 else f"{line[:80]}..."
