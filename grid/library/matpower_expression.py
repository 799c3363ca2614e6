"""Values of the expressions in MATPOWER's case files.

The part of MATLAB that converts units: numbers, ``+ - * / ^`` and their elementwise kind, functions of one number,
variables, and cells of tables. An expression is turned into Python's syntax, parsed, and its tree walked; nothing
that is not named here is carried out.
"""

from __future__ import annotations

import ast
import operator
import re
from collections.abc import Callable
from typing import Any

import numpy as np

from peerwatt.grid.admittance import Floats, Ints

__all__ = ["CONSTANTS", "OUTPUTS", "Expression", "Value", "Variables"]

Value = float | Floats
Variables = dict[str, Value]

_BUS = "PQ PV REF NONE BUS_I BUS_TYPE PD QD GS BS BUS_AREA VM VA BASE_KV ZONE VMAX VMIN LAM_P LAM_Q MU_VMAX MU_VMIN"
_BRANCH = (
    "F_BUS T_BUS BR_R BR_X BR_B RATE_A RATE_B RATE_C TAP SHIFT BR_STATUS PF QF PT QT MU_SF MU_ST ANGMIN ANGMAX "
    "MU_ANGMIN MU_ANGMAX"
)
_GEN = (
    "GEN_BUS PG QG QMAX QMIN VG MBASE GEN_STATUS PMAX PMIN MU_PMAX MU_PMIN MU_QMAX MU_QMIN PC1 PC2 QC1MIN QC1MAX "
    "QC2MIN QC2MAX RAMP_AGC RAMP_10 RAMP_30 RAMP_Q APF"
)

OUTPUTS: dict[str, dict[str, int]] = {
    "idx_bus": dict(zip(_BUS.split(), [1, 2, 3, 4, *range(1, 18)], strict=True)),
    "idx_brch": dict(zip(_BRANCH.split(), [*range(1, 12), *range(14, 20), 12, 13, 20, 21], strict=True)),
    "idx_gen": dict(zip(_GEN.split(), [*range(1, 11), 22, 23, 24, 25, *range(11, 22)], strict=True)),
    "idx_cost": {},
}
"""Names of columns, counted from 1, in the order of the outputs of MATPOWER's functions (manual, appendix B)."""

CONSTANTS = {
    "pi": np.pi,
    "inf": np.inf,
    "nan": np.nan,
    "Inf": np.inf,
    "NaN": np.nan,
    **{name: float(number) for names in OUTPUTS.values() for name, number in names.items()},
}
"""Names that have a value before any statement."""

_FUNCTIONS: dict[str, Callable[[Any], Any]] = {
    "abs": np.abs,
    "acos": np.arccos,
    "asin": np.arcsin,
    "atan": np.arctan,
    "cos": np.cos,
    "exp": np.exp,
    "log": np.log,
    "log10": np.log10,
    "sin": np.sin,
    "sqrt": np.sqrt,
    "tan": np.tan,
}
_OPERATORS: dict[type[ast.AST], Callable[..., Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Pow: operator.pow,
    ast.UAdd: operator.pos,
    ast.USub: operator.neg,
}
_ALL = "ALL__"
_LONGEST = 500
_SIGNS = re.compile(r"[\w\s.+\-*/^(),\[\]:]*")
_NUMBER = re.compile(r"(?<![\w.])0*(\d+\.?\d*|\.\d+)(?:[eEdD]([+-]?\d+))?")


class Expression:
    """One expression.

    Args:
        text: as it stands in the file.

    Raises:
        ValueError: it is not understood.
    """

    def __init__(self, text: str) -> None:
        if len(text) > _LONGEST or not _SIGNS.fullmatch(text) or "**" in text or "//" in text or _ALL in text:
            raise ValueError("the expression is not understood")
        if re.search(r"\^[^-+*/^,]*\^", text):
            raise ValueError("a power of a power: write it with a variable")
        python = _joined(re.sub(r"\.([*/^])", r" \1", text)).replace("^", "**")
        python = re.sub(r"([(,])\s*:\s*(?=[,)])", rf"\1{_ALL}", python)
        python = re.sub(r"\[[^\[\]]*\]", lambda found: re.sub(r"(?<=[\w)])[\s,]+(?=[\w(])", ",", found[0]), python)
        python = _NUMBER.sub(lambda found: f"{found[1]}e{found[2] or 0}", python)
        try:
            self._tree = ast.parse(python, mode="eval").body
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            raise ValueError("the expression is not understood") from error

    @staticmethod
    def cells_of_row(row: str) -> list[str]:
        """Expressions of a row of a matrix, which spaces or commas part: ``1 -2`` are two, ``1 - 2`` is one."""
        cells, depth = [""], 0
        for sign in _joined(row):
            depth += (sign == "(") - (sign == ")")
            if depth <= 0 and (sign == "," or sign.isspace()):
                cells.append("")
            else:
                cells[-1] += sign
        return [cell for cell in cells if cell]

    def value(self, variables: Variables) -> Value:
        """Its value.

        Raises:
            ValueError: a name that is not known, an operation that is not read.
            IndexError: cells that a table does not have.
            ArithmeticError: a division by zero, a number that is too large.
        """
        try:
            with np.errstate(all="ignore"):  # the tables are checked for what is not finite
                return self._value(self._tree, variables)
        except (RecursionError, TypeError) as error:
            raise ValueError("the expression is not understood") from error

    def cells(self, variables: Variables) -> tuple[Ints, Ints]:
        """Rows and columns of the cells of a table that it names, to index it with.

        Raises:
            ValueError: it does not name cells.
            IndexError: the table does not have them.
        """
        if not isinstance(self._tree, ast.Call):
            raise ValueError("cells of a table are table(rows, columns)")
        return self._cells(self._tree, variables)

    def _value(self, node: ast.expr, variables: Variables) -> Value:
        match node:
            case ast.Constant(value=int() | float() as number) if not isinstance(number, bool):
                return float(number)
            case ast.UnaryOp(op=op, operand=operand) if type(op) in _OPERATORS:
                return _plain(_OPERATORS[type(op)](self._value(operand, variables)))
            case ast.BinOp(left=left, op=op, right=right) if type(op) in _OPERATORS:
                return _plain(_OPERATORS[type(op)](self._value(left, variables), self._value(right, variables)))
            case ast.Name() | ast.Attribute():
                name = _dotted(node)
                found = variables.get(name, CONSTANTS.get(name))
                if found is None:
                    raise ValueError(f"unknown name '{name}'")
                return found.copy() if isinstance(found, np.ndarray) else found
            case ast.Call(func=ast.Name(id=name), args=[argument], keywords=[]) if name not in variables:
                if name not in _FUNCTIONS:
                    raise ValueError(f"not understood: '{name}' is no function of numbers and no table")
                return _plain(_FUNCTIONS[name](self._value(argument, variables)))
            case ast.Call():
                table = variables.get(_dotted(node.func))
                chosen: Floats = np.asarray(table)[self._cells(node, variables)]
                return chosen if chosen.size > 1 else float(chosen[0, 0])
        raise ValueError("the expression is not understood")

    def _cells(self, node: ast.Call, variables: Variables) -> tuple[Ints, Ints]:
        name = _dotted(node.func)
        table = variables.get(name)
        if not isinstance(table, np.ndarray) or len(node.args) != 2:
            raise ValueError(f"not understood: '{name}' is no table with rows and columns")
        chosen = []
        for part, length in zip(node.args, table.shape, strict=True):
            position = self._positions(part, length, variables)
            if not ((position >= 0) & (position < length)).all():
                raise IndexError(f"'{name}' has {table.shape[0]} rows and {table.shape[1]} columns")
            chosen.append(position)
        rows, columns = np.ix_(*chosen)
        return rows, columns

    def _positions(self, node: ast.expr, length: int, variables: Variables) -> Ints:
        if isinstance(node, ast.Name) and node.id == _ALL:
            return np.arange(length)
        parts = node.elts if isinstance(node, ast.List) else [node]
        numbers = np.concatenate([np.ravel(self._value(part, variables)) for part in parts])
        if not (numbers == np.round(numbers)).all():
            raise ValueError("rows and columns are whole numbers, from 1")
        return numbers.astype(np.int64) - 1


def _joined(text: str) -> str:
    """Without spaces around operators, where they part nothing."""
    text = re.sub(r" ?([*/^]) ?", r"\1", " ".join(text.split()))
    return re.sub(r"(?<=[\w.)]) ?([+-]) (?=[\w.(+-])", r"\1", text)


def _dotted(node: ast.expr) -> str:
    if isinstance(node, ast.Attribute):
        return f"{_dotted(node.value)}.{node.attr}"
    if isinstance(node, ast.Name):
        return node.id
    raise ValueError("the expression is not understood")


def _plain(value: Any) -> Value:
    """A float or a table; numbers that are none are refused."""
    if isinstance(value, complex):
        raise ValueError("the value is complex")
    if isinstance(value, np.ndarray):
        return value
    number = float(value)
    if np.isnan(number):
        raise ValueError("the value is not a number")
    return number
