"""Where a study's grid comes from: a SimBench code, a pandapower file, a pandapower object.

    case = load_case("simbench:1-LV-semiurb4--2-sw")
    case = load_case("my_grid.json", profiles=Path("my_profiles.csv"))
    case = case_from_net(net, profiles=frame, name="mine")

What `load_case` derives is cached, because pandapower and SimBench take seconds and the cache milliseconds.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from peerwatt.errors import Fault, GridDataError, ProfileError
from peerwatt.grid.cache import Part, fetch, file_digest, store
from peerwatt.grid.network import Network
from peerwatt.grid.series import TimeSeries
from peerwatt.grid.stored import from_parts, to_parts
from peerwatt.grid.units import Units

if TYPE_CHECKING:
    import pandas as pd
    from pandapower import pandapowerNet

__all__ = ["GridCase", "case_from_net", "load_case"]

_SIMBENCH = "simbench:"


@dataclass(frozen=True, slots=True)
class GridCase:
    """A network, what is connected to it, and how that changes over time.

    Attributes:
        name: as a scenario file has it.
        network: the network.
        units: loads, generators and batteries.
        series: profiles that scale the units' power.
    """

    name: str
    network: Network
    units: Units
    series: TimeSeries


def load_case(case: str, *, profiles: Path | None = None, base_dir: Path | None = None) -> GridCase:
    """Load a grid by name or file.

    Args:
        case: ``simbench:<code>``, or the path of a network that pandapower saved with `to_json`.
        profiles: CSV or Parquet file with profiles, see `peerwatt.grid.profiles`; for files only.
        base_dir: directory that relative paths start from; the working directory by default.

    Raises:
        GridDataError: the grid does not exist or cannot be used.
        ProfileError: the profiles cannot be used.
    """
    if case.startswith(_SIMBENCH):
        if profiles is not None:
            raise ProfileError(
                Fault(f"profiles: {profiles}", f"'{case}' brings its own profiles", "leave profiles out")
            )
        key = {"simbench": case.removeprefix(_SIMBENCH)}
    else:
        base = Path() if base_dir is None else base_dir
        path, profiles = base / case, None if profiles is None else base / profiles
        key = {
            "name": case,
            "network": file_digest(path, GridDataError),
            "profiles": "" if profiles is None else f"{profiles.suffix}{file_digest(profiles, ProfileError)}",
        }
    found = fetch(key, _restore)
    if found is not None:
        return found
    built = _build_simbench(case) if case.startswith(_SIMBENCH) else _build_file(case, path, profiles)
    store(key, to_parts(built.name, built.network, built.units, built.series))
    return built


def case_from_net(net: pandapowerNet, profiles: pd.DataFrame | Path | None = None, name: str = "network") -> GridCase:
    """Make a case of a pandapower network; the network given is not changed.

    Args:
        net: network of pandapower 3.
        profiles: table or file with profiles, see `peerwatt.grid.profiles`; without, everything is constant.
        name: what to call it in messages.

    Raises:
        GridDataError: the network cannot be used.
        ProfileError: the profiles cannot be used.
    """
    from peerwatt.grid.convert import convert_net
    from peerwatt.grid.profiles import read_profiles
    from peerwatt.grid.unit_table import read_units

    network = convert_net(net, name)
    units = read_units(net, name)
    if profiles is None:
        return GridCase(name, network, units, TimeSeries.constant())
    units, series = read_profiles(profiles, net, network, units)
    return GridCase(name, network, units, series)


def _restore(parts: dict[str, Part]) -> GridCase:
    return GridCase(*from_parts(parts))


def _build_simbench(case: str) -> GridCase:
    from peerwatt.grid.simbench_case import build_simbench

    return GridCase(case, *build_simbench(case.removeprefix(_SIMBENCH)))


def _build_file(case: str, path: Path, profiles: Path | None) -> GridCase:
    from peerwatt.grid.netfile import read_net

    return case_from_net(read_net(path), profiles, case)
