"""The registry of cases, and what a case function returns.

A case of one's own is a function without arguments that returns a pandapower network, registered under the
name that scenario files use:

    from peerwatt.grid.library.catalog import case

    @case("my-street")
    def my_street():
        return pandapower.from_json("street.json")

With profiles it returns `CaseData(net, profiles)`.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from peerwatt.registry import Registry

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["CASES", "CaseData", "CaseFunction", "case", "is_shipped", "library_digest"]

_LIBRARY = "peerwatt.grid.library"


@dataclass(frozen=True, slots=True)
class CaseData:
    """What a case is made of.

    Attributes:
        net: pandapower network; its column `load.kind` or `sgen.kind` becomes the kind of the unit.
        profiles: table as `peerwatt.grid.profiles` describes it; without, everything is constant.
    """

    net: Any
    profiles: pd.DataFrame | None = None


CaseFunction = Callable[[], Any]
"""Returns a pandapower network, or a `CaseData`."""

CASES: Registry[CaseFunction] = Registry(
    "case",
    {
        "case33bw": f"{_LIBRARY}.baran_wu:case33bw",
        "case69": f"{_LIBRARY}.baran_wu:case69",
        "case118zh": f"{_LIBRARY}.zhang:case118zh",
        "rbts2-37": f"{_LIBRARY}.rbts:rbts2_37",
        "cigre-mv": f"{_LIBRARY}.cigre:cigre_mv",
        "cigre-mv-der": f"{_LIBRARY}.cigre:cigre_mv_der",
        "cigre-lv": f"{_LIBRARY}.cigre:cigre_lv",
        "ieee-eu-lv": f"{_LIBRARY}.european_lv:ieee_eu_lv",
    },
)
"""Case functions by the name that scenario files use."""

case = CASES.register
"""Decorator that registers a case: `@case("mine")`."""


def is_shipped(function: CaseFunction) -> bool:
    """Whether a case comes with peerwatt; what it returns is then known by `library_digest`."""
    return getattr(function, "__module__", "").startswith(f"{_LIBRARY}.")


@functools.cache
def library_digest() -> str:
    """Hash of the code and the data that shipped cases are made of."""
    here = Path(__file__).parent
    digest = hashlib.sha256()
    for path in sorted([*here.glob("*.py"), *(here.parent / "data").glob("*.csv")]):
        digest.update(f"{path.name}\0".encode() + path.read_bytes())
    return digest.hexdigest()
