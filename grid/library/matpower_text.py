"""Reads MATPOWER's case files: the tables, and the code after them that converts ohm and kW.

A case file is a MATLAB function. MATPOWER's distribution cases write impedances in ohm and loads in kW into the
tables, and convert them with statements at the end of the file; a reader of tables alone makes thousands of MW of
them. Here every statement is either carried out (assignments of numbers, arithmetic, and columns or cells of a table)
or the file is refused with the statement: nothing is skipped that could change a number. Nothing is ever executed:
expressions are parsed and walked, see `peerwatt.grid.library.matpower_expression`.

    function mpc = two                          % or [baseMVA, bus, gen, branch] = two, version 1 of the format
    mpc.baseMVA = 50/3;
    mpc.bus = [ 1 3 0 0 0 0 1 1 0 135/sqrt(3) 1 1.1 0.9; ... ];
    mpc.bus(:, [PD, QD]) = mpc.bus(:, [PD, QD]) / 1e3;
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from peerwatt.errors import Fault, GridDataError
from peerwatt.grid.admittance import Floats
from peerwatt.grid.library.matpower_expression import CONSTANTS, OUTPUTS, Expression, Value, Variables

__all__ = ["MatpowerCase", "parse_matpower"]

_COLUMNS = {"bus": 13, "gen": 10, "branch": 11}  # that a table must have
_FIELDS = ("baseMVA", *_COLUMNS)
_ALLOWED = "allowed: numbers, + - * / ^, sqrt and its kind, and columns or cells of bus, gen and branch"
_REMEDY = f"it may convert units, so it is not skipped; {_ALLOWED}; or save the case with MATPOWER's savecase"

_CODE = re.compile(r"'[^'\n]*'|\"[^\"\n]*\"|%[^\n]*|\.\.\.[^\n]*\n")  # texts, comments, continued lines
_MARK = re.compile(r"'[^'\n]*'|\"[^\"\n]*\"|[\[({]|[\])}]|[;,\n]")
_FUNCTION = re.compile(r"function\s+(?:\[([^\]]*)\]|(\w+))\s*=\s*\w+\s*(?:\(\s*\))?\s*$")
_CONSTANTS = re.compile(r"\[([\w\s,\v]*)\]\s*=\s*(idx_\w+)$")
_ASSIGNMENT = re.compile(r"([A-Za-z]\w*(?:\.\w+)*)\s*(\([^=]*\))?\s*=(?!=)\s*(.*)$", re.DOTALL)
_CONTINUED = "\v"  # a line end that a statement goes on over: space to the parser, a line to the count


@dataclass(slots=True)
class MatpowerCase:
    """Tables of a case, in per unit and MW.

    Attributes:
        base_mva: base power.
        tables: `bus`, `gen` and `branch`, with MATPOWER's columns.
        unread: other tables of the case, e.g. ``dcline``.
    """

    base_mva: float
    tables: dict[str, Floats]
    unread: tuple[str, ...] = ()


@dataclass(slots=True)
class _Run:
    """What the statements so far have made.

    Attributes:
        names: variable by field; those of version 1 are the function's outputs, others begin with `mpc.`.
        variables: values by variable.
        unread: fields that are not needed and whose value is not known.
    """

    names: dict[str, str] = field(default_factory=lambda: {name: f"mpc.{name}" for name in _FIELDS})
    variables: Variables = field(default_factory=dict)
    unread: list[str] = field(default_factory=list)

    def needs(self, name: str) -> bool:
        """Whether a variable counts for the power flow."""
        return name in self.names.values() or "." not in name


def parse_matpower(text: str, where: str) -> MatpowerCase:
    """Read the text of a case file, of version 1 or 2 of the format.

    Args:
        text: the file's content.
        where: file, for the messages.

    Raises:
        GridDataError: a statement that is not understood, tables that are missing or have too few columns.
    """
    run = _Run()
    for line, statement in _statements(text):
        try:
            understood = _carry_out(statement, line, run)
        except _CellError as error:
            raise GridDataError(Fault(f"{where}: line {error.line}", str(error), _ALLOWED)) from error
        except (ValueError, IndexError, ArithmeticError) as error:
            raise GridDataError(Fault(f"{where}: line {line}", f"'{_short(statement)}': {error}", _ALLOWED)) from error
        if not understood:
            problem = f"this statement is not understood: '{_short(statement)}'"
            raise GridDataError(Fault(f"{where}: line {line}", problem, _REMEDY))
    return _case(run, where)


def _statements(text: str) -> Iterator[tuple[int, str]]:
    """Statements without comments, and the lines where they begin; in time linear in the length of the text."""
    code = _CODE.sub(
        lambda found: _uncommented(found[0]), _without_blocks(text.replace("\r\n", "\n").replace("\r", "\n"))
    )
    line, begin, depth = 1, 0, 0
    for mark in _MARK.finditer(code):
        sign = mark[0]
        if sign in "[({":
            depth += 1
        elif sign in "])}":
            depth -= 1
        elif sign in ";,\n" and depth <= 0:
            yield from _stripped(code[begin : mark.start()], line)
            line += code.count("\n", begin, mark.end()) + code.count(_CONTINUED, begin, mark.end())
            begin, depth = mark.end(), 0
    yield from _stripped(code[begin:], line)


def _uncommented(found: str) -> str:
    if found[0] == "%":
        return ""
    return _CONTINUED if found[0] == "." else found


def _without_blocks(text: str) -> str:
    """The text without block comments, which stand between ``%{`` and ``%}`` on lines of their own."""
    if "%{" not in text:
        return text
    lines, block = [], 0
    for raw in text.split("\n"):
        tag = raw.strip()
        block += tag == "%{"
        lines.append("" if block else raw)
        block -= tag == "%}" and block > 0
    return "\n".join(lines)


def _stripped(piece: str, line: int) -> Iterator[tuple[int, str]]:
    statement = piece.lstrip()
    if statement:
        before = piece[: len(piece) - len(statement)]
        yield line + before.count("\n") + before.count(_CONTINUED), statement.rstrip()


def _carry_out(statement: str, line: int, run: _Run) -> bool:
    """Carry a statement out; False where it is not understood."""
    if statement in ("return", "end", "define_constants"):
        return True
    function = _FUNCTION.match(statement)
    if function:
        return _begin(function, run)
    constants = _CONSTANTS.match(statement)
    if constants and constants[2] in OUTPUTS:
        names = re.split(r"[\s,]+", constants[1].strip(" ,\v"))
        for name, number in zip(names, OUTPUTS[constants[2]].values(), strict=False):
            if name not in CONSTANTS:  # MATPOWER's own names are what they are wherever they stand
                run.variables[name] = float(number)
        return True
    assignment = _ASSIGNMENT.match(statement)
    if not assignment:
        return False
    name, index, value = assignment.groups()
    if index is not None:
        return _assign_cells(name, index, value, run)
    return _assign(name, value, line + statement[: assignment.start(3)].count("\n"), run)


def _begin(found: re.Match[str], run: _Run) -> bool:
    """The function's line: what the case, or in version 1 its parts, are called."""
    if run.variables or run.unread:
        return False
    if found[2] or len(outputs := re.split(r"[\s,]+", found[1].strip())) == 1:
        run.names = {name: f"{found[2] or outputs[0]}.{name}" for name in _FIELDS}
    else:
        run.names = dict(zip(_FIELDS, outputs, strict=False))
    return True


def _assign(name: str, value: str, line: int, run: _Run) -> bool:
    """A variable or a field: a matrix, a number; what is not needed may be anything."""
    if name.endswith(".version") and value.strip("'\" ") not in ("1", "2"):
        raise ValueError("versions 1 and 2 of the format are read")
    if name in [run.names.get(table) for table in _COLUMNS] and value.startswith("[") and value.endswith("]"):
        run.variables[name] = _matrix(value[1:-1], line, run.variables)
        return True
    try:
        run.variables[name] = Expression(value).value(run.variables)
    except ValueError:
        if run.needs(name) and value[:1] not in ("[", "{", "'", '"'):
            raise
        if name in run.names.values():
            return False
        run.unread.append(name)
    return True


def _assign_cells(name: str, index: str, value: str, run: _Run) -> bool:
    """``mpc.bus(:, [PD, QD]) = mpc.bus(:, [PD, QD]) / 1e3`` and its kind."""
    if name in run.unread and not run.needs(name):
        return True
    table = run.variables.get(name)
    if not isinstance(table, np.ndarray):
        return False
    table[Expression(f"{name}{index}").cells(run.variables)] = Expression(value).value(run.variables)
    return True


class _CellError(ValueError):
    """A cell of a matrix that is no number, and its line."""

    def __init__(self, line: int, message: str) -> None:
        super().__init__(message)
        self.line = line


def _matrix(body: str, line: int, variables: Variables) -> Floats:
    rows: list[list[float]] = []
    for text in re.split(r"([;\n])", body):
        if text == "\n":
            line += 1
        elif text != ";" and text.strip(" \t\v,"):
            rows.append(_row(text, line, variables))
            if len(rows[-1]) != len(rows[0]):
                problem = f"a row of {len(rows[-1])} numbers in a table whose first row has {len(rows[0])}"
                raise _CellError(line, f"'{_short(text)}': {problem}")
        line += text.count(_CONTINUED)
    return np.array(rows, dtype=np.float64, ndmin=2)


def _row(text: str, line: int, variables: Variables) -> list[float]:
    try:
        return [float(cell) for cell in text.replace(",", " ").split()]
    except ValueError:
        pass
    numbers = []
    for cell in Expression.cells_of_row(text):
        try:
            value: Value = Expression(cell).value(variables)
        except (ValueError, IndexError, ArithmeticError) as error:
            raise _CellError(line, f"'{_short(cell)}': {error}") from error
        if isinstance(value, np.ndarray):
            raise _CellError(line, f"'{_short(cell)}' is not one number")
        numbers.append(value)
    return numbers


def _case(run: _Run, where: str) -> MatpowerCase:
    faults, remedy = [], "is this a MATPOWER case, of version 1 or 2 of the format?"
    base = run.variables.get(run.names["baseMVA"])
    if not (isinstance(base, float) and 0.0 < base < np.inf):
        faults.append(Fault(f"{where}: mpc.baseMVA", "no number above 0", remedy))
    tables = {}
    for name, least in _COLUMNS.items():
        table = run.variables.get(run.names.get(name, ""))
        if not isinstance(table, np.ndarray) or not table.size:
            faults.append(Fault(f"{where}: mpc.{name}", "no such table", remedy))
        elif table.shape[1] < least:
            faults.append(Fault(f"{where}: mpc.{name}", f"{table.shape[1]} columns", f"give {least} or more"))
        else:
            tables[name] = table
    if faults:
        raise GridDataError(faults)
    assert isinstance(base, float)
    return MatpowerCase(base, tables, tuple(run.unread))


def _short(statement: str) -> str:
    line = " ".join(statement.split())
    return line if len(line) <= 80 else f"{line[:80]}..."
