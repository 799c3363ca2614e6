"""Writes docs/cases.md, the list of cases by name, from power flows of each.

Run it after a change of a case: `.venv/bin/python docs/generate_cases.py`. A test fails while the file is not what
this script writes.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from peerwatt.grid import GridCase, load_case, make_engine
from peerwatt.grid.cases import CASES
from peerwatt.grid.transform import scale_impedance, scale_line_capacity

__all__ = ["TARGET", "cases"]

TARGET = Path(__file__).with_name("cases.md")

_WHEN = "2016-06-21T11:00"


@dataclass(frozen=True)
class Published:
    """Figures that a source gives; empty where it gives none."""

    load: str = ""
    losses: str = ""
    lowest: str = ""
    licence: str = ""


_FACTS = "numbers of the paper"
_MATPOWER = f"{_FACTS}, by way of MATPOWER, whose case files are outside its BSD licence"
_PANDAPOWER = "pandapower (BSD 3-Clause)"

_PUBLISHED = {
    "case33bw": Published("3.715 + j2.300", "202.68", "0.9131 at 18", f"{_PANDAPOWER}, from MATPOWER"),
    "case69": Published("3.8021 + j2.6947", "224.99", "0.90919 at 65", _MATPOWER),
    "case118zh": Published("22.71", "1298.09", "0.8688 at 77", _MATPOWER),
    "rbts2-37": Published("17.02 (hour 12)", "", "", f"{_FACTS}s"),
    "cigre-mv": Published(licence=_PANDAPOWER),
    "cigre-mv-der": Published(licence=_PANDAPOWER),
    "cigre-lv": Published(licence=_PANDAPOWER),
    "ieee-eu-lv": Published(licence=_PANDAPOWER),
}

_INTRODUCTION = """\
<!-- Written by docs/generate_cases.py from power flows; change the cases, not this file. -->
# Cases by name

`grid.case` of a scenario, and `load_case` in Python, take

- a name of the table below, e.g. `case69`;
- `simbench:<code>`, e.g. `simbench:1-LV-semiurb4--2-sw`: any SimBench grid with its year of profiles (2016, 15
  minutes; Meinecke et al., Energies 13 (2020) 3290; data under ODbL);
- `matpower:<path>.m`: a case file in MATPOWER's format;
- the path of a network that pandapower saved with `to_json` ([own-grid.md](own-grid.md)).

Cases without profiles of their own are constant; `profiles` (CSV or Parquet) takes the place of a case's own.
"""

_TABLE = """\
## The table

Load, losses and the lowest voltage, as published and as power-grid-model solves them here; tests hold them against
plain pandapower too. Load and losses of `rbts2-37` are those of hour 12, its losses with all forecast generation.
"""

_RBTS2 = """\
`rbts2-37` has a published day of operation in place of a published load flow (Marques et al., Table V): the loading of
line 13 and the voltage of bus 14, the worst of the network.
"""

_INFERRED = """\
\\* Inferred from the tables, not printed in them. The electrical data of the case are fitted to these figures.
"""

_REST = """\
## MATPOWER's files

MATPOWER's distribution cases have ohm, kW and kvar in their tables and convert them with statements after the
tables. Readers of the tables alone make thousands of MW of them. Here the statements are carried out: assignments of
numbers, arithmetic, functions such as `sqrt`, and columns or cells of `mpc.bus`, `mpc.gen` and `mpc.branch`; cells of
the tables may be expressions (`50/3`). A file with any other statement is refused with the line, since it may convert
units; saving the case with MATPOWER's `savecase` removes the statements. Numbers that look like kW or ohm and are not
converted are refused as well. Versions 1 and 2 of the format are read.

- **Buses** keep MATPOWER's numbers as index and name. Isolated ones (type 4) are left out with all that is connected to
  them, with a warning. A base voltage of 0 counts as 1 kV, with a warning.
- **Branches** have the number of their row as name. One between buses of one base voltage, without ratio and shift, is
  a line; any other is a transformer with MATPOWER's ideal ratio and shift at the from end, whichever end that is.
  `rateA` is the rating, at the base voltage; 0 means no limit. Branches without impedance, or with one over which all
  power would drop less than 1e-8 pu, are switches; those too small to be solved otherwise are refused by row.
- **Charging of transformers** (`b` above 0), which pandapower does not have, stands as shunts at both ends: it is not
  in the transformer's loading, and stays when the transformer is switched off.
- **Generators** are the external grid at reference buses, hold the voltage at buses of type 2, and feed in what `Pg`
  and `Qg` say at others. Costs and direct-current lines are not read.

After reading, the nodal admittances of the network are held against those of the tables. Voltages of MATPOWER's
distribution cases and of `case24_ieee_rts`, `case59`, `case118` and `case300` agree with a Newton-Raphson on the tables
to 1e-8 pu.

## A case of one's own

A function that returns a pandapower network, or a `CaseData` with profiles, registered under a name:

```python
import pandapower as pp

import peerwatt
from peerwatt.grid import load_case


@peerwatt.case("two-houses")
def two_houses():
    net = pp.create_empty_network()
    busbar, end = pp.create_buses(net, 2, vn_kv=0.4)
    pp.create_ext_grid(net, busbar)
    pp.create_line(net, busbar, end, length_km=0.1, std_type="NAYY 4x50 SE")
    pp.create_load(net, end, p_mw=0.004, name="House")
    return net


assert load_case("two-houses").network.n_bus == 2
```

It is not cached, because nothing tells when it changes. An installed package adds cases through entry points of the
group `peerwatt.case`.

## Changes that studies need

`peerwatt.grid.transform` makes another case of a case: line capacity, line impedance, transformer rating, limits for
all elements or by name. Arrays and `network.json` change alike, so results stay recomputable with plain pandapower.

```python
from peerwatt.grid.transform import scale_impedance, scale_line_capacity, scale_trafo, with_limits

weak = scale_impedance(scale_line_capacity(load_case("rbts2-37"), 0.5), 5.0)
small = scale_trafo(load_case("rbts2-37"), 1 / 3)
strict = with_limits(load_case("case69"), min_vm_pu=0.95, max_loading_percent={"44": 50.0, "67": 80.0})
assert strict.network.lines.max_loading_percent[43] == 50.0
```
"""

_HEAD = (
    "case",
    "buses, lines, transformers",
    "load published, MW + jMvar",
    "load",
    "losses published, kW",
    "losses",
    "lowest voltage published, pu",
    "lowest voltage",
    "data from",
)


def cases(load: Callable[[str], GridCase] = load_case) -> str:
    """The text of docs/cases.md.

    Args:
        load: gives the case of a name.
    """
    rows = [_row(name, load(name), published) for name, published in _PUBLISHED.items()]
    table = "\n".join([f"| {' | '.join(_HEAD)} |", "|---" * len(_HEAD) + "|", *rows, ""])
    sources = "\n".join(["## Sources, and what is reconstructed", "", *map(_source, _PUBLISHED)])
    return "\n".join([_INTRODUCTION, _TABLE, table, _rbts2(load("rbts2-37")), sources, _REST])


def _rbts2(case: GridCase) -> str:
    """Table V of Marques et al.: the reference, and weak lines without and with 20 percent less generation."""
    weak = scale_impedance(scale_line_capacity(case, 0.5), 5.0)
    rows = [
        f"| {what} | {published} | {_worst(changed, share)} |"
        for what, published, changed, share in (
            ("as it is", "69.75 percent *, 1.010 pu", case, 1.0),
            ("half the capacity, five times the impedance", "133.97 percent, 1.051 pu", weak, 1.0),
            ("the same, with 20 percent less wind and PV", "97.62 percent, 1.029 pu", weak, 0.8),
        )
    ]
    head = [_RBTS2, "| `rbts2-37` in hour 12, loads at 1.3 | published | here |", "|---|---|---|"]
    return "\n".join([*head, *rows, "", _INFERRED])


def _worst(case: GridCase, share: float) -> str:
    """Loading of line 13 and voltage of bus 14 with a share of the wind and PV forecast."""
    units, network = case.units, case.network
    by_kind = {"wind": share, "pv": share, "chp": 1.0}
    scale = np.array([by_kind.get(kind, 1.3) for kind in units.kind])
    p_mw, q_mvar = (part[0] * scale for part in units.power(case.series.window(_WHEN, 1, 3600)))
    state = make_engine("power-grid-model", network).solve(
        np.bincount(units.bus, p_mw, network.n_bus), np.bincount(units.bus, q_mvar, network.n_bus)
    )
    line, bus = network.line_position(13), network.bus_position(14)
    return f"{state.line.loading_percent[line]:.2f} percent, {state.vm_pu[bus]:.3f} pu"


def _row(name: str, case: GridCase, published: Published) -> str:
    network, values = case.network, case.series.window(_WHEN, 1, 3600)
    power = [part[0, [table == "load" for table in case.units.table]].sum() for part in case.units.power(values)]
    p_mw, q_mvar = case.units.injection(values, network.n_bus)
    state = make_engine("power-grid-model", network).solve(p_mw[0], q_mvar[0])
    lowest = int(np.nanargmin(np.round(state.vm_pu, 9)))
    cells = (
        f"`{name}`",
        f"{network.n_bus}, {network.n_line}, {network.n_trafo}",
        published.load,
        f"{-power[0]:.4f} + j{-power[1]:.4f}",
        published.losses,
        f"{1e3 * state.losses_mw:.2f}",
        published.lowest,
        f"{state.vm_pu[lowest]:.5f} at {network.buses.name[lowest]}",
        published.licence,
    )
    return f"| {' | '.join(cell or '-' for cell in cells)} |"


def _source(name: str) -> str:
    """What the case's function says of itself."""
    text = inspect.getdoc(CASES.get(name)) or ""
    module = inspect.getdoc(inspect.getmodule(CASES.get(name))) or ""
    common = [part for part in module.split("\n\n")[1:] if part.startswith("Source")]
    return "\n\n".join([f"### `{name}`", *common, text, ""])


if __name__ == "__main__":
    TARGET.write_text(cases(), encoding="utf-8")
