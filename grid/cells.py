"""Looks at every cell of a pandapower network that is read, before anything is computed from it.

pandapower takes what it is given: the text "False" counts as true, a missing column ends in a KeyError deep inside.
Here every table has whole numbers as its index, references and numbers are numbers in a range, truth values are
truth values; what can be meant in one way only (0 and 1 for truth values, 3.0 for 3, an absent column with a default)
is made so, the rest is refused by its cell.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

from peerwatt.errors import Fault, GridDataError

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["checked_tables"]

_INF = float("inf")
_HIGHEST_INDEX = 10_000_000  # pandapower makes arrays of this length
_SHOWN = 20

_REQUIRED: dict[str, tuple[str, ...]] = {
    "bus": ("vn_kv",),
    "line": ("from_bus", "to_bus", "length_km", "r_ohm_per_km", "x_ohm_per_km", "c_nf_per_km", "max_i_ka"),
    "trafo": (
        *("hv_bus", "lv_bus", "sn_mva", "vn_hv_kv", "vn_lv_kv", "vk_percent", "vkr_percent", "pfe_kw", "i0_percent"),
        "shift_degree",
    ),
    "switch": ("bus", "element", "et", "closed"),
    "ext_grid": ("bus",),
    "load": ("bus", "p_mw"),
    "sgen": ("bus", "p_mw"),
    "storage": ("bus", "p_mw"),
    "gen": ("bus", "p_mw", "vm_pu"),
    "shunt": ("bus", "p_mw", "q_mvar"),
    "impedance": ("from_bus", "to_bus", "rft_pu", "xft_pu", "rtf_pu", "xtf_pu", "sn_mva"),
    **dict.fromkeys(
        ("asymmetric_load", "asymmetric_sgen"),
        ("bus", "p_a_mw", "p_b_mw", "p_c_mw", "q_a_mvar", "q_b_mvar", "q_c_mvar"),
    ),
}
_AT_ALL = ("bus", "line", "trafo", "ext_grid", "load", "sgen")
"""Tables without which something is no network of pandapower."""

_REFERENCES = ("bus", "from_bus", "to_bus", "hv_bus", "lv_bus", "element")
_FLAGS = {"in_service": True, "closed": None, "slack": False, "tap_dependency_table": False}
"""Columns of truth values, and what stands for no value; None: there has to be one."""

_DEFAULTS: dict[str, Any] = {
    **dict.fromkeys(("scaling", "df", "vm_pu", "slack_weight"), 1.0),
    **dict.fromkeys(("parallel", "step", "max_step"), 1),
    **dict.fromkeys(("q_mvar", "va_degree", "g_us_per_km", "z_ohm", "gf_pu", "gt_pu", "bf_pu", "bt_pu"), 0.0),
    **dict.fromkeys(("const_z_p_percent", "const_i_p_percent", "const_z_q_percent", "const_i_q_percent"), 0.0),
    **dict.fromkeys(("tap_pos", "tap_neutral", "tap_min", "tap_max", "tap_step_percent", "tap_step_degree"), np.nan),
    **dict.fromkeys(("name", "type", "tap_side", "tap_changer_type"), None),
    "in_service": True,
    **dict.fromkeys(("slack", "tap_dependency_table"), False),
}
"""What pandapower's tables have where a network has no such column."""

_EXTRA_NUMBERS = (
    *("min_vm_pu", "max_vm_pu", "max_loading_percent", "soc_percent", "efficiency_percent", "sn_mva"),
    *("self-discharge_percent_per_day", "min_e_mwh", "max_e_mwh", "min_p_mw", "max_p_mw"),
    *("const_z_percent", "const_i_percent", "tap2_pos", "tap2_neutral", "tap2_step_percent", "tap2_step_degree"),
    *("r0_ohm_per_km", "x0_ohm_per_km", "c0_nf_per_km", "vk0_percent", "vkr0_percent", "mag0_percent", "mag0_rx"),
    *("si0_hv_partial", "xn_ohm", "rn_ohm", "s_sc_max_mva", "rx_max", "x0x_max", "r0x0_max"),
    *("leakage_resistance_ratio_hv", "leakage_reactance_ratio_hv"),
)
"""Numbers that are read and that an empty network of pandapower has no columns for."""

_RANGES: dict[str, tuple[float, float]] = {
    **dict.fromkeys(("p_mw", "q_mvar", *_REQUIRED["asymmetric_load"][1:]), (-1e6, 1e6)),
    **dict.fromkeys(("sn_mva", "max_e_mwh", "min_e_mwh"), (-_INF, 1e6)),
    **dict.fromkeys(("vn_kv", "vn_hv_kv", "vn_lv_kv"), (-_INF, 1e4)),
    **dict.fromkeys(("length_km", "scaling", "df"), (-_INF, 1e6)),
    **dict.fromkeys(("soc_percent", "self-discharge_percent_per_day", "efficiency_percent"), (-_INF, 100.0)),
    **dict.fromkeys(("tap_step_percent", "tap2_step_percent"), (-100.0, 100.0)),
    "parallel": (-_INF, 1e4),
    "max_loading_percent": (-_INF, 1e4),
    "vm_pu": (-_INF, 10.0),
}
"""What is no misprint; what is below is told by `peerwatt.grid.check`."""

_WORDS = {
    "et": ("b", "l", "t", "t3"),
    "tap_side": ("hv", "lv", ""),
    "tap2_side": ("hv", "lv", ""),
    "tap_changer_type": ("Ratio", "Symmetrical", "Ideal", "Tabular", ""),
    "tap2_changer_type": ("Ratio", "Symmetrical", "Ideal", "Tabular", ""),
}


@functools.cache
def _schema() -> dict[str, pd.DataFrame]:
    """The tables of pandapower itself, empty."""
    import pandapower
    import pandas as pd

    return {name: item for name, item in pandapower.create_empty_network().items() if isinstance(item, pd.DataFrame)}


def checked_tables(net: Any, where: str) -> dict[str, pd.DataFrame]:
    """The tables that are read, with clean cells in the order of their index; those that a network has not are empty.

    Args:
        net: pandapower network; not changed.
        where: file or name of the network, for the messages.

    Raises:
        GridDataError: every cell that is none, up to a number.
    """
    import pandas as pd

    absent = [name for name in _AT_ALL if name not in net]
    if absent:
        problem = f"not a pandapower network: no table {', '.join(absent)}"
        raise GridDataError(Fault(where, problem, "see pandapower.create_empty_network"))
    faults: list[Fault] = []
    found: dict[str, Any] = {}
    for name, empty in _schema().items():
        table = net.get(name)
        if table is not None and not isinstance(table, pd.DataFrame):
            remedy = "see pandapower.create_empty_network"
            faults.append(Fault(name, f"is no table but a {type(table).__name__}", remedy))
        elif name in _REQUIRED:
            found[name] = _Table(name, empty if table is None else table, empty, faults).checked()
    faults += _scalars(net)
    if faults:
        more = [Fault(where, f"{len(faults) - _SHOWN} more faults like these")] if len(faults) > _SHOWN else []
        shown = [Fault(f"{where}: {fault.where}", fault.problem, fault.remedy) for fault in faults[:_SHOWN]]
        raise GridDataError([*shown, *more])
    return found


def _scalars(net: Any) -> Iterable[Fault]:
    for name in ("sn_mva", "f_hz"):
        value = net.get(name, 1.0)
        if not _is_number(value) or not 0.0 < value <= 1e6:
            yield Fault(name, f"is {_shown(value)}", "give a number above 0, up to 1e6")
    options = net.get("user_pf_options")
    if options is not None and not isinstance(options, dict):
        yield Fault("user_pf_options", f"is a {type(options).__name__}", "remove it")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool)


def _shown(value: Any) -> str:
    text = repr(value.item() if isinstance(value, np.generic) else value)
    return text if len(text) <= 80 else f"{text[:80]}..."


class _Table:
    """One table while its cells are looked at."""

    def __init__(self, name: str, table: pd.DataFrame, empty: pd.DataFrame, faults: list[Fault]) -> None:
        self._name, self._table, self._empty, self._faults = name, table, empty, faults
        own = {
            str(column) for column, dtype in empty.dtypes.items() if isinstance(dtype, np.dtype) and dtype.kind in "iuf"
        }
        self._numbers = own | set(_EXTRA_NUMBERS)

    def checked(self) -> pd.DataFrame:
        """The table with clean cells, in the order of its index; faults are added to the list."""
        table, before = self._table, len(self._faults)
        columns = [str(column) for column in table.columns]
        for column in {column for column in columns if columns.count(column) > 1}:
            self._fault(f"column '{column}' stands twice", "remove one")
        for column in _REQUIRED[self._name]:
            if column not in columns and len(table):
                self._fault(f"no column '{column}'", "see pandapower.create_empty_network")
        index = self._index()
        if len(self._faults) > before:
            return table
        table = table.set_axis(index, axis=0)
        changed = {}
        for column in table.columns:
            clean = self._column(str(column), table[column])
            if clean is not None:
                changed[column] = clean
        table = table.assign(**changed) if changed else table
        return self._with_defaults(table).sort_index()

    def _fault(self, problem: str, remedy: str, where: str = "") -> None:
        self._faults.append(Fault(where or self._name, problem, remedy))

    def _index(self) -> Any:
        """The index as whole numbers."""
        import pandas as pd

        given, remedy = self._table.index, f"give whole numbers from 0 to {_HIGHEST_INDEX:,}"
        if isinstance(given, pd.MultiIndex):
            self._fault("its index has several levels", remedy)
            return given
        values = given.to_numpy()
        if values.dtype.kind not in "iuf":
            texts = [value for value in values.tolist() if not _is_number(value)]
            if texts:
                self._fault(f"index {_shown(texts[0])} is no number", remedy)
                return given
            values = values.astype(np.float64)
        bad = np.flatnonzero(~((values >= 0) & (values <= _HIGHEST_INDEX) & (values == np.floor(values))))
        if len(bad):
            self._fault(f"index {_shown(values[bad[0]])}", remedy)
            return given
        return pd.Index(values.astype(np.int64), name=given.name)

    def _column(self, column: str, given: pd.Series) -> Any:
        """A column with clean cells; None where it stays as it is."""
        if column in _FLAGS:
            return self._flags(column, given)
        if column in _REFERENCES and column in _REQUIRED[self._name]:
            return self._references(column, given)
        if column in _WORDS:
            return self._words(column, given)
        if column not in self._numbers:
            return None
        values = self._as_numbers(column, given)
        self._in_range(column, values, given)
        return None if _has_numbers(given) else values

    def _refuse(self, column: str, given: pd.Series, bad: Any, remedy: str) -> None:
        for row in np.flatnonzero(bad)[: _SHOWN + 1]:
            where = f"{self._name} {given.index[row]}"
            value = given.iloc[row]
            shown = "missing" if _is_missing(value) else _shown(value)
            self._fault(f"{column} is {shown}", remedy, where)

    def _as_numbers(self, column: str, given: pd.Series) -> Any:
        """A column as floating point numbers, or as it is where it has numbers already, (n,)."""
        if _has_numbers(given):
            return given.to_numpy()
        values = given.to_numpy(dtype=object)
        missing = np.array([_is_missing(value) for value in values], dtype=np.bool_)
        bad = ~missing & ~np.array([_is_number(value) for value in values], dtype=np.bool_)
        self._refuse(column, given, bad, "give a number")
        kept = np.full(len(values), np.nan)
        kept[~(missing | bad)] = values[~(missing | bad)].astype(np.float64)
        return kept

    def _in_range(self, column: str, values: Any, given: pd.Series) -> None:
        low, high = _RANGES.get(column, (-_INF, _INF))
        with np.errstate(invalid="ignore"):
            bad = (values < low) | (values > high)
        self._refuse(
            column, given, bad, f"allowed: up to {high:g}" if low == -_INF else f"allowed: {low:g} to {high:g}"
        )

    def _references(self, column: str, given: pd.Series) -> Any:
        values, before = self._as_numbers(column, given), len(self._faults)
        if values.dtype.kind in "iu":
            return None
        told = np.isnan(values) & ~given.isna().to_numpy()  # text
        with np.errstate(invalid="ignore"):
            whole = (values == np.floor(values)) & (np.abs(values) <= _HIGHEST_INDEX)
        self._refuse(column, given, ~whole & ~told, "give the index of an element, a whole number")
        return None if told.any() or len(self._faults) > before else values.astype(np.int64)

    def _flags(self, column: str, given: pd.Series) -> Any:
        if given.dtype == np.bool_:
            return None
        default = _FLAGS[column]
        values, clean = given.to_numpy(dtype=object), np.zeros(len(given), dtype=np.bool_)
        bad = np.zeros(len(given), dtype=np.bool_)
        for row, value in enumerate(values):
            if _is_missing(value):
                clean[row], bad[row] = bool(default), default is None
            elif isinstance(value, bool | np.bool_) or (_is_number(value) and value in (0, 1)):
                clean[row] = bool(value)
            else:
                bad[row] = True
        self._refuse(column, given, bad, "give True or False")
        return clean

    def _words(self, column: str, given: pd.Series) -> None:
        allowed = _WORDS[column]
        bad = [("" if _is_missing(value) else value) not in allowed for value in given.tolist()]
        self._refuse(column, given, bad, f"allowed: {', '.join(word or 'nothing' for word in allowed)}")

    def _with_defaults(self, table: pd.DataFrame) -> pd.DataFrame:
        """The table with the columns that pandapower needs."""
        known = self._empty.columns if len(table) else ()
        absent = {column: _DEFAULTS[column] for column in known if column in _DEFAULTS and column not in table.columns}
        return table.assign(**absent) if absent else table


def _has_numbers(given: pd.Series) -> bool:
    return isinstance(given.dtype, np.dtype) and given.dtype.kind in "iuf"


def _is_missing(value: Any) -> bool:
    import pandas as pd

    return value is None or value is pd.NA or value is pd.NaT or (isinstance(value, float) and np.isnan(value))
