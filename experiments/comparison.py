"""What a comparison of variants comes to: every run with its key figures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from peerwatt.sim.kpi import Kpi
    from peerwatt.sim.status import Unsolved

__all__ = ["DIED", "MARK", "Comparison", "Outcome", "Variant"]

DIED = "its process died, and died again when it was run alone: out of memory, or a library that crashed"

MARK = "†"
"""Stands at figures of runs that have no result in some periods, and at what is compared with them."""


@dataclass(frozen=True, slots=True)
class Variant:
    """A name, and what it changes in the scenario, by key path."""

    name: str
    changes: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Outcome:
    """One run.

    Attributes:
        variant: name of the variant.
        replica: number of the replica.
        kpi: its key figures; none if it failed.
        error: why it failed, else empty.
    """

    variant: str
    replica: int
    kpi: dict[str, Kpi]
    error: str = ""

    @property
    def unsolved(self) -> str:
        """What has no result in how many of its periods, in words; empty where everything has one."""
        return "; ".join(map(str, _unsolved([self.kpi])))


@dataclass(frozen=True, slots=True)
class Comparison:
    """What was compared, and what came out.

    Attributes:
        variants: their names; the first is what the others are compared to.
        replicas: number of replicas.
        about: what was simulated, by label: scenario, grid, time, seed, limits.
        assumed: what was assumed of a grid that lacks it, in words.
        outcomes: every run, by variant and replica.
    """

    variants: tuple[str, ...]
    replicas: int
    about: dict[str, str]
    assumed: tuple[str, ...]
    outcomes: tuple[Outcome, ...]

    def unsolved_of(self, variant: str) -> tuple[Unsolved, ...]:
        """What has no result in how many periods of a variant's runs (`peerwatt.sim.status`)."""
        return _unsolved(each.kpi for each in self.outcomes if each.variant == variant)

    @property
    def unsolved(self) -> dict[str, str]:
        """The same in words, of each variant that has such periods."""
        kpis: dict[str, list[dict[str, Kpi]]] = {name: [] for name in self.variants}
        for each in self.outcomes:
            kpis[each.variant].append(each.kpi)
        said = {name: "; ".join(map(str, _unsolved(own))) for name, own in kpis.items()}
        return {name: text for name, text in said.items() if text}

    @property
    def warnings(self) -> list[str]:
        """How far figures that have the `MARK` can be compared, a line per variant."""
        return [
            f"{MARK} {name}: {text}. Its figures are not those of a run with a result in every period, and "
            "differences may come from there."
            for name, text in self.unsolved.items()
        ]

    @property
    def failed(self) -> tuple[Outcome, ...]:
        """Runs that have no result."""
        return tuple(outcome for outcome in self.outcomes if outcome.error)


def _unsolved(kpis: Iterable[Mapping[str, Kpi]]) -> tuple[Unsolved, ...]:
    from peerwatt.sim.status import unsolved

    return unsolved(kpis)
